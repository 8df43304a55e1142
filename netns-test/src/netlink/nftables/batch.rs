//! Changes that are made together.

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use nix::libc;

use super::attributes::Attributes;
use super::rule::Rule;
use super::set::{Element, Set};
use super::table::{Chain, Table};
use super::{Message, read};

/// Changes that the kernel makes in order, all of them or none.
#[derive(Default)]
#[must_use = "a batch does nothing before it is sent"]
pub(crate) struct Batch {
    changes: Vec<(Message, u16)>,
    /// What each change does and takes, for when it is refused.
    descriptions: Vec<Description>,
    /// The number of the next set, by which messages of this batch name it.
    next_set: u32,
}

pub(super) struct Description {
    /// What is done, in words.
    pub(super) text: String,
    /// The kernel's modules that it takes beside nf_tables.
    pub(super) modules: Vec<&'static str>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a table; one that is there already stays as it is.
    pub(crate) fn add_table(&mut self, table: &Table) {
        self.push(
            libc::NFT_MSG_NEWTABLE,
            NLM_F_CREATE,
            table,
            table.attributes(),
            format!("add the table {}", table.describe()),
        );
    }

    /// Deletes a table with all that is in it.
    pub(crate) fn delete_table(&mut self, table: &Table) {
        self.push(
            libc::NFT_MSG_DELTABLE,
            0,
            table,
            table.attributes(),
            format!("delete the table {}", table.describe()),
        );
    }

    /// Adds a chain; one that is there already keeps its rules.
    pub(crate) fn add_chain(&mut self, chain: &Chain) {
        self.push(
            libc::NFT_MSG_NEWCHAIN,
            NLM_F_CREATE,
            &chain.table,
            chain.attributes(),
            format!("add the chain {}", chain.describe()),
        );
        self.takes(chain.modules());
    }

    /// Deletes a chain, which must be empty of rules unless it is a base chain, and no rule may jump to it.
    pub(crate) fn delete_chain(&mut self, chain: &Chain) {
        self.push(
            libc::NFT_MSG_DELCHAIN,
            0,
            &chain.table,
            chain.name_attributes(),
            format!("delete the chain {}", chain.describe()),
        );
    }

    /// Deletes all rules of a chain.
    pub(crate) fn flush_chain(&mut self, chain: &Chain) {
        let attributes = read::chain_of_rules(&chain.table, Some(chain));
        self.push(
            libc::NFT_MSG_DELRULE,
            0,
            &chain.table,
            attributes,
            format!("delete the rules of the chain {}", chain.describe()),
        );
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn add_rule(&mut self, chain: &Chain, rule: Rule) {
        let first_id = self.next_set + 1;
        for (set, elements) in &rule.sets {
            self.new_set(&chain.table, set, format!("add a set to a rule of the chain {}", chain.describe()));
            for list in Set::encode(elements) {
                let attributes = read::list_of(&chain.table, set, Some(self.next_set), list);
                self.push(
                    libc::NFT_MSG_NEWSETELEM,
                    NLM_F_CREATE,
                    &chain.table,
                    attributes,
                    format!("fill the set of a rule of the chain {}", chain.describe()),
                );
            }
        }
        let attributes = rule.attributes(chain, first_id);
        self.push(
            libc::NFT_MSG_NEWRULE,
            NLM_F_CREATE | NLM_F_APPEND,
            &chain.table,
            attributes,
            match &rule.comment {
                Some(comment) => format!("add the rule \"{comment}\" to the chain {}", chain.describe()),
                None => format!("add a rule to the chain {}", chain.describe()),
            },
        );
        self.takes(rule.modules(chain.table.family));
    }

    /// What the last change takes.
    fn takes(&mut self, modules: Vec<&'static str>) {
        if let Some(last) = self.descriptions.last_mut() {
            last.modules = modules;
        }
    }

    /// Adds a set or map of a table.
    pub(crate) fn add_set(&mut self, set: &Set) {
        let Some(table) = &set.table else { return };
        self.new_set(table, set, format!("add the set `{}` to the table {}", set.name, table.describe()));
    }

    fn new_set(&mut self, table: &Table, set: &Set, description: String) {
        self.next_set += 1;
        let attributes = set.attributes(table, self.next_set);
        self.push(libc::NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL, table, attributes, description);
    }

    pub(crate) fn delete_set(&mut self, set: &Set) {
        let Some(table) = &set.table else { return };
        let attributes = read::set_by_name(table, set);
        self.push(
            libc::NFT_MSG_DELSET,
            0,
            table,
            attributes,
            format!("delete the set `{}` of the table {}", set.name, table.describe()),
        );
    }

    /// Adds elements; those that are there already, with the same data, stay as they are.
    pub(crate) fn add_elements(&mut self, set: &Set, elements: &[Element]) {
        self.change_elements(libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements, "add elements to");
    }

    pub(crate) fn delete_elements(&mut self, set: &Set, elements: &[Element]) {
        self.change_elements(libc::NFT_MSG_DELSETELEM, 0, set, elements, "delete elements of");
    }

    /// Deletes all elements.
    pub(crate) fn flush_set(&mut self, set: &Set) {
        let Some(table) = &set.table else { return };
        let attributes = read::list_head(table, set);
        self.push(
            libc::NFT_MSG_DELSETELEM,
            0,
            table,
            attributes,
            format!("empty the set `{}` of the table {}", set.name, table.describe()),
        );
    }

    fn change_elements(
        &mut self,
        kind: libc::c_int,
        flags: u16,
        set: &Set,
        elements: &[Element],
        what: &'static str,
    ) {
        let Some(table) = &set.table else { return };
        // A list without elements would stand for all of them.
        for list in Set::encode(elements).into_iter().filter(|list| list.len() > 0) {
            let attributes = read::list_of(table, set, None, list);
            self.push(
                kind,
                flags,
                table,
                attributes,
                format!("{what} the set `{}` of the table {}", set.name, table.describe()),
            );
        }
    }

    fn push(
        &mut self,
        kind: libc::c_int,
        flags: u16,
        table: &Table,
        attributes: Attributes,
        description: String,
    ) {
        self.changes.push((Message::new(kind, table.family, attributes), flags));
        self.descriptions.push(Description { text: description, modules: Vec::new() });
    }

    /// The messages between their brackets, unless there are none, and what each does.
    pub(super) fn finish(mut self) -> (Option<Vec<(Message, u16)>>, Vec<Description>) {
        let Some((_, flags)) = self.changes.last_mut() else { return (None, Vec::new()) };
        // Of the brackets themselves only newer kernels acknowledge the last (Linux 6.10).
        *flags |= NLM_F_ACK;
        let bracket = |kind: libc::c_int| {
            let resource = libc::NFNL_SUBSYS_NFTABLES as u16;
            let family = libc::AF_UNSPEC as u8;
            (Message { kind: kind as u16, family, resource, attributes: Attributes::new() }, 0)
        };
        let mut messages = vec![bracket(libc::NFNL_MSG_BATCH_BEGIN)];
        messages.append(&mut self.changes);
        messages.push(bracket(libc::NFNL_MSG_BATCH_END));
        (Some(messages), self.descriptions)
    }
}
