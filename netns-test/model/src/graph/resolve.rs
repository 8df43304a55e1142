//! From a graph as it was declared to one that can be built, or to all that is wrong with it.

use std::collections::{HashMap, HashSet};

use super::gateways::Domains;
use super::interface::check_interface;
use super::{
    Graph, GraphProblem, Host, Interface, Kind, Link, MAX_INTERFACES, Place, Resolved, Segment, addresses,
};
use crate::name::check_name;
use crate::{Family, MAX_NODES, closest};

/// The least MTU of IPv4 (RFC 791 section 3.2) and of IPv6 (RFC 8200 section 5), and the most of a veth.
const MTU: (u32, u32, u32) = (68, 1280, 65535);

impl Graph {
    /// The network that can be built from it.
    ///
    /// # Errors
    ///
    /// Every [`GraphProblem`] that there is.
    pub fn resolve(&self, family: Family) -> Result<Resolved, Vec<GraphProblem>> {
        let mut problems = Problems::default();
        self.check_members(&mut problems);
        let ends = self.ends(&mut problems);
        self.check_mtus(family, &ends, &mut problems);
        self.check_vlans(&ends, &mut problems);
        let (mut resolved, placed) = self.wired(&ends, &mut problems);
        self.name_interfaces(&mut resolved.interfaces, &placed, &mut problems);
        self.check_owners(&placed, &mut problems);
        self.find_gateways(family, &placed, &mut resolved, &mut problems);
        let domains = Domains::new(&resolved);
        addresses::assign(self, family, &placed, &domains, &mut resolved, &mut problems);
        domains.check(self, family, &resolved, &mut problems);
        resolved.conditioned = self.conditioned(&placed, &mut problems);
        if problems.0.is_empty() { Ok(resolved) } else { Err(problems.0) }
    }

    fn check_members(&self, problems: &mut Problems) {
        let hosts = self.members.iter().filter(|member| member.kind != Kind::Switch).count();
        for (count, what) in [(hosts, "nodes"), (self.members.len() - hosts, "switches")] {
            if count > MAX_NODES {
                let message = format!("{count} {what} are too many: a network has at most {MAX_NODES}");
                problems.add(Place::Graph, message);
            }
        }
        // Host names compare without regard to case (RFC 4343).
        let mut seen = HashMap::new();
        for (index, member) in self.members.iter().enumerate() {
            let name = &member.name;
            if let Err(message) = check_name(name) {
                problems.add(Place::Member(index), message);
            }
            if let Some(first) = seen.insert(name.to_ascii_lowercase(), member.kind) {
                let message = match first == member.kind {
                    true => format!("`{name}` is declared twice: remove or rename one"),
                    false => format!(
                        "`{name}` is declared twice, as a {first} and as a {}: rename one",
                        member.kind
                    ),
                };
                problems.add(Place::Member(index), message);
            }
        }
    }

    /// Of each link that has two ends the members there, by index.
    fn ends(&self, problems: &mut Problems) -> Vec<Option<[usize; 2]>> {
        let by_name: HashMap<&str, usize> = self
            .members
            .iter()
            .enumerate()
            .rev()
            .map(|(index, member)| (member.name.as_str(), index))
            .collect();
        let mut links = vec![0_usize; self.members.len()];
        let mut ends = Vec::with_capacity(self.links.len());
        for (number, link) in self.links.iter().enumerate() {
            let mut found = [None; 2];
            for (side, end) in link.ends.iter().enumerate() {
                let name = end.member.as_str();
                found[side] = by_name.get(name).copied();
                let Some(member) = found[side] else {
                    let names = self.members.iter().map(|member| member.name.as_str());
                    problems.add(
                        Place::End(number, side),
                        match closest(name, names) {
                            Some(near) => format!("there is no `{name}`: did you mean `{near}`?"),
                            None => {
                                format!("there is no `{name}`: declare it as a node, a router or a switch")
                            }
                        },
                    );
                    continue;
                };
                if let (Kind::Switch, Some(_)) = (self.members[member].kind, &end.interface) {
                    let message =
                        format!("`{name}` is a switch, and its ports have no names: write `{name}`");
                    problems.add(Place::Interface(number, side), message);
                }
                links[member] += 1;
                if links[member] == MAX_INTERFACES + 1 && self.members[member].kind != Kind::Switch {
                    let message = format!("`{name}` has too many links: a node has at most {MAX_INTERFACES}");
                    problems.add(Place::End(number, side), message);
                }
            }
            let both = match found {
                [Some(left), Some(right)] if left == right => {
                    let message =
                        format!("`{}` is linked to itself: a link has two ends", self.members[left].name);
                    problems.add(Place::Link(number), message);
                    None
                }
                [Some(left), Some(right)] => Some([left, right]),
                _ => None,
            };
            ends.push(both);
        }
        ends
    }

