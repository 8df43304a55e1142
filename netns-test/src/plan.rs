//! From a topology to what has to be built: names, addresses, interfaces, routes. Pure: no system call is made here.
//!
//! All of it follows from the declaration alone. Node number `n`, counted from 1, is `10.0.0.n` and `2001:db8::n` (RFC
//! 3849's documentation prefix, which sorts before IPv4 on glibc and on musl, RFC 6724), in bytes and in hexadecimal. On
//! a star these stand on `eth0` with a prefix that all share; elsewhere they stand on `lo`, and the links, which have
//! prefixes of their own, are routed. In a graph, the addresses are those of the links' ends.

mod graph;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(test)]
mod random;
mod replug;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use netns_test_model::graph::{Addresses, Conditions, Firewall, Nat, Resolved, Routes, Wire};
#[cfg(feature = "kubernetes")]
pub(crate) use netns_test_model::kubernetes::Layout;
use netns_test_model::{Family, Shape, Topology};

#[cfg(feature = "kubernetes")]
pub(crate) use self::kubernetes::{DOMAIN, NAMESPACE, name_servers, pod};
pub(crate) use self::replug::{Joint, Replugged};

/// The index of the first interface that is not the loopback. Lower ones may be taken by the tunnel devices that some
/// kernels put into every new namespace.
const FIRST_INDEX: u32 = 100;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) family: Family,
    pub(crate) nodes: Vec<NodePlan>,
    pub(crate) wiring: Wiring,
    /// The text of /etc/hosts.
    pub(crate) hosts: String,
    /// The text of /etc/resolv.conf, where a node is the name server of all.
    pub(crate) resolver: Option<String>,
    /// Where pods and services have their addresses, in a cluster.
    #[cfg(feature = "kubernetes")]
    pub(crate) cluster: Option<Arc<Layout>>,
    /// The graph behind it, where it is one's.
    declared: Option<Declared>,
    /// What random fates of packets follow, where that was declared.
    pub(crate) seed: Option<u64>,
}

/// A graph, as it was declared and as it is now.
#[derive(Clone, Debug, PartialEq)]
struct Declared {
    resolved: Arc<Resolved>,
    now: Arc<Resolved>,
    routes: Routes,
    addresses: Addresses,
}

impl Plan {
    #[cfg(test)]
    fn node(&self, name: &str) -> Option<&NodePlan> {
        self.nodes.iter().find(|node| node.is_called(name))
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wiring {
    /// veth pairs between nodes.
    pub(crate) pairs: Vec<[End; 2]>,
    /// Switches, with what is on each.
    pub(crate) switches: Vec<Vec<End>>,
    /// Which of these links do something to packets.
    pub(crate) conditioned: Vec<Conditioned>,
    /// Of each segment of a graph the switch that it is, if it is one.
    switch_of_segment: Vec<Option<usize>>,
    /// The interfaces whose other end was another one before, and until when: in nanoseconds since 1970.
    pub(crate) replugged: Vec<(End, u64)>,
}

/// A link that does something to packets: one of the pairs, or that of a node to a switch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conditioned {
    /// Its ends; `None` is a switch.
    pub(crate) ends: [Option<End>; 2],
    /// What it does to the packets that each end sends.
    pub(crate) conditions: [Conditions; 2],
    /// What is to do that.
    pub(crate) wire: Option<Wire>,
    /// Whether the link itself says so.
    pub(crate) is_own: bool,
}

impl Wiring {
    fn of_pairs(pairs: Vec<[End; 2]>) -> Self {
        Self { pairs, ..Self::default() }
    }

    /// The link at this end that does something to packets, and at which of its sides (0 or 1) the end is.
    pub(crate) fn conditioned_at(&self, end: End) -> Option<(usize, usize)> {
        self.conditioned.iter().enumerate().find_map(|(index, link)| {
            link.ends.iter().position(|other| *other == Some(end)).map(|side| (index, side))
        })
    }

