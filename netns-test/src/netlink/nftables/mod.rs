//! `NETLINK_NETFILTER`: tables, chains, sets and rules of nf_tables, made and read.
//!
//! A [`Batch`] is performed as a whole or not at all. The words are nft(8)'s.

mod attributes;
mod batch;
mod expr;
mod field;
mod read;
mod rule;
mod set;
mod stops;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use netlink_packet_core::NetlinkSerializable;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;

use self::attributes::Attributes;
use self::batch::Description;
use super::route::NetlinkError;
use super::socket::{Channel, Refusal};

pub(crate) use self::{
    batch::Batch,
    expr::{Expr, Reject, SetRef},
    field::{Field, Register},
    read::{ListedElement, ListedRule},
    rule::{CtState, CtStatus, Rule},
    set::{Set, Type},
    stops::{Fate, Stop},
    table::{Chain, ChainKind, Family, Hook, Table},
};
#[cfg(any(test, feature = "kubernetes"))]
pub(crate) use self::{
    expr::Verdict,
    rule::NatTarget,
    set::{Element, Value},
};

/// What a kernel without nf_tables is told by, and what mends it.
const MISSING: &str = "the kernel has no nf_tables: load it with `sudo modprobe nf_tables`, or use a kernel with \
                       CONFIG_NF_TABLES, CONFIG_NFT_NAT and CONFIG_NFT_CT";

/// A `NETLINK_NETFILTER` socket.
///
/// It speaks for the network namespace that it was opened in, whichever thread uses it. The kernel wants
/// `CAP_NET_ADMIN` over that namespace from the thread that opened it as well as from the one that sends, to read as well.
pub(crate) struct NftSocket {
    channel: Channel,
}

impl NftSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        match Channel::open(NETLINK_NETFILTER) {
            Ok(channel) => Ok(Self { channel }),
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => Err(missing()),
            Err(error) => Err(error),
        }
    }

    /// Performs all changes of a batch at once, or none.
    pub(crate) fn send(&self, batch: Batch) -> Result<(), NetlinkError> {
        let (messages, mut descriptions) = batch.finish();
        let Some(messages) = messages else { return Ok(()) };
        self.channel.transaction(messages).map_err(|(position, refusal)| match position.checked_sub(1) {
            // The batch's own header is refused where nobody knows what is in it.
            None if refusal.errno() == Some(libc::EOPNOTSUPP) => {
                NetlinkError::new("change the rules of nf_tables".to_owned(), Refusal::from(missing()))
            }
            Some(change) if change < descriptions.len() => {
                let Description { text, modules } = descriptions.swap_remove(change);
                let is_not_found = refusal.errno() == Some(libc::ENOENT);
                let why = is_not_found.then(|| not_found(&modules, refusal.attribute.as_deref())).flatten();
                NetlinkError::new(text, Refusal { kernel: refusal.kernel.or(why), ..refusal })
            }
            _ => NetlinkError::new("change the rules of nf_tables".to_owned(), refusal),
        })
    }

    /// The rules of a table, or of one of its chains.
    pub(crate) fn rules(&self, table: &Table, chain: Option<&Chain>) -> io::Result<Vec<ListedRule>> {
        let request = read::rules_of(table, chain);
        self.dump(&request, |payload| Ok(read::rule(payload.get(HEADER_LEN..).unwrap_or_default())))
    }

    /// What is in a set or map.
    pub(crate) fn elements(&self, set: &Set) -> io::Result<Vec<ListedElement>> {
        let Some(table) = &set.table else { return Ok(Vec::new()) };
        let request = read::elements_of(table, set);
        let elements = |payload: &[u8]| read::elements(payload.get(HEADER_LEN..).unwrap_or_default());
        let lists = self.dump(&request, |payload| Ok(Some(elements(payload))))?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// All rules and policies that stop packets, of all tables.
    pub(crate) fn stops(&self) -> io::Result<Vec<Stop>> {
        let mut stops = self.dump(&stops::all_rules(), |payload| Ok(stops::rule(payload)))?;
        stops.extend(self.dump(&stops::all_chains(), |payload| Ok(stops::policy(payload)))?);
        Ok(stops)
    }

    /// Forgets all connections of the namespace (conntrack(8)'s `-F`).
    pub(crate) fn flush_connections(&self) -> io::Result<()> {
        // `IPCTNL_MSG_CT_DELETE` of `linux/netfilter/nfnetlink_conntrack.h`, with nothing that says which.
        let kind = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 2;
        let message =
            Message { kind, family: libc::AF_UNSPEC as u8, resource: 0, attributes: Attributes::new() };
        match self.channel.transact([(message, 0)], |_| false) {
            Ok(_) => Ok(()),
            Err((_, refusal)) => Err(refusal.into()),
        }
    }

    /// Asks what tracks connections for its counters: where that is a module, it is loaded by this, and its settings are there.
    pub(crate) fn load_connections(&self) -> io::Result<()> {
        // `IPCTNL_MSG_CT_GET_STATS_CPU`, whose answer is short.
        let kind = (libc::NFNL_SUBSYS_CTNETLINK as u16) << 8 | 4;
        let message =
            Message { kind, family: libc::AF_UNSPEC as u8, resource: 0, attributes: Attributes::new() };
        self.dump(&message, |_| Ok(None::<()>)).map(drop)
    }

    fn dump<T>(
        &self,
        request: &Message,
        decode: impl Fn(&[u8]) -> Result<Option<T>, netlink_packet_core::DecodeError>,
    ) -> io::Result<Vec<T>> {
        let entries = self.channel.dump(request, |kind, payload| match kind >> 8 {
            subsystem if subsystem == libc::NFNL_SUBSYS_NFTABLES as u16 => decode(payload),
            _ => Ok(None),
        });
        entries.map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => missing(),
            _ => error,
        })
    }
}

