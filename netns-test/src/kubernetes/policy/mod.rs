//! Network policies: which pods may talk with whom.

mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::{fmt, io};

use netns_test_model::kubernetes::{check_network_policy, node_name};
use netns_test_model::{Prefix, host_name};

pub(super) use self::rules::{Installed, change, wanted};
use super::rules::Protocol;
use super::state::{PodView, PolicyEntry, View};
use super::{Cluster, Pod, State};
use crate::error::{Doing, Error};
use crate::gateway::Stopped;
use crate::netlink::nftables::{ListedRule, NftSocket};

/// A direction in which a [`NetworkPolicy`] isolates pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyType {
    /// What others begin to a pod.
    Ingress,
    /// What a pod begins to others.
    Egress,
}

impl PolicyType {
    fn name(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// A network policy: a pod that it selects is denied what no policy that selects it allows.
///
/// Policies add up: a pod that none selects may talk with everybody, one that several select with all whom one of them allows. Replies
/// need no rule, and connections that are established go on. It holds until [`delete`](NetworkPolicy::delete).
#[derive(Clone)]
pub struct NetworkPolicy {
    cluster: Cluster,
    name: String,
}

impl NetworkPolicy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pods that it selects now.
    pub fn pods(&self) -> Vec<Pod> {
        let names = self.selected(&self.cluster.state().view());
        self.cluster.pods().into_iter().filter(|pod| names.iter().any(|name| **name == *pod.name())).collect()
    }

    /// How many packets the pods that it selects now have been denied, in the directions in which it isolates them.
    ///
    /// They are counted where they were dropped, in the pods' nodes, from the moment on at which the pod was first isolated; those that TCP
    /// repeats are counted as well. It is what a test waits for that is to see a denial, as nothing else tells of one:
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::{Cluster, Pod}};
    /// #[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
    /// async fn is_denied(cluster: Cluster, client: Pod, server: Pod) -> std::io::Result<()> {
    ///     let nobody = cluster.network_policy("nobody").create()?; // all pods, and nothing is allowed
    ///     let _attempt = client.spawn(async move || tokio::net::TcpStream::connect((server.ip(), 80)).await);
    ///     client.wait_until("a packet that is denied", |_| Ok(nobody.denied()? > 0)).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn denied(&self) -> Result<u64, Error> {
        let view = self.cluster.state().view();
        let selected = self.selected(&view);
        let mut packets = 0;
        for node in self.cluster.hosts()? {
            if !view.pods.iter().any(|pod| pod.node == node.number() && selected.contains(&pod.name)) {
                continue;
            }
            let operation = || format!("read the counters of `{}` for `{}`", node.name(), self.name);
            let socket = node.born_here(NftSocket::open).doing(operation)?;
            let of_it = denied(&socket).doing(operation)?.filter(|(direction, pod, _)| {
                let isolates =
                    |policy: &PolicyEntry| policy.name == self.name && policy.types.contains(direction);
                selected.iter().any(|name| **name == **pod) && view.policies.iter().any(isolates)
            });
            packets += of_it.map(|(.., packets)| packets).sum::<u64>();
        }
        Ok(packets)
    }

    /// Deletes the policy: what it alone has denied is allowed again.
    ///
    /// # Errors
    /// The kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn delete(&self) -> Result<(), Error> {
        let was_there = self.cluster.state().remove_policy(&self.name);
        self.cluster.sync_after(was_there)
    }

    fn selected(&self, view: &View) -> Vec<Arc<str>> {
        let policy = view.policies.iter().find(|policy| policy.name == self.name);
        let pods = view.pods.iter().filter(|pod| policy.is_some_and(|policy| pod.has(&policy.selector)));
        pods.map(|pod| Arc::clone(&pod.name)).collect()
    }
}

