//! Reports from planted data, as recorded in `snapshots/`.
//!
//! Where they are meant to differ, `NETNS_TEST_SNAPSHOTS=overwrite cargo test -p netns-test --lib report` writes them anew.

use std::path::Path;
use std::time::Duration;
use std::{env, fs};

use netns_test_model::{Family, Shape, Topology};

use super::data::{Counters, Failure, Host, Packets, Program, Report, Snapshot, Socket, Thread};
use super::hops::{Hop, Place};
use super::text::{Style, write};
use super::unless_panicked;
use crate::netlink::state::{
    Address, Link, LinkStats, Neighbour, NeighbourState, OperState, Protocol, Route, RouteKind,
    RouteProtocol, Scope, SocketState,
};
use crate::packet::Packet;
use crate::plan::{NodePlan, plan};

#[track_caller]
fn is_as_recorded(name: &str, report: &Report) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/report/snapshots/{name}.txt"));
    let text = write(report, Style { colours: false }) + "\n";
    if env::var_os("NETNS_TEST_SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        fs::write(&path, text).expect("the directory is writable");
    } else {
        let recorded = fs::read_to_string(&path).unwrap_or_default();
        assert!(recorded == text, "{} should be:\n{text}", path.display());
    }
}

/// A healthy network in which nothing has happened.
fn network(names: &[&str], shape: Shape, family: Family) -> Report {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let plan = plan(&Topology::new(names, shape, family));
    let hosts = plan.nodes.iter().enumerate().map(|(index, node)| healthy(index, node)).collect();
    Report {
        test: "module::test".to_owned(),
        how: "its body panicked".to_owned(),
        after: Some(Duration::from_millis(12)),
        ended_after: None,
        is_late: false,
        is_after_body: false,
        failures: Vec::new(),
        plan,
        snapshot: Snapshot { hosts, ..Snapshot::default() },
        packets: Packets::default(),
    }
}

fn nodes(count: usize, shape: Shape) -> Report {
    let names: Vec<String> = (1..=count).map(|number| format!("nodes-{number}")).collect();
    network(&names.iter().map(String::as_str).collect::<Vec<_>>(), shape, Family::Dual)
}

fn healthy(index: usize, node: &NodePlan) -> Host {
    let link = |index: u32, name: &str, mac| Link {
        index,
        name: name.to_owned(),
        mac,
        mtu: if name == "lo" { 65536 } else { 1500 },
        up: true,
        operstate: OperState::Up,
        carrier: true,
        qdisc: "noqueue".to_owned(),
        kind: None,
        controller: None,
        peer: None,
        peer_namespace: None,
        stats: LinkStats::default(),
    };
    let mut host = Host { node: Some(index), links: vec![link(1, "lo", None)], ..Host::default() };
    host.addresses = node.loopback.iter().map(|&(ip, length)| Address::new(1, ip, length)).collect();
    for interface in &node.interfaces {
        host.links.push(link(interface.index, &interface.name, Some(interface.mac)));
        let addresses = interface.addresses.iter();
        host.addresses.extend(addresses.map(|&(ip, length)| Address::new(interface.index, ip, length)));
    }
    host.routes = node
        .routes
        .iter()
        .map(|planned| Route {
            destination: planned.destination,
            prefix_len: planned.prefix_len,
            gateway: planned.via,
            link: Some(planned.interface),
            source: planned.source,
            kind: RouteKind::Unicast,
            table: Route::MAIN_TABLE,
            metric: 0,
            protocol: RouteProtocol::Static,
            scope: Scope::Global,
            next_hops: Vec::new(),
        })
        .collect();
    host
}

fn socket(state: SocketState, local: &str, remote: Option<&str>) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        state,
        local: local.parse().expect("an address"),
        remote: remote.map(|remote| remote.parse().expect("an address")),
        recv_queue: 0,
        send_queue: 0,
        inode: 1,
        owner: Some("this test".to_owned()),
    }
}

fn counters(text: &str) -> Counters {
    let mut counters = Counters::default();
    counters.read(text);
    counters
}

