//! Any network: what was declared is what the kernel has, and everything reaches everything over the routers.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netns_test::state::Route;
use netns_test::{
    Addresses, Ecn, Error, Family, Icmp, Nat, Network, Node, Percent, Queue, Rate, Router, Routes, Topology,
    Wire, netns_test,
};

/// After so long a datagram counts as lost. One that is not lost arrives within milliseconds.
const LOST: Duration = Duration::from_secs(15);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Every address of a node but link-local and loopback ones, as the kernel has them.
fn addresses(node: &Node) -> Vec<IpAddr> {
    let all = node.addresses().expect("the kernel's addresses").into_iter().map(|address| address.ip);
    all.filter(|ip| match ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    })
    .collect()
}

/// Connects every node to every address of every other, and to its name.
async fn everything_reaches_everything(network: &Network) -> io::Result<()> {
    for to in network.nodes() {
        let listener = to.listen_tcp("[::]:80").await?;
        for from in network.nodes() {
            for ip in addresses(&to) {
                from.connect_tcp((ip, 80)).await.map_err(|error| failed(&from, &to, ip, &error))?;
                listener.accept().await?;
            }
            let out = from.connect_tcp((to.name(), 80)).await?;
            assert_eq!(out.peer_addr()?.ip(), to.ip(), "{} to {}", from.name(), to.name());
            listener.accept().await?;
        }
    }
    Ok(())
}

fn failed(from: &Node, to: &Node, ip: IpAddr, error: &io::Error) -> io::Error {
    io::Error::other(format!("{} to {} at {ip}: {error}", from.name(), to.name()))
}

/// The addresses of one interface with their lengths, IPv4 first, link-local ones left out.
fn on(node: &Node, interface: &str) -> Vec<String> {
    let index = node.interface(interface).expect("the interface").index();
    let mut all = node.addresses().expect("the kernel's addresses");
    all.retain(|of| of.link == index && addresses(node).contains(&of.ip));
    all.sort_by_key(|of| (of.ip.is_ipv6(), of.ip));
    all.iter().map(|of| format!("{}/{}", of.ip, of.prefix_len)).collect()
}

/// The routes of the main table that lead through a router, as `ip route` writes them.
fn ways(node: &Node) -> Vec<String> {
    let links = node.links().expect("the kernel's links");
    let mut routes = node.routes().expect("the kernel's routes");
    routes.retain(|route| route.table == Route::MAIN_TABLE && route.gateway.is_some());
    let mut lines: Vec<String> = routes.iter().map(|route| route.with_names(&links).to_string()).collect();
    lines.sort();
    lines
}

#[netns_test(
    nodes(client, server),
    routers(r1, r2, r3),
    links(client -- r1, r1 -- r2, r2 -- r3, r3 -- server),
)]
async fn a_chain_of_routers(network: Network, client: Node, server: Node, r1: Router) -> io::Result<()> {
    assert_eq!(client.ip(), ip("2001:db8:1::1"));
    assert_eq!((client.ip4(), server.ip4()), ([10, 1, 0, 1].into(), [10, 1, 3, 2].into()));
    assert_eq!(
        ways(&client),
        ["default via 10.1.0.2 dev eth0", "default via 2001:db8:1::2 dev eth0 metric 1024"]
    );
    assert_eq!(
        ways(&r1),
        [
            "10.1.2.0/24 via 10.1.1.2 dev eth1",
            "10.1.3.0/24 via 10.1.1.2 dev eth1",
            "2001:db8:1:2::/64 via 2001:db8:1:1::2 dev eth1 metric 1024",
            "2001:db8:1:3::/64 via 2001:db8:1:1::2 dev eth1 metric 1024",
        ]
    );
    for (node, forwards) in [(&client, "0"), (r1.node(), "1")] {
        assert_eq!(node.sysctl("net.ipv4.ip_forward")?, forwards);
        assert_eq!(node.sysctl("net.ipv6.conf.all.forwarding")?, forwards);
    }
    everything_reaches_everything(&network).await
}

#[netns_test(
    nodes(a, b),
    routers(r1, r2, r3, r4),
    links(a -- r1, r1 -- r2, r1 -- r3, r2 -- r4, r3 -- r4, r4 -- b),
)]
async fn a_diamond(network: Network, r1: Router, b: Node) -> io::Result<()> {
    // Both ways are as short: the first declared is taken.
    assert_eq!(r1.route_to(b.ip4())?.gateway, Some(ip("10.1.1.2")));
    everything_reaches_everything(&network).await
}

