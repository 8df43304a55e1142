use netns_test::{Node, netns_test};

#[netns_test(start_paused = true)]
async fn paused(client: Node) {}

fn main() {}