    /// One more link of these ends, whatever it takes.
    fn connect(&mut self, ends: Vec<End>) {
        match ends[..] {
            // A switch between two is a wire.
            [left, right] => self.pairs.push([left, right]),
            _ => self.switches.push(ends),
        }
    }
}

/// An interface of a node: indices into [`Plan::nodes`] and [`NodePlan::interfaces`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) interface: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    pub(crate) name: String,
    /// The families of the network.
    pub(crate) family: Family,
    /// What it is called, too.
    pub(crate) aliases: Vec<String>,
    pub(crate) ip4: Option<Ipv4Addr>,
    pub(crate) ip6: Option<Ipv6Addr>,
    /// Its addresses beside those two.
    pub(crate) more: Vec<IpAddr>,
    pub(crate) interfaces: Vec<InterfacePlan>,
    /// Addresses of the loopback interface beside `127.0.0.1` and `::1`.
    pub(crate) loopback: Vec<(IpAddr, u8)>,
    pub(crate) routes: Vec<RoutePlan>,
    /// Whether it passes on packets that are not its own.
    pub(crate) forwards: bool,
    /// Whether it was declared as a router.
    pub(crate) is_router: bool,
    /// What it does at its uplink.
    pub(crate) gateway: Option<GatewayPlan>,
}

/// What a router does between its uplink and its other interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GatewayPlan {
    /// The names of its interfaces.
    pub(crate) uplink: String,
    pub(crate) inside: Vec<String>,
    /// The uplink's first IPv4 address.
    pub(crate) outer: Option<Ipv4Addr>,
    pub(crate) nat: Option<NatPlan>,
    pub(crate) firewall: Firewall,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NatPlan {
    /// What the inner addresses become.
    pub(crate) outer: Ipv4Addr,
    pub(crate) nat: Nat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfacePlan {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    /// The largest packet that it sends; `None` leaves it to the kernel.
    pub(crate) mtu: Option<u32>,
    /// The VLAN of its port, on a switch.
    pub(crate) vlan: Option<u16>,
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// Whether its prefixes are routed to it.
    pub(crate) has_routes: bool,
    /// Neighbours whose MAC addresses are known, so that nobody is asked for them.
    pub(crate) neighbours: Vec<(IpAddr, [u8; 6])>,
}

/// A node that joins a network that is there, by a veth from its only interface to one of its nodes.
#[cfg(feature = "kubernetes")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joining {
    pub(crate) node: NodePlan,
    /// The node that it is joined to, and what that one gets: an interface, and routes.
    pub(crate) to: NodePlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutePlan {
    pub(crate) destination: IpAddr,
    pub(crate) prefix_len: u8,
    pub(crate) via: Option<IpAddr>,
    pub(crate) interface: u32,
    pub(crate) source: Option<IpAddr>,
}

impl NodePlan {
    /// Whether this is its host name, in either spelling, or an alias.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name
            || self.name == name.replace('_', "-")
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// The node's own addresses, the one that its name resolves to first at the front.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let first = self.ip6.map(IpAddr::V6).into_iter().chain(self.ip4.map(IpAddr::V4));
        first.chain(self.more.iter().copied())
    }

    fn new(number: usize, name: &str, family: Family) -> Self {
        Self {
            name: name.to_owned(),
            family,
            aliases: Vec::new(),
            ip4: family.has_v4().then(|| ip4(0, number)),
            ip6: family.has_v6().then(|| ip6(0, 0, number)),
            more: Vec::new(),
            interfaces: Vec::new(),
            loopback: Vec::new(),
            routes: Vec::new(),
            forwards: false,
            is_router: false,
            gateway: None,
        }
    }

    /// Adds the next interface of node `number`.
    fn attach(&mut self, number: usize, addresses: Vec<(IpAddr, u8)>) -> usize {
        let position = self.interfaces.len();
        let [.., high, low] = number.to_be_bytes();
        self.interfaces.push(InterfacePlan {
            name: format!("eth{position}"),
            index: FIRST_INDEX + position as u32,
            // Locally administered (IEEE 802: bit 1 of the first octet), "nt", the interface, the node.
            mac: [0x02, b'n', b't', position as u8, high, low],
            mtu: None,
            vlan: None,
            addresses,
            has_routes: true,
            neighbours: Vec::new(),
        });
        position
    }
}

/// Address `number` of block `block` of 10.0.0.0/8.
fn ip4(block: u8, number: usize) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, block, high, low)
}

fn ip6(block: u16, link: u16, number: usize) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, block, link, 0, 0, 0, number as u16)
}

