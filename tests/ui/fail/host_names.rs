use netns_test::{Node, netns_test};

#[netns_test]
async fn alike(a_b: Node, _a_b: Node) {}

#[netns_test]
async fn like_an_array(servers: [Node; 2], servers_1: Node) {}

#[netns_test]
async fn reserved(localhost: Node, ip6_loopback: Node) {}

#[netns_test]
async fn no_host_name(größe: Node, server_: Node, _7: Node) {}

#[netns_test]
async fn long(a_very_long_name_that_no_machine_on_this_network_could_ever_have: Node) {}

fn main() {}
