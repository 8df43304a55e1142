use netns_test::{Node, netns_test};

#[netns_test(nodes = 3, topology = rign)]
async fn misspelt() {}

#[netns_test(nodes = 3, topology = tree)]
async fn unknown() {}

#[netns_test(nodes = 3, topology = "ring")]
async fn quoted() {}

#[netns_test(topology = my_topology())]
async fn value(client: Node) {}

fn main() {}
