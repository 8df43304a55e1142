//! A network declared in code.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use netns_test_model::graph::{
    Addresses, Conditions, Direction, Ecn, End, Firewall, Graph, Icmp, Kind, Link, Loss, Member, Nat,
    OwnAddress, Percent, Queue, Rate, RouterOptions, Routes, Trace, Wire,
};
use netns_test_model::kubernetes::Kubernetes;
#[cfg(feature = "kubernetes")]
use netns_test_model::kubernetes::PodOn;
use netns_test_model::{self as model, Alias, Family, Shape, host_name};

use crate::error::Error;

/// A network declared in code, for `#[netns_test(topology = …)]`: nodes, routers and switches, and the links between them.
///
/// It says what `nodes(..)`, `routers(..)`, `switches(..)` and `links(..)` say in the attribute, by the same rules and with the
/// same defaults. Nothing is checked before the test starts, or [`check`](Self::check) is called.
///
/// ```
/// use netns_test::{Node, Router, Topology, netns_test};
///
/// /// Two sites, and a tunnel's MTU between them.
/// fn two_sites(hosts: usize) -> Topology {
///     let mut sites = Topology::new();
///     for site in ["paris", "oslo"] {
///         let (switch, router) = (format!("{site}-lan"), format!("{site}-router"));
///         sites.switch(&switch).router(&router).link(&router, &switch);
///         for number in 0..hosts {
///             let host = format!("{site}-{number}");
///             sites.node(&host).link(&host, &switch);
///         }
///     }
///     sites.link("paris-router.wan", "oslo-router.wan").mtu(1400).prefix("192.0.2.0/30");
///     sites
/// }
///
/// #[netns_test(topology = two_sites(3))]
/// async fn the_sites_reach_each_other(paris_0: Node, oslo_2: Node, paris_router: Router) -> std::io::Result<()> {
///     let listener = oslo_2.listen_tcp(80).await?;
///     let _out = paris_0.connect_tcp("oslo-2:80").await?;
///     let (_in, peer) = listener.accept().await?;
///     assert_eq!(peer.ip(), paris_0.ip());
///     assert_eq!(paris_router.interface("wan")?.link()?.mtu, 1400);
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[must_use = "a topology is built by the test that declares it"]
pub struct Topology {
    graph: Graph,
    /// Nodes in a shape, in place of a graph.
    shape: Option<(Vec<String>, Shape)>,
    /// A cluster, in place of both.
    kubernetes: Option<Kubernetes>,
    family: Family,
    aliases: Vec<Alias>,
    dns: Option<String>,
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

impl Topology {
    /// A network without nodes, with IPv4 and IPv6.
    pub fn new() -> Self {
        Self {
            graph: Graph::default(),
            shape: None,
            kubernetes: None,
            family: Family::Dual,
            aliases: Vec::new(),
            dns: None,
        }
    }

    /// Nodes without a graph.
    #[doc(hidden)]
    pub fn of_shape(nodes: &[&str], shape: Shape) -> Self {
        let nodes = nodes.iter().map(ToString::to_string).collect();
        Self { shape: Some((nodes, shape)), ..Self::new() }
    }

    /// Adds a node. Its name is spelled as an argument's may be: `web_server` is the host `web-server`.
    #[track_caller]
    pub fn node(&mut self, name: impl AsRef<str>) -> &mut Self {
        self.add(name.as_ref(), Kind::Node)
    }

    /// Adds a router: a node that passes on packets that are not its own.
    ///
    /// What is returned can say that it translates or filters, and stands for the topology otherwise.
    pub fn router(&mut self, name: impl AsRef<str>) -> RouterBuilder<'_> {
        let member = host_name(name.as_ref());
        self.add(&member, Kind::Router);
        RouterBuilder { topology: self, member }
    }

    /// Adds a switch. What is linked to it, and to switches that it is linked to, is on one segment.
    pub fn switch(&mut self, name: impl AsRef<str>) -> &mut Self {
        self.add(name.as_ref(), Kind::Switch)
    }

    #[track_caller]
    fn add(&mut self, name: &str, kind: Kind) -> &mut Self {
        self.graph().members.push(Member { name: host_name(name), kind });
        self
    }

