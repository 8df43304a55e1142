//! Network policies as rules of nf_tables in the pods' nodes.
//!
//! Pure: what is wanted to a batch. The first packet of a connection meets, where a node passes it on, the chain of the pod that sends it,
//! and then that of the pod that it is for. Such a chain returns what a policy allows, and goes on to one that counts and drops. Services
//! have been balanced by then, so that pods are met by their own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Peer, PolicyRule, PolicyType, of_family};
use crate::kubernetes::rules::Protocol;
use crate::kubernetes::state::{PolicyEntry, View};
use crate::netlink::nftables::{
    Batch, Chain, ChainKind, CtState, Element, Family, Field, Hook, Reject, Rule, Set, Table, Type, Value,
    Verdict,
};

/// Behind `filter`, in which services refuse what nobody serves.
const AFTER_FILTER: i32 = 10;

pub(super) fn table() -> Table {
    Table::new(Family::Inet, "network-policies")
}

/// The direction and the pod whose denied packets a chain counts.
pub(super) fn denied_of(chain: &str) -> Option<(PolicyType, &str)> {
    let (direction, pod) = chain.strip_prefix("denied/")?.split_once('/')?;
    let of_name = |kind: &PolicyType| kind.name() == direction;
    Some(([PolicyType::Ingress, PolicyType::Egress].into_iter().find(of_name)?, pod))
}

/// What a node's table has, or is to have: chains with their rules, and sets of addresses, both by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::kubernetes) struct Installed {
    chains: BTreeMap<String, (Chain, Vec<Rule>)>,
    sets: BTreeMap<String, (bool, BTreeSet<IpAddr>)>,
}

/// What a node is to have; `own` are the addresses of the name server in it.
pub(in crate::kubernetes) fn wanted(view: &View, node: usize, own: &[IpAddr]) -> Installed {
    let mut wanted = Installed::default();
    let mut allowed: BTreeMap<(&str, PolicyType), Vec<Rule>> = BTreeMap::new();
    // Of each direction, the interfaces of isolated pods.
    let mut isolated = [PolicyType::Egress, PolicyType::Ingress].map(|direction| (direction, Vec::new()));
    for pod in view.pods.iter().filter(|pod| pod.node == node) {
        let Some(veth) = &pod.veth else { continue };
        for (direction, interfaces) in &mut isolated {
            let policies: Vec<&PolicyEntry> = view.isolating(pod, *direction).collect();
            if policies.is_empty() {
                continue;
            }
            let denied = wanted.chain(table().chain(format!("denied/{}/{}", direction.name(), pod.name)));
            for rule in deny(policies.iter().any(|policy| policy.is_told)) {
                wanted.add(&denied, rule);
            }
            let chain = wanted.chain(table().chain(format!("{}/{}", direction.name(), pod.name)));
            // By way of a service a pod may come back to itself, which nothing denies.
            let to_itself = match direction {
                PolicyType::Egress => Rule::new().oifname(veth),
                PolicyType::Ingress => Rule::new().iifname(veth),
            };
            wanted.add(&chain, to_itself.accept());
            for policy in policies {
                let rules = allowed
                    .entry((&policy.name, *direction))
                    .or_insert_with(|| wanted.allowed(view, policy, *direction));
                rules.iter().for_each(|rule| wanted.add(&chain, rule.clone()));
            }
            wanted.add(&chain, Rule::new().goto(&denied));
            let verdict = Verdict::Jump(chain.name().to_owned());
            interfaces.push(Element::new(Value::name(veth)).verdict(verdict));
        }
    }
    let [(_, egress), (_, ingress)] = isolated;
    if !egress.is_empty() {
        // What a node gets itself is not judged, but for questions about names.
        let input = wanted.begun("input", Hook::Input);
        for ip in own {
            let rule = Rule::new().daddr(*ip, if ip.is_ipv4() { 32 } else { 128 });
            wanted.add(&input, rule.vmap_of(&[Field::IifName], &[Type::IfName], egress.clone()));
        }
    }
    if !egress.is_empty() || !ingress.is_empty() {
        let forward = wanted.begun("forward", Hook::Forward);
        for (field, elements) in [(Field::IifName, egress), (Field::OifName, ingress)] {
            if !elements.is_empty() {
                wanted.add(&forward, Rule::new().vmap_of(&[field], &[Type::IfName], elements));
            }
        }
    }
    wanted
}

/// What becomes of a packet that is denied: it is counted, and then dropped or refused.
fn deny(is_told: bool) -> Vec<Rule> {
    let counted = Rule::new().counter();
    match is_told {
        false => vec![counted.drop()],
        true => vec![
            counted,
            Rule::new().tcp().reject(Reject::TcpReset),
            Rule::new().reject(Reject::PortUnreachable),
        ],
    }
}

impl Installed {
    fn chain(&mut self, chain: Chain) -> Chain {
        self.chains.insert(chain.name().to_owned(), (chain.clone(), Vec::new()));
        chain
    }

    fn add(&mut self, chain: &Chain, rule: Rule) {
        if let Some((_, rules)) = self.chains.get_mut(chain.name()) {
            rules.push(rule);
        }
    }

