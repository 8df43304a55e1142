//! VXLAN: Ethernet between nodes, over whatever is between them (RFC 7348).

use std::net::IpAddr;
use std::sync::Arc;

use super::{Mac, add, check_node, next, without_driver};
use crate::error::{Doing, Error};
use crate::netlink::{Batch, LinkEnd, Request};
use crate::network::{Net, Network};
use crate::node::{Interface, Node};

/// The headers of UDP and VXLAN, and that of the Ethernet frame inside.
const INNER: u32 = 8 + 8 + 14;
/// The least MTU of IPv4 (RFC 791 section 3.2).
const LEAST: u32 = 68;

impl Network {
    /// Puts nodes onto one Ethernet, by VXLAN (RFC 7348) over whatever is between them: each gets an interface `vxlan7`, for number 7, in
    /// their order.
    ///
    /// Frames go as UDP to port 4789, from and to the addresses that the nodes' names resolve to first, IPv6 where all nodes have it.
    /// What nobody knows the place of goes to all of them. The interfaces have no addresses yet:
    /// [`add_address`](Interface::add_address). Their MTU is what fits into the smallest on the ways between the nodes, as routes and MTUs
    /// are now: 50 bytes less than that over IPv4, 70 less over IPv6. [`delete`](Interface::delete) removes one.
    ///
    /// ```
    /// use netns_test::{Network, Node, netns_test};
    ///
    /// #[netns_test(
    ///     nodes(a, b), routers(r1, r2),
    ///     links(a -- r1, r1 -- r2 { mtu = 1400 }, r2 -- b),
    ///     family = v4,
    /// )]
    /// async fn over_two_routers(a: Node, b: Node, network: Network) -> std::io::Result<()> {
    ///     for (end, number) in network.vxlan(7, [&a, &b])?.iter().zip(1..) {
    ///         end.add_address([192, 168, 7, number], 24)?;
    ///         assert_eq!(end.link()?.mtu, 1350);
    ///     }
    ///     let listener = b.listen_tcp("192.168.7.2:80").await?;
    ///     a.connect_tcp("192.168.7.2:80").await?;
    ///     assert_eq!(listener.accept().await?.1.ip().to_string(), "192.168.7.1");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The number has more than 24 bits; they are not two nodes at least, or not of this test; they have no address of one family, or no
    /// way to each other; one has a VXLAN of this number; this kernel has no VXLAN; the kernel's own; when the test has ended. Nothing is left of it then.
    pub fn vxlan<N: AsRef<Node>>(
        &self,
        number: u32,
        nodes: impl IntoIterator<Item = N>,
    ) -> Result<Vec<Interface>, Error> {
        let nodes: Vec<Node> = nodes.into_iter().map(|node| node.as_ref().clone()).collect();
        let operation = || {
            let names: Vec<String> = nodes.iter().map(|node| format!("`{}`", node.name())).collect();
            format!("put {} onto the VXLAN {number}", names.join(", "))
        };
        if number >= 1 << 24 {
            return Err(Error::because(operation(), "its number has more than 24 bits (RFC 7348 section 5)"));
        }
        for node in &nodes {
            check_node(&self.0, node).map_err(|text| Error::because(operation(), text))?;
        }
        let is_twice = |(index, node): (usize, &Node)| nodes[..index].iter().any(|other| other.is(node));
        if nodes.len() < 2 || nodes.iter().enumerate().any(is_twice) {
            return Err(Error::because(operation(), "it is for two nodes or more, each once"));
        }
        let addresses = underlay(&nodes).ok_or_else(|| {
            Error::because(operation(), "they have no addresses of one family: all need IPv6, or all IPv4")
        })?;
        let mtu = self.mtu(&nodes, &addresses, operation)?;
        let mut made: Vec<Interface> = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            match make(node, number, index, mtu, &addresses) {
                Ok(interface) => made.push(interface),
                Err(error) => {
                    // The first error is the one to tell.
                    made.into_iter().for_each(|interface| drop(interface.delete()));
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// What fits into the smallest packet that passes everywhere between the nodes.
    fn mtu(
        &self,
        nodes: &[Node],
        addresses: &[IpAddr],
        operation: impl Fn() -> String,
    ) -> Result<u32, Error> {
        let mut least = u32::MAX;
        for (from, node) in nodes.iter().enumerate() {
            for (to, address) in addresses.iter().enumerate().filter(|(to, _)| *to != from) {
                let way =
                    || format!("{} (the way from `{}` to `{}`)", operation(), node.name(), nodes[to].name());
                least = least.min(path_mtu(&self.0, node, *address).doing(way)?);
            }
        }
        let outer = if addresses[0].is_ipv4() { 20 } else { 40 };
        match least.checked_sub(outer + INNER).filter(|mtu| *mtu >= LEAST) {
            Some(mtu) => Ok(mtu),
            None => Err(Error::because(
                operation(),
                format!(
                    "packets of {least} bytes, the largest that pass between them, have no room for others"
                ),
            )),
        }
    }
}

/// The addresses that the outer packets come from and go to.
fn underlay(nodes: &[Node]) -> Option<Vec<IpAddr>> {
    let of = |is_v6: bool| -> Option<Vec<IpAddr>> {
        nodes.iter().map(|node| node.own_addresses().find(|ip| ip.is_ipv6() == is_v6)).collect()
    };
    of(true).or_else(|| of(false))
}

/// The largest packet that passes from a node to an address of another, by routes and MTUs as they are now.
fn path_mtu(net: &Arc<Net>, from: &Node, to: IpAddr) -> std::io::Result<u32> {
    let nodes = Network(Arc::clone(net)).nodes();
    let (mut here, mut least) = (from.clone(), u32::MAX);
    // No way is longer than all nodes are many.
    for _ in 0..nodes.len() {
        let route = here.route_to(to)?;
        let Some(interface) = route.link else { break };
        let links = here.links()?;
        least = links.iter().find(|link| link.index == interface).map_or(least, |link| least.min(link.mtu));
        let next = route.gateway.unwrap_or(to);
        match nodes.iter().find(|node| !node.is(&here) && node.has_planned(next)) {
            Some(node) if next != to => here = node.clone(),
            _ => break,
        }
    }
    Ok(least)
}

/// One node's end, with all others as those to whom it sends what it does not know the place of.
fn make(node: &Node, number: u32, index: usize, mtu: u32, addresses: &[IpAddr]) -> Result<Interface, Error> {
    let name = format!("vxlan{number}");
    let operation = || format!("add VXLAN `{}/{name}`", node.name());
    let [.., high, low] = number.to_be_bytes();
    let [.., third, fourth] = (index + 1).to_be_bytes();
    let (_, interface) = next(node).doing(operation)?;
    let end = LinkEnd {
        index: interface,
        mac: Some([Mac::Vxlan as u8, b'v', high, low, third, fourth]),
        mtu: Some(mtu),
        up: true,
        ..LinkEnd::new(&name)
    };
    let socket = node.route_socket().doing(operation)?;
    let request = Request::vxlan(&end, number, addresses[index]);
    let interface = add(&socket, node, None, &end, request, operation, |error| {
        without_driver(operation(), error, "VXLAN", "vxlan", "CONFIG_VXLAN")
    })?;
    let mut batch = Batch::new();
    for (_, address) in addresses.iter().enumerate().filter(|(other, _)| *other != index) {
        batch.push(Request::add_tunnel_end(interface.index(), *address), operation);
    }
    match socket.send(batch) {
        Ok(()) => Ok(interface),
        Err(error) => {
            drop(interface.delete());
            Err(error.into())
        }
    }
}
