use netns_test::kubernetes::Cluster;
use netns_test::netns_test;

#[netns_test(kubernetes)]
fn no_parentheses(cluster: Cluster) {}

#[netns_test(kubernetes())]
fn no_nodes(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 0))]
fn none(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 256))]
fn too_many(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = two, pod_per_node = 1, nodes = 3))]
fn values(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 2, pods(client, server = 2, node_1 = 0, a = 0, a = 1, outside = 1)))]
fn pods(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 2, pods(server = 2, node_1 = 0, a = 0, a = 1, outside = 1)))]
fn names_and_nodes(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 8, pods_per_node = 300, pod_cidr = "10.9.0.0/24"))]
fn too_small_for_many(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 1, pod_cidr = "10.9.0.0/32", service_cidr = ["10.8.0.0/29", "2001:db8:7::/112"]))]
fn too_small(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 200, pods_per_node = 300))]
fn too_many_for_the_usual_range(cluster: Cluster) {}

#[netns_test(
    kubernetes(nodes = 1, pod_cidr = ["10.0.0.0/8", "2001:db8::/32"], service_cidr = ["fd00::/64", "10.7.0.0/16", "10.8.0.0/16"]),
    family = v4,
)]
fn ranges(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 1, pod_cidr = 10, service_cidr = "10.96.0.1/16"))]
fn no_ranges(cluster: Cluster) {}

#[netns_test(kubernetes(nodes = 2), nodes = 2, topology = ring, routers(r), dns = node_0, run_in = nobody)]
fn other_keys(cluster: Cluster) {}

fn main() {}
