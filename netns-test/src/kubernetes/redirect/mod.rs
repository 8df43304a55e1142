//! Redirection to a transparent proxy: beside the application in the pod, on the node, or on a gateway.

mod apply;
mod rules;
mod sockets;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) use self::rules::{TO_GATEWAY, TO_GATEWAY_MASK, TO_PROXY};
pub use self::sockets::{original_destination, receive_redirected, set_transparent};
use super::Pod;
use crate::netlink::state::Protocol;
use crate::node::Node;

/// What of a pod's traffic goes to a transparent proxy, for [`Pod::redirect`].
///
/// [`in_pod`](Redirect::in_pod): the proxy's sockets are in the pod, as a sidecar's, or as those of a proxy on the node that has been handed
/// the pod's namespace (the ambient mesh's in-pod mode). [`at_node`](Redirect::at_node): they are in the node, which the pod's traffic
/// is routed through anyway. [`by_way_of`](Redirect::by_way_of): they are in another pod, a gateway, which the node routes the traffic to.
#[derive(Clone, Debug)]
#[must_use = "it is for `Pod::redirect`"]
pub struct Redirect {
    place: Place,
    outbound: Option<u16>,
    inbound: Option<u16>,
    outbound_udp: Option<u16>,
    inbound_udp: Option<u16>,
    /// Whether inbound connections come with the addresses that they were sent with.
    is_transparent: bool,
    mark: Option<u32>,
    users: Vec<u32>,
    ports: Vec<u16>,
}

#[derive(Clone, Debug)]
enum Place {
    Pod,
    Node,
    Gateway(Box<Pod>),
}

impl Redirect {
    /// To a proxy whose sockets are in the pod.
    ///
    /// Outbound connections come to it as those of iptables' `REDIRECT` do, with the pod's own address, and
    /// [`original_destination`] tells where they were to go. Inbound ones likewise, or transparently.
    pub fn in_pod() -> Self {
        Self::new(Place::Pod)
    }

    /// To a proxy whose sockets are in the pod's node.
    ///
    /// All connections come to it transparently (`TPROXY`): the accepted socket has the client's address as its peer, and the original
    /// destination as its own. Its listener must be [transparent](set_transparent). The node's own connections to the pod are not
    /// redirected, so the proxy needs no exemption.
    pub fn at_node() -> Self {
        Self { is_transparent: true, ..Self::new(Place::Node) }
    }

    /// To a proxy in another pod of the same node, a gateway: the node routes the pod's traffic there, by marks and a routing table.
    ///
    /// All connections come to it transparently, as [`at_node`](Redirect::at_node). What the gateway itself sends is not redirected, also
    /// where it has the pod's address or the client's as its source; the answers come to it. When the gateway is deleted, what would go
    /// to it is unreachable.
    ///
    /// ```
    /// use netns_test::kubernetes::{Pod, Redirect, set_transparent};
    /// use netns_test::netns_test;
    ///
    /// #[netns_test(kubernetes(nodes = 2, pods(client = 0, gateway = 0, server = 1)))]
    /// async fn through_a_gateway(client: Pod, gateway: Pod, server: Pod) -> std::io::Result<()> {
    ///     let proxy = gateway.listen_tcp("[::]:15001").await?;
    ///     set_transparent(&proxy)?;
    ///     client.redirect(Redirect::by_way_of(&gateway).outbound(15001))?;
    ///     let _out = client.connect_tcp((server.ip(), 80)).await?; // nobody listens there, and it connects
    ///     let (stream, peer) = proxy.accept().await?;
    ///     assert_eq!((peer.ip(), stream.local_addr()?), (client.ip(), (server.ip(), 80).into()));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn by_way_of(gateway: &Pod) -> Self {
        Self { is_transparent: true, ..Self::new(Place::Gateway(Box::new(gateway.clone()))) }
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            outbound: None,
            inbound: None,
            outbound_udp: None,
            inbound_udp: None,
            is_transparent: false,
            mark: None,
            users: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// The TCP connections that the pod begins go to this port of the proxy. Those to the loopback and to the pod itself do not.
    pub fn outbound(mut self, port: u16) -> Self {
        self.outbound = Some(port);
        self
    }

    /// The TCP connections that others begin to the pod go to this port of the proxy.
    pub fn inbound(mut self, port: u16) -> Self {
        self.inbound = Some(port);
        self
    }

    /// The datagrams that the pod sends to others go to this UDP port of the proxy, but for those to the cluster's name server, and
    /// answers to what others have sent first. They come transparently in all arrangements: the proxy's socket must be
    /// [transparent](set_transparent), and [`receive_redirected`] tells where each was to go.
    pub fn outbound_udp(mut self, port: u16) -> Self {
        self.outbound_udp = Some(port);
        self
    }

