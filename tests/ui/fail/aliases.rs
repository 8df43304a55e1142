use netns_test::{Node, netns_test};

#[netns_test(aliases = ["relay.test", "www"])]
async fn whose(client: Node, web_server: Node) {}

#[netns_test(aliases(sever = ["relay.test"], servers = ["a.test"]))]
async fn unknown_node(client: Node, server: Node) {}

#[netns_test(aliases(servers = ["relay.test"]))]
async fn array(servers: [Node; 2]) {}

#[netns_test(aliases(client = ["server"], server = ["server", "a.test", "A.test"], third = ["a.test"]))]
async fn taken(client: Node, server: Node, third: Node) {}

#[netns_test(aliases = ["localhost", "my_db.test", "a..test", "relay.test.", "10.0.0.1", "*.test", ""])]
async fn no_domain_names(server: Node) {}

#[netns_test(aliases = ["relay.test"])]
async fn alone() {}

#[netns_test(aliases = "relay.test")]
async fn no_list(server: Node) {}

#[netns_test(aliases(server = "relay.test"))]
async fn no_list_for_a_node(server: Node) {}

#[netns_test(aliases = [relay])]
async fn no_quotes(server: Node) {}

#[netns_test(aliases(server))]
async fn no_names(server: Node) {}

#[netns_test(aliases("relay.test"))]
async fn no_node(server: Node) {}

#[netns_test(aliases["relay.test"])]
async fn no_key(server: Node) {}

#[netns_test(aliases())]
async fn empty(server: Node) {}

#[netns_test(aliases(server = ["a.test"], server = ["b.test"]), nodes = 1)]
async fn node_twice(server: Node) {}

#[netns_test(aliases = ["bad name"], nodes = many)]
async fn names_are_checked_without_a_number(server: Node) {}

fn main() {}
