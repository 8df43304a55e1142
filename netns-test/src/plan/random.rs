//! Random declarations: what is planned for them holds together, whatever they are.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::net::IpAddr;

use netns_test_model::graph::{Conditions, Firewall, Nat, Percent, Rate};
use netns_test_model::{Alias, Family, Shape};

use super::{End, NodePlan, Plan, Routes, plan};
use crate::fuzz::Random;

/// The longest name of an interface: IFNAMSIZ in linux/if.h, less the NUL.
const LONGEST_NAME: usize = 15;

const DECLARATIONS: u64 = 250;

/// Draws declarations until so many can be built. What `Topology::check` refuses is no plan's business.
fn for_each_plan(seed: u64, draw: impl Fn(&mut Random) -> netns_test_model::Topology, look: impl Fn(&Plan)) {
    let mut random = Random(seed);
    let mut planned = 0;
    for _ in 0..DECLARATIONS {
        let topology = draw(&mut random);
        if topology.check().is_ok() {
            let made = plan(&topology);
            assert_eq!(made, plan(&topology), "the plan follows from the declaration alone");
            look(&made);
            planned += 1;
        }
    }
    assert!(planned > DECLARATIONS / 10, "{planned} of {DECLARATIONS} could be built");
}

fn any_family(random: &mut Random) -> Family {
    *random.one_of(Family::ALL)
}

/// A shape with a few aliases.
fn shape(random: &mut Random) -> netns_test_model::Topology {
    let (shape, family) = (*random.one_of(Shape::ALL), any_family(random));
    let most = if random.once_in(10) { 30 } else { 10 };
    let nodes: Vec<String> = (0..random.below(most)).map(|number| format!("n-{number}")).collect();
    let aliases = nodes.iter().filter(|node| node.ends_with('3'));
    let aliases = aliases.map(|node| Alias { node: node.clone(), name: format!("{node}.test") }).collect();
    let server = nodes.first().filter(|_| random.once_in(3)).cloned();
    netns_test_model::Topology::new(nodes, shape, family).with_aliases(aliases).with_dns(server)
}

/// Nodes, routers and switches with random links between them.
fn graph(random: &mut Random) -> netns_test_model::Topology {
    let mut topology = crate::Topology::new();
    topology.family(any_family(random));
    topology.routes(*random.one_of(&[Routes::All, Routes::All, Routes::Connected, Routes::None]));
    let most = if random.once_in(20) { 40 } else { 10 };
    let members = 2 + random.below(most);
    let name = |number: usize| format!("m{number}");
    let mut uplinks = Vec::new();
    for number in 0..members {
        match random.below(6) {
            0..3 => drop(topology.node(name(number))),
            3 => drop(topology.switch(name(number))),
            4 => drop(topology.router(name(number))),
            _ => {
                let router = topology.router(name(number)).uplink(name(number / 2));
                let router = if random.once_in(2) { router.nat(Nat::home()) } else { router };
                drop(router.firewall(*random.one_of(&[Firewall::Open, Firewall::Stateful])));
                uplinks.push((number, number / 2));
            }
        }
    }
    for (router, uplink) in uplinks.into_iter().filter(|(router, uplink)| router != uplink) {
        topology.link(name(router), name(uplink));
    }
    for number in 1..members + random.below(members) {
        let left = if number < members { number } else { random.below(members) };
        let mut link = topology.link(name(left), name(random.below(left.max(1))));
        if random.once_in(8) {
            link = link.mtu(1280 + random.below(8000) as u32);
        }
        if random.once_in(6) {
            link = link.prefix(format!("10.{}.{}.0/28", 100 + random.below(3), random.below(200)));
        }
        if random.once_in(8) {
            link = link.private();
        }
        if random.once_in(5) {
            link.conditions(Conditions::new().loss(Percent(1.0)).rate(Rate::mbit(10)));
        }
    }
    topology.model()
}

