use netns_test::{Node, netns_test};

#[netns_test(nodes)]
async fn no_value(client: Node) {}

#[netns_test(topology = )]
async fn nothing_after_the_sign(client: Node) {}

#[netns_test(timeout 10s)]
async fn no_sign(client: Node) {}

#[netns_test(nodes = 1 family = v4)]
async fn no_comma(client: Node) {}

#[netns_test(nodes = 1,, family = v4)]
async fn two_commas(client: Node) {}

fn main() {}
