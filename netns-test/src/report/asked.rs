//! What was asked for among the packets: connections, and names of name servers. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::data::{Packets, Report};
use super::hops::{Hop, Place};
use super::signs::{Sign, owner, plural};
use super::suspects::{endpoint, name, place_name};
use crate::packet::Packet;

/// The number of UDP among the protocols of IP.
const UDP: u8 = 17;

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

/// The first sequence number of the connection that a packet asks for, accepts or refuses: no router changes it.
fn first_sequence(packet: &Packet) -> Option<u32> {
    let tcp = packet.tcp()?;
    match (tcp.flags.syn, tcp.flags.ack, tcp.flags.rst) {
        (true, false, _) => Some(tcp.sequence),
        // RFC 9293, section 3.10.7.1: the reset of a SYN has the sequence number 0, and acknowledges the SYN.
        (true, true, _) => Some(tcp.acknowledgment.wrapping_sub(1)),
        (false, true, true) if tcp.sequence == 0 => Some(tcp.acknowledgment.wrapping_sub(1)),
        _ => None,
    }
}

/// The connections of which what was asked first, or the answer to it, may yet arrive, or did so as the network was looked at.
fn starting(packets: &Packets) -> HashSet<u32> {
    let under_way = packets.hops.iter().filter(|hop| packets.is_under_way(hop));
    let hops = under_way.chain(&packets.after).filter(|hop| !hop.is_repeated);
    hops.filter_map(|hop| first_sequence(&hop.packet)).collect()
}

/// Whether a connection may be in its first round trip, as the packets that its node sent tell.
pub(super) fn is_starting(report: &Report, node: usize, local: SocketAddr, remote: SocketAddr) -> bool {
    let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    let (local, remote) = (Some(canonical(local)), Some(canonical(remote)));
    let is_its = |hop: &&Hop| {
        hop.from.is_some_and(|from| from.node == node)
            && hop.packet.source() == local
            && hop.packet.destination() == remote
            && hop.packet.tcp().is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack)
    };
    let hops = &report.packets.hops;
    // It goes no further before the next neighbour is known.
    let Some(sequence) = hops.iter().rfind(is_its).and_then(|hop| first_sequence(&hop.packet)) else {
        return report.packets.waits_for(node, None);
    };
    let last = hops.iter().rfind(|hop| first_sequence(&hop.packet) == Some(sequence));
    let last = last.and_then(|hop| hop.to.last().or(hop.from.as_ref()));
    starting(&report.packets).contains(&sequence)
        || last.is_some_and(|place| report.packets.waits_for(place.node, None))
}

/// Connections that a node refused by resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) attempts: u64,
    /// An attempt that is made again is refused again.
    pub(super) resets: u64,
}

/// What a node refused, as the packets tell; `None` where there are none.
pub(super) fn refused(report: &Report, node: usize) -> Option<Refused> {
    let hops = &report.packets.hops;
    let mut asked: HashSet<u32> = HashSet::new();
    // Who sent the first reset of each: others pass it on.
    let mut refused: HashMap<u32, (usize, u64)> = HashMap::new();
    for hop in hops {
        let (Some(tcp), Some(sequence)) = (hop.packet.tcp(), first_sequence(&hop.packet)) else { continue };
        if tcp.flags.syn && !tcp.flags.ack {
            asked.insert(sequence);
        } else if let (true, true, Some(from)) = (tcp.flags.rst, asked.contains(&sequence), hop.from) {
            let (by, resets) = refused.entry(sequence).or_insert((from.node, 0));
            *resets += u64::from(*by == from.node);
        }
    }
    let its = refused.into_values().filter(|(by, _)| *by == node);
    let count =
        |all: Refused, (_, resets)| Refused { attempts: all.attempts + 1, resets: all.resets + resets };
    (!hops.is_empty()).then(|| its.fold(Refused::default(), count))
}

