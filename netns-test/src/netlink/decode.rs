//! The kernel's messages → the plain data of [`state`](super::state).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    DecodeError, NlaBuffer, NlasIterator, Parseable, parse_i32, parse_mac, parse_string, parse_u8, parse_u32,
};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
    link::{LinkFlags, LinkHeader, State, Stats64},
    neighbour::{self, NeighbourAddress, NeighbourAttribute, NeighbourMessage},
    nsid::{NsidAttribute, NsidMessage},
    route::{self, RouteAddress, RouteAttribute, RouteMessage, RouteScope, RouteType, RouteVia},
};
use nix::libc;

use super::state::{
    Address, Link, LinkStats, Neighbour, NeighbourState, NextHop, OperState, Route, RouteKind, RouteProtocol,
    Scope,
};

/// `IFLA_INFO_KIND` in `linux/if_link.h`.
const IFLA_INFO_KIND: u16 = 1;
/// `sizeof(struct ifinfomsg)`.
const IFINFOMSG_LEN: usize = 16;

/// Decodes an `RTM_NEWLINK` message.
///
/// Only the attributes that [`Link`] shows are decoded: there are some sixty more, many of them long (statistics of
/// IPv6, settings), and one that is new in a kernel must not make a whole table unreadable.
pub(super) fn link(payload: &[u8]) -> Result<Link, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: header.flags.contains(LinkFlags::Up),
        operstate: OperState::Unknown,
        carrier: header.flags.contains(LinkFlags::LowerUp),
        qdisc: String::new(),
        kind: None,
        controller: None,
        peer: None,
        peer_namespace: None,
        stats: LinkStats::default(),
    };
    for attribute in NlasIterator::new(&payload[IFINFOMSG_LEN..]) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            libc::IFLA_IFNAME => link.name = parse_string(value)?,
            libc::IFLA_ADDRESS => link.mac = parse_mac(value).ok(),
            libc::IFLA_MTU => link.mtu = parse_u32(value)?,
            libc::IFLA_OPERSTATE => link.operstate = State::from(parse_u8(value)?).into(),
            libc::IFLA_CARRIER => link.carrier = parse_u8(value)? != 0,
            libc::IFLA_QDISC => link.qdisc = parse_string(value)?,
            libc::IFLA_LINKINFO => link.kind = info_kind(value)?,
            libc::IFLA_MASTER => link.controller = Some(parse_u32(value)?),
            libc::IFLA_LINK => link.peer = Some(parse_u32(value)?).filter(|&peer| peer != 0),
            libc::IFLA_LINK_NETNSID => link.peer_namespace = Some(parse_i32(value)?),
            libc::IFLA_STATS64 => link.stats = Stats64::parse(value)?.into(),
            _ => {}
        }
    }
    Ok(link)
}

/// Decodes an `RTM_NEWNSID` message: the number of a namespace, if it has one.
pub(super) fn namespace(payload: &[u8]) -> Result<Option<i32>, DecodeError> {
    let id = |attribute| match attribute {
        NsidAttribute::Id(id) => Some(id),
        _ => None,
    };
    let number = NsidMessage::parse(payload)?.attributes.into_iter().find_map(id);
    Ok(number.filter(|number| *number >= 0))
}

fn info_kind(value: &[u8]) -> Result<Option<String>, DecodeError> {
    for attribute in NlasIterator::new(value) {
        let attribute: NlaBuffer<&[u8]> = attribute?;
        if attribute.kind() == IFLA_INFO_KIND {
            return parse_string(attribute.value()).map(Some);
        }
    }
    Ok(None)
}

/// Decodes an `RTM_NEWADDR` message; `None` for what is neither IPv4 nor IPv6.
pub(super) fn address(payload: &[u8]) -> Result<Option<Address>, DecodeError> {
    if !is_ip(payload) {
        return Ok(None);
    }
    let message = AddressMessage::parse(payload)?;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let mut local = None;
    let mut address = None;
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    // On a point-to-point interface `IFA_ADDRESS` is the other end; IPv6 has `IFA_LOCAL` only there.
    let Some(ip) = local.or(address) else { return Ok(None) };
    Ok(Some(Address {
        link: message.header.index,
        ip,
        prefix_len: message.header.prefix_len,
        peer: address.filter(|&peer| peer != ip),
        scope: message.header.scope.into(),
        tentative: flags.contains(AddressFlags::Tentative),
        duplicate: flags.contains(AddressFlags::Dadfailed),
        permanent: flags.contains(AddressFlags::Permanent),
        prefix_route: !flags.contains(AddressFlags::Noprefixroute),
    }))
}

