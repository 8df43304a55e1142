//! Who refused a connection, who waits for one, and neighbours that did not answer.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{address, holder, link, owner, plural};
use crate::netlink::state::SocketState;
use crate::report::asked::{Refused, is_starting, refused};
use crate::report::data::{Host, Report, Socket};

/// Resets that were sent for another reason than that a connection was asked for in vain.
pub(super) const ABORTS: [&str; 5] = [
    "TcpExtTCPAbortOnClose",
    "TcpExtTCPAbortOnData",
    "TcpExtTCPAbortOnTimeout",
    "TcpExtTCPAbortOnLinger",
    "TcpExtTCPAbortOnMemory",
];

pub(super) fn refusals(report: &Report, host: &Host) -> Vec<String> {
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

/// Whether a listener takes no more connections (`sk_acceptq_is_full` in the kernel's include/net/sock.h).
fn is_full(socket: &Socket) -> bool {
    socket.state == SocketState::Listen && socket.recv_queue > socket.send_queue
}

pub(super) fn waiting(report: &Report, host: &Host) -> Vec<String> {
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
                Some(node) => lacks(report, node, "that address"),
                None => "no node has that address".to_owned(),
            },
        };
        texts.push(format!("a connection to {} is being tried: {why}", address(remote)));
    }
    texts
}

/// That an address which was planned for a node is not among its own, as far as that is known.
fn lacks(report: &Report, node: usize, what: &str) -> String {
    let name = report.place(Some(node));
    match report.host(node) {
        Some(_) => format!("`{name}` does not have {what} now"),
        None => format!("it is `{name}`'s, which was not looked at"),
    }
}

fn serves(socket: &Socket, remote: SocketAddr) -> bool {
    let (local, ip) = (socket.local.ip().to_canonical(), remote.ip().to_canonical());
    socket.local.port() == remote.port() && (local == ip || local.is_unspecified())
}

pub(super) fn neighbours(report: &Report, host: &Host) -> Vec<String> {
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
                (None, Some(node)) => lacks(report, node, "it"),
                (None, None) => "no node has that address".to_owned(),
            };
            format!("the neighbour {} on {name} did not answer: {who}", neighbour.ip)
        })
        .collect()
}
