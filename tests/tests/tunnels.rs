//! Interfaces that a test adds: VXLAN over a routed path, macvlans and VLANs carry what they should, and nothing else.

use std::io;
use std::net::Ipv4Addr;

use netns_test::{MacvlanMode, Network, Node, Router, netns_test};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Sends so many bytes over TCP to an address of a node.
async fn bulk(from: &Node, to: &Node, address: &str, bytes: usize) -> io::Result<()> {
    let listener = to.listen_tcp(address).await?;
    let mut out = from.connect_tcp(address).await?;
    let (mut inc, _) = listener.accept().await?;
    let mut arrived = Vec::new();
    tokio::try_join!(
        async {
            out.write_all(&vec![7; bytes]).await?;
            out.shutdown().await
        },
        inc.read_to_end(&mut arrived)
    )?;
    assert_eq!(arrived.len(), bytes);
    Ok(())
}

#[netns_test(
    nodes(a, b), routers(r1, r2),
    links(a -- r1, r1 -- r2 { mtu = 1400, icmp = drop }, r2 -- b),
)]
async fn a_tunnel_over_routers_fits_into_the_smallest_mtu(
    a: Node,
    b: Node,
    r1: Router,
    network: Network,
) -> io::Result<()> {
    let ends = network.vxlan(7, [&a, &b])?;
    for (end, number) in ends.iter().zip(1..) {
        assert_eq!((end.name(), end.link()?.mtu), ("vxlan7", 1330), "70 bytes less over IPv6");
        end.add_address([192, 168, 7, number], 24)?;
        end.add_address([0xfd00, 0, 0, 0, 0, 0, 0, number.into()], 64)?;
    }
    // What does not fit would be lost without a word: the link between the routers is a black hole.
    bulk(&a, &b, "192.168.7.2:80", 1 << 20).await?;
    bulk(&b, &a, "[fd00::1]:80", 1 << 20).await?;
    // The routers know nothing of what is inside.
    assert!(r1.route_to([192, 168, 7, 2]).is_err());
    // A cut of what is below cuts the tunnel.
    let (out, inc) = (a.bind_udp("192.168.7.1:7").await?, b.bind_udp("192.168.7.2:7").await?);
    let cut = network.link(&a, r1.node())?.cut()?;
    out.send_to(b"lost", "192.168.7.2:7").await?;
    cut.repair()?;
    out.send_to(b"later", "192.168.7.2:7").await?;
    let mut buffer = [0; 8];
    let length = inc.recv(&mut buffer).await?;
    assert_eq!(&buffer[..length], b"later");
    Ok(())
}

#[netns_test(nodes = 3, family = v4)]
async fn broadcasts_reach_all_of_a_tunnel_and_nobody_else(
    nodes: [Node; 3],
    network: Network,
) -> io::Result<()> {
    let all = network.vxlan(1, &nodes)?;
    let two = network.vxlan(2, &nodes[..2])?;
    for (ends, net) in [(&all, 1), (&two, 2)] {
        for (end, number) in ends.iter().zip(1..) {
            assert_eq!(end.link()?.mtu, 1450, "50 bytes less over IPv4");
            end.add_address([10, 77, net, number], 24)?;
        }
    }
    let sockets = [
        nodes[0].bind_udp("0.0.0.0:7").await?,
        nodes[1].bind_udp("0.0.0.0:7").await?,
        nodes[2].bind_udp("0.0.0.0:7").await?,
    ];
    sockets[0].set_broadcast(true)?;
    sockets[0].send_to(b"two", "10.77.2.255:7").await?;
    sockets[0].send_to(b"all", "10.77.1.255:7").await?;
    let mut buffer = [0; 8];
    assert_eq!(sockets[1].recv(&mut buffer).await?, 3);
    assert_eq!(&buffer[..3], b"two");
    assert_eq!(sockets[1].recv_from(&mut buffer).await?.1.to_string(), "10.77.1.1:7");
    assert_eq!(sockets[2].recv_from(&mut buffer).await?.1.to_string(), "10.77.1.1:7");
    assert_eq!(&buffer[..3], b"all", "`two` came before it, and not here");
    Ok(())
}