/// The addresses of the end `side` (1 or 2) of link `number`, counted from 0.
fn link_addresses(number: usize, side: u8, family: Family) -> Vec<(IpAddr, u8)> {
    let [.., high, low] = number.to_be_bytes();
    let v4 = family.has_v4().then(|| (Ipv4Addr::new(10, 1 + high, low, side).into(), 24));
    let v6 = family.has_v6().then(|| (ip6(1, number as u16, side.into()).into(), 64));
    v4.into_iter().chain(v6).collect()
}

pub(crate) fn plan(topology: &Topology) -> Plan {
    let family = topology.family;
    let mut nodes: Vec<NodePlan> = topology
        .nodes
        .iter()
        .enumerate()
        .map(|(index, name)| NodePlan::new(index + 1, name, family))
        .collect();
    #[cfg(feature = "kubernetes")]
    let mut cluster = None;
    let mut declared = None;
    let wiring = match (&topology.graph, &topology.kubernetes) {
        #[cfg(feature = "kubernetes")]
        (_, Some(kubernetes)) => {
            let (wiring, layout) = kubernetes::wire(kubernetes, family, &mut nodes);
            cluster = Some(Arc::new(layout));
            wiring
        }
        (Some(graph), _) => {
            let (wiring, resolved) = graph::wire(graph, family, &mut nodes);
            let (routes, addresses) = (graph.routes, graph.addresses);
            declared = Some(Declared { resolved: Arc::clone(&resolved), now: resolved, routes, addresses });
            wiring
        }
        (None, _) => shaped(topology, &mut nodes),
    };
    for node in &mut nodes {
        let own = topology.aliases.iter().filter(|alias| alias.node == node.name);
        node.aliases = own.map(|alias| alias.name.clone()).collect();
    }
    let hosts = hosts(&nodes, family);
    let server = topology.dns.as_ref().and_then(|dns| nodes.iter().find(|node| node.name == *dns));
    let resolver = server.and_then(|server| server.addresses().next()).map(|ip| resolver(&[ip]));
    let seed = topology.graph.as_ref().and_then(|graph| graph.seed);
    #[cfg(feature = "kubernetes")]
    let resolver = cluster.as_deref().map(kubernetes::resolver).or(resolver);
    Plan {
        family,
        nodes,
        wiring,
        hosts,
        resolver,
        declared,
        seed,
        #[cfg(feature = "kubernetes")]
        cluster,
    }
}

fn shaped(topology: &Topology, nodes: &mut [NodePlan]) -> Wiring {
    let (family, count) = (topology.family, nodes.len());
    let wiring = match topology.shape {
        _ if nodes.is_empty() => Wiring::default(),
        Shape::Star => star(nodes),
        Shape::Line => routed(nodes, family, (1..count).map(|right| (right - 1, right)).collect()),
        Shape::Ring => routed(nodes, family, (0..count).map(|left| (left, (left + 1) % count)).collect()),
        Shape::Mesh => {
            let all = (0..count).flat_map(|left| (left + 1..count).map(move |right| (left, right))).collect();
            routed(nodes, family, all)
        }
        _ => unreachable!("`Topology::check` refuses shapes that this version cannot build"),
    };
    for node in nodes {
        add_multicast(node, family);
    }
    wiring
}

fn star(nodes: &mut [NodePlan]) -> Wiring {
    let ends: Vec<End> = nodes
        .iter_mut()
        .enumerate()
        .map(|(index, node)| {
            let v4 = node.ip4.map(|ip| (ip.into(), 16));
            let v6 = node.ip6.map(|ip| (ip.into(), 64));
            let interface = node.attach(index + 1, v4.into_iter().chain(v6).collect());
            End { node: index, interface }
        })
        .collect();
    let mut wiring = Wiring::default();
    wiring.connect(ends);
    wiring
}

