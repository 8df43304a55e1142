use netns_test::{Node, netns_test};

#[netns_test(kubernetes(nodes = 2))]
async fn cluster(client: Node) {}

#[netns_test(matrix = [v4, v6])]
async fn matrix(client: Node) {}

fn main() {}
