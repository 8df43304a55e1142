//! Held packets are kept, all of them, and delivered in order when the last hold that concerns them is released.

use std::io;
use std::net::IpAddr;

use netns_test::{Hold, Network, Node, Router, netns_test};
use netns_test_tests::rerun;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

/// Sockets at both ends of a way, which know each other.
async fn open(from: &Node, to: &Node, v6: bool) -> io::Result<(UdpSocket, UdpSocket)> {
    let ip = |node: &Node| if v6 { IpAddr::from(node.ip6()) } else { node.ip4().into() };
    let (sends, receives) = (from.bind_udp((ip(from), 0)).await?, to.bind_udp((ip(to), 0)).await?);
    sends.connect(receives.local_addr()?).await?;
    receives.connect(sends.local_addr()?).await?;
    send(&sends, 0..1).await?;
    arrive(&receives, 0..1).await?;
    send(&receives, 0..1).await?;
    arrive(&sends, 0..1).await?;
    Ok((sends, receives))
}

async fn send(socket: &UdpSocket, numbers: std::ops::Range<u32>) -> io::Result<()> {
    for number in numbers {
        socket.send(&number.to_be_bytes()).await?;
    }
    Ok(())
}

async fn arrive(socket: &UdpSocket, numbers: std::ops::Range<u32>) -> io::Result<()> {
    for number in numbers {
        let mut buf = [0; 4];
        socket.recv(&mut buf).await?;
        assert_eq!(u32::from_be_bytes(buf), number);
    }
    Ok(())
}

async fn until(node: &Node, hold: &Hold, count: usize) -> io::Result<()> {
    Ok(node.wait_until(&format!("{count} packets that wait"), |_| Ok(hold.held() >= count)).await?)
}

