#[netns_test(topology = shared::topology(2), aliases(web_server = ["www.test"]), run_in = client)]
fn value(web_server: Node, others: [Node; 2]) {}
