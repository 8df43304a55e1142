use netns_test::{Node, netns_test};

#[netns_test(nodes = 0)]
async fn zero() {}

#[netns_test(nodes = 10000)]
async fn ten_thousand() {}

#[netns_test]
async fn array(one: Node, many: [Node; 1023]) {}

#[netns_test]
async fn enormous(many: [Node; 4_000_000_000]) {}

fn main() {}
