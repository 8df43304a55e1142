//! What a rule can ask about a packet, and how that is loaded into a register.

use nix::libc;

use super::attributes::Attributes;

// `enum nft_payload_attributes`, `nft_meta_attributes`, `nft_ct_attributes`, `nft_socket_attributes` and
// `nft_ng_attributes` in `linux/netfilter/nf_tables.h`.
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_DIRECTION: u16 = 3;
const NFTA_SOCKET_KEY: u16 = 1;
const NFTA_SOCKET_DREG: u16 = 2;
const NFTA_NG_DREG: u16 = 1;
const NFTA_NG_MODULUS: u16 = 2;
const NFTA_NG_TYPE: u16 = 3;
const NFTA_NG_OFFSET: u16 = 4;

/// `NFT_SOCKET_TRANSPARENT`
const SOCKET_TRANSPARENT: u32 = 0;

/// `IP_CT_DIR_ORIGINAL` and `IP_CT_DIR_REPLY`.
const ORIGINAL: u8 = 0;
const REPLY: u8 = 1;

/// A register of 4 bytes; there are sixteen, and longer values take several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(pub(crate) u32);

impl Register {
    pub(super) fn number(self) -> u32 {
        libc::NFT_REG32_00 as u32 + self.0
    }
}

/// A property of a packet, of its connection or of its socket; or a number that is made up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    IifName,
    OifName,
    Mark,
    /// IPv4 or IPv6, as `NFPROTO_*`.
    NfProto,
    L4Proto,
    /// The user that owns the socket that sends.
    SkUid,
    IpSaddr,
    IpDaddr,
    Ip6Saddr,
    Ip6Daddr,
    /// The source port of TCP, UDP and what else begins with ports.
    Sport,
    Dport,
    /// The byte of TCP's flags: CWR, ECE, URG, ACK, PSH, RST, SYN, FIN.
    TcpFlags,
    CtState,
    CtStatus,
    CtMark,
    /// 0 for the packets of who began the connection, 1 for the answers.
    CtDirection,
    /// What the packets of who began the connection have before translation.
    CtOriginalIpSaddr,
    CtOriginalSport,
    CtOriginalDport,
    /// What the answers have before translation.
    CtReplyIpSaddr,
    CtReplySport,
    CtReplyDport,
    /// 1 if a socket with `IP_TRANSPARENT` receives the packet. A packet without a socket does not match.
    SocketTransparent,
    /// One of 0, 1, … `modulus - 1`, plus the offset, in the processor's byte order.
    Random {
        modulus: u32,
        offset: u32,
    },
    /// The same, one after the other.
    Increment {
        modulus: u32,
        offset: u32,
    },
}

/// What a field takes to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Ip,
    Ip6,
    /// A transport protocol, which the field does not name.
    Transport,
}

