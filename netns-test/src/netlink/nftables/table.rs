//! Tables and chains: where rules stand.

use nix::libc;

use super::attributes::Attributes;

// `enum nft_table_attributes`, `nft_chain_attributes` and `nft_hook_attributes` in `linux/netfilter/nf_tables.h`.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;

/// What a table's rules see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

impl Family {
    /// `NFPROTO_*`
    pub(super) fn number(self) -> u8 {
        let number = match self {
            Self::Inet => libc::NFPROTO_INET,
            Self::Ip => libc::NFPROTO_IPV4,
            Self::Ip6 => libc::NFPROTO_IPV6,
        };
        number as u8
    }

    /// The name of a number, of whatever family.
    pub(super) fn name_of(number: u8) -> &'static str {
        match libc::c_int::from(number) {
            libc::NFPROTO_INET => "inet",
            libc::NFPROTO_IPV4 => "ip",
            libc::NFPROTO_IPV6 => "ip6",
            libc::NFPROTO_NETDEV => "netdev",
            libc::NFPROTO_ARP => "arp",
            libc::NFPROTO_BRIDGE => "bridge",
            _ => "?",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
        }
    }
}

/// A table: a name for chains and sets that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(super) family: Family,
    pub(super) name: String,
}

impl Table {
    pub(crate) fn new(family: Family, name: impl Into<String>) -> Self {
        Self { family, name: name.into() }
    }

    /// A chain of rules that others jump to.
    pub(crate) fn chain(&self, name: impl Into<String>) -> Chain {
        Chain { table: self.clone(), name: name.into(), base: None }
    }

    /// A chain that packets pass at `hook`, in the order of the priorities. What no rule decides on is accepted.
    pub(crate) fn base_chain(
        &self,
        name: impl Into<String>,
        kind: ChainKind,
        hook: Hook,
        priority: i32,
    ) -> Chain {
        let base = Base { kind, hook: hook.number(), priority };
        Chain { base: Some(base), ..self.chain(name) }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes::new().text(NFTA_TABLE_NAME, &self.name)
    }

    /// Whether it is the one with this family and name.
    pub(crate) fn is(&self, family: &str, name: &str) -> bool {
        self.family.name() == family && self.name == name
    }

    /// `inet filter`
    pub(super) fn describe(&self) -> String {
        format!("`{} {}`", self.family.name(), self.name)
    }
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(super) table: Table,
    pub(super) name: String,
    base: Option<Base>,
}

/// What makes a chain see packets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    kind: ChainKind,
    hook: u32,
    priority: i32,
}

/// What a base chain is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChainKind {
    Filter,
    /// Sees the first packet of each connection, and decides how all of them are translated.
    Nat,
    /// As `Filter`; the packet is routed anew where a rule changed it (output alone).
    Route,
}

impl ChainKind {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

/// Where packets pass a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

impl Hook {
    fn number(self) -> u32 {
        let number = match self {
            Self::Prerouting => libc::NF_INET_PRE_ROUTING,
            Self::Input => libc::NF_INET_LOCAL_IN,
            Self::Forward => libc::NF_INET_FORWARD,
            Self::Output => libc::NF_INET_LOCAL_OUT,
            Self::Postrouting => libc::NF_INET_POST_ROUTING,
        };
        number as u32
    }
}

impl Chain {
    #[cfg(feature = "kubernetes")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's modules that it takes.
    pub(super) fn modules(&self) -> Vec<&'static str> {
        match &self.base {
            Some(Base { kind: ChainKind::Nat, .. }) => vec!["nft_chain_nat"],
            _ => Vec::new(),
        }
    }

    pub(super) fn attributes(&self) -> Attributes {
        let attributes =
            Attributes::new().text(NFTA_CHAIN_TABLE, &self.table.name).text(NFTA_CHAIN_NAME, &self.name);
        attributes.optional(self.base.as_ref(), |attributes, base| {
            let hook = Attributes::new()
                .u32(NFTA_HOOK_HOOKNUM, base.hook)
                .u32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned());
            attributes.nested(NFTA_CHAIN_HOOK, &hook).text(NFTA_CHAIN_TYPE, base.kind.name())
        })
    }

    /// The table and the name alone, which is enough for what is there already.
    pub(super) fn name_attributes(&self) -> Attributes {
        Self { base: None, ..self.clone() }.attributes()
    }

    /// `inet filter forward`
    pub(super) fn describe(&self) -> String {
        format!("`{} {} {}`", self.table.family.name(), self.table.name, self.name)
    }
}
