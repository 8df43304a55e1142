//! The expressions that a rule consists of, and how each is encoded.

use nix::libc;

use super::attributes::Attributes;
use super::field::{Field, Register};
use super::set::{Data, Value};
use super::table::Family;

// `enum nft_expr_attributes` and those of the single expressions in `linux/netfilter/nf_tables.h`.
pub(super) const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_BYTEORDER_SREG: u16 = 1;
const NFTA_BYTEORDER_DREG: u16 = 2;
const NFTA_BYTEORDER_OP: u16 = 3;
const NFTA_BYTEORDER_LEN: u16 = 4;
const NFTA_BYTEORDER_SIZE: u16 = 5;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_RANGE_SREG: u16 = 1;
const NFTA_RANGE_OP: u16 = 2;
const NFTA_RANGE_FROM_DATA: u16 = 3;
const NFTA_RANGE_TO_DATA: u16 = 4;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFTA_DYNSET_SET_NAME: u16 = 1;
const NFTA_DYNSET_OP: u16 = 3;
const NFTA_DYNSET_SREG_KEY: u16 = 4;
const NFTA_DYNSET_SREG_DATA: u16 = 5;
const NFTA_DYNSET_TIMEOUT: u16 = 6;
const NFTA_DYNSET_EXPR: u16 = 7;
const NFTA_META_KEY: u16 = 2;
const NFTA_META_SREG: u16 = 3;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_TPROXY_FAMILY: u16 = 1;
const NFTA_TPROXY_REG_ADDR: u16 = 2;
const NFTA_TPROXY_REG_PORT: u16 = 3;
const NFTA_REJECT_TYPE: u16 = 1;
const NFTA_REJECT_ICMP_CODE: u16 = 2;
const NFTA_LIMIT_RATE: u16 = 1;
const NFTA_LIMIT_UNIT: u16 = 2;
const NFTA_LIMIT_BURST: u16 = 3;
const NFTA_LIMIT_TYPE: u16 = 4;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// The module that counts, before Linux 5.17.
pub(super) const COUNTER: &str = "nft_counter";

/// The longest unit of time that nft has a word for, in seconds.
const WEEK: u64 = 7 * 24 * 3600;

/// What a rule decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    /// Back to the chain that jumped here.
    Return,
    Jump(String),
    Goto(String),
}

impl Verdict {
    fn encode(&self) -> Attributes {
        let (code, chain) = match self {
            Self::Accept => (libc::NF_ACCEPT, None),
            Self::Drop => (libc::NF_DROP, None),
            Self::Return => (libc::NFT_RETURN, None),
            Self::Jump(chain) => (libc::NFT_JUMP, Some(chain)),
            Self::Goto(chain) => (libc::NFT_GOTO, Some(chain)),
        };
        Attributes::new()
            .u32(NFTA_VERDICT_CODE, code.cast_unsigned())
            .optional(chain, |verdict, chain| verdict.text(NFTA_VERDICT_CHAIN, chain))
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Is,
    IsNot,
}

impl Compare {
    fn operator(self) -> u32 {
        // `NFT_CMP_*` and `NFT_RANGE_*` agree.
        match self {
            Self::Is => libc::NFT_CMP_EQ as u32,
            Self::IsNot => libc::NFT_CMP_NEQ as u32,
        }
    }
}

/// A set that a rule looks into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetRef {
    Named(String),
    /// The rule's own, by its position among them.
    Own(usize),
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    /// By a reset; the rule must have asked for TCP.
    TcpReset,
    /// By ICMP or ICMPv6, each with its own code.
    PortUnreachable,
    NoRoute,
    AdminProhibited,
}

