use netns_test::{Node, netns_test};

#[netns_test(require = [rot])]
async fn misspelt(client: Node) {}

#[netns_test(require = [tun, root, root])]
async fn unknown_and_twice(client: Node) {}

#[netns_test(require = root)]
async fn no_list(client: Node) {}

fn main() {}
