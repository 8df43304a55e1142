//! `NETLINK_ROUTE`: links, addresses, routes and neighbours, made and read.

use std::{
    error, fmt, io,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
pub(crate) use netlink_packet_route::link::MacVlanMode as MacvlanMode;
#[cfg(feature = "kubernetes")]
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage},
    link::{
        BridgeStpState, InfoBridge, InfoData, InfoKind, InfoMacVlan, InfoVeth, InfoVlan, InfoVxlan,
        LinkAttribute, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
    },
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage},
    nsid::{NsidAttribute, NsidMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteVia},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;

use super::{
    decode,
    socket::{Channel, Refusal},
    state::{Address, Link, Neighbour, NeighbourState, Route, RouteKind, RouteProtocol, Scope},
};
use crate::sys::ethtool;

/// A request that the kernel refused.
#[derive(Debug)]
pub(crate) struct NetlinkError {
    /// What was to be done, as in "create bridge `switch`".
    pub(crate) operation: String,
    /// The kernel's error number.
    pub(crate) source: io::Error,
    /// The kernel's own words (extended acknowledgement), where it had some, or what its number means here.
    pub(crate) kernel: Option<String>,
}

impl NetlinkError {
    pub(super) fn new(operation: String, refusal: Refusal) -> Self {
        Self { operation, source: refusal.source, kernel: refusal.kernel }
    }
}

impl fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}: ", self.operation)?;
        if let Some(text) = &self.kernel {
            write!(f, "{text}: ")?;
        }
        self.source.fmt(f)
    }
}

impl error::Error for NetlinkError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<NetlinkError> for crate::Error {
    fn from(error: NetlinkError) -> Self {
        let NetlinkError { operation, source, kernel } = error;
        match kernel {
            Some(text) => Self::explained(operation, text, source),
            None => Self::new(operation, source),
        }
    }
}

