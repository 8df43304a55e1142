//! Graphs, in every way of writing them.

use netns_test::{Family, Network, Node, Router, Topology, netns_test};

#[netns_test(
    links(
        web_server.eth1 -- r1,
        r1.swp1 -- r2."wan.7" { mtu = 1400, prefix = "10.1.0.0/24", },
        r2 -- s { prefix = ["10.7.0.0/24", "2001:db8:7::/64"] },
        _client -- s { _client = ["10.7.0.5/24", "2001:db8:7::5"] },
    ),
    switches(s,),
    nodes(web_server, _client),
    routers(r1, r2),
    routes = all,
    addresses = assigned,
    family = dual,
    aliases(web_server = ["www.test"]),
    run_in = web_server,
    timeout = 20s,
)]
async fn everything_in_any_order(network: Network, r1: Router, web_server: Node, r2: Node) {
    // In the order in which they are written.
    let names: Vec<String> = network.nodes().iter().map(|node| node.name().to_owned()).collect();
    assert_eq!(names, ["web-server", "client", "r1", "r2"]);
    assert_eq!(web_server.interface("eth1").expect("its interface").node().name(), "web-server");
    assert_eq!(r2.interface("wan.7").expect("its interface").link().expect("its state").mtu, 1400);
    let node: &Node = r1.node();
    assert_eq!(node.name(), r1.name());
    let _node: Node = r1.into();
}

#[netns_test(nodes(spoke_0, spoke_1, more_0), routers(more_1), links(spoke_0 -- more_1, spoke_1 -- more_1))]
fn arrays(spoke: [Node; 2], more: [Node; 2]) {
    assert_eq!(spoke[1].name(), "spoke-1");
    assert!(more[1].is_router());
}

#[netns_test(nodes(alone))]
fn one_node(alone: Node) {
    assert!(alone.interfaces().expect("none").is_empty());
}

#[netns_test(nodes())]
fn no_node(network: Network) {
    assert!(network.nodes().is_empty());
}

mod shared {
    use super::*;

    pub(super) fn pair(family: Family) -> Topology {
        let mut pair = Topology::new();
        pair.node("left").node("right").family(family).link("left", "right");
        pair
    }
}

#[netns_test(topology = shared::pair(Family::V4))]
fn by_a_path(left: Node, right: Node) {
    assert!(left.ip().is_ipv4() && right.ip().is_ipv4());
}

fn topology() -> Topology {
    shared::pair(Family::Dual)
}

#[netns_test(topology = topology())]
fn of_the_keys_own_name(left: Node) {
    assert!(left.ip().is_ipv6());
}

#[netns_test(topology = { let mut one = shared::pair(Family::V6); one.node("third"); one })]
fn by_a_block(network: Network, third: Node) {
    assert_eq!(network.nodes().len(), 3);
    assert_eq!(third.name(), "third");
}
