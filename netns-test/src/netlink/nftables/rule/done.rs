//! What a rule does with a packet.

use std::net::IpAddr;

use super::super::expr::{Expr, Reject, Verdict};
use super::super::field::{Field, Register};
use super::super::set::{Element, Set, Type, Value};
use super::super::table::{Chain, Family};
use super::{FIRST, NatTarget, Rule};

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

    pub(crate) fn set_mark(self, mark: u32) -> Self {
        self.push(Expr::Immediate(FIRST, Value::host(mark))).push(Expr::SetMark(FIRST))
    }

    pub(crate) fn set_ct_mark(self, mark: u32) -> Self {
        self.push(Expr::Immediate(FIRST, Value::host(mark))).push(Expr::SetCtMark(FIRST))
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
        if let Some(ip) = target.address {
            rule = rule.family(if ip.is_ipv6() { Family::Ip6 } else { Family::Ip });
        }
        let address = target.address.map(|ip| put(&mut rule, ip.into()));
        let port = target.port.map(|port| put(&mut rule, port.into()));
        let family = rule.family.unwrap_or(Family::Inet);
        rule.push(Expr::Nat { source, family, address, port })
    }

    /// Translates the source to the address of the interface that the packet leaves by.
    pub(crate) fn masquerade(self) -> Self {
        self.push(Expr::Masquerade)
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
