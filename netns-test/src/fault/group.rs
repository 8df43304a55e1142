//! Groups of nodes, and how their packets are known.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use super::frames::Frames;
use super::hook::Hook;
use super::partition::whole;
use super::ways::{Way, ways};
use crate::netlink::state::Scope;
use crate::network::Network;
use crate::node::{Interface, Node};

/// The nodes of a group, each once.
pub(super) fn distinct(group: impl IntoIterator<Item = impl AsRef<Node>>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for node in group {
        let node = node.as_ref();
        if !nodes.iter().any(|other| other.is(node)) {
            nodes.push(node.clone());
        }
    }
    nodes
}

pub(super) fn names(group: &[Node]) -> String {
    group.iter().map(|node| format!("`{}`", node.name())).collect::<Vec<_>>().join(", ")
}

/// Nodes, and how their packets are known.
pub(super) struct Group {
    nodes: Vec<Node>,
    macs: Vec<[u8; 6]>,
    ips: Vec<IpAddr>,
    ways: Vec<Way>,
}

impl Group {
    pub(super) fn of(nodes: &[Node]) -> io::Result<Self> {
        let mut macs = Vec::new();
        let mut ips = HashSet::new();
        let mut all = Vec::new();
        for node in nodes {
            macs.extend(node.links()?.iter().filter_map(|link| link.mac).filter(|mac| *mac != [0; 6]));
            // What is known on a link alone is known by the link's own addresses.
            let addresses = node.addresses()?.into_iter().filter(|address| address.scope == Scope::Global);
            ips.extend(addresses.map(|address| address.ip));
            ips.extend(node.own_addresses());
            all.extend(ways(node)?);
        }
        let mut ips: Vec<IpAddr> = ips.into_iter().collect();
        ips.sort_unstable();
        Ok(Self { nodes: nodes.to_vec(), macs, ips, ways: all })
    }

    /// Frames to this group.
    fn to(&self) -> Vec<Frames> {
        let macs = self.macs.iter().copied().map(Frames::ToMac);
        macs.chain(self.ips.iter().copied().map(Frames::ToIp)).collect()
    }

    /// Frames from this group.
    fn from(&self) -> Vec<Frames> {
        let macs = self.macs.iter().copied().map(Frames::FromMac);
        macs.chain(self.ips.iter().copied().map(Frames::FromIp)).collect()
    }

    /// The interfaces of the group, and whether a node of the other one is at the other end of the link. There, broadcasts
    /// are between the groups, too.
    fn interfaces(&self, other: &Self) -> impl Iterator<Item = (Interface, bool)> {
        let is_other = |node: &Node| other.nodes.iter().any(|other| other.is(node));
        self.ways.iter().map(move |Way { near, far }| {
            let leads_there = far.as_ref().is_some_and(|far| is_other(far.node()));
            (near.clone(), leads_there)
        })
    }

    /// What vanishes at this group's interfaces: what it sends to the other one, and what it receives from it.
    pub(super) fn hooks(&self, other: &Self, sent: bool, received: bool) -> Vec<Hook> {
        let (to, from) = (other.to(), other.from());
        let hook = |(interface, leads_there)| match leads_there {
            true => whole(interface, sent, received),
            false => Hook {
                interface,
                sent: if sent { to.clone() } else { Vec::new() },
                received: if received { from.clone() } else { Vec::new() },
            },
        };
        self.interfaces(other).map(hook).collect()
    }

    /// What this group's interfaces send to the other one.
    pub(super) fn sends(&self, other: &Self) -> Vec<(Interface, Vec<Frames>)> {
        let to = other.to();
        let sends = |(interface, leads_there)| {
            let kinds = if leads_there { vec![Frames::All] } else { to.clone() };
            (interface, kinds)
        };
        self.interfaces(other).map(sends).collect()
    }
}

impl Network {
    /// Whether nodes can be parted so; returns one of them.
    pub(super) fn check_groups(&self, group: &[Node], other: &[Node]) -> io::Result<Node> {
        let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        for node in group.iter().chain(other) {
            if !node.net()?.is(&self.0) {
                return wrong(format!("`{}` is a node of another test", node.name()));
            }
        }
        if let Some(twice) = group.iter().find(|node| other.iter().any(|other| other.is(node))) {
            return wrong(format!("`{}` is in both groups", twice.name()));
        }
        match group.iter().chain(other).next() {
            Some(node) => Ok(node.clone()),
            None => wrong("there is no node in the groups".to_owned()),
        }
    }
}
