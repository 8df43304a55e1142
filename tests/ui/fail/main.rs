use netns_test::Node;

#[netns_test::main(nodes = 2, fails = "why", matrix(family = [v4]))]
#[should_panic]
fn mian(_a: Node, _b: Node) {}

#[netns_test::main(nodes = 3)]
fn main(a: Node, b: Node) {}
