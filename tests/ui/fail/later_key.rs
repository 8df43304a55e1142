use netns_test::{Node, netns_test};

#[netns_test(kubernetes(nodes = 2))]
async fn cluster(client: Node) {}


fn main() {}