#[netns_test(
    nodes(a, b, c, d, e),
    routers(r),
    switches(left, right),
    links(a -- left, b -- left, c -- left, r -- left, r -- right, d -- right, e -- right),
)]
async fn two_switches_behind_a_router(network: Network, a: Node, b: Node, d: Node) -> io::Result<()> {
    assert_eq!(on(&b, "eth0"), ["10.1.0.2/24", "2001:db8:1::2/64"]);
    // What is on a switch stays on it: the neighbour answers itself, what is behind the router does not.
    assert_eq!(a.route_to(b.ip4())?.gateway, None);
    assert_eq!(a.route_to(d.ip4())?.gateway, Some(ip("10.1.0.4")));
    everything_reaches_everything(&network).await?;
    let neighbours = a.neighbours()?;
    assert!(neighbours.iter().all(|neighbour| neighbour.ip != IpAddr::V4(d.ip4())), "{neighbours:?}");
    Ok(())
}

#[netns_test(
    nodes(a, b, c, d),
    switches(s, t, u),
    links(a -- s, s -- t, t -- u, u -- s, b -- t, c -- u, d -- u),
)]
async fn switches_that_are_joined_are_one(network: Network, a: Node, d: Node) -> io::Result<()> {
    assert_eq!((a.ip4(), d.ip4()), ([10, 1, 0, 1].into(), [10, 1, 0, 4].into()));
    everything_reaches_everything(&network).await
}

#[netns_test(
    nodes(home, a, b),
    routers(r1, r2),
    links(home -- r1, home -- r2, r1 -- a, r2 -- b, r1 -- r2),
)]
async fn a_host_with_two_links(network: Network, home: Node, a: Node, b: Node) -> io::Result<()> {
    assert_eq!(on(&home, "eth1"), ["10.1.1.1/24", "2001:db8:1:1::1/64"]);
    assert_eq!(home.route_to(a.ip4())?.gateway, Some(ip("10.1.0.2")));
    assert_eq!(home.route_to(b.ip4())?.gateway, Some(ip("10.1.1.2")));
    everything_reaches_everything(&network).await?;
    // Both of its addresses are its name's.
    let found = a.connect_tcp((home.name(), 1)).await.unwrap_err();
    assert_eq!(found.kind(), io::ErrorKind::ConnectionRefused);
    let all = a.enter(|| std::fs::read_to_string("/etc/hosts"))?;
    let own: Vec<&str> = all.lines().filter_map(|line| line.strip_suffix(" home")).collect();
    assert_eq!(own, ["2001:db8:1::1", "10.1.0.1", "10.1.1.1", "2001:db8:1:1::1"]);
    Ok(())
}

#[netns_test(
    nodes(a, b),
    routers(r1, r2),
    links(a -- r1, a -- r1, r1 -- r2 { prefix = ["192.0.2.0/31", "fd00:9::/127"] }, r1 -- r2, r2 -- b),
)]
async fn parallel_links(network: Network, a: Node, r2: Router) -> io::Result<()> {
    assert_eq!(a.interfaces()?.len(), 2);
    // Prefixes of two addresses, for two (RFC 3021, RFC 6164).
    assert_eq!(on(&r2, "eth0"), ["192.0.2.1/31", "fd00:9::1/127"]);
    everything_reaches_everything(&network).await
}

