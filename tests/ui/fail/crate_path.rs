use netns_test::{Node, netns_test};

#[netns_test(crate = 1)]
async fn number(client: Node) {}

#[netns_test(crate = "not a path")]
async fn string(client: Node) {}

fn main() {}
