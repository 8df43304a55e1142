//! What a rule asks of a packet.

use std::net::IpAddr;

use nix::libc;

use super::super::expr::{Compare, Expr};
use super::super::field::Field;
use super::super::set::{Element, Set, Type, Value};
use super::super::table::Family;
use super::{CtState, CtStatus, FIRST, Ports, Rule, named};

/// What is asked.
impl Rule {
    pub(crate) fn iifname(self, name: &str) -> Self {
        self.equals(Field::IifName, Value::name(name))
    }

    pub(crate) fn oifname(self, name: &str) -> Self {
        self.equals(Field::OifName, Value::name(name))
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

    pub(crate) fn tcp_dport(self, ports: impl Into<Ports>) -> Self {
        self.tcp().ports(Field::Dport, ports.into(), Compare::Is)
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
}
