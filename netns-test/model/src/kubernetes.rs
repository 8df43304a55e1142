//! A Kubernetes layout: nodes on one network, the underlay, and pods behind them.
//!
//! [`Kubernetes`] is what somebody declared, with its texts as they were written; [`Kubernetes::resolve`] is its one
//! validation. Each node has a part of the pods' range, and every pod an address of its node's part.

use std::fmt;
use std::net::IpAddr;

use crate::name::check_name;
use crate::{Family, Prefix, closest};

/// The most nodes of a cluster: their number is a byte of the pods' MAC addresses.
pub const MAX_CLUSTER: usize = 255;

/// The host that stands beside the nodes on the underlay, and that the test's body runs in.
pub const OUTSIDE: &str = "outside";

/// Where pods have their addresses, unless it is declared: kubeadm's usual range, and one of RFC 3849's.
pub const POD_CIDRS: [&str; 2] = ["10.244.0.0/16", "2001:db8:244::/48"];

/// Where services have theirs.
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "2001:db8:96::/112"];

/// The network of the nodes.
const UNDERLAY: [&str; 2] = ["10.0.0.0/16", "2001:db8::/64"];

/// How long a node's part is, where there is room for it: what kube-controller-manager gives a node
/// (`--node-cidr-mask-size-ipv4`, `--node-cidr-mask-size-ipv6`).
const PART: [u8; 2] = [24, 64];

/// The addresses at the start of a node's part that no pod gets: CNI plugins give the first one to the node's end.
pub const RESERVED_FOR_NODE: u128 = 1;

/// The addresses at the start of the services' range that no service gets by itself; the first is the API server's, and the
/// tenth the name server's ([`DNS`]).
pub const RESERVED_FOR_CLUSTER: u128 = 10;

/// The number of the name server's address among those of services, counted from 0: `10.96.0.10`.
pub const DNS: u128 = 9;

/// A cluster as it was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// How many nodes it has: `node-0`, `node-1`, ….
    pub nodes: usize,
    /// How many pods each node has from the start: `pod-0-0` is the first one of the first node.
    pub pods_per_node: usize,
    /// Pods that it has from the start, by name.
    pub pods: Vec<PodOn>,
    /// The range of the pods' addresses, at most one of each family; where none is written, it is [`POD_CIDRS`].
    pub pod_cidrs: Vec<String>,
    /// The range of the services' addresses likewise.
    pub service_cidrs: Vec<String>,
}

/// A pod, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodOn {
    /// Its name, which is its host name.
    pub name: String,
    /// The number of its node, counted from 0.
    pub node: usize,
}

/// A cluster that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The pods' ranges: one of each family that the network has, IPv4 first.
    pub pod_ranges: Vec<Prefix>,
    /// Of each node its part of them, in the same order.
    pub parts: Vec<Vec<Prefix>>,
    /// The ranges of the services' addresses likewise.
    pub services: Vec<Prefix>,
    /// The pods that it has from the start, node by node, and then those with names.
    pub pods: Vec<PodOn>,
}

/// Why a cluster cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesProblem {
    /// What it is about.
    pub place: Place,
    /// What is wrong and what would be right; lower case, no full stop.
    pub message: String,
}

/// What a [`KubernetesProblem`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The number of nodes.
    Nodes,
    /// The number of pods of each node.
    PodsPerNode,
    /// The name of the pod of this index in [`Kubernetes::pods`].
    Pod(usize),
    /// Its node.
    PodNode(usize),
    /// The range of this index in [`Kubernetes::pod_cidrs`], or the usual one.
    PodCidr(usize),
    /// The range of this index in [`Kubernetes::service_cidrs`], or the usual one.
    ServiceCidr(usize),
}

impl fmt::Display for KubernetesProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The name of a node.
pub fn node_name(number: usize) -> String {
    format!("node-{number}")
}

/// Whether a pod can be called so beside the others.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn check_pod_name<'a>(
    name: &str,
    nodes: usize,
    others: impl IntoIterator<Item = &'a str>,
) -> Result<(), String> {
    check_name(name)?;
    let is_node = name.strip_prefix("node-").and_then(|number| number.parse().ok());
    if is_node.is_some_and(|number: usize| number < nodes && name == node_name(number)) || name == OUTSIDE {
        let what = if name == OUTSIDE { "the host beside the nodes" } else { "a node" };
        return Err(format!("`{name}` is the name of {what}: choose another for the pod"));
    }
    match others.into_iter().any(|other| other.eq_ignore_ascii_case(name)) {
        true => {
            Err(format!("there is a pod `{name}` already: choose another name, or delete that one first"))
        }
        false => Ok(()),
    }
}