    /// The graph to say more about; a shape is turned into one.
    #[track_caller]
    fn graph(&mut self) -> &mut Graph {
        assert!(
            self.kubernetes.is_none(),
            "a cluster's network has its nodes and pods alone: say them by its `ClusterLayout`"
        );
        if let Some((nodes, shape)) = self.shape.take() {
            // In a line and a ring every node passes packets on.
            let kind = if matches!(shape, Shape::Line | Shape::Ring) { Kind::Router } else { Kind::Node };
            for node in &nodes {
                self.add(node, kind);
            }
            let count = nodes.len();
            let pairs: Vec<(usize, usize)> = match shape {
                Shape::Line => (1..count).map(|n| (n - 1, n)).collect(),
                Shape::Ring => (0..count).map(|n| (n, (n + 1) % count)).collect(),
                Shape::Mesh => (0..count).flat_map(|n| (n + 1..count).map(move |other| (n, other))).collect(),
                _ => {
                    self.switch("lan");
                    nodes.iter().for_each(|node| _ = self.link(node, "lan"));
                    Vec::new()
                }
            };
            for (left, right) in pairs {
                self.link(&nodes[left], &nodes[right]);
            }
        }
        &mut self.graph
    }

    /// Links two of them. `r1.swp1` names the interface of `r1`; without a name, interfaces are `eth0`, `eth1`, … in the order
    /// of a node's links.
    pub fn link(&mut self, left: impl AsRef<str>, right: impl AsRef<str>) -> LinkBuilder<'_> {
        let graph = self.graph();
        graph.links.push(Link { ends: [end(left.as_ref()), end(right.as_ref())], ..Link::default() });
        let last = graph.links.len() - 1;
        LinkBuilder { link: &mut graph.links[last] }
    }

    /// What one direction of a link does to packets, beside what the link does in both: where both say the same key, this one
    /// holds. The ends are named as in [`link`](Self::link), which has to be there, too.
    ///
    /// ```
    /// use netns_test::{Conditions, Rate, Topology};
    ///
    /// let mut dsl = Topology::new();
    /// dsl.node("home").router("isp").link("home", "isp").rate(Rate::mbit(16));
    /// dsl.direction("home", "isp", Conditions::new().rate(Rate::mbit(1)));
    /// # dsl.check().unwrap();
    /// ```
    pub fn direction(
        &mut self,
        from: impl AsRef<str>,
        to: impl AsRef<str>,
        conditions: Conditions,
    ) -> &mut Self {
        let ends = [end(from.as_ref()), end(to.as_ref())];
        self.graph().directions.push(Direction { ends, conditions });
        self
    }

    /// What does to packets what the links' conditions say: the kernel's netem where it has that, unless it is called.
    ///
    /// A link's own [`wire`](LinkBuilder::wire) goes before it.
    pub fn wire(&mut self, wire: Wire) -> &mut Self {
        self.graph().wire = Some(wire);
        self
    }

    /// What the random fates of packets follow on the wire in user space: another one in every run, unless it is called. A
    /// test that fails prints it.
    pub fn seed(&mut self, seed: u64) -> &mut Self {
        self.graph().seed = Some(seed);
        self
    }

    /// The address families of all nodes: [`Family::Dual`] unless it is called.
    pub fn family(&mut self, family: Family) -> &mut Self {
        self.family = family;
        self
    }

    /// Which routes the nodes have: [`Routes::All`] unless it is called.
    pub fn routes(&mut self, routes: Routes) -> &mut Self {
        self.graph().routes = routes;
        self
    }

    /// Which addresses the interfaces have: [`Addresses::Assigned`] unless it is called.
    pub fn addresses(&mut self, addresses: Addresses) -> &mut Self {
        self.graph().addresses = addresses;
        self
    }

    /// One more name of a node: a host name or a domain name, which every node resolves.
    pub fn alias(&mut self, node: impl AsRef<str>, name: impl Into<String>) -> &mut Self {
        self.aliases.push(Alias { node: host_name(node.as_ref()), name: name.into() });
        self
    }

    /// The node that all nodes ask for names, over DNS: their /etc/resolv.conf names it.
    pub fn dns(&mut self, node: impl AsRef<str>) -> &mut Self {
        self.dns = Some(host_name(node.as_ref()));
        self
    }

    /// Whether the network can be built.
    ///
    /// # Errors
    /// It cannot; the error tells all that is wrong, in the words of the attribute.
    ///
    /// ```
    /// let mut topology = netns_test::Topology::new();
    /// topology.node("client").link("client", "cleint");
    /// let error = topology.check().unwrap_err();
    /// assert!(error.to_string().contains("there is no `cleint`: did you mean `client`?"));
    /// ```
    pub fn check(&self) -> Result<(), Error> {
        check(&self.model())
    }

    /// The network of a cluster, built in code.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn of_cluster(kubernetes: Kubernetes, family: Family) -> Self {
        Self { kubernetes: Some(kubernetes), family, ..Self::new() }
    }

    /// The network of a cluster, which the attribute declares.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn of_kubernetes(declared: &crate::__private::Kubernetes) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let pods = declared.pods.iter().map(|&(name, node)| PodOn { name: name.to_owned(), node });
        let kubernetes = Kubernetes {
            nodes: declared.nodes,
            pods_per_node: declared.pods_per_node,
            pods: pods.collect(),
            pod_cidrs: texts(declared.pod_cidrs),
            service_cidrs: texts(declared.service_cidrs),
        };
        Self { kubernetes: Some(kubernetes), family: declared.family, ..Self::new() }
    }

    pub(crate) fn model(&self) -> model::Topology {
        let model = match (&self.kubernetes, &self.shape) {
            (Some(kubernetes), _) => model::Topology::of_kubernetes(kubernetes.clone(), self.family),
            (None, Some((nodes, shape))) => model::Topology::new(nodes.clone(), *shape, self.family),
            (None, None) => model::Topology::of_graph(self.graph.clone(), self.family),
        };
        model.with_aliases(self.aliases.clone()).with_dns(self.dns.clone())
    }
}

