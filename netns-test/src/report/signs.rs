//! What stands out in the state of a network: the likely causes, most telling first.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::asked::{Refused, is_starting, refused};
use super::data::{Host, Report, Socket};
use super::suspects::{errors, suspects};
use crate::gateway::Stopped;
use crate::netlink::nftables::{Fate, Stop};
use crate::netlink::state::{Address, Link, Route, RouteKind, RouteProtocol, SocketState};
use crate::plan::{InterfacePlan, NodePlan, RoutePlan};

/// The first line of a program's end, and how many of its last lines go with it.
const OBITUARY: usize = 6;

/// The most routes of one node that are named one by one, and the most addresses.
const MOST_ROUTES: usize = 3;
const MOST_ADDRESSES: usize = 3;

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

/// What a router's NAT and firewall have let through neither way.
fn stopped(_: &Report, host: &Host) -> Vec<String> {
    let line = |stopped: &Stopped| {
        let packets = plural(stopped.packets, "packet was", "packets were");
        format!("{packets} stopped by its {}: {}", stopped.by, stopped.why)
    };
    host.stopped.iter().map(line).collect()
}

/// The most rules of one node that are named one by one.
const MOST_STOPS: usize = 3;

/// The rules of the test's own that have stopped something, as their counters say.
fn counted_stops(_: &Report, host: &Host) -> Vec<String> {
    let line = |stop: &Stop| {
        let packets = stop.counted.map(|counted| counted.packets).filter(|packets| *packets > 0)?;
        let fate = match stop.fate {
            Fate::Dropped => "dropped",
            Fate::Rejected => "rejected",
        };
        Some((packets, format!("{} {fate} by {}", plural(packets, "packet was", "packets were"), rule(stop))))
    };
    let mut lines: Vec<(u64, String)> = host.stops.iter().filter_map(line).collect();
    lines.sort_by_key(|(packets, _)| std::cmp::Reverse(*packets));
    let more = lines.len().saturating_sub(MOST_STOPS);
    let mut texts: Vec<String> = lines.into_iter().take(MOST_STOPS).map(|(_, text)| text).collect();
    if more > 0 {
        texts.push(format!(
            "{} packets as well",
            plural(more as u64, "more rule stopped", "more rules stopped")
        ));
    }
    texts
}

/// Those of which nobody knows, as they have no counter.
fn uncounted_stops(_: &Report, host: &Host) -> Vec<String> {
    let uncounted: Vec<&Stop> = host.stops.iter().filter(|stop| stop.counted.is_none()).collect();
    let mut names: Vec<String> = uncounted.iter().take(MOST_STOPS).map(|stop| rule(stop)).collect();
    let more = uncounted.len().saturating_sub(MOST_STOPS);
    if more > 0 {
        names.push(plural(more as u64, "more rule", "more rules"));
    }
    match names.is_empty() {
        true => Vec::new(),
        false => {
            vec![format!(
                "packets may have been stopped, and nothing counts how many, by {}",
                names.join(", ")
            )]
        }
    }
}

