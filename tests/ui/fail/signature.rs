use netns_test::{Node, netns_test};

#[netns_test]
async fn generic<T: Default>(client: Node, value: T) {}

#[netns_test]
fn implied(client: Node, value: impl Default) {}

#[netns_test]
const fn constant(client: Node) {}

#[netns_test]
unsafe fn dangerous(client: Node) {}

#[netns_test]
extern "C" fn foreign(client: Node) {}

fn main() {}
