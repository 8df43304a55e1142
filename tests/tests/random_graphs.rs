//! Random graphs: either they are refused, for a mistake that is there, or everything reaches everything over the routers.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use netns_test::{Family, Network, Node, Topology, netns_test};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Node,
    Router,
    Switch,
}

#[derive(Clone, Debug)]
struct Link {
    ends: [usize; 2],
    mtu: Option<u32>,
    has_prefix: bool,
}

#[derive(Clone, Debug)]
struct Drawn {
    members: Vec<Kind>,
    links: Vec<Link>,
    family: Family,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let kinds = vec![Kind::Node, Kind::Node, Kind::Router, Kind::Router, Kind::Switch];
    let members = prop::collection::vec(select(kinds), 2..8);
    let family = select(vec![Family::Dual, Family::Dual, Family::V4, Family::V6]);
    (members, family).prop_flat_map(|(members, family)| {
        let ends = [0..members.len(), 0..members.len()];
        let mtu = prop_oneof![12 => Just(None), 3 => Just(Some(1400)), 1 => Just(Some(1000)), 1 => Just(Some(9000))];
        let link = (ends, mtu, prop::bool::weighted(0.2));
        let link = link.prop_map(|(ends, mtu, has_prefix)| Link { ends, mtu, has_prefix });
        prop::collection::vec(link, 0..10).prop_map(move |links| Drawn { members: members.clone(), links, family })
    })
}

impl Drawn {
    fn topology(&self) -> Topology {
        let mut topology = Topology::new();
        topology.family(self.family);
        for (index, kind) in self.members.iter().enumerate() {
            let name = format!("m{index}");
            match kind {
                Kind::Node => {
                    topology.node(name);
                }
                Kind::Router => {
                    topology.router(name);
                }
                Kind::Switch => {
                    topology.switch(name);
                }
            }
        }
        for (number, Link { ends: [left, right], mtu, has_prefix }) in self.links.iter().enumerate() {
            let mut link = topology.link(format!("m{left}"), format!("m{right}"));
            if let Some(mtu) = mtu {
                link = link.mtu(*mtu);
            }
            if *has_prefix {
                link.prefix(format!("10.200.{number}.0/28"));
            }
        }
        topology
    }

    /// The members that each segment has, and the links that it consists of, found by painting one over the other.
    fn segments(&self) -> Vec<(BTreeSet<usize>, BTreeSet<usize>)> {
        let mut colour: Vec<usize> = (0..self.links.len()).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for one in 0..self.links.len() {
                for other in 0..self.links.len() {
                    let shared = self.links[one].ends.iter().any(|end| {
                        self.members[*end] == Kind::Switch && self.links[other].ends.contains(end)
                    });
                    if shared && colour[one] < colour[other] {
                        colour[other] = colour[one];
                        changed = true;
                    }
                }
            }
        }
        let mut segments: BTreeMap<usize, (BTreeSet<usize>, BTreeSet<usize>)> = BTreeMap::new();
        for (number, link) in self.links.iter().enumerate() {
            let segment = segments.entry(colour[number]).or_default();
            segment.0.extend(link.ends.iter().filter(|end| self.members[**end] != Kind::Switch));
            segment.1.insert(number);
        }
        segments.into_values().collect()
    }

    /// Whether a mistake was drawn.
    fn is_wrong(&self) -> bool {
        let is_switch = |end: &usize| self.members[*end] == Kind::Switch;
        let wrong_link = |link: &Link| {
            link.ends[0] == link.ends[1]
                || link.mtu.is_some_and(|mtu| mtu < 1280 && self.family != Family::V4)
                || link.mtu.is_some() && link.ends.iter().all(is_switch)
                || link.has_prefix && self.family == Family::V6
        };
        let prefixes =
            |links: &BTreeSet<usize>| links.iter().filter(|link| self.links[**link].has_prefix).count();
        self.links.iter().any(wrong_link) || self.segments().iter().any(|(_, links)| prefixes(links) > 1)
    }

    /// The segments that a member reaches: its own, and those behind routers.
    fn reached(&self, from: usize) -> BTreeSet<usize> {
        let segments = self.segments();
        let on = |member: usize| {
            let all = segments.iter().enumerate();
            all.filter(move |(_, (members, _))| members.contains(&member)).map(|(index, _)| index)
        };
        let mut reached: BTreeSet<usize> = on(from).collect();
        loop {
            let routers = reached.iter().flat_map(|segment| &segments[*segment].0);
            let routers = routers.filter(|member| self.members[**member] == Kind::Router);
            let more: BTreeSet<usize> =
                routers.flat_map(|router| on(*router)).chain(reached.clone()).collect();
            if more.len() == reached.len() {
                return reached;
            }
            reached = more;
        }
    }
}

