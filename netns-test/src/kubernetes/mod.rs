//! A Kubernetes cluster's network, without Kubernetes: nodes, pods, and what joins them.
//!
//! ```
//! use netns_test::kubernetes::Cluster;
//! use netns_test::netns_test;
//!
//! #[netns_test(kubernetes(nodes = 2))]
//! async fn across_nodes(cluster: Cluster) -> std::io::Result<()> {
//!     let server = cluster.node(0).pod("server").start()?;
//!     let client = cluster.node(1).pod("client").start()?;
//!     let listener = server.listen_tcp(8080).await?;
//!     let _out = client.connect_tcp("server:8080").await?;
//!     let (_in, peer) = listener.accept().await?;
//!     assert_eq!(peer.ip(), client.ip());
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! [`guide::kubernetes`](crate::guide::kubernetes) tells the whole of it.

mod node;
mod pod;
mod state;

use std::sync::Arc;

use netns_test_model::kubernetes::{OUTSIDE, PodOn};

pub use self::node::ClusterNode;
pub use self::pod::{Pod, PodBuilder};
pub(crate) use self::state::State;
use crate::error::Error;
use crate::inject::{Argument, FromNetwork};
use crate::network::{Net, Network};
use crate::node::Node;
use crate::plan::Layout;

/// The cluster of a test with `kubernetes(..)`: its nodes and its pods.
#[derive(Clone, Debug)]
pub struct Cluster {
    network: Network,
    layout: Arc<Layout>,
}

impl Network {
    /// The cluster that the network is.
    ///
    /// # Errors
    /// The test was declared without `kubernetes(..)`.
    pub fn cluster(&self) -> Result<Cluster, Error> {
        match &self.0.plan.cluster {
            Some(layout) => Ok(Cluster { network: self.clone(), layout: Arc::clone(layout) }),
            None => {
                let cause = "the test has none: declare it, as in `#[netns_test(kubernetes(nodes = 2))]`";
                Err(Error::because("find the cluster", cause))
            }
        }
    }
}

impl FromNetwork for Cluster {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.network().cluster()
    }
}

impl Cluster {
    /// The node of this number, counted from 0: `node-0`, `node-1`, ….
    ///
    /// # Panics
    /// There is no such node.
    #[track_caller]
    pub fn node(&self, number: usize) -> ClusterNode {
        if let Err(cause) = netns_test_model::kubernetes::check_node(number, self.layout.parts.len()) {
            panic!("{cause}");
        }
        match ClusterNode::find(self, number) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// The nodes, by number.
    pub fn nodes(&self) -> Vec<ClusterNode> {
        (0..self.layout.parts.len()).map(|number| self.node(number)).collect()
    }

    /// The pods that there are, in the order in which they came.
    pub fn pods(&self) -> Vec<Pod> {
        self.state().pods().into_iter().map(|record| Pod::new(self.clone(), record)).collect()
    }

    /// The pod of this name; `web_server` finds `web-server`, too.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn pod(&self, name: &str) -> Result<Pod, Error> {
        let spelled = name.replace('_', "-");
        let pods = self.state().pods();
        let found = pods.iter().find(|pod| *pod.name == *name || *pod.name == spelled);
        found.map(|record| Pod::new(self.clone(), record.clone())).ok_or_else(|| {
            let names: Vec<&str> = pods.iter().map(|pod| &*pod.name).collect();
            let known = match (netns_test_model::closest(name, names.iter().copied()), names.is_empty()) {
                (Some(close), _) => format!("did you mean `{close}`?"),
                (None, true) => "the cluster has no pods".to_owned(),
                (None, false) => format!("there are `{}`", names.join("`, `")),
            };
            Error::because(format!("find the pod `{name}`"), known)
        })
    }

    /// The host beside the nodes on the underlay: the body runs in it.
    ///
    /// It is the nodes' way out of the cluster, and reaches every node and every pod directly.
    ///
    /// # Errors
    /// The test has ended.
    pub fn outside(&self) -> Result<Node, Error> {
        self.network.node(OUTSIDE)
    }

    /// The network of the test.
    pub fn network(&self) -> &Network {
        &self.network
    }

    fn net(&self) -> &Arc<Net> {
        &self.network.0
    }

    fn state(&self) -> &State {
        &self.net().kubernetes
    }
}

/// What a cluster has when the body of its test starts. Other networks have nothing of it.
pub(crate) fn begin(net: &Arc<Net>) -> Result<(), Error> {
    let network = Network(Arc::clone(net));
    let Some(layout) = &net.plan.cluster else { return Ok(()) };
    let cluster = Cluster { network, layout: Arc::clone(layout) };
    let pods = layout.pods.iter().map(|PodOn { name, node }| PodBuilder::new(cluster.clone(), *node, name));
    pod::start_all(&cluster, pods.collect()).map(drop)
}
