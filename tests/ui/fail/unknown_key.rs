use netns_test::{Node, netns_test};

#[netns_test(timeot = 10s)]
async fn misspelt(client: Node) {}

#[netns_test(wibble = 1)]
async fn unlike_any(client: Node) {}

#[netns_test(wibble(1), "nodes" = 2)]
async fn no_key(client: Node) {}

fn main() {}