/// Whether the network can be built: all that is wrong, in one error.
pub(crate) fn check(model: &model::Topology) -> Result<(), Error> {
    model.check().map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::because("build the topology", texts.join("; "))
    })
}

/// A router of a [`Topology`], from [`Topology::router`]. It is part of it already; this says more about it.
///
/// It derefs to the topology, so that the next node or link can follow.
///
/// ```
/// use netns_test::{Family, Firewall, Nat, Topology};
///
/// let mut site = Topology::new();
/// site.family(Family::V4).node("host").node("server").router("isp");
/// site.router("gateway").nat(Nat::home().hairpinning(false)).firewall(Firewall::Stateful).uplink("isp");
/// site.link("host", "gateway").prefix("192.168.1.0/24");
/// site.link("gateway", "isp");
/// site.link("isp", "server");
/// site.check().unwrap();
/// ```
#[derive(Debug)]
pub struct RouterBuilder<'a> {
    topology: &'a mut Topology,
    member: String,
}

impl RouterBuilder<'_> {
    /// Translates the IPv4 addresses of what is not behind its uplink to its own there.
    pub fn nat(mut self, nat: Nat) -> Self {
        self.options().nat = Some(nat);
        self
    }

    /// Lets through only this between its uplink and its other links, in IPv4 and IPv6: [`Firewall::Open`] unless it is called.
    pub fn firewall(mut self, firewall: Firewall) -> Self {
        self.options().firewall = Some(firewall);
        self
    }

    /// Which of its links leads outside: the name of who is at its other end, or of the router's own interface.
    ///
    /// A router that translates or filters needs it, unless it has only one link.
    pub fn uplink(mut self, end: impl AsRef<str>) -> Self {
        self.options().uplink = Some(host_name(end.as_ref()));
        self
    }

    fn options(&mut self) -> &mut RouterOptions {
        let routers = &mut self.topology.graph.routers;
        let position =
            routers.iter().position(|options| options.member == self.member).unwrap_or_else(|| {
                routers.push(RouterOptions { member: self.member.clone(), ..RouterOptions::default() });
                routers.len() - 1
            });
        &mut routers[position]
    }
}

impl Deref for RouterBuilder<'_> {
    type Target = Topology;

    fn deref(&self) -> &Topology {
        self.topology
    }
}

impl DerefMut for RouterBuilder<'_> {
    fn deref_mut(&mut self) -> &mut Topology {
        self.topology
    }
}

/// `r1` or `r1.swp1`: a host name has no dot.
fn end(text: &str) -> End {
    let (member, interface) = text.split_once('.').map_or((text, None), |(m, i)| (m, Some(i.to_owned())));
    End { member: host_name(member), interface }
}

/// A link of a [`Topology`], from [`Topology::link`]. It is part of it already; this says more about it.
pub struct LinkBuilder<'a> {
    link: &'a mut Link,
}

