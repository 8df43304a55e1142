use netns_test::{FromNetwork, Network, Node, Router};

#[derive(FromNetwork)]
struct Tuple(Node);

#[derive(FromNetwork)]
enum Either {
    One { node: Node },
}

#[derive(FromNetwork)]
struct Generic<T> {
    node: T,
}

#[derive(FromNetwork)]
#[network(timeout = 10s, nodes(client), links(client -- sever))]
struct Mistakes {
    client: Node,
    server: Node,
}

#[derive(FromNetwork)]
#[network(nodes = 2)]
#[network(family = v6)]
struct Twice {
    network: Network,
}

#[derive(FromNetwork)]
#[network]
struct Bare {
    network: Network,
}

#[derive(FromNetwork)]
struct Undeclared {
    client: Node,
    r: Router,
}

fn main() {}
