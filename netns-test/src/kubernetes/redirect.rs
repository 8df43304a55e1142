//! Redirection to a transparent proxy: beside the application in the pod, or on the node.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{self, SockaddrIn, SockaddrIn6, sockopt};

use super::Pod;
use crate::error::{Doing, Error};
use crate::netlink::Request;
use crate::netlink::nftables::{
    Batch, Chain, ChainKind, CtState, Family, Field, Hook, NftSocket, Rule, Table,
};
use crate::netlink::state::{Route, SocketState};
use crate::node::Node;

/// The mark of packets that are the proxy's, whatever their addresses: ztunnel's.
pub(super) const TO_PROXY: u32 = 0x111;

/// The routing table by which they are this host's own: ztunnel's.
const TABLE: u8 = 100;

/// The index of the loopback interface.
const LOOPBACK: u32 = 1;

/// The priorities of nft(8): `mangle`, `dstnat`.
const MANGLE: i32 = -150;
const DSTNAT: i32 = -100;

/// What of a pod's TCP traffic goes to a transparent proxy, for [`Pod::redirect`].
///
/// [`in_pod`](Redirect::in_pod): the proxy's sockets are in the pod, as a sidecar's, or as those of a proxy on the node that has been handed
/// the pod's namespace (the ambient mesh's in-pod mode). [`at_node`](Redirect::at_node): they are in the node, which the pod's traffic
/// is routed through anyway.
#[derive(Clone, Debug)]
#[must_use = "it is for `Pod::redirect`"]
pub struct Redirect {
    place: Place,
    outbound: Option<u16>,
    inbound: Option<u16>,
    /// Whether inbound connections come with the addresses that they were sent with.
    is_transparent: bool,
    mark: Option<u32>,
    users: Vec<u32>,
    ports: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pod,
    Node,
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

