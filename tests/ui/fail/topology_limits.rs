use netns_test::{Node, netns_test};

#[netns_test(topology = ring)]
async fn ring(a: Node, b: Node) {}

#[netns_test(topology = line)]
async fn line() {}

#[netns_test(nodes = 65, topology = mesh)]
async fn mesh(nodes: [Node; 65]) {}

fn main() {}