/// The number of a node that there is.
///
/// # Errors
///
/// Which there are.
pub fn check_node(node: usize, nodes: usize) -> Result<(), String> {
    match nodes {
        _ if node < nodes => Ok(()),
        1 => Err(format!("there is no node {node}: the cluster has one, number 0")),
        _ => Err(format!("there is no node {node}: the cluster has {nodes}, numbers 0 to {}", nodes - 1)),
    }
}

/// Why a node can have no more pods.
pub fn full(node: usize, part: Prefix) -> String {
    let (room, pods) = (room(part), if room(part) == 1 { "pod" } else { "pods" });
    // A part is not shorter than usual, however large the range is, unless declared pods need it.
    let mending = match part.length() > PART[usize::from(!part.is_ipv4())] {
        true => "declare a larger `pod_cidr`",
        false => "declare as many as there will be (`pods_per_node`, `pods`), by which it becomes larger",
    };
    format!(
        "`{}` has no address left: its part of the pods' range, `{part}`, is enough for {room} {pods}; delete one, or {mending}",
        node_name(node)
    )
}

/// Whether a service can be made so.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn check_service(
    name: &str,
    ports: &[(&str, u16, u16)],
    has_selector: bool,
    is_headless: bool,
) -> Result<(), String> {
    check_name(name)?;
    if !has_selector {
        return Err("it has no selector, so it would never have an endpoint: write `.selector(\"app\", \"echo\")`, of a label \
                    that its pods have"
            .to_owned());
    }
    if ports.is_empty() && !is_headless {
        return Err(
            "it has no port: write `.port(80, 8080)` for port 80, served on the pods' port 8080".to_owned()
        );
    }
    for (index, &(protocol, port, target)) in ports.iter().enumerate() {
        if port == 0 || target == 0 {
            let whose = if port == 0 { "its" } else { "the pods'" };
            return Err(format!("{whose} {protocol} port is 0, which is no port: write one from 1 to 65535"));
        }
        if ports[..index].iter().any(|&(other, number, _)| other == protocol && number == port) {
            return Err(format!("its {protocol} port {port} is there twice: remove one"));
        }
    }
    Ok(())
}

/// Whether a service's ports can be called so: names, each with the number of its port, counted from 1.
///
/// # Errors
///
/// What is wrong with one and what would be right.
pub fn check_port_names(names: &[(usize, &str)]) -> Result<(), String> {
    for (index, &(port, name)) in names.iter().enumerate() {
        // RFC 6335 section 5.1, and no capitals in Kubernetes.
        let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let has_letter = name.bytes().any(|byte| byte.is_ascii_lowercase());
        let has_odd_hyphens = name.starts_with('-') || name.ends_with('-') || name.contains("--");
        if !name.bytes().all(is_right) || !has_letter || has_odd_hyphens || name.len() > 15 {
            return Err(format!(
                "`{name}` is no name of a port: it has up to 15 lower-case letters, digits and single hyphens, as in `http` or \
                 `grpc-web`"
            ));
        }
        if port == 0 {
            return Err(format!(
                "`{name}` names no port: write `.port(80, 8080)` before `.port_name(\"{name}\")`"
            ));
        }
        for &(other_port, other) in &names[..index] {
            if other_port == port {
                return Err(format!("one port has two names, `{other}` and `{name}`: remove one"));
            }
            if other == name {
                return Err(format!("two ports are called `{name}`: choose another name for one"));
            }
        }
    }
    Ok(())
}

/// Whether a network policy can be made so. `unused` is the direction that it has rules for and is not about; ports are from one to
/// another.
///
/// # Errors
///
/// What is wrong with it and what would be right.
pub fn check_network_policy(
    name: &str,
    has_types: bool,
    unused: Option<&str>,
    ports: &[(&str, u16, u16)],
) -> Result<(), String> {
    check_name(name)?;
    if !has_types {
        return Err("it isolates pods in no direction: leave `.policy_types(..)` out, or name one".to_owned());
    }
    if let Some(direction) = unused {
        return Err(format!(
            "it has a rule of {direction}, and its types leave {direction} out: add it to `.policy_types(..)`, or remove the rule"
        ));
    }
    for &(protocol, first, last) in ports {
        if first == 0 {
            return Err(format!("a {protocol} port is 0, which is no port: write one from 1 to 65535"));
        }
        if first > last {
            return Err(format!("the {protocol} ports {first} to {last} are none: write `{last}..={first}`"));
        }
    }
    Ok(())
}

