use netns_test::{Node, netns_test};

#[netns_test]
async fn number(client: Node) -> u32 { //~ ERROR the trait bound `u32: Termination` is not satisfied
    drop(client);
    1
}

#[netns_test]
fn text() -> String { //~ ERROR the trait bound `String: Termination` is not satisfied
    String::new()
}
