use netns_test::{Node, netns_test};

#[netns_test(nodes = 1, family = v4, nodes = 2)]
async fn twice(client: Node) {}

fn main() {}
