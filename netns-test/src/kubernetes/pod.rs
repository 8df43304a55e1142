//! Pods: started, found and deleted while the test runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::state::Record;
use super::{Cluster, ClusterNode};
use crate::error::{Doing, Error};
use crate::inject::{Argument, FromNetwork};
use crate::node::Node;
use crate::{plan, provision, registry};

/// A pod: a [`Node`] behind a node of the cluster, with an address of that node's range.
///
/// It can do whatever a node can. Pods that the attribute declares are injected by name; others come from
/// [`ClusterNode::pod`] while the test runs.
///
/// ```
/// use netns_test::kubernetes::Pod;
/// use netns_test::netns_test;
///
/// #[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
/// async fn declared(client: Pod, server: Pod) -> std::io::Result<()> {
///     let listener = server.listen_tcp(80).await?;
///     client.connect_tcp("server:80").await?;
///     assert_eq!(listener.accept().await?.1.ip(), client.ip());
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct Pod {
    cluster: Cluster,
    node: Node,
    pub(super) record: Record,
}

impl Pod {
    pub(super) fn new(cluster: Cluster, record: Record) -> Self {
        Self { cluster, node: Node::new(Arc::clone(&record.state)), record }
    }

    /// The node that it runs on.
    ///
    /// # Panics
    /// The test has ended.
    #[track_caller]
    pub fn node(&self) -> ClusterNode {
        self.cluster.node(self.record.node)
    }

    /// The number of the node that it runs on, counted from 0.
    pub fn node_number(&self) -> usize {
        self.record.node
    }

    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::clone(&self.cluster.state().labels(&self.record))
    }

    /// The cluster that it is part of.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The pod as a node, for what takes one.
    pub fn as_node(&self) -> &Node {
        &self.node
    }

    /// Deletes the pod: its tasks are dropped, its programs killed, its connections reset; then its link is gone, and its
    /// name and address are free.
    ///
    /// Threads of [`spawn_thread`](Node::spawn_thread) cannot be ended: they stay behind, without a network. A pod that
    /// has been deleted is not deleted again; one whose deletion has failed on the way can be. This takes a few hundredths of a second: the kernel takes its time over
    /// interfaces that go one by one.
    ///
    /// # Errors
    /// A program cannot be killed; the kernel's own; the test has ended, or the calling thread is none of the test's.
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::{Cluster, Pod}};
    /// #[netns_test(kubernetes(nodes = 1, pods(server = 0)))]
    /// fn comes_back(cluster: Cluster, server: Pod) -> std::io::Result<()> {
    ///     let ip = server.ip();
    ///     server.delete()?;
    ///     let again = cluster.node(0).pod("server").ip(ip).start()?;
    ///     assert_eq!(again.ip(), ip);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn delete(&self) -> Result<(), Error> {
        // Of two at once, the second returns when the pod is gone as well.
        let mut is_done = self.record.state.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_done {
            return self.cluster.sync_after(false);
        }
        let operation = || format!("delete `{}`", self.name());
        self.node.net().doing(operation)?;
        // Before anything is changed: it needs a thread of the test, and one that stays.
        match registry::here().doing(operation)? {
            None => return Err(Error::because(operation(), "the calling thread is none of the test's")),
            Some(here) if here.namespaces.inode() == self.record.state.namespaces.inode() => {
                return Err(Error::because(operation(), "the code that asks for it runs in the pod itself"));
            }
            Some(_) => {}
        }
        // Nobody is to be sent to it any more while it ends.
        self.change_readiness(false)?;
        self.forget_redirection()?;
        provision::leave(self.cluster.net(), &self.record.state)?;
        self.cluster.state().forget(&self.cluster.layout, self.name());
        *is_done = true;
        self.cluster.sync_after(true)
    }

    /// Whether it has been deleted: a pod that came after it may have its name.
    pub(super) fn has_left(&self) -> bool {
        self.record.state.has_left.load(Ordering::Acquire)
    }

    /// The pod's interface on its node, and the index of it.
    pub(super) fn far_end(&self) -> Option<(String, u32)> {
        let far = self.record.state.joined.as_ref()?.interfaces.first()?;
        Some((far.name.clone(), far.index))
    }

    /// Whether the pod is ready: one that is not gets no new connections from services. Pods start ready.
    ///
    /// # Errors
    /// The pod has been deleted; the kernel's own; the test has ended, or the calling thread is none of the test's.
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::{Cluster, Pod}};
    /// #[netns_test(kubernetes(nodes = 1))]
    /// fn takes_a_pod_out(cluster: Cluster) -> std::io::Result<()> {
    ///     let server = cluster.node(0).pod("server").label("app", "echo").start()?;
    ///     let echo = cluster.service("echo").port(80, 80).selector("app", "echo").create()?;
    ///     server.set_ready(false)?;
    ///     assert!(echo.endpoints().is_empty());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn set_ready(&self, is_ready: bool) -> Result<(), Error> {
        self.node.net().doing(|| format!("change the readiness of `{}`", self.name()))?;
        self.change_readiness(is_ready)
    }

    /// Gives the pod a label, or another value to one that it has: services and network policies select it, or do not any more, when this
    /// returns.
    ///
    /// # Errors
    /// The pod has been deleted; the kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn set_label(&self, key: impl Into<String>, value: impl Into<String>) -> Result<(), Error> {
        self.change_labels(|labels| drop(labels.insert(key.into(), value.into())))
    }

    /// Takes a label away from the pod; nothing happens where it has none of this key.
    ///
    /// # Errors
    /// As [`set_label`](Pod::set_label).
    pub fn remove_label(&self, key: &str) -> Result<(), Error> {
        self.change_labels(|labels| drop(labels.remove(key)))
    }

    fn change_labels(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> Result<(), Error> {
        self.node.net().doing(|| format!("change the labels of `{}`", self.name()))?;
        let has_changed = self.cluster.state().change_labels(&self.record, change) == Some(true);
        self.cluster.sync_after(has_changed)
    }

    fn change_readiness(&self, is_ready: bool) -> Result<(), Error> {
        let has_changed =
            !self.has_left() && self.cluster.state().set_ready(self.name(), is_ready) == Some(true);
        self.cluster.sync_after(has_changed)
    }
}

