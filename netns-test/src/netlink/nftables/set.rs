//! Sets, maps and verdict maps, and what is in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nix::libc;

use super::attributes::Attributes;
use super::expr::{Verdict, data};
use super::table::Table;

// `enum nft_set_attributes` and its neighbours in `linux/netfilter/nf_tables.h`.
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_TIMEOUT: u16 = 11;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;

/// `NFT_SET_CONCAT`
const SET_CONCAT: u32 = 0x80;
/// The key's and the data's byte order, for those who list the set (`NFTNL_UDATA_SET_KEYBYTEORDER`, `…_DATABYTEORDER`
/// in libnftnl).
const UDATA_KEY_BYTE_ORDER: u8 = 0;
const UDATA_DATA_BYTE_ORDER: u8 = 1;

/// The type of a key, or of one part of it. The kernel only knows lengths; the types are for those who list the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Ipv4Addr,
    Ipv6Addr,
    InetProto,
    InetService,
    IfName,
    Integer,
}

impl Type {
    /// `enum datatypes` of nft.
    fn number(self) -> u32 {
        match self {
            Self::Integer => 4,
            Self::Ipv4Addr => 7,
            Self::Ipv6Addr => 8,
            Self::InetProto => 12,
            Self::InetService => 13,
            Self::IfName => 41,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Ipv4Addr | Self::Integer => 4,
            Self::Ipv6Addr | Self::IfName => 16,
            Self::InetProto => 1,
            Self::InetService => 2,
        }
    }

    /// `BYTEORDER_HOST_ENDIAN` or `BYTEORDER_BIG_ENDIAN` of nft.
    fn byte_order(self) -> u32 {
        match self {
            Self::IfName | Self::Integer => 1,
            _ => 2,
        }
    }
}

/// Bytes to be compared with what a packet says: an address, a port, a mark, a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Value(pub(crate) Vec<u8>);

impl Value {
    /// A number in the processor's byte order: a mark, an interface's index, a user.
    pub(crate) fn host(number: u32) -> Self {
        Self(number.to_ne_bytes().to_vec())
    }

    /// An interface's name.
    pub(crate) fn name(name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(libc::IFNAMSIZ, 0);
        Self(bytes)
    }

    /// The parts one behind the other, each filled up to whole registers, which one part alone is not.
    pub(crate) fn concat(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut parts: Vec<Self> = parts.into_iter().collect();
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let padded = parts.into_iter().flat_map(|mut part| {
            part.0.resize(part.0.len().next_multiple_of(4), 0);
            part.0
        });
        Self(padded.collect())
    }
}

impl From<Ipv4Addr> for Value {
    fn from(ip: Ipv4Addr) -> Self {
        Self(ip.octets().to_vec())
    }
}

impl From<Ipv6Addr> for Value {
    fn from(ip: Ipv6Addr) -> Self {
        Self(ip.octets().to_vec())
    }
}

impl From<IpAddr> for Value {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

/// A port.
impl From<u16> for Value {
    fn from(port: u16) -> Self {
        Self(port.to_be_bytes().to_vec())
    }
}

/// A protocol.
impl From<u8> for Value {
    fn from(number: u8) -> Self {
        Self(vec![number])
    }
}

impl<A: Into<Value>, B: Into<Value>> From<(A, B)> for Value {
    fn from((first, second): (A, B)) -> Self {
        Self::concat([first.into(), second.into()])
    }
}

impl<A: Into<Value>, B: Into<Value>, C: Into<Value>> From<(A, B, C)> for Value {
    fn from((first, second, third): (A, B, C)) -> Self {
        Self::concat([first.into(), second.into(), third.into()])
    }
}

/// What a key of a map leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Value(Value),
    Verdict(Verdict),
}

/// One element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    key: Value,
    data: Option<Data>,
}

impl Element {
    pub(crate) fn new(key: impl Into<Value>) -> Self {
        Self { key: key.into(), data: None }
    }

    pub(crate) fn verdict(self, verdict: Verdict) -> Self {
        Self { data: Some(Data::Verdict(verdict)), ..self }
    }

    fn encode(&self) -> Attributes {
        Attributes::new()
            .nested(NFTA_SET_ELEM_KEY, &data(&Data::Value(self.key.clone())))
            .optional(self.data.as_ref(), |element, value| element.nested(NFTA_SET_ELEM_DATA, &data(value)))
    }
}

/// What a map's data are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DataType {
    Value(Vec<Type>),
    Verdict,
}

/// A set, a map or a verdict map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    pub(super) table: Option<Table>,
    pub(super) name: String,
    key: Vec<Type>,
    data: Option<DataType>,
    timeout: Option<Duration>,
    dynamic: bool,
    pub(super) size: Option<u32>,
}

impl Table {
    /// A set of keys of this type; several types make a concatenation.
    pub(crate) fn set(&self, name: impl Into<String>, key: &[Type]) -> Set {
        Set { table: Some(self.clone()), ..Set::anonymous(name.into(), key) }
    }
}

