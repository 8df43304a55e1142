//! The shapes of a network: a star, a line, a ring and a mesh, in both families.

use std::io;

use netns_test::{Node, netns_test};

/// Connects every node to every other by name, and looks at both ends' addresses.
async fn all_pairs_talk(nodes: &[Node]) -> io::Result<()> {
    for to in nodes {
        let listener = to.listen_tcp(80).await?;
        for from in nodes {
            let out = from.connect_tcp((to.name(), 80)).await?;
            let (_inc, peer) = listener.accept().await?;
            assert_eq!(peer.ip(), from.ip(), "{} to {}", from.name(), to.name());
            assert_eq!(out.peer_addr()?.ip(), to.ip(), "{} to {}", from.name(), to.name());
        }
    }
    Ok(())
}

/// Checks over how many links a packet gets from one node to another: the least time to live that carries it there.
async fn is_so_far(from: &Node, to: &Node, links: u8) {
    let receiver = to.bind_udp((to.ip4(), 9)).await.expect("a receiver");
    let sender = from.bind_udp((from.ip4(), 0)).await.expect("a sender");
    for hops in 1..=links {
        sender.set_ttl(hops.into()).expect("a time to live");
        sender.send_to(&[hops], (to.ip4(), 9)).await.expect("a packet");
    }
    let mut first = [0; 1];
    receiver.recv(&mut first).await.expect("the packet that lives long enough");
    assert_eq!(first, [links], "{} to {}", from.name(), to.name());
}

/// The distances of the first node to the others.
async fn are_so_far(nodes: &[Node], links: &[u8]) {
    assert_eq!(nodes.len(), links.len() + 1);
    for (to, &links) in nodes[1..].iter().zip(links) {
        is_so_far(&nodes[0], to, links).await;
    }
}

#[netns_test]
fn no_node() {}

#[netns_test(nodes = 1)]
async fn one_node(node: Node) -> io::Result<()> {
    all_pairs_talk(&[node]).await
}

#[netns_test(nodes = 2)]
async fn star_of_2(nodes: [Node; 2]) -> io::Result<()> {
    are_so_far(&nodes, &[1]).await;
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5)]
async fn star_of_5(nodes: [Node; 5]) -> io::Result<()> {
    are_so_far(&nodes, &[1; 4]).await;
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, family = v4)]
async fn star_v4(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, family = v6)]
async fn star_v6(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5, topology = line)]
async fn line_of_5(nodes: [Node; 5]) -> io::Result<()> {
    are_so_far(&nodes, &[1, 2, 3, 4]).await;
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, topology = line, family = v6)]
async fn line_v6(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5, topology = ring)]
async fn ring_of_5(nodes: [Node; 5]) -> io::Result<()> {
    are_so_far(&nodes, &[1, 2, 2, 1]).await;
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, topology = ring, family = v6)]
async fn ring_v6(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5, topology = mesh)]
async fn mesh_of_5(nodes: [Node; 5]) -> io::Result<()> {
    are_so_far(&nodes, &[1; 4]).await;
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, topology = mesh, family = v4)]
async fn mesh_v4(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 2, topology = line)]
async fn line_of_2(client: Node, server: Node) -> io::Result<()> {
    all_pairs_talk(&[client, server]).await
}