/// What holds for every network.
fn holds_together(plan: &Plan) {
    let mut macs = HashSet::new();
    let mut addresses = HashSet::new();
    let mut names = HashSet::new();
    for node in &plan.nodes {
        assert!(names.insert(&node.name), "two nodes are called {}", node.name);
        let (mut interfaces, mut indices) = (HashSet::new(), HashSet::new());
        for interface in &node.interfaces {
            let name = &interface.name;
            assert!((1..=LONGEST_NAME).contains(&name.len()) && name != "lo", "{name}");
            assert!(
                interfaces.insert(name) && indices.insert(interface.index),
                "{}/{name} is there twice",
                node.name
            );
            assert!(macs.insert(interface.mac), "{}/{name} has another's MAC address", node.name);
            // Locally administered, and of one interface (IEEE 802).
            assert_eq!(interface.mac[0] & 3, 2);
            let families = |v4| interface.addresses.iter().filter(|(ip, _)| ip.is_ipv4() == v4).count();
            assert!(families(true) <= usize::from(plan.family.has_v4()), "{}/{name}", node.name);
            assert!(families(false) <= usize::from(plan.family.has_v6()), "{}/{name}", node.name);
        }
        for &(ip, length) in
            node.interfaces.iter().flat_map(|interface| &interface.addresses).chain(&node.loopback)
        {
            assert!(addresses.insert(ip), "{ip} is there twice");
            assert!(usize::from(length) <= if ip.is_ipv4() { 32 } else { 128 });
        }
        for ip in node.addresses() {
            assert!(addresses.contains(&ip), "{}'s address {ip} is on no interface", node.name);
            assert!(
                plan.hosts.lines().any(|line| line.starts_with(&format!("{ip} {}", node.name))),
                "{}",
                plan.hosts
            );
        }
    }
    every_interface_is_wired_once(plan);
    plan.nodes.iter().for_each(|node| every_route_can_be_taken(plan, node));
}

fn every_interface_is_wired_once(plan: &Plan) {
    let mut wired = BTreeMap::new();
    for [left, right] in &plan.wiring.pairs {
        *wired.entry((left.node, left.interface)).or_insert(0) += 1;
        *wired.entry((right.node, right.interface)).or_insert(0) += 1;
    }
    for End { node, interface } in plan.wiring.switches.iter().flatten() {
        *wired.entry((*node, *interface)).or_insert(0) += 1;
    }
    let interfaces = plan.nodes.iter().enumerate();
    let all = interfaces.flat_map(|(node, planned)| {
        (0..planned.interfaces.len()).map(move |interface| ((node, interface), 1))
    });
    assert_eq!(wired, all.collect());
}

/// Who is on the same link as an interface, it included.
fn segment(plan: &Plan, end: End) -> Vec<End> {
    let pairs = plan.wiring.pairs.iter().map(|pair| &pair[..]);
    let mut segments = pairs.chain(plan.wiring.switches.iter().map(Vec::as_slice));
    segments.find(|ends| ends.contains(&end)).expect("it is wired").to_vec()
}

/// Whose address it is.
fn owner(plan: &Plan, ip: IpAddr) -> Option<End> {
    plan.nodes.iter().enumerate().find_map(|(node, planned)| {
        let has = |interface: &super::InterfacePlan| interface.addresses.iter().any(|(own, _)| *own == ip);
        planned.interfaces.iter().position(has).map(|interface| End { node, interface })
    })
}

fn every_route_can_be_taken(plan: &Plan, node: &NodePlan) {
    let mut destinations = HashSet::new();
    let here = plan.nodes.iter().position(|other| other.name == node.name).expect("it is planned");
    for route in &node.routes {
        assert!(
            destinations.insert((route.destination, route.prefix_len)),
            "{}: two routes to {}",
            node.name,
            route.destination
        );
        let interface = node.interfaces.iter().position(|interface| interface.index == route.interface);
        let interface =
            interface.unwrap_or_else(|| panic!("{}: {route:?} leaves by no interface", node.name));
        if let Some(source) = route.source {
            assert!(node.addresses().any(|own| own == source), "{}: {route:?}", node.name);
        }
        if let Some(via) = route.via {
            let next = owner(plan, via).unwrap_or_else(|| panic!("{}: {via} is nobody's", node.name));
            let on_link = segment(plan, End { node: here, interface });
            assert!(
                next.node != here && on_link.contains(&next),
                "{}: {via} is not on the link of {route:?}",
                node.name
            );
            assert!(
                plan.nodes[next.node].forwards || route.prefix_len >= 32,
                "{}: {via} passes nothing on",
                node.name
            );
        }
    }
}