/// A register that holds a number in the processor's byte order, and its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    /// The rule is about IPv4, or about IPv6; what that takes depends on the table.
    Layer3(Family),
    Load(Field, Register),
    /// A number of 4 bytes becomes a port: 2 bytes in network byte order, which stand first.
    ToPort(Register),
    Mask(Register, Value),
    Compare(Register, Compare, Value),
    Range(Register, Compare, Value, Value),
    Lookup {
        set: SetRef,
        key: Register,
        inverted: bool,
    },
    /// What a map says of the key goes into a register.
    Map {
        set: SetRef,
        key: Register,
        into: Register,
    },
    /// A map's verdict is the rule's.
    VerdictMap {
        set: SetRef,
        key: Register,
    },
    /// Adds an element to a set, or to a map if there are data; one that is there already stays as it is.
    Add {
        set: String,
        key: Register,
        data: Option<Register>,
        timeout: Option<std::time::Duration>,
        /// The time of an element that is there begins anew.
        refresh: bool,
        /// The rule goes on for the packet that adds the element, and for no other.
        once: bool,
    },
    Immediate(Register, Value),
    Verdict(Verdict),
    SetMark(Register),
    SetCtMark(Register),
    Nat {
        source: bool,
        family: Family,
        address: Option<Register>,
        port: Option<Register>,
    },
    Masquerade,
    /// To the interface's own address, and to the port in the register.
    Redirect(Option<Register>),
    Tproxy {
        family: Option<Family>,
        address: Option<Register>,
        port: Register,
    },
    Reject(Reject),
    Counter,
}

impl Expr {
    /// The expression as an element of a rule in a table of this family; `first_id` is the number of the rule's first set.
    pub(super) fn encode(&self, table: Family, first_id: u32) -> Vec<Attributes> {
        if let Self::Layer3(family) = self {
            return layer3(*family, table);
        }
        vec![self.encode_one(first_id)]
    }

