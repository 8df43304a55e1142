//! Routes that a test adds and removes.

use std::io;
use std::net::IpAddr;

use netns_test_model::Prefix;
use nix::libc;

use super::{Interface, Node};
use crate::error::{Doing, Error};
use crate::netlink::Request;
use crate::netlink::state::{Route, RouteProtocol, Scope};

impl Node {
    /// Adds a route: what is sent to an address of the prefix goes to `gateway`, which is on a link of this node.
    ///
    /// It stands in the main table, as that of `ip route add`, beside those that were declared; the longest prefix wins. A length of 0 makes
    /// a default route. An IPv4 prefix may have an IPv6 gateway. Routers, and the nodes of a cluster, pass on what comes to them for others;
    /// another node does so with [`set_sysctl`](Node::set_sysctl)`("net.ipv4.ip_forward", 1)`, and `net.ipv6.conf.all.forwarding`.
    ///
    /// ```
    /// use netns_test::{Node, Router, netns_test};
    ///
    /// #[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), routes = connected, family = v4)]
    /// async fn by_hand(client: Node, server: Node, r: Router) -> std::io::Result<()> {
    ///     assert!(client.connect_tcp("server:80").await.is_err()); // network unreachable
    ///     client.add_route(server.ip(), 32, r.ip())?;
    ///     server.add_route([0, 0, 0, 0], 0, r.interface("eth1")?.addresses()?[0].ip)?;
    ///     let _listener = server.listen_tcp(80).await?;
    ///     client.connect_tcp("server:80").await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The prefix has bits set beyond its length. The gateway is a link-local address, which is one of every link, or an IPv4 address for
    /// IPv6. The kernel's own (`AlreadyExists` where the node has a route to this prefix, `NetworkUnreachable` or `HostUnreachable` where
    /// the gateway is on none of its links), and when the test has ended.
    pub fn add_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<(), Error> {
        let (destination, gateway) = (destination.into(), gateway.into());
        let operation = || format!("add route {destination}/{prefix_len} via {gateway} to `{}`", self.name());
        let cause = match gateway {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                Some("a link-local address is one of every link: write another of the gateway's")
            }
            _ => of_family(destination, gateway).err(),
        };
        if let Some(cause) = cause {
            return Err(Error::because(operation(), cause));
        }
        check(destination, prefix_len).map_err(|cause| Error::because(operation(), cause))?;
        let route = Route::via(destination, prefix_len, gateway);
        Ok(self.route_socket().doing(operation)?.request(Request::add_route(&route), operation)?)
    }

    /// Removes the route to a prefix by way of a gateway, whoever made it: a declared one as well.
    ///
    /// # Errors
    /// The prefix has bits set beyond its length; the kernel's own (`NotFound` where there is no such route); when the test has ended.
    pub fn remove_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix_len: u8,
        gateway: impl Into<IpAddr>,
    ) -> Result<(), Error> {
        let (destination, gateway) = (destination.into(), gateway.into());
        let operation =
            || format!("remove route {destination}/{prefix_len} via {gateway} from `{}`", self.name());
        of_family(destination, gateway).map_err(|cause| Error::because(operation(), cause))?;
        remove(self, Route::via(destination, prefix_len, gateway), operation)
    }
}

impl Interface {
    /// Adds a route: who has an address of the prefix is on the link of this interface, without a gateway.
    ///
    /// [`Node::add_route`] is the one by way of a gateway. Where the interface has no address of that family, what the node sends has
    /// the node's own ([`Node::ip4`], [`Node::ip6`]), as on the veths to a cluster's pods.
    ///
    /// # Errors
    /// The prefix has bits set beyond its length; the kernel's own (`AlreadyExists` where the node has a route to this prefix,
    /// `NetworkDown` where the interface is off); when the test has ended.
    pub fn add_route(&self, destination: impl Into<IpAddr>, prefix_len: u8) -> Result<(), Error> {
        let destination = destination.into();
        let operation = || format!("add route {destination}/{prefix_len} to `{self}`");
        check(destination, prefix_len).map_err(|cause| Error::because(operation(), cause))?;
        let is_same_family = |ip: &IpAddr| ip.is_ipv4() == destination.is_ipv4();
        let is_own =
            |ip: &IpAddr| is_same_family(ip) && !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        let mut route = Route::on_link(destination, prefix_len, self.index());
        if !self.addresses().doing(operation)?.iter().any(|address| is_own(&address.ip)) {
            route.source = self.node().0.plan().addresses().find(is_same_family);
        }
        Ok(self.node().route_socket().doing(operation)?.request(Request::add_route(&route), operation)?)
    }

    /// Removes the route to a prefix over this interface, whoever made it, with a gateway or without.
    ///
    /// # Errors
    /// The prefix has bits set beyond its length; the kernel's own (`NotFound` where there is no such route); when the test has ended.
    pub fn remove_route(&self, destination: impl Into<IpAddr>, prefix_len: u8) -> Result<(), Error> {
        let destination = destination.into();
        let operation = || format!("remove route {destination}/{prefix_len} from `{self}`");
        remove(self.node(), Route::on_link(destination, prefix_len, self.index()), operation)
    }
}

/// Whether a gateway can pass on packets of this family: IPv4 has gateways of both.
fn of_family(destination: IpAddr, gateway: IpAddr) -> Result<(), &'static str> {
    match (destination, gateway) {
        (IpAddr::V6(_), IpAddr::V4(_)) => {
            Err("no gateway of IPv6 packets has an IPv4 address: write its IPv6 address")
        }
        _ => Ok(()),
    }
}

/// Whether it is a prefix.
fn check(ip: IpAddr, prefix_len: u8) -> Result<(), String> {
    Prefix::parse_any(&format!("{ip}/{prefix_len}")).map(drop)
}

/// Removes a route, whoever made it.
fn remove(node: &Node, route: Route, operation: impl Fn() -> String) -> Result<(), Error> {
    check(route.destination, route.prefix_len).map_err(|cause| Error::because(operation(), cause))?;
    let route = Route { protocol: RouteProtocol::Unspecified, scope: Scope::Nowhere, ..route };
    let socket = node.route_socket().doing(&operation)?;
    socket.request(Request::delete_route(&route), &operation).map_err(|error| {
        match error.source.raw_os_error() {
            // "No such process", literally.
            Some(libc::ESRCH) => {
                let text = format!("`{}` has no such route", node.name());
                Error::new(operation(), io::Error::new(io::ErrorKind::NotFound, text))
            }
            _ => error.into(),
        }
    })
}
