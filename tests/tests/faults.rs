//! Faults are guards: what they cut off is cut off silently, alone, and works again when the last guard that concerns it has
//! ended.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use netns_test::dns::{Rcode, Server};
use netns_test::{Error, Fault, Network, Node, Router, Verdict, netns_test};
use netns_test_tests::rerun;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket, sockopt,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

/// A way from one node to another, for datagrams.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
    at: IpAddr,
    sent: u8,
}

impl Way {
    /// Opens it, and has the neighbours get to know each other: a packet for one that is not known waits with its sender.
    async fn open(from: &Node, to: &Node, v6: bool) -> io::Result<Self> {
        let ip = |node: &Node| if v6 { IpAddr::from(node.ip6()) } else { node.ip4().into() };
        let (sends, receives) = (from.bind_udp((ip(from), 0)).await?, to.bind_udp((ip(to), 0)).await?);
        let mut way = Self { from: sends, to: receives, at: ip(to), sent: 0 };
        way.works().await?;
        // The answer, so that the other end knows its neighbour, too.
        way.to.send_to(&[0], way.from.local_addr()?).await?;
        way.from.recv(&mut [0]).await?;
        Ok(way)
    }

    async fn send(&mut self) -> io::Result<u8> {
        self.sent = self.sent.wrapping_add(1);
        let port = self.to.local_addr()?.port();
        assert_eq!(self.from.send_to(&[self.sent], (self.at, port)).await?, 1);
        Ok(self.sent)
    }

    /// Receives until the last datagram that was sent is there, and returns the numbers of those before it that arrived.
    async fn arrived(&mut self) -> io::Result<Vec<u8>> {
        let mut seen = Vec::new();
        loop {
            let mut buf = [0];
            self.to.recv(&mut buf).await?;
            if buf[0] == self.sent {
                return Ok(seen);
            }
            seen.push(buf[0]);
        }
    }

    async fn works(&mut self) -> io::Result<()> {
        let first = self.send().await?;
        self.send().await?;
        assert_eq!(self.arrived().await?, [first]);
        Ok(())
    }
}

/// Asserts that faults let nothing through on a way until the last of them is repaired.
async fn is_cut<const N: usize>(way: &mut Way, faults: [Fault; N]) -> io::Result<()> {
    for fault in faults {
        way.send().await?;
        fault.repair()?;
    }
    way.send().await?;
    // They would have come before it.
    assert_eq!(way.arrived().await?, []);
    Ok(())
}

#[netns_test(nodes = 3)]
async fn a_partition_cuts_both_ways_and_leaves_others_alone(
    a: Node,
    b: Node,
    c: Node,
    network: Network,
) -> io::Result<()> {
    for v6 in [false, true] {
        for (from, to) in [(&a, &b), (&b, &a)] {
            let mut way = Way::open(from, to, v6).await?;
            is_cut(&mut way, [network.partition([&a], [&b, &b])?]).await?;
            is_cut(&mut way, [network.partition(&[b.clone(), c.clone()], [a.clone()])?]).await?;
            let _elsewhere = (network.partition([&a], [&c])?, network.partition([&c], [&b])?);
            way.works().await?;
        }
        let mut other = Way::open(&a, &c, v6).await?;
        let _partition = network.partition([&a], [&b])?;
        other.works().await?;
    }
    Ok(())
}

#[netns_test(nodes = 3)]
async fn one_way_is_one_way(a: Node, b: Node, _c: Node, network: Network) -> io::Result<()> {
    for v6 in [false, true] {
        let mut way = Way::open(&a, &b, v6).await?;
        let mut back = Way::open(&b, &a, v6).await?;
        let fault = network.partition_oneway([&a], [&b])?;
        back.works().await?;
        is_cut(&mut way, [fault]).await?;
    }
    Ok(())
}

