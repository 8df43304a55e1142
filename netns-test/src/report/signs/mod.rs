//! What stands out in the state of a network: the likely causes, most telling first.

mod configuration;
mod connections;
mod counters;
mod rules;

use std::net::{IpAddr, SocketAddr};

use self::configuration::{added_addresses, addresses, interfaces, routes};
use self::connections::{neighbours, refusals, waiting};
use self::counters::counters;
use self::rules::{counted_stops, stopped, uncounted_stops};
use super::data::{Host, Report};
use super::suspects::{errors, suspects};
use crate::netlink::state::Link;
use crate::plan::{InterfacePlan, NodePlan};

pub(super) use self::configuration::unusual_routes;

/// The first line of a program's end, and how many of its last lines go with it.
const OBITUARY: usize = 6;

/// Something that stands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sign {
    /// Where; `None` is the body's own namespace.
    pub(super) node: Option<usize>,
    pub(super) text: String,
    /// The ends of what failed, where it is about packets.
    pub(super) ends: Vec<IpAddr>,
}

impl Sign {
    pub(super) fn new(node: Option<usize>, text: String) -> Self {
        Self { node, text, ends: Vec::new() }
    }

    pub(super) fn between(self, ends: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { ends: ends.into_iter().collect(), ..self }
    }
}

/// All that stands out, most telling first.
pub(super) fn signs(report: &Report) -> Vec<Sign> {
    let mut signs = Vec::new();
    for (node, text) in &report.snapshot.deaths {
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let rest: Vec<&str> = lines.collect();
        let last = &rest[rest.len().saturating_sub(OBITUARY - 1)..];
        let text = [&[head], last].concat().join("\n");
        signs.push(Sign::new(Some(*node), text));
    }
    // Every kind for all hosts before the next kind: the most telling are of one kind, wherever they are.
    let of_hosts = |kind: fn(&Report, &Host) -> Vec<String>| {
        let hosts = report.snapshot.hosts.iter();
        hosts.flat_map(move |host| kind(report, host).into_iter().map(|text| Sign::new(host.node, text)))
    };
    [interfaces, addresses, routes, refusals].into_iter().for_each(|kind| signs.extend(of_hosts(kind)));
    signs.extend(suspects(report));
    [stopped, counted_stops, waiting, neighbours].into_iter().for_each(|kind| signs.extend(of_hosts(kind)));
    signs.extend(counters(report));
    signs.extend(errors(report));
    [uncounted_stops, added_addresses].into_iter().for_each(|kind| signs.extend(of_hosts(kind)));
    signs
}

fn plan<'a>(report: &'a Report, host: &Host) -> Option<&'a NodePlan> {
    host.node.map(|node| &report.plan.nodes[node])
}

fn link(host: &Host, index: u32) -> Option<&Link> {
    host.links.iter().find(|link| link.index == index)
}

/// Whether an interface is switched on, so that its addresses and routes can be expected.
fn is_up(host: &Host, index: u32) -> bool {
    link(host, index).is_some_and(|link| link.up)
}

/// The node that an address was planned for.
pub(super) fn owner(report: &Report, ip: IpAddr) -> Option<usize> {
    report.plan.nodes.iter().position(|node| {
        let ports = node.interfaces.iter().flat_map(|interface: &InterfacePlan| &interface.addresses);
        ports.chain(&node.loopback).any(|&(own, _)| own == ip)
    })
}

/// The node that has an address now.
pub(super) fn holder(report: &Report, ip: IpAddr) -> Option<usize> {
    report
        .snapshot
        .hosts
        .iter()
        .filter(|host| host.addresses.iter().any(|address| address.ip == ip))
        .find_map(|host| host.node)
}

/// An address as users write it: IPv4 in IPv6 is IPv4.
pub(super) fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
