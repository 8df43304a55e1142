//! The routes of the nodes that a failure is about, and those that were added. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ptr;

use super::data::{Host, Report};
use super::signs::{Sign, owner, unusual_routes};
use super::text::columns;
use crate::netlink::state::{Route, RouteKind, RouteProtocol, SocketState};

/// The most routes of one node, beside those that were added.
const MOST_OF_NODE: usize = 6;

/// Counters of what found no route.
const NO_ROUTE: [&str; 4] = ["IpOutNoRoutes", "Ip6OutNoRoutes", "IpExtInNoRoutes", "Ip6InNoRoutes"];

/// A line for each route: the node, the route, and whether the test has added it; those first if there are too many.
pub(super) fn routes(report: &Report, signs: &[Sign], most: usize) -> Vec<String> {
    let about = About::of(report, signs);
    let mut rows = Vec::new();
    for host in &report.snapshot.hosts {
        let added = unusual_routes(report, host);
        let is_added = |route: &Route| added.iter().any(|added| ptr::eq(*added, route));
        let mut count = 0;
        for route in &host.routes {
            let is_added = is_added(route);
            if !is_added {
                if count == MOST_OF_NODE || !about.concerns(host, route) {
                    continue;
                }
                count += 1;
            }
            let text = route.with_names(&host.links).to_string();
            let note = if is_added { "added" } else { "" };
            rows.push((is_added, vec![report.place(host.node).to_owned(), text, note.to_owned()]));
        }
    }
    if rows.len() > most {
        rows.sort_by_key(|(is_added, _)| !is_added);
    }
    columns(&rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), 2)
}

/// What a failure is about.
#[derive(Default)]
struct About {
    /// The ends of what failed.
    ends: BTreeSet<IpAddr>,
    /// Who has these, and who is on the way between them.
    nodes: BTreeSet<usize>,
    /// Of whom every route may be the one.
    lost: BTreeSet<usize>,
}

impl About {
    fn of(report: &Report, signs: &[Sign]) -> Self {
        let mut about = Self::default();
        for sign in signs.iter().filter(|sign| !sign.ends.is_empty()) {
            about.ends.extend(&sign.ends);
            about.nodes.extend(sign.node);
        }
        for host in &report.snapshot.hosts {
            let tried = host.sockets.iter().filter(|socket| socket.state == SocketState::SynSent);
            for (local, remote) in tried.filter_map(|socket| Some((socket.local, socket.remote?))) {
                about.ends.extend([local.ip().to_canonical(), remote.ip().to_canonical()]);
                about.nodes.extend(host.node);
            }
            about.lost.extend(host.node.filter(|_| host.counters.sum(&NO_ROUTE) > 0));
        }
        about.nodes.extend(about.ends.iter().filter_map(|&ip| owner(report, ip)));
        for hop in &report.packets.hops {
            let ip = hop.packet.ip();
            if ip.is_some_and(|ip| about.ends.contains(&ip.source) && about.ends.contains(&ip.destination)) {
                about.nodes.extend(hop.from.iter().chain(&hop.to).map(|place| place.node));
            }
        }
        for failure in &report.failures {
            let failed = report.plan.nodes.iter().position(|node| Some(&node.name) == failure.node.as_ref());
            match about.ends.is_empty() {
                true => about.lost.extend(failed),
                false => about.nodes.extend(failed),
            }
        }
        about
    }

    fn concerns(&self, host: &Host, route: &Route) -> bool {
        let is_way = route.table == Route::MAIN_TABLE
            && !matches!(route.kind, RouteKind::Multicast | RouteKind::Broadcast)
            && !is_for_all(route);
        // What is on a link of the node's own can be seen from its addresses.
        let is_lost = host.node.is_some_and(|node| self.lost.contains(&node))
            && route.protocol != RouteProtocol::Kernel;
        let is_concerned = host.node.is_some_and(|node| self.nodes.contains(&node));
        let leads_there = || {
            // Not to itself.
            let others = self.ends.iter().filter(|&&ip| !host.addresses.iter().any(|own| own.ip == ip));
            others.into_iter().any(|&ip| covers(route, ip))
        };
        is_way && (is_lost || is_concerned && leads_there())
    }
}

/// Whether a route is for groups, for all on a link, or for what is known on one link alone.
fn is_for_all(route: &Route) -> bool {
    match route.destination {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unicast_link_local(),
    }
}

/// Whether a packet to an address may take a route.
fn covers(route: &Route, ip: IpAddr) -> bool {
    let length = u32::from(route.prefix_len);
    match (route.destination, ip) {
        (IpAddr::V4(to), IpAddr::V4(ip)) => {
            (to.to_bits() ^ ip.to_bits()).checked_shr(32_u32.saturating_sub(length)).unwrap_or(0) == 0
        }
        (IpAddr::V6(to), IpAddr::V6(ip)) => {
            (to.to_bits() ^ ip.to_bits()).checked_shr(128_u32.saturating_sub(length)).unwrap_or(0) == 0
        }
        _ => false,
    }
}