impl Field {
    /// The length of the value in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::IifName | Self::OifName => libc::IFNAMSIZ,
            Self::Ip6Saddr | Self::Ip6Daddr => 16,
            Self::Sport | Self::Dport => 2,
            Self::CtOriginalSport | Self::CtOriginalDport | Self::CtReplySport | Self::CtReplyDport => 2,
            Self::NfProto | Self::L4Proto | Self::TcpFlags => 1,
            Self::SocketTransparent | Self::CtDirection => 1,
            _ => 4,
        }
    }

    /// The 4-byte registers that the value takes.
    pub(super) fn registers(self) -> u32 {
        self.len().div_ceil(4) as u32
    }

    pub(super) fn needs(self) -> Needs {
        match self {
            Self::IpSaddr | Self::IpDaddr => Needs::Ip,
            Self::Ip6Saddr | Self::Ip6Daddr => Needs::Ip6,
            Self::Sport | Self::Dport | Self::TcpFlags => Needs::Transport,
            _ => Needs::Nothing,
        }
    }

    /// The kernel's module that loads it, where that is not nf_tables itself.
    pub(super) fn module(self) -> Option<&'static str> {
        match self.load(Register(0)).0 {
            "ct" => Some("nft_ct"),
            "numgen" => Some("nft_numgen"),
            "socket" => Some("nft_socket"),
            _ => None,
        }
    }

    /// The kernel's name of the expression that loads the field, and its attributes.
    pub(super) fn load(self, into: Register) -> (&'static str, Attributes) {
        match self {
            Self::IifName => meta(libc::NFT_META_IIFNAME, into),
            Self::OifName => meta(libc::NFT_META_OIFNAME, into),
            Self::Mark => meta(libc::NFT_META_MARK, into),
            Self::NfProto => meta(libc::NFT_META_NFPROTO, into),
            Self::L4Proto => meta(libc::NFT_META_L4PROTO, into),
            Self::SkUid => meta(libc::NFT_META_SKUID, into),
            // The offsets of RFC 791, 8200 and 9293.
            Self::IpSaddr => payload(libc::NFT_PAYLOAD_NETWORK_HEADER, 12, 4, into),
            Self::IpDaddr => payload(libc::NFT_PAYLOAD_NETWORK_HEADER, 16, 4, into),
            Self::Ip6Saddr => payload(libc::NFT_PAYLOAD_NETWORK_HEADER, 8, 16, into),
            Self::Ip6Daddr => payload(libc::NFT_PAYLOAD_NETWORK_HEADER, 24, 16, into),
            Self::Sport => payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, into),
            Self::Dport => payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, into),
            Self::TcpFlags => payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, into),
            Self::CtState => ct(libc::NFT_CT_STATE, None, into),
            Self::CtStatus => ct(libc::NFT_CT_STATUS, None, into),
            Self::CtMark => ct(libc::NFT_CT_MARK, None, into),
            Self::CtDirection => ct(libc::NFT_CT_DIRECTION, None, into),
            Self::CtOriginalIpSaddr => ct(libc::NFT_CT_SRC_IP, Some(ORIGINAL), into),
            Self::CtOriginalSport => ct(libc::NFT_CT_PROTO_SRC, Some(ORIGINAL), into),
            Self::CtOriginalDport => ct(libc::NFT_CT_PROTO_DST, Some(ORIGINAL), into),
            Self::CtReplyIpSaddr => ct(libc::NFT_CT_SRC_IP, Some(REPLY), into),
            Self::CtReplySport => ct(libc::NFT_CT_PROTO_SRC, Some(REPLY), into),
            Self::CtReplyDport => ct(libc::NFT_CT_PROTO_DST, Some(REPLY), into),
            Self::SocketTransparent => socket(SOCKET_TRANSPARENT, into),
            Self::Random { modulus, offset } => number(libc::NFT_NG_RANDOM, modulus, offset, into),
            Self::Increment { modulus, offset } => number(libc::NFT_NG_INCREMENTAL, modulus, offset, into),
        }
    }
}

fn meta(key: libc::c_int, into: Register) -> (&'static str, Attributes) {
    ("meta", Attributes::new().u32(NFTA_META_KEY, key as u32).u32(NFTA_META_DREG, into.number()))
}

fn payload(base: libc::c_int, offset: u32, len: u32, into: Register) -> (&'static str, Attributes) {
    let attributes = Attributes::new()
        .u32(NFTA_PAYLOAD_DREG, into.number())
        .u32(NFTA_PAYLOAD_BASE, base as u32)
        .u32(NFTA_PAYLOAD_OFFSET, offset)
        .u32(NFTA_PAYLOAD_LEN, len);
    ("payload", attributes)
}

fn ct(key: libc::c_int, direction: Option<u8>, into: Register) -> (&'static str, Attributes) {
    let attributes = Attributes::new()
        .u32(NFTA_CT_KEY, key as u32)
        .u32(NFTA_CT_DREG, into.number())
        .optional(direction, |attributes, direction| attributes.u8(NFTA_CT_DIRECTION, direction));
    ("ct", attributes)
}

fn socket(key: u32, into: Register) -> (&'static str, Attributes) {
    ("socket", Attributes::new().u32(NFTA_SOCKET_KEY, key).u32(NFTA_SOCKET_DREG, into.number()))
}

fn number(kind: libc::c_int, modulus: u32, offset: u32, into: Register) -> (&'static str, Attributes) {
    let attributes = Attributes::new()
        .u32(NFTA_NG_DREG, into.number())
        .u32(NFTA_NG_MODULUS, modulus)
        .u32(NFTA_NG_TYPE, kind as u32)
        .u32(NFTA_NG_OFFSET, offset);
    ("numgen", attributes)
}