/// Decodes an `RTM_NEWROUTE` message; `None` for what is neither IPv4 nor IPv6.
pub(super) fn route(payload: &[u8]) -> Result<Option<Route>, DecodeError> {
    if !is_ip(payload) {
        return Ok(None);
    }
    let RouteMessage { header, attributes, .. } = RouteMessage::parse(payload)?;
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut route = Route {
        destination: unspecified,
        prefix_len: header.destination_prefix_length,
        gateway: None,
        link: None,
        source: None,
        kind: header.kind.into(),
        table: header.table.into(),
        metric: 0,
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        next_hops: Vec::new(),
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Destination(address) => route.destination = ip(&address).unwrap_or(unspecified),
            RouteAttribute::Oif(link) => route.link = Some(link),
            RouteAttribute::PrefSource(address) => route.source = ip(&address),
            RouteAttribute::Priority(metric) => route.metric = metric,
            RouteAttribute::Table(table) => route.table = table,
            RouteAttribute::MultiPath(hops) => {
                let hop = |hop: route::RouteNextHop| NextHop {
                    gateway: hop.attributes.iter().find_map(gateway),
                    link: hop.interface_index,
                    // The kernel counts from 0.
                    weight: u16::from(hop.hops) + 1,
                };
                route.next_hops = hops.into_iter().map(hop).collect();
            }
            other => route.gateway = route.gateway.or(gateway(&other)),
        }
    }
    Ok(Some(route))
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(ip)) => Some((*ip).into()),
        RouteAttribute::Via(RouteVia::Inet6(ip)) => Some((*ip).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

/// Decodes an `RTM_NEWNEIGH` message; `None` for what is neither IPv4 nor IPv6 (a bridge's forwarding table).
pub(super) fn neighbour(payload: &[u8]) -> Result<Option<Neighbour>, DecodeError> {
    if !is_ip(payload) {
        return Ok(None);
    }
    let message = NeighbourMessage::parse(payload)?;
    let mut ip = None;
    let mut mac = None;
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => ip = Some(address.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => ip = Some(address.into()),
            NeighbourAttribute::LinkLayerAddress(address) => mac = address.try_into().ok(),
            _ => {}
        }
    }
    let Some(ip) = ip else { return Ok(None) };
    Ok(Some(Neighbour { link: message.header.ifindex, ip, mac, state: message.header.state.into() }))
}

/// Whether the message, whose first byte is the address family in all four kinds, is about IPv4 or IPv6.
fn is_ip(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|&family| i32::from(family) == libc::AF_INET || i32::from(family) == libc::AF_INET6)
}

impl From<Stats64> for LinkStats {
    fn from(stats: Stats64) -> Self {
        Self {
            rx_packets: stats.rx_packets,
            tx_packets: stats.tx_packets,
            rx_bytes: stats.rx_bytes,
            tx_bytes: stats.tx_bytes,
            rx_dropped: stats.rx_dropped,
            tx_dropped: stats.tx_dropped,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
        }
    }
}

impl From<State> for OperState {
    fn from(state: State) -> Self {
        match state {
            State::Unknown => Self::Unknown,
            State::NotPresent => Self::NotPresent,
            State::Down => Self::Down,
            State::LowerLayerDown => Self::LowerLayerDown,
            State::Testing => Self::Testing,
            State::Dormant => Self::Dormant,
            State::Up => Self::Up,
            other => Self::Other(other.into()),
        }
    }
}

impl From<AddressScope> for Scope {
    fn from(scope: AddressScope) -> Self {
        Self::from(u8::from(scope))
    }
}

impl From<RouteScope> for Scope {
    fn from(scope: RouteScope) -> Self {
        Self::from(u8::from(scope))
    }
}

