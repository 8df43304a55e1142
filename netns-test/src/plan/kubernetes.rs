//! The plan of a cluster: nodes on the underlay, with routes to each other's pods; and of the pods, as they come.
//!
//! A pod is joined to its node by a veth and host routes, as the CNI plugin `ptp` does it: `10.244.0.2` has a default route by
//! way of an address that every node's end stands for, and its node a route to it. Neighbours are written down rather than
//! asked for: the kernel keeps few learnt ones for all namespaces together (`gc_thresh3`), and any number of permanent ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netns_test_model::Family;
use netns_test_model::kubernetes::{DNS, Kubernetes, Layout};

use super::{FIRST_INDEX, InterfacePlan, Joining, NodePlan, Plan, RoutePlan, Wiring, add_multicast, star};

/// What pods have as their router: link-local addresses, so that no pod's can be the same.
const ROUTER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)), IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))];

/// The index of a node's interface to the pod whose address ends in 0; the others follow.
const FIRST_POD: u32 = 1000;

/// Gives the hosts what a checked cluster says: the last of them is the one beside the nodes.
pub(super) fn wire(kubernetes: &Kubernetes, family: Family, hosts: &mut [NodePlan]) -> (Wiring, Layout) {
    let layout = kubernetes.resolve(family).unwrap_or_else(|_| unreachable!("the topology was checked"));
    let wiring = star(hosts);
    let own: Vec<Vec<IpAddr>> = hosts.iter().map(|host| host.addresses().collect()).collect();
    let outside = hosts.len() - 1;
    for (index, host) in hosts.iter_mut().enumerate() {
        // It is the way out of the cluster, and says that nothing is there.
        host.forwards = true;
        host.loopback = name_servers(&layout).map(|ip| (ip, width(ip))).collect();
        add_multicast(host, family);
        for (node, parts) in layout.parts.iter().enumerate().filter(|(node, _)| *node != index) {
            for part in parts {
                host.routes.push(via(&own, index, node, part.first(), part.length()));
            }
        }
        if index != outside {
            for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
                if own[index].iter().any(|ip| ip.is_ipv4() == any.is_ipv4()) {
                    host.routes.push(via(&own, index, outside, any, 0));
                }
            }
        }
    }
    (wiring, layout)
}

/// A route of one host by way of another; with its own address as the source, since it has others as well.
fn via(own: &[Vec<IpAddr>], host: usize, router: usize, destination: IpAddr, prefix_len: u8) -> RoutePlan {
    let of = |host: usize| own[host].iter().copied().find(|ip| ip.is_ipv4() == destination.is_ipv4());
    RoutePlan { destination, prefix_len, via: of(router), interface: FIRST_INDEX, source: of(host) }
}

/// The cluster's domain, and the one namespace in it.
pub(crate) const DOMAIN: &str = "cluster.local";
pub(crate) const NAMESPACE: &str = "default";

/// The /etc/resolv.conf of a pod, as the kubelet writes it. One server: the resolver asks a second one only after the first is
/// silent.
pub(super) fn resolver(layout: &Layout) -> String {
    let servers: Vec<IpAddr> = name_servers(layout).take(1).collect();
    let domain = DOMAIN;
    let search = format!("search {NAMESPACE}.svc.{domain} svc.{domain} {domain}\noptions ndots:5\n");
    super::resolver(&servers) + &search
}

/// The addresses of the cluster's name server: every host has them itself.
pub(crate) fn name_servers(layout: &Layout) -> impl Iterator<Item = IpAddr> {
    layout.services.iter().filter_map(|range| range.host(DNS))
}

/// A pod on a node; `number` is that of its addresses in the node's part, counted from 0.
pub(crate) fn pod(plan: &Plan, layout: &Layout, name: &str, node: usize, number: u128) -> Joining {
    let addresses: Vec<IpAddr> = layout.parts[node].iter().filter_map(|part| part.host(number)).collect();
    // As the address ends: the first host's is 1.
    let last = number as u32 + 1;
    let [.., high, low] = last.to_be_bytes();
    // Locally administered, as all are; "np" for the pod's end, "nv" for the node's.
    let [own_mac, far_mac] = [b'p', b'v'].map(|end| [0x02, b'n', end, node as u8, high, low]);
    let is_v4 = |ip: &&IpAddr| ip.is_ipv4();
    let routers =
        || ROUTER.into_iter().filter(|router| addresses.iter().any(|ip| ip.is_ipv4() == router.is_ipv4()));

    let mut pod = NodePlan::new(0, name, plan.family);
    pod.ip4 =
        addresses.iter().find(is_v4).and_then(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
    pod.ip6 = addresses.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
    pod.interfaces = vec![InterfacePlan {
        name: "eth0".to_owned(),
        index: FIRST_INDEX,
        mac: own_mac,
        mtu: None,
        vlan: None,
        addresses: addresses.iter().map(|&ip| (ip, width(ip))).collect(),
        has_routes: false,
        neighbours: routers().map(|ip| (ip, far_mac)).collect(),
    }];
    for router in routers() {
        let route = |destination, prefix_len, via| RoutePlan {
            destination,
            prefix_len,
            via,
            interface: FIRST_INDEX,
            source: None,
        };
        match router {
            IpAddr::V4(_) => {
                pod.routes.push(route(router, 32, None));
                pod.routes.push(route(Ipv4Addr::UNSPECIFIED.into(), 0, Some(router)));
            }
            // Link-local: on the link by itself.
            IpAddr::V6(_) => pod.routes.push(route(Ipv6Addr::UNSPECIFIED.into(), 0, Some(router))),
        }
    }
    add_multicast(&mut pod, plan.family);

    let host = &plan.nodes[node];
    let mut to =
        NodePlan { interfaces: Vec::new(), loopback: Vec::new(), routes: Vec::new(), ..host.clone() };
    to.interfaces.push(InterfacePlan {
        name: format!("veth{last}"),
        index: FIRST_POD + last,
        mac: far_mac,
        mtu: None,
        vlan: None,
        addresses: Vec::new(),
        has_routes: false,
        neighbours: addresses.iter().map(|&ip| (ip, own_mac)).collect(),
    });
    to.routes.extend(addresses.iter().map(|&ip| RoutePlan {
        destination: ip,
        prefix_len: width(ip),
        via: None,
        interface: FIRST_POD + last,
        source: host.addresses().find(|own| own.is_ipv4() == ip.is_ipv4()),
    }));
    Joining { node: pod, to }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