/// What the next network is.
static DRAWN: Mutex<Option<Drawn>> = Mutex::new(None);

fn current() -> Drawn {
    DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone().expect("a graph was drawn")
}

/// The addresses of an interface but the link-local ones, which reach no further.
fn addresses(node: &Node, interface: u32) -> Vec<IpAddr> {
    let mut all = node.addresses().expect("the kernel's addresses");
    all.retain(|address| address.link == interface);
    let all = all.into_iter().map(|address| address.ip);
    all.filter(|ip| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())).collect()
}

#[netns_test(topology = current().topology())]
#[ignore = "a part of `random_graphs_are_refused_or_connected`"]
async fn a_drawn_graph(network: Network) -> io::Result<()> {
    let drawn = current();
    let segments = drawn.segments();
    let hosts: Vec<usize> =
        (0..drawn.members.len()).filter(|index| drawn.members[*index] != Kind::Switch).collect();
    assert_eq!(network.nodes().len(), hosts.len());
    for node in network.nodes() {
        // Routers say each time that there is no way, not once in a second.
        node.set_sysctl("net.ipv4.icmp_ratelimit", 0)?;
        node.set_sysctl("net.ipv6.icmp.ratelimit", 0)?;
    }
    for &to in &hosts {
        let node = network.node(&format!("m{to}")).expect("it was declared");
        // Its interfaces are those of its links, in order.
        let links: Vec<usize> =
            (0..drawn.links.len()).filter(|number| drawn.links[*number].ends.contains(&to)).collect();
        let interfaces = node.interfaces()?;
        assert_eq!(interfaces.len(), links.len());
        let listener = node.listen_tcp("[::]:80").await;
        for (position, (interface, link)) in interfaces.iter().zip(links).enumerate() {
            assert_eq!(interface.name(), format!("eth{position}"));
            assert_eq!(interface.link()?.mtu, drawn.links[link].mtu.unwrap_or(1500));
            let segment = segments.iter().position(|(_, links)| links.contains(&link)).expect("its segment");
            let own = addresses(&node, interface.index());
            assert_eq!(own.len(), if drawn.family == Family::Dual { 2 } else { 1 });
            for &from in &hosts {
                let asking = network.node(&format!("m{from}")).expect("it was declared");
                for &ip in &own {
                    let connected = match &listener {
                        Ok(listener) => {
                            let connected = asking.connect_tcp((ip, 80)).await;
                            if connected.is_ok() {
                                listener.accept().await?;
                            }
                            connected.map(drop)
                        }
                        // A kernel without IPv6 in the network has no wildcard of it.
                        Err(_) => asking.route_to(ip).map(drop),
                    };
                    let wanted = drawn.reached(from).contains(&segment);
                    assert_eq!(connected.is_ok(), wanted, "m{from} to m{to} at {ip}: {connected:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn random_graphs_are_refused_or_connected() {
    let (refused, built) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig {
        cases: 80,
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&drawn(), |drawn| {
        let checked = drawn.topology().check();
        prop_assert_eq!(checked.is_err(), drawn.is_wrong(), "{:?}", checked);
        match checked {
            Err(_) => refused.set(refused.get() + 1),
            Ok(()) => {
                *DRAWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(drawn);
                a_drawn_graph();
                built.set(built.get() + 1);
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("{} refused, {} built", refused.get(), built.get());
    assert!(refused.get() > 0 && built.get() > 0);
}
