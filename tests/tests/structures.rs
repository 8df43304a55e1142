//! A structure of handles declares its network once, and is one argument of many tests.

use std::io;

use netns_test::{Argument, Error, FromNetwork, Network, Node, Router, Topology, netns_test};
use netns_test_tests::rerun;

#[derive(FromNetwork)]
#[network(
    nodes(client, web_server),
    routers(r),
    links(client -- r { mtu = 1400 }, r -- web_server { prefix = "10.9.0.0/24" }),
    aliases(web_server = ["www.test"]),
)]
struct Lab {
    client: Node,
    web_server: Node,
    r: Router,
    network: Network,
}

#[netns_test]
async fn a_graph(lab: Lab) -> io::Result<()> {
    assert_eq!(lab.network.nodes().len(), 3);
    assert_eq!(lab.web_server.name(), "web-server");
    assert_eq!(lab.client.interface("eth0")?.link()?.mtu, 1400);
    let listener = lab.web_server.listen_tcp(80).await?;
    let _out = lab.client.connect_tcp("www.test:80").await?;
    listener.accept().await?;
    assert_eq!(lab.client.route_to(lab.web_server.ip4())?.gateway, Some(lab.r.ip4().into()));
    Ok(())
}

// Keys about the test stand beside it.
#[netns_test(run_in = client, timeout = 10s)]
fn in_a_node_of_it(_lab: Lab) -> io::Result<()> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    assert_eq!(name.trim(), "client");
    Ok(())
}

// The declared network, with more handles of it.
#[netns_test(topology = Lab::topology().expect("it declares one"))]
fn beside_other_arguments(lab: Lab, client: Node) {
    assert_eq!(lab.client.name(), client.name());
}

/// Its nodes are its fields', on one switch.
#[derive(FromNetwork)]
struct Trio {
    first: Node,
    others: [Node; 2],
}

#[netns_test]
async fn a_star(trio: Trio) -> io::Result<()> {
    let listener = trio.others[1].listen_tcp(7).await?;
    trio.first.connect_tcp("others-1:7").await?;
    listener.accept().await?;
    assert_eq!(trio.first.ip4(), std::net::Ipv4Addr::new(10, 0, 0, 1));
    Ok(())
}

// In a network that the test declares, the fields find their nodes.
#[netns_test(nodes(first, others_0, others_1), links(first -- others_0, first -- others_1))]
fn in_another_network(trio: Trio) -> io::Result<()> {
    assert_eq!(trio.first.interfaces()?.len(), 2);
    Ok(())
}

#[derive(FromNetwork)]
#[network(nodes = 4, topology = ring, family = v6, dns = node_0)]
struct Ring {
    network: Network,
}

#[netns_test]
fn a_shape(ring: Ring) -> io::Result<()> {
    let nodes = ring.network.nodes();
    assert_eq!(nodes.len(), 4);
    assert_eq!(nodes[3].interfaces()?.len(), 2);
    let resolver = nodes[3].read("/etc/resolv.conf")?;
    assert!(resolver.contains(&nodes[0].ip6().to_string()), "{resolver}");
    Ok(())
}

fn built() -> Topology {
    let mut topology = Topology::new();
    topology.node("left").node("right").link("left", "right");
    topology
}

#[derive(FromNetwork)]
#[network(topology = built())]
struct Built {
    left: Node,
    /// One within the other: it takes its nodes by name, too.
    inner: Inner,
}

/// Nothing of its own: it takes what there is.
#[derive(FromNetwork)]
struct Inner {
    network: Network,
}

#[netns_test]
fn an_expression(built: Built) -> io::Result<()> {
    let right = built.inner.network.node("right")?;
    assert_eq!(built.left.route_to(right.ip4())?.gateway, None);
    Ok(())
}

/// More can be said about a network that another declares.
fn lab_and_more() -> Topology {
    let mut topology = Ring::topology().expect("it declares one");
    topology.node("extra").link("extra", "node-0");
    topology
}

#[netns_test(topology = lab_and_more())]
async fn extended(extra: Node, node_2: Node) -> io::Result<()> {
    let listener = node_2.listen_tcp(7).await?;
    extra.connect_tcp("node-2:7").await?;
    listener.accept().await?;
    Ok(())
}

/// A type of the user's own that declares nothing.
struct Nothing(usize);

impl FromNetwork for Nothing {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Ok(Self(argument.network().nodes().len()))
    }
}

#[netns_test]
fn a_type_that_declares_nothing(nothing: Nothing) {
    assert_eq!(nothing.0, 0);
}

// The first that declares a network has its way.
#[netns_test]
fn several(nothing: Nothing, trio: Trio) {
    assert_eq!((nothing.0, trio.others.len()), (3, 2));
}

#[netns_test(nodes(other))]
#[ignore = "fails on purpose"]
fn in_a_network_without_its_nodes(_trio: Trio) {}

#[test]
fn a_node_that_is_not_there_fails_the_test() {
    rerun("in_a_network_without_its_nodes")
        .run()
        .failed_with(&["failed to find the node `first`", "there are `other`"]);
}
