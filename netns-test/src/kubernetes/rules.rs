//! Services as rules of nf_tables in every node, after the manner of kube-proxy's nftables mode.
//!
//! Pure: what is wanted to a batch. A packet to a service's address meets its service's chain, which goes to the chain of one of the
//! endpoints at random, where its destination is translated. What is not translated is rejected on its way out of the node.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use netns_test_model::Prefix;
use nix::libc::{IPPROTO_TCP, IPPROTO_UDP};

use super::redirect::{TO_GATEWAY, TO_GATEWAY_MASK, TO_PROXY};
use crate::netlink::nftables::{
    Batch, Chain, ChainKind, Element, Expr, Family, Field, Hook, NatTarget, Register, Reject, Rule, Set,
    Table, Type, Value, Verdict,
};

/// kube-proxy's name for its table.
const TABLE: &str = "kube-proxy";

/// The mark of packets whose source is to be translated as well, so that the answers come back this way: kube-proxy's.
const MASQUERADE: u32 = 0x4000;

/// How many clients the set of an endpoint holds, for session affinity.
const MOST_CLIENTS: u32 = 65_535;

/// The priorities of nft(8): `dstnat`, `srcnat`, `filter`, and right behind `dstnat`.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const FILTER: i32 = 0;
const AFTER_DSTNAT: i32 = -90;

/// A transport protocol of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => IPPROTO_TCP as u8,
            Self::Udp => IPPROTO_UDP as u8,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A port of a service at one of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Balanced {
    pub(super) service: String,
    pub(super) ip: IpAddr,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
    /// Addresses of the same family.
    pub(super) endpoints: Vec<IpAddr>,
    pub(super) target: u16,
    /// How long a client stays with its endpoint after its last connection.
    pub(super) affinity: Option<Duration>,
}

/// All that the nodes are to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) balanced: Vec<Balanced>,
    pub(super) pods: Vec<Prefix>,
    pub(super) services: Vec<Prefix>,
    /// Addresses of services that are the nodes' own.
    pub(super) name_servers: Vec<IpAddr>,
}

/// What the nodes know, beside what they always do.
#[derive(Clone, Debug, Default)]
pub(super) struct Installed {
    chains: BTreeSet<String>,
    /// By name, with whether it is of IPv4 addresses, and how long clients stay in it.
    clients: BTreeSet<(String, bool, Duration)>,
}

struct Rules {
    table: Table,
    chains: Vec<Chain>,
    rules: Vec<(Chain, Rule)>,
    clients: BTreeSet<(String, bool, Duration)>,
}

/// The change of a node's rules from what it knows to what it is to know; `own` are the node's addresses.
pub(super) fn change(wanted: &Wanted, own: &[IpAddr], known: &Installed) -> (Batch, Installed) {
    let rules = Rules::new(wanted, own);
    let table = &rules.table;
    let mut batch = Batch::new();
    batch.add_table(table);
    for name in &known.chains {
        batch.flush_chain(&table.chain(name));
    }
    for chain in &rules.chains {
        batch.add_chain(chain);
    }
    for (name, v4, stay) in rules.clients.difference(&known.clients) {
        batch.add_set(&clients(table, name, *v4, *stay));
    }
    let chains: BTreeSet<String> = rules.chains.iter().map(|chain| chain.name().to_owned()).collect();
    for (chain, rule) in rules.rules {
        batch.add_rule(&chain, rule);
    }
    for name in known.chains.difference(&chains) {
        batch.delete_chain(&table.chain(name));
    }
    for (name, v4, stay) in known.clients.difference(&rules.clients) {
        batch.delete_set(&clients(table, name, *v4, *stay));
    }
    (batch, Installed { chains, clients: rules.clients })
}

/// The clients that stay with an endpoint.
fn clients(table: &Table, name: &str, v4: bool, stay: Duration) -> Set {
    table.set(name, &[if v4 { Type::Ipv4Addr } else { Type::Ipv6Addr }]).dynamic(MOST_CLIENTS).timeout(stay)
}