impl Deref for Pod {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl AsRef<Node> for Pod {
    fn as_ref(&self) -> &Node {
        &self.node
    }
}

impl From<Pod> for Node {
    fn from(pod: Pod) -> Self {
        pod.node
    }
}

impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Pod");
        shown.field("name", &self.name()).field("node", &self.record.node).field("labels", &self.labels());
        shown.finish_non_exhaustive()
    }
}

impl FromNetwork for Pod {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.network().cluster()?.pod(argument.name())
    }
}

impl<const N: usize> FromNetwork for [Pod; N] {
    /// All pods of the cluster, node by node.
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        let pods = argument.network().cluster()?.pods();
        let count = pods.len();
        pods.try_into().map_err(|_| argument.refuse(format!("the cluster has {count} pods, and not {N}")))
    }
}

/// A pod that is to be started, from [`ClusterNode::pod`].
#[derive(Clone, Debug)]
#[must_use = "a pod is there when it is started"]
pub struct PodBuilder {
    cluster: Cluster,
    node: usize,
    name: String,
    ip: Option<IpAddr>,
    labels: BTreeMap<String, String>,
}

impl PodBuilder {
    pub(super) fn new(cluster: Cluster, node: usize, name: &str) -> Self {
        let name = netns_test_model::host_name(name);
        Self { cluster, node, name, ip: None, labels: BTreeMap::new() }
    }

    /// One label more.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Its address, in place of the next free one of its node's range. The one of the other family goes with it: they end
    /// alike.
    pub fn ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.ip = Some(ip.into());
        self
    }

    /// Starts the pod. When this returns, its first packet arrives.
    ///
    /// It makes namespaces and a veth, and waits for no program: a plain call, for async code as well.
    ///
    /// # Errors
    /// The name is no host name, or is taken; the address is taken, or none of the node's; the node has no address left; the
    /// kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn start(self) -> Result<Pod, Error> {
        let (cluster, operation) = (self.cluster.clone(), self.operation());
        // Before anything is made: the nodes could not be told of it.
        if registry::here().doing(|| operation.clone())?.is_none() {
            return Err(Error::because(operation, "the calling thread is none of the test's"));
        }
        let started = start_all(&cluster, vec![self])?;
        started.into_iter().next().ok_or_else(|| Error::because(operation, "it was deleted at once"))
    }

    fn operation(&self) -> String {
        format!("start the pod `{}`", self.name)
    }
}

/// Starts several pods at once: their links are waited for together.
pub(super) fn start_all(cluster: &Cluster, pods: Vec<PodBuilder>) -> Result<Vec<Pod>, Error> {
    let (net, state, layout) = (cluster.net(), cluster.state(), &cluster.layout);
    let mut joining = Vec::with_capacity(pods.len());
    let give_up = |joining: &[plan::Joining], error| {
        joining.iter().for_each(|joining| state.forget(layout, &joining.node.name));
        error
    };
    for pod in pods {
        let operation = pod.operation();
        match state.reserve(layout, &pod.name, pod.node, pod.ip, Arc::new(pod.labels)) {
            Ok(number) => joining.push(plan::pod(&net.plan, layout, &pod.name, pod.node, number)),
            Err(cause) => return Err(give_up(&joining, Error::because(operation, cause))),
        }
    }
    let joined = provision::join(net, joining.clone()).map_err(|error| give_up(&joining, error))?;
    let records: Vec<Record> = joined.iter().filter_map(|joined| state.started(joined)).collect();
    if let Err(error) = cluster.sync() {
        // A pod that nobody has been told of is none. The first error is the one to tell.
        for record in records {
            let _left = provision::leave(net, &record.state);
            state.forget(layout, &record.name);
        }
        return Err(error);
    }
    Ok(records.into_iter().map(|record| Pod::new(cluster.clone(), record)).collect())
}