#[netns_test(
    nodes(client, server, other),
    routers(west, east),
    links(client -- west, west -- east, east -- server, east -- other),
)]
async fn partitions_hold_over_routers(
    client: Node,
    server: Node,
    other: Node,
    west: Router,
    east: Router,
    network: Network,
) -> io::Result<()> {
    let backbone = west.interface("eth1")?;
    for v6 in [false, true] {
        let mut way = Way::open(&client, &server, v6).await?;
        let mut back = Way::open(&server, &client, v6).await?;
        let mut beside = Way::open(&client, &other, v6).await?;
        let partition = network.partition([&client], [&server])?;
        beside.works().await?;
        is_cut(&mut way, [partition]).await?;
        is_cut(&mut back, [network.partition([&client], [&server])?]).await?;
        is_cut(&mut way, [network.partition_oneway([&client], [&server])?]).await?;
        // A router in a group passes nothing on for nodes of the other one, neighbours or not.
        for router in [&west, &east] {
            is_cut(&mut way, [network.partition([&client], [router])?]).await?;
            is_cut(&mut back, [network.partition([&client], [router])?]).await?;
        }
        // A link between routers.
        is_cut(&mut way, [backbone.cut()?]).await?;
        is_cut(&mut back, [east.interface("eth0")?.cut()?]).await?;
        is_cut(&mut way, [backbone.cut_outgoing()?]).await?;
        is_cut(&mut back, [backbone.cut_incoming()?]).await?;
        let _one_way = backbone.cut_incoming()?;
        way.works().await?;
    }
    Ok(())
}

/// Two of all faults of two nodes, in whatever order they begin and end.
async fn overlap(a: &Node, b: &Node, network: &Network) -> io::Result<()> {
    let mut way = Way::open(a, b, true).await?;
    let (here, there) = (a.interface("eth0")?, b.interface("eth0")?);
    let begin: [&dyn Fn() -> Result<Fault, Error>; 5] =
        [&|| here.cut(), &|| there.cut(), &|| network.partition([a], [b]), &|| a.isolate(), &|| b.isolate()];
    for first in begin {
        for second in begin {
            let (one, other) = (first()?, second()?);
            is_cut(&mut way, [one, other]).await?;
            let (one, other) = (first()?, second()?);
            is_cut(&mut way, [other, one]).await?;
        }
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn faults_of_a_link_overlap(a: Node, b: Node, network: Network) -> io::Result<()> {
    overlap(&a, &b, &network).await
}

#[netns_test(nodes = 3)]
async fn faults_on_a_switch_overlap(a: Node, b: Node, _c: Node, network: Network) -> io::Result<()> {
    overlap(&a, &b, &network).await
}

#[netns_test(nodes = 3)]
async fn an_isolated_node_has_its_loopback_and_its_carrier(a: Node, b: Node, _c: Node) -> io::Result<()> {
    let mut way = Way::open(&b, &a, false).await?;
    let isolated = a.isolate()?;
    for address in ["127.0.0.1:80".to_owned(), format!("{}:81", a.ip4()), format!("[{}]:82", a.ip6())] {
        let listener = a.listen_tcp(&*address).await?;
        a.connect_tcp(&*address).await?;
        listener.accept().await?;
    }
    assert!(a.interface("eth0")?.link()?.is_running());
    is_cut(&mut way, [isolated]).await
}

#[netns_test(nodes = 3)]
async fn a_connection_survives_a_partition(a: Node, b: Node, _c: Node, network: Network) -> io::Result<()> {
    let listener = b.listen_tcp(80).await?;
    let mut out = a.connect_tcp("b:80").await?;
    let (mut inc, _) = listener.accept().await?;
    let partition = network.partition([&a], [&b])?;
    // Nothing tells the sender.
    out.write_all(b"patience").await?;
    a.wait_until("a segment that is sent again", |a| {
        Ok(a.sockets()?.iter().any(|socket| socket.send_queue == 8))
    })
    .await?;
    partition.repair()?;
    let mut buf = [0; 8];
    inc.read_exact(&mut buf).await?;
    assert_eq!(&buf, b"patience");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn a_sender_is_not_told(a: Node, b: Node) -> io::Result<()> {
    let mut way = Way::open(&a, &b, false).await?;
    // With this a datagram that its own host drops is an error (ip(7)).
    setsockopt(&way.from, sockopt::Ipv4RecvErr, &true)?;
    let cut = b.isolate()?;
    for _ in 0..50 {
        way.send().await?;
    }
    is_cut(&mut way, [cut]).await
}

/// A packet socket that sees all that comes to a node.
fn packet_socket(node: &Node) -> OwnedFd {
    node.enter(|| {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll)
            .expect("the test has the capability")
    })
}

/// The frames that came from elsewhere since the last look.
fn frames(packets: &OwnedFd, from: [u8; 6]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(length) = recv(packets.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        if buffer[6..12] == from {
            frames.push(buffer[..length].to_vec());
        }
    }
    frames
}

#[netns_test(nodes = 2)]
async fn packet_sockets_see_nothing_over_a_cut(a: Node, b: Node) -> io::Result<()> {
    let mut way = Way::open(&a, &b, true).await?;
    let mac = a.interface("eth0")?.link()?.mac.expect("a veth has one");
    let packets = packet_socket(&b);
    way.works().await?;
    assert!(!frames(&packets, mac).is_empty());
    let cut = a.interface("eth0")?.cut()?;
    // What had left before.
    frames(&packets, mac);
    way.send().await?;
    // A question for a neighbour's address, ARP.
    a.enter(|| std::net::UdpSocket::bind("0.0.0.0:0")?.send_to(&[0], "10.0.9.9:9"))?;
    assert!(a.neighbours()?.iter().any(|neighbour| neighbour.ip.to_string() == "10.0.9.9"));
    assert_eq!(frames(&packets, mac), Vec::<Vec<u8>>::new());
    is_cut(&mut way, [cut]).await
}

#[netns_test(nodes = 2)]
async fn unplugged_twice_is_on_again_when_both_have_ended(a: Node, b: Node) -> io::Result<()> {
    let mut way = Way::open(&a, &b, true).await?;
    let (here, there) = (a.interface("eth0")?, b.interface("eth0")?);
    let (one, other) = (there.unplug()?, there.unplug()?);
    a.wait_until("no carrier", |_| Ok(!here.link()?.carrier)).await?;
    one.repair()?;
    assert!(!there.link()?.up);
    drop(other);
    assert!(there.link()?.is_running());
    a.wait_until("a carrier", |_| Ok(here.link()?.is_running())).await?;
    b.wait_until("its address", |b| Ok(b.addresses()?.iter().any(|address| address.ip == b.ip()))).await?;
    way.works().await
}

#[netns_test(nodes = 2)]
async fn a_panic_ends_its_guards(a: Node, b: Node) -> io::Result<()> {
    let mut way = Way::open(&a, &b, true).await?;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _faults = (a.isolate().expect("it begins"), b.interface("eth0").expect("it is there").cut());
        panic!("with faults in force");
    }));
    panicked.expect_err("it panics");
    way.works().await
}

