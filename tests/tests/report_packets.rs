//! The report's packets: a cause that is on the wire is told by one line of the report.
//!
//! As in `report.rs`, each fault is planted in a test that fails over it.

use std::io;
use std::time::{Duration, Instant};

use netns_test::dns::Server;
use netns_test::{Captured, Conditions, Network, Node, Router, netns_test};
use netns_test_tests::{Outcome, rerun};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// The output of the test `name`, run by the user who runs the proof and without any privilege.
#[track_caller]
fn both(name: &str) -> [Outcome; 2] {
    [rerun(name).run(), rerun(name).as_ordinary_user().run()]
}

/// Asserts that one line of the report has all of these words, for every user.
#[track_caller]
fn tells(name: &str, lines: &[&[&str]]) {
    for outcome in both(name) {
        outcome.failed_with(&[&format!("netns-test: the network of `{name}`"), "\nPackets\n"]);
        for words in lines {
            let is_it = |line: &str| words.iter().all(|word| line.contains(word));
            assert!(outcome.stdout.lines().any(is_it), "no line with {words:?}: {outcome}");
        }
    }
}

/// Has the kernel drop whatever would reach this socket, as a firewall would.
fn drop_all(socket: &impl std::os::fd::AsRawFd) {
    // BPF_RET | BPF_K: 0 bytes are let through.
    let mut code = [libc::sock_filter { code: 6, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: code.as_mut_ptr() };
    let length = size_of_val(&program) as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the program and its one instruction live on this stack, and the kernel copies both.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const program).cast(), length) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn dropped_syn(client: Node, server: Node) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    drop_all(&listener);
    let capture = server.capture()?;
    let _asking = client.spawn(async || TcpStream::connect("server:80").await.map(drop));
    let mut asked = 0;
    // The kernel tries again after a second.
    let second = |packet: &Captured| {
        asked += u32::from(packet.tcp().is_some_and(|tcp| tcp.flags.syn));
        asked == 2
    };
    capture.until("the second SYN", second).await?;
    panic!("there is no answer");
}

#[test]
fn a_dropped_syn() {
    tells(
        "dropped_syn",
        &[
            &[
                "server  client asked server:80 for a connection, 2 times (SYN): it arrived here, and nothing was answered",
            ],
            &["client → server", "IP client:", " > server:80: Flags [S]", "↻ once more"],
        ],
    );
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn refused_port(client: Node, _server: Node) -> io::Result<()> {
    client.connect_tcp("server:80").await.map(drop)
}

#[test]
fn a_refused_port() {
    tells(
        "refused_port",
        &[
            &["client → server", "IP6 client:", " > server:80: Flags [S]"],
            &["server → client", "IP6 server:80 > client:", "Flags [R.]", "✗ reset"],
        ],
    );
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn mtu_black_hole(client: Node, server: Node, r: Router) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    let mut out = client.connect_tcp("server:80").await?;
    let _inside = listener.accept().await?;
    // Behind the router's back: it goes on to send what it takes for small enough.
    server.interface("eth0")?.set_mtu(1280)?;
    let capture = r.interface("eth1")?.capture()?;
    out.write_all(&[0; 1448]).await?;
    capture.until("the large packet", |packet| packet.payload().len() == 1448).await?;
    panic!("it does not arrive");
}

#[test]
fn an_mtu_black_hole() {
    tells(
        "mtu_black_hole",
        &[
            &[
                "r ",
                "left r/eth1 and did not arrive at server/eth0: of 1500 B, they are larger than the MTU of server/eth0, 1280",
            ],
            &["r → ✗", "length 1448 ✗ did not arrive"],
        ],
    );
}

#[netns_test(nodes = 2, dns = server, family = v4)]
#[ignore = "fails on purpose"]
async fn silent_dns(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    let _silence = dns.silence();
    let _asking = client.spawn(async || TcpStream::connect("db.test:5432").await.map(drop));
    // Of both types; the resolver asks again after five seconds.
    server.wait_until("two questions", |_| Ok(dns.queries().len() == 2)).await?;
    panic!("there is no answer");
}

#[test]
fn a_name_server_that_does_not_answer() {
    tells(
        "silent_dns",
        &[
            &[
                "client  2 questions to the name server `server`, which they reached, were not answered: A? db.test",
            ],
            &["client → server", "server:53: DNS ", "A? db.test"],
        ],
    );
}

#[netns_test(nodes(client, server), routers(home { nat = home, uplink = server }), links(client -- home, home -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn expired_mapping(client: Node, server: Node, home: Router) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    out.send_to(b"are you there?", (server.ip(), 7)).await?;
    let (_, peer) = inside.recv_from(&mut [0; 64]).await?;
    // As its time-out does it.
    home.flush_nat()?;
    let capture = home.capture()?;
    inside.send_to(b"a late answer", peer).await?;
    capture.until("the answer", |packet| packet.contains("a late answer")).await?;
    panic!("it does not get to the client");
}

