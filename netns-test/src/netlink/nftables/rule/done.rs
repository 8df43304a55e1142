//! What a rule does with a packet.

use std::net::IpAddr;

use super::super::expr::{Expr, NatFlags, Reject, Verdict};
use super::super::field::{Field, Register};
use super::super::set::{Element, Set, Type, Value};
use super::super::table::{Chain, Family};
use super::{FIRST, NatTarget, Rule, named};

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
}