impl Set {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn anonymous(name: String, key: &[Type]) -> Self {
        Self { table: None, name, key: key.to_vec(), data: None, timeout: None, dynamic: false, size: None }
    }

    /// A set of which the rule that it stands in is the only one to know; the kernel chooses its name.
    pub(super) fn of_a_rule(key: &[Type]) -> Self {
        Self::anonymous("__set%d".to_owned(), key)
    }

    /// A map to values of this type.
    pub(crate) fn map_to(self, data: &[Type]) -> Self {
        Self { data: Some(DataType::Value(data.to_vec())), ..self.renamed() }
    }

    /// A map to verdicts.
    pub(crate) fn verdict_map(self) -> Self {
        Self { data: Some(DataType::Verdict), ..self.renamed() }
    }

    fn renamed(mut self) -> Self {
        if self.is_anonymous() {
            self.name = "__map%d".to_owned();
        }
        self
    }

    /// Rules may add to it. It needs a size, at which it is full.
    pub(crate) fn dynamic(self, size: u32) -> Self {
        Self { dynamic: true, size: Some(size), ..self }
    }

    /// Elements may go after a time, which is this one unless they have their own.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.table.is_none()
    }

    pub(super) fn attributes(&self, table: &Table, id: u32) -> Attributes {
        let mut flags = 0;
        let mut set = |when: bool, flag: u32| flags |= if when { flag } else { 0 };
        set(self.is_anonymous(), (libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT) as u32);
        set(self.data.is_some(), libc::NFT_SET_MAP as u32);
        set(self.timeout.is_some(), libc::NFT_SET_TIMEOUT as u32);
        set(self.dynamic, libc::NFT_SET_EVAL as u32);
        set(self.key.len() > 1, SET_CONCAT);
        let attributes = Attributes::new()
            .text(NFTA_SET_TABLE, &table.name)
            .text(NFTA_SET_NAME, &self.name)
            .u32(NFTA_SET_FLAGS, flags)
            .u32(NFTA_SET_KEY_TYPE, type_number(&self.key))
            .u32(NFTA_SET_KEY_LEN, len(&self.key));
        let attributes = match &self.data {
            None => attributes,
            Some(DataType::Verdict) => attributes.u32(NFTA_SET_DATA_TYPE, libc::NFT_DATA_VERDICT),
            Some(DataType::Value(data)) => {
                attributes.u32(NFTA_SET_DATA_TYPE, type_number(data)).u32(NFTA_SET_DATA_LEN, len(data))
            }
        };
        let mut description = Attributes::new()
            .optional(self.size, |description, size| description.u32(NFTA_SET_DESC_SIZE, size));
        if self.key.len() > 1 {
            let fields = self.key.iter().fold(Attributes::new(), |fields, part| {
                let field = Attributes::new().u32(NFTA_SET_FIELD_LEN, part.len() as u32);
                fields.nested(NFTA_LIST_ELEM, &field)
            });
            description = description.nested(NFTA_SET_DESC_CONCAT, &fields);
        }
        attributes
            .u32(NFTA_SET_ID, id)
            .optional((description.len() > 0).then_some(&description), |attributes, description| {
                attributes.nested(NFTA_SET_DESC, description)
            })
            .optional(self.timeout, |attributes, timeout| {
                attributes.u64(NFTA_SET_TIMEOUT, timeout.as_millis() as u64)
            })
            .bytes(NFTA_SET_USERDATA, &self.user_data())
    }

    fn user_data(&self) -> Vec<u8> {
        let mut user_data = Vec::new();
        let mut add = |kind: u8, types: &[Type]| {
            // Of a concatenation each part's type tells.
            let order = if let [single] = types { single.byte_order() } else { 2 };
            user_data.extend([kind, 4]);
            user_data.extend(order.to_ne_bytes());
        };
        add(UDATA_KEY_BYTE_ORDER, &self.key);
        if let Some(DataType::Value(data)) = &self.data {
            add(UDATA_DATA_BYTE_ORDER, data);
        }
        user_data
    }

    /// The elements in lists that are each short enough for one attribute.
    pub(super) fn encode(elements: &[Element]) -> Vec<Attributes> {
        // The longest attribute has 64 KiB, and the message others besides.
        const LIMIT: usize = 48 * 1024;
        let mut lists = vec![Attributes::new()];
        for element in elements {
            if lists.last().is_some_and(|list| list.len() > LIMIT) {
                lists.push(Attributes::new());
            }
            let list = lists.pop().unwrap_or_default();
            lists.push(list.nested(NFTA_LIST_ELEM, &element.encode()));
        }
        lists
    }
}

/// A type, or several in one number: six bits each (`TYPE_BITS` of nft).
fn type_number(parts: &[Type]) -> u32 {
    parts.iter().fold(0, |number, part| number << 6 | part.number())
}

fn len(parts: &[Type]) -> u32 {
    let len = match parts {
        [single] => single.len(),
        parts => parts.iter().map(|part| part.len().next_multiple_of(4)).sum(),
    };
    len as u32
}
