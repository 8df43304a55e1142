//! Ready means ready: the first packet between any two nodes is delivered, multicast and broadcast included.

use std::io::{self, BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{env, thread};

use netns_test::{Node, netns_test};

/// After so long a datagram counts as lost. One that is not lost arrives within a millisecond.
const LOST: Duration = Duration::from_secs(15);

fn receiver(node: &Node, ip: IpAddr) -> UdpSocket {
    let socket = node.blocking_bind_udp((ip, 9)).expect("a receiver");
    socket.set_read_timeout(Some(LOST)).expect("a limit");
    socket
}

/// Whether the next datagram that arrives is `wanted`.
fn arrives(socket: &UdpSocket, wanted: &[u8]) -> bool {
    let mut buffer = [0; 64];
    match socket.recv(&mut buffer) {
        Ok(length) => {
            assert_eq!(&buffer[..length], wanted);
            true
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => false,
        Err(error) => panic!("{error}"),
    }
}

/// The addresses of a node, IPv6 and IPv4.
fn both(node: &Node) -> [IpAddr; 2] {
    [node.ip6().into(), node.ip4().into()]
}

/// Sends one datagram from every node to every other over both families, and nothing before; counts the lost ones.
fn losses_between_all(nodes: &[Node]) -> usize {
    let receivers: Vec<[UdpSocket; 2]> =
        nodes.iter().map(|node| both(node).map(|ip| receiver(node, ip))).collect();
    let mut lost = 0;
    for (from, to) in (0..nodes.len()).flat_map(|from| (0..nodes.len()).map(move |to| (from, to))) {
        if from == to {
            continue;
        }
        for (position, ip) in both(&nodes[to]).into_iter().enumerate() {
            let text = format!("{from}-{to}");
            let sender = nodes[from].blocking_bind_udp((both(&nodes[from])[position], 0)).expect("a sender");
            sender.send_to(text.as_bytes(), (ip, 9)).unwrap_or_else(|error| panic!("{text}: {error}"));
            lost += usize::from(!arrives(&receivers[to][position], text.as_bytes()));
        }
    }
    lost
}

#[netns_test(nodes = 2, timeout = 5min)]
fn star_of_2(nodes: [Node; 2]) {
    assert_eq!(losses_between_all(&nodes), 0);
}

#[netns_test(nodes = 3, timeout = 5min)]
fn star_of_3(nodes: [Node; 3]) {
    assert_eq!(losses_between_all(&nodes), 0);
}

#[netns_test(nodes = 4, topology = line, timeout = 5min)]
fn line(nodes: [Node; 4]) {
    assert_eq!(losses_between_all(&nodes), 0);
}

#[netns_test(nodes = 5, topology = ring, timeout = 5min)]
fn ring(nodes: [Node; 5]) {
    assert_eq!(losses_between_all(&nodes), 0);
}

#[netns_test(nodes = 4, topology = mesh, timeout = 5min)]
fn mesh(nodes: [Node; 4]) {
    assert_eq!(losses_between_all(&nodes), 0);
}

/// The first connection needs no second SYN.
#[netns_test(nodes = 2)]
fn no_syn_is_sent_twice(client: Node, server: Node) -> io::Result<()> {
    for ip in both(&server) {
        let listener = server.blocking_listen_tcp((ip, 80))?;
        let _out = client.blocking_connect_tcp((ip, 80))?;
        listener.accept()?;
    }
    let counters = client.enter(|| std::fs::read_to_string("/proc/thread-self/net/netstat"))?;
    let lines: Vec<&str> = counters.lines().filter_map(|line| line.strip_prefix("TcpExt:")).collect();
    let position = lines[0].split_whitespace().position(|name| name == "TCPSynRetrans").expect("the counter");
    assert_eq!(lines[1].split_whitespace().nth(position), Some("0"));
    Ok(())
}

/// The groups of multicast DNS (RFC 6762), and the broadcast address, with the port of this test.
const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Sockets of one node that take part in both groups, joined as code does that names no interface.
fn members(node: &Node) -> [UdpSocket; 2] {
    let v4 = node.blocking_bind_udp("0.0.0.0:5353").expect("a socket");
    node.enter(|| v4.join_multicast_v4(&GROUP4, &Ipv4Addr::UNSPECIFIED)).expect("the IPv4 group");
    let v6 = node.enter(|| UdpSocket::bind(SocketAddrV6::new(GROUP6, 5353, 0, 100))).expect("a socket");
    node.enter(|| v6.join_multicast_v6(&GROUP6, 0)).expect("the IPv6 group");
    [v4, v6].map(|socket| {
        socket.set_read_timeout(Some(LOST)).expect("a limit");
        socket
    })
}

fn every_member_hears_every_node(nodes: &[Node]) {
    let members: Vec<[UdpSocket; 2]> = nodes.iter().map(members).collect();
    let scoped = SocketAddrV6::new(GROUP6, 5353, 0, 100);
    let unscoped = SocketAddrV6::new(GROUP6, 5353, 0, 0);
    for (from, node) in nodes.iter().enumerate() {
        let v4 = node.blocking_bind_udp((node.ip4(), 0)).expect("a sender");
        v4.set_broadcast(true).expect("leave to broadcast");
        let v6 = node.blocking_bind_udp((node.ip6(), 0)).expect("a sender");
        let subnet = SocketAddr::from(([10, 0, 255, 255], 5353));
        let everywhere: [(&UdpSocket, SocketAddr, usize, &str); 5] = [
            (&v4, (GROUP4, 5353).into(), 0, "the IPv4 group"),
            (&v4, (Ipv4Addr::BROADCAST, 5353).into(), 0, "the limited broadcast"),
            (&v4, subnet, 0, "the broadcast of the prefix"),
            (&v6, scoped.into(), 1, "the IPv6 group on eth0"),
            (&v6, unscoped.into(), 1, "the IPv6 group"),
        ];
        for (sender, target, position, what) in everywhere {
            let text = format!("{from} to {what}");
            sender.send_to(text.as_bytes(), target).unwrap_or_else(|error| panic!("{text}: {error}"));
            // The kernel gives a multicast datagram to members on the sender's own host, too; broadcasts as well.
            for (to, member) in members.iter().enumerate() {
                assert!(
                    arrives(&member[position], text.as_bytes()),
                    "{text}: `{}` does not hear it",
                    nodes[to].name()
                );
            }
        }
    }
}

#[netns_test(nodes = 2, timeout = 5min)]
fn multicast_and_broadcast_between_2(nodes: [Node; 2]) {
    every_member_hears_every_node(&nodes);
}

#[netns_test(nodes = 3, timeout = 5min)]
fn multicast_and_broadcast_between_3(nodes: [Node; 3]) {
    every_member_hears_every_node(&nodes);
}

/// A first datagram by multicast, and nothing before it.
#[netns_test(nodes = 3, timeout = 5min)]
fn the_first_packet_may_be_multicast(nodes: [Node; 3]) {
    let [_, v6] = members(&nodes[2]);
    let sender = nodes[0].blocking_bind_udp((nodes[0].ip6(), 0)).expect("a sender");
    sender.send_to(b"first", SocketAddrV6::new(GROUP6, 5353, 0, 100)).expect("the first packet");
    assert!(arrives(&v6, b"first"));
}

/// Link-local addresses come by themselves; they are there and past duplicate address detection, too.
#[netns_test(nodes = 3)]
fn link_local_addresses_are_ready(nodes: [Node; 3]) -> io::Result<()> {
    for node in &nodes {
        assert!(node.addresses()?.iter().all(|address| !address.tentative), "{:?}", node.addresses()?);
    }
    let link_local = |node: &Node| {
        let addresses = node.interface("eth0")?.addresses()?;
        let found = addresses.iter().find_map(|address| match address.ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(SocketAddrV6::new(ip, 9, 0, address.link)),
            _ => None,
        });
        io::Result::Ok(found.expect("a link-local address"))
    };
    let to = link_local(&nodes[2])?;
    let receiver = nodes[2].blocking_bind_udp(to)?;
    receiver.set_read_timeout(Some(LOST))?;
    let sender = nodes[0].blocking_bind_udp(link_local(&nodes[0])?)?;
    sender.send_to(b"first", to)?;
    assert!(arrives(&receiver, b"first"));
    Ok(())
}

/// What the long proof counts.
static SENT: AtomicU32 = AtomicU32::new(0);
static LOSSES: AtomicU32 = AtomicU32::new(0);

/// The first datagram of a network: over IPv6 or IPv4, forth or back, in turn.
fn first_datagram(nodes: &[Node]) {
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    let position = (number % 2) as usize;
    let (from, to) = match number / 2 % 2 {
        0 => (&nodes[0], &nodes[nodes.len() - 1]),
        _ => (&nodes[nodes.len() - 1], &nodes[0]),
    };
    let receiver = receiver(to, both(to)[position]);
    let sender = from.blocking_bind_udp((both(from)[position], 0)).expect("a sender");
    sender.send_to(b"first", (both(to)[position], 9)).expect("the first packet");
    if !arrives(&receiver, b"first") {
        LOSSES.fetch_add(1, Ordering::Relaxed);
    }
}

#[netns_test(nodes = 2)]
#[ignore = "a part of `first_datagrams_arrive`"]
fn first_of_a_pair(nodes: [Node; 2]) {
    first_datagram(&nodes);
}

#[netns_test(nodes = 3)]
#[ignore = "a part of `first_datagrams_arrive`"]
fn first_on_a_switch(nodes: [Node; 3]) {
    first_datagram(&nodes);
}

#[netns_test(nodes = 3, topology = line)]
#[ignore = "a part of `first_datagrams_arrive`"]
fn first_over_a_router(nodes: [Node; 3]) {
    first_datagram(&nodes);
}

#[netns_test(nodes = 2)]
#[ignore = "a part of `load`"]
fn a_network_to_throw_away(_nodes: [Node; 2]) {}

/// Makes and destroys namespaces until its standard input ends.
#[test]
#[ignore = "the load beside `first_datagrams_arrive`; ends with its standard input"]
fn load() {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            io::copy(&mut io::stdin(), &mut io::sink()).expect("standard input");
            ended.store(true, Ordering::Release);
        });
        println!("\nloading");
        while !ended.load(Ordering::Acquire) {
            a_network_to_throw_away();
        }
    });
}

