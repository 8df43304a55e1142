//! Interfaces, addresses and routes that are not as planned.

use std::collections::HashSet;
use std::net::IpAddr;

use super::{is_up, link, owner, plan, plural};
use crate::netlink::state::{Address, Route, RouteKind, RouteProtocol};
use crate::plan::{NodePlan, RoutePlan};
use crate::report::data::{Host, Report};

/// The most routes of one node that are named one by one, and the most addresses.
const MOST_ROUTES: usize = 3;
const MOST_ADDRESSES: usize = 3;

pub(super) fn interfaces(report: &Report, host: &Host) -> Vec<String> {
    let mut texts = Vec::new();
    if host.links.iter().any(|link| link.name == "lo" && !link.up) {
        texts.push("the interface lo is down".to_owned());
    }
    let (Some(node), Some(plan)) = (host.node, plan(report, host)) else { return texts };
    for (position, interface) in plan.interfaces.iter().enumerate() {
        let name = &interface.name;
        match link(host, interface.index) {
            None => texts.push(format!("the interface {name} is gone")),
            Some(link) if !link.up => {
                texts.push(format!("the interface {name} is down: it was switched off"))
            }
            Some(link) if !link.carrier => {
                let why = match other_end(report, node, position) {
                    Some(other) => format!(": its other end, {other}, is down"),
                    None => String::new(),
                };
                texts.push(format!("the interface {name} has no carrier{why}"));
            }
            Some(_) => {}
        }
    }
    texts
}

/// The other end of a node's interface, as `server/eth0`, if that is known to be down.
fn other_end(report: &Report, node: usize, position: usize) -> Option<String> {
    let other = report.plan.wiring.pairs.iter().find_map(|[left, right]| {
        let is_this = |end: &crate::plan::End| end.node == node && end.interface == position;
        if is_this(left) {
            Some(right)
        } else if is_this(right) {
            Some(left)
        } else {
            None
        }
    })?;
    let interface = &report.plan.nodes[other.node].interfaces[other.interface];
    let host = report.host(other.node)?;
    (!is_up(host, interface.index))
        .then(|| format!("{}/{}", report.plan.nodes[other.node].name, interface.name))
}

/// The addresses that were planned for a host: interface, its name, address.
fn planned_addresses<'a>(plan: &'a NodePlan, host: &Host) -> Vec<(u32, &'a str, IpAddr)> {
    let loopback = host.links.iter().find(|link| link.name == "lo").map_or(1, |link| link.index);
    let ports = plan.interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|&(ip, _)| (interface.index, interface.name.as_str(), ip))
    });
    ports.chain(plan.loopback.iter().map(|&(ip, _)| (loopback, "lo", ip))).collect()
}

pub(super) fn addresses(report: &Report, host: &Host) -> Vec<String> {
    let Some(plan) = plan(report, host) else { return Vec::new() };
    let planned = planned_addresses(plan, host);
    let missing = planned.iter().filter(|(index, _, ip)| {
        is_up(host, *index)
            && !host.addresses.iter().any(|address| address.link == *index && address.ip == *ip)
    });
    let mut texts: Vec<String> =
        missing.map(|(_, name, ip)| format!("the address {ip} of {name} was removed")).collect();
    // Two that have the same one are a cause, and others are none.
    texts.extend(added(report, host).filter(|(_, twin)| twin.is_some()).map(|(address, twin)| {
        let twin = twin.map_or_else(String::new, |other| {
            format!("; `{}` has the same address", report.place(Some(other)))
        });
        format!("{}{twin}", was_added(host, address))
    }));
    for family in &host.forwards_not {
        texts.push(format!("it does not forward {family} any more, and others reach each other through it"));
    }
    texts
}

/// The addresses that a test has added, each with another node that has it now.
fn added<'a>(report: &'a Report, host: &'a Host) -> impl Iterator<Item = (&'a Address, Option<usize>)> {
    let planned = plan(report, host).map(|plan| planned_addresses(plan, host));
    let is_added = move |address: &&Address| {
        let is_own = match address.ip {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
        };
        let is_planned = |planned: &Vec<(u32, &str, IpAddr)>| {
            planned.iter().any(|&(index, _, ip)| index == address.link && ip == address.ip)
        };
        !is_own && planned.as_ref().is_some_and(|planned| !is_planned(planned))
    };
    host.addresses.iter().filter(is_added).map(|address| {
        let others = report.snapshot.hosts.iter().filter(|other| other.node != host.node);
        let twin = others.filter(|other| other.addresses.iter().any(|its| its.ip == address.ip));
        (address, twin.filter_map(|other| other.node).next())
    })
}

