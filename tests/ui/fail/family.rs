use netns_test::{Node, netns_test};

#[netns_test(family = ipv6)]
async fn other_word(client: Node) {}

#[netns_test(family = v5)]
async fn near(client: Node) {}

#[netns_test(family = 6)]
async fn number(client: Node) {}

fn main() {}
