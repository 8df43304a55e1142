//! Made by `tests/tests/elsewhere.rs` of the sources for Linux, which have the whole documentation.
#![allow(unused_variables, dead_code, reason = "nothing in here runs")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, RangeInclusive};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::net::UdpSocket;
use super::dns::Server;
use super::handles::{Network, Node};
pub use super::layout::ClusterLayout;
use super::{Opaque, refused, unavailable};
use crate::{Argument, Error, FromNetwork};
/// The cluster of a test with `kubernetes(..)`: its nodes and its pods.
#[derive(Clone, Debug)]
pub struct Cluster(Opaque);
impl Cluster {
    /// The cluster's name server: what it was asked, records beside the cluster's own, and faults.
    pub fn dns(&self) -> Result<Server, Error> {
        Err(refused())
    }
    /// The network of the test.
    pub fn network(&self) -> &Network {
        unavailable()
    }
    /// A network policy that is to be created: [`NetworkPolicyBuilder`] has the details.
    pub fn network_policy(&self, name: impl AsRef<str>) -> NetworkPolicyBuilder {
        unavailable()
    }
    /// The node of this number, counted from 0: `node-0`, `node-1`, ….
    #[track_caller]
    pub fn node(&self, number: usize) -> ClusterNode {
        unavailable()
    }
    /// The nodes, by number.
    pub fn nodes(&self) -> Vec<ClusterNode> {
        unavailable()
    }
    /// The host beside the nodes on the underlay: the body runs in it.
    pub fn outside(&self) -> Result<Node, Error> {
        Err(refused())
    }
    /// The pod of this name; `web_server` finds `web-server`, too.
    pub fn pod(&self, name: &str) -> Result<Pod, Error> {
        Err(refused())
    }
    /// The pods that there are, in the order in which they came.
    pub fn pods(&self) -> Vec<Pod> {
        unavailable()
    }
    /// A service that is to be created: [`ServiceBuilder`] has the details.
    pub fn service(&self, name: impl AsRef<str>) -> ServiceBuilder {
        unavailable()
    }
}
impl FromNetwork for Cluster {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Err(refused())
    }
}
/// A node of a cluster: a [`Node`] on the underlay, which passes on the packets of its pods.
#[derive(Clone, Debug)]
pub struct ClusterNode(Opaque);
impl ClusterNode {
    /// The cluster that it is part of.
    pub fn cluster(&self) -> &Cluster {
        unavailable()
    }
    /// The node as such, for what takes one.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Its number, counted from 0.
    pub fn number(&self) -> usize {
        unavailable()
    }
    /// A pod that is to be started on this node: [`PodBuilder`] has the details.
    pub fn pod(&self, name: impl AsRef<str>) -> PodBuilder {
        unavailable()
    }
    /// The ranges that its pods have their addresses of, with the lengths of their prefixes, IPv4 first.
    pub fn pod_cidrs(&self) -> Vec<(IpAddr, u8)> {
        unavailable()
    }
    /// The pods on this node, in the order in which they came.
    pub fn pods(&self) -> Vec<Pod> {
        unavailable()
    }
}
impl AsRef<Node> for ClusterNode {
    fn as_ref(&self) -> &Node {
        unavailable()
    }
}
impl Deref for ClusterNode {
    type Target = Node;
    fn deref(&self) -> &Node {
        unavailable()
    }
}
impl Network {
    /// The cluster that the network is.
    pub fn cluster(&self) -> Result<Cluster, Error> {
        Err(refused())
    }
}
/// A network policy: a pod that it selects is denied what no policy that selects it allows.
#[derive(Clone)]
pub struct NetworkPolicy(Opaque);
impl NetworkPolicy {
    /// Deletes the policy: what it alone has denied is allowed again.
    pub fn delete(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// How many packets the pods that it selects now have been denied, in the directions in which it isolates them.
    pub fn denied(&self) -> Result<u64, Error> {
        Err(refused())
    }
    /// Its name.
    pub fn name(&self) -> &str {
        unavailable()
    }
    /// The pods that it selects now.
    pub fn pods(&self) -> Vec<Pod> {
        unavailable()
    }
}
impl fmt::Debug for NetworkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A network policy that is to be created, from [`Cluster::network_policy`].
#[derive(Clone, Debug)]
#[must_use = "a policy is there when it is created"]
pub struct NetworkPolicyBuilder(Opaque);
impl NetworkPolicyBuilder {
    /// Creates the policy. When this returns, every node enforces it.
    pub fn create(self) -> Result<NetworkPolicy, Error> {
        Err(refused())
    }
    /// Allows some of what the pods begin to others.
    pub fn egress(self, rule: PolicyRule) -> Self {
        unavailable()
    }
    /// Allows some of what others begin to the pods.
    pub fn ingress(self, rule: PolicyRule) -> Self {
        unavailable()
    }
    /// Labels that the pods have which it selects: all of them. Without this, it selects all pods.
    pub fn pod_selector(self, labels: &[(&str, &str)]) -> Self {
        unavailable()
    }
    /// The directions in which it isolates the pods. Where this is not said it is as in Kubernetes: ingress always, and egress where
    /// there is a rule for it. So a policy of egress alone has to say so.
    pub fn policy_types(self, types: &[PolicyType]) -> Self {
        unavailable()
    }
    /// What is denied is refused, TCP by a reset and all else by ICMP, in place of being dropped, as most network plugins do it: a client
    /// is told at once, and does not wait until it gives up. It holds for all that the pods which it selects are denied, in its directions.
    pub fn reject(self) -> Self {
        unavailable()
    }
}
impl Node {
    /// A UDP socket of this node that speaks with another's address: a proxy's answer comes from where the question was sent to.
    pub fn bind_udp_as(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        unavailable()
    }
    /// Hands the node's network namespace to another process over a Unix socket (`SCM_RIGHTS`, unix(7)), with some bytes that say what
    /// it is: as a CNI plugin hands a pod's to a proxy on the node.
    #[cfg(unix)]
    pub fn send_netns(&self, to: &impl AsFd, message: &[u8]) -> io::Result<()> {
        unavailable()
    }
}
impl From<ClusterNode> for Node {
    fn from(node: ClusterNode) -> Self {
        unavailable()
    }
}
impl From<Pod> for Node {
    fn from(pod: Pod) -> Self {
        unavailable()
    }
}
/// A pod: a [`Node`] behind a node of the cluster, with an address of that node's range.
#[derive(Clone)]
pub struct Pod(Opaque);
impl Pod {
    /// The pod as a node, for what takes one.
    pub fn as_node(&self) -> &Node {
        unavailable()
    }
    /// The cluster that it is part of.
    pub fn cluster(&self) -> &Cluster {
        unavailable()
    }
    /// Deletes the pod: its tasks are dropped, its programs killed, its connections reset; then its link is gone, and its
    /// name and address are free.
    pub fn delete(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// Ends what [`redirect`](Pod::redirect) began: new connections go their own way. Nothing happens where there was nothing.
    pub fn end_redirection(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// Its labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        unavailable()
    }
    /// The node that it runs on.
    #[track_caller]
    pub fn node(&self) -> ClusterNode {
        unavailable()
    }
    /// The number of the node that it runs on, counted from 0.
    pub fn node_number(&self) -> usize {
        unavailable()
    }
    /// Redirects the pod's traffic to a transparent proxy, from now on; connections that are established stay as they are.
    pub fn redirect(&self, redirect: Redirect) -> Result<(), Error> {
        Err(refused())
    }
    /// Takes a label away from the pod; nothing happens where it has none of this key.
    pub fn remove_label(&self, key: &str) -> Result<(), Error> {
        Err(refused())
    }
    /// Gives the pod a label, or another value to one that it has: services and network policies select it, or do not any more, when this
    /// returns.
    pub fn set_label(
        &self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// Whether the pod is ready: one that is not gets no new connections from services. Pods start ready.
    pub fn set_ready(&self, is_ready: bool) -> Result<(), Error> {
        Err(refused())
    }
}
impl<const N: usize> FromNetwork for [Pod; N] {
    /// All pods of the cluster, node by node.
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Err(refused())
    }
}
impl AsRef<Node> for Pod {
    fn as_ref(&self) -> &Node {
        unavailable()
    }
}
impl Deref for Pod {
    type Target = Node;
    fn deref(&self) -> &Node {
        unavailable()
    }
}
impl FromNetwork for Pod {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Err(refused())
    }
}
impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A pod that is to be started, from [`ClusterNode::pod`].
#[derive(Clone, Debug)]
#[must_use = "a pod is there when it is started"]
pub struct PodBuilder(Opaque);
impl PodBuilder {
    /// Its address, in place of the next free one of its node's range. The one of the other family goes with it: they end
    /// alike.
    pub fn ip(self, ip: impl Into<IpAddr>) -> Self {
        unavailable()
    }
    /// One label more.
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        unavailable()
    }
    /// Starts the pod. When this returns, its first packet arrives.
    pub fn start(self) -> Result<Pod, Error> {
        Err(refused())
    }
}
/// What a [`NetworkPolicy`] allows: some peers, on some ports.
#[derive(Clone, Debug, Default)]
#[must_use = "it is for `NetworkPolicyBuilder::ingress` or `egress`"]
pub struct PolicyRule(Opaque);
impl PolicyRule {
    /// But for a part of the block before it. Called several times, for all of them.
    pub fn except(self, cidr: impl Into<String>) -> Self {
        unavailable()
    }
    /// Whoever has an address of a prefix, as `10.0.0.0/8` or `::/0`, pods among them.
    pub fn ip_block(self, cidr: impl Into<String>) -> Self {
        unavailable()
    }
    /// Everybody, on all ports.
    pub fn new() -> Self {
        unavailable()
    }
    /// The pods that have all of these labels; without any, all pods.
    pub fn pod_selector(self, labels: &[(&str, &str)]) -> Self {
        unavailable()
    }
    /// A TCP port: the one that the pod listens on, not that of a service before it.
    pub fn port(self, port: u16) -> Self {
        unavailable()
    }
    /// The TCP ports from one to another (a manifest's `port` and `endPort`).
    pub fn ports(self, ports: RangeInclusive<u16>) -> Self {
        unavailable()
    }
    /// A UDP port.
    pub fn udp_port(self, port: u16) -> Self {
        unavailable()
    }
    /// The UDP ports from one to another.
    pub fn udp_ports(self, ports: RangeInclusive<u16>) -> Self {
        unavailable()
    }
}
/// A direction in which a [`NetworkPolicy`] isolates pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyType {
    /// What others begin to a pod.
    Ingress,
    /// What a pod begins to others.
    Egress,
}
/// What of a pod's traffic goes to a transparent proxy, for [`Pod::redirect`].
#[derive(Clone, Debug)]
#[must_use = "it is for `Pod::redirect`"]
pub struct Redirect(Opaque);
impl Redirect {
    /// To a proxy whose sockets are in the pod's node.
    pub fn at_node() -> Self {
        unavailable()
    }
    /// To a proxy in another pod of the same node, a gateway: the node routes the pod's traffic there, by marks and a routing table.
    pub fn by_way_of(gateway: &Pod) -> Self {
        unavailable()
    }
    /// To a proxy whose sockets are in the pod.
    pub fn in_pod() -> Self {
        unavailable()
    }
    /// The TCP connections that others begin to the pod go to this port of the proxy.
    pub fn inbound(self, port: u16) -> Self {
        unavailable()
    }
    /// The datagrams that others send to the pod go to this UDP port of the proxy, but for answers. Not [`in_pod`](Redirect::in_pod): a proxy's
    /// answers would have to leave by the application's own port.
    pub fn inbound_udp(self, port: u16) -> Self {
        unavailable()
    }
    /// The TCP connections that the pod begins go to this port of the proxy. Those to the loopback and to the pod itself do not.
    pub fn outbound(self, port: u16) -> Self {
        unavailable()
    }
    /// The datagrams that the pod sends to others go to this UDP port of the proxy, but for those to the cluster's name server, and
    /// answers to what others have sent first. They come transparently in all arrangements: the proxy's socket must be
    /// [transparent](set_transparent), and [`receive_redirected`] tells where each was to go.
    pub fn outbound_udp(self, port: u16) -> Self {
        unavailable()
    }
    /// Inbound connections come transparently (`TPROXY`): the accepted socket has the original destination as its own address. The
    /// proxy's listener must be [transparent](set_transparent).
    pub fn transparent(self) -> Self {
        unavailable()
    }
    /// Connections of sockets with this mark (`SO_MARK`) are the proxy's own.
    pub fn unless_mark(self, mark: u32) -> Self {
        unavailable()
    }
    /// Inbound connections to this port are not redirected: a port of the proxy's own, for instance.
    pub fn unless_port(self, port: u16) -> Self {
        unavailable()
    }
    /// Connections of this user's processes are the proxy's own. An ordinary user who runs the test has no other user's id to give.
    pub fn unless_user(self, uid: u32) -> Self {
        unavailable()
    }
}
/// A service: an address and a name that stand for the ready pods among those that its selector picks out.
#[derive(Clone)]
pub struct Service(Opaque);
impl Service {
    /// Deletes the service: its name and its address are nobody's. Connections that are established go on.
    pub fn delete(&self) -> Result<(), Error> {
        Err(refused())
    }
    /// The pods that serve it now: those that its selector picks out, and that are ready.
    pub fn endpoints(&self) -> Vec<Pod> {
        unavailable()
    }
    /// The address that its name resolves to first: IPv6 in a dual-stack network.
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        unavailable()
    }
    /// Its IPv4 address.
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        unavailable()
    }
    /// Its IPv6 address.
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        unavailable()
    }
    /// Its name: `echo` is `echo.default.svc.cluster.local`.
    pub fn name(&self) -> &str {
        unavailable()
    }
}
impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A service that is to be created, from [`Cluster::service`].
#[derive(Clone, Debug)]
#[must_use = "a service is there when it is created"]
pub struct ServiceBuilder(Opaque);
impl ServiceBuilder {
    /// Its address, in place of the next free one of the services' range. The one of the other family goes with it: they end alike.
    pub fn cluster_ip(self, ip: impl Into<IpAddr>) -> Self {
        unavailable()
    }
    /// Creates the service. When this returns, its name resolves and its address is balanced in every node.
    pub fn create(self) -> Result<Service, Error> {
        Err(refused())
    }
    /// Without an address: its name resolves to the addresses of all its ready pods.
    pub fn headless(self) -> Self {
        unavailable()
    }
    /// A TCP port of the service, and the pods' port behind it.
    pub fn port(self, port: u16, target: u16) -> Self {
        unavailable()
    }
    /// Names the port that was written last: `_http._tcp.echo.default.svc.cluster.local` then has an SRV record, of a headless service
    /// one for each ready pod.
    pub fn port_name(self, name: impl Into<String>) -> Self {
        unavailable()
    }
    /// A label that the pods behind it have. Called several times, they have all of them.
    pub fn selector(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        unavailable()
    }
    /// A client's connections all go to the pod that its first one went to, until none has come for three hours (`sessionAffinity:
    /// ClientIP`).
    pub fn session_affinity(self) -> Self {
        unavailable()
    }
    /// The same with another time without connections.
    pub fn session_affinity_for(self, stay: Duration) -> Self {
        unavailable()
    }
    /// A UDP port of the service, and the pods' port behind it.
    pub fn udp_port(self, port: u16, target: u16) -> Self {
        unavailable()
    }
}
/// Where a connection that was redirected was to go, by connection tracking (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
#[cfg(unix)]
pub fn original_destination(stream: &impl AsFd) -> io::Result<SocketAddr> {
    unavailable()
}
/// Receives a datagram that was redirected: its length, who sent it, and where it was to go (`IP_ORIGDSTADDR`, ip(7)). Addresses of IPv4
/// are told as such, also by a socket of IPv6.
pub async fn receive_redirected(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, SocketAddr)> {
    unavailable()
}
/// Makes a socket transparent (`IP_TRANSPARENT`, ip(7)): a listener takes connections to foreign addresses, and a socket may be bound
/// to one. It needs CAP_NET_ADMIN, which all threads of a test have.
#[cfg(unix)]
pub fn set_transparent(socket: &impl AsFd) -> io::Result<()> {
    unavailable()
}