/// Connections that were asked for in vain.
pub(super) fn unanswered(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    #[derive(Default)]
    struct Attempt {
        sequence: u32,
        syns: usize,
        at: BTreeSet<usize>,
        last: Option<Place>,
        is_lost: bool,
        answered: bool,
        answer_lost_at: Option<Place>,
        arrived: bool,
        is_hidden: bool,
    }
    let starting = starting(&report.packets);
    let mut attempts: BTreeMap<(SocketAddr, SocketAddr), Attempt> = BTreeMap::new();
    for hop in hops.iter().chain(&report.packets.after) {
        let packet = &hop.packet;
        // An error of ICMP says itself why.
        let told = packet.icmp().filter(|icmp| icmp.is_error()).and_then(|icmp| icmp.original);
        if let Some(original) = told
            && let Some(attempt) = attempts.get_mut(&(original.source, original.destination))
        {
            attempt.answered = true;
        }
        let (false, Some(tcp), Some(source), Some(destination)) =
            (hop.time > report.packets.until, packet.tcp(), packet.source(), packet.destination())
        else {
            continue;
        };
        if tcp.flags.syn && !tcp.flags.ack {
            let attempt = attempts.entry((source, destination)).or_default();
            if hop.from.is_some_and(|from| attempt.at.is_empty() || attempt.at.contains(&from.node)) {
                attempt.at.extend(hop.from.map(|from| from.node));
                attempt.syns += 1;
            }
            let is_its = |to: &Place| Some(to.node) == owner(report, destination.ip());
            attempt.sequence = tcp.sequence;
            attempt.is_lost = hop.is_lost;
            attempt.is_hidden = report.packets.is_hidden(hop);
            attempt.last = hop.to.last().copied().or(hop.from);
            attempt.arrived |= !hop.is_corrupted && hop.to.iter().any(is_its);
        } else if let Some(asked) = asked(&attempts, source, destination)
            && let Some(attempt) = attempts.get_mut(&asked)
        {
            let home = attempt.at.first().copied();
            attempt.is_hidden = report.packets.is_hidden(hop);
            match hop.to.iter().any(|to| Some(to.node) == home) {
                true => attempt.answered = true,
                false => attempt.answer_lost_at = hop.to.last().copied().or(hop.from),
            }
        }
    }
    attempts.retain(|_, attempt| {
        let waits = || attempt.last.is_some_and(|place| report.packets.waits_for(place.node, None));
        !attempt.answered && !attempt.is_hidden && !starting.contains(&attempt.sequence) && !waits()
    });
    /// How often, what became of it, from where, and under which address.
    type Asked = (usize, String, Option<usize>, IpAddr);
    let mut groups: BTreeMap<(usize, SocketAddr), Asked> = BTreeMap::new();
    for ((source, destination), attempt) in attempts {
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
                let text = "it arrived here, and nothing was answered: it was dropped here, by a firewall, a filter or a full backlog, or there is no way back";
                (text.to_owned(), last.node)
            }
            None if attempt.is_lost => (format!("it was lost behind {}", place_name(report, last)), home),
            None => (format!("it was last seen at {}", place_name(report, last)), last.node),
        };
        let group = groups.entry((node, destination)).or_insert((0, where_to, None, source.ip()));
        group.0 += attempt.syns;
        group.2 = Some(home);
    }
    let signs = groups.into_iter().map(|((node, destination), (count, where_to, home, source))| {
        let from = home.map_or("?", |home| report.place(Some(home)));
        let times = plural(count as u64, "time", "times");
        let text = format!(
            "{from} asked {} for a connection, {times} (SYN): {where_to}",
            endpoint(report, destination)
        );
        Sign::new(Some(node), text).between([source, destination.ip()])
    });
    signs.collect()
}

/// Questions to name servers that were not answered.
pub(super) fn unanswered_dns(report: &Report, hops: &[Hop]) -> Vec<Sign> {
    /// Who asks whom, under which number.
    type Question = (SocketAddr, SocketAddr, [u8; 2]);
    let mut open: BTreeMap<Question, (usize, String, bool, bool)> = BTreeMap::new();
    for hop in hops.iter().chain(&report.packets.after) {
        let packet = &hop.packet;
        // A fragment of an answer does not tell its ports.
        if let Some(ip) =
            packet.ip().filter(|ip| ip.fragment.is_some() && ip.protocol == UDP && !hop.to.is_empty())
        {
            open.retain(|(from, server, _), _| (from.ip(), server.ip()) != (ip.destination, ip.source));
        }
        let (Some(udp), Some(source), Some(destination), [a, b, ..]) =
            (packet.udp(), packet.source(), packet.destination(), packet.payload())
        else {
            continue;
        };
        let id = [*a, *b];
        let is_after = hop.time > report.packets.until;
        if let (false, 53, Some(from), Some(text)) = (is_after, udp.destination_port, hop.from, packet.dns())
        {
            // `4711 A? db.test`
            let asked = text.split_once(' ').map_or(text.as_str(), |(_, asked)| asked).to_owned();
            let arrived = hop.to.iter().any(|to| Some(to.node) == owner(report, destination.ip()));
            let is_excused = report.packets.is_under_way(hop) || report.packets.is_hidden(hop);
            let entry = open.entry((source, destination, id)).or_insert((from.node, asked, false, false));
            entry.2 |= arrived;
            entry.3 = is_excused;
        } else if udp.source_port == 53 && !hop.to.is_empty() {
            open.remove(&(destination, source, id));
        }
    }
    /// Who asks and who is asked, how often, and for what.
    type Asked = (BTreeSet<IpAddr>, usize, BTreeSet<String>);
    let mut groups: BTreeMap<(usize, SocketAddr, bool), Asked> = BTreeMap::new();
    for ((from, server, _), (node, asked, arrived, is_excused)) in open {
        if is_excused {
            continue;
        }
        let group = groups.entry((node, server, arrived)).or_default();
        group.0.extend([from.ip(), server.ip()]);
        group.1 += 1;
        group.2.insert(asked);
    }
    let signs = groups.into_iter().map(|((node, server, arrived), (ends, count, asked))| {
        let asked: Vec<String> = asked.into_iter().take(3).collect();
        let what = if arrived { ", which they reached," } else { "" };
        let text = format!(
            "{} to the name server {}{what} {} not answered: {}",
            plural(count as u64, "question", "questions"),
            name(report, server.ip()),
            if count == 1 { "was" } else { "were" },
            asked.join(", ")
        );
        Sign::new(Some(node), text).between(ends)
    });
    signs.collect()
}