/// A rule as nft(8) would name it: it prints handles with `-a`.
fn rule(stop: &Stop) -> String {
    let chain = format!("`{} {} {}`", stop.family, stop.table, stop.chain);
    match &stop.rule {
        None => format!("the policy of {chain}"),
        Some((handle, None)) => format!("the rule {handle} of {chain}"),
        Some((handle, Some(comment))) => format!("the rule {handle} of {chain} ({comment})"),
    }
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

// Interfaces, addresses, routes: what is not as planned.

fn interfaces(report: &Report, host: &Host) -> Vec<String> {
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

fn addresses(report: &Report, host: &Host) -> Vec<String> {
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

fn added_addresses(report: &Report, host: &Host) -> Vec<String> {
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

/// What tells routes apart: destination, gateway, interface. Sets of them, since a long line has a million in all.
type Way = (IpAddr, u8, Option<IpAddr>, Option<u32>);

fn way(route: &Route) -> Way {
    (route.destination, route.prefix_len, route.gateway, route.link)
}

fn planned_way(route: &RoutePlan) -> Way {
    (route.destination, route.prefix_len, route.via, Some(route.interface))
}

/// The routes of a host that neither the plan nor the kernel has made.
pub(super) fn unusual_routes<'a>(report: &Report, host: &'a Host) -> Vec<&'a Route> {
    let planned: HashSet<Way> =
        plan(report, host).map_or(&[][..], |plan| &plan.routes).iter().map(planned_way).collect();
    let is_unusual = |route: &&Route| {
        route.table != Route::LOCAL_TABLE
            && route.protocol != RouteProtocol::Kernel
            && !(route.kind == RouteKind::Unicast && planned.contains(&way(route)))
    };
    host.routes.iter().filter(is_unusual).collect()
}

fn routes(report: &Report, host: &Host) -> Vec<String> {
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

// TCP: who refused, who waits.

/// Resets that were sent for another reason than that a connection was asked for in vain.
const ABORTS: [&str; 5] = [
    "TcpExtTCPAbortOnClose",
    "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnTimeout",
    "TcpExtTCPAbortOnLinger",
    "TcpExtTCPAbortOnMemory",
];

fn refusals(report: &Report, host: &Host) -> Vec<String> {
    let all_resets = host.counters.get("TcpOutRsts");
    let resets = all_resets.saturating_sub(host.counters.sum(&ABORTS));
    let seen = host.node.and_then(|node| refused(report, node));
    let is_blind = host.node.is_some_and(|node| report.packets.blind.hides(node, 0, u64::MAX));
    // Without packets there are but counters, and one does not tell whose attempt failed.
    let Refused { attempts: refused, resets: its } = seen.unwrap_or_else(|| {
        let failed: u64 = report.snapshot.hosts.iter().map(|host| host.counters.get("TcpAttemptFails")).sum();
        Refused { attempts: resets.min(failed), resets: resets.min(failed) }
    });
    let mut texts = Vec::new();
    // A firewall's resets are not counted among those of TCP.
    if refused > 0 && all_resets == 0 {
        let count = plural(refused, "connection attempt was", "connection attempts were");
        texts.push(format!("{count} refused here by a reset that is not TCP's own: a firewall rejects them"));
    } else if refused > 0 {
        let listeners: BTreeSet<String> =
            host.sockets.iter().filter(|socket| socket.state == SocketState::Listen).map(listener).collect();
        // Of a network that has ended, the sockets are gone; of a body that has ended, its own.
        let is_unknown = report.is_late || report.is_after_body && listeners.is_empty();
        let listening = match (is_unknown, listeners.is_empty()) {
            (true, _) => String::new(),
            (false, true) => "\n  now no TCP socket listens here".to_owned(),
            (false, false) => {
                format!("\n  now there is {}", listeners.into_iter().collect::<Vec<_>>().join(", "))
            }
        };
        let count = plural(refused, "connection attempt was", "connection attempts were");
        texts.push(format!("{count} refused here: nothing listened on that address and port{listening}"));
    }
    if resets > its && !is_blind {
        let count = plural(resets - its, "TCP reset was", "TCP resets were");
        texts.push(format!("{count} sent from here: segments came for connections that had been closed"));
    }
    texts
}

fn listener(socket: &Socket) -> String {
    match socket.local.ip().to_canonical().is_loopback() {
        true => format!("a listener on {}, which only this node itself can reach", address(socket.local)),
        false => format!("a listener on {}", address(socket.local)),
    }
}

/// An address as users write it: IPv4 in IPv6 is IPv4.
pub(super) fn address(address: SocketAddr) -> String {
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

/// Whether a listener takes no more connections (`sk_acceptq_is_full` in the kernel's include/net/sock.h).
fn is_full(socket: &Socket) -> bool {
    socket.state == SocketState::Listen && socket.recv_queue > socket.send_queue
}

fn waiting(report: &Report, host: &Host) -> Vec<String> {
    let mut texts = Vec::new();
    for socket in host.sockets.iter().filter(|socket| is_full(socket)) {
        texts.push(format!(
            "the backlog of the listener on {} is full: {} wait to be accepted, and no more are taken",
            address(socket.local),
            plural(socket.recv_queue.into(), "connection", "connections"),
        ));
    }
    let asked: BTreeSet<SocketAddr> = host
        .sockets
        .iter()
        .filter(|socket| socket.state == SocketState::SynSent)
        .filter_map(|socket| Some((socket.local, socket.remote?)))
        .filter(|&(local, remote)| host.node.is_none_or(|node| !is_starting(report, node, local, remote)))
        .map(|(_, remote)| remote)
        .collect();
    for remote in asked {
        let ip = remote.ip().to_canonical();
        let why = match holder(report, ip) {
            Some(node) => match report.host(node) {
                Some(peer) if peer.sockets.iter().any(|socket| is_full(socket) && serves(socket, remote)) => {
                    format!("the backlog of `{}` is full", report.place(Some(node)))
                }
                _ => format!("`{}` does not answer", report.place(Some(node))),
            },
            None => match owner(report, ip) {
                Some(node) => format!("`{}` does not have that address now", report.place(Some(node))),
                None => "no node has that address".to_owned(),
            },
        };
        texts.push(format!("a connection to {} is being tried: {why}", address(remote)));
    }
    texts
}

fn serves(socket: &Socket, remote: SocketAddr) -> bool {
    let (local, ip) = (socket.local.ip().to_canonical(), remote.ip().to_canonical());
    socket.local.port() == remote.port() && (local == ip || local.is_unspecified())
}

fn neighbours(report: &Report, host: &Host) -> Vec<String> {
    host.neighbours
        .iter()
        .filter(|neighbour| neighbour.is_silent())
        .map(|neighbour| {
            let name = link(host, neighbour.link).map_or("?", |link| &link.name);
            if host.node.is_some_and(|node| report.packets.waits_for(node, Some(neighbour.ip))) {
                let ip = neighbour.ip;
                return format!("the neighbour {ip} on {name} has not answered yet: its link makes it wait");
            }
            let who = match (holder(report, neighbour.ip), owner(report, neighbour.ip)) {
                (Some(node), _) => format!("it is an address of `{}`", report.place(Some(node))),
                (None, Some(node)) => format!("`{}` does not have it now", report.place(Some(node))),
                (None, None) => "no node has that address".to_owned(),
            };
            format!("the neighbour {} on {name} did not answer: {who}", neighbour.ip)
        })
        .collect()
}

// Counters.

/// A sum of counters that is 0 when all is well, in words.
struct Word {
    names: &'static [&'static str],
    /// What is counted in `names` as well, and is told in other words.
    but: &'static [&'static str],
    one: &'static str,
    many: &'static str,
    rest: &'static str,
}

const fn word(
    names: &'static [&'static str],
    one: &'static str,
    many: &'static str,
    rest: &'static str,
) -> Word {
    Word { names, but: &[], one, many, rest }
}

/// Documentation/networking/snmp_counter.rst, RFC 4293, and the places in net/ipv4 and net/ipv6 that count.
const WORDS: [Word; 26] = [
    word(
        &["IpOutNoRoutes", "Ip6OutNoRoutes"],
        "packet or connection",
        "packets or connections",
        "from here found no route",
    ),
    word(
        &["IpExtInNoRoutes", "Ip6InNoRoutes"],
        "packet that arrived",
        "packets that arrived",
        "found no route onwards",
    ),
    word(
        &["IpInAddrErrors", "Ip6InAddrErrors"],
        "packet",
        "packets",
        "for other hosts came and went no further: this node does not forward them",
    ),
    word(
        &["TcpExtListenOverflows"],
        "connection attempt",
        "connection attempts",
        "met a listener whose backlog was full, and got no answer",
    ),
    Word {
        // What finds no route for its answer is counted here as well.
        but: &["TcpExtListenOverflows", "IpOutNoRoutes", "Ip6OutNoRoutes"],
        ..word(
            &["TcpExtListenDrops"],
            "connection attempt",
            "connection attempts",
            "dropped by a listener, for lack of memory or because it was closed",
        )
    },
    word(
        &["UdpNoPorts", "Udp6NoPorts"],
        "datagram",
        "datagrams",
        "came for a UDP port that no socket had bound",
    ),
    word(
        &["TcpExtTCPSynRetrans"],
        "SYN or SYN-ACK",
        "SYNs or SYN-ACKs",
        "sent again: no answer came within a second",
    ),
    word(&["TcpExtTCPAbortOnTimeout"], "connection", "connections", "given up: no answer came"),
    word(&["TcpAttemptFails"], "TCP connection attempt", "TCP connection attempts", "from here failed"),
    word(&["TcpEstabResets"], "connection", "connections", "ended by a reset"),
    Word {
        but: &["TcpExtTCPSynRetrans"],
        ..word(
            &["TcpRetransSegs"],
            "TCP segment",
            "TCP segments",
            "sent again: no acknowledgement came in time",
        )
    },
    word(
        &["TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData"],
        "connection",
        "connections",
        "closed here with data unread, which resets them",
    ),
    word(
        &["IcmpInDestUnreachs", "Icmp6InDestUnreachs"],
        "ICMP message",
        "ICMP messages",
        "came: destination unreachable",
    ),
    word(
        &["IcmpOutDestUnreachs", "Icmp6OutDestUnreachs"],
        "ICMP message",
        "ICMP messages",
        "sent: destination unreachable",
    ),
    word(
        &["IcmpInTimeExcds", "Icmp6InTimeExcds"],
        "ICMP message",
        "ICMP messages",
        "came: time exceeded (a routing loop, or a small TTL)",
    ),
    word(
        &["IpFragFails", "Ip6FragFails"],
        "packet",
        "packets",
        "too big for the next link, and not to be fragmented",
    ),
    word(&["Icmp6InPktTooBigs"], "ICMP message", "ICMP messages", "came: packet too big"),
    word(
        &["IpReasmFails", "Ip6ReasmFails"],
        "packet",
        "packets",
        "could not be put together: fragments are missing",
    ),
    word(
        &["TcpExtIPReversePathFilter"],
        "packet",
        "packets",
        "dropped by the reverse-path filter: the way back leads elsewhere",
    ),
    word(
        &[
            "TcpInCsumErrors",
            "UdpInCsumErrors",
            "Udp6InCsumErrors",
            "IcmpInCsumErrors",
            "Icmp6InCsumErrors",
            "IpExtInCsumErrors",
        ],
        "packet",
        "packets",
        "came with a wrong checksum",
    ),
    word(
        &["UdpRcvbufErrors", "Udp6RcvbufErrors"],
        "datagram",
        "datagrams",
        "dropped: the receiver's buffer was full",
    ),
    word(
        &["UdpSndbufErrors", "Udp6SndbufErrors"],
        "datagram",
        "datagrams",
        "not sent: the sender's buffer was full",
    ),
    word(
        &["IpInHdrErrors", "Ip6InHdrErrors"],
        "packet",
        "packets",
        "came with a bad header or an expired TTL",
    ),
    word(&["IpInDiscards", "Ip6InDiscards"], "packet", "packets", "discarded on arrival"),
    // Not IPv6's: an interface without a carrier discards the kernel's own multicast reports.
    word(&["IpOutDiscards"], "packet", "packets", "discarded here on the way out"),
    word(
        &["TcpExtTCPReqQFullDrop", "TcpExtTCPBacklogDrop", "TcpExtTCPRcvQDrop"],
        "TCP segment",
        "TCP segments",
        "dropped: a queue was full",
    ),
];

/// One word for all hosts before the next one: what tells most comes first, wherever it is.
fn counters(report: &Report) -> impl Iterator<Item = Sign> {
    WORDS.iter().flat_map(|word| {
        report.snapshot.hosts.iter().filter_map(move |host| {
            let count = host.counters.sum(word.names).saturating_sub(host.counters.sum(word.but));
            let text = || format!("{} {}", plural(count, word.one, word.many), word.rest);
            (count > 0).then(|| Sign::new(host.node, text()))
        })
    })
}

pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::data::Counters;
    use super::{ABORTS, WORDS};

    /// A misspelt name would be a counter that is always 0.
    #[test]
    fn counters_are_named_as_the_kernel_names_them() {
        let mut known = Counters::default();
        let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        // A kernel without IPv6 has no snmp6.
        let Ok(six) = read("snmp6") else { return };
        known.read(&six);
        known.read(&read("snmp").expect("every kernel has it"));
        known.read(&read("netstat").expect("every kernel has it"));
        let used = WORDS.iter().flat_map(|word| word.names.iter().chain(word.but)).chain(&ABORTS);
        let others = ["TcpOutRsts", "TcpAttemptFails", "Icmp6OutMLDv2Reports"];
        for name in used.chain(&others) {
            assert!(known.has(name), "{name}");
        }
    }
}
