//! The plan of a graph: interfaces as they were resolved, and routes by the shortest ways.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use netns_test_model::Family;
use netns_test_model::graph::{Gateway, Graph, Interface, Resolved, Routes};

use super::{Conditioned, End, GatewayPlan, NatPlan, NodePlan, RoutePlan, Wiring, add_multicast};

/// Gives the nodes what a checked graph says.
pub(super) fn wire(graph: &Graph, family: Family, nodes: &mut [NodePlan]) -> (Wiring, Arc<Resolved>) {
    let resolved = graph.resolve(family).unwrap_or_else(|_| unreachable!("the topology was checked"));
    let mut positions = Vec::with_capacity(resolved.interfaces.len());
    for Interface { host, name, mtu, vlan, addresses, .. } in &resolved.interfaces {
        let position = nodes[*host].attach(host + 1, addresses.clone());
        let interface = &mut nodes[*host].interfaces[position];
        interface.name.clone_from(name);
        interface.mtu = *mtu;
        interface.vlan = *vlan;
        interface.has_routes = graph.routes != Routes::None;
        positions.push(position);
    }
    let mut wiring = Wiring::default();
    let end =
        |interface: usize| End { node: resolved.interfaces[interface].host, interface: positions[interface] };
    // A link to a switch that does something to packets needs the switch behind it.
    let needs_switch = |interfaces: &[usize]| {
        let to_switch = resolved.conditioned.iter().filter(|link| link.ends.contains(&None));
        to_switch.flat_map(|link| link.ends.iter().flatten()).any(|end| interfaces.contains(end))
    };
    for segment in &resolved.segments {
        let ends: Vec<End> = segment.interfaces.iter().copied().map(end).collect();
        let before = wiring.switches.len();
        match ends.is_empty() {
            // Switches on their own.
            true => {}
            false if needs_switch(&segment.interfaces) => wiring.switches.push(ends),
            false => wiring.connect(ends),
        }
        wiring.switch_of_segment.push((wiring.switches.len() > before).then_some(before));
    }
    for link in resolved.conditioned.iter().cloned() {
        let ends = link.ends.map(|interface| interface.map(end));
        let (conditions, wire, is_own) = (link.conditions, link.wire, link.is_own);
        wiring.conditioned.push(Conditioned { ends, conditions, wire, is_own });
    }
    for (host, node) in nodes.iter_mut().enumerate() {
        node.is_router = resolved.hosts[host].is_router;
        node.forwards = node.is_router;
    }
    route(&resolved, &positions, graph.routes, family, nodes);
    (wiring, Arc::new(resolved))
}

/// Gives the nodes, whose interfaces have their addresses, what follows from that: routes and names.
pub(super) fn route(
    resolved: &Resolved,
    positions: &[usize],
    routes: Routes,
    family: Family,
    nodes: &mut [NodePlan],
) {
    let ways = Ways::new(resolved, positions);
    for (host, node) in nodes.iter_mut().enumerate() {
        node.gateway = resolved.hosts[host].gateway.as_ref().map(|gateway| planned(gateway, positions, node));
        name_addresses(node);
        node.routes.clear();
        if routes == Routes::All {
            for v4 in [true, false] {
                ways.add_routes(host, v4, node);
            }
        }
        let first = node.interfaces.first();
        let speaks_v4 = first.is_some_and(|first| first.addresses.iter().any(|(ip, _)| ip.is_ipv4()));
        if routes != Routes::None && speaks_v4 {
            add_multicast(node, family);
        }
    }
}