#[netns_test(
    nodes(client, server),
    routers(r1, r2),
    switches(s),
    links(
        client -- r1 { mtu = 1400, prefix = ["192.0.2.0/30", "fd00:1::/64"] },
        r1.swp1 -- r2."uplink.7" { mtu = 1300 },
        r2.lan -- s { mtu = 9000, prefix = "10.7.0.0/16" },
        server -- s { server = ["10.7.0.5/16", "10.7.9.9", "2001:db8:7::5/48"] },
        client.eth7 -- s,
    ),
)]
async fn what_was_declared_is_what_the_kernel_has(
    network: Network,
    client: Node,
    server: Node,
    r1: Router,
    r2: Router,
) -> io::Result<()> {
    assert_eq!(on(&client, "eth0"), ["192.0.2.1/30", "fd00:1::1/64"]);
    assert_eq!(on(&client, "eth7"), ["10.7.0.2/16", "2001:db8:7::2/48"]);
    assert_eq!(on(&r1, "eth0"), ["192.0.2.2/30", "fd00:1::2/64"]);
    assert_eq!(on(&r1, "swp1"), ["10.1.1.1/24", "2001:db8:1:1::1/64"]);
    assert_eq!(on(&r2, "uplink.7"), ["10.1.1.2/24", "2001:db8:1:1::2/64"]);
    assert_eq!(on(&r2, "lan"), ["10.7.0.1/16", "2001:db8:7::1/48"]);
    assert_eq!(on(&server, "eth0"), ["10.7.0.5/16", "10.7.9.9/16", "2001:db8:7::5/48"]);
    assert_eq!((server.ip4(), server.ip6()), ([10, 7, 0, 5].into(), "2001:db8:7::5".parse().unwrap()));
    for (node, interface, mtu) in [
        (&client, "eth0", 1400),
        (&client, "eth7", 1500),
        (&r1, "eth0", 1400),
        (&r1, "swp1", 1300),
        (&r2, "uplink.7", 1300),
        (&r2, "lan", 9000),
        (&server, "eth0", 1500),
    ] {
        assert_eq!(node.interface(interface)?.link()?.mtu, mtu, "{}/{interface}", node.name());
    }
    let names: Vec<String> = r2.interfaces()?.iter().map(|interface| interface.name().to_owned()).collect();
    assert_eq!(names, ["uplink.7", "lan"]);
    assert_eq!(r2.interface("lan")?.link()?.mac, Some([0x02, b'n', b't', 1, 0, 4]));
    everything_reaches_everything(&network).await
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v6, run_in = client)]
async fn one_family_and_a_body_in_a_node(network: Network, server: Node) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    let out = tokio::net::TcpStream::connect("server:80").await?;
    listener.accept().await?;
    assert_eq!(out.local_addr()?.ip(), ip("2001:db8:1::1"));
    let all: Vec<IpAddr> = network.nodes().iter().flat_map(addresses).collect();
    assert!(all.iter().all(IpAddr::is_ipv6), "{all:?}");
    Ok(())
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), routes = connected)]
async fn connected_is_what_is_on_the_link(client: Node, server: Node, r: Router) -> io::Result<()> {
    let listener = r.listen_tcp(80).await?;
    client.connect_tcp("r:80").await?;
    listener.accept().await?;
    assert_eq!(client.route_to(server.ip4()).unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
    assert_eq!(client.route_to(server.ip6()).unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
    assert_eq!(ways(&r), <[String; 0]>::default());
    Ok(())
}

#[netns_test(nodes(client, server), links(client -- server), routes = none)]
fn no_routes_are_none(client: Node, server: Node) {
    assert_eq!(on(&client, "eth0"), ["10.1.0.1/24", "2001:db8:1::1/64"]);
    for to in [IpAddr::from(server.ip4()), server.ip6().into()] {
        assert_eq!(client.route_to(to).unwrap_err().kind(), io::ErrorKind::NetworkUnreachable);
    }
    let main = client.routes().unwrap();
    let main: Vec<_> = main
        .iter()
        .filter(|route| route.table == Route::MAIN_TABLE && route.destination != ip("fe80::"))
        .collect();
    assert!(main.is_empty(), "{main:?}");
}

#[netns_test(nodes(client, server), links(client -- server { server = "10.7.0.1/24" }), addresses = none)]
fn no_addresses_are_those_that_are_written(client: Node, server: Node) {
    assert_eq!(on(&client, "eth0"), <[String; 0]>::default());
    assert_eq!(on(&server, "eth0"), ["10.7.0.1/24"]);
    assert_eq!(server.ip(), ip("10.7.0.1"));
    // The link is there: an address can be given to it.
    client.interface("eth0").unwrap().add_address(ip("10.7.0.2"), 24).unwrap();
    let listener = server.blocking_listen_tcp(80).unwrap();
    client.blocking_connect_tcp("server:80").unwrap();
    listener.accept().unwrap();
    let error = client.blocking_listen_tcp(80).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the node `client` has no address: it has no link, or was declared without addresses"
    );
}

#[netns_test(nodes(one, other))]
fn nodes_without_links(one: Node, network: Network) {
    assert_eq!(network.nodes().len(), 2);
    assert_eq!(one.interfaces().unwrap().len(), 0);
    let caught = std::panic::catch_unwind(|| one.ip()).unwrap_err();
    let text = caught.downcast_ref::<String>().unwrap();
    assert!(text.contains("the node `one` has no address"), "{text}");
}

static SENT: AtomicU32 = AtomicU32::new(0);

/// The first datagram of a network, over IPv6 or IPv4, forth or back, in turn.
fn first_datagram(one: &Node, other: &Node) {
    let number = SENT.fetch_add(1, Ordering::Relaxed);
    let position = (number % 2) as usize;
    let (from, to) = match number / 2 % 2 {
        0 => (one, other),
        _ => (other, one),
    };
    let own = |node: &Node| [IpAddr::V6(node.ip6()), node.ip4().into()][position];
    let receiver = to.blocking_bind_udp((own(to), 9)).expect("a receiver");
    receiver.set_read_timeout(Some(LOST)).expect("a limit");
    let sender = from.blocking_bind_udp((own(from), 0)).expect("a sender");
    sender.send_to(b"first", (own(to), 9)).expect("the first packet");
    let mut buffer = [0; 8];
    assert_eq!(receiver.recv(&mut buffer).expect("the first packet arrives"), 5);
}

#[netns_test(
    nodes(client, server),
    routers(r1, r2),
    links(client -- r1, r1 -- r2, r2 -- server),
)]
#[ignore = "a part of `first_datagrams_arrive_across_routers`"]
fn first_over_a_chain(client: Node, server: Node) {
    first_datagram(&client, &server);
}

