use netns_test::{Node, netns_test};

#[netns_test(timeout = "10s")]
async fn quoted(client: Node) {}

#[netns_test(timeout = 10)]
async fn no_unit(client: Node) {}

#[netns_test(timeout = 10sec)]
async fn misspelt(client: Node) {}

#[netns_test(timeout = 10m)]
async fn ambiguous(client: Node) {}

#[netns_test(timeout = 10mbit)]
async fn no_time(client: Node) {}

#[netns_test(timeout = 0s)]
async fn zero(client: Node) {}

#[netns_test(timeout = LONG)]
async fn name(client: Node) {}

fn main() {}