#[netns_test(nodes(a, b, c), links(a -- b))]
async fn what_cannot_be_a_tunnel_leaves_nothing(
    a: Node,
    b: Node,
    c: Node,
    network: Network,
) -> io::Result<()> {
    let first = network.vxlan(9, [&a, &b])?;
    let refused = |number, nodes: &[&Node]| network.vxlan(number, nodes).unwrap_err().to_string();
    for (number, nodes, text) in [
        (1 << 24, &[&a, &b][..], "its number has more than 24 bits"),
        (1, &[&a], "it is for two nodes or more, each once"),
        (1, &[&a, &a], "it is for two nodes or more, each once"),
        (1, &[&a, &c], "they have no addresses of one family"),
        (9, &[&a, &b], "failed to add VXLAN `a/vxlan9`"),
    ] {
        let error = refused(number, nodes);
        assert!(error.contains(text), "{error}");
    }
    first.into_iter().next().expect("there are two").delete()?;
    // `a` could, but `b` has it still.
    assert!(refused(9, &[&a, &b]).contains("`b/vxlan9`"));
    assert!(a.interface("vxlan9").is_err(), "what was made of it is gone");
    b.interface("vxlan9")?.delete()?;
    assert_eq!(network.vxlan(9, [&a, &b])?.len(), 2);
    let error = a.interface("eth0")?.delete().unwrap_err().to_string();
    assert!(error.contains("the test has not added it"), "{error}");
    Ok(())
}

#[netns_test(
    nodes(host, peer, first, second), links(host -- peer { prefix = "10.0.5.0/24" }),
    family = v4,
)]
async fn a_macvlan_is_on_the_link_beside_its_host(
    host: Node,
    peer: Node,
    first: Node,
    second: Node,
) -> io::Result<()> {
    let eth0 = host.interface("eth0")?;
    let ends = [
        eth0.add_macvlan(&first, "eth0", MacvlanMode::Bridge)?,
        eth0.add_macvlan(&second, "eth0", MacvlanMode::Bridge)?,
    ];
    for (end, number) in ends.iter().zip(101..) {
        end.add_address([10, 0, 5, number], 24)?;
    }
    assert_ne!(ends[0].link()?.mac, ends[1].link()?.mac);
    bulk(&peer, &first, "10.0.5.101:80", 100_000).await?;
    bulk(&first, &second, "10.0.5.102:80", 100_000).await?;
    let inc = first.bind_udp("10.0.5.101:7").await?;
    let (of_host, of_peer) = (host.bind_udp(7).await?, peer.bind_udp(7).await?);
    let mut buffer = [0; 8];
    of_host.send_to(b"host", "10.0.5.101:7").await?;
    let from_peer = async |text: &[u8]| of_peer.send_to(text, "10.0.5.101:7").await;
    from_peer(b"peer").await?;
    assert_eq!(inc.recv_from(&mut buffer).await?.1.ip(), peer.ip(), "the host does not reach it");
    // What happens to the host's interface happens to it, and what happens to its own.
    for fault in 0..3 {
        let cut = match fault {
            0 => eth0.cut()?,
            1 => first.isolate()?,
            _ => ends[0].cut()?,
        };
        from_peer(b"lost").await?;
        cut.repair()?;
        from_peer(b"later").await?;
        let length = inc.recv(&mut buffer).await?;
        assert_eq!(&buffer[..length], b"later");
    }
    let [of_first, _] = ends;
    of_first.delete()?;
    assert!(first.interface("eth0").is_err());
    Ok(())
}

#[netns_test(
    nodes(host, peer, first, second), links(host -- peer { prefix = "10.0.5.0/24" }),
    family = v4,
)]
async fn private_macvlans_do_not_reach_each_other(
    host: Node,
    peer: Node,
    first: Node,
    second: Node,
) -> io::Result<()> {
    let eth0 = host.interface("eth0")?;
    for (node, number) in [(&first, 101), (&second, 102)] {
        eth0.add_macvlan(node, "lan", MacvlanMode::Private)?.add_address([10, 0, 5, number], 24)?;
    }
    let inc = second.bind_udp("10.0.5.102:7").await?;
    first.bind_udp("10.0.5.101:7").await?.send_to(b"first", "10.0.5.102:7").await?;
    peer.bind_udp(7).await?.send_to(b"peer", "10.0.5.102:7").await?;
    assert_eq!(inc.recv_from(&mut [0; 8]).await?.1.ip(), peer.ip());
    Ok(())
}