#[netns_test(
    nodes(client, other, server, fourth),
    routers(r),
    switches(s, t),
    links(client -- s, other -- s, r -- s, r -- t, server -- t, fourth -- t),
)]
#[ignore = "a part of `first_datagrams_arrive_across_routers`"]
fn first_over_switches(client: Node, server: Node) {
    first_datagram(&client, &server);
}

#[test]
fn first_datagrams_arrive_across_routers() {
    for _ in 0..40 {
        first_over_a_chain();
        first_over_switches();
    }
}

/// The chain of the attribute above, in code.
fn chain() -> Topology {
    let mut chain = Topology::new();
    chain.node("client").node("server").router("r1").router("r2").router("r3");
    for (left, right) in [("client", "r1"), ("r1", "r2"), ("r2", "r3"), ("r3", "server")] {
        chain.link(left, right);
    }
    chain
}

#[netns_test(topology = chain())]
async fn a_chain_in_code(network: Network, client: Node, server: Node, r1: Router) -> io::Result<()> {
    assert_eq!(server.ip4(), std::net::Ipv4Addr::new(10, 1, 3, 2));
    assert_eq!(
        ways(&client),
        ["default via 10.1.0.2 dev eth0", "default via 2001:db8:1::2 dev eth0 metric 1024"]
    );
    assert_eq!(network.routers().len(), 3);
    assert_eq!(r1.name(), "r1");
    everything_reaches_everything(&network).await
}

/// A link with each condition but loss and rates, said one by one.
fn conditioned() -> Topology {
    let (ms, mut pair) = (Duration::from_millis, Topology::new());
    pair.node("a").node("b");
    let link = pair.link("a", "b").delay(ms(3)).jitter(ms(1)).duplicate(Percent(1.0)).reorder(Percent(2.0));
    link.corrupt(Percent(3.0)).ecn(Ecn::Bleach).icmp(Icmp::Drop).wire(Wire::User);
    pair
}

#[netns_test(topology = conditioned())]
async fn conditions_in_code_one_by_one(network: Network, a: Node, b: Node) -> io::Result<()> {
    let said =
        "delay = 3ms, jitter = 1ms, duplicate = 1%, reorder = 2%, corrupt = 3%, ecn = bleach, icmp = drop";
    for node in [&a, &b] {
        assert_eq!(network.link(&a, &b)?.from(node)?.conditions().to_string(), said);
    }
    Ok(())
}

fn many(nodes: usize) -> Topology {
    let mut many = Topology::new();
    many.switch("s").router("r").switch("t").family(Family::V4);
    many.link("r.wan", "s").prefix("10.64.0.0/10").mtu(1400);
    many.link("r", "t");
    for number in 0..nodes {
        many.node(format!("web_{number}"));
        many.link(format!("web_{number}"), if number % 2 == 0 { "s" } else { "t" });
    }
    many
}

#[netns_test(topology = many(4), run_in = web_0)]
async fn arrays_and_a_place_for_the_body(web: [Node; 4], r: Node) -> io::Result<()> {
    let listener = web[3].listen_tcp(80).await?;
    tokio::net::TcpStream::connect("web-3:80").await?;
    let (_, peer) = listener.accept().await?;
    assert_eq!(peer.ip(), ip("10.64.0.2"));
    assert_eq!(r.interface("wan")?.link()?.mtu, 1400);
    Ok(())
}