impl fmt::Debug for NetworkPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkPolicy").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What was denied in a node so far: the direction, the pod, and how many packets.
fn denied(socket: &NftSocket) -> io::Result<impl Iterator<Item = (PolicyType, String, u64)> + use<>> {
    let of_rule = |rule: ListedRule| {
        let (direction, pod) = rules::denied_of(&rule.chain)?;
        Some((direction, pod.to_owned(), rule.counted?.packets))
    };
    Ok(socket.rules(&rules::table(), None)?.into_iter().filter_map(of_rule))
}

/// What a node's policies have stopped so far; the calling thread is in its network namespace.
pub(crate) fn stopped(state: &State, node: &str) -> io::Result<Vec<Stopped>> {
    let view = state.view();
    if view.policies.is_empty() || !view.pods.iter().any(|pod| node_name(pod.node) == node) {
        return Ok(Vec::new());
    }
    let mut stopped = Vec::new();
    for (direction, pod, packets) in denied(&NftSocket::open()?)?.filter(|(.., packets)| *packets > 0) {
        let Some(of_pod) = view.pods.iter().find(|other| *other.name == *pod) else { continue };
        let names: Vec<String> =
            view.isolating(of_pod, direction).map(|policy| format!("`{}`", policy.name)).collect();
        let why = format!("{} of `{pod}` that {} does not allow", direction.name(), names.join(" or "));
        stopped.push(Stopped { by: "network policies", why, packets });
    }
    Ok(stopped)
}

/// Whether a table is one of those of a cluster's nodes and pods.
pub(crate) fn is_own(family: &str, table: &str) -> bool {
    let of_redirection = table == "redirect" || table.starts_with("redirect/");
    rules::table().is(family, table) || family == "inet" && (table == "kube-proxy" || of_redirection)
}

impl View {
    /// The policies that isolate a pod in a direction.
    fn isolating(&self, pod: &PodView, direction: PolicyType) -> impl Iterator<Item = &PolicyEntry> {
        self.policies
            .iter()
            .filter(move |policy| policy.types.contains(&direction) && pod.has(&policy.selector))
    }
}

/// What a [`NetworkPolicy`] allows: some peers, on some ports.
///
/// Without a peer it allows everybody, without a port all traffic, ICMP as well. Several peers are alternatives, and so are several ports.
///
/// ```
/// # use netns_test::{netns_test, kubernetes::{Cluster, PolicyRule}};
/// #[netns_test(kubernetes(nodes = 1))]
/// fn like_a_manifest(cluster: Cluster) -> std::io::Result<()> {
///     cluster
///         .network_policy("db")
///         .pod_selector(&[("app", "db")])
///         .ingress(PolicyRule::new().pod_selector(&[("app", "api")]).port(5432))
///         .egress(PolicyRule::new().ip_block("10.0.0.0/8").except("10.244.0.0/16"))
///         .egress(PolicyRule::new().udp_port(53).port(53)) // names, from whoever has them
///         .create()?;
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it is for `NetworkPolicyBuilder::ingress` or `egress`"]
pub struct PolicyRule {
    pub(super) peers: Vec<Peer>,
    /// Each from one to another.
    pub(super) ports: Vec<(Protocol, u16, u16)>,
    /// What was written before there was a block, which it could be an exception of.
    stray: Option<String>,
}

/// Somebody whom a rule is about.
#[derive(Clone, Debug)]
pub(super) enum Peer {
    /// The pods that have all of these labels.
    Pods(BTreeMap<String, String>),
    /// As they were written.
    Written {
        block: String,
        except: Vec<String>,
    },
    Block {
        block: Prefix,
        except: Vec<Prefix>,
    },
}

impl PolicyRule {
    /// Everybody, on all ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pods that have all of these labels; without any, all pods.
    pub fn pod_selector(mut self, labels: &[(&str, &str)]) -> Self {
        self.peers.push(Peer::Pods(owned(labels)));
        self
    }

