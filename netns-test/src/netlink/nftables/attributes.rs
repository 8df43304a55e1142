//! Netlink attributes as nfnetlink has them: numbers in network byte order, and nested ones marked.

use netlink_packet_core::{NlaBuffer, NlasIterator};

/// `NLA_F_NESTED` in `linux/netlink.h`.
const NESTED: u16 = 1 << 15;
/// Its length and its kind.
const HEADER: usize = 4;

/// A list of attributes, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    pub(super) fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A text, with the NUL that the kernel wants.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut text = value.as_bytes().to_vec();
        text.push(0);
        self.bytes(kind, &text)
    }

    pub(super) fn nested(mut self, kind: u16, inner: &Self) -> Self {
        self.push(kind | NESTED, &inner.0);
        self
    }

    pub(super) fn optional<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(HEADER + value.len()).expect("an attribute is shorter than 64 KiB");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// The attributes of a message or of a nested attribute, with their kinds; it ends at the first that makes no sense.
pub(super) fn read<'a>(bytes: &'a [u8]) -> impl Iterator<Item = (u16, &'a [u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute: NlaBuffer<&'a [u8]>| {
        let length = usize::from(attribute.length());
        (attribute.kind(), &attribute.into_inner()[HEADER..length])
    })
}

/// Whether an attribute consists of others.
pub(super) fn is_nested(attribute: &[u8]) -> bool {
    attribute.get(2..HEADER).is_some_and(|kind| u16::from_ne_bytes([kind[0], kind[1]]) & NESTED != 0)
}

/// The first attribute of this kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    read(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(super) fn u32_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn u64_of(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}