#[netns_test(nodes = 2)]
async fn tear_down_ends_what_is_left(a: Node, b: Node) -> io::Result<()> {
    static LEFT: std::sync::Mutex<Vec<Fault>> = std::sync::Mutex::new(Vec::new());
    let cut = a.interface("eth0")?.cut()?;
    std::thread::spawn(move || {
        // Later than the test, most often.
        std::thread::park_timeout(std::time::Duration::from_millis(50));
        drop(cut);
    });
    let mut left = LEFT.lock().expect("nobody panics");
    left.extend([a.isolate()?, b.interface("eth0")?.unplug()?]);
    Ok(())
}

#[netns_test(nodes = 2)]
async fn groups_are_checked(a: Node, b: Node, network: Network) {
    let both = network.partition([&a, &b], [&b]).expect_err("`b` is in both");
    assert!(both.to_string().ends_with("`b` is in both groups"), "{both}");
    let none: [&Node; 0] = [];
    network.partition(none, none).expect_err("there is nothing to cut");
}

// What goes wrong when a guard ends.

/// Removes all filters of an interface, as `tc qdisc del dev … clsact` does.
fn remove_filters(node: &Node, index: u32) {
    node.enter(|| {
        let netlink =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)
                .expect("everybody has it");
        // nlmsghdr: length, RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, sequence, port.
        let mut message = Vec::new();
        message.extend(36_u32.to_ne_bytes());
        message.extend(37_u16.to_ne_bytes());
        message.extend(5_u16.to_ne_bytes());
        message.extend([0; 8]);
        // tcmsg: family, interface, handle, parent, info.
        for word in [0, index, 0xffff_0000, 0xffff_fff1, 0] {
            message.extend(word.to_ne_bytes());
        }
        send(netlink.as_raw_fd(), &message, MsgFlags::empty()).expect("the kernel takes it");
        let mut answer = [0; 128];
        recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
        assert_eq!(answer[16..20], [0; 4], "the kernel refuses");
    });
}