/// What a router does, by the names of its interfaces.
fn planned(gateway: &Gateway, positions: &[usize], node: &NodePlan) -> GatewayPlan {
    let position = positions[gateway.uplink];
    let uplink = &node.interfaces[position];
    let v4 = uplink.addresses.iter().find_map(|(ip, _)| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    let inside = node.interfaces.iter().filter(|interface| interface.index != uplink.index);
    GatewayPlan {
        uplink: uplink.name.clone(),
        inside: inside.map(|interface| interface.name.clone()).collect(),
        outer: v4,
        nat: gateway.nat.clone().zip(v4).map(|(nat, outer)| NatPlan { outer, nat }),
        firewall: gateway.firewall,
    }
}

/// A node is called by the first address of its first interface, in each family; the others come behind.
fn name_addresses(node: &mut NodePlan) {
    let all = node.interfaces.iter().flat_map(|interface| interface.addresses.iter().map(|(ip, _)| *ip));
    let (mut ip4, mut ip6, mut more): (Option<Ipv4Addr>, Option<Ipv6Addr>, Vec<IpAddr>) =
        (None, None, Vec::new());
    for ip in all {
        match ip {
            IpAddr::V4(ip) if ip4.is_none() => ip4 = Some(ip),
            IpAddr::V6(ip) if ip6.is_none() => ip6 = Some(ip),
            other => more.push(other),
        }
    }
    (node.ip4, node.ip6, node.more) = (ip4, ip6, more);
}

/// Who can hand packets on to whom.
struct Ways<'a> {
    resolved: &'a Resolved,
    /// Of each host its interfaces, in order.
    of_host: Vec<Vec<usize>>,
    /// Of each interface its position in its host.
    positions: &'a [usize],
}

/// The beginning of a way: through an interface to a router.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Way {
    interface: usize,
    via: IpAddr,
}

impl<'a> Ways<'a> {
    fn new(resolved: &'a Resolved, positions: &'a [usize]) -> Self {
        let mut of_host = vec![Vec::new(); resolved.hosts.len()];
        for (index, interface) in resolved.interfaces.iter().enumerate() {
            of_host[interface.host].push(index);
        }
        Self { resolved, of_host, positions }
    }

    /// The address by which others on its link know an interface.
    fn address(&self, interface: usize, v4: bool) -> Option<IpAddr> {
        let mut addresses = self.resolved.interfaces[interface].addresses.iter().map(|(ip, _)| *ip);
        addresses.find(|ip| ip.is_ipv4() == v4)
    }

    /// The interfaces of a host that speak the family, and are known to others than those on their links.
    fn own(&self, host: usize, v4: bool) -> impl Iterator<Item = usize> {
        let is_known = move |interface: &usize| {
            let segment = self.resolved.interfaces[*interface].segment;
            self.address(*interface, v4).is_some() && !self.resolved.segments[segment].private
        };
        self.of_host[host].iter().copied().filter(is_known)
    }

    /// The uplink of a host that translates the family.
    fn translated_at(&self, host: usize, v4: bool) -> Option<usize> {
        let gateway = self.resolved.hosts[host].gateway.as_ref()?;
        (v4 && gateway.nat.is_some()).then_some(gateway.uplink)
    }

    /// The routers on the link of one of a host's interfaces: their interfaces there, and addresses.
    ///
    /// One that translates is none for those outside.
    fn routers(&self, interface: usize, v4: bool) -> impl Iterator<Item = (usize, IpAddr)> {
        let here = &self.resolved.interfaces[interface];
        let others = self.resolved.segments[here.segment].interfaces.iter().copied();
        others.filter_map(move |other| {
            let host = self.resolved.interfaces[other].host;
            let is_router = host != here.host
                && self.resolved.hosts[host].is_router
                && self.translated_at(host, v4) != Some(other);
            is_router.then(|| self.address(other, v4)).flatten().map(|ip| (other, ip))
        })
    }

    fn add_routes(&self, host: usize, v4: bool, node: &mut NodePlan) {
        let mut ways = self
            .own(host, v4)
            .flat_map(|interface| self.routers(interface, v4).map(move |(_, via)| Way { interface, via }));
        let (first, second) = (ways.next(), ways.next());
        let Some(only) = first else { return };
        if second.is_none() && !self.resolved.hosts[host].is_router {
            node.routes.push(self.default_route(v4, only));
            return;
        }
        let (ways, outside) = self.first_ways(host, v4);
        for (segment, way) in self.resolved.segments.iter().zip(ways) {
            let prefix = segment.prefixes.iter().find(|prefix| prefix.is_ipv4() == v4);
            if let (Some(prefix), Some(way)) = (prefix, way) {
                node.routes.push(self.route(prefix.first(), prefix.length(), way));
            }
        }
        node.routes.extend(outside.map(|way| self.default_route(v4, way)));
    }

    fn default_route(&self, v4: bool, way: Way) -> RoutePlan {
        let destination: IpAddr =
            if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        self.route(destination, 0, way)
    }