    fn new(place: Place) -> Self {
        Self {
            place,
            outbound: None,
            inbound: None,
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

    fn check(&self) -> Result<(), String> {
        let ports: Vec<u16> = self.outbound.into_iter().chain(self.inbound).collect();
        if ports.is_empty() {
            return Err("it redirects nothing: write `.outbound(15001)`, or `.inbound(15006)`".to_owned());
        }
        if ports.contains(&0) {
            return Err("the proxy's port is 0, which is no port: write one from 1 to 65535".to_owned());
        }
        if matches!(self.mark, Some(0 | TO_PROXY)) {
            let which =
                if self.mark == Some(0) { "what packets without a mark have" } else { "this crate's own" };
            return Err(format!("the mark is {which}: choose another for `unless_mark`"));
        }
        if self.place == Place::Pod && self.outbound.is_some() && self.mark.is_none() && self.users.is_empty()
        {
            return Err(
                "the proxy's own connections would be redirected to itself: say how they are told apart, by \
                        `.unless_mark(0x539)` or `.unless_user(1337)`"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Pod {
    /// Redirects the pod's TCP connections to a transparent proxy, from now on; those that are established stay as they are.
    ///
    /// It replaces what was redirected before, and holds until [`end_redirection`](Pod::end_redirection). Other pods are not concerned. Services are
    /// redirected with their own addresses, before they are balanced.
    ///
    /// # Errors
    /// Nothing is redirected, or the proxy's own connections would be; nothing listens on the proxy's port; the kernel's own; the pod has
    /// been deleted, the test has ended, or the calling thread is none of the test's.
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
        redirect.check().map_err(|cause| Error::because(operation(), cause))?;
        let node = match redirect.place {
            Place::Pod => self.as_node().clone(),
            Place::Node => Node::from(self.node()),
        };
        self.as_node().net().doing(operation)?;
        let listening = node.sockets().doing(operation)?;
        for port in redirect.outbound.iter().chain(&redirect.inbound) {
            let listens = |socket: &crate::state::Socket| {
                socket.state == SocketState::Listen && socket.local.port() == *port
            };
            if !listening.iter().any(listens) {
                let cause = format!(
                    "nothing listens on port {port} of `{}`: start the proxy first, and wait for it with `wait_listening({port})`",
                    node.name()
                );
                return Err(Error::because(operation(), cause));
            }
        }
        self.end_redirection()?;
        self.lead_to_proxy(&node).doing(operation)?;
        let mut batch = Batch::new();
        match redirect.place {
            Place::Pod => in_pod(&redirect, &self.table(Place::Pod), &mut batch),
            Place::Node => at_node(&redirect, self, &node, &mut batch),
        }
        if redirect.place == Place::Node {
            self.cluster().told().at_node.insert(self.name().to_owned());
        }
        Ok(node.born_here(NftSocket::open).doing(operation)?.send(batch)?)
    }

    /// Ends what [`redirect`](Pod::redirect) began: new connections go their own way. Nothing happens where there was nothing.
    ///
    /// # Errors
    /// The kernel's own; the pod has been deleted, the test has ended, or the calling thread is none of the test's.
    pub fn end_redirection(&self) -> Result<(), Error> {
        self.forget_redirection()?;
        self.remove(&self.table(Place::Pod), self.as_node())
    }

    /// Takes the rules away that its node has for it.
    pub(super) fn forget_redirection(&self) -> Result<(), Error> {
        // The lock is not held while the kernel is asked.
        let has_rules = !self.has_left() && self.cluster().told().at_node.contains(self.name());
        if has_rules {
            self.remove(&self.table(Place::Node), self.node().node())?;
            self.cluster().told().at_node.remove(self.name());
        }
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

    fn table(&self, place: Place) -> Table {
        let name = match place {
            Place::Pod => "redirect".to_owned(),
            Place::Node => format!("redirect/{}", self.name()),
        };
        Table::new(Family::Inet, name)
    }

    /// Packets with the mark are the host's own, whatever their addresses.
    fn lead_to_proxy(&self, node: &Node) -> io::Result<()> {
        let socket = node.route_socket()?;
        for own in node.own_addresses() {
            let v4 = own.is_ipv4();
            let rule = socket.request(Request::add_rule(v4, TO_PROXY, TABLE), || "add a rule".to_owned());
            match rule {
                Err(error) if error.source.raw_os_error() == Some(libc::EEXIST) => {}
                added => added.map_err(|error| error.source)?,
            }
            let route = Request::add_route(&Route::all_local(v4, LOOPBACK, TABLE)).or_replace();
            socket.request(route, || "add a route".to_owned()).map_err(|error| error.source)?;
        }
        Ok(())
    }
}

/// Chains of one table, each with its rules.
struct Rules<'a> {
    table: &'a Table,
    batch: &'a mut Batch,
}

impl Rules<'_> {
    fn chain(&mut self, name: &str, kind: ChainKind, hook: Hook<'_>, priority: i32) -> Chain {
        let chain = self.table.base_chain(name, kind, hook, priority);
        self.batch.add_chain(&chain);
        chain
    }

    fn add(&mut self, chain: &Chain, rule: Rule) {
        self.batch.add_rule(chain, rule);
    }
}

/// The rules of a pod: those of the in-pod mode, where a proxy may take a client's address for the connection to the application.
fn in_pod(redirect: &Redirect, table: &Table, batch: &mut Batch) {
    batch.add_table(table);
    let mut rules = Rules { table, batch };
    let from_outside = || Rule::new().iifname("eth0").tcp();

    let prerouting = rules.chain("mangle-prerouting", ChainKind::Filter, Hook::Prerouting, MANGLE);
    if let Some(mark) = redirect.mark {
        // What the proxy sends to the application: the answers are to come to the proxy.
        rules.add(&prerouting, Rule::new().mark(mark).set_ct_mark(TO_PROXY));
    }
    if let (Some(port), true) = (redirect.inbound, redirect.is_transparent) {
        tproxy(&mut rules, &prerouting, from_outside, &redirect.ports, port);
    }
    let output = rules.chain("mangle-output", ChainKind::Route, Hook::Output, MANGLE);
    rules.add(&output, Rule::new().ct_mark(TO_PROXY).set_mark(TO_PROXY));

    if let (Some(port), false) = (redirect.inbound, redirect.is_transparent) {
        let chain = rules.chain("nat-prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT);
        for own in &redirect.ports {
            rules.add(&chain, from_outside().tcp_dport(*own).r#return());
        }
        rules.add(&chain, from_outside().redirect(Some(port)));
    }
    if let Some(port) = redirect.outbound {
        let chain = rules.chain("nat-output", ChainKind::Nat, Hook::Output, DSTNAT);
        for mark in redirect.mark.into_iter().chain([TO_PROXY]) {
            rules.add(&chain, Rule::new().mark(mark).r#return());
        }
        for uid in &redirect.users {
            rules.add(&chain, Rule::new().skuid(*uid).r#return());
        }
        // To the loopback, and to itself.
        rules.add(&chain, Rule::new().oifname("lo").r#return());
        rules.add(&chain, Rule::new().tcp().redirect(Some(port)));
    }
}

/// The rules of a node for one of its pods.
fn at_node(redirect: &Redirect, pod: &Pod, node: &Node, batch: &mut Batch) {
    let table = pod.table(Place::Node);
    batch.add_table(&table);
    let mut rules = Rules { table: &table, batch };
    let chain = rules.chain("mangle-prerouting", ChainKind::Filter, Hook::Prerouting, MANGLE);
    let Some((veth, _)) = pod.far_end() else { return };
    if let Some(port) = redirect.outbound {
        // To the node itself, the cluster's name server included.
        let own = node.own_addresses().chain(crate::plan::name_servers(&pod.cluster().layout));
        for ip in own {
            rules.add(&chain, Rule::new().iifname(&veth).daddr(ip, width(ip)).r#return());
        }
        tproxy(&mut rules, &chain, || Rule::new().iifname(&veth).tcp(), &[], port);
    }
    if let Some(port) = redirect.inbound {
        for ip in pod.own_addresses() {
            tproxy(&mut rules, &chain, || Rule::new().daddr(ip, width(ip)).tcp(), &redirect.ports, port);
        }
    }
    // What comes back to a proxy that speaks with another's address.
    let is_proxy_s = || Rule::new().tcp().equals(Field::SocketTransparent, 1_u8);
    rules.add(&chain, is_proxy_s().ct_state(CtState::ESTABLISHED).set_mark(TO_PROXY).accept());
}

/// Gives packets to transparent sockets: to those that are connected, and to the listener on `port`.
fn tproxy(rules: &mut Rules<'_>, chain: &Chain, which: impl Fn() -> Rule, unless: &[u16], port: u16) {
    for own in unless {
        rules.add(chain, which().tcp_dport(*own).r#return());
    }
    let connected = which().equals(Field::SocketTransparent, 1_u8);
    rules.add(chain, connected.set_mark(TO_PROXY).accept());
    rules.add(chain, which().tproxy(None, port).set_mark(TO_PROXY).accept());
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Where a connection that was redirected was to go, by connection tracking (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
///
/// Of one that came transparently it is the accepted socket's own address, which this tells as well.
///
/// # Errors
/// The kernel's own: the connection was neither redirected nor tracked.
pub fn original_destination(stream: &impl AsFd) -> io::Result<SocketAddr> {
    let stream = stream.as_fd();
    let v4 = || {
        socket::getsockopt(&stream, sockopt::OriginalDst)
            .map(SockaddrIn::from)
            .map(|to| SocketAddrV4::from(to).into())
    };
    let v6 = || {
        socket::getsockopt(&stream, sockopt::Ip6tOriginalDst)
            .map(SockaddrIn6::from)
            .map(|to| SocketAddrV6::from(to).into())
    };
    // A socket of IPv6 may have a peer of IPv4.
    let peer: socket::SockaddrStorage = socket::getpeername(std::os::fd::AsRawFd::as_raw_fd(&stream))?;
    let is_v4 = peer.as_sockaddr_in6().is_none_or(|peer| peer.ip().to_ipv4_mapped().is_some());
    let found: Result<SocketAddr, Errno> = if is_v4 { v4() } else { v6() };
    Ok(found?)
}

/// Makes a socket transparent (`IP_TRANSPARENT`, ip(7)): a listener takes connections to foreign addresses, and a socket may be bound
/// to one. It needs CAP_NET_ADMIN, which all threads of a test have.
///
/// # Errors
/// The kernel's own.
pub fn set_transparent(socket: &impl AsFd) -> io::Result<()> {
    Ok(socket::setsockopt(&socket.as_fd(), sockopt::IpTransparent, &true)?)
}

impl Node {
    /// Hands the node's network namespace to another process over a Unix socket (`SCM_RIGHTS`, unix(7)), with some bytes that say what
    /// it is: as a CNI plugin hands a pod's to a proxy on the node.
    ///
    /// # Errors
    /// The kernel's own; the test has ended; there are no bytes, and without any nothing is sent.
    pub fn send_netns(&self, to: &impl AsFd, message: &[u8]) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        self.net()?;
        if message.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor is sent beside one byte or more",
            ));
        }
        let descriptors = [self.netns_fd().as_raw_fd()];
        let rights = [socket::ControlMessage::ScmRights(&descriptors)];
        let text = [io::IoSlice::new(message)];
        let flags = socket::MsgFlags::MSG_NOSIGNAL;
        let sent = socket::sendmsg::<()>(to.as_fd().as_raw_fd(), &text, &rights, flags, None)?;
        match sent == message.len() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::WriteZero, "not all of the message was sent")),
        }
    }
}
