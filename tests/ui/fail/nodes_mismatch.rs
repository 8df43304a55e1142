use netns_test::{Node, netns_test};

#[netns_test(nodes = 3)]
async fn one_missing(client: Node, server: Node) {}

#[netns_test(nodes = 5)]
async fn several_missing(client: Node, servers: [Node; 2]) {}

#[netns_test(nodes = 1)]
async fn too_few(client: Node, server: Node) {}

#[netns_test(nodes = 2)]
async fn chosen(#[cfg(unix)] client: Node, server: Node) {}

fn main() {}