fn was_added(host: &Host, address: &Address) -> String {
    let name = link(host, address.link).map_or("?", |link| &link.name);
    format!("the address {} of {name} was added", address.ip)
}

pub(super) fn added_addresses(report: &Report, host: &Host) -> Vec<String> {
    let all: Vec<&Address> =
        added(report, host).filter(|(_, twin)| twin.is_none()).map(|(address, _)| address).collect();
    let mut texts: Vec<String> =
        all.iter().take(MOST_ADDRESSES).map(|address| was_added(host, address)).collect();
    if let Some(more) = all.len().checked_sub(MOST_ADDRESSES).filter(|&more| more > 0) {
        texts.push(format!(
            "{} added as well",
            plural(more as u64, "more address was", "more addresses were")
        ));
    }
    texts
}

/// What tells routes apart: destination, gateway, interface. Sets of them, since a long line has a million in all.
type Way = (IpAddr, u8, Option<IpAddr>, Option<u32>);

fn way(route: &Route) -> Way {
    (route.destination, route.prefix_len, route.gateway, route.link)
}

fn planned_way(route: &RoutePlan) -> Way {
    (route.destination, route.prefix_len, route.via, Some(route.interface))
}

/// The routes of a host that neither the plan nor the kernel has made.
pub(in crate::report) fn unusual_routes<'a>(report: &Report, host: &'a Host) -> Vec<&'a Route> {
    let planned: HashSet<Way> =
        plan(report, host).map_or(&[][..], |plan| &plan.routes).iter().map(planned_way).collect();
    let is_unusual = |route: &&Route| {
        route.table != Route::LOCAL_TABLE
            && route.protocol != RouteProtocol::Kernel
            && !(route.kind == RouteKind::Unicast && planned.contains(&way(route)))
    };
    host.routes.iter().filter(is_unusual).collect()
}

pub(super) fn routes(report: &Report, host: &Host) -> Vec<String> {
    let mut texts = Vec::new();
    // What other tables say is about packets that a rule leads there.
    let main = |route: &&Route| route.table == Route::MAIN_TABLE;
    for route in unusual_routes(report, host).into_iter().filter(main) {
        let what = match route.kind {
            RouteKind::Blackhole => "a route silently drops what is sent to",
            RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw => {
                "a route refuses what is sent to"
            }
            _ => continue,
        };
        let to = target(report, route.destination, route.prefix_len);
        texts.push(format!("{what} {to}: {}", route.kind));
    }
    let Some(plan) = plan(report, host) else { return texts };
    let present: HashSet<Way> = host.routes.iter().map(way).collect();
    let is_missing =
        |planned: &&RoutePlan| is_up(host, planned.interface) && !present.contains(&planned_way(planned));
    let missing: Vec<&RoutePlan> = plan
        .routes
        .iter()
        .filter(|planned| !planned.destination.is_multicast() && !is_broadcast(planned.destination))
        .filter(is_missing)
        .collect();
    texts.extend(missing.iter().take(MOST_ROUTES).map(|route| {
        let to = target(report, route.destination, route.prefix_len);
        let via = route.via.map_or_else(String::new, |via| format!(" via {via}"));
        format!("the planned route to {to}{via} is gone")
    }));
    if let Some(more) = missing.len().checked_sub(MOST_ROUTES).filter(|&more| more > 0) {
        texts.push(format!(
            "{} gone as well",
            plural(more as u64, "more planned route is", "more planned routes are")
        ));
    }
    texts
}

/// The planned routes for broadcast and multicast say nothing about who is reached.
fn is_broadcast(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_broadcast())
}

/// A destination, with the name of the node that it is.
fn target(report: &Report, ip: IpAddr, length: u8) -> String {
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let name = owner(report, ip).filter(|_| length == whole).map(|node| report.place(Some(node)));
    match name {
        Some(name) => format!("{ip} (`{name}`)"),
        None if length == whole => ip.to_string(),
        None => format!("{ip}/{length}"),
    }
}
