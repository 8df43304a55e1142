use netns_test::{Node, netns_test};

#[netns_test(capture = alway)]
async fn misspelt(client: Node) {}

#[netns_test(capture = on_failure)]
async fn another_word(client: Node) {}

#[netns_test(capture = "always")]
async fn in_quotes(client: Node) {}

#[netns_test(capture)]
async fn without_a_value(client: Node) {}

fn main() {}
