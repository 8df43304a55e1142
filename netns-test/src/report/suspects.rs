//! What stands out among the packets: what did not arrive, was not answered, or was refused by ICMP. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::data::{Packets, Report};
use super::hops::{Hop, Links, Place};
use super::signs::{Sign, address, owner, plural};
use crate::netlink::state::{Route, RouteKind};

/// How many packets away a packet is looked for that is the same one on its way through a router.
const NEARBY: usize = 64;

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

fn name(report: &Report, ip: IpAddr) -> String {
    owner(report, ip).map_or_else(|| ip.to_string(), |node| format!("`{}`", report.place(Some(node))))
}

/// `server:80`, or an address.
fn endpoint(report: &Report, at: SocketAddr) -> String {
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
        Sign { node: Some(from.node), text }
    });
    signs.collect()
}

/// Packets that came to a host which is not the one that they are for.
fn misrouted(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    let mut groups: BTreeMap<(usize, IpAddr, Option<usize>), usize> = BTreeMap::new();
    for hop in hops {
        let ([to], Some(ip)) = (&hop.to[..], hop.packet.ip()) else { continue };
        let is_for_one = hop.packet.ethernet().is_some_and(|ethernet| ethernet.destination.0[0] & 1 == 0);
        let planned = &report.plan.nodes[to.node];
        let is_for_it = |mac: [u8; 6]| planned.interfaces.iter().any(|interface| interface.mac == mac);
        let is_taken = hop.packet.ethernet().is_some_and(|ethernet| is_for_it(ethernet.destination.0));
        let target = owner(report, ip.destination);
        let is_wrong = is_for_one && is_taken && !planned.forwards && !takes_all(report, to.node);
        if is_wrong && target.is_some_and(|target| target != to.node) {
            *groups.entry((to.node, ip.destination, hop.from.map(|from| from.node))).or_default() += 1;
        }
    }
    let signs = groups.into_iter().map(|((node, ip, from), count)| {
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
        Sign { node: Some(node), text }
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
    // What went out under each outer address, and to whom.
    let mut outer: BTreeSet<(usize, SocketAddr, SocketAddr)> = BTreeSet::new();
    let mut groups: BTreeMap<(usize, SocketAddr, SocketAddr), usize> = BTreeMap::new();
    for (index, hop) in hops.iter().enumerate() {
        let packet = &hop.packet;
        let (Some(source), Some(destination)) = (packet.source(), packet.destination()) else { continue };
        if source.port() == 0 || packet.payload().is_empty() {
            continue;
        }
        let is_same =
            |other: &Hop| other.packet.payload() == packet.payload() && other.packet.source() != Some(source);
        if let Some(from) = hop.from {
            let came_in = hops[..index]
                .iter()
                .rev()
                .take(NEARBY)
                .any(|other| is_same(other) && other.to.iter().any(|to| to.node == from.node));
            // A proxy says the same again, too.
            let is_router = report.plan.nodes[from.node].forwards && !takes_all(report, from.node);
            if is_router && owner(report, source.ip()) == Some(from.node) && came_in {
                outer.insert((from.node, source, destination));
            }
        }
        let here = hop.to.iter().find(|to| outer.contains(&(to.node, destination, source)));
        if let Some(here) = here {
            let went_on = hops[index + 1..].iter().take(NEARBY).any(|other| {
                other.packet.payload() == packet.payload()
                    && other.from.is_some_and(|from| from.node == here.node)
            });
            if !went_on {
                *groups.entry((here.node, source, destination)).or_default() += 1;
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
        Sign { node: Some(node), text }
    });
    signs.collect()
}

/// The attempt that a packet belongs to which `source` sends back to `destination`.
fn asked<T>(
    attempts: &BTreeMap<(SocketAddr, SocketAddr), T>,
    source: SocketAddr,
    destination: SocketAddr,
) -> Option<(SocketAddr, SocketAddr)> {
    if attempts.contains_key(&(destination, source)) {
        return Some((destination, source));
    }
    // One that was redirected to a proxy beside the client is answered with the address that it was to go to.
    let first = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut of_client = attempts
        .range((destination, first)..)
        .map(|(asked, _)| *asked)
        .take_while(|(from, _)| *from == destination);
    of_client.find(|(from, to)| to.ip().is_loopback() && !from.ip().is_loopback())
}

/// Connections that were asked for in vain.
fn unanswered(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    #[derive(Default)]
    struct Attempt {
        syns: usize,
        at: BTreeSet<usize>,
        last: Option<Place>,
        is_lost: bool,
        answered: bool,
        answer_lost_at: Option<Place>,
        arrived: bool,
    }
    let mut attempts: BTreeMap<(SocketAddr, SocketAddr), Attempt> = BTreeMap::new();
    for hop in hops {
        let packet = &hop.packet;
        let (Some(tcp), Some(source), Some(destination)) =
            (packet.tcp(), packet.source(), packet.destination())
        else {
            continue;
        };
        if tcp.flags.syn && !tcp.flags.ack {
            let attempt = attempts.entry((source, destination)).or_default();
            if hop.from.is_some_and(|from| attempt.at.is_empty() || attempt.at.contains(&from.node)) {
                attempt.at.extend(hop.from.map(|from| from.node));
                attempt.syns += 1;
            }
            attempt.is_lost = hop.is_lost;
            attempt.last = hop.to.last().copied().or(hop.from);
            attempt.arrived |= hop.to.iter().any(|to| Some(to.node) == owner(report, destination.ip()));
        } else if let Some(asked) = asked(&attempts, source, destination)
            && let Some(attempt) = attempts.get_mut(&asked)
        {
            let home = attempt.at.first().copied();
            match hop.to.iter().any(|to| Some(to.node) == home) {
                true => attempt.answered = true,
                false => attempt.answer_lost_at = hop.to.last().copied().or(hop.from),
            }
        }
    }
    let mut groups: BTreeMap<(usize, SocketAddr), (usize, String, Option<usize>)> = BTreeMap::new();
    for ((_, destination), attempt) in attempts {
        let (Some(&home), Some(last), false) = (attempt.at.first(), attempt.last, attempt.answered) else {
            continue;
        };
        let (where_to, node) = match attempt.answer_lost_at {
            Some(place) => {
                let text =
                    format!("it was answered, and the answer was last seen at {}", place_name(report, place));
                (text, home)
            }
            None if attempt.arrived => {
                let text = "it arrived here, and nothing was answered: it was dropped here, by a firewall, a filter or a full backlog";
                (text.to_owned(), last.node)
            }
            None if attempt.is_lost => (format!("it was lost behind {}", place_name(report, last)), home),
            None => (format!("it was last seen at {}", place_name(report, last)), last.node),
        };
        let group = groups.entry((node, destination)).or_insert((0, where_to, None));
        group.0 += attempt.syns;
        group.2 = Some(home);
    }
    let signs = groups.into_iter().map(|((node, destination), (count, where_to, home))| {
        let from = home.map_or("?", |home| report.place(Some(home)));
        let times = plural(count as u64, "time", "times");
        let text = format!(
            "{from} asked {} for a connection, {times} (SYN): {where_to}",
            endpoint(report, destination)
        );
        Sign { node: Some(node), text }
    });
    signs.collect()
}

/// Questions to name servers that were not answered.
fn unanswered_dns(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    /// Who asks whom, under which number.
    type Question = (SocketAddr, SocketAddr, [u8; 2]);
    let mut open: BTreeMap<Question, (usize, String, bool)> = BTreeMap::new();
    for hop in hops {
        let packet = &hop.packet;
        let (Some(udp), Some(source), Some(destination), [a, b, ..]) =
            (packet.udp(), packet.source(), packet.destination(), packet.payload())
        else {
            continue;
        };
        let id = [*a, *b];
        if let (53, Some(from), Some(text)) = (udp.destination_port, hop.from, packet.dns()) {
            // `4711 A? db.test`
            let asked = text.split_once(' ').map_or(text.as_str(), |(_, asked)| asked).to_owned();
            let arrived = hop.to.iter().any(|to| Some(to.node) == owner(report, destination.ip()));
            let entry = open.entry((source, destination, id)).or_insert((from.node, asked, false));
            entry.2 |= arrived;
        } else if udp.source_port == 53 && !hop.to.is_empty() {
            open.remove(&(destination, source, id));
        }
    }
    let mut groups: BTreeMap<(usize, SocketAddr, bool), (usize, BTreeSet<String>)> = BTreeMap::new();
    for ((_, server, _), (node, asked, arrived)) in open {
        let group = groups.entry((node, server, arrived)).or_default();
        group.0 += 1;
        group.1.insert(asked);
    }
    let signs = groups.into_iter().map(|((node, server, arrived), (count, asked))| {
        let asked: Vec<String> = asked.into_iter().take(3).collect();
        let what = if arrived { ", which they reached," } else { "" };
        let text = format!(
            "{} to the name server {}{what} {} not answered: {}",
            plural(count as u64, "question", "questions"),
            name(report, server.ip()),
            if count == 1 { "was" } else { "were" },
            asked.join(", ")
        );
        Sign { node: Some(node), text }
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
        Sign { node: Some(node), text: format!("{text}{times}") }
    });
    signs.collect()
}
