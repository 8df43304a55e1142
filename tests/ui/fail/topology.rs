use netns_test::netns_test;

#[netns_test(nodes = 3, topology = rign)]
async fn misspelt() {}

#[netns_test(nodes = 3, topology = tree)]
async fn unknown() {}

#[netns_test(nodes = 3, topology = "ring")]
async fn quoted() {}

fn main() {}