/// What it means that the kernel did not find something, by the attribute that it refused; older kernels do not always say which.
fn not_found(modules: &[&str], attribute: Option<&[u8]>) -> Option<String> {
    let Some((attribute, (kind, value))) =
        attribute.and_then(|bytes| Some((bytes, attributes::read(bytes).next()?)))
    else {
        return lacking(modules);
    };
    if attributes::is_nested(attribute) {
        let expression = attributes::text_of(attributes::find(value, expr::NFTA_EXPR_NAME)?);
        let knows =
            |module: &&&str| module.strip_prefix("nft_").is_some_and(|name| name.starts_with(&expression));
        // `dynset` is a part of nf_tables itself, and has the limit in it.
        modules.iter().find(|module| knows(module) || expression == "dynset")?;
        // As are counters since Linux 5.17: they are missing where they are what was refused.
        let may_be_missing = |module: &&str| *module != expr::COUNTER || expression == "counter";
        return lacking(&modules.iter().copied().filter(may_be_missing).collect::<Vec<_>>());
    }
    // Every message names a table first, and next the chain or set that it changes.
    match kind {
        1 | 2 => Some(format!("there is no `{}`: it has been removed meanwhile", attributes::text_of(value))),
        _ => lacking(modules),
    }
}

/// What a kernel without some modules is told by, and what mends it: those that are not loaded are meant.
fn lacking(modules: &[&str]) -> Option<String> {
    let is_loaded = |module: &&&str| Path::new("/sys/module").join(module).exists();
    let lacking: Vec<&str> = modules.iter().filter(|module| !is_loaded(module)).copied().collect();
    let command = lacking.join(" ");
    (!lacking.is_empty()).then(|| {
        format!(
            "the kernel lacks a part of nf_tables: `sudo modprobe -a {command}` loads it, where the system has it"
        )
    })
}

fn missing() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, MISSING)
}

/// `sizeof(struct nfgenmsg)`
const HEADER_LEN: usize = 4;

/// A message of nfnetlink: `struct nfgenmsg` and attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    kind: u16,
    family: u8,
    resource: u16,
    attributes: Attributes,
}

impl Message {
    /// A message of nf_tables, `NFT_MSG_*`.
    fn new(kind: libc::c_int, family: Family, attributes: Attributes) -> Self {
        let kind = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | kind as u16;
        Self { kind, family: family.number(), resource: 0, attributes }
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER_LEN + self.attributes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        // `NFNETLINK_V0`
        buffer[..2].copy_from_slice(&[self.family, 0]);
        buffer[2..HEADER_LEN].copy_from_slice(&self.resource.to_be_bytes());
        buffer[HEADER_LEN..].copy_from_slice(self.attributes.as_bytes());
    }
}
