use netns_test::{Node, netns_test};

#[netns_test(run_in = clent)]
async fn misspelt(client: Node, server: Node) {}

#[netns_test(run_in = "router")]
async fn unknown(client: Node, server: Node) {}

#[netns_test(run_in = servers)]
async fn array(servers: [Node; 2]) {}

#[netns_test(run_in = client)]
async fn alone() {}

#[netns_test(run_in = 1)]
async fn number(client: Node) {}

fn main() {}