fn routed(nodes: &mut [NodePlan], family: Family, links: Vec<(usize, usize)>) -> Wiring {
    let mut neighbours: Vec<Vec<Hop>> = vec![Vec::new(); nodes.len()];
    let mut pairs = Vec::with_capacity(links.len());
    for (number, &(left, right)) in links.iter().enumerate() {
        let addresses = [link_addresses(number, 1, family), link_addresses(number, 2, family)];
        let here = nodes[left].attach(left + 1, addresses[0].clone());
        let there = nodes[right].attach(right + 1, addresses[1].clone());
        pairs.push([End { node: left, interface: here }, End { node: right, interface: there }]);
        let [of_left, of_right] = addresses;
        neighbours[left].push(Hop { node: right, interface: here, via: of_right });
        neighbours[right].push(Hop { node: left, interface: there, via: of_left });
    }
    for (index, node) in nodes.iter_mut().enumerate() {
        let v4 = node.ip4.map(|ip| (ip.into(), 32));
        let v6 = node.ip6.map(|ip| (ip.into(), 128));
        node.loopback = v4.into_iter().chain(v6).collect();
        node.forwards = neighbours[index].len() > 1;
    }
    let own: Vec<(Option<Ipv4Addr>, Option<Ipv6Addr>)> =
        nodes.iter().map(|node| (node.ip4, node.ip6)).collect();
    for (index, node) in nodes.iter_mut().enumerate() {
        for (target, hop) in first_hops(index, &neighbours).into_iter().enumerate() {
            let Some(hop) = hop else { continue };
            let interface = node.interfaces[hop.interface].index;
            let v4 = own[target].0.map(|to| (IpAddr::V4(to), 32, node.ip4.map(IpAddr::V4)));
            let v6 = own[target].1.map(|to| (IpAddr::V6(to), 128, node.ip6.map(IpAddr::V6)));
            for (destination, prefix_len, source) in v4.into_iter().chain(v6) {
                let via = hop.via.iter().map(|&(ip, _)| ip).find(|ip| ip.is_ipv4() == destination.is_ipv4());
                node.routes.push(RoutePlan { destination, prefix_len, via, interface, source });
            }
        }
    }
    Wiring::of_pairs(pairs)
}

#[derive(Clone)]
struct Hop {
    node: usize,
    interface: usize,
    via: Vec<(IpAddr, u8)>,
}

/// For every node, the link of `from` that a shortest path to it begins with; the first declared where several do.
fn first_hops(from: usize, neighbours: &[Vec<Hop>]) -> Vec<Option<Hop>> {
    let mut hops: Vec<Option<Hop>> = vec![None; neighbours.len()];
    let mut queue = VecDeque::new();
    for hop in &neighbours[from] {
        if hops[hop.node].is_none() {
            hops[hop.node] = Some(hop.clone());
            queue.push_back(hop.node);
        }
    }
    while let Some(reached) = queue.pop_front() {
        for hop in &neighbours[reached] {
            if hop.node != from && hops[hop.node].is_none() {
                hops[hop.node] = hops[reached].clone();
                queue.push_back(hop.node);
            }
        }
    }
    hops
}

/// IPv4 multicast and broadcast leave by the first interface. Without these routes sending to 224.0.0.251 or
/// 255.255.255.255 is ENETUNREACH, and joining a group ENODEV. IPv6 has ff00::/8 on every interface by itself.
fn add_multicast(node: &mut NodePlan, family: Family) {
    let Some(first) = node.interfaces.first() else { return };
    let interface = first.index;
    if family.has_v4() {
        let source = node.ip4.map(IpAddr::V4);
        for (destination, prefix_len) in [(Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv4Addr::BROADCAST, 32)] {
            let destination = destination.into();
            node.routes.push(RoutePlan { destination, prefix_len, via: None, interface, source });
        }
    }
}

/// The text of a /etc/resolv.conf with these name servers (resolv.conf(5)).
pub(crate) fn resolver(servers: &[IpAddr]) -> String {
    servers.iter().map(|ip| format!("nameserver {ip}\n")).collect()
}

