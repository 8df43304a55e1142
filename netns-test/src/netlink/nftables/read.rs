//! Requests that name what is there, and what the kernel tells of it.

use std::time::Duration;

use nix::libc;

use super::Message;
use super::attributes::{Attributes, find, read, text_of, u64_of};
use super::rule::UDATA_COMMENT;
use super::set::Set;
use super::table::{Chain, Table};

// `enum nft_rule_attributes`, `nft_set_elem_list_attributes` and their neighbours in `linux/netfilter/nf_tables.h`.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_DATA_VALUE: u16 = 1;

pub(super) fn rules_of(table: &Table, chain: Option<&Chain>) -> Message {
    Message::new(libc::NFT_MSG_GETRULE, table.family, chain_of_rules(table, chain))
}

pub(super) fn chain_of_rules(table: &Table, chain: Option<&Chain>) -> Attributes {
    Attributes::new()
        .text(NFTA_RULE_TABLE, &table.name)
        .optional(chain, |attributes, chain| attributes.text(NFTA_RULE_CHAIN, &chain.name))
}

pub(super) fn set_by_name(table: &Table, set: &Set) -> Attributes {
    Attributes::new().text(NFTA_SET_TABLE, &table.name).text(NFTA_SET_NAME, &set.name)
}

pub(super) fn elements_of(table: &Table, set: &Set) -> Message {
    Message::new(libc::NFT_MSG_GETSETELEM, table.family, list_head(table, set))
}

pub(super) fn list_head(table: &Table, set: &Set) -> Attributes {
    Attributes::new().text(NFTA_SET_ELEM_LIST_TABLE, &table.name).text(NFTA_SET_ELEM_LIST_SET, &set.name)
}

/// Elements of a set; `id` names one that this batch makes.
pub(super) fn list_of(table: &Table, set: &Set, id: Option<u32>, elements: Attributes) -> Attributes {
    list_head(table, set)
        .optional(id, |attributes, id| attributes.u32(NFTA_SET_ELEM_LIST_SET_ID, id))
        .nested(NFTA_SET_ELEM_LIST_ELEMENTS, &elements)
}

/// A rule as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedRule {
    pub(crate) chain: String,
    /// By which it can be deleted.
    pub(crate) handle: u64,
    pub(crate) comment: Option<String>,
    /// What has come to its counter, where it has one.
    pub(crate) counted: Option<Counted>,
}

/// What a counter has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

pub(super) fn rule(attributes: &[u8]) -> Option<ListedRule> {
    let handle = find(attributes, NFTA_RULE_HANDLE).and_then(u64_of)?;
    let expressions = find(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default();
    let counted = counted(expressions);
    let chain = find(attributes, NFTA_RULE_CHAIN).map(text_of)?;
    let comment = find(attributes, NFTA_RULE_USERDATA).and_then(comment);
    Some(ListedRule { chain, handle, comment, counted })
}

/// What has come to the counter of a rule.
pub(super) fn counted(expressions: &[u8]) -> Option<Counted> {
    read(expressions)
        .map(|(_, expression)| expression)
        .find(|expression| find(expression, NFTA_EXPR_NAME).map(text_of).as_deref() == Some("counter"))
        .and_then(|expression| find(expression, NFTA_EXPR_DATA))
        .map(Counted::of)
}

impl Counted {
    pub(super) fn of(counter: &[u8]) -> Self {
        let number = |kind| find(counter, kind).and_then(u64_of).unwrap_or_default();
        Self { packets: number(NFTA_COUNTER_PACKETS), bytes: number(NFTA_COUNTER_BYTES) }
    }
}

/// The comment among what users noted on a rule: kind, length and value of each.
pub(super) fn comment(mut user_data: &[u8]) -> Option<String> {
    while let [kind, len, rest @ ..] = user_data {
        let (value, behind) = rest.split_at_checked(usize::from(*len))?;
        if *kind == UDATA_COMMENT {
            return Some(text_of(value));
        }
        user_data = behind;
    }
    None
}

/// An element of a set or map as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedElement {
    pub(crate) key: Vec<u8>,
    /// What a map has for the key, if that is no verdict.
    pub(crate) data: Option<Vec<u8>>,
    /// The time until it is gone.
    pub(crate) expires: Option<Duration>,
}

pub(super) fn elements(attributes: &[u8]) -> Vec<ListedElement> {
    let list = find(attributes, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or_default();
    let value = |element, kind| {
        let nested = find(element, kind)?;
        find(nested, NFTA_DATA_VALUE).map(<[u8]>::to_vec)
    };
    read(list)
        .filter_map(|(_, element)| {
            Some(ListedElement {
                key: value(element, NFTA_SET_ELEM_KEY)?,
                data: value(element, NFTA_SET_ELEM_DATA),
                expires: find(element, NFTA_SET_ELEM_EXPIRATION).and_then(u64_of).map(Duration::from_millis),
            })
        })
        .collect()
}