    /// The kernel's module that knows it, where that is not nf_tables itself.
    pub(super) fn module(&self, table: Family) -> Option<&'static str> {
        match self {
            Self::Load(field, _) => field.module(),
            Self::SetCtMark(_) => Some("nft_ct"),
            Self::Nat { .. } => Some("nft_nat"),
            Self::Masquerade => Some("nft_masq"),
            Self::Redirect(_) => Some("nft_redir"),
            Self::Tproxy { .. } => Some("nft_tproxy"),
            Self::Reject(_) => Some(match table {
                Family::Inet => "nft_reject_inet",
                Family::Ip => "nft_reject_ipv4",
                Family::Ip6 => "nft_reject_ipv6",
            }),
            Self::Add { once: true, .. } => Some("nft_limit"),
            Self::Counter => Some(COUNTER),
            _ => None,
        }
    }

    fn encode_one(&self, first_id: u32) -> Attributes {
        let new = Attributes::new;
        let value = |value: &Value| data(&Data::Value(value.clone()));
        match self {
            Self::Layer3(_) => unreachable!("it is several expressions"),
            Self::Load(field, into) => {
                let (name, attributes) = field.load(*into);
                expression(name, &attributes)
            }
            Self::ToPort(register) => {
                let attributes = new()
                    .u32(NFTA_BYTEORDER_SREG, register.number())
                    .u32(NFTA_BYTEORDER_DREG, register.number())
                    .u32(NFTA_BYTEORDER_OP, libc::NFT_BYTEORDER_HTON as u32)
                    .u32(NFTA_BYTEORDER_LEN, 2)
                    .u32(NFTA_BYTEORDER_SIZE, 2);
                expression("byteorder", &attributes)
            }
            Self::Mask(register, mask) => {
                let attributes = new()
                    .u32(NFTA_BITWISE_SREG, register.number())
                    .u32(NFTA_BITWISE_DREG, register.number())
                    .u32(NFTA_BITWISE_LEN, mask.0.len() as u32)
                    .nested(NFTA_BITWISE_MASK, &value(mask))
                    .nested(NFTA_BITWISE_XOR, &value(&Value(vec![0; mask.0.len()])));
                expression("bitwise", &attributes)
            }
            Self::Compare(register, how, with) => {
                let attributes = new()
                    .u32(NFTA_CMP_SREG, register.number())
                    .u32(NFTA_CMP_OP, how.operator())
                    .nested(NFTA_CMP_DATA, &value(with));
                expression("cmp", &attributes)
            }
            Self::Range(register, how, from, to) => {
                let attributes = new()
                    .u32(NFTA_RANGE_SREG, register.number())
                    .u32(NFTA_RANGE_OP, how.operator())
                    .nested(NFTA_RANGE_FROM_DATA, &value(from))
                    .nested(NFTA_RANGE_TO_DATA, &value(to));
                expression("range", &attributes)
            }
            Self::Lookup { set, key, inverted } => {
                let inverted = inverted.then_some(libc::NFT_LOOKUP_F_INV as u32);
                let attributes = lookup(set, *key, first_id)
                    .optional(inverted, |attributes, flag| attributes.u32(NFTA_LOOKUP_FLAGS, flag));
                expression("lookup", &attributes)
            }
            Self::Map { set, key, into } => {
                let attributes = lookup(set, *key, first_id).u32(NFTA_LOOKUP_DREG, into.number());
                expression("lookup", &attributes)
            }
            Self::VerdictMap { set, key } => {
                let verdict = libc::NFT_REG_VERDICT as u32;
                expression("lookup", &lookup(set, *key, first_id).u32(NFTA_LOOKUP_DREG, verdict))
            }
            Self::Add { set, key, data, timeout, refresh, once } => {
                let operation = if *refresh { libc::NFT_DYNSET_OP_UPDATE } else { libc::NFT_DYNSET_OP_ADD };
                let attributes = new()
                    .text(NFTA_DYNSET_SET_NAME, set)
                    .u32(NFTA_DYNSET_OP, operation as u32)
                    .u32(NFTA_DYNSET_SREG_KEY, key.number())
                    .optional(*data, |attributes, data| attributes.u32(NFTA_DYNSET_SREG_DATA, data.number()))
                    .optional(*timeout, |attributes, timeout| {
                        attributes.u64(NFTA_DYNSET_TIMEOUT, timeout.as_millis() as u64)
                    })
                    // A limit of the element's own: the kernel does not tell otherwise who has added it.
                    .optional(once.then(one), |attributes, limit| {
                        attributes.nested(NFTA_DYNSET_EXPR, &limit)
                    });
                expression("dynset", &attributes)
            }
            Self::Immediate(register, with) => {
                let attributes = new()
                    .u32(NFTA_IMMEDIATE_DREG, register.number())
                    .nested(NFTA_IMMEDIATE_DATA, &value(with));
                expression("immediate", &attributes)
            }
            Self::Verdict(verdict) => {
                let attributes = new()
                    .u32(NFTA_IMMEDIATE_DREG, libc::NFT_REG_VERDICT as u32)
                    .nested(NFTA_IMMEDIATE_DATA, &data(&Data::Verdict(verdict.clone())));
                expression("immediate", &attributes)
            }
            Self::SetMark(from) => {
                let key = libc::NFT_META_MARK as u32;
                expression("meta", &new().u32(NFTA_META_KEY, key).u32(NFTA_META_SREG, from.number()))
            }
            Self::SetCtMark(from) => {
                let key = libc::NFT_CT_MARK as u32;
                expression("ct", &new().u32(NFTA_CT_KEY, key).u32(NFTA_CT_SREG, from.number()))
            }
            Self::Nat { source, family, address, port } => {
                let kind = if *source { libc::NFT_NAT_SNAT } else { libc::NFT_NAT_DNAT };
                let attributes = new()
                    .u32(NFTA_NAT_TYPE, kind as u32)
                    .u32(NFTA_NAT_FAMILY, family.number().into())
                    .optional(*address, |nat, ip| nat.u32(NFTA_NAT_REG_ADDR_MIN, ip.number()))
                    .optional(*port, |nat, port| nat.u32(NFTA_NAT_REG_PROTO_MIN, port.number()));
                expression("nat", &attributes)
            }
            Self::Masquerade => expression("masq", &new()),
            Self::Redirect(port) => {
                let attributes = new().optional(*port, |attributes, port| {
                    attributes.u32(NFTA_REDIR_REG_PROTO_MIN, port.number())
                });
                expression("redir", &attributes)
            }
            Self::Tproxy { family, address, port } => {
                let attributes = new()
                    .u32(NFTA_TPROXY_FAMILY, family.map_or(0, Family::number).into())
                    .optional(*address, |attributes, address| {
                        attributes.u32(NFTA_TPROXY_REG_ADDR, address.number())
                    })
                    .u32(NFTA_TPROXY_REG_PORT, port.number());
                expression("tproxy", &attributes)
            }
            Self::Reject(how) => {
                let (kind, code) = match how {
                    Reject::TcpReset => (libc::NFT_REJECT_TCP_RST, None),
                    Reject::NoRoute => {
                        (libc::NFT_REJECT_ICMPX_UNREACH, Some(libc::NFT_REJECT_ICMPX_NO_ROUTE))
                    }
                    Reject::PortUnreachable => {
                        (libc::NFT_REJECT_ICMPX_UNREACH, Some(libc::NFT_REJECT_ICMPX_PORT_UNREACH))
                    }
                    Reject::AdminProhibited => {
                        (libc::NFT_REJECT_ICMPX_UNREACH, Some(libc::NFT_REJECT_ICMPX_ADMIN_PROHIBITED))
                    }
                };
                let attributes = new()
                    .u32(NFTA_REJECT_TYPE, kind as u32)
                    .optional(code, |attributes, code| attributes.u8(NFTA_REJECT_ICMP_CODE, code as u8));
                expression("reject", &attributes)
            }
            Self::Counter => {
                expression("counter", &new().u64(NFTA_COUNTER_BYTES, 0).u64(NFTA_COUNTER_PACKETS, 0))
            }
        }
    }
}

