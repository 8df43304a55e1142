//! A node: the handle that a test has.

mod endpoint;
mod files;
mod interface;
mod kernel;
mod names;
mod programs;
mod routes;
mod runtimes;
mod servers;
mod sockets;
mod started;
mod state;
mod wait;
mod work;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::{fmt, io};

use netns_test_model::Family;

pub use self::endpoint::ToEndpoint;
use self::interface::Added;
pub use self::interface::Interface;
pub(crate) use self::state::NodeState;
pub use self::work::ThreadHandle;
use crate::error::{Doing, Error};
use crate::fault::{Hooked, Station};
use crate::namespace::{Depth, Entered, Namespaces, enter};
use crate::netlink::RouteSocket;
use crate::network::{Net, Network};
use crate::plan::GatewayPlan;

/// One host of a test's network: a network stack, mounts and a host name of its own.
///
/// A handle is cheap to clone and can be used from every thread and runtime. What only asks the kernel is a plain
/// method; what waits for a peer is async and has a twin, `blocking_…`, for plain functions. A handle that outlives its
/// test says so when it is used.
#[derive(Clone)]
pub struct Node(Arc<NodeState>);

impl Node {
    pub(crate) fn new(state: Arc<NodeState>) -> Self {
        Self(state)
    }

    /// The host name, which every other node resolves: the argument's name, `web_server` as `web-server`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The address that the node's name resolves to first: IPv6 in a dual-stack network (RFC 6724).
    ///
    /// In a graph it is an address of the node's first interface; others, of the same or of its other interfaces, resolve
    /// behind it.
    ///
    /// # Panics
    /// Where it has none: no link, or `addresses = none`.
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        self.0.plan().addresses().next().unwrap_or_else(|| panic!("{}", self.no_address("")))
    }

    /// The node's IPv4 address: `10.0.0.1` for the first node, and so on; in a graph, the first of its first interface.
    ///
    /// # Panics
    /// In a network of `family = v6`; where the node has no address.
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        self.0.plan().ip4.unwrap_or_else(|| panic!("{}", self.no_address("IPv4 ")))
    }

    /// The node's IPv6 address: `2001:db8::1` for the first node, and so on; in a graph, the first of its first interface.
    ///
    /// # Panics
    /// In a network of `family = v4`; where the node has no address.
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        self.0.plan().ip6.unwrap_or_else(|| panic!("{}", self.no_address("IPv6 ")))
    }

    /// Why the node has no address of the kind that was asked for.
    fn no_address(&self, kind: &str) -> String {
        let why = match self.0.plan().family {
            Family::V4 if kind.starts_with("IPv6") => "its network is `family = v4`",
            Family::V6 if kind.starts_with("IPv4") => "its network is `family = v6`",
            _ => "it has no link, or was declared without addresses",
        };
        format!("the node `{}` has no {kind}address: {why}", self.name())
    }

    /// Whether it was declared as a router.
    pub fn is_router(&self) -> bool {
        self.0.plan().is_router
    }

    /// The network namespace, for code that enters namespaces by itself (setns(2) with `CLONE_NEWNET`).
    ///
    /// Only threads of the test can enter it: they have the capabilities.
    pub fn netns_fd(&self) -> BorrowedFd<'_> {
        self.0.namespaces.net()
    }

    /// The network that the node is part of.
    ///
    /// # Errors
    /// The test has ended.
    pub fn network(&self) -> io::Result<Network> {
        self.net().map(Network)
    }

    /// Whether it has left its network.
    pub(crate) fn has_left(&self) -> bool {
        self.0.has_left.load(Ordering::Acquire)
    }

    /// Whether both are handles to one node.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_of(&other.0)
    }

    pub(crate) fn is_of(&self, state: &Arc<NodeState>) -> bool {
        Arc::ptr_eq(&self.0, state)
    }

    /// Where the packets of an interface are held; it is built when it is first asked for.
    pub(crate) fn station(&self, interface: &Interface) -> Result<Arc<Station>, Error> {
        let mut stations = self.0.stations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(station) = stations.get(&interface.index()) {
            return Ok(Arc::clone(station));
        }
        let station = Station::build(interface)?;
        // Torn down meanwhile: it must not outlive the test.
        self.net().doing(|| format!("hold the packets of `{interface}`"))?;
        stations.insert(interface.index(), Arc::clone(&station));
        Ok(station)
    }

    /// Which interfaces have filters of faults.
    pub(crate) fn hooked(&self) -> &Hooked {
        &self.0.hooked
    }

    /// The interfaces that it was declared with, those that it got by what has joined since, and those that the test has added.
    pub(crate) fn known_interfaces(&self) -> Vec<Interface> {
        let nodes = self.net().map(|net| net.nodes()).unwrap_or_default();
        let joined = nodes.iter().filter_map(|node| node.joined.as_ref()).filter(|to| to.name == self.name());
        let own = self.0.plan();
        let plans = std::iter::once(&*own).chain(joined).flat_map(|plan| &plan.interfaces);
        let planned = plans.map(|interface| Interface::planned(self.clone(), interface));
        let added = self.0.added().clone();
        let added =
            added.into_iter().map(|Added { index, name, .. }| Interface::found(self.clone(), index, name));
        planned.chain(added).collect()
    }

    /// Remembers an interface that the test has added, and which one it stands on.
    pub(crate) fn remember_added(&self, interface: &Interface, lower: Option<&Interface>) {
        let lower = lower.map(|lower| (lower.node().name().to_owned(), lower.index()));
        self.0.added().push(Added { index: interface.index(), name: interface.name().to_owned(), lower });
    }

    /// Whether the test has added an interface.
    pub(crate) fn has_added(&self, index: u32) -> bool {
        self.0.added().iter().any(|added| added.index == index)
    }

    /// Forgets one that is deleted.
    pub(crate) fn forget_added(&self, index: u32) {
        self.0.added().retain(|added| added.index != index);
    }

    /// Forgets what faults did to an interface that is gone.
    pub(crate) fn forget_interface(&self, socket: &RouteSocket, index: u32) -> Result<(), Error> {
        self.0.forget_interface(socket, index)
    }

    /// Whether an address is that of one of its declared interfaces.
    pub(crate) fn has_planned(&self, ip: IpAddr) -> bool {
        self.0.plan().interfaces.iter().any(|interface| interface.addresses.iter().any(|(own, _)| *own == ip))
    }

    /// The node's own addresses, the one that its name resolves to first at the front.
    pub(crate) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.plan().addresses().collect::<Vec<_>>().into_iter()
    }

    pub(crate) fn namespaces(&self) -> &Arc<Namespaces> {
        &self.0.namespaces
    }

    pub(crate) fn net(&self) -> io::Result<Arc<Net>> {
        let net = self.running()?;
        match self.has_left() {
            true => Err(self.left()),
            false => Ok(net),
        }
    }

    /// The network that the node is part of, or was.
    fn running(&self) -> io::Result<Arc<Net>> {
        self.0.net.upgrade().filter(|net| !net.has_ended()).ok_or_else(|| self.ended())
    }

    /// What it does at its uplink.
    pub(crate) fn gateway(&self) -> Option<GatewayPlan> {
        self.0.plan().gateway.clone()
    }

    pub(crate) fn shared(&self) -> &NodeState {
        &self.0
    }

    /// The error of handles that are used after their test.
    fn ended(&self) -> io::Error {
        let (name, test) = (self.name(), self.0.test);
        let text = format!("the node `{name}` belongs to the test `{test}`, which has ended");
        io::Error::new(io::ErrorKind::NotConnected, text)
    }

    /// The error of handles to a node that is no part of its network any more.
    fn left(&self) -> io::Error {
        let text = format!("the node `{}` has been deleted", self.name());
        io::Error::new(io::ErrorKind::NotConnected, text)
    }

    fn enter_depth(&self, depth: Depth) -> io::Result<Entered> {
        self.net()?;
        enter(&self.0.namespaces, depth)
    }
}

impl AsRef<Node> for Node {
    fn as_ref(&self) -> &Node {
        self
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.0.plan().addresses().next();
        f.debug_struct("Node").field("name", &self.name()).field("ip", &ip).finish_non_exhaustive()
    }
}