/// A `NETLINK_ROUTE` socket.
///
/// It speaks for the network namespace that it was opened in, whichever thread uses it. The kernel wants
/// `CAP_NET_ADMIN` over that namespace from the thread that opened it as well as from the one that sends a change.
pub(crate) struct RouteSocket {
    channel: Channel,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Channel::open(NETLINK_ROUTE).map(|channel| Self { channel })
    }

    /// Switches off what makes one packet of several on an interface, or leaves checksums to be computed later.
    pub(crate) fn switch_off_offloads(&self, interface: &str) -> io::Result<()> {
        self.channel.with_descriptor(|socket| ethtool::switch_off_offloads(socket, interface))
    }

    /// Performs a batch in order; the first refusal is returned.
    ///
    /// Requests behind the refused one may have been performed.
    pub(crate) fn send(&self, batch: Batch<'_>) -> Result<(), NetlinkError> {
        let (requests, mut descriptions): (Vec<_>, Vec<_>) = batch.entries.into_iter().unzip();
        let requests = requests.into_iter().map(|Request { message, flags, .. }| (message, flags));
        match self.channel.transact(requests, |_| false) {
            Ok(_) => Ok(()),
            Err((position, refusal)) => Err(NetlinkError::new(descriptions.swap_remove(position)(), refusal)),
        }
    }

    /// Performs one request.
    pub(crate) fn request(
        &self,
        request: Request<'_>,
        describe: impl FnOnce() -> String,
    ) -> Result<(), NetlinkError> {
        let Request { message, flags, .. } = request;
        match self.channel.transact([(message, flags)], |_| false) {
            Ok(_) => Ok(()),
            Err((_, refusal)) => Err(NetlinkError::new(describe(), refusal)),
        }
    }

    /// All interfaces.
    pub(crate) fn links(&self) -> io::Result<Vec<Link>> {
        self.channel.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()), |kind, payload| match kind {
            libc::RTM_NEWLINK => decode::link(payload).map(Some),
            _ => Ok(None),
        })
    }

    /// The interface with this index, if there is one.
    pub(crate) fn link(&self, index: u32) -> io::Result<Option<Link>> {
        let request = RouteNetlinkMessage::GetLink(link_message(index));
        match self.channel.get(request, |_, payload| decode::link(payload)) {
            Ok(link) => Ok(Some(link)),
            Err(refusal) if refusal.errno() == Some(libc::ENODEV) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The number that this namespace has for another one, if it has one: where an interface of it leads there.
    pub(crate) fn number_of(&self, namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
        let mut message = NsidMessage::default();
        message.attributes.push(NsidAttribute::Fd(namespace.as_raw_fd() as u32));
        let number =
            self.channel.get(RouteNetlinkMessage::GetNsId(message), |_, payload| decode::namespace(payload));
        Ok(number?)
    }

    /// All IPv4 and IPv6 addresses.
    pub(crate) fn addresses(&self) -> io::Result<Vec<Address>> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        self.channel.dump(&request, |kind, payload| match kind {
            libc::RTM_NEWADDR => decode::address(payload),
            _ => Ok(None),
        })
    }

    /// All IPv4 and IPv6 routes, of all tables.
    pub(crate) fn routes(&self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        // Not both at once: that would dump the tables of every other family as well.
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let request = RouteNetlinkMessage::GetRoute(request);
            routes.extend(self.channel.dump(&request, |kind, payload| match kind {
                libc::RTM_NEWROUTE if payload.first() == Some(&u8::from(family)) => decode::route(payload),
                _ => Ok(None),
            })?);
        }
        Ok(routes)
    }

    /// The route that a packet to `ip` takes; its kind is [`RouteKind::Local`] for an own address that is in use.
    pub(crate) fn route_to(&self, ip: IpAddr) -> io::Result<Route> {
        let mut request = RouteMessage::default();
        request.header.address_family = family(ip);
        request.header.destination_prefix_length = bits(ip);
        request.attributes.push(RouteAttribute::Destination(ip.into()));
        let route =
            self.channel.get(RouteNetlinkMessage::GetRoute(request), |_, payload| decode::route(payload))?;
        route
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel answered with no IP route"))
    }

    /// All entries of the neighbour tables.
    pub(crate) fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        let request = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.channel.dump(&request, |kind, payload| match kind {
            libc::RTM_NEWNEIGH => decode::neighbour(payload),
            _ => Ok(None),
        })
    }

    /// Forgets what was learnt about neighbours; permanent entries stay.
    pub(crate) fn flush_neighbours(&self) -> Result<(), NetlinkError> {
        let operation = || "flush the neighbour tables".to_owned();
        let neighbours = self.neighbours().map_err(|error| NetlinkError::new(operation(), error.into()))?;
        let learnt = neighbours
            .iter()
            .filter(|entry| !matches!(entry.state, NeighbourState::Permanent | NeighbourState::NoArp))
            .map(|entry| Request::delete_neighbour(entry.link, entry.ip))
            .map(|Request { message, flags, .. }| (message, flags));
        match self.channel.transact(learnt, |refusal| refusal.errno() == Some(libc::ENOENT)) {
            Ok(_) => Ok(()),
            Err((_, refusal)) => Err(NetlinkError::new(operation(), refusal)),
        }
    }
}

/// Requests that are performed in order, with as few system calls as possible.
#[derive(Default)]
pub(crate) struct Batch<'a> {
    entries: Vec<(Request<'a>, Description<'a>)>,
}

/// What a request does, put into words when it has failed.
type Description<'a> = Box<dyn FnOnce() -> String + 'a>;

impl<'a> Batch<'a> {
    /// An empty batch.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a request; `describe` says what it does, as in "create bridge `switch`", and is called if it fails.
    pub(crate) fn push(&mut self, request: Request<'a>, describe: impl FnOnce() -> String + 'a) {
        self.entries.push((request, Box::new(describe)));
    }
}

/// One change, for [`Batch::push`] or [`RouteSocket::request`]. It borrows the namespaces that it names.
#[must_use = "a request does nothing before it is sent"]
#[derive(Debug)]
pub(crate) struct Request<'a> {
    message: RouteNetlinkMessage,
    flags: u16,
    namespaces: PhantomData<BorrowedFd<'a>>,
}

/// An interface that is to be created: one end of a veth, a macvlan or a bridge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkEnd<'a> {
    /// The interface's name, at most 15 bytes.
    pub(crate) name: &'a str,
    /// The interface's index; 0 leaves the choice to the kernel.
    pub(crate) index: u32,
    /// The MAC address; `None` leaves the choice to the kernel.
    pub(crate) mac: Option<[u8; 6]>,
    /// The MTU; `None` leaves the choice to the kernel.
    pub(crate) mtu: Option<u32>,
    /// Whether the interface is switched on at once. The kernel ignores it for the second end of a veth.
    pub(crate) up: bool,
    /// The namespace that the interface is born in; `None` for the socket's own.
    pub(crate) netns: Option<BorrowedFd<'a>>,
}

