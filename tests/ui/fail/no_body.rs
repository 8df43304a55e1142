use netns_test::{Node, netns_test};

#[netns_test]
fn no_body(client: Node);

fn main() {}