    fn route(&self, destination: IpAddr, prefix_len: u8, way: Way) -> RoutePlan {
        let interface = super::FIRST_INDEX + self.positions[way.interface] as u32;
        RoutePlan { destination, prefix_len, via: Some(way.via), interface, source: None }
    }

    /// For every segment that the host is not on, how the shortest way to it begins; the first declared of several. And how
    /// that to the nearest router begins which translates what goes further.
    fn first_ways(&self, host: usize, v4: bool) -> (Vec<Option<Way>>, Option<Way>) {
        let mut outside = None;
        let mut ways = vec![None; self.resolved.segments.len()];
        let mut reached = vec![false; self.resolved.segments.len()];
        let mut passed = vec![false; self.resolved.hosts.len()];
        passed[host] = true;
        // Interfaces on segments that are reached, and how: through none on the host's own.
        let mut queue: VecDeque<(usize, Option<Way>)> = VecDeque::new();
        for own in self.own(host, v4) {
            let segment = self.resolved.interfaces[own].segment;
            if !std::mem::replace(&mut reached[segment], true) {
                queue.push_back((own, None));
            }
        }
        while let Some((interface, way)) = queue.pop_front() {
            for (router, via) in self.routers(interface, v4) {
                let router = self.resolved.interfaces[router].host;
                if std::mem::replace(&mut passed[router], true) {
                    continue;
                }
                let way = way.unwrap_or(Way { interface, via });
                let uplink = self.translated_at(router, v4);
                if uplink.is_some() {
                    outside.get_or_insert(way);
                }
                for next in self.own(router, v4).filter(|next| Some(*next) != uplink) {
                    let segment = self.resolved.interfaces[next].segment;
                    if !std::mem::replace(&mut reached[segment], true) {
                        ways[segment] = Some(way);
                        queue.push_back((next, Some(way)));
                    }
                }
            }
        }
        (ways, outside)
    }
}

#[cfg(test)]
mod tests {
    use netns_test_model::Topology;
    use netns_test_model::graph::{End as GraphEnd, Kind, Link, Member, Nat, RouterOptions};

    use super::*;
    use crate::plan::{Plan, plan};

    /// `a b | r1 r2 | s`: nodes, routers, switches.
    fn graph(members: &str, links: &[[&str; 2]], routes: Routes) -> Graph {
        let mut graph = Graph { routes, ..Graph::default() };
        for (names, kind) in members.split('|').zip([Kind::Node, Kind::Router, Kind::Switch]) {
            let member = |name: &str| Member { name: name.to_owned(), kind };
            graph.members.extend(names.split_whitespace().map(member));
        }
        let end = |name: &&str| GraphEnd { member: (*name).to_owned(), interface: None };
        graph
            .links
            .extend(links.iter().map(|ends| Link { ends: ends.each_ref().map(end), ..Link::default() }));
        graph
    }

    fn planned(members: &str, links: &[[&str; 2]], routes: Routes) -> Plan {
        let topology = Topology::of_graph(graph(members, links, routes), Family::V4);
        assert_eq!(topology.check(), Ok(()));
        plan(&topology)
    }

    /// `10.1.1.0/24 via 10.1.0.2 eth0`, multicast left out.
    fn routes(plan: &Plan, name: &str) -> Vec<String> {
        let node = plan.nodes.iter().find(|node| node.name == name).expect("the node");
        let line = |route: &RoutePlan| {
            let interface = node.interfaces.iter().find(|interface| interface.index == route.interface);
            let (via, interface) = (route.via?, &interface?.name);
            Some(format!("{}/{} via {via} {interface}", route.destination, route.prefix_len))
        };
        node.routes.iter().filter_map(line).collect()
    }

    /// The same in which routers of these names translate, with their uplinks.
    fn translated(members: &str, links: &[[&str; 2]], routers: &[[&str; 2]]) -> Plan {
        let mut graph = graph(members, links, Routes::All);
        graph.routers.extend(routers.iter().map(|[member, uplink]| RouterOptions {
            member: (*member).to_owned(),
            nat: Some(Nat::home()),
            firewall: None,
            uplink: Some((*uplink).to_owned()),
        }));
        let topology = Topology::of_graph(graph, Family::V4);
        assert_eq!(topology.check(), Ok(()));
        plan(&topology)
    }