fn bare() -> Topology {
    let mut bare = Topology::new();
    bare.node("a").node("b").addresses(Addresses::None).routes(Routes::None);
    bare.link("a.one", "b").address("a", "10.7.0.1/24").address("b", "10.7.0.2");
    bare
}

#[netns_test(topology = bare())]
fn less_in_code(a: Node, b: Node) {
    assert_eq!(
        (on(&a, "one"), on(&b, "eth0")),
        (vec!["10.7.0.1/24".to_owned()], vec!["10.7.0.2/24".to_owned()])
    );
    assert!(a.route_to(b.ip4()).is_err());
}

/// A test that asks for a node of a topology that it does not have.
#[netns_test(topology = chain())]
#[ignore = "fails on purpose"]
fn a_misspelt_argument(clinet: Node) {
    drop(clinet);
}

#[netns_test(topology = chain())]
#[ignore = "fails on purpose"]
fn a_node_is_no_router(client: Router) {
    drop(client);
}

#[netns_test(topology = { let mut wrong = chain(); wrong.link("client", "sever").mtu(60); wrong })]
#[ignore = "fails on purpose"]
fn a_wrong_topology(client: Node) {
    drop(client);
}

#[test]
fn what_is_wrong_with_a_topology_is_told_by_the_test() {
    use netns_test_tests::rerun;
    rerun("a_misspelt_argument").run().failed_with(&["find the node `clinet`", "did you mean `client`?"]);
    rerun("a_node_is_no_router").run().failed_with(&["`client` was declared as a node: take it as `Node`"]);
    rerun("a_wrong_topology").run().failed_with(&[
        "the topology cannot be built",
        "there is no `sever`: did you mean `server`?",
        "`mtu = 60` is too small",
    ]);
}

#[test]
fn the_builder_refuses_at_once_and_tells_everything() {
    let mut wrong = Topology::new();
    wrong.node("client").node("client").router("r").switch("s");
    wrong.link("client.a/b", "r").prefix("10.1.0.5/24");
    wrong.link("r", "r");
    let error: Error = wrong.check().unwrap_err();
    for text in [
        "failed to build the topology: `client` is declared twice",
        "`a/b` is no name of an interface",
        "`10.1.0.5/24` has bits set beyond its length: write `10.1.0.0/24`",
        "`r` is linked to itself",
    ] {
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
    assert!(chain().check().is_ok() && many(4).check().is_ok() && bare().check().is_ok());
}

/// The mistakes of `ui/fail/graph_addresses.rs`, made in code.
#[test]
fn the_builder_has_the_words_of_the_attribute() {
    let mut overlap = Topology::new();
    overlap.node("a").node("b").node("c");
    overlap.link("a", "b").prefix("10.1.0.0/16");
    overlap.link("b", "c").prefix("10.1.9.0/24");
    overlap.link("c", "a").prefix("10.2.0.0/24").prefix("10.3.0.0/24");

    let mut prefixes = Topology::new();
    prefixes.node("a").node("b");
    for prefix in ["10.1.0.5/24", "10.2.0.0", "here", "127.0.0.0/24", "10.3.0.0/32", "10.4.0.0/33"] {
        prefixes.link("a", "b").prefix(prefix);
    }

    let mut addresses = Topology::new();
    addresses.node("a").node("b").switch("s");
    addresses.link("a", "b").prefix("10.1.0.0/24").address("a", "10.2.0.5").address("b", "10.1.0.5/16");
    addresses.link("a", "b").address("a", "10.3.0.5/24").address("b", "10.3.0.5").address("b", "10.3.0.0");
    addresses.link("a", "b").address("a", "10.4.0.5");
    addresses.link("a", "s").address("s", "10.5.0.1/24").prefix("10.5.0.0/24");
    addresses.link("b", "s").prefix("10.6.0.0/24");

    let mut families = Topology::new();
    families.node("a").node("b").family(Family::V6);
    families.link("a", "b").prefix("10.1.0.0/24").address("a", "2001:db8::1/64");

    let compiled = include_str!("../ui/fail/graph_addresses.stderr");
    let mut wanted: Vec<&str> = compiled.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    let mut found = Vec::new();
    for topology in [overlap, prefixes, addresses, families] {
        let error = topology.check().unwrap_err().to_string();
        let problems = error.strip_prefix("failed to build the topology: ").expect("the operation");
        found.extend(problems.split("; ").map(str::to_owned));
    }
    wanted.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, wanted);
}

