//! Rules, in nft's words.

use std::net::IpAddr;
use std::ops::{BitOr, RangeInclusive};

use nix::libc;

use super::attributes::Attributes;
use super::expr::{Compare, Expr, NatFlags, Reject, SetRef, Verdict};
use super::field::{Field, Needs, Register};
use super::set::{Element, Set, Type, Value};
use super::table::{Chain, Family};

// `enum nft_rule_attributes` in `linux/netfilter/nf_tables.h`.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_LIST_ELEM: u16 = 1;
/// `NFTNL_UDATA_RULE_COMMENT` in libnftnl.
pub(super) const UDATA_COMMENT: u8 = 0;
/// The longest comment of nft, with its NUL.
const MAX_COMMENT: usize = 128;

const FIRST: Register = Register(0);

/// A rule: a packet that matches all that is asked meets what is said at the end.
///
/// `Rule::new().iifname("eth0").tcp_dport(80).counter().drop()` reads like `iifname "eth0" tcp dport 80 counter drop`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a rule does nothing before it is in a batch"]
pub(crate) struct Rule {
    pub(super) exprs: Vec<Expr>,
    /// The sets that it alone knows, with their elements.
    pub(super) sets: Vec<(Set, Vec<Element>)>,
    pub(super) comment: Option<String>,
    family: Option<Family>,
    protocol: Option<u8>,
}

/// Ports that match: one, those from one to another, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    One(u16),
    Range(u16, u16),
    Several(Vec<u16>),
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self::One(port)
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(ports: RangeInclusive<u16>) -> Self {
        Self::Range(*ports.start(), *ports.end())
    }
}

impl<const N: usize> From<[u16; N]> for Ports {
    fn from(ports: [u16; N]) -> Self {
        Self::Several(ports.to_vec())
    }
}

impl From<Vec<u16>> for Ports {
    fn from(ports: Vec<u16>) -> Self {
        Self::Several(ports)
    }
}

/// What connection tracking makes of a packet: one or several of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CtState(u32);

impl CtState {
    // `NF_CT_STATE_BIT` in `linux/netfilter/nf_conntrack_common.h`.
    pub(crate) const INVALID: Self = Self(1 << 0);
    pub(crate) const ESTABLISHED: Self = Self(1 << 1);
    pub(crate) const RELATED: Self = Self(1 << 2);
    pub(crate) const NEW: Self = Self(1 << 3);
    pub(crate) const UNTRACKED: Self = Self(1 << 6);
}

