//! Assertions on traffic: a test captures packets, waits for them, and asks what they were.

use std::io;
use std::sync::Arc;

use netns_test::{Captured, Network, Node, Router, Traffic, netns_test};
use netns_test_tests::rerun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

async fn talk(client: &Node, server: &Node, port: u16, text: &[u8]) -> io::Result<()> {
    let listener = server.listen_tcp(port).await?;
    let mut out = client.connect_tcp((server.ip(), port)).await?;
    let (mut inside, _) = listener.accept().await?;
    out.write_all(text).await?;
    inside.read_exact(&mut vec![0; text.len()]).await.map(drop)
}

#[netns_test(nodes = 3)]
async fn packets_are_told_with_node_interface_and_way(
    a: Node,
    b: Node,
    c: Node,
    network: Network,
) -> io::Result<()> {
    let capture = network.capture()?;
    talk(&a, &b, 80, b"in the clear").await?;
    let data =
        capture.until("the data", |packet| packet.contains("in the clear") && !packet.is_sent()).await?;
    assert_eq!((data.node(), data.interface()), ("b", "eth0"));
    assert_eq!(data.payload(), b"in the clear");
    let packets = capture.packets()?;
    // Sent once, received once.
    assert_eq!(packets.containing("in the clear").sent().len(), 1, "{packets}");
    assert_eq!(packets.containing("in the clear").received().len(), 1, "{packets}");
    assert_eq!(packets.of(&a).sent().containing("in the clear").len(), 1);
    assert_eq!(packets.from(a.ip()).containing("in the clear").sent().len(), 1);
    assert_eq!(packets.from(b.ip()).containing("in the clear").len(), 0);
    assert_eq!(packets.retransmissions().len(), 0);
    assert_eq!(packets.to_string().lines().count(), packets.len());
    assert!(packets.is_sorted_by_key(Captured::time));
    let (mut each, mut owned) = (Vec::new(), Vec::new());
    for packet in &packets {
        each.push(packet.payload().to_vec());
    }
    for packet in packets.clone() {
        owned.push(packet.into_packet().payload().to_vec());
    }
    assert_eq!(each, owned);
    // Nothing went to the third, and nothing of it to anybody else.
    assert_eq!(packets.to(c.ip()).len() + packets.to(c.ip4()).len(), 0, "{packets}");
    assert_eq!(packets.containing("a secret").len(), 0);
    assert_eq!(packets.flows().len(), 2, "{packets}");
    let is_syn =
        |packet: &&netns_test::Captured| packet.tcp().is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack);
    assert_eq!(packets.sent().iter().filter(is_syn).count(), 1);
    Ok(())
}

#[netns_test(nodes = 2)]
async fn what_is_received_is_shown_after_it_was_sent(a: Node, b: Node, network: Network) -> io::Result<()> {
    const COUNT: u32 = 3000;
    let capture = network.capture()?;
    let _receives = b.bind_udp(7).await?;
    let (to, window) = ((b.ip(), 7), Arc::new(Semaphore::new(50)));
    let (room, sender) = (Arc::clone(&window), a.clone());
    // On another thread, all the time.
    let sending = a.spawn(async move || {
        let socket = sender.bind_udp(9).await?;
        for number in 0..COUNT {
            room.acquire().await.expect("it is open").forget();
            socket.send_to(&number.to_be_bytes(), to).await?;
        }
        io::Result::Ok(())
    });
    let (mut sent, mut received) = (0, 0);
    let is_last = |packet: &Captured| {
        if packet.udp().is_none_or(|udp| udp.destination_port != 7) {
            return false;
        }
        let number = u32::from_be_bytes(packet.payload().try_into().expect("four bytes"));
        let count = if packet.is_sent() { &mut sent } else { &mut received };
        assert_eq!(number, *count, "{packet}");
        *count += 1;
        assert!(received <= sent, "{packet}");
        window.add_permits(usize::from(!packet.is_sent()));
        received == COUNT
    };
    capture.until("the last datagram", is_last).await?;
    sending.await.expect("the sender does not panic")
}

