use netns_test::{Node, Topology, netns_test};

#[netns_test(nodes(client, server), topology = ring, links(client -- server))]
async fn a_shape(client: Node) {}

#[netns_test(nodes = 2, routes = none, addresses = none)]
async fn without_a_graph(client: Node, server: Node) {}

#[netns_test(nodes(a), routes = al, addresses = assign)]
async fn words(a: Node) {}

#[netns_test(nodes(client, server), links(client -- server), run_in = sever)]
async fn run_in(client: Node) {}

#[netns_test(topology = Topology::new(), nodes = 2, family = v6, routes = none, aliases = ["www"])]
async fn a_value(client: Node, server: Node) {}

fn main() {}
