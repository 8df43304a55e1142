//! Every key, in every way of writing it.

use std::time::{Duration, Instant};

use netns_test::{Network, Node, netns_test};

mod reexports {
    pub(crate) use netns_test as renamed;
}

#[netns_test(
    nodes = 3,
    topology = line,
    family = v6,
    timeout = 1.5min,
    run_in = node_1,
    flavor = "multi_thread",
    worker_threads = 2,
    require = [],
    crate = reexports::renamed,
)]
async fn all_of_them(network: Network) {
    let nodes = network.nodes();
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node.ip().is_ipv6()));
    let left = network.deadline().expect("a timeout") - Instant::now();
    assert!(left > Duration::from_secs(60) && left <= Duration::from_secs(90), "{left:?}");
    assert_eq!(tokio::runtime::Handle::current().metrics().num_workers(), 2);
    assert_eq!(host_name(), "node-1");
}

#[netns_test(topology = ring, family = v4, flavor = current_thread, run_in = "nodes-2", crate = "::netns_test")]
fn other_spellings(nodes: [Node; 3]) {
    assert!(nodes.iter().all(|node| node.ip().is_ipv4()));
    assert_eq!(host_name(), "nodes-2");
}

#[netns_test(topology = mesh, family = dual, run_in = _client)]
fn by_the_argument(_client: Node, _web_server: Node) {
    assert_eq!(host_name(), "client");
}

#[netns_test()]
fn nothing_in_parentheses(_client: Node) {}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the kernel's host name");
    name.trim().to_owned()
}
