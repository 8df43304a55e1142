//! One command lists a binary's netns tests with their networks, and provisions nothing.

use netns_test::kubernetes::{Cluster, Pod};
use netns_test::{FromNetwork, Node, Router, Topology, netns_test};
use netns_test_tests::{Outcome, Rerun};

#[netns_test]
#[ignore = "it is there to be listed"]
async fn two_nodes(_client: Node, _server: Node) {}

#[netns_test(
    nodes(a, b),
    routers(r),
    links(a -- r.swp1 { mtu = 1400 }, r -- b),
    matrix(family = [v4, v6]),
)]
#[ignore = "it is there to be listed"]
fn over_a_router() {}

#[netns_test]
#[ignore = "it is there to be listed"]
fn alone() {}

#[derive(FromNetwork)]
#[network(nodes(client, server), routers(gate), links(client -- gate, gate -- server { delay = 20ms }), family = v4)]
struct Lab {
    _client: Node,
    _gate: Router,
}

#[netns_test]
#[ignore = "it is there to be listed"]
fn in_a_lab(_lab: Lab) {}

#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)), family = v4)]
#[ignore = "it is there to be listed"]
async fn in_a_cluster(_cluster: Cluster, _client: Pod) {}

fn of_ten() -> Topology {
    let mut topology = Topology::new();
    topology.router("r");
    for number in 0..10 {
        let name = format!("n{number}");
        topology.node(&name).link(&name, "r");
    }
    topology
}

#[netns_test(topology = of_ten())]
#[ignore = "it is there to be listed"]
fn made_in_code() {}

fn no_topology() -> Topology {
    panic!("on purpose")
}

#[netns_test(topology = no_topology())]
#[ignore = "it is there to be listed"]
fn panics() {}

fn list(arguments: &[&str], listing: bool) -> Outcome {
    let listed = Rerun::with(arguments);
    if listing { listed.env("NETNS_TEST_LIST", "1") } else { listed }.as_ordinary_user().run()
}

#[test]
fn every_netns_test_is_drawn() {
    let listed = list(&["--list"], true);
    assert!(listed.status.success(), "{listed}");
    let lines: Vec<&str> = listed.stderr.lines().collect();
    let after = |name: &str| {
        let start =
            lines.iter().position(|line| line.starts_with(&format!("{name}  tests/tests/listing.rs:")));
        let start = start.unwrap_or_else(|| panic!("`{name}` is missing: {listed}"));
        lines[start + 1..]
            .iter()
            .take_while(|line| line.starts_with("  "))
            .copied()
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(
        after("two_nodes"),
        "  client                    server\n  \
           eth0 ──────────────────── eth0\n  \
           10.0.0.1/16               10.0.0.2/16\n  \
           2001:db8::1/64            2001:db8::2/64"
    );
    let graph = after("over_a_router::family_v6");
    assert!(graph.contains("swp1") && graph.contains("2001:db8:") && !graph.contains("10.1."), "{graph}");
    assert_eq!(
        after("in_a_lab"),
        "  client\n  \
           │ eth0  10.1.0.1/24\n  \
           │ eth0  10.1.0.2/24\n  \
           gate\n  \
           │ eth1  10.1.1.1/24\n  \
           │ eth0  10.1.1.2/24\n  \
           server"
    );
    let cluster = after("in_a_cluster");
    for line in ["├─ eth0  node-1   10.0.0.2/16", "pods on node-0: client", "pods on node-1: server"] {
        assert!(cluster.contains(line), "`{line}` is missing: {cluster}");
    }
    let large = after("made_in_code");
    assert!(
        large.starts_with("  11 nodes, 10 links\n  r   10.1.0.2/24, ") && large.contains(", … 20 in all"),
        "{large}"
    );
    assert_eq!(after("alone"), "  no node: it is alone with its loopback");
    assert_eq!(after("panics"), "  its topology cannot be told: making it panicked");
}

#[test]
fn what_tools_read_stays_as_it_is() {
    for arguments in [&["--list"][..], &["--list", "--format", "terse"]] {
        assert_eq!(list(arguments, true).stdout, list(arguments, false).stdout);
    }
    assert!(list(&["--list"], false).stderr.is_empty());
}