    fn check_mtus(&self, family: Family, ends: &[Option<[usize; 2]>], problems: &mut Problems) {
        let (v4, v6, most) = MTU;
        for (number, link) in self.links.iter().enumerate() {
            let Some(mtu) = link.mtu else { continue };
            let between_switches = ends[number]
                .is_some_and(|ends| ends.iter().all(|end| self.members[*end].kind == Kind::Switch));
            let message = if mtu < v4 {
                format!("`mtu = {mtu}` is too small: IPv4 needs {v4} (RFC 791 section 3.2)")
            } else if mtu < v6 && family.has_v6() {
                format!(
                    "`mtu = {mtu}` is too small: IPv6 needs {v6} (RFC 8200 section 5); `family = v4` takes less"
                )
            } else if mtu > most {
                format!("`mtu = {mtu}` is too large: a link has at most {most}")
            } else if between_switches {
                format!("`{link}` has no node's interface to set the MTU of: write `mtu` to the nodes' links")
            } else {
                continue;
            };
            problems.add(Place::Mtu(number), message);
        }
    }

    /// Hosts, interfaces without names and addresses, and segments without prefixes; and what of them each link is.
    fn wired(&self, ends: &[Option<[usize; 2]>], problems: &mut Problems) -> (Resolved, Vec<Option<Placed>>) {
        let mut hosts = Vec::new();
        let mut host_of = vec![None; self.members.len()];
        for (index, member) in self.members.iter().enumerate() {
            if member.kind != Kind::Switch {
                host_of[index] = Some(hosts.len());
                let is_router = member.kind == Kind::Router;
                hosts.push(Host { name: member.name.clone(), is_router, gateway: None });
            }
        }
        let mut parts = self.parts(ends, problems);
        let mut segment_of_switch = HashMap::new();
        let mut segments: Vec<Segment> = Vec::new();
        let mut interfaces: Vec<Interface> = Vec::new();
        let mut placed = Vec::with_capacity(self.links.len());
        for (number, (link, ends)) in self.links.iter().zip(ends).enumerate() {
            let Some(ends) = ends else {
                placed.push(None);
                continue;
            };
            let mut new = || {
                segments.push(Segment::default());
                segments.len() - 1
            };
            let segment = match ends.iter().find(|end| host_of[**end].is_none()) {
                Some(switch) => {
                    let is_between = ends.iter().all(|end| host_of[*end].is_none());
                    let part = parts.of(*switch, link.vlan, is_between);
                    *segment_of_switch.entry(part).or_insert_with(new)
                }
                None => new(),
            };
            segments[segment].private |= link.private;
            let interfaces = ends.map(|end| {
                let host = host_of[end]?;
                let number = interfaces.len();
                interfaces.push(Interface {
                    host,
                    segment,
                    name: String::new(),
                    mtu: link.mtu,
                    vlan: link.vlan,
                    addresses: Vec::new(),
                });
                segments[segment].interfaces.push(number);
                Some(number)
            });
            if segments[segment].interfaces.len() == MAX_NODES + 1 {
                let message = format!("one switch has too many ports: it has at most {MAX_NODES}");
                problems.add(Place::Link(number), message);
            }
            placed.push(Some(Placed { segment, interfaces }));
        }
        for (index, member) in self.members.iter().enumerate() {
            for (part, name) in parts.names(index, &member.name) {
                if let Some(segment) = segment_of_switch.get(&part) {
                    segments[*segment].switches.push(name);
                }
            }
        }
        (Resolved { hosts, interfaces, segments, conditioned: Vec::new() }, placed)
    }

