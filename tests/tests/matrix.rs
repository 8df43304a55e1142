//! One test over many networks: each cell is a test of its own, with a name, and those known to fail are marked.

use std::io;

use netns_test::{Network, Node, Router, Topology, netns_test};
use netns_test_tests::{Rerun, rerun};

/// Documentation stays with the function.
#[netns_test(
    nodes(client, server),
    routers(r),
    links(client -- r { mtu = 1500 }, r -- server),
    matrix(family = [v4, v6, dual], (r -- server).mtu = [1300, 1400], skip(family = dual, (r -- server).mtu = 1400)),
)]
async fn connects(client: Node, server: Node, r: Router, network: Network) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    let _out = client.connect_tcp("server:80").await?;
    listener.accept().await?;
    let name = network.test_name();
    let mtu = r.interface("eth1")?.link()?.mtu;
    assert!(name.ends_with(&format!("mtu_{mtu}")), "{name}");
    let is_v6 = server.ip().is_ipv6();
    assert_eq!(is_v6, !name.contains("family_v4"), "{name}");
    Ok(())
}

#[netns_test(matrix(nodes = [2, 5], topology = [star, ring, line], skip(nodes = 2, topology = ring)))]
fn shapes(network: Network) {
    assert!([2, 5].contains(&network.nodes().len()));
}

// Keys of a router, and of a link.
#[netns_test(
    nodes(host, server),
    routers(gateway { uplink = server }),
    links(host -- gateway { delay = 1ms }, gateway -- server),
    family = v4,
    timeout = 10s,
    matrix(
        gateway.nat = [none, home],
        (host -- gateway).loss = [0%, 100%],
        skip(gateway.nat = none, (host -- gateway).loss = 100%),
        fails((host -- gateway).loss = 100%, "nothing arrives"),
    ),
)]
async fn translates(host: Node, server: Node, network: Network) -> io::Result<()> {
    let (from, to) = (host.bind_udp(5000).await?, server.bind_udp(7).await?);
    from.send_to(b"hi", (server.ip(), 7)).await?;
    let received = tokio::time::timeout(std::time::Duration::from_secs(2), to.recv_from(&mut [0; 2])).await;
    let (_, peer) = received.map_err(|_| io::Error::other("it did not arrive"))??;
    assert_eq!(peer.ip() == host.ip(), network.test_name().contains("nat_none"), "{peer}");
    Ok(())
}

#[test]
fn every_cell_is_a_test_that_can_be_run_alone() {
    let listed = Rerun::with(&["--list"]).run();
    let cells: Vec<&str> = listed
        .stdout
        .lines()
        .filter(|line| ["connects::", "shapes::", "translates::"].iter().any(|name| line.starts_with(name)))
        .collect();
    assert_eq!(
        cells,
        [
            "connects::family_dual_mtu_1300: test",
            "connects::family_v4_mtu_1300: test",
            "connects::family_v4_mtu_1400: test",
            "connects::family_v6_mtu_1300: test",
            "connects::family_v6_mtu_1400: test",
            "shapes::nodes_2_topology_line: test",
            "shapes::nodes_2_topology_star: test",
            "shapes::nodes_5_topology_line: test",
            "shapes::nodes_5_topology_ring: test",
            "shapes::nodes_5_topology_star: test",
            "translates::nat_home_loss_0percent: test",
            "translates::nat_home_loss_100percent: test",
            "translates::nat_none_loss_0percent: test",
        ],
        "{listed}"
    );
    Rerun::with(&["--exact", "connects::family_v6_mtu_1400"]).run().passed();
}

// A plain function with a body of its own: `mut`, a result, and attributes that say how it ends.
#[netns_test(matrix(family = [v4, v6]))]
#[should_panic(expected = "on purpose")]
fn panics(mut node: Node) {
    node = node.clone();
    panic!("{} fails on purpose", node.name());
}

/// What a protocol that knows IPv4 alone does.
async fn talks(client: Node, server: Node) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    client.connect_tcp("server:80").await?;
    let (_, peer) = listener.accept().await?;
    if peer.is_ipv6() { Err(io::Error::other("IPv6 is not there yet")) } else { Ok(()) }
}

#[netns_test(matrix(family = [v4, v6, dual], fails(family = v6, "no IPv6 yet"), fails(family = dual)))]
async fn known(client: Node, server: Node) -> io::Result<()> {
    talks(client, server).await
}

#[test]
fn a_cell_that_is_known_to_fail_passes_and_says_so() {
    let outcome = Rerun::with(&["--exact", "known::family_v6", "--nocapture"]).run();
    outcome.passed();
    outcome.says(&["IPv6 is not there yet", "the test fails as it is known to: no IPv6 yet"]);
}

#[netns_test(fails = "it was mended")]
#[ignore = "fails on purpose"]
fn mended() {}

#[test]
fn a_test_that_is_known_to_fail_and_passes_fails() {
    rerun("mended").run().failed_with(&[
        "marked as known to fail (`fails = \"it was mended\"`), and it passed: remove the mark",
    ]);
}

#[netns_test(nodes = 2, fails = "it hangs", timeout = 200ms)]
async fn a_timeout_is_a_failure() {
    std::future::pending::<()>().await;
}

/// A network that cannot be made proves nothing about the test.
fn cannot_be_built() -> Topology {
    let mut topology = Topology::new();
    topology.node("a").link("a", "b");
    topology
}

#[netns_test(topology = cannot_be_built(), fails = "in its own way")]
#[ignore = "fails on purpose"]
fn no_network() {}

#[test]
fn a_failure_of_the_framework_is_no_known_one() {
    rerun("no_network").run().failed_with(&["there is no `b`"]);
}
