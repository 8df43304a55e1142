//! What a report is written from: plain data.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netns_test_model::graph::{Conditions, Wire};

use super::hops::{Blind, Hop, Links, answer, question};
use crate::gateway::Stopped;
use crate::netlink::nftables::Stop;
use crate::netlink::state::{Address, Link, Neighbour, Protocol, Route, SocketState};
use crate::plan::Plan;
use crate::wire::Tally;

/// All that a report tells.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) test: String,
    /// How the test ended, as in "its body panicked".
    pub(super) how: String,
    /// When the state was collected, counted from the body's start.
    pub(super) after: Option<Duration>,
    /// When the body ended, where that is the end of the test and what is shown is a panic before.
    pub(super) ended_after: Option<Duration>,
    /// Whether it was collected after the end of the network: its sockets and neighbours are gone then.
    pub(super) is_late: bool,
    /// Whether the body had ended before, and had closed the sockets that it held itself.
    pub(super) is_after_body: bool,
    pub(super) failures: Vec<Failure>,
    pub(super) plan: Plan,
    pub(super) snapshot: Snapshot,
    pub(super) packets: Packets,
}

impl Report {
    /// What can be told of a network that was never made.
    pub(super) fn of_plan(plan: Plan) -> Self {
        Self {
            test: String::new(),
            how: String::new(),
            after: None,
            ended_after: None,
            is_late: false,
            is_after_body: false,
            failures: Vec::new(),
            plan,
            snapshot: Snapshot::default(),
            packets: Packets::default(),
        }
    }
}

/// The packets of the body's time.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) hops: Vec<Hop>,
    /// What followed while the network was being looked at. They explain what was under way, and are told of no one.
    pub(super) after: Vec<Hop>,
    pub(super) links: Links,
    /// When the body started, in nanoseconds since 1970.
    pub(super) started: u64,
    /// When the network was looked at, by the same clock.
    pub(super) until: u64,
    /// What was not recorded.
    pub(super) blind: Blind,
    /// What is missing, in words.
    pub(super) notes: Vec<String>,
}

/// How long a host may take on a busy machine to send on, or to answer, what it has received, where the kernel does it.
const TURN: u64 = 10_000_000;

impl Packets {
    /// Whether a packet may yet arrive.
    pub(super) fn is_under_way(&self, hop: &Hop) -> bool {
        hop.to.is_empty() && self.links.may_come(hop.link, hop.time, self.until)
    }

    /// Whether a node waits for the address of a neighbour, this one or any, over a link that makes it wait: what it has to send
    /// stays there.
    pub(super) fn waits_for(&self, node: usize, neighbour: Option<IpAddr>) -> bool {
        let own = self.hops.iter().filter(|hop| hop.from.is_some_and(|from| from.node == node));
        let mut asked = own.filter_map(|hop| Some((hop, question(&hop.packet)?)));
        asked.any(|(hop, ip)| {
            if neighbour.is_some_and(|neighbour| neighbour != ip) {
                return false;
            }
            let mut answers = self.hops.iter().filter(|hop| answer(&hop.packet) == Some(ip));
            let has_come = answers.clone().any(|hop| hop.to.iter().any(|to| to.node == node));
            let may_come = self.links.may_come(hop.link, hop.time, self.until);
            !has_come && (may_come || answers.any(|hop| self.is_under_way(hop)))
        })
    }

    /// Whether what followed upon a packet may be among what was not recorded.
    pub(super) fn is_hidden(&self, hop: &Hop) -> bool {
        let due = self.links.due(hop.link, hop.came).saturating_add(TURN);
        hop.from.iter().chain(&hop.to).any(|place| self.blind.hides(place.node, hop.time, due))
    }
}

/// A panic that failed the test.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The node's name; `None` is the body's own namespace.
    pub(super) node: Option<String>,
    pub(super) thread: String,
    pub(super) location: String,
    pub(super) message: String,
}

/// The state of a network at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) hosts: Vec<Host>,
    pub(super) threads: Vec<Thread>,
    /// Async work of nodes that is not done: the node, where it comes from, and for how long it has been asked for.
    pub(super) tasks: Vec<(usize, String, Duration)>,
    /// Programs that run.
    pub(super) programs: Vec<Program>,
    /// What the test did to its network, a line each.
    pub(super) faults: Vec<String>,
    /// Programs that failed, and of which the test did not know: the node, and how.
    pub(super) deaths: Vec<(usize, String)>,
    /// What links do to packets, each direction that does something.
    pub(super) directions: Vec<Direction>,
    /// What random fates follow, where packets have some.
    pub(super) seed: Option<u64>,
    /// What programs wrote, and events of `tracing`.
    pub(super) log: Vec<Line>,
    /// What could not be collected, and why, a line each.
    pub(super) gaps: Vec<String>,
}