fn expression(name: &str, attributes: &Attributes) -> Attributes {
    Attributes::new().text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, attributes)
}

fn lookup(set: &SetRef, key: Register, first_id: u32) -> Attributes {
    let attributes = match set {
        SetRef::Named(name) => Attributes::new().text(NFTA_LOOKUP_SET, name),
        // The kernel asks for a name, too, and finds none of this one.
        SetRef::Own(position) => Attributes::new()
            .text(NFTA_LOOKUP_SET, "__set%d")
            .u32(NFTA_LOOKUP_SET_ID, first_id + *position as u32),
    };
    attributes.u32(NFTA_LOOKUP_SREG, key.number())
}

/// One packet a week.
fn one() -> Attributes {
    let attributes = Attributes::new()
        .u64(NFTA_LIMIT_RATE, 1)
        .u64(NFTA_LIMIT_UNIT, WEEK)
        .u32(NFTA_LIMIT_BURST, 1)
        .u32(NFTA_LIMIT_TYPE, libc::NFT_LIMIT_PKTS as u32);
    expression("limit", &attributes)
}

/// In a table of both families, a rule about one has to say which.
fn layer3(family: Family, table: Family) -> Vec<Attributes> {
    if table != Family::Inet {
        return Vec::new();
    }
    let register = Register(0);
    let value = Value(vec![family.number()]);
    [Expr::Load(Field::NfProto, register), Expr::Compare(register, Compare::Is, value)]
        .iter()
        .map(|expr| expr.encode_one(0))
        .collect()
}

/// A value or a verdict.
pub(super) fn data(data: &Data) -> Attributes {
    match data {
        Data::Value(value) => Attributes::new().bytes(NFTA_DATA_VALUE, &value.0),
        Data::Verdict(verdict) => Attributes::new().nested(NFTA_DATA_VERDICT, &verdict.encode()),
    }
}
