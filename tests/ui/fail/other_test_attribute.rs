use netns_test::{Node, netns_test};

#[netns_test]
#[test]
fn rustc(client: Node) {}

#[netns_test]
#[tokio::test]
async fn tokio(client: Node) {}

#[netns_test]
#[netns_test::test]
async fn twice(client: Node) {}

fn main() {}
