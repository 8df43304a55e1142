//! The report accuses nobody who is innocent: what went well, or is still on its way, is not told as a cause.
//!
//! As in `report.rs`, each network is one of a test that fails, here over something else.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process};

use netns_test::{Captured, Conditions, MacvlanMode, Network, Node, Rate, Router, Verdict, netns_test};
use netns_test_tests::{Outcome, rerun};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};

/// The output of the test `name`, run by the user who runs the proof and without any privilege.
#[track_caller]
fn both(name: &str) -> [Outcome; 2] {
    [rerun(name).run(), rerun(name).as_ordinary_user().run()]
}

/// Asserts that the report has lines with each of these words, and none of those, for every user.
#[track_caller]
fn tells_but_not(name: &str, told: &[&[&str]], untold: &[&str]) {
    for outcome in both(name) {
        outcome.failed_with(&[&format!("netns-test: the network of `{name}`"), "\nPackets\n"]);
        for words in told {
            let is_it = |line: &str| words.iter().all(|word| line.contains(word));
            assert!(outcome.stdout.lines().any(is_it), "no line with {words:?}: {outcome}");
        }
        for text in untold {
            assert!(!outcome.stdout.contains(text), "it tells `{text}`: {outcome}");
        }
    }
}

/// Sets an option of a socket that is a number.
fn set_option(socket: &impl AsRawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the value lives on this stack, and the kernel copies it.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// A connection to port 80, with both of its ends.
async fn connected(
    client: &Node,
    server: &Node,
) -> io::Result<(tokio::net::TcpStream, tokio::net::TcpStream)> {
    let listener = server.listen_tcp((server.ip(), 80)).await?;
    let out = client.connect_tcp((server.ip(), 80)).await?;
    let (inside, _) = listener.accept().await?;
    Ok((out, inside))
}

/// Lets more time pass than a packet may be on its way over a link that delays nothing, and fails.
async fn fails_later(node: &Node) -> io::Result<()> {
    let over = Instant::now() + Duration::from_millis(300);
    node.wait_until("time that passes", |_| Ok(Instant::now() > over)).await?;
    panic!("on purpose");
}

// Routers.

#[netns_test(nodes(client, server), routers(home { nat = home, uplink = server }), links(client -- home { delay = 5ms, wire = user }, home -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn long_answer_through_nat(client: Node, server: Node, _home: Router) -> io::Result<()> {
    let (mut out, mut inside) = connected(&client, &server).await?;
    out.write_all(b"GET").await?;
    inside.read_exact(&mut [0; 3]).await?;
    // More than a segment: one packet on the one link, and several on the other.
    inside.write_all(&[7; 4000]).await?;
    out.read_exact(&mut [0; 4000]).await?;
    panic!("on purpose");
}

#[test]
fn a_nat_that_works_is_not_said_to_have_forgotten() {
    tells_but_not(
        "long_answer_through_nat",
        &[&["home → client", "length 1448"]],
        &["its NAT does not know", "did not arrive"],
    );
}

#[netns_test(nodes = 3, family = v4)]
#[ignore = "fails on purpose"]
async fn moved_address(client: Node, one: Node, two: Node) -> io::Result<()> {
    let shared = one.ip();
    let length = one.interface("eth0")?.addresses()?[0].prefix_len;
    one.interface("eth0")?.remove_address(shared, length)?;
    two.interface("eth0")?.add_address(shared, length)?;
    let listener = two.listen_tcp((shared, 80)).await?;
    let mut out = client.connect_tcp((shared, 80)).await?;
    let (mut inside, _) = listener.accept().await?;
    inside.write_all(b"hi").await?;
    out.read_exact(&mut [0; 2]).await?;
    panic!("on purpose");
}

#[test]
fn an_address_that_has_moved_is_where_it_is_now() {
    tells_but_not(
        "moved_address",
        &[&["one ", "of eth0 was removed"], &["two ", "of eth0 was added"]],
        &["leads the wrong way", "has the same address"],
    );
}

#[netns_test(nodes(client, gateway, server), links(client -- gateway, gateway -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn own_gateway(client: Node, gateway: Node, server: Node) -> io::Result<()> {
    gateway.set_sysctl("net.ipv4.ip_forward", 1)?;
    for (host, peer, port) in [(&client, &server, "eth0"), (&server, &client, "eth1")] {
        let via = gateway.interface(port)?.addresses()?[0].ip.to_string();
        let to = format!("{}/32", peer.ip());
        let status = host.command("ip").args(["route", "replace", &to, "via", &via]).status().await?;
        assert!(status.success());
    }
    let (mut out, mut inside) = connected(&client, &server).await?;
    inside.write_all(b"hi").await?;
    out.read_exact(&mut [0; 2]).await?;
    panic!("on purpose");
}