#[netns_test(
    nodes(spoke_0, spoke_1, spoke_2),
    routers(hub),
    links(spoke_0 -- hub, spoke_1 -- hub, spoke_2 -- hub),
)]
async fn an_array_takes_the_nodes_of_its_name(
    spoke: [Node; 3],
    hub: Router,
    network: Network,
) -> io::Result<()> {
    let names: Vec<&str> = spoke.iter().map(Node::name).collect();
    assert_eq!(names, ["spoke-0", "spoke-1", "spoke-2"]);
    assert_eq!(spoke[2].route_to(spoke[0].ip4())?.gateway, Some(on_router(&hub, "eth2")?));
    everything_reaches_everything(&network).await
}

/// The IPv4 address of a router's interface.
fn on_router(router: &Router, interface: &str) -> io::Result<IpAddr> {
    let all = router.interface(interface)?.addresses()?;
    Ok(all.iter().map(|address| address.ip).find(IpAddr::is_ipv4).expect("an IPv4 address"))
}

/// A network with one mistake, and the messages that the attribute has for its like.
type Mistake = (fn(&mut Topology), &'static str);

/// What the compiler says to the UI cases of the same mistakes: the builder's words are among it.
const MISTAKES: &[(&str, Mistake)] = &[
    (
        "overlaps",
        (
            |bad| {
                bad.node("a").node("b").node("c");
                bad.link("a", "b").prefix("10.1.0.0/16");
                bad.link("b", "c").prefix("10.1.9.0/24");
            },
            include_str!("../ui/fail/graph_addresses.stderr"),
        ),
    ),
    (
        "is there twice",
        (
            |bad| {
                bad.node("a").node("b");
                bad.link("a", "b").address("a", "10.3.0.5/24").address("b", "10.3.0.5");
            },
            include_str!("../ui/fail/graph_addresses.stderr"),
        ),
    ),
    (
        "is too small",
        (
            |bad| {
                bad.node("a").node("b").link("a", "b").prefix("10.3.0.0/32");
            },
            include_str!("../ui/fail/graph_addresses.stderr"),
        ),
    ),
    (
        "overlaps",
        (
            |bad| {
                bad.node("a").node("b").node("c").router("isp");
                for (host, router) in [("a", "home"), ("b", "office")] {
                    bad.router(router).nat(Nat::home()).uplink("isp");
                    bad.link(host, router).prefix("192.168.1.0/24");
                }
                bad.link("home", "isp").prefix("192.168.0.0/16");
                bad.link("office", "isp");
            },
            include_str!("../ui/fail/graph_routers.stderr"),
        ),
    ),
    (
        "has several links and `nat`",
        (
            |bad| {
                bad.node("a").node("b").router("no_uplink").nat(Nat::home());
                bad.link("a", "no_uplink");
                bad.link("no_uplink", "b");
            },
            include_str!("../ui/fail/graph_routers.stderr"),
        ),
    ),
    (
        "is more than all packets",
        (
            |bad| {
                bad.node("a").node("b").link("a", "b").loss(Percent(120.0));
            },
            include_str!("../ui/fail/link_conditions.stderr"),
        ),
    ),
    (
        "is more than all packets",
        (
            |bad| {
                bad.node("a").node("b").link("a", "b").duplicate(Percent(101.0));
            },
            include_str!("../ui/fail/link_conditions.stderr"),
        ),
    ),
    (
        "lets nothing pass",
        (
            |bad| {
                bad.node("a").node("b").link("a", "b").rate(Rate::mbit(0));
            },
            include_str!("../ui/fail/link_conditions.stderr"),
        ),
    ),
    (
        "a queue of nothing",
        (
            |bad| {
                bad.node("a").node("b").link("a", "b").rate(Rate::mbit(1)).queue(Queue::Packets(0));
            },
            include_str!("../ui/fail/link_conditions.stderr"),
        ),
    ),
];

#[test]
fn the_builder_refuses_in_the_words_of_the_attribute() {
    for (cause, (build, compiler)) in MISTAKES {
        let mut bad = Topology::new();
        build(&mut bad);
        let error = bad.check().expect_err(cause).to_string();
        let message = error.strip_prefix("failed to build the topology: ").unwrap_or(&error);
        assert!(message.contains(cause), "{error}");
        assert!(compiler.contains(&format!("error: {message}\n")), "the attribute does not say: {message}");
    }
}