/// How many pods a node's part has addresses for.
pub fn room(part: Prefix) -> u128 {
    part.capacity().saturating_sub(RESERVED_FOR_NODE)
}

impl Kubernetes {
    /// A cluster of so many nodes, without pods, with the usual ranges.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, pods_per_node: 0, pods: Vec::new(), pod_cidrs: Vec::new(), service_cidrs: Vec::new() }
    }

    /// The names of the nodes, and of the host beside them.
    pub fn hosts(&self) -> Vec<String> {
        // Before the names of a billion nodes are made.
        (0..self.nodes.min(MAX_CLUSTER + 1)).map(node_name).chain([OUTSIDE.to_owned()]).collect()
    }

    /// The pods from the start, those that are counted before those with names.
    pub fn all_pods(&self) -> Vec<PodOn> {
        let nodes = 0..self.nodes.min(MAX_CLUSTER);
        let counted = nodes.flat_map(|node| {
            // No range has room for more.
            (0..self.pods_per_node.min(1 << 16))
                .map(move |pod| PodOn { name: format!("pod-{node}-{pod}"), node })
        });
        counted.chain(self.pods.iter().cloned()).collect()
    }

    /// The cluster that can be built from it.
    ///
    /// # Errors
    ///
    /// Every [`KubernetesProblem`] that there is.
    pub fn resolve(&self, family: Family) -> Result<Layout, Vec<KubernetesProblem>> {
        let mut problems = Vec::new();
        let mut problem = |place, message| problems.push(KubernetesProblem { place, message });
        if self.nodes == 0 {
            problem(Place::Nodes, "a cluster needs a node: write `nodes = 1` or more".to_owned());
        } else if self.nodes > MAX_CLUSTER {
            let nodes = self.nodes;
            problem(Place::Nodes, format!("{nodes} nodes are too many: a cluster has at most {MAX_CLUSTER}"));
        }
        let counted = self.all_pods().len() - self.pods.len();
        let all = self.all_pods();
        for (index, PodOn { name, node }) in self.pods.iter().enumerate() {
            let others = all[..counted + index].iter().map(|pod| pod.name.as_str());
            if let Err(message) = check_pod_name(name, self.nodes, others) {
                problem(Place::Pod(index), message);
            }
            if let Err(message) = check_node(*node, self.nodes) {
                problem(Place::PodNode(index), message);
            }
        }
        let pods = ranges(&self.pod_cidrs, POD_CIDRS, family, Place::PodCidr, &mut problem);
        let services = ranges(&self.service_cidrs, SERVICE_CIDRS, family, Place::ServiceCidr, &mut problem);
        let underlay = UNDERLAY.iter().filter_map(|text| Prefix::parse(text).ok());
        let mut taken: Vec<(Prefix, &str)> = underlay.map(|prefix| (prefix, "the nodes' own")).collect();
        for (place, range) in pods.iter().chain(&services) {
            match taken.iter().find(|(other, _)| other.overlaps(*range)) {
                Some((other, what)) => {
                    problem(*place, format!("`{range}` overlaps {what} range, `{other}`: choose another"))
                }
                None => taken.push((
                    *range,
                    if matches!(place, Place::PodCidr(_)) { "the pods'" } else { "the services'" },
                )),
            }
        }
        for (place, range) in &services {
            if range.capacity() <= RESERVED_FOR_CLUSTER {
                let message = format!(
                    "`{range}` is too small for services: the first {RESERVED_FOR_CLUSTER} addresses are the cluster's own; write \
                     a length of at most {}",
                    width(*range) - 5
                );
                problem(*place, message);
            }
        }
        let nodes = self.nodes.clamp(1, MAX_CLUSTER);
        let most =
            (0..nodes).map(|node| all.iter().filter(|pod| pod.node == node).count()).max().unwrap_or(0);
        let mut parts = vec![Vec::new(); nodes];
        for (place, range) in &pods {
            match split(*range, nodes, most) {
                Ok(of_nodes) => parts.iter_mut().zip(of_nodes).for_each(|(parts, part)| parts.push(part)),
                Err(message) => problem(*place, message),
            }
        }
        match problems.is_empty() {
            true => Ok(Layout {
                pod_ranges: pods.into_iter().map(|(_, range)| range).collect(),
                parts,
                services: services.into_iter().map(|(_, range)| range).collect(),
                pods: all,
            }),
            false => Err(problems),
        }
    }

    /// What to say about a pod that is not declared.
    pub fn no_pod(&self, name: &str) -> String {
        let all = self.all_pods();
        match closest(name, all.iter().map(|pod| pod.name.as_str())) {
            Some(near) => format!("there is no pod `{name}`: did you mean `{near}`?"),
            None => format!(
                "there is no pod `{name}`: declare it with its node, as in `pods({} = 0)`",
                name.replace('-', "_")
            ),
        }
    }
}