#[cfg(feature = "programs")]
#[test]
fn a_node_that_passes_packets_on_is_a_way() {
    tells_but_not("own_gateway", &[&["gateway → server", "Flags [S]"]], &["leads the wrong way"]);
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn told_by_icmp(client: Node, server: Node, r: Router) -> io::Result<()> {
    r.interface("eth1")?.down()?;
    let capture = client.capture()?;
    let (peer, to) = (client.clone(), (server.ip(), 80));
    let _asks = client.spawn(async move || peer.connect_tcp(to).await.map(drop));
    capture.until("an error", |packet| packet.icmp().is_some_and(|icmp| icmp.is_error())).await?;
    fails_later(&client).await
}

#[test]
fn an_error_of_icmp_answers_a_connection() {
    tells_but_not(
        "told_by_icmp",
        &[&["r ", "it told `client`", "unreachable"]],
        &["asked server:80 for a connection"],
    );
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v4)]
#[ignore = "fails on purpose"]
async fn no_way_back(client: Node, server: Node, _r: Router) -> io::Result<()> {
    let _listener = server.listen_tcp(80).await?;
    for origin in ["static", "boot"] {
        server.command("ip").args(["route", "flush", "proto", origin]).status().await?;
    }
    let capture = server.capture()?;
    let (peer, to) = (client.clone(), (server.ip(), 80));
    let _asks = client.spawn(async move || peer.connect_tcp(to).await.map(drop));
    let mut asked = 0;
    // The kernel tries again after a second; the first has been looked at by then.
    let second = |packet: &Captured| {
        asked += u32::from(packet.tcp().is_some_and(|tcp| tcp.flags.syn));
        asked == 2
    };
    capture.until("the second SYN", second).await?;
    fails_later(&client).await
}

#[cfg(feature = "programs")]
#[test]
fn an_answer_without_a_route_is_not_the_listeners_fault() {
    tells_but_not(
        "no_way_back",
        &[&["it arrived here", "or there is no way back"], &["server ", "from here found no route"]],
        &["dropped by a listener"],
    );
}

// Resets.

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn two_resets(client: Node, server: Node, network: Network) -> io::Result<()> {
    let capture = network.capture()?;
    let (mut out, mut inside) = connected(&client, &server).await?;
    inside.shutdown().await?;
    let mut has_ended = false;
    let is_acknowledged = |packet: &Captured| {
        packet.tcp().is_some_and(|tcp| {
            has_ended |= tcp.flags.fin;
            has_ended && tcp.destination_port == 80
        })
    };
    capture.until("the end is acknowledged", is_acknowledged).await?;
    // Nothing remains of a socket that is closed behind that.
    drop(inside);
    out.write_all(b"too late").await?;
    out.ready(Interest::ERROR).await?;
    client.connect_tcp((client.ip(), 81)).await.map(drop)
}

#[test]
fn a_reset_is_told_as_what_it_was() {
    for outcome in both("two_resets") {
        outcome.failed_with(&[
            "client  1 connection attempt was refused here: nothing listened on that address and port",
            "server  1 TCP reset was sent from here: segments came for connections that had been closed",
        ]);
        let refused = outcome.stdout.matches("refused here").count();
        assert_eq!(refused, 1, "{outcome}");
    }
}

// What links do.

#[netns_test(nodes(client, server), links(client -- server { loss = 100%, ecn = mark, wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn marked(client: Node, server: Node, network: Network) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    {
        // Neighbours are found without marks.
        let link = network.link(&client, &server)?;
        let _bare = link.set_conditions(Conditions::new())?;
        out.send_to(b"hello", (server.ip(), 7)).await?;
        inside.recv_from(&mut [0; 9]).await?;
    }
    const ECT_0: libc::c_int = 2;
    set_option(&out, libc::IPPROTO_IP, libc::IP_TOS, ECT_0);
    for _ in 0..20 {
        out.send_to(b"marked", (server.ip(), 7)).await?;
        inside.recv_from(&mut [0; 9]).await?;
    }
    fails_later(&client).await
}

#[test]
fn a_packet_that_was_marked_has_arrived() {
    tells_but_not("marked", &[&["client → server", "UDP, length 6"]], &["did not arrive"]);
}