#[netns_test(nodes = 2)]
async fn a_fault_that_somebody_has_removed_is_told(a: Node, b: Node) -> io::Result<()> {
    let mut way = Way::open(&a, &b, true).await?;
    let cut = a.interface("eth0")?.cut()?;
    remove_filters(&a, a.interface("eth0")?.index());
    let error = cut.repair().expect_err("it is not there any more");
    assert!(error.to_string().contains("`a/eth0` (has somebody else removed them"), "{error}");
    // What else it was about is over all the same.
    way.works().await?;
    is_cut(&mut way, [a.isolate()?]).await
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn drops_a_guard_that_cannot_end(a: Node, _b: Node) -> io::Result<()> {
    let _cut = a.interface("eth0")?.cut()?;
    remove_filters(&a, a.interface("eth0")?.index());
    Ok(())
}

#[test]
fn a_guard_that_cannot_end_as_it_is_dropped_fails_the_test() {
    rerun("drops_a_guard_that_cannot_end").run().failed_with(&[
        "failed to remove the filters of a fault from `a/eth0`",
        "(as the guard of a fault was dropped)",
    ]);
}

#[netns_test(nodes = 3)]
#[ignore = "fails on purpose"]
async fn fails_under_faults(a: Node, b: Node, _c: Node, network: Network) {
    let _partition = network.partition([&a], [&b]).expect("it begins");
    a.isolate().expect("it begins").repair().expect("it ends");
    panic!("no answer");
}

#[test]
fn the_report_tells_of_faults() {
    rerun("fails_under_faults").run().failed_with(&[
        "What the test did to the network",
        "ms: `a` and `b` are partitioned (tests/tests/faults.rs:",
        "ms: `a` is isolated (tests/tests/faults.rs:",
    ]);
}

#[netns_test(
    nodes(a, b, c),
    routers(gate { nat = home, uplink = b }),
    links(a -- gate { wire = user }, c -- gate, gate -- b),
    dns = b,
    family = v4,
)]
#[ignore = "fails on purpose"]
async fn fails_over_what_it_did(a: Node, b: Node, c: Node, gate: Router, network: Network) -> io::Result<()> {
    let direction = network.link(&a, gate.node())?.from(&a)?;
    drop(direction.intercept(|_| Verdict::Drop)?);
    let _decides = network.link(&a, gate.node())?.to(&a)?.intercept(|_| Verdict::Pass)?;
    let dns = Server::start(&b)?;
    drop(dns.delay(Duration::from_millis(30)));
    let _wrong = dns.only("db.test")?.answer_with(Rcode::ServFail);
    gate.flush_nat()?;
    c.interface("eth0")?.replug(&b)?;
    panic!("no answer");
}

#[test]
fn the_report_tells_of_code_that_decides_of_name_servers_and_of_what_has_no_end() {
    let failed = rerun("fails_over_what_it_did").run();
    failed.failed_with(&["What the test did to the network"]);
    let place = "(tests/tests/faults.rs:";
    for (when, what) in [
        ("  from ", "a test's code decides on what `a/eth0` sends over `a/eth0 – gate/eth0`"),
        ("  in force since ", "a test's code decides on what `gate/eth0` sends over `a/eth0 – gate/eth0`"),
        ("  from ", "the name server in `b` answers 30ms later"),
        ("  in force since ", "the name server in `b` answers with SERVFAIL for `db.test`"),
        ("  at ", "the mappings of `gate` are flushed"),
        ("  at ", "`c/eth0` is plugged into `b`"),
    ] {
        let is_told = |line: &str| line.starts_with(when) && line.contains(&format!(" ms: {what} {place}"));
        assert!(failed.stdout.lines().any(is_told), "no `{when}…{what}`: {failed}");
    }
}

#[netns_test(nodes = 2)]
async fn a_link_is_cut_by_its_handle(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (mut way, mut back) = (Way::open(&a, &b, true).await?, Way::open(&b, &a, true).await?);
    let link = network.link(&a, &b)?;
    is_cut(&mut way, [link.cut()?, link.cut_from(&a)?]).await?;
    is_cut(&mut back, [link.cut()?]).await?;
    let one_way = link.cut_from(&a)?;
    back.works().await?;
    is_cut(&mut way, [one_way]).await?;
    // Held, it arrives.
    let hold = link.hold()?;
    let first = way.send().await?;
    hold.release()?;
    way.send().await?;
    assert_eq!(way.arrived().await?, [first]);
    Ok(())
}
