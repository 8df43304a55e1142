//! The handles: interfaces, waiting, settings, lookups, injection, and handles that outlive their test.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use netns_test::state::{NeighbourState, Route, RouteProtocol};
use netns_test::{Argument, Error, FromNetwork, Network, Node, netns_test};

/// Addresses and main routes as text, in order.
fn layout(node: &Node) -> Vec<String> {
    let addresses = node.addresses().unwrap();
    let mut lines: Vec<String> =
        addresses.iter().map(|of| format!("{} {}/{}", of.link, of.ip, of.prefix_len)).collect();
    let routes = node.routes().unwrap();
    let main = routes.iter().filter(|route| route.table == Route::MAIN_TABLE);
    lines.extend(main.map(|of| {
        format!("{}/{} {:?} {:?} {}", of.destination, of.prefix_len, of.gateway, of.link, of.metric)
    }));
    lines.sort();
    lines
}

#[netns_test(nodes = 2)]
async fn an_interface_comes_back_with_its_addresses(client: Node, server: Node) -> io::Result<()> {
    let eth0 = server.interface("eth0")?;
    let before = layout(&server);
    eth0.down()?;
    assert!(!eth0.link()?.up);
    assert_ne!(layout(&server), before);
    client.wait_until("the loss of the carrier", |node| Ok(!node.interface("eth0")?.link()?.carrier)).await?;
    let error = server.connect_tcp("client:7").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    // Twice is once.
    eth0.down()?;
    eth0.up()?;
    assert!(eth0.link()?.is_running());
    server
        .wait_until("the link-local address and its routes", |node| Ok(layout(node).len() >= before.len()))
        .await?;
    assert_eq!(layout(&server), before);
    let listener = server.listen_tcp(7).await?;
    client.wait_until("the carrier", |node| Ok(node.interface("eth0")?.link()?.is_running())).await?;
    let _out = client.connect_tcp("server:7").await?;
    let (_inc, peer) = listener.accept().await?;
    assert_eq!(peer.ip(), client.ip());
    // An interface that is on stays as it is.
    eth0.up()?;
    assert_eq!(layout(&server), before);
    Ok(())
}

#[netns_test(nodes = 3, topology = line)]
async fn an_interface_comes_back_with_its_routes(nodes: [Node; 3]) -> io::Result<()> {
    let [left, middle, right] = &nodes;
    let before: Vec<_> = nodes.iter().map(layout).collect();
    for interface in middle.interfaces()? {
        interface.down()?;
    }
    assert!(middle.route_to(right.ip4()).is_err());
    for interface in middle.interfaces()? {
        interface.up()?;
    }
    for (node, before) in nodes.iter().zip(&before) {
        node.wait_until("what was there before", |node| Ok(layout(node) == *before)).await?;
        node.wait_until("the carriers", |node| {
            node.interfaces()?
                .iter()
                .try_fold(true, |all, interface| Ok(all && interface.link()?.is_running()))
        })
        .await?;
    }
    for ip in [IpAddr::V4(right.ip4()), right.ip6().into()] {
        let listener = right.listen_tcp((ip, 7)).await?;
        let _out = left.connect_tcp((ip, 7)).await?;
        listener.accept().await?;
    }
    Ok(())
}

#[netns_test(nodes = 2)]
fn interfaces_change(one: Node, other: Node) -> io::Result<()> {
    let eth0 = one.interface("eth0")?;
    assert_eq!((eth0.to_string(), eth0.name(), eth0.node().name()), ("one/eth0".to_owned(), "eth0", "one"));
    eth0.add_address([192, 0, 2, 1], 24)?;
    other.interface("eth0")?.add_address([192, 0, 2, 2], 24)?;
    let listener = one.blocking_listen_tcp("192.0.2.1:7")?;
    let out = other.blocking_connect_tcp("192.0.2.1:7")?;
    listener.accept()?;
    assert_eq!(out.local_addr()?.ip(), IpAddr::from([192, 0, 2, 2]));
    let error = eth0.add_address([192, 0, 2, 1], 24).unwrap_err();
    assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::AlreadyExists), "{error}");
    assert!(error.to_string().starts_with("failed to add address 192.0.2.1/24 to `one/eth0`"), "{error}");
    eth0.remove_address([192, 0, 2, 1], 24)?;
    let error = eth0.remove_address([192, 0, 2, 1], 24).unwrap_err();
    assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::AddrNotAvailable), "{error}");
    eth0.set_mtu(1280)?;
    assert_eq!(eth0.link()?.mtu, 1280);
    let text = one.interface("eth7").unwrap_err().to_string();
    assert!(text.contains("`one` has no interface `eth7`") && text.ends_with("`eth0`"), "{text}");
    Ok(())
}

