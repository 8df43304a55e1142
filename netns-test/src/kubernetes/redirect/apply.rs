//! Redirection, begun and ended.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nix::libc;

use super::rules::{self, TO_GATEWAY, TO_PROXY};
use super::{Place, Redirect};
use crate::error::{Doing, Error};
use crate::kubernetes::Pod;
use crate::netlink::nftables::{Batch, Family, NftSocket, Rule, Table};
use crate::netlink::state::{Protocol, Route};
use crate::netlink::{NetlinkError, Request, RouteSocket};
use crate::node::{Node, NodeState};
use crate::plan::name_servers;

/// The routing table by which packets for the proxy are this host's own: ztunnel's.
const TABLE: u32 = 100;

/// The index of the loopback interface.
const LOOPBACK: u32 = 1;

impl Pod {
    /// Redirects the pod's traffic to a transparent proxy, from now on; connections that are established stay as they are.
    ///
    /// It replaces what was redirected before, to a proxy in the same place from one packet to the next, and holds until [`end_redirection`](Pod::end_redirection). Other pods are not concerned. Services are
    /// redirected with their own addresses, before they are balanced.
    ///
    /// # Errors
    /// Nothing is redirected, or the proxy's own connections would be; nothing listens on the proxy's port, or not for all that comes to
    /// it; the gateway is on another node, or deleted; the kernel's own; the pod has been deleted, the test has ended, or the calling
    /// thread is none of the test's.
    ///
    /// ```
    /// use netns_test::kubernetes::{Pod, Redirect, original_destination};
    /// use netns_test::netns_test;
    ///
    /// #[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
    /// async fn is_captured(client: Pod, server: Pod) -> std::io::Result<()> {
    ///     let proxy = client.listen_tcp("[::]:15001").await?;
    ///     client.redirect(Redirect::in_pod().outbound(15001).unless_mark(0x539))?;
    ///     let _out = client.connect_tcp((server.ip(), 80)).await?;
    ///     let (stream, _) = proxy.accept().await?;
    ///     assert_eq!(original_destination(&stream)?, (server.ip(), 80).into());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn redirect(&self, redirect: Redirect) -> Result<(), Error> {
        let operation = || format!("redirect the connections of `{}`", self.name());
        self.as_node().net().doing(operation)?;
        redirect.check(self).map_err(|cause| Error::because(operation(), cause))?;
        let proxy = match &redirect.place {
            Place::Pod => self.as_node().clone(),
            Place::Node => Node::from(self.node()),
            Place::Gateway(gateway) => gateway.as_node().clone(),
        };
        let wanted = redirect.wanted(self, &proxy);
        is_listened_to(&proxy, &wanted)
            .doing(operation)?
            .map_err(|cause| Error::because(operation(), cause))?;
        let elsewhere = match &redirect.place {
            Place::Pod => None,
            Place::Node => Some(None),
            Place::Gateway(gateway) => Some(Some(Arc::clone(&gateway.record.state))),
        };
        // What stays in its place is replaced there, from one packet to the next.
        if elsewhere.is_some() {
            self.remove(&self.table(&Place::Pod), self.as_node())?;
        }
        if !self.is_led(elsewhere.as_ref()) {
            self.forget_redirection()?;
        }
        lead_to_proxy(&proxy).doing(operation)?;
        if let Some(gateway) = elsewhere {
            self.cluster().told().on_the_way.insert(self.name().to_owned(), gateway);
        }
        for (node, batch) in self.rules(&redirect, &proxy)? {
            node.born_here(NftSocket::open).doing(operation)?.send(batch)?;
        }
        Ok(())
    }

    /// The rules that redirect, each with the node that gets them, in order.
    fn rules(&self, redirect: &Redirect, proxy: &Node) -> Result<Vec<(Node, Batch)>, Error> {
        let node = self.node();
        let name_servers = || name_servers(&self.cluster().layout);
        if let Place::Pod = redirect.place {
            let mut batch = Batch::new();
            rules::in_pod(
                redirect,
                &name_servers().collect::<Vec<_>>(),
                &self.table(&redirect.place),
                &mut batch,
            );
            return Ok(vec![(proxy.clone(), batch)]);
        }
        let veth = |pod: &Self| {
            let operation = || format!("find the link of `{}`", pod.name());
            pod.far_end().ok_or_else(|| Error::because(operation(), "it has none"))
        };
        let (own_veth, _) = veth(self)?;
        let pod: Vec<IpAddr> = self.own_addresses().collect();
        // What goes to the node itself, the cluster's name server included, and to the gateway.
        let own = node.own_addresses().chain(name_servers()).chain(proxy.own_addresses()).collect::<Vec<_>>();
        let parties = rules::Parties { pod: &pod, own: &own, table: &self.table(&redirect.place) };
        let mut at_proxy = Batch::new();
        let Place::Gateway(gateway) = &redirect.place else {
            rules::on_the_way(redirect, &[Rule::new().iifname(&own_veth)], &parties, &mut at_proxy);
            return Ok(vec![(proxy.clone(), at_proxy)]);
        };
        let from = pod.iter().map(|ip| Rule::new().iifname("eth0").saddr(*ip, rules::width(*ip)));
        rules::on_the_way(redirect, &from.collect::<Vec<_>>(), &parties, &mut at_proxy);
        let (gateway_veth, index) = veth(gateway)?;
        let (mut at_node, mark) = (Batch::new(), TO_GATEWAY | index);
        let socket = node.route_socket().doing(|| format!("lead packets to `{}`", gateway.name()))?;
        lead_to_gateway(&socket, proxy, index, mark)?;
        rules::by_way_of(redirect, [&own_veth, &gateway_veth], mark, &parties, &mut at_node);
        Ok(vec![(proxy.clone(), at_proxy), (Node::from(node), at_node)])
    }

    /// Ends what [`redirect`](Pod::redirect) began: new connections go their own way. Nothing happens where there was nothing.
    ///
    /// # Errors
    /// The kernel's own; the pod has been deleted, the test has ended, or the calling thread is none of the test's.
    pub fn end_redirection(&self) -> Result<(), Error> {
        self.forget_redirection()?;
        self.remove(&self.table(&Place::Pod), self.as_node())
    }

    /// Whether the rules that its node, or a gateway, has for it are where those of `elsewhere` would be.
    fn is_led(&self, elsewhere: Option<&Option<Arc<NodeState>>>) -> bool {
        match (self.cluster().told().on_the_way.get(self.name()), elsewhere) {
            (Some(Some(known)), Some(Some(gateway))) => Arc::ptr_eq(known, gateway),
            (Some(None), Some(None)) => true,
            _ => false,
        }
    }

    /// Takes the rules away that its node, or a gateway, has for it.
    pub(in crate::kubernetes) fn forget_redirection(&self) -> Result<(), Error> {
        // The lock is not held while the kernel is asked.
        let known = || self.cluster().told().on_the_way.get(self.name()).cloned();
        let Some(gateway) = (if self.has_left() { None } else { known() }) else { return Ok(()) };
        let table = self.table(&Place::Node);
        self.remove(&table, self.node().node())?;
        let gateway = gateway.map(Node::new).filter(|gateway| !gateway.has_left() && !gateway.is_out());
        if let Some(gateway) = gateway {
            self.remove(&table, &gateway)?;
        }
        self.cluster().told().on_the_way.remove(self.name());
        Ok(())
    }

    fn remove(&self, table: &Table, node: &Node) -> Result<(), Error> {
        let mut batch = Batch::new();
        // One that is not there could not be deleted.
        batch.add_table(table);
        batch.delete_table(table);
        let operation = || format!("end the redirection of `{}`", self.name());
        Ok(node.born_here(NftSocket::open).doing(operation)?.send(batch)?)
    }

    fn table(&self, place: &Place) -> Table {
        let name = match place {
            Place::Pod => "redirect".to_owned(),
            Place::Node | Place::Gateway(_) => format!("redirect/{}", self.name()),
        };
        Table::new(Family::Inet, name)
    }
}