    /// The declared names, and `eth0`, `eth1`, … where there are none.
    fn name_interfaces(
        &self,
        interfaces: &mut [Interface],
        placed: &[Option<Placed>],
        problems: &mut Problems,
    ) {
        let mut taken: HashSet<(usize, String)> = HashSet::new();
        for (number, (link, placed)) in self.links.iter().zip(placed).enumerate() {
            let Some(placed) = placed else { continue };
            for (side, end) in link.ends.iter().enumerate() {
                let (Some(name), Some(interface)) = (&end.interface, placed.interfaces[side]) else {
                    continue;
                };
                if let Err(message) = check_interface(name) {
                    problems.add(Place::Interface(number, side), message);
                }
                if !taken.insert((interfaces[interface].host, name.clone())) {
                    let message = format!("`{}` has two interfaces `{name}`: rename one", end.member);
                    problems.add(Place::Interface(number, side), message);
                }
                interfaces[interface].name.clone_from(name);
            }
        }
        let mut next: HashMap<usize, usize> = HashMap::new();
        for interface in interfaces.iter_mut().filter(|interface| interface.name.is_empty()) {
            let number = next.entry(interface.host).or_default();
            loop {
                interface.name = format!("eth{number}");
                *number += 1;
                if !taken.contains(&(interface.host, interface.name.clone())) {
                    break;
                }
            }
        }
    }

    /// Whether the chosen addresses are for ends that can have them.
    fn check_owners(&self, placed: &[Option<Placed>], problems: &mut Problems) {
        for (number, (link, placed)) in self.links.iter().zip(placed).enumerate() {
            let Some(placed) = placed else { continue };
            for (index, own) in link.addresses.iter().enumerate() {
                let name = own.member.as_str();
                let message = match link.side(name) {
                    Some(side) if placed.interfaces[side].is_some() => continue,
                    Some(_) => format!("`{name}` is a switch, and has no address: give it to the other end"),
                    None => not_an_end(name, link),
                };
                problems.add(Place::Owner(number, index), message);
            }
        }
    }
}

/// What a link is of what can be built.
pub(super) struct Placed {
    /// The segment that it belongs to.
    pub(super) segment: usize,
    /// The interfaces at its ends; a switch has none.
    pub(super) interfaces: [Option<usize>; 2],
}

impl Link {
    /// Which end (0 or 1) is the member's.
    pub(super) fn side(&self, member: &str) -> Option<usize> {
        self.ends.iter().position(|end| end.member == member)
    }
}

fn not_an_end(name: &str, link: &Link) -> String {
    let names = link.ends.each_ref().map(|end| end.member.as_str());
    match closest(name, names) {
        Some(near) => format!("`{name}` is no end of `{link}`: did you mean `{near}`?"),
        None => format!("`{name}` is no end of `{link}`: expected `{}` or `{}`", names[0], names[1]),
    }
}

/// What was found to be wrong.
#[derive(Default)]
pub(super) struct Problems(Vec<GraphProblem>);

impl Problems {
    pub(super) fn add(&mut self, place: Place, message: String) {
        self.0.push(GraphProblem { place, message });
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// What is one, of so many, as a forest (union-find).
pub(super) struct Joined(Vec<usize>);

impl Joined {
    pub(super) fn of(count: usize) -> Self {
        Self((0..count).collect())
    }

    pub(super) fn root(&mut self, mut of: usize) -> usize {
        while self.0[of] != of {
            self.0[of] = self.0[self.0[of]];
            of = self.0[of];
        }
        of
    }

    pub(super) fn join(&mut self, left: usize, right: usize) {
        let (left, right) = (self.root(left), self.root(right));
        self.0[right] = left;
    }
}
