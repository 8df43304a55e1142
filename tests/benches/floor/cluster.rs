//! The pods of a cluster by bare system calls: namespaces, a veth to their node, host routes and neighbours, both families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread;

use crate::floor::{Namespaces, Node, make_here};
use crate::netlink::{Interface, Requests};
use crate::sys;

/// The index of a pod's interface, and of its node's end of it; the others follow.
const OWN: u32 = 2;
const FAR: u32 = 1000;

/// What pods have as their router.
const ROUTER: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1)), IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1))];

/// A pod, and what its node has of it.
pub(crate) struct Pod {
    pub(crate) node: Node,
    on: usize,
    far: u32,
    addresses: [IpAddr; 2],
}

/// So many pods on each of the nodes.
pub(crate) fn pods(hosts: &[Node], each: u16, base: &Namespaces) -> io::Result<Vec<Pod>> {
    let places = (0..hosts.len()).flat_map(|on| (0..each).map(move |number| (on, number)));
    places.map(|(on, number)| pod(&hosts[on], on, number, base)).collect()
}

fn pod(host: &Node, on: usize, number: u16, base: &Namespaces) -> io::Result<Pod> {
    sys::enter(&base.mnt, libc::CLONE_NEWNS)?;
    let node = make_here(&format!("pod-{on}-{number}"))?;
    let last = number + 2;
    let [high, low] = last.to_be_bytes();
    let addresses: [IpAddr; 2] = [
        Ipv4Addr::new(10, 244, on as u8, last as u8).into(),
        Ipv6Addr::new(0x2001, 0xdb8, 0x244, on as u16, 0, 0, 0, last).into(),
    ];
    let [mac, far_mac] = [b'p', b'v'].map(|end| [0x02, b'n', end, on as u8, high, low]);
    let far = FAR + u32::from(last);
    let name = format!("veth{last}");
    let own = Interface { name: "eth0", index: OWN, mac, up: true, namespace: Some(&node.namespaces.net) };
    let other =
        Interface { name: &name, index: far, mac: far_mac, up: false, namespace: Some(&host.namespaces.net) };
    let mut requests = Requests::default();
    requests.veth(&own, &other);
    node.socket.perform(&requests)?;

    let mut requests = Requests::default();
    requests.up(far);
    for ip in addresses {
        requests.neighbour(far, ip, mac);
        requests.route(far, ip, width(ip), None);
    }
    host.socket.perform(&requests)?;

    let mut requests = Requests::default();
    for (ip, router) in addresses.into_iter().zip(ROUTER) {
        requests.address(OWN, ip, width(ip));
        requests.neighbour(OWN, router, far_mac);
        if router.is_ipv4() {
            requests.route(OWN, router, width(router), None);
        }
        let any: IpAddr =
            if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        requests.route(OWN, any, 0, Some(router));
    }
    node.socket.perform(&requests)?;
    Ok(Pod { node, on, far, addresses })
}

/// Waits until packets pass between pods and nodes.
pub(crate) fn await_ready(pods: &[Pod], hosts: &[Node]) -> io::Result<()> {
    for pod in pods {
        let is_ready = || {
            Ok::<_, io::Error>(
                hosts[pod.on].socket.is_ready(pod.far, &[])?
                    && pod.node.socket.is_ready(OWN, &pod.addresses)?,
            )
        };
        while !is_ready()? {
            thread::yield_now();
        }
    }
    Ok(())
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