#[netns_test]
fn an_interface_that_was_made_without_a_handle_is_found(one: Node) -> io::Result<()> {
    const SIOCBRADDBR: u16 = 0x89a0;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    // SAFETY: the kernel reads a name of at most 16 bytes, which ends with a zero.
    let made = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCBRADDBR.into(), c"br7".as_ptr()) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    let text = one.interface("br7").unwrap_err().to_string();
    assert!(text.contains("only `lo`, `eth0`; one of that name is in the body's own namespace"), "{text}");
    Ok(())
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), routes = connected)]
async fn routes_are_added_and_removed(client: Node, server: Node, r: Node) -> io::Result<()> {
    let listener = server.listen_tcp("[::]:80").await?;
    let far: Vec<IpAddr> = r.interface("eth1")?.addresses()?.iter().map(|address| address.ip).collect();
    for (to, all, gateway) in [
        (IpAddr::from(server.ip4()), IpAddr::from([0; 4]), IpAddr::from(r.ip4())),
        (server.ip6().into(), IpAddr::from([0; 16]), r.ip6().into()),
    ] {
        let back = *far.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).expect("it has both families");
        let whole = if to.is_ipv4() { 32 } else { 128 };
        assert_eq!(client.connect_tcp((to, 80)).await.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
        client.add_route(to, whole, gateway)?;
        server.add_route(all, 0, back)?;
        client.connect_tcp((to, 80)).await?;
        listener.accept().await?;

        // A prefix has one.
        let error = client.add_route(to, whole, gateway).unwrap_err();
        assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::AlreadyExists), "{error}");
        client.remove_route(to, whole, gateway)?;
        assert_eq!(client.connect_tcp((to, 80)).await.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
        let error = client.remove_route(to, whole, gateway).unwrap_err();
        assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::NotFound), "{error}");
        let text = format!(
            "failed to remove route {to}/{whole} via {gateway} from `client`: `client` has no such route"
        );
        assert_eq!(error.to_string(), text);

        // One that a program made, and one of the kernel's: removed by whoever asks.
        let eth0 = client.interface("eth0")?;
        client.add_route(all, 0, gateway)?;
        eth0.remove_route(all, 0)?;
        let connected = client.route_to(gateway)?;
        let own = client.routes()?.into_iter().find(|route| {
            route.link == connected.link
                && route.protocol == RouteProtocol::Kernel
                && route.table == Route::MAIN_TABLE
                && route.destination.is_ipv4() == to.is_ipv4()
                && !matches!(route.destination, IpAddr::V6(ip) if ip.is_unicast_link_local() || ip.is_multicast())
        });
        let own = own.expect("the link's");
        eth0.remove_route(own.destination, own.prefix_len)?;
        let error = client.add_route(to, whole, gateway).unwrap_err();
        let kind = error.io().map(io::Error::kind);
        assert!(
            matches!(kind, Some(ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable)),
            "the gateway is on no link: {error}"
        );
        eth0.add_route(own.destination, own.prefix_len)?;
        client.add_route(to, whole, gateway)?;
        client.connect_tcp((to, 80)).await?;
        listener.accept().await?;
    }
    Ok(())
}

