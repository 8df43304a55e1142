//! A node of a cluster.

use std::net::IpAddr;
use std::ops::Deref;

use netns_test_model::kubernetes::node_name;

use super::{Cluster, Pod, PodBuilder};
use crate::error::Error;
use crate::node::Node;

/// A node of a cluster: a [`Node`] on the underlay, which passes on the packets of its pods.
///
/// It can do whatever a node can.
#[derive(Clone, Debug)]
pub struct ClusterNode {
    cluster: Cluster,
    node: Node,
    number: usize,
}

impl ClusterNode {
    pub(super) fn find(cluster: &Cluster, number: usize) -> Result<Self, Error> {
        let node = cluster.network().node(&node_name(number))?;
        Ok(Self { cluster: cluster.clone(), node, number })
    }

    /// Its number, counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// A pod that is to be started on this node: [`PodBuilder`] has the details.
    pub fn pod(&self, name: impl AsRef<str>) -> PodBuilder {
        PodBuilder::new(self.cluster.clone(), self.number, name.as_ref())
    }

    /// The pods on this node, in the order in which they came.
    pub fn pods(&self) -> Vec<Pod> {
        let mut pods = self.cluster.pods();
        pods.retain(|pod| pod.node_number() == self.number);
        pods
    }

    /// The ranges that its pods have their addresses of, with the lengths of their prefixes, IPv4 first.
    pub fn pod_cidrs(&self) -> Vec<(IpAddr, u8)> {
        self.cluster.layout.parts[self.number].iter().map(|part| (part.first(), part.length())).collect()
    }

    /// The node as such, for what takes one.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The cluster that it is part of.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Deref for ClusterNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl AsRef<Node> for ClusterNode {
    fn as_ref(&self) -> &Node {
        &self.node
    }
}

impl From<ClusterNode> for Node {
    fn from(node: ClusterNode) -> Self {
        node.node
    }
}