#[netns_test(nodes(a, b), links(a -- b { wire = user }))]
async fn tags_of_vlans_are_seen_at_both_ends(a: Node, b: Node, network: Network) -> io::Result<()> {
    let capture = network.capture()?;
    let mac = |node: &Node| io::Result::Ok(node.interface("eth0")?.link()?.mac.expect("it has an address"));
    // VLAN 10 (IEEE 802.1Q), and a protocol that nobody speaks.
    let tagged = [&mac(&b)?[..], &mac(&a)?, &[0x81, 0, 0, 10, 0x88, 0xb5], &[7; 50]].concat();
    network.link(&a, &b)?.from(&a)?.inject(tagged.clone())?;
    let seen = capture.until("the frame", |packet| packet.contains([7; 50])).await?;
    assert_eq!((seen.node(), seen.bytes()), ("b", &tagged[..]));
    Ok(())
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server))]
async fn an_interface_is_captured_alone(client: Node, server: Node, r: Router) -> io::Result<()> {
    let (near, far) = (r.interface("eth0")?.capture()?, r.interface("eth1")?.capture()?);
    talk(&client, &server, 80, b"through").await?;
    near.until("what comes in", |packet| packet.contains("through")).await?;
    far.until("what goes out", |packet| packet.contains("through")).await?;
    let (near, far) = (near.packets()?, far.packets()?);
    let hops = |traffic: &netns_test::Traffic| traffic.containing("through")[0].ip().map(|ip| ip.hop_limit);
    assert_eq!((hops(&near), hops(&far)), (Some(64), Some(63)));
    assert!(
        near.iter().all(|packet| packet.interface() == "eth0") && near.on(&r.interface("eth1")?).is_empty()
    );
    Ok(())
}

// Before the call returns, the packet is seen: there is nothing to wait for.
#[netns_test(nodes = 2)]
async fn what_was_sent_before_is_seen(client: Node, server: Node) -> io::Result<()> {
    let socket = client.bind_udp(9).await?;
    let capture = client.capture()?;
    // It waits until the neighbour is known; those that follow do not.
    socket.send_to(b"first", (server.ip(), 7)).await?;
    capture.until("the first datagram", |packet| packet.contains("first")).await?;
    for number in 0..200_u32 {
        socket.send_to(&number.to_be_bytes(), (server.ip(), 7)).await?;
        let sent = capture.packets()?.sent().containing(number.to_be_bytes()).to(server.ip());
        assert!(!sent.is_empty(), "{number}");
    }
    Ok(())
}

#[netns_test(nodes = 2, family = v4)]
fn plain_functions_capture(client: Node, server: Node) -> io::Result<()> {
    let capture = server.capture()?;
    let socket = client.enter(|| std::net::UdpSocket::bind("0.0.0.0:0"))?;
    socket.send_to(b"hello", (server.ip(), 7))?;
    let hello = capture.blocking_until("the greeting", |packet| packet.contains("hello"))?;
    assert_eq!(hello.udp().map(|udp| udp.destination_port), Some(7));
    let refusal =
        capture.blocking_until("its refusal", |packet| packet.icmp().is_some_and(|icmp| icmp.is_error()))?;
    assert!(refusal.is_sent());
    Ok(())
}

/// Has the kernel drop whatever would reach this socket.
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
async fn retransmissions_are_counted(client: Node, server: Node) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    drop_all(&listener);
    let capture = client.capture()?;
    let connecting = client.spawn(async || tokio::net::TcpStream::connect("server:80").await);
    let mut syns = 0;
    // The kernel tries again after a second.
    capture
        .until("the second SYN", |packet| {
            syns += u32::from(packet.tcp().is_some_and(|tcp| tcp.flags.syn));
            syns == 2
        })
        .await?;
    let packets = capture.packets()?;
    let (sent, again) = (packets.sent().to(server.ip()), packets.retransmissions());
    // All but the first; a third may have followed by now.
    let syns = sent.iter().filter(|packet| packet.tcp().is_some_and(|tcp| tcp.flags.syn)).count();
    assert!(syns >= 2 && again.len() == syns - 1, "{packets}");
    assert!(again[0].tcp().is_some_and(|tcp| tcp.flags.syn));
    drop(connecting);
    Ok(())
}