#[netns_test(nodes(host, peer, container), routers(other), links(host -- peer, peer -- other))]
fn what_stands_on_an_interface_is_not_taken_along(host: Node, container: Node, other: Router) {
    let eth0 = host.interface("eth0").expect("it has one");
    let upper = eth0.add_macvlan(&container, "lan", MacvlanMode::Bridge).expect("it is a veth");
    let error = eth0.replug(&other).unwrap_err().to_string();
    assert!(
        error.contains("`container/lan` stands on `host/eth0`, which is made anew: delete it first"),
        "{error}"
    );
    upper.link().expect("it is still there");
    upper.delete().expect("nothing stands on it");
    eth0.replug(&other).expect("nothing is in the way");
    let error = eth0.delete().unwrap_err().to_string();
    assert!(error.contains("the test has not added it"), "{error}");
}

#[netns_test(nodes = 1)]
#[ignore = "a part of the test below"]
fn keeps_a_node(a: Node) {
    *KEPT.lock().expect("nobody panics") = Some(a);
    while KEPT.lock().expect("nobody panics").is_some() {
        std::thread::yield_now();
    }
}

static KEPT: std::sync::Mutex<Option<Node>> = std::sync::Mutex::new(None);

#[netns_test(nodes(a, b), links(a -- b))]
fn a_node_of_another_test_gets_nothing(a: Node, b: Node, network: Network) {
    let other_test = std::thread::spawn(keeps_a_node);
    let other = loop {
        if let Some(other) = KEPT.lock().expect("nobody panics").clone() {
            break other;
        }
        std::thread::yield_now();
    };
    let eth0 = a.interface("eth0").expect("it has one");
    let error = eth0.add_macvlan(&other, "lan", MacvlanMode::Bridge).unwrap_err().to_string();
    assert!(error.ends_with("`a` is a node of another test"), "{error}");
    let error = network.vxlan(7, [&b, &other]).unwrap_err().to_string();
    assert!(error.ends_with("`a` is a node of another test"), "{error}");
    assert!(b.interface("vxlan7").is_err());
    drop(other);
    *KEPT.lock().expect("nobody panics") = None;
    other_test.join().expect("it ends well");
}

#[netns_test(nodes = 3)]
fn what_is_a_macvlan_itself_carries_none(nodes: [Node; 3]) {
    let eth0 = nodes[0].interface("eth0").expect("it has one");
    // Where switches are bridges, it is a veth.
    if eth0.link().expect("it is there").kind.as_deref() == Some("macvlan") {
        let error = eth0.add_macvlan(&nodes[1], "more", MacvlanMode::Bridge).unwrap_err().to_string();
        assert!(error.contains("or write `wire = user` to a link of a switch that is declared"), "{error}");
    }
}