impl<'a> LinkEnd<'a> {
    /// An interface in the socket's own namespace, down, with index, MAC address and MTU chosen by the kernel.
    pub(crate) fn new(name: &'a str) -> Self {
        Self { name, index: 0, mac: None, mtu: None, up: false, netns: None }
    }

    fn message(&self) -> LinkMessage {
        let mut message = link_message(self.index);
        if self.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        message.attributes.push(LinkAttribute::IfName(self.name.to_owned()));
        message.attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        message.attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        message.attributes.extend(self.netns.map(|netns| LinkAttribute::NetNsFd(netns.as_raw_fd())));
        message
    }
}

impl<'a> Request<'a> {
    /// Creates a veth with both ends where they belong, so that neither must be moved (which takes 30 ms).
    ///
    /// The second end gets its index only if the first has one, too (`veth_newlink` in `drivers/net/veth.c`).
    pub(crate) fn veth(end: &LinkEnd<'a>, peer: &LinkEnd<'a>) -> Self {
        let data = InfoData::Veth(InfoVeth::Peer(peer.message()));
        Self::create(end.message(), InfoKind::Veth, Some(data))
    }

    /// Creates a macvlan on the interface `lower` of the socket's namespace.
    pub(crate) fn macvlan(end: &LinkEnd<'a>, lower: u32, mode: MacvlanMode) -> Self {
        let mut message = end.message();
        message.attributes.push(LinkAttribute::Link(lower));
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
        Self::create(message, InfoKind::MacVlan, Some(data))
    }

    /// Creates a VLAN on the interface `lower` of the socket's namespace.
    pub(crate) fn vlan(end: &LinkEnd<'a>, lower: u32, number: u16) -> Self {
        let mut message = end.message();
        message.attributes.push(LinkAttribute::Link(lower));
        let data = InfoData::Vlan(vec![InfoVlan::Id(number)]);
        Self::create(message, InfoKind::Vlan, Some(data))
    }

    /// Creates a VXLAN that sends from `local` to the port that RFC 7348 has for it, and learns where MAC addresses are.
    pub(crate) fn vxlan(end: &LinkEnd<'a>, number: u32, local: IpAddr) -> Self {
        /// RFC 7348 section 5. Linux has another one, for what is older.
        const PORT: u16 = 4789;
        let local = match local {
            IpAddr::V4(ip) => InfoVxlan::Local(ip),
            IpAddr::V6(ip) => InfoVxlan::Local6(ip),
        };
        let data = vec![InfoVxlan::Id(number), local, InfoVxlan::Port(PORT), InfoVxlan::Learning(true)];
        Self::create(end.message(), InfoKind::Vxlan, Some(InfoData::Vxlan(data)))
    }

