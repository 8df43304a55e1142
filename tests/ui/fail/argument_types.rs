use netns_test::{Node, netns_test};

const N: usize = 3;

#[netns_test]
async fn reference(client: &Node) {}

#[netns_test]
async fn named_length(clients: [Node; N]) {}

#[netns_test]
async fn no_length(clients: [Node; 0]) {}

fn main() {}
