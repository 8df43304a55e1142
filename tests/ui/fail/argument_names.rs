use netns_test::{Node, netns_test};

struct Pair(Node, Node);

#[netns_test]
async fn wildcard(_: Node) {}

#[netns_test]
async fn pattern(Pair(client, server): Pair) {}

#[netns_test]
async fn reference_pattern(ref client: Node) {}

fn main() {}