fn hosts(nodes: &[NodePlan], family: Family) -> String {
    let mut text = String::from("127.0.0.1 localhost\n");
    if family.has_v6() {
        text.push_str("::1 localhost ip6-localhost ip6-loopback\n");
    }
    for node in nodes {
        let underscored = node.name.replace('-', "_");
        let mut names = vec![node.name.as_str()];
        names.extend((underscored != node.name).then_some(underscored.as_str()));
        names.extend(node.aliases.iter().map(String::as_str));
        for ip in node.addresses() {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{ip} {}", names.join(" "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(count: usize, shape: Shape, family: Family) -> Plan {
        plan(&Topology::new((0..count).map(|index| format!("n{index}")).collect(), shape, family))
    }

    #[test]
    fn two_nodes_on_a_star_are_one_veth_pair() {
        let plan = planned(2, Shape::Star, Family::Dual);
        assert_eq!((plan.wiring.pairs.len(), plan.wiring.switches.len()), (1, 0));
        assert_eq!(plan.nodes[1].ip4, Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(plan.nodes[1].ip6, Some("2001:db8::2".parse().unwrap()));
        assert_eq!(plan.nodes[1].interfaces[0].mac, [2, b'n', b't', 0, 0, 2]);
        assert!(plan.hosts.contains("2001:db8::2 n1\n10.0.0.2 n1\n"), "{}", plan.hosts);
    }

    #[test]
    fn aliases_stand_beside_the_names_and_lead_to_the_node() {
        let nodes = vec!["client".to_owned(), "web-server".to_owned()];
        let alias = |name: &str| netns_test_model::Alias { node: "web-server".into(), name: name.into() };
        let topology = Topology::new(nodes, Shape::Star, Family::V4)
            .with_aliases(vec![alias("relay.test"), alias("www")])
            .with_dns(Some("web-server".to_owned()));
        let plan = plan(&topology);
        assert_eq!(
            plan.hosts,
            "127.0.0.1 localhost\n10.0.0.1 client\n10.0.0.2 web-server web_server relay.test www\n"
        );
        assert_eq!(plan.resolver.as_deref(), Some("nameserver 10.0.0.2\n"));
        for name in ["web-server", "web_server", "relay.test", "Relay.Test", "www"] {
            assert_eq!(plan.node(name).map(|node| &*node.name), Some("web-server"), "{name}");
        }
        assert_eq!(plan.node("test"), None);
    }

    #[test]
    fn three_nodes_on_a_star_have_a_switch() {
        let plan = planned(3, Shape::Star, Family::V4);
        assert_eq!((plan.wiring.pairs.len(), plan.wiring.switches.len()), (0, 1));
        assert_eq!(plan.wiring.switches[0].len(), 3);
        assert!(plan.nodes.iter().all(|node| !node.forwards && node.ip6.is_none()));
    }

    #[test]
    fn the_middle_of_a_line_forwards_and_every_node_has_a_route_to_every_other() {
        let plan = planned(4, Shape::Line, Family::Dual);
        let forwards: Vec<bool> = plan.nodes.iter().map(|node| node.forwards).collect();
        assert_eq!(forwards, [false, true, true, false]);
        for node in &plan.nodes {
            let to = plan.nodes.iter().filter(|other| other.name != node.name).flat_map(NodePlan::addresses);
            for address in to {
                let route = node.routes.iter().find(|route| route.destination == address).unwrap();
                assert_eq!(route.source.unwrap().is_ipv4(), address.is_ipv4());
                assert!(route.via.is_some());
            }
        }
    }

    #[test]
    fn a_ring_takes_the_shorter_way() {
        let plan = planned(5, Shape::Ring, Family::V4);
        let to = |target: usize| {
            let destination = IpAddr::V4(plan.nodes[target].ip4.unwrap());
            plan.nodes[0].routes.iter().find(|route| route.destination == destination).unwrap().interface
        };
        assert_eq!((to(1), to(2), to(3), to(4)), (100, 100, 101, 101));
    }

    #[test]
    fn no_address_and_no_mac_stands_twice() {
        for (count, shape) in [(300, Shape::Star), (300, Shape::Line), (64, Shape::Mesh), (200, Shape::Ring)]
        {
            let plan = planned(count, shape, Family::Dual);
            let mut seen = std::collections::HashSet::new();
            for node in &plan.nodes {
                let addresses = node.interfaces.iter().flat_map(|interface| &interface.addresses);
                for (address, _) in addresses.chain(&node.loopback) {
                    assert!(seen.insert(address.to_string()), "{shape:?}: {address}");
                }
                for interface in &node.interfaces {
                    assert!(seen.insert(format!("{:?}", interface.mac)), "{shape:?}: {:?}", interface.mac);
                }
            }
        }
    }
}