/// Whether there are sockets for all that would come to a proxy; else what is missing.
fn is_listened_to(proxy: &Node, wanted: &[(Protocol, SocketAddr)]) -> io::Result<Result<(), String>> {
    let sockets = proxy.sockets()?;
    for &(protocol, address) in wanted {
        let of_port = |socket: &&crate::state::Socket| {
            socket.protocol == protocol && socket.is_listening() && socket.local.port() == address.port()
        };
        let mut there = sockets.iter().filter(of_port).peekable();
        let (name, port) = (proxy.name(), address.port());
        let (what, wait) = match protocol {
            Protocol::Udp => ("UDP port", "wait_bound_udp"),
            _ => ("port", "wait_listening"),
        };
        if there.peek().is_none() {
            return Ok(Err(format!(
                "nothing listens on {what} {port} of `{name}`: start the proxy first, and wait for it with `{wait}({port})`"
            )));
        }
        let is_ipv4 = address.is_ipv4();
        if !there.any(|socket| socket.accepts(address)) {
            let family = if is_ipv4 { "IPv4" } else { "IPv6" };
            return Ok(Err(format!(
                "what listens on {what} {port} of `{name}` does not take what would come to it over {family}, at {}: let it listen on `[::]:{port}`",
                address.ip()
            )));
        }
    }
    Ok(Ok(()))
}

/// Packets with the mark are the host's own, whatever their addresses.
fn lead_to_proxy(node: &Node) -> io::Result<()> {
    let socket = node.route_socket()?;
    for own in node.own_addresses() {
        let v4 = own.is_ipv4();
        let ways = [Route::all_local(v4, LOOPBACK, TABLE)];
        lead(&socket, v4, TO_PROXY, TABLE, &ways).map_err(|error| error.source)?;
    }
    Ok(())
}

/// Packets with the mark go to a pod, whose link has this index; when it is gone, to nobody.
fn lead_to_gateway(socket: &RouteSocket, gateway: &Node, index: u32, mark: u32) -> Result<(), NetlinkError> {
    for ip in gateway.own_addresses() {
        let ways = [Route::all_via(ip, index, index), Route::all_unreachable(ip.is_ipv4(), index)];
        lead(socket, ip.is_ipv4(), mark, index, &ways)?;
    }
    Ok(())
}

/// Packets with the mark are routed by a table.
fn lead(socket: &RouteSocket, v4: bool, mark: u32, table: u32, ways: &[Route]) -> Result<(), NetlinkError> {
    for way in ways {
        socket.request(Request::add_route(way).or_replace(), || format!("add a route of table {table}"))?;
    }
    match socket.request(Request::add_rule(v4, mark, table), || format!("add a rule for table {table}")) {
        Err(error) if error.source.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        added => added.map(drop),
    }
}
