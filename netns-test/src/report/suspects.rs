//! What stands out among the packets: what did not arrive, went the wrong way, or was refused by ICMP. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::asked::{unanswered, unanswered_dns};
use super::data::{Packets, Report};
use super::hops::{Hop, Links, Place};
use super::signs::{Sign, address, holder, owner, plural};
use crate::netlink::state::{Route, RouteKind};

/// How many packets back a packet is looked for that is the same one on its way to a router.
const NEARBY: usize = 1024;

/// Every sign, most telling first.
pub(super) fn suspects(report: &Report) -> Vec<Sign> {
    let Packets { hops, links, .. } = &report.packets;
    let mut signs = lost(report, hops, links);
    signs.extend(misrouted(report, hops));
    signs.extend(unmapped(report, hops));
    signs.extend(unanswered(report, hops));
    signs.extend(unanswered_dns(report, hops));
    signs
}

pub(super) fn name(report: &Report, ip: IpAddr) -> String {
    owner(report, ip).map_or_else(|| ip.to_string(), |node| format!("`{}`", report.place(Some(node))))
}

/// `server:80`, or an address.
pub(super) fn endpoint(report: &Report, at: SocketAddr) -> String {
    match owner(report, at.ip()) {
        Some(node) => format!("{}:{}", report.place(Some(node)), at.port()),
        None => address(at),
    }
}

/// `node/eth0`.
pub(super) fn place_name(report: &Report, place: Place) -> String {
    let node = &report.plan.nodes[place.node];
    let planned = node.interfaces.iter().find(|interface| interface.index == place.interface);
    let link =
        report.host(place.node).and_then(|host| host.links.iter().find(|link| link.index == place.interface));
    let name = planned.map(|interface| interface.name.as_str()).or(link.map(|link| link.name.as_str()));
    match name {
        Some(name) => format!("{}/{name}", node.name),
        None => format!("{}/interface {}", node.name, place.interface),
    }
}

fn mtu(report: &Report, place: Place) -> Option<u32> {
    report.host(place.node)?.links.iter().find(|link| link.index == place.interface).map(|link| link.mtu)
}