/// The ranges that are written, or else the usual ones, of the families that the network has, IPv4 first.
fn ranges(
    written: &[String],
    usual: [&str; 2],
    family: Family,
    place: impl Fn(usize) -> Place,
    problem: &mut impl FnMut(Place, String),
) -> Vec<(Place, Prefix)> {
    let mut found: Vec<(Place, Prefix)> = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let prefix = match Prefix::parse(text) {
            Ok(prefix) => prefix,
            Err(message) => {
                problem(place(index), message);
                continue;
            }
        };
        let (has, name) =
            if prefix.is_ipv4() { (family.has_v4(), "IPv4") } else { (family.has_v6(), "IPv6") };
        if !has {
            problem(
                place(index),
                format!("`{prefix}` is {name}, and the network is `family = {}`: remove it", family.name()),
            );
        } else if let Some((_, other)) = found.iter().find(|(_, other)| other.is_ipv4() == prefix.is_ipv4()) {
            problem(place(index), format!("`{prefix}` is {name}, as is `{other}`: remove one"));
        } else {
            found.push((place(index), prefix));
        }
    }
    let has = |v4: bool| if v4 { family.has_v4() } else { family.has_v6() };
    for prefix in usual.iter().filter_map(|text| Prefix::parse(text).ok()) {
        if has(prefix.is_ipv4()) && !written.iter().any(|text| text.contains(':') != prefix.is_ipv4()) {
            found.push((place(0), prefix));
        }
    }
    found.sort_by_key(|(_, prefix)| !prefix.is_ipv4());
    found
}

/// Each node's part of a range: as long as usual or, where there is no room for that, longer; shorter where the pods that are
/// declared need it.
fn split(range: Prefix, nodes: usize, pods: usize) -> Result<Vec<Prefix>, String> {
    let bits = nodes.next_power_of_two().trailing_zeros() as u8;
    let shortest = range.length() + bits;
    let longest = shortest.max(PART[usize::from(!range.is_ipv4())]);
    let is_enough = |length: &u8| {
        let part = Prefix::of(range.first(), *length);
        part.is_some_and(|part| room(part) >= pods.max(1) as u128)
    };
    if let Some(length) = (shortest..=longest).rev().find(is_enough) {
        return Ok((0..nodes).filter_map(|node| range.part(length, node as u128)).collect());
    }
    let fits = (0..=width(range)).rev().find(is_enough).unwrap_or(0);
    let wider = Prefix::of(range.first(), fits.saturating_sub(bits)).unwrap_or(range);
    let for_whom = match (nodes, pods) {
        (1, 0 | 1) => "a node with a pod".to_owned(),
        (1, pods) => format!("a node with {pods} pods"),
        (nodes, 0 | 1) => format!("{nodes} nodes with a pod each"),
        (nodes, pods) => format!("{nodes} nodes with up to {pods} pods each"),
    };
    Err(format!("`{range}` is too small for {for_whom}: write `{wider}`"))
}

fn width(range: Prefix) -> u8 {
    if range.is_ipv4() { 32 } else { 128 }
}