#[netns_test(nodes(client, server), links(client -- server { wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn replaced(client: Node, server: Node, network: Network) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    let _other = network.link(&client, &server)?.from(&client)?.intercept(|packet| {
        if !packet.contains("one") {
            return Verdict::Pass;
        }
        let mut frame = packet.bytes().to_vec();
        let at = frame.len() - 3;
        frame[at..].copy_from_slice(b"two");
        Verdict::Replace(frame)
    })?;
    out.send_to(b"one", (server.ip(), 7)).await?;
    inside.recv_from(&mut [0; 9]).await?;
    fails_later(&client).await
}

#[test]
fn a_packet_that_a_test_replaced_is_not_lost() {
    tells_but_not("replaced", &[&["client → ", "UDP, length 3"]], &["did not arrive"]);
}

#[netns_test(nodes(client, server), links(client -- server { wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn slower_now(client: Node, server: Node, network: Network) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    out.send_to(b"hello", (server.ip(), 7)).await?;
    inside.recv_from(&mut [0; 9]).await?;
    let slow = Conditions::new().delay(Duration::from_secs(30));
    let _slow = network.link(&client, &server)?.set_conditions(slow)?;
    out.send_to(b"on its way", (server.ip(), 7)).await?;
    panic!("on purpose");
}

#[netns_test(nodes(client, server), links(client -- server { wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn queued(client: Node, server: Node, network: Network) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    out.send_to(b"hello", (server.ip(), 7)).await?;
    inside.recv_from(&mut [0; 9]).await?;
    // A second for each.
    let narrow = Conditions::new().rate(Rate::kbit(8)).queue(Duration::from_secs(60));
    let _narrow = network.link(&client, &server)?.set_conditions(narrow)?;
    for _ in 0..5 {
        out.send_to(&[1; 958], (server.ip(), 7)).await?;
    }
    panic!("on purpose");
}

#[test]
fn what_waits_on_a_link_is_not_lost() {
    tells_but_not("slower_now", &[&["client → …", "UDP, length 10"]], &["did not arrive"]);
    tells_but_not("queued", &[&["client → …", "UDP, length 958"]], &["did not arrive"]);
}

#[netns_test(nodes(client, server), links(client -- server { wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn first_round_trip(client: Node, server: Node, network: Network) -> io::Result<()> {
    drop(connected(&client, &server).await?);
    let capture = network.capture()?;
    let slow = Conditions::new().delay(Duration::from_secs(30));
    let _slow = network.link(&client, &server)?.set_conditions(slow)?;
    let (peer, to) = (client.clone(), (server.ip(), 81));
    let _asks = client.spawn(async move || peer.connect_tcp(to).await.map(drop));
    capture.until("a SYN", |packet| packet.tcp().is_some_and(|tcp| tcp.flags.syn)).await?;
    panic!("on purpose");
}

#[test]
fn a_connection_that_has_just_been_asked_for_is_not_unanswered() {
    tells_but_not(
        "first_round_trip",
        &[&["client → …", "Flags [S]"]],
        &["asked server:81 for a connection", "is being tried", "did not arrive"],
    );
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server { delay = 30s, wire = user }), family = v4)]
#[ignore = "fails on purpose"]
async fn first_contact(client: Node, server: Node, r: Router) -> io::Result<()> {
    let to_server = |packet: &Captured| packet.arp().is_some_and(|arp| arp.target_ip == server.ip4());
    // Behind a router, and from the router itself.
    for asks in [client.clone(), (*r).clone()] {
        let capture = r.interface("eth1")?.capture()?;
        let to = (server.ip(), 81);
        let peer = asks.clone();
        drop(asks.spawn(async move || peer.connect_tcp(to).await.map(drop)));
        capture.until("a question for the neighbour", to_server).await?;
    }
    panic!("on purpose");
}

#[test]
fn a_neighbour_that_is_still_being_asked_for_explains_silence() {
    tells_but_not(
        "first_contact",
        &[&["client → r", "Flags [S]"], &["r ", "has not answered yet: its link makes it wait"]],
        &["asked server:81 for a connection", "`server` does not answer", "did not answer", "did not arrive"],
    );
}

