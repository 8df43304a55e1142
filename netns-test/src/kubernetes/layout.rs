//! A cluster declared in code.

use netns_test_model::host_name;
use netns_test_model::kubernetes::{Kubernetes, PodOn};

use crate::{Family, Topology};

/// A cluster that is declared in code, in loops and shared between tests, with the words of the attribute's `kubernetes(..)`.
///
/// ```
/// use netns_test::kubernetes::{Cluster, ClusterLayout, Pod};
/// use netns_test::{Topology, netns_test};
///
/// fn database(replicas: usize) -> Topology {
///     let mut layout = ClusterLayout::new(2).pod_cidr("10.9.0.0/20");
///     for number in 0..replicas {
///         layout = layout.pod(format!("db-{number}"), number % 2);
///     }
///     layout.topology()
/// }
///
/// #[netns_test(topology = database(3))]
/// fn has_its_pods(cluster: Cluster, db_2: Pod) {
///     assert_eq!((cluster.pods().len(), db_2.node_number()), (3, 0));
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[must_use = "a cluster is built by the test that declares it"]
pub struct ClusterLayout {
    kubernetes: Kubernetes,
    family: Family,
}

impl ClusterLayout {
    /// A cluster of so many nodes, without pods, with IPv4 and IPv6.
    pub fn new(nodes: usize) -> Self {
        Self { kubernetes: Kubernetes::new(nodes), family: Family::Dual }
    }

    /// So many pods on each node: `pod-0-0` is the first one of the first node.
    pub fn pods_per_node(mut self, pods: usize) -> Self {
        self.kubernetes.pods_per_node = pods;
        self
    }

    /// A pod by name, and the number of its node, counted from 0. `web_server` is the pod `web-server`.
    pub fn pod(mut self, name: impl AsRef<str>, node: usize) -> Self {
        self.kubernetes.pods.push(PodOn { name: host_name(name.as_ref()), node });
        self
    }

    /// The range of the pods' addresses, such as `10.9.0.0/20`; called twice, one of each family.
    pub fn pod_cidr(mut self, cidr: impl Into<String>) -> Self {
        self.kubernetes.pod_cidrs.push(cidr.into());
        self
    }

    /// The range of the services' addresses likewise.
    pub fn service_cidr(mut self, cidr: impl Into<String>) -> Self {
        self.kubernetes.service_cidrs.push(cidr.into());
        self
    }

    /// The families of addresses that it has.
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// The network, for `topology = …` and for [`Topology::run`]. Whether it can be built, [`Topology::check`] says, and so does the
    /// test. It has nodes and pods alone: adding others, or links, panics.
    pub fn topology(self) -> Topology {
        Topology::of_cluster(self.kubernetes, self.family)
    }
}

impl From<ClusterLayout> for Topology {
    fn from(layout: ClusterLayout) -> Self {
        layout.topology()
    }
}