    /// Whoever has an address of a prefix, as `10.0.0.0/8` or `::/0`, pods among them.
    pub fn ip_block(mut self, cidr: impl Into<String>) -> Self {
        self.peers.push(Peer::Written { block: cidr.into(), except: Vec::new() });
        self
    }

    /// But for a part of the block before it. Called several times, for all of them.
    pub fn except(mut self, cidr: impl Into<String>) -> Self {
        let cidr = cidr.into();
        match self.peers.last_mut() {
            Some(Peer::Written { except, .. }) => except.push(cidr),
            _ => self.stray = Some(cidr),
        }
        self
    }

    /// A TCP port: the one that the pod listens on, not that of a service before it.
    pub fn port(self, port: u16) -> Self {
        self.ports(port..=port)
    }

    /// The TCP ports from one to another (a manifest's `port` and `endPort`).
    pub fn ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports.push((Protocol::Tcp, *ports.start(), *ports.end()));
        self
    }

    /// A UDP port.
    pub fn udp_port(self, port: u16) -> Self {
        self.udp_ports(port..=port)
    }

    /// The UDP ports from one to another.
    pub fn udp_ports(mut self, ports: RangeInclusive<u16>) -> Self {
        self.ports.push((Protocol::Udp, *ports.start(), *ports.end()));
        self
    }

    /// The rule with its blocks read.
    fn read(self) -> Result<Self, String> {
        if let Some(text) = self.stray {
            return Err(format!(
                "`{text}` is an exception of no block: write `.ip_block(\"10.0.0.0/8\")` before `.except(\"{text}\")`"
            ));
        }
        let read = |peer| match peer {
            Peer::Written { block, except } => {
                let block = Prefix::parse_any(&block)?;
                let inside = |text: &String| {
                    let part = Prefix::parse_any(text)?;
                    match block.contains(part.first()) && part.length() > block.length() {
                        true => Ok(part),
                        false => Err(format!(
                            "`{part}` is no part of `{block}`, which it is to be an exception of"
                        )),
                    }
                };
                Ok(Peer::Block { block, except: except.iter().map(inside).collect::<Result<_, String>>()? })
            }
            peer => Ok(peer),
        };
        Ok(Self { peers: self.peers.into_iter().map(read).collect::<Result<_, String>>()?, ..self })
    }
}

fn owned(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A network policy that is to be created, from [`Cluster::network_policy`].
#[derive(Clone, Debug)]
#[must_use = "a policy is there when it is created"]
pub struct NetworkPolicyBuilder {
    cluster: Cluster,
    name: String,
    selector: BTreeMap<String, String>,
    types: Option<Vec<PolicyType>>,
    ingress: Vec<PolicyRule>,
    egress: Vec<PolicyRule>,
    is_told: bool,
}

impl Cluster {
    /// A network policy that is to be created: [`NetworkPolicyBuilder`] has the details.
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::{Cluster, Pod, PolicyRule}};
    /// #[netns_test(kubernetes(nodes = 2, pods(stranger = 0)))]
    /// async fn the_database_is_for_the_api(cluster: Cluster, stranger: Pod) -> std::io::Result<()> {
    ///     let db = cluster.node(1).pod("db").label("app", "db").start()?;
    ///     let api = cluster.node(0).pod("api").label("app", "api").start()?;
    ///     let from_api = PolicyRule::new().pod_selector(&[("app", "api")]).port(5432);
    ///     cluster.network_policy("db").pod_selector(&[("app", "db")]).ingress(from_api).reject().create()?;
    ///
    ///     let _listener = db.listen_tcp(5432).await?;
    ///     api.connect_tcp("db:5432").await?;
    ///     assert!(stranger.connect_tcp("db:5432").await.is_err());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn network_policy(&self, name: impl AsRef<str>) -> NetworkPolicyBuilder {
        NetworkPolicyBuilder {
            cluster: self.clone(),
            name: host_name(name.as_ref()),
            selector: BTreeMap::new(),
            types: None,
            ingress: Vec::new(),
            egress: Vec::new(),
            is_told: false,
        }
    }
}