impl BitOr for CtState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What became of a connection: one or several bits of `enum ip_conntrack_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CtStatus(u32);

impl CtStatus {
    pub(crate) const SEEN_REPLY: Self = Self(1 << 1);
    pub(crate) const SNAT: Self = Self(1 << 4);
    pub(crate) const DNAT: Self = Self(1 << 5);
}

/// Where a translation leads: an address, a port, or both; each may be a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NatTarget {
    address: Option<(IpAddr, IpAddr)>,
    port: Option<(u16, u16)>,
    flags: NatFlags,
}

impl NatTarget {
    pub(crate) fn address(ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        Self::addresses(ip, ip)
    }

    /// Two addresses of one family.
    pub(crate) fn addresses(first: IpAddr, last: IpAddr) -> Self {
        Self { address: Some((first, last)), ..Self::default() }
    }

    pub(crate) fn port(self, port: u16) -> Self {
        self.ports(port..=port)
    }

    pub(crate) fn ports(self, ports: RangeInclusive<u16>) -> Self {
        Self { port: Some((*ports.start(), *ports.end())), ..self }
    }

    /// May be called several times.
    pub(crate) fn flags(self, flags: NatFlags) -> Self {
        Self { flags: NatFlags(self.flags.0 | flags.0), ..self }
    }
}

/// What is asked.
impl Rule {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn iifname(self, name: &str) -> Self {
        self.equals(Field::IifName, Value::name(name))
    }

    pub(crate) fn oifname(self, name: &str) -> Self {
        self.equals(Field::OifName, Value::name(name))
    }

    pub(crate) fn iif(self, index: u32) -> Self {
        self.equals(Field::Iif, Value::host(index))
    }

    pub(crate) fn oif(self, index: u32) -> Self {
        self.equals(Field::Oif, Value::host(index))
    }

    pub(crate) fn mark(self, mark: u32) -> Self {
        self.equals(Field::Mark, Value::host(mark))
    }

    pub(crate) fn ct_mark(self, mark: u32) -> Self {
        self.equals(Field::CtMark, Value::host(mark))
    }

    pub(crate) fn skuid(self, uid: u32) -> Self {
        self.equals(Field::SkUid, Value::host(uid))
    }

    /// IPv4 alone, or IPv6 alone.
    pub(crate) fn family(mut self, family: Family) -> Self {
        if self.family.replace(family) != Some(family) {
            self.exprs.push(Expr::Layer3(family));
        }
        self
    }

    /// Whether it can match packets of this address's family.
    pub(crate) fn may_be_for(&self, ip: IpAddr) -> bool {
        self.family.is_none_or(|own| own == if ip.is_ipv4() { Family::Ip } else { Family::Ip6 })
    }

    /// A protocol above IP, as `IPPROTO_*`.
    pub(crate) fn l4proto(mut self, number: u8) -> Self {
        if self.protocol.replace(number) == Some(number) {
            return self;
        }
        self.equals(Field::L4Proto, number)
    }

    pub(crate) fn tcp(self) -> Self {
        self.l4proto(libc::IPPROTO_TCP as u8)
    }

    /// The packet that begins a connection: of FIN, SYN, RST and ACK, it has SYN alone.
    pub(crate) fn tcp_syn(self) -> Self {
        self.tcp_begins(Compare::Is)
    }

    /// Every other packet of TCP.
    pub(crate) fn tcp_not_syn(self) -> Self {
        self.tcp_begins(Compare::IsNot)
    }

    fn tcp_begins(self, how: Compare) -> Self {
        let rule = self.tcp().load(Field::TcpFlags, FIRST).push(Expr::Mask(FIRST, 0x17_u8.into()));
        rule.push(Expr::Compare(FIRST, how, 0x02_u8.into()))
    }

    pub(crate) fn udp(self) -> Self {
        self.l4proto(libc::IPPROTO_UDP as u8)
    }

    pub(crate) fn tcp_sport(self, ports: impl Into<Ports>) -> Self {
        self.tcp().ports(Field::Sport, ports.into(), Compare::Is)
    }

    pub(crate) fn tcp_dport(self, ports: impl Into<Ports>) -> Self {
        self.tcp().ports(Field::Dport, ports.into(), Compare::Is)
    }

    pub(crate) fn udp_sport(self, ports: impl Into<Ports>) -> Self {
        self.udp().ports(Field::Sport, ports.into(), Compare::Is)
    }

    pub(crate) fn udp_dport(self, ports: impl Into<Ports>) -> Self {
        self.udp().ports(Field::Dport, ports.into(), Compare::Is)
    }

    /// The source is this address, or one of the prefix of this length that it is in.
    pub(crate) fn saddr(self, ip: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.address(ip.into(), prefix_len, Field::IpSaddr, Field::Ip6Saddr, Compare::Is)
    }

    pub(crate) fn daddr(self, ip: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.address(ip.into(), prefix_len, Field::IpDaddr, Field::Ip6Daddr, Compare::Is)
    }

    pub(crate) fn saddr_not(self, ip: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.address(ip.into(), prefix_len, Field::IpSaddr, Field::Ip6Saddr, Compare::IsNot)
    }

    pub(crate) fn daddr_not(self, ip: impl Into<IpAddr>, prefix_len: u8) -> Self {
        self.address(ip.into(), prefix_len, Field::IpDaddr, Field::Ip6Daddr, Compare::IsNot)
    }

    fn address(self, ip: IpAddr, prefix_len: u8, v4: Field, v6: Field, how: Compare) -> Self {
        let (field, bytes): (_, &[u8]) = match &ip {
            IpAddr::V4(ip) => (v4, &ip.octets()),
            IpAddr::V6(ip) => (v6, &ip.octets()),
        };
        let mask: Vec<u8> = (0..bytes.len())
            .map(|byte| {
                u8::MAX.checked_shl(8 - usize::from(prefix_len).saturating_sub(8 * byte).min(8) as u32)
            })
            .map(Option::unwrap_or_default)
            .collect();
        let masked = bytes.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        let mut rule = self.load(field, FIRST);
        if mask.contains(&0) || mask.iter().any(|&byte| byte != u8::MAX) {
            rule.exprs.push(Expr::Mask(FIRST, Value(mask)));
        }
        rule.push(Expr::Compare(FIRST, how, Value(masked)))
    }

    /// One of these states.
    pub(crate) fn ct_state(self, states: CtState) -> Self {
        self.has_bit_of(Field::CtState, states.0)
    }

    pub(crate) fn ct_status(self, status: CtStatus) -> Self {
        self.has_bit_of(Field::CtStatus, status.0)
    }

    /// None of these bits.
    pub(crate) fn ct_status_not(self, status: CtStatus) -> Self {
        let rule = self.load(Field::CtStatus, FIRST).push(Expr::Mask(FIRST, Value::host(status.0)));
        rule.push(Expr::Compare(FIRST, Compare::Is, Value::host(0)))
    }

    /// The mark, without the bits that are not in `mask`.
    pub(crate) fn masked_mark(self, mask: u32, mark: u32) -> Self {
        let rule = self.load(Field::Mark, FIRST).push(Expr::Mask(FIRST, Value::host(mask)));
        rule.push(Expr::Compare(FIRST, Compare::Is, Value::host(mark)))
    }

    fn has_bit_of(self, field: Field, bits: u32) -> Self {
        let rule = self.load(field, FIRST).push(Expr::Mask(FIRST, Value::host(bits)));
        rule.push(Expr::Compare(FIRST, Compare::IsNot, Value::host(0)))
    }

    pub(crate) fn equals(self, field: Field, value: impl Into<Value>) -> Self {
        self.load(field, FIRST).push(Expr::Compare(FIRST, Compare::Is, value.into()))
    }

    pub(crate) fn differs(self, field: Field, value: impl Into<Value>) -> Self {
        self.load(field, FIRST).push(Expr::Compare(FIRST, Compare::IsNot, value.into()))
    }

    /// One of the ports, of whichever protocol the rule has asked for.
    pub(crate) fn ports(self, field: Field, ports: Ports, how: Compare) -> Self {
        let rule = self.load(field, FIRST);
        match ports {
            Ports::One(port) => rule.push(Expr::Compare(FIRST, how, port.into())),
            Ports::Range(from, to) => rule.push(Expr::Range(FIRST, how, from.into(), to.into())),
            Ports::Several(ports) => {
                let elements = ports.into_iter().map(Element::new).collect();
                let (set, rule) = rule.own(Set::of_a_rule(&[Type::InetService]), elements);
                rule.push(Expr::Lookup { set, key: FIRST, inverted: how == Compare::IsNot })
            }
        }
    }

    /// The fields together are in the set.
    pub(crate) fn in_set(self, fields: &[Field], set: &Set) -> Self {
        self.load_all(fields).push(Expr::Lookup { set: named(set), key: FIRST, inverted: false })
    }

    pub(crate) fn not_in_set(self, fields: &[Field], set: &Set) -> Self {
        self.load_all(fields).push(Expr::Lookup { set: named(set), key: FIRST, inverted: true })
    }

    /// The rule goes on if there are not more packets a second, after a first `burst`.
    pub(crate) fn limit(self, rate: u64, burst: u32) -> Self {
        self.push(Expr::Limit { rate, burst, over: false })
    }

    /// The rule goes on if there are more packets a second.
    pub(crate) fn limit_over(self, rate: u64, burst: u32) -> Self {
        self.push(Expr::Limit { rate, burst, over: true })
    }

    /// The value of a field goes into registers from `into`.
    pub(crate) fn load(self, field: Field, into: Register) -> Self {
        let rule = match field.needs() {
            Needs::Ip => self.family(Family::Ip),
            Needs::Ip6 => self.family(Family::Ip6),
            Needs::Nothing | Needs::Transport => self,
        };
        rule.push(Expr::Load(field, into))
    }

    fn load_all(self, fields: &[Field]) -> Self {
        // What the fields need is asked first: that takes a register.
        let needed = fields.iter().fold(self, |rule, field| match field.needs() {
            Needs::Ip => rule.family(Family::Ip),
            Needs::Ip6 => rule.family(Family::Ip6),
            Needs::Nothing | Needs::Transport => rule,
        });
        let mut next = FIRST;
        fields.iter().fold(needed, |rule, field| {
            let into = next;
            next = Register(next.0 + field.registers());
            rule.load(*field, into)
        })
    }

    pub(crate) fn push(mut self, expr: Expr) -> Self {
        self.exprs.push(expr);
        self
    }

    fn own(mut self, mut set: Set, elements: Vec<Element>) -> (SetRef, Self) {
        set.size = Some(elements.len() as u32);
        self.sets.push((set, elements));
        (SetRef::Own(self.sets.len() - 1), self)
    }
}

/// What is done.
impl Rule {
    /// Counts the packets and bytes that come so far.
    pub(crate) fn counter(self) -> Self {
        self.push(Expr::Counter)
    }

    /// Words for those who list the rules, at most 127 bytes.
    pub(crate) fn comment(self, text: impl Into<String>) -> Self {
        Self { comment: Some(text.into()), ..self }
    }

    pub(crate) fn accept(self) -> Self {
        self.verdict(Verdict::Accept)
    }

    pub(crate) fn drop(self) -> Self {
        self.verdict(Verdict::Drop)
    }

    pub(crate) fn jump(self, chain: &Chain) -> Self {
        self.verdict(Verdict::Jump(chain.name.clone()))
    }

    pub(crate) fn goto(self, chain: &Chain) -> Self {
        self.verdict(Verdict::Goto(chain.name.clone()))
    }

    pub(crate) fn r#return(self) -> Self {
        self.verdict(Verdict::Return)
    }

    pub(crate) fn verdict(self, verdict: Verdict) -> Self {
        self.push(Expr::Verdict(verdict))
    }

    /// The verdict that a map has for these fields together; a packet that it has none for goes on to the next rule.
    pub(crate) fn vmap(self, fields: &[Field], map: &Set) -> Self {
        self.load_all(fields).push(Expr::VerdictMap { set: named(map), key: FIRST })
    }

    /// The same with a map that this rule alone knows.
    pub(crate) fn vmap_of(self, fields: &[Field], key: &[Type], verdicts: Vec<Element>) -> Self {
        let (set, rule) = self.load_all(fields).own(Set::of_a_rule(key).verdict_map(), verdicts);
        rule.push(Expr::VerdictMap { set, key: FIRST })
    }

    /// One of so many verdicts, at random.
    pub(crate) fn random_vmap(self, verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        let element = |(number, verdict)| Element::new(Value::host(number)).verdict(verdict);
        let elements: Vec<Element> = (0..).zip(verdicts).map(element).collect();
        let number = Field::Random { modulus: elements.len() as u32, offset: 0 };
        self.vmap_of(&[number], &[Type::Integer], elements)
    }

    pub(crate) fn reject(self, how: Reject) -> Self {
        self.push(Expr::Reject(how))
    }

    /// Connection tracking does not see the packet: in prerouting or output before priority -200.
    pub(crate) fn notrack(self) -> Self {
        self.push(Expr::Notrack)
    }

    pub(crate) fn set_mark(self, mark: u32) -> Self {
        self.push(Expr::Immediate(FIRST, Value::host(mark))).push(Expr::SetMark(FIRST))
    }

    pub(crate) fn set_ct_mark(self, mark: u32) -> Self {
        self.push(Expr::Immediate(FIRST, Value::host(mark))).push(Expr::SetCtMark(FIRST))
    }

    /// The packet takes the mark of its connection.
    pub(crate) fn set_mark_from_ct(self) -> Self {
        self.load(Field::CtMark, FIRST).push(Expr::SetMark(FIRST))
    }

    /// The connection takes the mark of the packet.
    pub(crate) fn set_ct_mark_from_packet(self) -> Self {
        self.load(Field::Mark, FIRST).push(Expr::SetCtMark(FIRST))
    }

    /// Translates the source: in a chain of kind `Nat` at postrouting or input.
    pub(crate) fn snat(self, target: &NatTarget) -> Self {
        self.nat(true, target)
    }

    /// Translates the destination: in a chain of kind `Nat` at prerouting or output.
    pub(crate) fn dnat(self, target: &NatTarget) -> Self {
        self.nat(false, target)
    }

    fn nat(self, source: bool, target: &NatTarget) -> Self {
        let mut rule = self;
        let mut next = FIRST;
        let mut put = |rule: &mut Self, value: Value| {
            let register = next;
            next = Register(next.0 + value.0.len().div_ceil(4) as u32);
            rule.exprs.push(Expr::Immediate(register, value));
            register
        };
        let v6 = target.address.is_some_and(|(first, _)| first.is_ipv6());
        if target.address.is_some() {
            rule = rule.family(if v6 { Family::Ip6 } else { Family::Ip });
        }
        let address = target.address.map(|(first, last)| {
            let min = put(&mut rule, first.into());
            (min, if last == first { min } else { put(&mut rule, last.into()) })
        });
        let port = target.port.map(|(first, last)| {
            let min = put(&mut rule, first.into());
            (min, if last == first { min } else { put(&mut rule, last.into()) })
        });
        let family = match (target.address, rule.family) {
            (Some(_), _) => {
                if v6 {
                    Family::Ip6
                } else {
                    Family::Ip
                }
            }
            (None, family) => family.unwrap_or(Family::Inet),
        };
        rule.push(Expr::Nat { source, family, address, port, flags: target.flags })
    }

    /// Translates the destination to what a map has for these fields together: an address, or an address and a port.
    pub(crate) fn dnat_by_map(self, fields: &[Field], map: &Set, family: Family, with_port: bool) -> Self {
        let rule = self.load_all(fields).push(Expr::Map { set: named(map), key: FIRST, into: FIRST });
        let port = Register(if family == Family::Ip6 { 4 } else { 1 });
        let port = with_port.then_some((port, port));
        let address = Some((FIRST, FIRST));
        rule.push(Expr::Nat { source: false, family, address, port, flags: NatFlags::NONE })
    }

    /// Translates the source to the address of the interface that the packet leaves by.
    pub(crate) fn masquerade(self, flags: NatFlags) -> Self {
        self.push(Expr::Masquerade(flags))
    }

    /// Translates the destination to the host itself, and to the port where one is given.
    pub(crate) fn redirect(self, port: Option<u16>) -> Self {
        match port {
            Some(port) => {
                let rule = self.push(Expr::Immediate(FIRST, port.into()));
                rule.push(Expr::Redirect(Some(FIRST)))
            }
            None => self.push(Expr::Redirect(None)),
        }
    }

    /// Gives the packet to a transparent socket on this port of the host itself, untranslated; at prerouting.
    pub(crate) fn tproxy(self, address: Option<IpAddr>, port: u16) -> Self {
        let rule = match address {
            Some(IpAddr::V4(_)) => self.family(Family::Ip),
            Some(IpAddr::V6(_)) => self.family(Family::Ip6),
            None => self,
        };
        let family = rule.family;
        let rule = match address {
            Some(ip) => rule.push(Expr::Immediate(FIRST, ip.into())),
            None => rule,
        };
        let at = Register(4);
        let rule = rule.push(Expr::Immediate(at, port.into()));
        rule.push(Expr::Tproxy { family, address: address.map(|_| FIRST), port: at })
    }

    /// The rule as a message's attributes; `first_id` is the number of its first set.
    pub(super) fn attributes(&self, chain: &Chain, first_id: u32) -> Attributes {
        let expressions = self
            .exprs
            .iter()
            .flat_map(|expr| expr.encode(chain.table.family, first_id))
            .fold(Attributes::new(), |list, expr| list.nested(NFTA_LIST_ELEM, &expr));
        let comment = self.comment.as_deref().map(|text| {
            let end = (0..MAX_COMMENT.min(text.len() + 1)).rev().find(|&end| text.is_char_boundary(end));
            let text = &text.as_bytes()[..end.unwrap_or(0)];
            [&[UDATA_COMMENT, text.len() as u8 + 1], text, &[0]].concat()
        });
        Attributes::new()
            .text(NFTA_RULE_TABLE, &chain.table.name)
            .text(NFTA_RULE_CHAIN, &chain.name)
            .nested(NFTA_RULE_EXPRESSIONS, &expressions)
            .optional(comment, |rule, comment| rule.bytes(NFTA_RULE_USERDATA, &comment))
    }
}

fn named(set: &Set) -> SetRef {
    SetRef::Named(set.name.clone())
}