    /// A chain of what begins: TCP by its SYN, so that connections which were there before the policy go on.
    fn begun(&mut self, name: &str, hook: Hook) -> Chain {
        let chain = self.chain(table().base_chain(name, ChainKind::Filter, hook, AFTER_FILTER));
        self.add(&chain, Rule::new().ct_state(CtState::ESTABLISHED | CtState::RELATED).accept());
        self.add(&chain, Rule::new().tcp_not_syn().accept());
        chain
    }

    /// The rules that return what a policy allows, and the sets that they ask.
    fn allowed(&mut self, view: &View, policy: &PolicyEntry, direction: PolicyType) -> Vec<Rule> {
        let rules = match direction {
            PolicyType::Ingress => &policy.ingress,
            PolicyType::Egress => &policy.egress,
        };
        let mut all = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let name = format!("{}/{}/{number}", policy.name, direction.name());
            for peer in self.peers(view, rule, direction, &name) {
                match rule.ports.is_empty() {
                    true => all.push(peer.r#return()),
                    false => all.extend(rule.ports.iter().map(|&(protocol, first, last)| {
                        let peer = peer.clone();
                        let of_port = match protocol {
                            Protocol::Tcp => peer.tcp_dport(first..=last),
                            Protocol::Udp => peer.udp_dport(first..=last),
                        };
                        of_port.r#return()
                    })),
                }
            }
        }
        all
    }

    /// A rule for each of the peers, of which packets match that come from it, or go there.
    fn peers(&mut self, view: &View, rule: &PolicyRule, direction: PolicyType, name: &str) -> Vec<Rule> {
        if rule.peers.is_empty() {
            return vec![Rule::new()];
        }
        let mut all = Vec::new();
        for (number, peer) in rule.peers.iter().enumerate() {
            match peer {
                Peer::Pods(labels) => {
                    for v4 in [true, false] {
                        let name = format!("{name}/{number}/v{}", if v4 { 4 } else { 6 });
                        let field = match (direction, v4) {
                            (PolicyType::Ingress, true) => Field::IpSaddr,
                            (PolicyType::Ingress, false) => Field::Ip6Saddr,
                            (PolicyType::Egress, true) => Field::IpDaddr,
                            (PolicyType::Egress, false) => Field::Ip6Daddr,
                        };
                        all.push(Rule::new().in_set(&[field], &set(&name, v4)));
                        let pods = view.pods.iter().filter(|pod| pod.has(labels));
                        self.sets.insert(name, (v4, pods.flat_map(|pod| of_family(pod, v4)).collect()));
                    }
                }
                Peer::Block { block, except } => {
                    let (ip, length) = (block.first(), block.length());
                    let inside = match direction {
                        PolicyType::Ingress => Rule::new().saddr(ip, length),
                        PolicyType::Egress => Rule::new().daddr(ip, length),
                    };
                    all.push(except.iter().fold(inside, |rule, part| match direction {
                        PolicyType::Ingress => rule.saddr_not(part.first(), part.length()),
                        PolicyType::Egress => rule.daddr_not(part.first(), part.length()),
                    }));
                }
                // It was read when the policy was created.
                Peer::Written { .. } => {}
            }
        }
        all
    }
}

fn set(name: &str, v4: bool) -> Set {
    table().set(name, &[if v4 { Type::Ipv4Addr } else { Type::Ipv6Addr }])
}

/// The change of a node's rules from what it has to what it is to have; nothing where that is the same. What stays keeps its counters.
pub(in crate::kubernetes) fn change(wanted: &Installed, known: &Installed) -> Option<Batch> {
    if wanted == known {
        return None;
    }
    let mut batch = Batch::new();
    batch.add_table(&table());
    if wanted.chains.is_empty() {
        batch.delete_table(&table());
        return Some(batch);
    }
    let changed = |name: &String| wanted.chains.get(name) != known.chains.get(name);
    for (_, (chain, _)) in known.chains.iter().filter(|(name, _)| changed(name)) {
        batch.flush_chain(chain);
    }
    for (name, (chain, _)) in &wanted.chains {
        if !known.chains.contains_key(name) {
            batch.add_chain(chain);
        }
    }
    for (name, (v4, addresses)) in &wanted.sets {
        let set = set(name, *v4);
        let none = BTreeSet::new();
        let before = known.sets.get(name).map_or(&none, |(_, before)| before);
        if !known.sets.contains_key(name) {
            batch.add_set(&set);
        }
        let elements = |ips: Vec<&IpAddr>| ips.into_iter().map(|ip| Element::new(*ip)).collect::<Vec<_>>();
        batch.delete_elements(&set, &elements(before.difference(addresses).collect()));
        batch.add_elements(&set, &elements(addresses.difference(before).collect()));
    }
    for (_, (chain, rules)) in wanted.chains.iter().filter(|(name, _)| changed(name)) {
        for rule in rules {
            batch.add_rule(chain, rule.clone());
        }
    }
    for (_, (chain, _)) in known.chains.iter().filter(|(name, _)| !wanted.chains.contains_key(*name)) {
        batch.delete_chain(chain);
    }
    for (name, (v4, _)) in known.sets.iter().filter(|(name, _)| !wanted.sets.contains_key(*name)) {
        batch.delete_set(&set(name, *v4));
    }
    Some(batch)
}
