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

mod layout;
mod names;
mod node;
mod pod;
mod policy;
mod redirect;
mod rules;
mod service;
mod state;

use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, PoisonError};

use netns_test_model::kubernetes::{OUTSIDE, PodOn};

pub use self::layout::ClusterLayout;
pub use self::node::ClusterNode;
pub use self::pod::{Pod, PodBuilder};
pub use self::policy::{NetworkPolicy, NetworkPolicyBuilder, PolicyRule, PolicyType};
pub(crate) use self::policy::{is_own, stopped};
pub use self::redirect::{Redirect, original_destination, receive_redirected, set_transparent};
pub use self::service::{Service, ServiceBuilder};
pub(crate) use self::state::State;
use self::state::{PodView, Told, View};
use crate::dns::Server;
use crate::error::{Doing, Error};
use crate::inject::{Argument, FromNetwork};
use crate::netlink::Request;
use crate::netlink::nftables::NftSocket;
use crate::netlink::state::Route;
use crate::network::{Net, Network};
use crate::node::Node;
use crate::plan::{Layout, name_servers};

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

    /// The same for what tells of a test that has ended by an error.
    fn hosts(&self) -> Result<Vec<ClusterNode>, Error> {
        (0..self.layout.parts.len()).map(|number| ClusterNode::find(self, number)).collect()
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

    /// A service that is to be created: [`ServiceBuilder`] has the details.
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::{Cluster, Pod}};
    /// #[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
    /// async fn by_its_name(cluster: Cluster, client: Pod) -> std::io::Result<()> {
    ///     let server = cluster.node(1).pod("server").label("app", "echo").start()?;
    ///     cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    ///     let listener = server.listen_tcp(8080).await?;
    ///     client.connect_tcp("echo.default.svc.cluster.local:80").await?;
    ///     assert_eq!(listener.accept().await?.1.ip(), client.ip());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn service(&self, name: impl AsRef<str>) -> ServiceBuilder {
        ServiceBuilder::new(self.clone(), name.as_ref())
    }

    /// The cluster's name server: what it was asked, records beside the cluster's own, and faults.
    ///
    /// # Errors
    /// The test has ended.
    pub fn dns(&self) -> Result<Server, Error> {
        let dns = self.told().dns.clone();
        dns.ok_or_else(|| Error::because("find the cluster's name server", "it has not been started"))
    }

    /// The network of the test.
    pub fn network(&self) -> &Network {
        &self.network
    }

    fn net(&self) -> &Arc<Net> {
        &self.network.0
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.state().told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells them of a change; without one, only what an earlier attempt could not tell.
    fn sync_after(&self, has_changed: bool) -> Result<(), Error> {
        let is_due = has_changed || self.told().is_stale;
        if is_due { self.sync() } else { Ok(()) }
    }

    /// Tells the name server and the nodes what there is now.
    fn sync(&self) -> Result<(), Error> {
        let mut told = self.told();
        let was_stale = told.is_stale;
        told.is_stale = true;
        self.tell(&mut told, was_stale)?;
        told.is_stale = false;
        Ok(())
    }

    fn tell(&self, told: &mut Told, was_stale: bool) -> Result<(), Error> {
        let view = self.state().view();
        if let Some(dns) = told.dns.clone() {
            let (names, owners) = names::names(self, &view);
            let old = std::mem::replace(&mut told.names, names.keys().cloned().collect());
            dns.exchange(old, &names, owners)?;
        }
        // Before the services: who is denied one is not to reach it first.
        self.enforce(told, &view)?;
        if view.services.is_empty() && told.rules.is_empty() {
            return Ok(());
        }
        let is_first = told.rules.is_empty() || was_stale;
        let wanted = rules::Wanted {
            balanced: balanced(&view),
            pods: self.layout.pod_ranges.clone(),
            services: self.layout.services.clone(),
            name_servers: name_servers(&self.layout).collect(),
        };
        if !is_first && told.services.as_ref() == Some(&wanted) {
            return Ok(());
        }
        for node in self.hosts()? {
            let own: Vec<IpAddr> = node.own_addresses().collect();
            let operation = || format!("change the services in `{}`", node.name());
            let known = told.rules.get(&node.number()).cloned().unwrap_or_default();
            let (batch, installed) = rules::change(&wanted, &own, &known);
            node.born_here(NftSocket::open).doing(operation)?.send(batch)?;
            told.rules.insert(node.number(), installed);
        }
        if is_first {
            self.lead_outside_to_services()?;
        }
        told.services = Some(wanted);
        Ok(())
    }

    /// Has every node enforce the network policies.
    fn enforce(&self, told: &mut Told, view: &View) -> Result<(), Error> {
        if view.policies.is_empty() && told.policies.is_empty() {
            return Ok(());
        }
        let name_servers: Vec<IpAddr> = name_servers(&self.layout).collect();
        for node in self.hosts()? {
            let wanted = policy::wanted(view, node.number(), &name_servers);
            let known = told.policies.entry(node.number()).or_default();
            if let Some(batch) = policy::change(&wanted, known) {
                let operation = || format!("change the network policies in `{}`", node.name());
                node.born_here(NftSocket::open).doing(operation)?.send(batch)?;
                *known = wanted;
            }
        }
        Ok(())
    }

    /// Machines on the underlay reach services by way of a node: here the first one.
    fn lead_outside_to_services(&self) -> Result<(), Error> {
        let outside = self.outside()?;
        let (node, operation) = (ClusterNode::find(self, 0)?, || "lead the underlay to services".to_owned());
        let socket = outside.route_socket().doing(operation)?;
        for range in &self.layout.services {
            let of = |node: &Node| node.own_addresses().find(|ip| ip.is_ipv4() == range.is_ipv4());
            let (Some(via), Some(own)) = (of(&node), of(&outside)) else { continue };
            let route = Route::via(range.first(), range.length(), via).with_source(own);
            socket.request(Request::add_route(&route).or_replace(), operation)?;
        }
        Ok(())
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
    // The hosts are the nodes that there are yet, and each has the name server's addresses.
    let server = Server::start_everywhere(&cluster.network.nodes(), name_servers(layout).collect())?;
    cluster.told().dns = Some(server);
    let pods = layout.pods.iter().map(|PodOn { name, node }| PodBuilder::new(cluster.clone(), *node, name));
    pod::start_all(&cluster, pods.collect()).map(drop)
}

/// The ports of all services that have an address, each with its endpoints.
fn balanced(view: &View) -> Vec<rules::Balanced> {
    let mut all = Vec::new();
    for service in &view.services {
        for &ip in &service.addresses {
            let of_family =
                |pod: &PodView| pod.addresses.iter().copied().find(|own| own.is_ipv4() == ip.is_ipv4());
            for &(protocol, port, target) in &service.ports {
                all.push(rules::Balanced {
                    service: service.name.clone(),
                    ip,
                    protocol,
                    port,
                    endpoints: view.endpoints(service).filter_map(of_family).collect(),
                    target,
                    affinity: service.affinity,
                });
            }
        }
    }
    all
}