impl From<u8> for Scope {
    fn from(scope: u8) -> Self {
        match scope {
            libc::RT_SCOPE_UNIVERSE => Self::Global,
            libc::RT_SCOPE_SITE => Self::Site,
            libc::RT_SCOPE_LINK => Self::Link,
            libc::RT_SCOPE_HOST => Self::Host,
            libc::RT_SCOPE_NOWHERE => Self::Nowhere,
            other => Self::Other(other),
        }
    }
}

impl From<Scope> for u8 {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => libc::RT_SCOPE_UNIVERSE,
            Scope::Site => libc::RT_SCOPE_SITE,
            Scope::Link => libc::RT_SCOPE_LINK,
            Scope::Host => libc::RT_SCOPE_HOST,
            Scope::Nowhere => libc::RT_SCOPE_NOWHERE,
            Scope::Other(other) => other,
        }
    }
}

impl From<RouteType> for RouteKind {
    fn from(kind: RouteType) -> Self {
        match kind {
            RouteType::Unicast => Self::Unicast,
            RouteType::Local => Self::Local,
            RouteType::Broadcast => Self::Broadcast,
            RouteType::Anycast => Self::Anycast,
            RouteType::Multicast => Self::Multicast,
            RouteType::BlackHole => Self::Blackhole,
            RouteType::Unreachable => Self::Unreachable,
            RouteType::Prohibit => Self::Prohibit,
            RouteType::Throw => Self::Throw,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RouteKind> for RouteType {
    fn from(kind: RouteKind) -> Self {
        match kind {
            RouteKind::Unicast => Self::Unicast,
            RouteKind::Local => Self::Local,
            RouteKind::Broadcast => Self::Broadcast,
            RouteKind::Anycast => Self::Anycast,
            RouteKind::Multicast => Self::Multicast,
            RouteKind::Blackhole => Self::BlackHole,
            RouteKind::Unreachable => Self::Unreachable,
            RouteKind::Prohibit => Self::Prohibit,
            RouteKind::Throw => Self::Throw,
            RouteKind::Other(other) => other.into(),
        }
    }
}

impl From<route::RouteProtocol> for RouteProtocol {
    fn from(protocol: route::RouteProtocol) -> Self {
        match protocol {
            route::RouteProtocol::Unspec => Self::Unspecified,
            route::RouteProtocol::IcmpRedirect => Self::Redirect,
            route::RouteProtocol::Kernel => Self::Kernel,
            route::RouteProtocol::Boot => Self::Boot,
            route::RouteProtocol::Static => Self::Static,
            route::RouteProtocol::Ra => Self::RouterAdvertisement,
            route::RouteProtocol::Dhcp => Self::Dhcp,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RouteProtocol> for route::RouteProtocol {
    fn from(protocol: RouteProtocol) -> Self {
        match protocol {
            RouteProtocol::Unspecified => Self::Unspec,
            RouteProtocol::Redirect => Self::IcmpRedirect,
            RouteProtocol::Kernel => Self::Kernel,
            RouteProtocol::Boot => Self::Boot,
            RouteProtocol::Static => Self::Static,
            RouteProtocol::RouterAdvertisement => Self::Ra,
            RouteProtocol::Dhcp => Self::Dhcp,
            RouteProtocol::Other(other) => other.into(),
        }
    }
}

impl From<neighbour::NeighbourState> for NeighbourState {
    fn from(state: neighbour::NeighbourState) -> Self {
        match state {
            neighbour::NeighbourState::None => Self::None,
            neighbour::NeighbourState::Incomplete => Self::Incomplete,
            neighbour::NeighbourState::Reachable => Self::Reachable,
            neighbour::NeighbourState::Stale => Self::Stale,
            neighbour::NeighbourState::Delay => Self::Delay,
            neighbour::NeighbourState::Probe => Self::Probe,
            neighbour::NeighbourState::Failed => Self::Failed,
            neighbour::NeighbourState::Noarp => Self::NoArp,
            neighbour::NeighbourState::Permanent => Self::Permanent,
            other => Self::Other(other.into()),
        }
    }
}