/// A line of a log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// By the clock of the packets.
    pub(super) time: u64,
    /// The node's index; `None` is the body's own namespace.
    pub(super) node: Option<usize>,
    /// A program, or the level and target of an event.
    pub(super) source: String,
    pub(super) text: String,
}

/// What one direction of a link does to packets, and did.
#[derive(Clone, Debug)]
pub(super) struct Direction {
    /// An index of [`Wiring::conditioned`](crate::plan::Wiring), and the side that sends.
    pub(super) link: usize,
    pub(super) side: usize,
    pub(super) conditions: Conditions,
    pub(super) wire: Wire,
    /// What became of packets, where that is counted.
    pub(super) tally: Option<Tally>,
}

/// A node, or the body's own namespace, as the kernel describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// The node's index; `None` is the body's own namespace.
    pub(super) node: Option<usize>,
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<Route>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) sockets: Vec<Socket>,
    pub(super) counters: Counters,
    /// Which of IPv4 and IPv6 it does not forward.
    pub(super) forwards_not: Vec<&'static str>,
    /// What a router's NAT and firewall have stopped.
    pub(super) stopped: Vec<Stopped>,
    /// What else stops packets: rules and policies of nf_tables that the test has made.
    pub(super) stops: Vec<Stop>,
}

/// A socket and who holds it.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) protocol: Protocol,
    pub(super) state: SocketState,
    pub(super) local: SocketAddr,
    pub(super) remote: Option<SocketAddr>,
    /// As in [`state::Socket`](crate::netlink::state::Socket::recv_queue).
    pub(super) recv_queue: u32,
    pub(super) send_queue: u32,
    pub(super) inode: u32,
    pub(super) owner: Option<String>,
}

/// A thread of the test.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    /// The index of the node that it is in.
    pub(super) node: Option<usize>,
    /// The kernel's name for it, of 15 bytes at most; `None` is the body's thread.
    pub(super) name: Option<String>,
    pub(super) doing: String,
}

/// A process in a node.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) node: Option<usize>,
    pub(super) id: i32,
    pub(super) name: String,
}

/// The counters of IP, ICMP, TCP and UDP, under the names of nstat(8): `TcpExtListenOverflows` for instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// Reads /proc/net/snmp or /proc/net/netstat (a line of names, a line of values), or /proc/net/snmp6 (a name and a value in
    /// each line).
    pub(super) fn read(&mut self, text: &str) {
        let mut names: Vec<&str> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match (&words[..], &names[..]) {
                ([name, value], _) if !name.ends_with(':') => {
                    // What is no number is no counter.
                    self.0.extend(value.parse().ok().map(|value| ((*name).to_owned(), value)));
                }
                ([group, values @ ..], [named, rest @ ..]) if group == named => {
                    let group = group.trim_end_matches(':');
                    let counters = rest.iter().zip(values).filter_map(|(name, value)| {
                        // `Tcp: MaxConn` is -1.
                        Some((format!("{group}{name}"), value.parse().ok()?))
                    });
                    self.0.extend(counters);
                    names.clear();
                }
                _ => names = words,
            }
        }
    }

    /// One counter; 0 where the kernel does not have it.
    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    #[cfg(test)]
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.get(name)).sum()
    }
}

impl Report {
    /// The host of a node; `None` where it could not be looked at.
    pub(super) fn host(&self, node: usize) -> Option<&Host> {
        self.snapshot.hosts.iter().find(|host| host.node == Some(node))
    }

    /// A node's name, or the body.
    pub(super) fn place(&self, node: Option<usize>) -> &str {
        node.map_or("the body", |node| &self.plan.nodes[node].name)
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;

    #[test]
    fn counters_are_read_from_both_forms() {
        let mut counters = Counters::default();
        counters.read("Ip: InReceives OutNoRoutes\nIp: 12 3\nTcp: MaxConn OutRsts\nTcp: -1 7\n");
        counters.read("Ip6InReceives 4\nIp6OutNoRoutes\t5\n");
        assert_eq!(counters.get("IpOutNoRoutes"), 3);
        assert_eq!(counters.get("TcpOutRsts"), 7);
        assert_eq!(counters.sum(&["Ip6OutNoRoutes", "IpInReceives", "TcpMaxConn", "NoSuchCounter"]), 17);
    }
}
