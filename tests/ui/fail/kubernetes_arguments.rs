use netns_test::kubernetes::{Cluster, Pod};
use netns_test::{Node, Router, netns_test};

#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
fn unknown(cleint: Pod, other: Pod, node_2: Node) {}

#[netns_test(kubernetes(nodes = 2, pods_per_node = 1))]
fn counted(pods: [Pod; 3], nodes: [Node; 2], r: Router) {}

#[netns_test(nodes = 2)]
fn no_cluster(cluster: Cluster, client: Pod, pods: [Pod; 2]) {}

fn main() {}
