use netns_test::{Node, netns_test};

#[netns_test]
#[should_panic(expect = "text")]
async fn form(client: Node) {}

#[netns_test]
#[should_panic]
#[should_panic(expected = "text")]
async fn twice(client: Node) {}

#[netns_test]
#[cfg_attr(unix, should_panic = 1)]
async fn conditional(client: Node) {}

fn main() {}
