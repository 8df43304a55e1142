use netns_test::{Node, netns_test};

#[netns_test(nodes = "2")]
async fn string() {}

#[netns_test(nodes = N)]
async fn name() {}

#[netns_test(nodes = -1)]
async fn negative() {}

#[netns_test(nodes = 2usize)]
async fn suffix(client: Node, server: Node) {}

#[netns_test(nodes = 99999999999999999999999)]
async fn beyond_numbers() {}

fn main() {}