    /// Has a VXLAN send to `to`, too, what it does not know the place of.
    pub(crate) fn add_tunnel_end(link: u32, to: IpAddr) -> Self {
        let mut message = neighbour_message(link, to);
        message.header.family = AddressFamily::Bridge;
        message.header.state = netlink_packet_route::neighbour::NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(vec![0; 6]));
        Self::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND)
    }

    /// Creates a bridge that forwards at once: no spanning tree, no forward delay, multicast to every port.
    pub(crate) fn bridge(end: &LinkEnd<'a>) -> Self {
        let data = InfoData::Bridge(vec![
            InfoBridge::ForwardDelay(0),
            InfoBridge::StpState(BridgeStpState::Disabled),
            InfoBridge::MulticastSnooping(false),
        ]);
        Self::create(end.message(), InfoKind::Bridge, Some(data))
    }

    fn create(mut message: LinkMessage, kind: InfoKind, data: Option<InfoData>) -> Self {
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        Self::new(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Switches an interface on or off.
    pub(crate) fn set_up(index: u32, up: bool) -> Self {
        let mut message = link_message(index);
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
        Self::new(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Deletes an interface. A veth takes its other end along.
    pub(crate) fn delete_link(index: u32) -> Self {
        Self::new(RouteNetlinkMessage::DelLink(link_message(index)), 0)
    }

    /// Sets an interface's MTU.
    pub(crate) fn set_mtu(index: u32, mtu: u32) -> Self {
        Self::set_link(index, LinkAttribute::Mtu(mtu))
    }

    /// Sets of how many segments TCP makes the largest packet that it sends by an interface.
    pub(crate) fn set_gso_segments(index: u32, most: u32) -> Self {
        Self::set_link(index, LinkAttribute::GsoMaxSegs(most))
    }

    /// Makes an interface a port of the bridge `controller`, or of none.
    pub(crate) fn set_controller(index: u32, controller: Option<u32>) -> Self {
        Self::set_link(index, LinkAttribute::Controller(controller.unwrap_or(0)))
    }

    fn set_link(index: u32, attribute: LinkAttribute) -> Self {
        let mut message = link_message(index);
        message.attributes.push(attribute);
        Self::new(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Gives an interface an address, without duplicate address detection.
    pub(crate) fn add_address(address: &Address) -> Self {
        let mut message = address_message(address);
        if let IpAddr::V4(ip) = address.ip {
            message.attributes.extend(broadcast(ip, address.prefix_len).map(AddressAttribute::Broadcast));
        }
        let mut flags = AddressFlags::empty();
        flags.set(AddressFlags::Nodad, address.ip.is_ipv6());
        flags.set(AddressFlags::Noprefixroute, !address.prefix_route);
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        Self::new(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Takes an address from an interface.
    pub(crate) fn delete_address(address: &Address) -> Self {
        Self::new(RouteNetlinkMessage::DelAddress(address_message(address)), 0)
    }

    /// Adds a route.
    pub(crate) fn add_route(route: &Route) -> Self {
        Self::new(RouteNetlinkMessage::NewRoute(route_message(route)), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Deletes a route.
    pub(crate) fn delete_route(route: &Route) -> Self {
        Self::new(RouteNetlinkMessage::DelRoute(route_message(route)), 0)
    }

    /// Adds a rule (ip-rule(8)): packets with this mark are routed by this table.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn add_rule(v4: bool, mark: u32, table: u32) -> Self {
        let mut message = RuleMessage::default();
        message.header.family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.action = RuleAction::ToTable;
        let table = RuleAttribute::Table(table);
        message.attributes = vec![RuleAttribute::FwMark(mark), RuleAttribute::FwMask(u32::MAX), table];
        Self::new(RouteNetlinkMessage::NewRule(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a permanent entry to the neighbour table: nobody is asked for the MAC address.
    pub(crate) fn add_neighbour(link: u32, ip: IpAddr, mac: [u8; 6]) -> Self {
        let mut message = neighbour_message(link, ip);
        message.header.state = netlink_packet_route::neighbour::NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
        Self::new(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Deletes an entry of the neighbour table.
    pub(crate) fn delete_neighbour(link: u32, ip: IpAddr) -> Self {
        Self::new(RouteNetlinkMessage::DelNeighbour(neighbour_message(link, ip)), 0)
    }

    /// Makes an addition succeed where the object exists already: it takes the new values.
    pub(crate) fn or_replace(mut self) -> Self {
        if self.flags & NLM_F_EXCL != 0 {
            self.flags = self.flags & !NLM_F_EXCL | NLM_F_REPLACE;
        }
        self
    }

    pub(super) fn new(message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { message, flags, namespaces: PhantomData }
    }
}

impl Address {
    /// An address for [`Request::add_address`]: global, with a route for its prefix.
    pub(crate) fn new(link: u32, ip: IpAddr, prefix_len: u8) -> Self {
        Self {
            link,
            ip,
            prefix_len,
            peer: None,
            scope: Scope::Global,
            tentative: false,
            duplicate: false,
            permanent: true,
            prefix_route: true,
        }
    }
}

impl Route {
    /// A route for [`Request::add_route`]: in the main table, over `link`, to a destination on that link.
    pub(crate) fn on_link(destination: IpAddr, prefix_len: u8, link: u32) -> Self {
        let scope = if destination.is_ipv4() { Scope::Link } else { Scope::Global };
        Self { link: Some(link), ..Self::new(destination, prefix_len, RouteKind::Unicast, scope) }
    }

    /// A route by which everything is this host's own, of a table that rules lead to.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn all_local(v4: bool, link: u32, table: u32) -> Self {
        let scope = if v4 { Scope::Host } else { Scope::Global };
        Self { link: Some(link), table, ..Self::new(any(v4), 0, RouteKind::Local, scope) }
    }

    /// A route by which everything goes to `gateway`, a neighbour on `link`, in a table that rules lead to.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn all_via(gateway: IpAddr, link: u32, table: u32) -> Self {
        let everything = Self::via(any(gateway.is_ipv4()), 0, gateway).with_link(link);
        // Better than `all_unreachable`, also where 0 stands for 1024, as in IPv6.
        Self { table, metric: 1, ..everything }
    }

    /// A route by which nothing is reached, where the table has no better one.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn all_unreachable(v4: bool, table: u32) -> Self {
        Self { table, metric: 4096, ..Self::new(any(v4), 0, RouteKind::Unreachable, Scope::Global) }
    }

    /// A route in the main table through the router `gateway`.
    pub(crate) fn via(destination: IpAddr, prefix_len: u8, gateway: IpAddr) -> Self {
        Self {
            gateway: Some(gateway),
            ..Self::new(destination, prefix_len, RouteKind::Unicast, Scope::Global)
        }
    }

    fn new(destination: IpAddr, prefix_len: u8, kind: RouteKind, scope: Scope) -> Self {
        Self {
            destination,
            prefix_len,
            gateway: None,
            link: None,
            source: None,
            kind,
            table: Self::MAIN_TABLE,
            metric: 0,
            protocol: RouteProtocol::Static,
            scope,
            next_hops: Vec::new(),
        }
    }

    /// Sets the interface.
    pub(crate) fn with_link(self, link: u32) -> Self {
        Self { link: Some(link), ..self }
    }

    /// Sets the source address of packets whose sender did not choose one.
    pub(crate) fn with_source(self, source: IpAddr) -> Self {
        Self { source: Some(source), ..self }
    }
}

#[cfg(feature = "kubernetes")]
fn any(v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() }
}

fn link_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index, ..LinkHeader::default() };
    message
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family(address.ip),
        prefix_len: address.prefix_len,
        scope: u8::from(address.scope).into(),
        index: address.link,
        ..AddressHeader::default()
    };
    message.attributes.push(AddressAttribute::Local(address.ip));
    message.attributes.push(AddressAttribute::Address(address.peer.unwrap_or(address.ip)));
    message
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(route.destination),
        destination_prefix_length: route.prefix_len,
        table: u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: route.protocol.into(),
        scope: u8::from(route.scope).into(),
        kind: route.kind.into(),
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    if route.prefix_len != 0 {
        attributes.push(RouteAttribute::Destination(route.destination.into()));
    }
    attributes.extend(route.gateway.map(|via| gateway(route.destination, via)));
    attributes.extend(route.link.map(RouteAttribute::Oif));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if message.header.table == RouteHeader::RT_TABLE_UNSPEC {
        attributes.push(RouteAttribute::Table(route.table));
    }
    if !route.next_hops.is_empty() {
        let hops = route.next_hops.iter().map(|hop| {
            let mut next = RouteNextHop::default();
            next.interface_index = hop.link;
            next.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
            next.attributes.extend(hop.gateway.map(|via| gateway(route.destination, via)));
            next
        });
        attributes.push(RouteAttribute::MultiPath(hops.collect()));
    }
    message
}

/// `RTA_VIA` names a gateway of the other family (IPv4 by way of IPv6).
fn gateway(destination: IpAddr, via: IpAddr) -> RouteAttribute {
    match via {
        IpAddr::V6(via) if destination.is_ipv4() => RouteAttribute::Via(RouteVia::Inet6(via)),
        via => RouteAttribute::Gateway(via.into()),
    }
}

fn neighbour_message(link: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip);
    message.header.ifindex = link;
    message.attributes.push(NeighbourAttribute::Destination(ip.into()));
    message
}

fn family(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The length of an address, in bits.
fn bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The broadcast address of a network; one of two addresses or one has none
/// ([RFC 3021](https://www.rfc-editor.org/rfc/rfc3021)).
fn broadcast(ip: Ipv4Addr, prefix_len: u8) -> Option<Ipv4Addr> {
    (1..=30).contains(&prefix_len).then(|| Ipv4Addr::from_bits(ip.to_bits() | u32::MAX >> prefix_len))
}
