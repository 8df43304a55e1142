use netns_test::{Node, netns_test};

#[netns_test(dns = sever)]
async fn misspelt(client: Node, server: Node) {}

#[netns_test(dns = servers)]
async fn array(servers: [Node; 2]) {}

#[netns_test(dns = server)]
async fn alone() {}

#[netns_test(dns = 1)]
async fn number(server: Node) {}

#[netns_test(dns = "10.0.0.1")]
async fn address(server: Node) {}

#[netns_test(dns)]
async fn no_value(server: Node) {}

#[netns_test(dns(server))]
async fn parentheses(server: Node) {}

fn main() {}