impl Rules {
    fn new(wanted: &Wanted, own: &[IpAddr]) -> Self {
        let table = Table::new(Family::Inet, TABLE);
        let mut rules = Self { table, chains: Vec::new(), rules: Vec::new(), clients: BTreeSet::new() };
        let services = rules.chain("services");
        for (name, hook) in [("nat-prerouting", Hook::Prerouting), ("nat-output", Hook::Output)] {
            let chain = rules.base(name, ChainKind::Nat, hook, DSTNAT);
            // What goes to a proxy on the node, or to a gateway, is to arrive as it was sent.
            rules.add(&chain, Rule::new().mark(TO_PROXY).r#return());
            rules.add(&chain, Rule::new().masked_mark(TO_GATEWAY_MASK, TO_GATEWAY).r#return());
            rules.add(&chain, Rule::new().jump(&services));
        }
        for v4 in [true, false] {
            let of_family: Vec<&Balanced> = wanted
                .balanced
                .iter()
                .filter(|balanced| balanced.ip.is_ipv4() == v4 && !balanced.endpoints.is_empty())
                .collect();
            let elements: Vec<Element> = of_family
                .iter()
                .map(|balanced| {
                    let key = Value::concat([
                        balanced.ip.into(),
                        balanced.protocol.number().into(),
                        balanced.port.into(),
                    ]);
                    Element::new(key).verdict(Verdict::Goto(balanced.chain()))
                })
                .collect();
            for balanced in of_family {
                rules.balance(balanced, &wanted.pods);
            }
            let (field, kind) =
                if v4 { (Field::IpDaddr, Type::Ipv4Addr) } else { (Field::Ip6Daddr, Type::Ipv6Addr) };
            if !elements.is_empty() {
                let key = [kind, Type::InetProto, Type::InetService];
                rules.add(
                    &services,
                    Rule::new().vmap_of(&[field, Field::L4Proto, Field::Dport], &key, elements),
                );
            }
        }
        let postrouting = rules.base("nat-postrouting", ChainKind::Nat, Hook::Postrouting, SRCNAT);
        for ip in own {
            let rule = Rule::new().masked_mark(MASQUERADE, MASQUERADE).family(family(*ip));
            rules.add(&postrouting, rule.snat(&NatTarget::address(*ip)));
        }
        rules.reject(wanted);
        rules
    }

    fn chain(&mut self, name: &str) -> Chain {
        let chain = self.table.chain(name);
        self.chains.push(chain.clone());
        chain
    }

    fn base(&mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) -> Chain {
        let chain = self.table.base_chain(name, kind, hook, priority);
        self.chains.push(chain.clone());
        chain
    }

    fn add(&mut self, chain: &Chain, rule: Rule) {
        self.rules.push((chain.clone(), rule));
    }

    /// The chains of a service and of its endpoints.
    fn balance(&mut self, balanced: &Balanced, pods: &[Prefix]) {
        let Balanced { ip, protocol, endpoints, target, affinity, .. } = balanced;
        let chain = self.chain(&balanced.chain());
        // Whoever is no pod gets the answers by way of this node alone.
        if let Some(range) = pods.iter().find(|range| range.is_ipv4() == ip.is_ipv4()) {
            self.add(&chain, Rule::new().saddr_not(range.first(), range.length()).set_mark(MASQUERADE));
        }
        let source = if ip.is_ipv4() { Field::IpSaddr } else { Field::Ip6Saddr };
        let names: Vec<String> =
            endpoints.iter().map(|endpoint| format!("{}/{endpoint}", balanced.chain())).collect();
        for (name, endpoint) in names.iter().zip(endpoints) {
            let of_endpoint = self.chain(name);
            // A pod that is its own service's endpoint would take its own address for a forged one.
            self.add(
                &of_endpoint,
                Rule::new().saddr(*endpoint, if endpoint.is_ipv4() { 32 } else { 128 }).set_mark(MASQUERADE),
            );
            if let Some(stay) = affinity {
                let set = clients(&self.table, name, ip.is_ipv4(), *stay);
                self.clients.insert((name.clone(), ip.is_ipv4(), *stay));
                self.add(&chain, Rule::new().in_set(&[source], &set).goto(&of_endpoint));
                let key = Register(0);
                let note = Expr::Add {
                    set: name.clone(),
                    key,
                    data: None,
                    timeout: None,
                    refresh: true,
                    once: false,
                };
                self.add(&of_endpoint, Rule::new().load(source, key).push(note));
            }
            let target = NatTarget::address(*endpoint).port(*target);
            self.add(&of_endpoint, Rule::new().l4proto(protocol.number()).dnat(&target));
        }
        self.add(&chain, Rule::new().random_vmap(names.into_iter().map(Verdict::Goto)));
    }

    /// What is still for a service's address has no endpoint: the sender is told, by a reset where that is quickest.
    fn reject(&mut self, wanted: &Wanted) {
        for (name, hook, priority) in
            [("filter-forward", Hook::Forward, FILTER), ("filter-output", Hook::Output, AFTER_DSTNAT)]
        {
            let chain = self.base(name, ChainKind::Filter, hook, priority);
            self.add(&chain, Rule::new().masked_mark(TO_GATEWAY_MASK, TO_GATEWAY).accept());
            for ip in &wanted.name_servers {
                self.add(&chain, Rule::new().daddr(*ip, if ip.is_ipv4() { 32 } else { 128 }).accept());
            }
            let addresses: BTreeSet<IpAddr> = wanted.balanced.iter().map(|balanced| balanced.ip).collect();
            for ip in addresses {
                let to = || Rule::new().daddr(ip, if ip.is_ipv4() { 32 } else { 128 });
                self.add(&chain, to().tcp().reject(Reject::TcpReset));
                self.add(&chain, to().reject(Reject::PortUnreachable));
            }
            for range in &wanted.services {
                self.add(&chain, Rule::new().daddr(range.first(), range.length()).reject(Reject::NoRoute));
            }
        }
    }
}

impl Balanced {
    fn chain(&self) -> String {
        let version = if self.ip.is_ipv4() { 4 } else { 6 };
        format!("{}/{}/{}/v{version}", self.service, self.protocol.name(), self.port)
    }
}

fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::Ip } else { Family::Ip6 }
}