    /// The datagrams that others send to the pod go to this UDP port of the proxy, but for answers. Not [`in_pod`](Redirect::in_pod): a proxy's
    /// answers would have to leave by the application's own port.
    pub fn inbound_udp(mut self, port: u16) -> Self {
        self.inbound_udp = Some(port);
        self
    }

    /// Inbound connections come transparently (`TPROXY`): the accepted socket has the original destination as its own address. The
    /// proxy's listener must be [transparent](set_transparent).
    pub fn transparent(mut self) -> Self {
        self.is_transparent = true;
        self
    }

    /// Connections of sockets with this mark (`SO_MARK`) are the proxy's own.
    ///
    /// Such a socket, if it is [transparent](set_transparent), may be bound to a client's address and connect to the pod's application: the
    /// answers come to it, although the address is another's.
    pub fn unless_mark(mut self, mark: u32) -> Self {
        self.mark = Some(mark);
        self
    }

    /// Connections of this user's processes are the proxy's own. An ordinary user who runs the test has no other user's id to give.
    pub fn unless_user(mut self, uid: u32) -> Self {
        self.users.push(uid);
        self
    }

    /// Inbound connections to this port are not redirected: a port of the proxy's own, for instance.
    pub fn unless_port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    fn check(&self, pod: &Pod) -> Result<(), String> {
        let ports = [self.outbound, self.inbound, self.outbound_udp, self.inbound_udp];
        let is_in_pod = matches!(self.place, Place::Pod);
        let told_apart = self.mark.is_some() || !self.users.is_empty();
        if ports.iter().all(Option::is_none) {
            return Err("it redirects nothing: write `.outbound(15001)`, or `.inbound(15006)`".to_owned());
        }
        if ports.contains(&Some(0)) {
            return Err("the proxy's port is 0, which is no port: write one from 1 to 65535".to_owned());
        }
        if matches!(self.mark, Some(0 | TO_PROXY)) {
            let which =
                if self.mark == Some(0) { "what packets without a mark have" } else { "this crate's own" };
            return Err(format!("the mark is {which}: choose another for `unless_mark`"));
        }
        if is_in_pod && (self.outbound.is_some() || self.outbound_udp.is_some()) && !told_apart {
            return Err(
                "the proxy's own connections would be redirected to itself: say how they are told apart, by \
                        `.unless_mark(0x539)` or `.unless_user(1337)`"
                    .to_owned(),
            );
        }
        if is_in_pod && self.inbound_udp.is_some() {
            return Err(
                "the proxy's answers would have to leave by the application's own port: use `at_node` or \
                        `by_way_of` for `inbound_udp`"
                    .to_owned(),
            );
        }
        if !is_in_pod && told_apart {
            return Err(
                "a packet's mark and user are not known outside of its pod: remove `unless_mark` and \
                        `unless_user`; what the proxy sends is not redirected"
                    .to_owned(),
            );
        }
        let Place::Gateway(gateway) = &self.place else { return Ok(()) };
        let (name, own) = (gateway.name(), pod.name());
        if gateway.record.state.namespaces.inode() == pod.record.state.namespaces.inode() {
            return Err(format!("`{own}` cannot be its own gateway: use `in_pod`"));
        }
        if !std::ptr::eq(gateway.cluster().state(), pod.cluster().state()) {
            return Err(format!("the gateway `{name}` is a pod of another test's"));
        }
        if gateway.node_number() != pod.node_number() {
            let [here, there] = [pod, gateway].map(|pod| pod.node_number());
            return Err(format!(
                "the gateway `{name}` is on `node-{there}`, and `{own}` on `node-{here}`: start a gateway on each node"
            ));
        }
        match gateway.has_left() {
            true => Err(format!("the gateway `{name}` has been deleted")),
            false => Ok(()),
        }
    }

    /// The proxy's ports, each with the addresses that packets come to it by.
    fn wanted(&self, pod: &Pod, at: &Node) -> Vec<(Protocol, SocketAddr)> {
        let loopback = |ip: IpAddr| match ip {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        let mut wanted = Vec::new();
        for ip in pod.own_addresses() {
            let of_family = |node: &Node| node.own_addresses().find(|own| own.is_ipv4() == ip.is_ipv4());
            // The kernel asks for a listener on the address of the interface that a packet came by; a node's end of a veth has none.
            let outside = match self.place {
                Place::Node => ip,
                Place::Pod | Place::Gateway(_) => of_family(at).unwrap_or(ip),
            };
            let outbound = if matches!(self.place, Place::Pod) { loopback(ip) } else { outside };
            let ports = [
                (Protocol::Tcp, self.outbound, outbound),
                (Protocol::Tcp, self.inbound, outside),
                (Protocol::Udp, self.outbound_udp, outbound),
                (Protocol::Udp, self.inbound_udp, outside),
            ];
            wanted.extend(
                ports
                    .into_iter()
                    .filter_map(|(protocol, port, ip)| Some((protocol, SocketAddr::new(ip, port?)))),
            );
        }
        wanted
    }
}
