use netns_test::{Node, netns_test};

#[netns_test(nodes(client, server, client), routers(localhost), switches(server))]
async fn names() {}

#[netns_test(nodes("web-server", peers[3], 7), routers(r r2))]
async fn unreadable() {}

#[netns_test(nodes[client, server])]
async fn brackets(client: Node) {}

#[netns_test(nodes = 2, nodes(client, server))]
async fn twice(client: Node, server: Node) {}

#[netns_test(nodes(client), routers = 2, links)]
async fn no_parentheses(client: Node) {}

fn main() {}
