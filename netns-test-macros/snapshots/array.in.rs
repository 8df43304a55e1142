#[netns_test(run_in = "servers-1")]
fn array(servers: [Node; 3], client: Node, network: Network) {}
