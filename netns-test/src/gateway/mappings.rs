//! A NAT's mappings, as they are now.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use netns_test_model::graph::NatBehavior;
use nix::libc;

use super::translate::Translation;
use crate::error::{Doing, Error};
use crate::netlink::nftables::{Batch, ListedElement, NftSocket};
use crate::netlink::state::Protocol;
use crate::plan::NatPlan;

/// A mapping of a NAT: an inner address and port, and the outer ones that they have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NatMapping {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address and port of the host inside.
    pub inside: SocketAddrV4,
    /// The address and port that others see.
    pub outside: SocketAddrV4,
    /// The one peer that sees them, where the mapping depends on the peer's address.
    pub peer: Option<Ipv4Addr>,
    /// The one port of the peer that sees them, where the mapping depends on that, too.
    pub peer_port: Option<u16>,
    /// The time until it is forgotten, unless a packet comes.
    pub expires: Duration,
}

/// `udp 192.168.1.2:5000 -> 203.0.113.7:5000`, and what it depends on.
impl fmt::Display for NatMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol, self.inside, self.outside)?;
        match (self.peer, self.peer_port) {
            (Some(peer), Some(port)) => write!(f, " for {peer}:{port}"),
            (Some(peer), None) => write!(f, " for {peer}"),
            (None, _) => Ok(()),
        }
    }
}

/// The mappings, by protocol, inner address and port, and peer.
pub(crate) fn mappings(socket: &NftSocket, plan: &NatPlan) -> io::Result<Vec<NatMapping>> {
    let elements = socket.elements(&Translation::new(plan).mappings)?;
    let mut mappings: Vec<NatMapping> =
        elements.iter().filter_map(|element| mapping(element, plan)).collect();
    mappings.sort_by_key(|one| (one.protocol == Protocol::Udp, one.inside, one.peer, one.peer_port));
    Ok(mappings)
}

fn mapping(element: &ListedElement, plan: &NatPlan) -> Option<NatMapping> {
    // Every part in a register of its own.
    let parts: Vec<[u8; 4]> = element
        .key
        .chunks(4)
        .map(|part| [0, 1, 2, 3].map(|byte| part.get(byte).copied().unwrap_or(0)))
        .collect();
    let ip = |part: usize| parts.get(part).map(|ip| Ipv4Addr::from(*ip));
    let port = |part: usize| parts.get(part).map(|port| u16::from_be_bytes([port[0], port[1]]));
    let outer = element.data.as_deref()?.first_chunk()?;
    let depends = plan.nat.mapping != NatBehavior::EndpointIndependent;
    Some(NatMapping {
        protocol: match i32::from(parts.first()?[0]) {
            libc::IPPROTO_TCP => Protocol::Tcp,
            libc::IPPROTO_UDP => Protocol::Udp,
            _ => return None,
        },
        inside: SocketAddrV4::new(ip(1)?, port(2)?),
        outside: SocketAddrV4::new(plan.outer, u16::from_be_bytes(*outer)),
        peer: depends.then(|| ip(3)).flatten(),
        peer_port: depends.then(|| port(4)).flatten(),
        expires: element.expires.unwrap_or_default(),
    })
}

/// Forgets all mappings and connections, as a router does that is switched off and on.
pub(crate) fn flush(socket: &NftSocket, plan: &NatPlan, router: &str) -> Result<(), Error> {
    let translation = Translation::new(plan);
    let mut batch = Batch::new();
    for set in [
        &translation.mappings,
        &translation.ports,
        &translation.taken,
        &translation.claims,
        &translation.permitted,
    ] {
        batch.flush_set(set);
    }
    socket.send(batch)?;
    socket.flush_connections().doing(|| format!("flush the connections of `{router}`"))
}