/// Another process that makes and destroys namespaces as fast as it can, while this lives.
struct Load(Child);

impl Load {
    fn start() -> Self {
        let mut child = Command::new(env::current_exe().expect("the test binary"))
            .args(["--exact", "load", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        assert!(lines.any(|line| line.expect("a line") == "loading"), "the load did not start");
        // It writes a few lines more when it ends.
        thread::spawn(move || lines.for_each(drop));
        Self(child)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("the second process");
        if !thread::panicking() {
            assert!(status.success(), "the load failed: {status}");
        }
    }
}

/// Sends the first datagrams of so many networks, and prints how many were lost.
fn first_datagrams(networks: u32) {
    let before = (SENT.load(Ordering::Relaxed), LOSSES.load(Ordering::Relaxed));
    let load = Load::start();
    let kinds: [fn(); 3] = [first_of_a_pair, first_on_a_switch, first_over_a_router];
    for number in 0..networks {
        // Four of each kind in a row: both families, both ways.
        kinds[(number / 4) as usize % kinds.len()]();
    }
    drop(load);
    let (sent, lost) = (SENT.load(Ordering::Relaxed) - before.0, LOSSES.load(Ordering::Relaxed) - before.1);
    println!("{} of {sent} first datagrams arrived", sent - lost);
    assert_eq!((sent, lost), (networks, 0));
}

#[test]
fn first_datagrams_arrive() {
    first_datagrams(300);
}

#[test]
#[ignore = "minutes long: 10,000 networks"]
fn first_datagrams_arrive_10_000_times() {
    first_datagrams(10_000);
}
