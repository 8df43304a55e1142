use netns_test::{Node, netns_test};

#[netns_test(seed = 7)]
async fn seeded(client: Node) {}

fn main() {}