#[test]
fn every_shape_has_its_drawing() {
    is_as_recorded("two", &network(&["client", "server"], Shape::Star, Family::Dual));
    is_as_recorded("two_v4", &network(&["client", "server"], Shape::Star, Family::V4));
    is_as_recorded("star", &network(&["client", "proxy", "server"], Shape::Star, Family::Dual));
    is_as_recorded("line_of_two", &network(&["left", "right"], Shape::Line, Family::Dual));
    is_as_recorded("line", &network(&["client", "router", "server"], Shape::Line, Family::Dual));
    is_as_recorded("ring", &network(&["a", "b", "c"], Shape::Ring, Family::V6));
    is_as_recorded("mesh", &network(&["a", "b", "c"], Shape::Mesh, Family::V4));
    is_as_recorded("alone", &network(&[], Shape::Star, Family::Dual));
}

#[test]
fn vlans_and_what_came_while_the_test_ran_are_drawn() {
    let mut report = network(&["a", "b"], Shape::Star, Family::V4);
    report.plan.nodes[0].interfaces[0].vlan = Some(10);
    let hosts = &mut report.snapshot.hosts;
    hosts[0].links[1].mtu = 1400;
    let planned = hosts[1].links[1].clone();
    let made = |index, name: &str, kind: &str| Link {
        index,
        name: name.to_owned(),
        kind: Some(kind.to_owned()),
        ..planned.clone()
    };
    // The second is where held packets wait.
    hosts[1].links.push(Link { mtu: 1450, ..made(60_001, "vxlan7", "vxlan") });
    hosts[1].links.push(made(7, "hold100", "veth"));
    hosts[1].links.push(Link { up: false, ..made(60_002, "eth0.10", "vlan") });
    hosts[1].addresses.push(Address::new(60_001, "192.168.7.2".parse().expect("an address"), 24));
    let text = write(&report, Style { colours: false });
    assert!(text.contains("\n  eth0 (VLAN 10, MTU 1400) ─"), "{text}");
    let made = "\n  made while it ran:\n    b/vxlan7 (vxlan, MTU 1450)  192.168.7.2/24\n    b/eth0.10 (vlan, down)\n";
    assert!(text.contains(made), "{text}");
}

#[test]
fn large_networks_are_abbreviated() {
    let mut report = nodes(300, Shape::Star);
    report.snapshot.hosts[200].links[1].up = false;
    is_as_recorded("star_of_300", &report);
    is_as_recorded("mesh_of_40", &nodes(40, Shape::Mesh));
    for report in [nodes(1000, Shape::Star), nodes(64, Shape::Mesh), nodes(200, Shape::Line)] {
        let lines = write(&report, Style { colours: false }).lines().count();
        assert!(lines < 40, "{lines} lines");
    }
}

#[test]
fn a_listener_on_the_loopback_explains_a_refusal() {
    let mut report = network(&["client", "server"], Shape::Star, Family::Dual);
    report.failures = vec![Failure {
        node: Some("client".to_owned()),
        thread: "test@client".to_owned(),
        location: "tests/x.rs:7:5".to_owned(),
        message: "called `Result::unwrap()` on an `Err` value: refused\nsecond line".to_owned(),
    }];
    let hosts = &mut report.snapshot.hosts;
    hosts[0].counters = counters("TcpAttemptFails 2\n");
    hosts[1].counters = counters("TcpOutRsts 2\nUdpNoPorts 1\nTcpExtTCPSynRetrans 1\n");
    hosts[1].sockets = vec![socket(SocketState::Listen, "127.0.0.1:80", None)];
    hosts[0].links[1].stats =
        LinkStats { rx_packets: 2, rx_bytes: 108, tx_packets: 1, tx_bytes: 74, ..LinkStats::default() };
    is_as_recorded("refused", &report);
}

/// A machine may be too slow for all nodes to be looked at in time.
#[test]
fn of_a_node_that_was_not_looked_at_nothing_is_claimed() {
    let mut report = network(&["client", "server"], Shape::Star, Family::Dual);
    report.snapshot.hosts.truncate(1);
    let client = &mut report.snapshot.hosts[0];
    client.sockets = vec![socket(SocketState::SynSent, "10.0.0.1:4000", Some("10.0.0.2:80"))];
    let ip = "10.0.0.2".parse().expect("an address");
    client.neighbours = vec![Neighbour { link: 100, ip, mac: None, state: NeighbourState::Failed }];
    let text = write(&report, Style { colours: false });
    let connection = "a connection to 10.0.0.2:80 is being tried: it is `server`'s, which was not looked at";
    let neighbour =
        "the neighbour 10.0.0.2 on eth0 did not answer: it is `server`'s, which was not looked at";
    assert!(text.contains(connection) && text.contains(neighbour), "{text}");
    assert!(!text.contains("does not have"), "{text}");
}