/// Packets that were sent over a link and did not arrive.
fn lost(report: &Report, hops: &[Hop], links: &Links) -> Vec<Sign> {
    let mut groups: BTreeMap<(Place, usize), Vec<&Hop>> = BTreeMap::new();
    for hop in hops.iter().filter(|hop| hop.is_lost) {
        if let (Some(from), Some(link)) = (hop.from, hop.link) {
            groups.entry((from, link)).or_default().push(hop);
        }
    }
    let signs = groups.into_iter().map(|((from, link), lost)| {
        let others: Vec<Place> = links.ends[link].iter().copied().filter(|&end| end != from).collect();
        let to = match others[..] {
            [other] => format!("at {}", place_name(report, other)),
            _ => "anywhere on the switch".to_owned(),
        };
        let count = plural(lost.len() as u64, "packet", "packets");
        let mut text = format!("{count} left {} and did not arrive {to}", place_name(report, from));
        // Without the Ethernet header.
        let sizes = lost.iter().map(|hop| hop.packet.length() as u32 - 14);
        let (least, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        let too_small = others.iter().find(|&&other| mtu(report, other).is_some_and(|mtu| least > mtu));
        if let Some((other, mtu)) = too_small.and_then(|&other| Some((other, mtu(report, other)?))) {
            let size = if least == most { most.to_string() } else { format!("{least} to {most}") };
            let name = place_name(report, other);
            text += &format!(
                ": of {size} B, they are larger than the MTU of {name}, {mtu}, and nobody tells the sender"
            );
        }
        let ends = lost.iter().filter_map(|hop| hop.packet.ip()).flat_map(|ip| [ip.source, ip.destination]);
        let ends: BTreeSet<IpAddr> = ends.collect();
        Sign::new(Some(from.node), text).between(ends)
    });
    signs.collect()
}

/// Packets that came to a host which is not the one that they are for.
fn misrouted(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    let mut groups: BTreeMap<(usize, IpAddr, Option<usize>), (usize, IpAddr)> = BTreeMap::new();
    // The last that each node sent under some addresses: its number.
    let mut sent: HashMap<(usize, IpAddr, IpAddr), usize> = HashMap::new();
    for (index, hop) in hops.iter().chain(&report.packets.after).enumerate() {
        if let (Some(from), Some(ip)) = (hop.from, hop.packet.ip()) {
            sent.insert((from.node, ip.source, ip.destination), index);
        }
    }
    for (index, hop) in hops.iter().enumerate() {
        let ([to], Some(ip)) = (&hop.to[..], hop.packet.ip()) else { continue };
        let is_for_one = hop.packet.ethernet().is_some_and(|ethernet| ethernet.destination.0[0] & 1 == 0);
        let planned = &report.plan.nodes[to.node];
        let is_for_it = |mac: [u8; 6]| planned.interfaces.iter().any(|interface| interface.mac == mac);
        let is_taken = hop.packet.ethernet().is_some_and(|ethernet| is_for_it(ethernet.destination.0));
        let target = owner(report, ip.destination);
        // It passed such packets on, or answered them: the test has made it do so, whatever the plan says.
        let goes_on = |from, to_ip| sent.get(&(to.node, from, to_ip)).is_some_and(|&last| last > index);
        let is_known = goes_on(ip.source, ip.destination) || goes_on(ip.destination, ip.source);
        // Whose addresses and routes are not known may have it.
        let may_have_it = holder(report, ip.destination) == Some(to.node) || report.host(to.node).is_none();
        let is_excused = is_known || may_have_it || report.packets.is_hidden(hop);
        let is_wrong =
            is_for_one && is_taken && !planned.forwards && !takes_all(report, to.node) && !is_excused;
        if is_wrong && target.is_some_and(|target| target != to.node) {
            let from = hop.from.map(|from| from.node);
            groups.entry((to.node, ip.destination, from)).or_insert((0, ip.source)).0 += 1;
        }
    }
    let signs = groups.into_iter().map(|((node, ip, from), (count, asked))| {
        let sender = from.map(|from| format!("`{}`", report.place(Some(from))));
        // Whoever sent them over this link took this node for the way.
        let whose = sender.as_ref().map_or("somebody's route".to_owned(), |sender| format!("the route of {sender}"));
        let sent = sender.map_or_else(String::new, |sender| format!(" from {sender}"));
        let (packets, they) = match count {
            1 => ("1 packet".to_owned(), "it is"),
            count => (format!("{count} packets"), "they are"),
        };
        let text = format!(
            "{packets}{sent} for {} ({ip}) came here, where {they} not passed on: {whose} leads the wrong way",
            name(report, ip)
        );
        Sign::new(Some(node), text).between([ip, asked])
    });
    signs.collect()
}

/// Whether a host has a route by which everything is its own, as a transparent proxy's has.
fn takes_all(report: &Report, node: usize) -> bool {
    let takes_all = |route: &Route| route.kind == RouteKind::Local && route.prefix_len == 0;
    report.host(node).is_some_and(|host| host.routes.iter().any(takes_all))
}

/// Answers that came back to a router's outer address, and that its NAT did not take any further.
fn unmapped(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    let ends = |hop: &Hop| hop.packet.source().zip(hop.packet.destination());
    // The last that each node sent from one to another: its number. How much of it is in a packet differs on the way.
    let mut sent: HashMap<(usize, SocketAddr, SocketAddr), usize> = HashMap::new();
    for (index, hop) in hops.iter().chain(&report.packets.after).enumerate() {
        if let (Some(from), Some((source, destination))) = (hop.from, ends(hop)) {
            sent.insert((from.node, source, destination), index);
        }
    }
    // What went out under each outer address, and to whom: as what it may have come in. Two hosts may say the same.
    let mut outer: HashMap<(usize, SocketAddr, SocketAddr), Vec<(SocketAddr, SocketAddr)>> = HashMap::new();
    let mut groups: BTreeMap<(usize, SocketAddr, SocketAddr), usize> = BTreeMap::new();
    for (index, hop) in hops.iter().enumerate() {
        let (packet, Some((source, destination))) = (&hop.packet, ends(hop)) else { continue };
        if source.port() == 0 || packet.payload().is_empty() {
            continue;
        }
        if let Some(from) = hop.from {
            // A proxy says the same again, too.
            let is_router = report.plan.nodes[from.node].forwards && !takes_all(report, from.node);
            let is_outer = is_router && owner(report, source.ip()) == Some(from.node);
            let out = (from.node, source, destination);
            if is_outer && !outer.contains_key(&out) {
                let is_same = |other: &&Hop| {
                    other.packet.payload() == packet.payload()
                        && other.packet.source() != Some(source)
                        && other.to.iter().any(|to| to.node == from.node)
                };
                let before = hops[..index].iter().rev().take(NEARBY).filter(is_same);
                let inner: Vec<(SocketAddr, SocketAddr)> = before.filter_map(ends).collect();
                if !inner.is_empty() {
                    outer.insert(out, inner);
                }
            }
        }
        let answered =
            hop.to.iter().find_map(|to| Some((to.node, outer.get(&(to.node, destination, source))?)));
        if let Some((router, inner)) = answered {
            let is_last = |&(asked, whom)| sent.get(&(router, whom, asked)).is_none_or(|&last| last < index);
            if inner.iter().all(is_last) && !report.packets.is_hidden(hop) {
                *groups.entry((router, source, destination)).or_default() += 1;
            }
        }
    }
    let signs = groups.into_iter().map(|((node, source, destination), count)| {
        let text = format!(
            "{} from {} answered its port {} and went no further: its NAT does not know any more whose port that was (the mapping has \
             expired, or was flushed)",
            plural(count as u64, "packet", "packets"),
            endpoint(report, source),
            destination.port()
        );
        Sign::new(Some(node), text)
    });
    signs.collect()
}

/// Errors that ICMP told others.
pub(super) fn errors(report: &Report) -> Vec<Sign> {
    let mut groups: BTreeMap<(usize, String), usize> = BTreeMap::new();
    let names = |ip| owner(report, ip).map(|node| report.place(Some(node)).to_owned());
    for hop in &report.packets.hops {
        let (Some(icmp), Some(ip), Some(from)) = (hop.packet.icmp(), hop.packet.ip(), hop.from) else {
            continue;
        };
        // Where it was made, not where it was passed on.
        // What a node tells itself, others know better.
        let is_made_here = owner(report, ip.source) == Some(from.node);
        if icmp.is_error() && is_made_here && owner(report, ip.destination) != Some(from.node) {
            let text = hop.packet.summary(&names);
            let said = text
                .split_once(": ICMP")
                .map_or(text.as_str(), |(_, said)| said.trim_start_matches("6 ").trim());
            *groups
                .entry((from.node, format!("it told {}: {said}", name(report, ip.destination))))
                .or_default() += 1;
        }
    }
    let signs = groups.into_iter().map(|((node, text), count)| {
        let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
        Sign::new(Some(node), format!("{text}{times}"))
    });
    signs.collect()
}