#[netns_test(nodes(client, server), routers(r), links(client -- r { wire = user }, r -- server), family = v4)]
async fn what_a_router_sends_first_is_no_retransmission(
    client: Node,
    server: Node,
    r: Router,
    network: Network,
) -> io::Result<()> {
    let (mut out, mut inside) = connected(&client, &server).await?;
    out.set_nodelay(true)?;
    let capture = network.capture()?;
    let mut lost = 0;
    let _first_lost = network.link(&client, &r)?.from(&client)?.intercept(move |packet| {
        lost += u32::from(packet.contains("one"));
        if lost == 1 && packet.contains("one") { Verdict::Drop } else { Verdict::Pass }
    })?;
    out.write_all(b"one").await?;
    out.write_all(b"two").await?;
    inside.read_exact(&mut [0; 6]).await?;
    let packets = capture.packets()?;
    let of_r = |packets: netns_test::Traffic| {
        let sent = packets.of(&r).containing("one");
        sent.iter().filter(|packet| packet.is_sent()).count()
    };
    // All but the first are.
    assert_eq!(of_r(packets.clone()), of_r(packets.retransmissions()) + 1, "{packets}");
    assert!(!packets.retransmissions().of(&client).is_empty(), "{packets}");
    Ok(())
}

// Names, addresses, interfaces.

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn answer_in_fragments(client: Node, server: Node) -> io::Result<()> {
    let (out, inside) = (client.bind_udp(9).await?, server.bind_udp(53).await?);
    let mut message = b"\x12\x67\x01\0\0\x01\0\0\0\0\0\0\x02db\0\0\x10\0\x01".to_vec();
    out.send_to(&message, (server.ip(), 53)).await?;
    let (_, peer) = inside.recv_from(&mut [0; 99]).await?;
    (message[2], message[3]) = (0x81, 0x80);
    message.resize(3000, 7);
    inside.send_to(&message, peer).await?;
    out.recv_from(&mut [0; 4000]).await?;
    fails_later(&client).await
}

#[test]
fn an_answer_in_fragments_is_one() {
    tells_but_not("answer_in_fragments", &[&["server → client", "frag "]], &["not answered"]);
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn many_addresses(client: Node, server: Node) -> io::Result<()> {
    for last in 1..=20 {
        client.interface("lo")?.add_address([10, 9, 0, last], 32)?;
    }
    client.connect_tcp((server.ip(), 80)).await.map(drop)
}

#[test]
fn the_addresses_of_a_test_do_not_hide_the_cause() {
    for outcome in both("many_addresses") {
        outcome.failed_with(&[
            "What stands out\n  server  1 connection attempt was refused here",
            "the address 10.9.0.1 of lo was added",
            "17 more addresses were added as well",
        ]);
    }
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn own_interface(client: Node, server: Node) -> io::Result<()> {
    let own = client.interface("eth0")?.add_macvlan(&client, "own0", MacvlanMode::Bridge)?;
    own.add_address([192, 168, 7, 1], 24)?;
    server.interface("eth0")?.add_address([192, 168, 7, 2], 24)?;
    client.connect_tcp("192.168.7.2:80").await.map(drop)
}

#[netns_test(nodes = 2, family = v4, capture = always)]
#[ignore = "run by its proof"]
async fn own_interface_passes(client: Node, _server: Node) -> io::Result<()> {
    let own = client.interface("eth0")?.add_macvlan(&client, "own0", MacvlanMode::Bridge)?;
    own.add_address([192, 168, 7, 1], 24)?;
    client.bind_udp(9).await?.send_to(b"anybody?", "192.168.7.2:9").await.map(drop)
}

/// The files of a test that is run again with these variables.
fn files(name: &str, variables: &[(&str, &str)]) -> (Outcome, Vec<u8>) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("netns-test-silence-{}-{number}", process::id()));
    let run = rerun(name).arg("--nocapture").env("NETNS_TEST_DIR", directory.to_str().expect("text"));
    let outcome = variables.iter().fold(run, |run, (name, value)| run.env(name, value)).run();
    let told = format!("{}{}", outcome.stdout, outcome.stderr);
    let (_, told) =
        told.split_once("files of the test are in ").unwrap_or_else(|| panic!("it is said: {outcome}"));
    let file = fs::read(Path::new(told.lines().next().expect("a line")).join("packets.pcapng"));
    fs::remove_dir_all(&directory).expect("it is ours");
    (outcome, file.expect("it is there"))
}

#[test]
fn an_interface_that_a_test_adds_has_its_name_in_the_file() {
    let never = ("NETNS_TEST_REPORT", "never");
    let passes = "own_interface_passes";
    for (name, variables) in
        [("own_interface", &[][..]), ("own_interface", &[never]), (passes, &[]), (passes, &[never])]
    {
        let (outcome, file) = files(name, variables);
        assert_eq!(outcome.status.success(), name == passes, "{outcome}");
        let has = |name: &str| file.windows(name.len()).any(|window| window == name.as_bytes());
        assert!(has("client/own0") && !has("client/interface"), "{outcome}");
    }
}