impl LinkBuilder<'_> {
    /// The largest packet on the link, in bytes: the MTU of the interfaces at both ends.
    ///
    /// At least 68 (RFC 791), with IPv6 1280 (RFC 8200); at most 65535.
    pub fn mtu(self, bytes: u32) -> Self {
        self.link.mtu = Some(bytes);
        self
    }

    /// The VLAN that the port of the switch is in: a number from 1 to 4094 (IEEE 802.1Q). Ports of one VLAN reach each other, and so do
    /// those in none. A link between two switches carries all VLANs, or the one that it says.
    ///
    /// Frames on the link have no tag ("access port").
    pub fn vlan(self, number: u16) -> Self {
        self.link.vlan = Some(number);
        self
    }

    /// The link's prefix, as `"10.1.0.0/24"`; called twice, an IPv4 and an IPv6 one.
    ///
    /// A link to a switch says it for all that is on the switch.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        self.link.prefixes.push(prefix.into());
        self
    }

    /// An address of the node at one end, as `"10.1.0.5/24"`; without a length, it has that of the link's prefix.
    ///
    /// Called several times, the end has several addresses, and the node's name stands for the first.
    pub fn address(self, node: impl AsRef<str>, address: impl Into<String>) -> Self {
        self.link.addresses.push(OwnAddress { member: host_name(node.as_ref()), address: address.into() });
        self
    }

    /// Nobody who is not on the link gets a route to it. Said of one link to a switch, it holds for all that is on the switch.
    pub fn private(self) -> Self {
        self.link.private = true;
        self
    }
}

/// What it does to packets, in both directions; [`Conditions`] says more about each. Several conditions may be said in one
/// value, by [`conditions`](Self::conditions), and what holds for one direction alone by [`Topology::direction`].
impl LinkBuilder<'_> {
    /// All that it does to packets, in place of what was said before.
    pub fn conditions(self, conditions: Conditions) -> Self {
        self.link.conditions = conditions;
        self
    }

    fn more(self, more: Conditions) -> Self {
        self.link.conditions = std::mem::take(&mut self.link.conditions).with(&more);
        self
    }

    /// How long a packet is on its way.
    pub fn delay(self, delay: Duration) -> Self {
        self.more(Conditions::new().delay(delay))
    }

    /// By how much the delay varies, up and down.
    pub fn jitter(self, jitter: Duration) -> Self {
        self.more(Conditions::new().jitter(jitter))
    }

    /// Which packets are lost: a [`Percent`] of them, or a [`Burst`](crate::Burst).
    pub fn loss(self, loss: impl Into<Loss>) -> Self {
        self.more(Conditions::new().loss(loss))
    }

    /// The share of packets that arrive twice.
    pub fn duplicate(self, share: Percent) -> Self {
        self.more(Conditions::new().duplicate(share))
    }

    /// The share of packets that are not delayed, and so overtake others.
    pub fn reorder(self, share: Percent) -> Self {
        self.more(Conditions::new().reorder(share))
    }

    /// The share of packets in which one bit is flipped.
    pub fn corrupt(self, share: Percent) -> Self {
        self.more(Conditions::new().corrupt(share))
    }

    /// How much passes in a second.
    pub fn rate(self, rate: Rate) -> Self {
        self.more(Conditions::new().rate(rate))
    }

    /// A rate that changes over time, in place of one [`rate`](Self::rate).
    pub fn trace(self, trace: Trace) -> Self {
        self.more(Conditions::new().trace(trace))
    }

    /// How much waits for its turn at that rate.
    pub fn queue(self, queue: impl Into<Queue>) -> Self {
        self.more(Conditions::new().queue(queue))
    }

    /// What becomes of Explicit Congestion Notification.
    pub fn ecn(self, ecn: Ecn) -> Self {
        self.more(Conditions::new().ecn(ecn))
    }

    /// What becomes of ICMP's error messages.
    pub fn icmp(self, icmp: Icmp) -> Self {
        self.more(Conditions::new().icmp(icmp))
    }

    /// What does that: the kernel's netem, or a thread of the test, which a test can then program packet by packet.
    ///
    /// With [`Wire::User`] a link without conditions is on that wire, too.
    pub fn wire(self, wire: Wire) -> Self {
        self.link.wire = Some(wire);
        self
    }
}

impl fmt::Debug for LinkBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkBuilder").field(&self.link).finish()
    }
}
