//! Tables and chains: where rules stand.

use nix::libc;

use super::attributes::Attributes;

// `enum nft_table_attributes`, `nft_chain_attributes` and `nft_hook_attributes` in `linux/netfilter/nf_tables.h`.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;

/// What a table's rules see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// All frames of one interface.
    Netdev,
}

impl Family {
    /// `NFPROTO_*`
    pub(super) fn number(self) -> u8 {
        let number = match self {
            Self::Inet => libc::NFPROTO_INET,
            Self::Ip => libc::NFPROTO_IPV4,
            Self::Ip6 => libc::NFPROTO_IPV6,
            Self::Netdev => libc::NFPROTO_NETDEV,
        };
        number as u8
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Netdev => "netdev",
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

    /// A chain that packets pass at `hook`, in the order of the priorities.
    pub(crate) fn base_chain(
        &self,
        name: impl Into<String>,
        kind: ChainKind,
        hook: Hook<'_>,
        priority: i32,
    ) -> Chain {
        let device = match hook {
            Hook::Ingress(device) | Hook::Egress(device) => Some(device.to_owned()),
            _ => None,
        };
        let hook = hook.number();
        let base = Base { kind, hook, device, priority, policy: Policy::Accept };
        Chain { base: Some(base), ..self.chain(name) }
    }

    pub(super) fn attributes(&self) -> Attributes {
        Attributes::new().text(NFTA_TABLE_NAME, &self.name)
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
    device: Option<String>,
    priority: i32,
    policy: Policy,
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
pub(crate) enum Hook<'a> {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// What an interface receives, in a `netdev` table.
    Ingress(&'a str),
    /// What an interface sends, in a `netdev` table; Linux 5.16 and newer.
    Egress(&'a str),
}

impl Hook<'_> {
    fn number(self) -> u32 {
        let number = match self {
            Self::Prerouting => libc::NF_INET_PRE_ROUTING,
            Self::Input => libc::NF_INET_LOCAL_IN,
            Self::Forward => libc::NF_INET_FORWARD,
            Self::Output => libc::NF_INET_LOCAL_OUT,
            Self::Postrouting => libc::NF_INET_POST_ROUTING,
            Self::Ingress(_) => libc::NF_NETDEV_INGRESS,
            Self::Egress(_) => libc::NF_NETDEV_EGRESS,
        };
        number as u32
    }
}

/// What happens to a packet that no rule of a base chain decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Accept,
    Drop,
}

impl Chain {
    #[cfg(feature = "kubernetes")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same base chain with another policy than `accept`.
    pub(crate) fn policy(mut self, policy: Policy) -> Self {
        if let Some(base) = &mut self.base {
            base.policy = policy;
        }
        self
    }

    pub(super) fn attributes(&self) -> Attributes {
        let attributes =
            Attributes::new().text(NFTA_CHAIN_TABLE, &self.table.name).text(NFTA_CHAIN_NAME, &self.name);
        attributes.optional(self.base.as_ref(), |attributes, base| {
            let hook = Attributes::new()
                .u32(NFTA_HOOK_HOOKNUM, base.hook)
                .u32(NFTA_HOOK_PRIORITY, base.priority.cast_unsigned())
                .optional(base.device.as_deref(), |hook, device| hook.text(NFTA_HOOK_DEV, device));
            let policy = match base.policy {
                Policy::Accept => libc::NF_ACCEPT,
                Policy::Drop => libc::NF_DROP,
            };
            attributes
                .nested(NFTA_CHAIN_HOOK, &hook)
                .u32(NFTA_CHAIN_POLICY, policy as u32)
                .text(NFTA_CHAIN_TYPE, base.kind.name())
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