    #[test]
    fn outside_has_no_way_inside_and_inside_has_one_out() {
        let links =
            [["host", "home"], ["home", "cgnat"], ["cgnat", "isp"], ["isp", "server"], ["isp", "far"]];
        let plan =
            translated("host server | home cgnat isp far", &links, &[["home", "cgnat"], ["cgnat", "isp"]]);
        assert_eq!(routes(&plan, "host"), ["0.0.0.0/0 via 10.1.0.2 eth0"]);
        assert_eq!(routes(&plan, "home"), ["0.0.0.0/0 via 10.1.1.2 eth1"]);
        assert_eq!(
            routes(&plan, "cgnat"),
            ["10.1.3.0/24 via 10.1.2.2 eth1", "10.1.4.0/24 via 10.1.2.2 eth1"]
        );
        assert_eq!(routes(&plan, "isp"), [] as [&str; 0]);
        assert_eq!(routes(&plan, "far"), ["10.1.2.0/24 via 10.1.4.1 eth0", "10.1.3.0/24 via 10.1.4.1 eth0"]);
        assert_eq!(routes(&plan, "server"), ["0.0.0.0/0 via 10.1.3.1 eth0"]);
        let gateway = plan.nodes[2].gateway.as_ref().unwrap();
        assert_eq!((gateway.uplink.as_str(), &gateway.inside), ("eth1", &vec!["eth0".to_owned()]));
        assert_eq!(gateway.nat.as_ref().unwrap().outer, Ipv4Addr::new(10, 1, 1, 1));
    }

    #[test]
    fn a_host_outside_does_not_take_a_translator_for_its_router() {
        let links = [["host", "home"], ["home", "lan"], ["server", "lan"], ["isp", "lan"], ["isp", "far"]];
        let plan = translated("host server far | home isp | lan", &links, &[["home", "lan"]]);
        assert_eq!(routes(&plan, "server"), ["0.0.0.0/0 via 10.1.1.3 eth0"]);
        assert_eq!(routes(&plan, "home"), ["10.1.2.0/24 via 10.1.1.3 eth1"]);
        // Inside, a router that is no translator passes on to one that is.
        let links = [["host", "inner"], ["inner", "home"], ["inner", "other"], ["home", "server"]];
        let plan = translated("host other server | inner home", &links, &[["home", "server"]]);
        assert_eq!(routes(&plan, "inner"), ["0.0.0.0/0 via 10.1.1.2 eth1"]);
        assert_eq!(routes(&plan, "home"), ["10.1.0.0/24 via 10.1.1.1 eth0", "10.1.2.0/24 via 10.1.1.1 eth0"]);
        assert_eq!(routes(&plan, "server"), [] as [&str; 0]);
    }

    #[test]
    fn nobody_else_knows_a_private_link() {
        let mut graph =
            graph("app db user | edge", &[["user", "edge"], ["edge", "app"], ["app", "db"]], Routes::All);
        graph.links[2].private = true;
        graph.links.push(Link { private: true, ..graph.links[0].clone() });
        graph.links[3].ends =
            ["edge", "db"].map(|name| GraphEnd { member: name.to_owned(), interface: None });
        let plan = plan(&Topology::of_graph(graph, Family::V4));
        assert_eq!(routes(&plan, "user"), ["0.0.0.0/0 via 10.1.0.2 eth0"]);
        assert_eq!(routes(&plan, "app"), ["0.0.0.0/0 via 10.1.1.1 eth0"]);
        assert_eq!(routes(&plan, "db"), [] as [&str; 0]);
    }

    const CHAIN: [[&str; 2]; 3] = [["client", "r1"], ["r1", "r2"], ["r2", "server"]];