#[netns_test(nodes = 2)]
fn routes_that_cannot_be(one: Node, other: Node) -> io::Result<()> {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let eth0 = one.interface("eth0")?;
    for (error, text) in [
        (
            one.add_route([10, 9, 0, 1], 24, other.ip4()),
            "failed to add route 10.9.0.1/24 via 10.0.0.2 to `one`: `10.9.0.1/24` has bits set beyond its length: write `10.9.0.0/24`",
        ),
        (
            one.remove_route(ip("fd00::1"), 64, other.ip6()),
            "`fd00::1/64` has bits set beyond its length: write `fd00::/64`",
        ),
        (
            eth0.add_route([10, 9, 0, 0], 33),
            "failed to add route 10.9.0.0/33 to `one/eth0`: `10.9.0.0/33` has no length that IPv4 has",
        ),
        (eth0.remove_route([10, 9, 0, 1], 24), "write `10.9.0.0/24`"),
        (
            one.add_route(ip("fd00::"), 64, ip("fe80::1")),
            "a link-local address is one of every link: write another of the gateway's",
        ),
        (
            one.add_route(ip("fd00::"), 64, other.ip4()),
            "no gateway of IPv6 packets has an IPv4 address: write its IPv6 address",
        ),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    // An IPv4 prefix by way of an IPv6 address.
    one.add_route([10, 9, 0, 0], 24, other.ip6())?;
    assert_eq!(one.route_to([10, 9, 0, 7])?.gateway, Some(other.ip6().into()));
    eth0.down().expect("it is on");
    let error = eth0.add_route([10, 10, 0, 0], 24).unwrap_err();
    assert_eq!(error.io().map(io::Error::kind), Some(ErrorKind::NetworkDown), "{error}");
    eth0.up().expect("it is off");
    assert_eq!(one.route_to([10, 9, 0, 7])?.gateway, Some(other.ip6().into()));
    Ok(())
}

#[netns_test(nodes = 2, timeout = 5s)]
async fn waiting_in_vain_tells_what_was_there(client: Node, server: Node) -> io::Result<()> {
    let _listener = server.listen_tcp("0.0.0.0:81").await?;
    let error = server.wait_listening(80).await.unwrap_err().to_string();
    for wanted in
        ["failed to wait for a listener on", "port 80 in `server`", "10.0.0.2", "2001:db8::2", "eth0", ":81"]
    {
        assert!(error.contains(wanted), "`{wanted}` is not in\n{error}");
    }
    // The time is up for the others, too, and they tell at once.
    let error = client.wait_until("a miracle", |_| Ok(false)).await.unwrap_err().to_string();
    assert!(
        error.contains("wait for a miracle in `client`") && error.contains("no TCP or UDP socket"),
        "{error}"
    );
    Ok(())
}

#[netns_test(nodes = 2, timeout = 5s)]
fn waiting_in_vain_in_a_plain_function(client: Node, _server: Node) {
    let error = client.blocking_wait_bound_udp(53).unwrap_err().to_string();
    assert!(error.contains("port 53 in `client`") && error.contains("no TCP or UDP socket"), "{error}");
    let error = client.blocking_wait_until("its own error", |_| Err(io::Error::other("no"))).unwrap_err();
    assert_eq!(error.to_string(), "failed to wait for its own error in `client`: no");
}

#[netns_test(nodes = 1)]
async fn waiting_ends_with_the_listener(server: Node) -> io::Result<()> {
    server.spawn(async || tokio::net::TcpListener::bind("0.0.0.0:80").await?.accept().await);
    server.spawn(async || {
        let socket = tokio::net::UdpSocket::bind("[::]:53").await?;
        socket.recv(&mut [0; 1]).await
    });
    server.wait_listening(80).await?;
    server.wait_bound_udp(53).await?;
    let sockets = server.sockets()?;
    assert!(sockets.iter().any(|socket| socket.is_listening() && socket.local.port() == 80), "{sockets:?}");
    // Only that one.
    assert!(sockets.iter().all(|socket| [53, 80].contains(&socket.local.port())), "{sockets:?}");
    Ok(())
}

#[netns_test(nodes = 2)]
fn settings_of_one_node(one: Node, other: Node) -> io::Result<()> {
    one.set_sysctl("net.ipv4.ip_forward", 1)?;
    assert_eq!(one.sysctl("net.ipv4.ip_forward")?, "1");
    assert_eq!(one.sysctl("net/ipv4/ip_forward")?, "1");
    assert_eq!(other.sysctl("net.ipv4.ip_forward")?, "0");
    one.set_sysctl("net.ipv4.tcp_syn_retries", 2)?;
    assert_ne!(other.sysctl("net.ipv4.tcp_syn_retries")?, "2");
    assert_eq!(one.sysctl("net.ipv4.no_such_setting").unwrap_err().kind(), ErrorKind::NotFound);
    let error = one.sysctl("kernel.hostname").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`kernel.hostname` is a setting of the host"), "{error}");
    assert!(one.set_sysctl("net.ipv4.ip_forward", "maybe").is_err());
    for outside in ["net/../kernel/hostname", "net.../kernel/hostname"] {
        assert!(one.sysctl(outside).is_err(), "{outside}");
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn the_namespace_as_a_file(one: Node, other: Node) {
    let inode =
        |node: &Node| File::from(node.netns_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino();
    let (of_one, of_other) = (inode(&one), inode(&other));
    assert_ne!(of_one, of_other);
    let seen = one.run(async || std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino()).await;
    assert_eq!(seen, of_one);
}

#[netns_test(nodes = 2)]
async fn neighbours_are_told(client: Node, server: Node) -> io::Result<()> {
    let socket = client.bind_udp((client.ip4(), 0)).await?;
    socket.send_to(b"!", "10.0.0.9:9").await?;
    client
        .wait_until("the neighbour that does not answer", |client| {
            let asked = IpAddr::from([10, 0, 0, 9]);
            Ok(client.neighbours()?.iter().any(|of| of.ip == asked && of.is_silent()))
        })
        .await?;
    let listener = server.listen_tcp((server.ip4(), 7)).await?;
    let _out = client.connect_tcp((server.ip4(), 7)).await?;
    listener.accept().await?;
    let neighbours = client.neighbours()?;
    let found = neighbours.iter().find(|of| of.ip == server.ip4()).expect("the server");
    assert_eq!(found.mac, server.interface("eth0")?.link()?.mac);
    assert_ne!(found.state, NeighbourState::Failed);
    Ok(())
}

#[netns_test(nodes = 3)]
fn nodes_are_looked_up(client: Node, web_server: Node, _proxy: Node, network: Network) -> Result<(), Error> {
    assert_eq!(network.node("web-server")?.ip(), web_server.ip());
    assert_eq!(network.node("web_server")?.ip(), web_server.ip());
    assert_eq!(network.test_name(), "nodes_are_looked_up");
    assert_eq!(client.network().unwrap().nodes().len(), 3);
    let error = network.node("cliemt").unwrap_err().to_string();
    assert_eq!(error, "failed to find the node `cliemt`: did you mean `client`?");
    let error = network.node("database").unwrap_err().to_string();
    assert_eq!(error, "failed to find the node `database`: there are `client`, `web-server`, `proxy`");
    let current = Network::current()?;
    assert_eq!(current.node("proxy")?.name(), "proxy");
    assert!(current.deadline().is_some());
    Ok(())
}

#[netns_test]
fn a_network_without_nodes(network: Network) {
    assert!(network.nodes().is_empty());
    let error = network.node("client").unwrap_err().to_string();
    assert_eq!(error, "failed to find the node `client`: the network has no nodes");
}

/// A type of the user's own.
struct Pair {
    name: String,
    client: Node,
    server: Node,
}

impl FromNetwork for Pair {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        let [client, server] = [argument.node("node-0")?, argument.node("node-1")?];
        assert_eq!(argument.network().nodes().len(), 2);
        Ok(Self { name: argument.name().to_owned(), client, server })
    }
}

#[netns_test(nodes = 2)]
async fn a_type_of_the_users_own(both_ends: Pair, network: Network) -> io::Result<()> {
    assert_eq!(both_ends.name, "both-ends");
    assert_eq!(both_ends.client.ip(), network.nodes()[0].ip());
    let listener = both_ends.server.listen_tcp(7).await?;
    let _out = both_ends.client.connect_tcp("node-1:7").await?;
    listener.accept().await.map(drop)
}

#[netns_test(nodes = 2, family = v4)]
fn an_address_of_the_other_family_is_a_clear_error(one: Node, _other: Node) {
    let payload = catch_unwind(AssertUnwindSafe(|| one.ip6())).unwrap_err();
    let text = payload.downcast_ref::<String>().expect("a text");
    assert_eq!(text, "the node `one` has no IPv6 address: its network is `family = v4`");
}

#[netns_test(nodes = 2)]
async fn endpoints(client: Node, server: Node) -> io::Result<()> {
    // The wildcard takes both families, and shows IPv4 peers as mapped ones.
    let listener = server.listen_tcp("[::]:7").await?;
    let _out = client.connect_tcp((server.ip4(), 7)).await?;
    let (_inc, peer) = listener.accept().await?;
    assert_eq!(peer.ip(), IpAddr::V6(client.ip4().to_ipv6_mapped()));
    let _out = client.connect_tcp((&server, 7)).await?;
    assert_eq!(listener.accept().await?.1.ip(), client.ip());
    let error = client.connect_tcp("server").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("`server` is no endpoint"), "{error}");
    // The kernel's own errors.
    assert_eq!(server.listen_tcp("[::]:7").await.unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(server.listen_tcp((client.ip(), 8)).await.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    assert_eq!(client.connect_tcp("server:8").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

#[netns_test(nodes = 2)]
fn plain_functions_have_all_of_it(client: Node, server: Node) -> io::Result<()> {
    let listener = server.blocking_listen_tcp(7)?;
    let out = client.blocking_connect_tcp("server:7")?;
    assert_eq!(listener.accept()?.1, out.local_addr()?);
    server.blocking_wait_listening(7)?;
    let (one, other) = (client.blocking_bind_udp(9)?, server.blocking_bind_udp(9)?);
    one.send_to(b"hi", other.local_addr()?)?;
    let mut buffer = [0; 2];
    assert_eq!(other.recv_from(&mut buffer)?, (2, (client.ip(), 9).into()));
    Ok(())
}

static KEPT: Mutex<Option<(Node, Network)>> = Mutex::new(None);

#[netns_test(nodes = 1)]
#[ignore = "a part of `a_handle_that_outlives_its_test_says_so`"]
fn keeps_its_handles(server: Node, network: Network) {
    // One with a thread, and a socket.
    server.blocking_run(async || {});
    *KEPT.lock().unwrap() = Some((server, network));
}

#[test]
fn a_handle_that_outlives_its_test_says_so() {
    keeps_its_handles();
    let (node, network) = KEPT.lock().unwrap().take().expect("the handles");
    let wanted = "the node `server` belongs to the test `keeps_its_handles`, which has ended";
    let errors = [
        node.links().unwrap_err(),
        node.addresses().unwrap_err(),
        node.routes().unwrap_err(),
        node.neighbours().unwrap_err(),
        node.sockets().unwrap_err(),
        node.sysctl("net.ipv4.ip_forward").unwrap_err(),
        node.set_sysctl("net.ipv4.ip_forward", 1).unwrap_err(),
        node.interface("eth0").unwrap_err(),
        node.network().unwrap_err(),
        node.blocking_connect_tcp(7).unwrap_err(),
        node.blocking_listen_tcp("localhost:7").unwrap_err(),
        node.blocking_bind_udp(7).unwrap_err(),
        node.blocking_wait_listening(7).unwrap_err().into(),
        network.nodes()[0].links().unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains(wanted), "{error}");
    }
    let calls: [&dyn Fn(); 4] = [
        &|| node.enter(|| {}),
        &|| node.blocking_run(async || {}),
        &|| drop(node.spawn(async || {})),
        &|| drop(node.spawn_thread("late", || {})),
    ];
    for call in calls {
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let text = payload.downcast_ref::<String>().expect("a text");
        assert!(text.contains(wanted), "{text}");
    }
    // What is known without asking stays known.
    assert_eq!((node.name(), network.test_name()), ("server", "keeps_its_handles"));
}