/// What one interface saw go to a port, put together.
fn stream_on(packets: &Traffic, node: &str, interface: &str, is_sent: bool, port: u16) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut first = None;
    for packet in packets {
        let passed = (packet.node(), packet.interface(), packet.is_sent()) == (node, interface, is_sent);
        let Some(tcp) = packet.tcp().filter(|tcp| passed && tcp.destination_port == port) else { continue };
        // The SYN counts as a byte.
        let first = *first.get_or_insert(tcp.sequence.wrapping_add(1));
        if !packet.payload().is_empty() {
            let from = tcp.sequence.wrapping_sub(first) as usize;
            stream.resize(stream.len().max(from + packet.payload().len()), 0);
            stream[from..from + packet.payload().len()].copy_from_slice(packet.payload());
        }
    }
    stream
}

// As much as all queues hold together, even if nobody reads meanwhile, and many times what one of them holds.
#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server))]
async fn megabytes_that_come_at_once_are_captured_whole(
    client: Node,
    server: Node,
    r: Router,
    network: Network,
) -> io::Result<()> {
    let text: Vec<u8> = (1..=500_000_u32).flat_map(u32::to_be_bytes).collect();
    let capture = network.capture()?;
    let listener = server.listen_tcp(80).await?;
    let mut out = client.connect_tcp((server.ip(), 80)).await?;
    let (mut inside, _) = listener.accept().await?;
    let mut read = vec![0; text.len()];
    let (written, got) = tokio::join!(out.write_all(&text), inside.read_exact(&mut read));
    written.and(got.map(drop))?;
    assert!(read == text);
    // In and out of the router, and at both ends.
    let packets = capture.packets()?;
    let way = [
        ("client", "eth0", true),
        (r.name(), "eth0", false),
        (r.name(), "eth1", true),
        ("server", "eth0", false),
    ];
    for (node, interface, is_sent) in way {
        assert!(stream_on(&packets, node, interface, is_sent, 80) == text, "on {interface} of {node}");
    }
    Ok(())
}

// It may not keep up. Then it says so, and never passes a part off as the whole.
#[netns_test(nodes = 2, family = v4)]
async fn a_capture_is_whole_or_an_error(client: Node, server: Node) -> io::Result<()> {
    let (socket, _sink) = (client.bind_udp(9).await?, server.bind_udp(7).await?);
    socket.send_to(b"first", (server.ip(), 7)).await?;
    let capture = client.capture()?;
    for _ in 0..50_000 {
        socket.send_to(b"flood", (server.ip(), 7)).await?;
    }
    match capture.packets() {
        Ok(packets) => assert_eq!(packets.containing("flood").len(), 50_000),
        Err(error) => {
            assert!(error.to_string().contains("packets came faster than they could be read"), "{error}")
        }
    }
    Ok(())
}

#[netns_test(nodes = 2, family = v4, timeout = 5s)]
#[ignore = "fails on purpose"]
async fn waits_in_vain(client: Node, server: Node) -> io::Result<()> {
    let capture = client.capture()?;
    client.bind_udp(9).await?.send_to(b"hello", (server.ip(), 7)).await?;
    capture.until("an answer", |packet| packet.contains("answer")).await?;
    Ok(())
}

#[test]
fn a_wait_that_gives_up_shows_the_last_packets() {
    for rerun in
        [rerun("waits_in_vain"), rerun("waits_in_vain").env("NETNS_TEST_CAPTURE", "never").as_ordinary_user()]
    {
        rerun.run().failed_with(&[
            "failed to wait for an answer: the test's timeout is about to pass; ",
            "client/eth0 sent  IP 10.0.0.1:9 > 10.0.0.2:7: UDP, length 5",
            "client/eth0 received  IP 10.0.0.2 > 10.0.0.1: ICMP 10.0.0.2 udp port 7 unreachable",
        ]);
    }
}