#[test]
fn a_timeout_shows_who_waits_for_whom() {
    let mut report = network(&["client", "server"], Shape::Star, Family::Dual);
    report.how = "it timed out".to_owned();
    let hosts = &mut report.snapshot.hosts;
    let full = Socket { recv_queue: 2, send_queue: 1, ..socket(SocketState::Listen, "[::]:80", None) };
    hosts[1].sockets =
        vec![full, socket(SocketState::Established, "[2001:db8::2]:80", Some("[2001:db8::1]:999"))];
    hosts[0].sockets = vec![
        socket(SocketState::SynSent, "10.0.0.1:4000", Some("10.0.0.2:80")),
        socket(SocketState::SynSent, "10.0.0.1:4001", Some("10.0.9.9:80")),
    ];
    let neighbour = "10.0.9.9".parse().expect("an address");
    hosts[0].neighbours =
        vec![Neighbour { link: 100, ip: neighbour, mac: None, state: NeighbourState::Failed }];
    let thread = |node, name: Option<&str>, doing: &str| Thread {
        node,
        name: name.map(str::to_owned),
        doing: doing.to_owned(),
    };
    report.snapshot.threads = vec![
        thread(None, None, "waits for I/O or a timer (epoll_wait)"),
        thread(Some(1), Some("test@server"), "runs: it computes or spins"),
    ];
    report.snapshot.programs = vec![Program { node: Some(1), id: 1234, name: "nginx".to_owned() }];
    report.snapshot.deaths = vec![(
        1,
        "the program `server/sh` ended with exit status: 3; the last that it wrote:\n  no".to_owned(),
    )];
    is_as_recorded("timeout", &report);
}

#[test]
fn what_is_not_as_planned_stands_out() {
    let mut report = network(&["client", "router", "server"], Shape::Line, Family::V4);
    let hosts = &mut report.snapshot.hosts;
    hosts[0].links[1].carrier = false;
    hosts[1].links[1].up = false;
    hosts[1].forwards_not = vec!["IPv4"];
    hosts[2].routes.retain(|route| route.gateway.is_none());
    let mut blackhole = Route { kind: RouteKind::Blackhole, ..hosts[2].routes[0].clone() };
    blackhole.destination = "10.0.0.1".parse().expect("an address");
    blackhole.prefix_len = 32;
    blackhole.link = None;
    blackhole.source = None;
    hosts[2].routes.push(blackhole);
    hosts[2].addresses.pop();
    hosts[2].addresses.push(Address::new(100, "10.0.0.2".parse().expect("an address"), 24));
    report.snapshot.gaps = vec!["the threads of the test: no".to_owned()];
    is_as_recorded("not_as_planned", &report);
}

#[test]
fn a_colour_is_on_headings_and_signs_alone() {
    let mut report = network(&["client", "server"], Shape::Star, Family::V4);
    report.snapshot.hosts[0].counters = counters("UdpNoPorts 1\n");
    let text = write(&report, Style { colours: true });
    assert!(text.contains("\n\x1b[1mNetwork\x1b[0m\n"), "{text}");
    assert!(text.contains("\n  \x1b[33mclient  1 datagram came"), "{text}");
}

#[test]
fn a_panic_before_the_end_is_told_with_both_times() {
    let mut report = network(&["client", "server"], Shape::Star, Family::V4);
    report.how = "its body returned an error".to_owned();
    report.ended_after = Some(Duration::from_millis(4500));
    let text = write(&report, Style { colours: false });
    let title = "12 ms after its body started, at a panic: after 4500 ms its body returned an error\n";
    assert!(text.contains(title), "{text}");
}

#[test]
fn what_is_found_out_late_says_so() {
    let mut report = network(&["client", "server"], Shape::Star, Family::V4);
    report.is_late = true;
    report.snapshot.hosts[0].counters = counters("TcpAttemptFails 1\n");
    report.snapshot.hosts[1].counters = counters("TcpOutRsts 1\n");
    let text = write(&report, Style { colours: false });
    assert!(text.contains("sockets and neighbours are gone"), "{text}");
    assert!(
        text.contains("1 connection attempt was refused here") && !text.contains("listens here\n"),
        "{text}"
    );
}

