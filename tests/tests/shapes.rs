//! The shapes of a network: a star, a line, a ring and a mesh, in both families.

use std::io;
use std::net::IpAddr;

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

/// How many links a packet from one node to another crosses: the least time to live that carries it there.
async fn distance(from: &Node, to: &Node) -> u32 {
    let receiver = to.bind_udp((IpAddr::V4(to.ip4()), 9)).await.expect("a receiver");
    for hops in 1..64 {
        let sender = from.bind_udp((IpAddr::V4(from.ip4()), 0)).await.expect("a sender");
        sender.set_ttl(hops).expect("a time to live");
        sender.connect((to.ip4(), 9)).await.expect("a connected socket");
        sender.send(b"!").await.expect("a packet");
        // Either it arrives, or a router on the way says that its time is over (RFC 792).
        let mut buffer = [0; 1];
        tokio::select! {
            arrived = receiver.recv(&mut buffer) => {
                arrived.expect("the packet");
                return hops;
            }
            refused = sender.recv(&mut buffer) => {
                assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::HostUnreachable);
            }
        }
    }
    panic!("{} is not reachable from {}", to.name(), from.name())
}

async fn distances(nodes: &[Node]) -> Vec<u32> {
    let mut all = Vec::new();
    for to in &nodes[1..] {
        all.push(distance(&nodes[0], to).await);
    }
    all
}

#[netns_test]
fn no_node() {}

#[netns_test(nodes = 1)]
async fn one_node(node: Node) -> io::Result<()> {
    all_pairs_talk(&[node]).await
}

#[netns_test(nodes = 2)]
async fn star_of_2(nodes: [Node; 2]) -> io::Result<()> {
    assert_eq!(distances(&nodes).await, [1]);
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5)]
async fn star_of_5(nodes: [Node; 5]) -> io::Result<()> {
    assert_eq!(distances(&nodes).await, [1; 4]);
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
    assert_eq!(distances(&nodes).await, [1, 2, 3, 4]);
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, topology = line, family = v6)]
async fn line_v6(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5, topology = ring)]
async fn ring_of_5(nodes: [Node; 5]) -> io::Result<()> {
    assert_eq!(distances(&nodes).await, [1, 2, 2, 1]);
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 3, topology = ring, family = v6)]
async fn ring_v6(nodes: [Node; 3]) -> io::Result<()> {
    all_pairs_talk(&nodes).await
}

#[netns_test(nodes = 5, topology = mesh)]
async fn mesh_of_5(nodes: [Node; 5]) -> io::Result<()> {
    assert_eq!(distances(&nodes).await, [1; 4]);
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