    #[test]
    fn hosts_have_a_default_route_and_routers_one_for_each_prefix() {
        let plan = planned("client server | r1 r2", &CHAIN, Routes::All);
        assert_eq!(routes(&plan, "client"), ["0.0.0.0/0 via 10.1.0.2 eth0"]);
        assert_eq!(routes(&plan, "r1"), ["10.1.2.0/24 via 10.1.1.2 eth1"]);
        assert_eq!(routes(&plan, "r2"), ["10.1.0.0/24 via 10.1.1.1 eth0"]);
        assert_eq!(routes(&plan, "server"), ["0.0.0.0/0 via 10.1.2.1 eth0"]);
        let forwards: Vec<bool> = plan.nodes.iter().map(|node| node.forwards).collect();
        assert_eq!(forwards, [false, false, true, true]);
        assert_eq!(plan.nodes[2].ip4, Some(Ipv4Addr::new(10, 1, 0, 2)));
        assert!(
            plan.hosts.ends_with("10.1.0.2 r1\n10.1.1.1 r1\n10.1.1.2 r2\n10.1.2.1 r2\n"),
            "{}",
            plan.hosts
        );
    }

    #[test]
    fn of_several_shortest_ways_the_first_declared_is_taken() {
        let diamond =
            [["a", "r1"], ["r1", "r2"], ["r1", "r3"], ["r2", "r4"], ["r3", "r4"], ["r4", "b"], ["r1", "r4"]];
        let without_short_cut = planned("a b | r1 r2 r3 r4", &diamond[..6], Routes::All);
        assert!(routes(&without_short_cut, "r1").contains(&"10.1.5.0/24 via 10.1.1.2 eth1".to_owned()));
        assert!(routes(&without_short_cut, "r4").contains(&"10.1.0.0/24 via 10.1.3.1 eth0".to_owned()));
        let with_it = planned("a b | r1 r2 r3 r4", &diamond, Routes::All);
        assert!(routes(&with_it, "r1").contains(&"10.1.5.0/24 via 10.1.6.2 eth3".to_owned()));
    }

    #[test]
    fn hosts_do_not_pass_packets_on() {
        let plan = planned("a b c", &[["a", "b"], ["b", "c"]], Routes::All);
        assert!(plan.nodes.iter().all(|node| node.routes.iter().all(|route| route.via.is_none())));
    }

    #[test]
    fn a_host_with_several_ways_has_a_route_for_each_prefix() {
        let links = [["h", "r1"], ["h", "r2"], ["r1", "a"], ["r2", "b"], ["r1", "r2"]];
        let plan = planned("h a b | r1 r2", &links, Routes::All);
        assert_eq!(
            routes(&plan, "h"),
            [
                "10.1.2.0/24 via 10.1.0.2 eth0",
                "10.1.3.0/24 via 10.1.1.2 eth1",
                "10.1.4.0/24 via 10.1.0.2 eth0"
            ]
        );
    }

    #[test]
    fn less_is_routed_where_less_was_asked_for() {
        let connected = planned("client server | r1 r2", &CHAIN, Routes::Connected);
        assert!(connected.nodes.iter().all(|node| node.routes.iter().all(|route| route.via.is_none())));
        assert!(connected.nodes[0].interfaces[0].has_routes && !connected.nodes[0].routes.is_empty());
        let none = planned("client server | r1 r2", &CHAIN, Routes::None);
        assert!(none.nodes.iter().all(|node| node.routes.is_empty() && !node.interfaces[0].has_routes));
    }

    #[test]
    fn the_cost_of_a_host_does_not_grow_with_the_others() {
        let names: Vec<String> = (0..500).map(|number| format!("n{number}")).collect();
        let links: Vec<[&str; 2]> = names.iter().map(|name| [name.as_str(), "r"]).collect();
        let plan = planned(&format!("{} | r", names[..200].join(" ")), &links[..200], Routes::All);
        // The default route, and the two of multicast and broadcast.
        assert!(plan.nodes[..200].iter().all(|node| node.routes.len() == 3));
        let links: Vec<[&str; 2]> = names.iter().map(|name| [name.as_str(), "s"]).collect();
        let plan = planned(&format!("{} | | s", names.join(" ")), &links, Routes::All);
        assert_eq!((plan.wiring.pairs.len(), plan.wiring.switches.len()), (0, 1));
        assert!(plan.nodes.iter().all(|node| node.routes.len() == 2));
    }

    #[test]
    fn a_switch_between_two_is_a_wire_and_a_switch_on_its_own_is_nothing() {
        let plan = planned("a b c | | s t u", &[["a", "s"], ["b", "s"], ["c", "u"]], Routes::All);
        assert_eq!((plan.wiring.pairs.len(), plan.wiring.switches.len()), (1, 1));
    }
}
