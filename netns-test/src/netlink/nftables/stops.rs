//! What stops packets in a namespace, whoever has made the rules.

use nix::libc;

use super::attributes::{Attributes, find, read, text_of, u32_of, u64_of};
use super::read::{Counted, comment, counted};
use super::table::Family;
use super::{HEADER_LEN, Message};

// `enum nft_rule_attributes`, `nft_chain_attributes`, `nft_verdict_attributes` and their neighbours in
// `linux/netfilter/nf_tables.h`; `nft_target_attributes` in `linux/netfilter/nf_tables_compat.h`.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_COUNTERS: u16 = 8;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_TARGET_NAME: u16 = 1;

/// What a packet that is stopped meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Dropped,
    Rejected,
}

/// A rule, or the policy of a base chain, that stops what comes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// `inet`, `ip`, …
    pub(crate) family: &'static str,
    pub(crate) table: String,
    pub(crate) chain: String,
    /// The rule's handle, and its comment; `None` is the policy.
    pub(crate) rule: Option<(u64, Option<String>)>,
    pub(crate) fate: Fate,
    /// What has come to its counter, where it has one.
    pub(crate) counted: Option<Counted>,
}

/// Asks for the rules of all tables.
pub(super) fn all_rules() -> Message {
    Message::of_all(libc::NFT_MSG_GETRULE)
}

/// Asks for the chains of all tables.
pub(super) fn all_chains() -> Message {
    Message::of_all(libc::NFT_MSG_GETCHAIN)
}

/// A rule of an answer, if it stops packets.
pub(super) fn rule(payload: &[u8]) -> Option<Stop> {
    let (family, attributes) = split(payload)?;
    let expressions = find(attributes, NFTA_RULE_EXPRESSIONS)?;
    let fate = read(expressions).find_map(|(_, expression)| fate(expression))?;
    Some(Stop {
        family,
        table: find(attributes, NFTA_RULE_TABLE).map(text_of)?,
        chain: find(attributes, NFTA_RULE_CHAIN).map(text_of)?,
        rule: Some((
            find(attributes, NFTA_RULE_HANDLE).and_then(u64_of)?,
            find(attributes, NFTA_RULE_USERDATA).and_then(comment),
        )),
        fate,
        // A counter before another condition counts what passes as well.
        counted: counted(expressions).filter(|_| counts_what_stops(expressions)),
    })
}

/// The policy of a chain, if that is to drop.
pub(super) fn policy(payload: &[u8]) -> Option<Stop> {
    let (family, attributes) = split(payload)?;
    // Chains that are only jumped to have none.
    find(attributes, NFTA_CHAIN_HOOK)?;
    let policy = find(attributes, NFTA_CHAIN_POLICY).and_then(u32_of)?;
    (policy == libc::NF_DROP as u32).then_some(())?;
    Some(Stop {
        family,
        table: find(attributes, NFTA_CHAIN_TABLE).map(text_of)?,
        chain: find(attributes, NFTA_CHAIN_NAME).map(text_of)?,
        rule: None,
        fate: Fate::Dropped,
        counted: find(attributes, NFTA_CHAIN_COUNTERS).map(Counted::of),
    })
}

fn split(payload: &[u8]) -> Option<(&'static str, &[u8])> {
    Some((Family::name_of(*payload.first()?), payload.get(HEADER_LEN..)?))
}

/// Whether all that comes to the counter meets the verdict.
fn counts_what_stops(expressions: &[u8]) -> bool {
    let names = read(expressions)
        .map(|(_, expression)| find(expression, NFTA_EXPR_NAME).map(text_of).unwrap_or_default());
    let mut behind = names.skip_while(|name| name != "counter").skip(1);
    behind.all(|name| ["immediate", "log", "reject", "target"].contains(&name.as_str()))
}

fn fate(expression: &[u8]) -> Option<Fate> {
    let data = || find(expression, NFTA_EXPR_DATA);
    match text_of(find(expression, NFTA_EXPR_NAME)?).as_str() {
        "immediate" => {
            let verdict = find(find(data()?, NFTA_IMMEDIATE_DATA)?, NFTA_DATA_VERDICT)?;
            let code = find(verdict, NFTA_VERDICT_CODE).and_then(u32_of)?;
            (code == libc::NF_DROP as u32).then_some(Fate::Dropped)
        }
        "reject" => Some(Fate::Rejected),
        // Those of iptables, which nf_tables calls where it has none of its own.
        "target" => match text_of(find(data()?, NFTA_TARGET_NAME)?).as_str() {
            "DROP" => Some(Fate::Dropped),
            "REJECT" => Some(Fate::Rejected),
            _ => None,
        },
        _ => None,
    }
}

impl Message {
    /// Asks for all there is of a kind, whatever the family.
    fn of_all(kind: libc::c_int) -> Self {
        let kind = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8 | kind as u16;
        Self { kind, family: libc::AF_UNSPEC as u8, resource: 0, attributes: Attributes::new() }
    }
}