/// The route that a node takes to an address: that of the longest prefix.
fn taken(node: &NodePlan, to: IpAddr) -> Option<IpAddr> {
    let covers = |destination: IpAddr, length: u8| {
        netns_test_model::Prefix::of(destination, length).is_some_and(|prefix| prefix.contains(to))
    };
    let routes = node.routes.iter().filter(|route| covers(route.destination, route.prefix_len));
    routes.max_by_key(|route| route.prefix_len).and_then(|route| route.via)
}

/// Follows the routes from everybody to every address: no packet goes round in a circle, and it arrives wherever some way leads.
fn leads_everywhere(plan: &Plan) {
    for (from, _) in plan.nodes.iter().enumerate() {
        let reachable = reachable(plan, from);
        for (to, node) in plan.nodes.iter().enumerate() {
            for ip in node.addresses() {
                let mut at = from;
                let mut hops = 0;
                let arrives = loop {
                    let on_link = plan.nodes[at].interfaces.iter().enumerate().any(|(interface, _)| {
                        let ends = segment(plan, End { node: at, interface });
                        owner(plan, ip).is_some_and(|end| ends.contains(&end))
                    });
                    if at == to || on_link {
                        break true;
                    }
                    let Some(next) = taken(&plan.nodes[at], ip).and_then(|via| owner(plan, via)) else {
                        break false;
                    };
                    at = next.node;
                    hops += 1;
                    assert!(
                        hops <= plan.nodes.len(),
                        "{ip} is sought in a circle from {}",
                        plan.nodes[from].name
                    );
                };
                // A host does not pass on what comes for its address on another link.
                let is_there = match owner(plan, ip) {
                    Some(end) => segment(plan, end).iter().any(|end| {
                        end.node == from || plan.nodes[end.node].forwards && reachable.contains(&end.node)
                    }),
                    None => reachable.contains(&to),
                };
                assert_eq!(arrives, is_there, "from {} to {ip}", plan.nodes[from].name);
            }
        }
    }
}

/// The nodes that can be reached over nodes that pass packets on, itself included.
fn reachable(plan: &Plan, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::from([from]);
    let mut queue = VecDeque::from([from]);
    while let Some(node) = queue.pop_front() {
        if node != from && !plan.nodes[node].forwards {
            continue;
        }
        for interface in 0..plan.nodes[node].interfaces.len() {
            for end in segment(plan, End { node, interface }) {
                if reached.insert(end.node) {
                    queue.push_back(end.node);
                }
            }
        }
    }
    reached
}

#[test]
fn plans_of_random_shapes_hold_together() {
    for_each_plan(1, shape, |plan| {
        holds_together(plan);
        if plan.nodes.len() < 10 {
            leads_everywhere(plan);
        }
    });
}

#[test]
fn plans_of_random_graphs_hold_together() {
    for_each_plan(2, graph, holds_together);
}

#[test]
fn in_random_graphs_routes_lead_wherever_a_way_leads() {
    let simple = |random: &mut Random| {
        let mut topology = crate::Topology::new();
        topology.family(any_family(random));
        let members = 2 + random.below(9);
        let name = |number: usize| format!("m{number}");
        for number in 0..members {
            match random.below(5) {
                0 | 1 => drop(topology.node(name(number))),
                2 => drop(topology.switch(name(number))),
                _ => drop(topology.router(name(number))),
            }
        }
        for _ in 0..members + random.below(4) {
            topology.link(name(random.below(members)), name(random.below(members)));
        }
        topology.model()
    };
    for_each_plan(3, simple, leads_everywhere);
}

#[cfg(feature = "kubernetes")]
#[test]
fn plans_of_random_clusters_hold_together() {
    use netns_test_model::kubernetes::Kubernetes;
    let cluster = |random: &mut Random| {
        let kubernetes = Kubernetes {
            nodes: 1 + random.below(4),
            pods_per_node: random.below(6),
            pods: Vec::new(),
            pod_cidrs: Vec::new(),
            service_cidrs: Vec::new(),
        };
        netns_test_model::Topology::of_kubernetes(kubernetes, any_family(random))
    };
    for_each_plan(4, cluster, |plan| {
        let mut addresses = HashSet::new();
        for node in &plan.nodes {
            assert!(
                node.interfaces.iter().all(|interface| interface.name.len() <= LONGEST_NAME),
                "{}",
                node.name
            );
            assert!(node.addresses().all(|ip| addresses.insert(ip)), "{}", node.name);
        }
        every_interface_is_wired_once(plan);
    });
}
