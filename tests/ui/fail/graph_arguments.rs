use netns_test::{Node, Router, netns_test};

#[netns_test(nodes(client, server), routers(r1), switches(s), links(client -- r1, r1 -- s, server -- s))]
async fn undeclared(clinet: Node, other: Node, s: Node, server: Router, r2: Router, nodes: [Node; 2]) {}

#[netns_test(nodes(spoke_0, spoke_1, leaf_0), switches(leaf_1), links(spoke_0 -- spoke_1, leaf_0 -- leaf_1))]
async fn arrays(spoke: [Node; 3], leaf: [Node; 2]) {}

#[netns_test(nodes = 2)]
async fn no_router(client: Node, server: Node, r: Router) {}

fn main() {}