#[test]
fn an_expired_nat_mapping() {
    tells(
        "expired_mapping",
        &[
            &[
                "home  1 packet from server:7 answered its port ",
                " and went no further: its NAT does not know any more whose port that was (the mapping has expired, or was flushed)",
            ],
            &["server → home", "IP server:7 > home:", "UDP, length 13"],
        ],
    );
    for outcome in both("expired_mapping") {
        assert!(!outcome.stdout.contains("the rule "), "its NAT is told in its own words: {outcome}");
    }
}

// The kernel's wire shows a packet when it leaves its queue.
#[netns_test(nodes(client, server), links(client -- server { delay = 20ms, wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn slow_link(client: Node, server: Node, network: Network) {
    let _listener = server.listen_tcp(80).await.expect("it is free");
    client.connect_tcp("server:80").await.expect("it listens");
    // Longer than a busy machine takes from here to the panic.
    let slower = Conditions::new().delay(Duration::from_secs(60));
    let there = network.link(&client, &server).and_then(|link| link.from(&client)).expect("it is there");
    let _slower = there.set_conditions(slower).expect("it is taken");
    client.bind_udp(9).await.expect("free").send_to(b"on its way", (server.ip(), 10)).await.expect("sent");
    // What the delay that was declared would take is over.
    let over = Instant::now() + Duration::from_millis(200);
    client.wait_until("time that passes", |_| Ok(Instant::now() > over)).await.expect("it passes");
    panic!("on purpose");
}