#[netns_test(
    nodes(a, b, c, alone), routers(r), switches(s, t),
    links(
        a -- s { vlan = 10 },
        s -- t,
        b -- t { vlan = 10 },
        c -- t { vlan = 20, prefix = "10.20.0.0/24" },
        alone -- t,
        r -- s { vlan = 10 },
        r -- s { vlan = 20 },
    ),
)]
async fn ports_of_a_switch_are_in_vlans(a: Node, b: Node, c: Node, alone: Node, r: Router) -> io::Result<()> {
    // In one VLAN over two switches; from one to another by the router.
    assert_eq!(a.route_to(b.ip4())?.gateway, None);
    bulk(&a, &b, "b:80", 100_000).await?;
    assert!(
        r.interface("eth1")?.addresses()?.iter().any(|address| address.ip == Ipv4Addr::new(10, 20, 0, 2))
    );
    assert!(a.route_to(c.ip4())?.gateway.is_some());
    bulk(&a, &c, "c:80", 100_000).await?;
    assert!(r.route_to(alone.ip4()).is_err(), "no router leads there");
    // What all on a link hear is heard in one VLAN.
    let (of_b, of_c, of_alone) =
        (b.bind_udp("[::]:7").await?, c.bind_udp("[::]:7").await?, alone.bind_udp("[::]:7").await?);
    let out = a.bind_udp("[::]:7").await?;
    let scope = |node: &Node| node.interface("eth0").map(|eth0| eth0.index());
    let all = |scope| std::net::SocketAddrV6::new("ff02::1".parse().expect("an address"), 7, 0, scope);
    out.send_to(b"ten", all(scope(&a)?)).await?;
    of_b.recv(&mut [0; 8]).await?;
    for (node, socket) in [(&c, &of_c), (&alone, &of_alone)] {
        node.bind_udp("[::1]:8").await?.send_to(b"own", "[::1]:7").await?;
        let (length, from) = socket.recv_from(&mut [0; 8]).await?;
        assert!(length == 3 && from.ip().is_loopback(), "{from} was heard in another VLAN");
    }
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b))]
fn vlans_are_there_or_the_error_says_what_mends_it(a: Node, b: Node) {
    let eth0 = a.interface("eth0").expect("it has one");
    for number in [0, 4095] {
        let error = eth0.add_vlan(number).unwrap_err().to_string();
        assert!(error.contains("a number from 1 to 4094"), "{error}");
    }
    match eth0.add_vlan(10) {
        Ok(vlan) => assert_eq!(vlan.name(), "eth0.10"),
        Err(error) => {
            let error = error.to_string();
            assert!(
                error
                    .contains("failed to add VLAN `a/eth0.10`: this kernel has no VLANs (CONFIG_VLAN_8021Q)"),
                "{error}"
            );
            assert!(error.contains("`sudo modprobe 8021q`"), "{error}");
        }
    }
    drop(b);
}

/// Two nodes with the VLANs 10 and 20 between them, each with the same addresses.
async fn over_vlans(a: Node, b: Node) -> io::Result<()> {
    for (node, own) in [(&a, 1), (&b, 2)] {
        let eth0 = node.interface("eth0")?;
        eth0.add_vlan(10)?.add_address([10, 10, 0, own], 24)?;
        eth0.add_vlan(20)?.add_address([10, 20, 0, own], 24)?;
        assert_eq!(node.interface("eth0.20")?.link()?.mtu, 1500);
    }
    bulk(&a, &b, "10.10.0.2:80", 100_000).await?;
    bulk(&b, &a, "10.20.0.1:80", 100_000).await?;
    // What is sent on one is not heard on the other.
    let inc = b.bind_udp("0.0.0.0:7").await?;
    let out = a.bind_udp("0.0.0.0:7").await?;
    out.set_broadcast(true)?;
    for network in [10, 20] {
        out.send_to(&[network], (Ipv4Addr::new(10, network, 0, 255), 7)).await?;
        let mut buffer = [0; 8];
        let (_, from) = inc.recv_from(&mut buffer).await?;
        assert_eq!((buffer[0], from.ip()), (network, Ipv4Addr::new(10, network, 0, 1).into()));
    }
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b), timeout = 120s)]
#[ignore = "wants a kernel with VLANs"]
async fn kernel_has_vlans_on_a_bare_link(a: Node, b: Node) -> io::Result<()> {
    over_vlans(a, b).await
}

#[netns_test(nodes(a, b), links(a -- b { wire = user, delay = 1ms }), timeout = 120s)]
#[ignore = "wants a kernel with VLANs"]
async fn kernel_has_vlans_on_the_wire_in_user_space(a: Node, b: Node) -> io::Result<()> {
    over_vlans(a, b).await
}

#[netns_test(nodes = 3, timeout = 120s)]
#[ignore = "wants a kernel with VLANs"]
async fn kernel_has_vlans_on_a_switch(a: Node, b: Node, c: Node) -> io::Result<()> {
    let vlan = c.interface("eth0")?.add_vlan(30)?;
    over_vlans(a, b).await?;
    Ok(vlan.delete()?)
}