/// Datagrams, held several times in a row.
async fn datagrams(
    a: &Node,
    b: &Node,
    begin: impl Fn() -> Result<Hold, netns_test::Error>,
) -> io::Result<()> {
    for v6 in [false, true] {
        let (sends, receives) = open(a, b, v6).await?;
        for round in 0..5 {
            let hold = begin()?;
            send(&sends, 0..50).await?;
            until(a, &hold, 50).await?;
            assert_eq!(receives.try_recv(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(hold.held(), 50, "in round {round}");
            hold.release()?;
            // What comes later comes behind.
            send(&sends, 50..100).await?;
            arrive(&receives, 0..100).await?;
        }
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn datagrams_on_a_link(a: Node, b: Node, network: Network) -> io::Result<()> {
    datagrams(&a, &b, || network.hold([&a], [&b])).await?;
    datagrams(&b, &a, || network.hold([&a], [&b])).await?;
    datagrams(&a, &b, || a.interface("eth0").map_err(|_| unreachable!()).and_then(|eth0| eth0.hold()))
        .await?;
    datagrams(&a, &b, || b.interface("eth0").map_err(|_| unreachable!()).and_then(|eth0| eth0.hold())).await
}

#[netns_test(nodes = 3)]
async fn datagrams_on_a_switch(a: Node, b: Node, c: Node, network: Network) -> io::Result<()> {
    let (sends, receives) = open(&a, &c, true).await?;
    let _elsewhere = network.hold([&b], [&c])?;
    datagrams(&a, &b, || network.hold([&a], [&b])).await?;
    datagrams(&a, &b, || b.interface("eth0").map_err(|_| unreachable!()).and_then(|eth0| eth0.hold()))
        .await?;
    // Others go on.
    let _hold = network.hold([&a], [&b])?;
    send(&sends, 0..10).await?;
    arrive(&receives, 0..10).await
}

#[netns_test(nodes(a, b), routers(r), links(a -- r, r -- b))]
async fn datagrams_over_a_router(a: Node, b: Node, r: Router, network: Network) -> io::Result<()> {
    datagrams(&a, &b, || network.hold([&a], [&b])).await?;
    datagrams(&a, &b, || r.interface("eth1").map_err(|_| unreachable!()).and_then(|eth1| eth1.hold())).await
}

#[netns_test(nodes(a, b), links(a -- b { mtu = 9000 }), family = v4)]
async fn large_packets_are_held_as_well(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (from, to) = (a.bind_udp(9).await?, b.bind_udp(7).await?);
    let hold = network.hold([&a], [&b])?;
    from.send_to(&[7; 8000], (b.ip(), 7)).await?;
    a.wait_until("a held packet", |_| Ok(hold.held() == 1)).await?;
    hold.release()?;
    assert_eq!(to.recv(&mut [0; 9000]).await?, 8000);
    // The way leads there from now on.
    from.send_to(&[7; 8500], (b.ip(), 7)).await?;
    assert_eq!(to.recv(&mut [0; 9000]).await?, 8500);
    Ok(())
}

#[netns_test(nodes = 2, timeout = 60s)]
async fn a_stream_is_whole(a: Node, b: Node, network: Network) -> io::Result<()> {
    for ip in [IpAddr::from(b.ip4()), b.ip6().into()] {
        let listener = b.listen_tcp((ip, 80)).await?;
        let mut out = a.connect_tcp((ip, 80)).await?;
        let (mut inc, _) = listener.accept().await?;
        let data: Vec<u8> = (0..500_000_u32).flat_map(u32::to_be_bytes).collect();
        let hold = network.hold([&a], [&b])?;
        let sent = data.clone();
        let sending = tokio::spawn(async move {
            out.write_all(&sent).await?;
            io::Result::Ok(out)
        });
        until(&a, &hold, 2).await?;
        assert_eq!(inc.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        hold.release()?;
        let mut received = vec![0; data.len()];
        inc.read_exact(&mut received).await?;
        assert!(received == data);
        sending.await??;
    }
    Ok(())
}

#[netns_test(nodes = 2, timeout = 60s)]
async fn nothing_overtakes_what_is_released(a: Node, b: Node, network: Network) -> io::Result<()> {
    const COUNT: u32 = 4000;
    let (sends, receives) = open(&a, &b, true).await?;
    // While one sends all the time, never more than the receiver's buffer takes.
    let window = std::sync::Arc::new(tokio::sync::Semaphore::new(100));
    let room = std::sync::Arc::clone(&window);
    let sending = tokio::spawn(async move {
        for number in 0..COUNT {
            room.acquire().await.expect("it is open").forget();
            sends.send(&number.to_be_bytes()).await?;
        }
        io::Result::Ok(())
    });
    let receiving = tokio::spawn(async move {
        for number in 0..COUNT {
            arrive(&receives, number..number + 1).await?;
            window.add_permits(1);
        }
        io::Result::Ok(())
    });
    while !receiving.is_finished() {
        let hold = network.hold([&a], [&b])?;
        a.wait_until("a packet that waits", |_| Ok(hold.held() > 0 || receiving.is_finished())).await?;
        hold.release()?;
        tokio::task::yield_now().await;
    }
    sending.await??;
    receiving.await?
}

#[netns_test(nodes = 2)]
async fn holds_overlap(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (sends, receives) = open(&a, &b, false).await?;
    for crosswise in [false, true] {
        let (one, other) = (network.hold([&a], [&b])?, a.interface("eth0")?.hold()?);
        send(&sends, 0..10).await?;
        until(&a, &one, 10).await?;
        let (first, last) = if crosswise { (one, other) } else { (other, one) };
        first.release()?;
        assert_eq!(last.held(), 10);
        send(&sends, 10..20).await?;
        until(&a, &last, 20).await?;
        assert_eq!(receives.try_recv(&mut [0; 4]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // Dropped is released.
        drop(last);
        arrive(&receives, 0..20).await?;
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn what_is_released_over_a_cut_is_lost(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (sends, receives) = open(&a, &b, false).await?;
    let hold = network.hold([&a], [&b])?;
    send(&sends, 0..10).await?;
    until(&a, &hold, 10).await?;
    let partition = network.partition([&a], [&b])?;
    hold.release()?;
    partition.repair()?;
    send(&sends, 10..20).await?;
    arrive(&receives, 10..20).await
}

#[netns_test(nodes = 2)]
async fn tear_down_ends_holds(a: Node, b: Node, network: Network) -> io::Result<()> {
    static LEFT: std::sync::Mutex<Vec<Hold>> = std::sync::Mutex::new(Vec::new());
    let (sends, _receives) = open(&a, &b, true).await?;
    let hold = network.hold([&a], [&b])?;
    send(&sends, 0..10).await?;
    until(&a, &hold, 10).await?;
    LEFT.lock().expect("nobody panics").push(hold);
    Ok(())
}

/// What a link has no room for is no reason to wait: it would take six minutes.
async fn released_into_a_slow_link(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (sends, receives) = open(&a, &b, false).await?;
    let hold = network.hold([&a], [&b])?;
    for _ in 0..450 {
        sends.send(&[0; 1000]).await?;
    }
    until(&a, &hold, 450).await?;
    hold.release()?;
    receives.recv(&mut [0; 1000]).await?;
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { rate = 10kbit, queue = 4mib, wire = kernel }, b -> a { rate = 1gbit }))]
async fn a_slow_link_of_the_kernel_does_not_stop_the_test(
    a: Node,
    b: Node,
    network: Network,
) -> io::Result<()> {
    released_into_a_slow_link(a, b, network).await
}

#[netns_test(nodes(a, b), links(a -- b { rate = 10kbit, queue = 4mib, wire = user }, b -> a { rate = 1gbit }))]
async fn a_slow_link_in_user_space_does_not_stop_the_test(
    a: Node,
    b: Node,
    network: Network,
) -> io::Result<()> {
    released_into_a_slow_link(a, b, network).await
}

/// More than the sending socket has room for, and less than the receiver's buffer has in a second.
#[netns_test(nodes(a, b), links(a -- b { rate = 100kbit, queue = 4mib, wire = kernel }))]
async fn what_waits_for_room_keeps_its_order(a: Node, b: Node, network: Network) -> io::Result<()> {
    const COUNT: u32 = 320;
    let (sends, receives) = open(&a, &b, false).await?;
    let hold = network.hold([&a], [&b])?;
    send(&sends, 0..COUNT).await?;
    until(&a, &hold, COUNT as usize).await?;
    hold.release()?;
    send(&sends, COUNT..COUNT + 10).await?;
    // Held once more behind them.
    let hold = network.hold([&a], [&b])?;
    send(&sends, COUNT + 10..COUNT + 20).await?;
    arrive(&receives, 0..COUNT).await?;
    hold.release()?;
    arrive(&receives, COUNT..COUNT + 20).await
}

#[netns_test(nodes(a, b), links(a -- b { rate = 1mbit, queue = 10packets, wire = kernel }))]
async fn a_short_queue_drops_what_is_released_as_it_drops_all(
    a: Node,
    b: Node,
    network: Network,
) -> io::Result<()> {
    let (sends, receives) = open(&a, &b, false).await?;
    let hold = network.hold([&a], [&b])?;
    send(&sends, 0..1000).await?;
    until(&a, &hold, 1000).await?;
    hold.release()?;
    arrive(&receives, 0..1).await
}

/// More than is kept: 64 MiB for each interface.
async fn too_much(a: &Node, b: &Node, network: &Network) -> io::Result<Hold> {
    let (sends, _receives) = open(a, b, false).await?;
    let hold = network.hold([a], [b])?;
    let large = vec![0; 60_000];
    while hold.lost() == 0 {
        sends.send(&large).await?;
    }
    Ok(hold)
}

#[netns_test(nodes = 2)]
async fn what_is_not_kept_is_told(a: Node, b: Node, network: Network) -> io::Result<()> {
    let hold = too_much(&a, &b, &network).await?;
    let error = hold.release().expect_err("it was too much");
    assert!(error.to_string().starts_with("failed to keep all packets that `a/eth0` has sent: "), "{error}");
    assert!(error.to_string().contains(" were lost: "), "{error}");
    Ok(())
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn drops_a_guard_of_too_much(a: Node, b: Node, network: Network) -> io::Result<()> {
    let _hold = too_much(&a, &b, &network).await?;
    Ok(())
}

#[test]
fn what_is_not_kept_fails_the_test_when_its_guard_is_dropped() {
    rerun("drops_a_guard_of_too_much").run().failed_with(&[
        "failed to keep all packets that `a/eth0` has sent: ",
        "(as the guard of held packets was dropped)",
    ]);
}

/// A station that cannot be finished is gone with all that it has made, so that the next one can be.
#[cfg(feature = "programs")]
#[netns_test(nodes = 2)]
async fn a_hold_that_is_refused_half_way_leaves_nothing(a: Node, b: Node) -> io::Result<()> {
    let (sends, receives) = open(&a, &b, false).await?;
    let interface = a.interface("eth0")?;
    let tc = async |arguments: &str, last: &[&str]| {
        let status = a.command("tc").args(arguments.split(' ')).args(last).status().await?;
        assert!(status.success(), "tc {arguments}: {status}");
        io::Result::Ok(())
    };
    let filter = "dev eth0 egress protocol all prio 65535 handle 1 bpf";
    tc("qdisc add dev eth0 clsact", &[]).await?;
    // In the place of the one that would lead packets to the station.
    tc(&format!("filter add {filter}"), &["bytecode", "1,6 0 0 0"]).await?;
    for _ in 0..20 {
        let error = interface.hold().expect_err("the place is taken").to_string();
        assert!(error.contains("redirect the packets of `a/eth0`"), "{error}");
        let names: Vec<String> = a.links()?.into_iter().map(|link| link.name).collect();
        assert!(!names.iter().any(|name| name.starts_with("hold")), "{names:?}");
    }
    send(&sends, 1..2).await?;
    arrive(&receives, 1..2).await?;
    tc(&format!("filter delete {filter}"), &[]).await?;
    let hold = interface.hold()?;
    send(&sends, 2..3).await?;
    until(&a, &hold, 1).await?;
    hold.release()?;
    arrive(&receives, 2..3).await
}