#[test]
fn what_is_still_on_its_way_is_not_called_lost() {
    tells(
        "slow_link",
        &[&["client → server", "Flags [S]"], &["client → …", "IP client:9 > server:10: UDP, length 10"]],
    );
    for outcome in both("slow_link") {
        assert!(!outcome.stdout.contains("did not arrive"), "{outcome}");
    }
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn error_of_icmp(client: Node, server: Node) -> io::Result<()> {
    let socket = client.bind_udp(9).await?;
    socket.connect((server.ip(), 53)).await?;
    socket.send(b"is anybody there?").await?;
    socket.recv(&mut [0]).await.map(drop)
}

#[test]
fn a_datagram_that_nobody_takes() {
    tells(
        "error_of_icmp",
        &[
            &["it told `client`: server udp port 53 unreachable"],
            &["server → client", "IP server > client: ICMP server udp port 53 unreachable ✗ error"],
        ],
    );
}

#[netns_test(nodes(client, server, other), routers(r), links(client -- r, r -- server, r -- other), family = v4)]
#[ignore = "fails on purpose"]
async fn wrong_route(client: Node, server: Node, other: Node, r: Router) -> io::Result<()> {
    let _listener = server.listen_tcp(80).await?;
    let route = format!("{}/32", server.ip());
    let gateway = other.ip().to_string();
    assert!(r.command("ip").args(["route", "add", &route, "via", &gateway]).status().await?.success());
    let capture = other.capture()?;
    let _asking = client.spawn(async || TcpStream::connect("server:80").await.map(drop));
    capture.until("a SYN", |packet| packet.tcp().is_some_and(|tcp| tcp.flags.syn)).await?;
    panic!("there is no answer");
}

#[cfg(feature = "programs")]
#[test]
fn a_wrong_route() {
    tells(
        "wrong_route",
        &[
            &[
                "other  ",
                " from `r` for `server` (",
                "came here, where ",
                "not passed on: the route of `r` leads the wrong way",
            ],
            // That route, the one that is meant, and those of the others on the way.
            &["r ", " 10.1.1.2 via 10.1.2.2 dev eth2 ", " added"],
            &["r ", " 10.1.1.0/24 dev eth1"],
            &["client ", " default via 10.1.0.2 dev eth0"],
            &["server ", " default via 10.1.1.1 dev eth0"],
        ],
    );
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn own_rules(client: Node, server: Node) -> io::Result<()> {
    let rules = "add table inet guard
        add chain inet guard input { type filter hook input priority 0; policy drop; }
        add rule inet guard input counter udp dport 79 drop
        add rule inet guard input udp dport 80 counter drop comment \"no quic\"
        add rule inet guard input udp dport 81 counter reject
        add rule inet guard input udp dport 82 counter drop
        add rule inet guard input udp dport 83 counter accept
        add rule inet guard input udp dport 84 drop";
    let set_up = server.command("nft").arg(rules).output().await?;
    assert!(set_up.status.success(), "{set_up:?}");
    let socket = client.bind_udp(9).await?;
    socket.send_to(b"dropped", (server.ip(), 80)).await?;
    socket.connect((server.ip(), 81)).await?;
    socket.send(b"rejected").await?;
    socket.recv(&mut [0]).await.expect_err("it is told");
    let is_counted = |server: &Node| {
        let listed = server.command("nft").args(["list", "table", "inet", "guard"]).blocking_output()?;
        let listed = String::from_utf8_lossy(&listed.stdout);
        Ok([80, 81].iter().all(|port| listed.contains(&format!("dport {port} counter packets 1 "))))
    };
    server.wait_until("both", is_counted).await?;
    panic!("on purpose");
}

#[cfg(feature = "programs")]
#[test]
fn rules_of_a_test_that_stop_packets() {
    tells(
        "own_rules",
        &[
            &["server ", "1 packet was dropped by the rule ", " of `inet guard input` (no quic)"],
            &["1 packet was rejected by the rule ", " of `inet guard input`"],
            &[
                "packets may have been stopped, and nothing counts how many, by the rule ",
                ", the policy of `inet guard input`",
            ],
        ],
    );
    for outcome in both("own_rules") {
        // That which counts also what it does not drop is among those that nothing counts.
        assert_eq!(outcome.stdout.matches("the rule ").count(), 4, "{outcome}");
    }
}

#[netns_test(nodes(client, server), routers(gate { firewall = open, uplink = server }), links(client -- gate { wire = user }, gate -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn was_worse(client: Node, _server: Node, gate: Router, network: Network) -> io::Result<()> {
    let link = network.link(&client, &gate)?;
    drop(link.set_conditions(Conditions::new().delay(Duration::from_millis(7)))?);
    let _slow = link.from(&client)?.set_conditions(Conditions::new().delay(Duration::from_millis(9)))?;
    drop(gate.set_firewall(netns_test::Firewall::Stateful)?);
    link.cut()?.repair()?;
    panic!("on purpose");
}

#[test]
fn what_had_been_changed_before_is_told_with_its_time() {
    for outcome in both("was_worse") {
        let (_, told) =
            outcome.stdout.split_once("\nWhat the test did to the network\n").expect("it is told");
        let place = "(tests/tests/report_packets.rs:";
        let expected = [
            format!("ms: `client/eth0 – gate/eth0` is changed: delay = 7ms {place}"),
            format!(
                "ms: what `client/eth0` sends over `client/eth0 – gate/eth0` is changed: delay = 9ms {place}"
            ),
            format!("ms: the firewall of `gate` is changed: stateful {place}"),
            format!("ms: `client/eth0` – `gate/eth0` is cut {place}"),
        ];
        for (line, expected) in told.lines().zip(expected) {
            assert!(line.contains(&expected), "no `{expected}`: {outcome}");
            assert_eq!(line.contains("  in force since "), expected.contains("= 9ms"), "{outcome}");
        }
    }
}

#[netns_test(nodes = 2, family = v4, capture = never)]
#[ignore = "fails on purpose"]
async fn unseen(client: Node, _server: Node) -> io::Result<()> {
    tokio::time::timeout(Duration::from_secs(9), client.connect_tcp("server:80")).await?.map(drop)
}

#[test]
fn without_packets_there_is_the_rest() {
    for outcome in both("unseen") {
        outcome.failed_with(&["netns-test: the network of `unseen`", "\nTraffic "]);
        assert!(!outcome.stdout.contains("\nPackets\n"), "{outcome}");
    }
}