/// The address of this number of a prefix, counted from 0 as [`Prefix::host`] does.
pub fn number_of(prefix: Prefix, ip: IpAddr) -> Option<u128> {
    if !prefix.contains(ip) || prefix.reserves(ip).is_some() {
        return None;
    }
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    bits(ip).checked_sub(bits(prefix.host(0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kubernetes: &Kubernetes, family: Family) -> Vec<(Place, String)> {
        let problems = kubernetes.resolve(family).err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.place, problem.message)).collect()
    }

    fn on(name: &str, node: usize) -> PodOn {
        PodOn { name: name.to_owned(), node }
    }

    #[test]
    fn every_node_has_its_part_of_the_usual_ranges() {
        let layout = Kubernetes { pods_per_node: 1, ..Kubernetes::new(3) }.resolve(Family::Dual).unwrap();
        let parts: Vec<String> = layout.parts[2].iter().map(ToString::to_string).collect();
        assert_eq!(parts, ["10.244.2.0/24", "2001:db8:244:2::/64"]);
        assert_eq!(layout.services[0].host(DNS), Some(IpAddr::from([10, 96, 0, 10])));
        assert_eq!(layout.pods[2], on("pod-2-0", 2));
    }

    #[test]
    fn parts_are_as_long_as_need_be() {
        for (cidr, nodes, pods, part) in [
            ("10.9.0.0/16", 2, 1, "10.9.1.0/24"),
            ("10.9.0.0/25", 2, 1, "10.9.0.64/26"),
            ("10.9.0.0/28", 3, 1, "10.9.0.4/30"),
            ("10.9.0.0/16", 2, 600, "10.9.4.0/22"),
            ("fd00::/62", 3, 1, "fd00:0:0:1::/64"),
            ("fd00::/64", 3, 1, "fd00:0:0:0:4000::/66"),
        ] {
            let family = if cidr.contains(':') { Family::V6 } else { Family::V4 };
            let declared = Kubernetes {
                pods_per_node: pods,
                pod_cidrs: vec![cidr.to_owned()],
                ..Kubernetes::new(nodes)
            };
            let layout = declared.resolve(family).unwrap_or_else(|problems| panic!("{cidr}: {problems:?}"));
            let is = layout.parts[1][0].to_string();
            // However the address is written.
            assert_eq!(Prefix::parse(&is), Prefix::parse(part), "{cidr}: {is}");
        }
    }

    #[test]
    fn a_range_that_is_too_small_is_told_with_one_that_is_not() {
        for (cidr, nodes, pods, message) in [
            ("10.9.0.0/32", 1, 0, "`10.9.0.0/32` is too small for a node with a pod: write `10.9.0.0/31`"),
            (
                "10.9.0.0/24",
                8,
                60,
                "`10.9.0.0/24` is too small for 8 nodes with up to 60 pods each: write `10.9.0.0/23`",
            ),
            (
                "10.244.0.0/16",
                200,
                300,
                "`10.244.0.0/16` is too small for 200 nodes with up to 300 pods each: write `10.244.0.0/15`",
            ),
        ] {
            let declared = Kubernetes {
                pods_per_node: pods,
                pod_cidrs: vec![cidr.to_owned()],
                ..Kubernetes::new(nodes)
            };
            assert_eq!(messages(&declared, Family::V4), [(Place::PodCidr(0), message.to_owned())]);
            let (_, better) = message.rsplit_once("write `").unwrap();
            let better = Kubernetes { pod_cidrs: vec![better.trim_end_matches('`').to_owned()], ..declared };
            assert_eq!(messages(&better, Family::V4), [], "{message}");
        }
    }

    #[test]
    fn all_problems_are_told_at_once_each_at_its_place() {
        let declared = Kubernetes {
            pods: vec![on("a", 0), on("a", 2), on("node-1", 0), on("node-2", 0), on("outside", 1)],
            pod_cidrs: vec!["10.0.0.0/8".to_owned(), "fd00::/48".to_owned()],
            service_cidrs: vec!["10.96.0.0/29".to_owned()],
            ..Kubernetes::new(2)
        };
        let found = messages(&declared, Family::V4);
        let places: Vec<Place> = found.iter().map(|(place, _)| *place).collect();
        let expected = [
            Place::Pod(1),
            Place::PodNode(1),
            Place::Pod(2),
            Place::Pod(4),
            Place::PodCidr(1),
            Place::PodCidr(0),
            Place::ServiceCidr(0),
        ];
        assert_eq!(places, expected, "{found:?}");
        assert_eq!(found[1].1, "there is no node 2: the cluster has 2, numbers 0 to 1");
        assert_eq!(found[5].1, "`10.0.0.0/8` overlaps the nodes' own range, `10.0.0.0/16`: choose another");
        assert!(found[6].1.contains("write a length of at most 27"), "{}", found[6].1);
    }

    #[test]
    fn the_number_of_an_address_is_that_which_made_it() {
        for text in ["10.9.0.8/29", "10.9.0.0/24", "fd00:9::/64"] {
            let prefix = Prefix::parse(text).unwrap();
            for number in 0..5 {
                assert_eq!(number_of(prefix, prefix.host(number).unwrap()), Some(number), "{text}");
            }
            assert_eq!(number_of(prefix, prefix.first()), None, "{text}");
        }
    }
}
