use netns_test::{Node, netns_test};

#[netns_test]
struct Client;

#[netns_test]
const SERVER: Option<Node> = None;

fn main() {}
