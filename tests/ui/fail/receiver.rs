use netns_test::{Node, netns_test};

struct Tests;

impl Tests {
    #[netns_test]
    async fn method(&self, client: Node) {}
}

fn main() {}