impl NetworkPolicyBuilder {
    /// Labels that the pods have which it selects: all of them. Without this, it selects all pods.
    pub fn pod_selector(mut self, labels: &[(&str, &str)]) -> Self {
        self.selector.extend(owned(labels));
        self
    }

    /// Allows some of what others begin to the pods.
    pub fn ingress(mut self, rule: PolicyRule) -> Self {
        self.ingress.push(rule);
        self
    }

    /// Allows some of what the pods begin to others.
    pub fn egress(mut self, rule: PolicyRule) -> Self {
        self.egress.push(rule);
        self
    }

    /// The directions in which it isolates the pods. Where this is not said it is as in Kubernetes: ingress always, and egress where
    /// there is a rule for it. So a policy of egress alone has to say so.
    pub fn policy_types(mut self, types: &[PolicyType]) -> Self {
        self.types = Some(types.to_vec());
        self
    }

    /// What is denied is refused, TCP by a reset and all else by ICMP, in place of being dropped, as most network plugins do it: a client
    /// is told at once, and does not wait until it gives up. It holds for all that the pods which it selects are denied, in its directions.
    pub fn reject(mut self) -> Self {
        self.is_told = true;
        self
    }

    /// Creates the policy. When this returns, every node enforces it.
    ///
    /// # Errors
    /// The name is none, or taken; a port is 0, or a range of ports is empty; a block is no prefix, or an exception no part of it; it
    /// isolates in no direction, or has rules for one in which it does not; the kernel's own; the test has ended, or the calling
    /// thread is none of the test's.
    pub fn create(self) -> Result<NetworkPolicy, Error> {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        let operation = || format!("create the network policy `{name}`");
        let entry = self.entry().map_err(|cause| Error::because(operation(), cause))?;
        cluster.state().add_policy(entry).map_err(|cause| Error::because(operation(), cause))?;
        match cluster.sync() {
            Ok(()) => Ok(NetworkPolicy { cluster, name }),
            Err(error) => {
                cluster.state().remove_policy(&name);
                // Nodes that know of it are to forget it. If that fails too, the next change does it.
                let _stale = cluster.sync();
                Err(error)
            }
        }
    }

    fn entry(self) -> Result<PolicyEntry, String> {
        let Self { name, selector, types, ingress, egress, is_told, .. } = self;
        let ports: Vec<(&str, u16, u16)> = [&ingress, &egress]
            .into_iter()
            .flatten()
            .flat_map(|rule| &rule.ports)
            .map(|(protocol, first, last)| (protocol.name(), *first, *last))
            .collect();
        let has = |which| types.as_ref().is_none_or(|types| types.contains(&which));
        let unused = [(PolicyType::Ingress, &ingress), (PolicyType::Egress, &egress)]
            .into_iter()
            .find(|(direction, rules)| !rules.is_empty() && !has(*direction));
        check_network_policy(
            &name,
            types.as_ref().is_none_or(|types| !types.is_empty()),
            unused.map(|(direction, _)| direction.name()),
            &ports,
        )?;
        let types = types.unwrap_or_else(|| match egress.is_empty() {
            true => vec![PolicyType::Ingress],
            false => vec![PolicyType::Ingress, PolicyType::Egress],
        });
        let read = |rules: Vec<PolicyRule>| rules.into_iter().map(PolicyRule::read).collect::<Result<_, _>>();
        Ok(PolicyEntry { name, selector, types, ingress: read(ingress)?, egress: read(egress)?, is_told })
    }
}

/// The addresses of one family.
fn of_family(pod: &PodView, v4: bool) -> impl Iterator<Item = IpAddr> {
    pod.addresses.iter().copied().filter(move |ip| ip.is_ipv4() == v4)
}
