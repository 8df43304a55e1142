//! Rules, in nft's words: what one asks is in `asked`, what it does in `done`, and the values that both take in `words`.

mod asked;
mod done;
mod words;

pub(crate) use self::words::{CtState, CtStatus, NatTarget, Ports};
use super::attributes::Attributes;
use super::expr::{Expr, SetRef};
use super::field::{Field, Needs, Register};
use super::set::{Element, Set};
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

impl Rule {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// The kernel's modules that its expressions take in a table of this family.
    pub(super) fn modules(&self, table: Family) -> Vec<&'static str> {
        let mut modules: Vec<_> = self.exprs.iter().filter_map(|expr| expr.module(table)).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
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