#[test]
fn a_report_that_cannot_be_made_says_so_in_one_line() {
    let panicked = unless_panicked(|| -> Result<(), String> { panic!("on purpose") });
    assert_eq!(panicked, Err("making it panicked: on purpose".to_owned()));
    let refused = unless_panicked(|| -> Result<(), String> { Err("one\n  two".to_owned()) });
    assert_eq!(refused, Err("one; two".to_owned()));
    assert_eq!(unless_panicked(|| Ok(1)), Ok(1));
}

/// A packet of TCP from port 999 of the first node to port 80 of the second, or back.
fn tcp(report: &Report, sender: usize, flags: u8, numbers: [u32; 2], time: u64) -> Hop {
    let (last, peer) = (sender as u8 + 1, 2 - sender as u8);
    let ports = [999_u16, 80];
    let ends = [10, 0, 0, last, 10, 0, 0, peer];
    let ip = [&[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0][..], &ends].concat();
    let ports = [ports[sender].to_be_bytes(), ports[1 - sender].to_be_bytes()].concat();
    let numbers = numbers.map(u32::to_be_bytes).concat();
    let ethernet = [2, 0, 0, 0, 0, peer, 2, 0, 0, 0, 0, last, 8, 0];
    let bytes = [&ethernet[..], &ip, &ports, &numbers, &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]].concat();
    let place = |node: usize| Place { node, interface: report.plan.nodes[node].interfaces[0].index };
    Hop {
        time,
        link: None,
        from: Some(place(sender)),
        to: vec![place(1 - sender)],
        came: time,
        is_corrupted: false,
        is_lost: false,
        is_repeated: false,
        packet: Packet::decode(bytes),
    }
}

#[test]
fn what_is_answered_as_the_network_is_looked_at_is_answered() {
    const SYN: u8 = 2;
    const SYN_ACK: u8 = 0x12;
    let mut report = network(&["client", "server"], Shape::Star, Family::V4);
    report.packets.until = 1000;
    report.packets.hops = vec![tcp(&report, 0, SYN, [7, 0], 999)];
    let asked =
        "client asked server:80 for a connection, 1 time (SYN): it arrived here, and nothing was answered";
    let text = write(&report, Style { colours: false });
    assert!(text.contains(asked), "{text}");
    // And nobody who is asked again has answered.
    let again = tcp(&report, 0, SYN, [7, 0], 1001);
    report.packets.after = vec![Hop { is_repeated: true, ..again }];
    let text = write(&report, Style { colours: false });
    assert!(text.contains(asked) && text.matches("Flags [S]").count() <= 1, "{text}");
    report.packets.after = vec![tcp(&report, 1, SYN_ACK, [70, 8], 1001)];
    let text = write(&report, Style { colours: false });
    assert!(!text.contains("asked"), "{text}");
}

#[test]
fn routes_are_those_of_who_failed_to_reach_whom() {
    let mut report = network(&["client", "router", "other", "server"], Shape::Line, Family::V4);
    let routes = |report: &Report| -> Vec<String> {
        let text = write(report, Style { colours: false });
        let lines = text.split_once("\nRoutes\n").map_or("", |(_, lines)| lines);
        lines.lines().take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
    };
    assert_eq!(routes(&report), [""; 0]);
    let client = socket(SocketState::SynSent, "10.0.0.1:4000", Some("10.0.0.4:80"));
    report.snapshot.hosts[0].sockets = vec![client];
    // There and back; nobody saw a packet between them.
    let there = "client  10.0.0.4 via 10.1.0.2 dev eth0 src 10.0.0.1";
    let back = "server  10.0.0.1 via 10.1.2.1 dev eth0 src 10.0.0.4";
    assert_eq!(routes(&report), [there, back]);
    // Where nothing found a way, it may be any.
    report.snapshot.hosts[2].counters = counters("IpOutNoRoutes 1\n");
    let all = routes(&report);
    assert_eq!(all.iter().filter(|line| line.starts_with("other ")).count(), 3, "{all:?}");
}
