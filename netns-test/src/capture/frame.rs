//! One packet as it passed one interface.

use nix::libc;

use crate::packet::Packet;
use crate::sys::packets::Seen;

/// How long the addresses of an Ethernet header are, behind which a tag stands.
const ADDRESSES: usize = 12;

/// One packet as it passed one interface.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    /// The number of the node among those that are recorded.
    pub(crate) node: usize,
    /// The interface's index in the node.
    pub(crate) interface: u32,
    pub(crate) link: Link,
    pub(crate) direction: Direction,
    /// On the link, in bytes.
    pub(crate) length: usize,
    /// As much of it as was kept.
    pub(crate) bytes: Box<[u8]>,
}

/// What a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// An Ethernet header.
    Ethernet,
    /// As Ethernet; the packet never leaves its node.
    Loopback,
    /// The header of IP: of a TUN interface or tunnel.
    Ip,
}

/// Which way a frame passed its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    /// To this host, to all, to a group, or to others.
    Received(Reception),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reception {
    Host,
    Broadcast,
    Multicast,
    Other,
}

impl Frame {
    /// What a packet socket of a node has seen, and when. What passes the loopback interface is seen twice, and counts once.
    pub(super) fn new(node: usize, seen: Seen<'_>, time: u64) -> Option<Self> {
        let link = match seen.hardware {
            libc::ARPHRD_ETHER => Link::Ethernet,
            libc::ARPHRD_LOOPBACK => Link::Loopback,
            _ => Link::Ip,
        };
        let direction = match seen.kind {
            libc::PACKET_OUTGOING if link == Link::Loopback => return None,
            libc::PACKET_OUTGOING => Direction::Sent,
            libc::PACKET_BROADCAST => Direction::Received(Reception::Broadcast),
            libc::PACKET_MULTICAST => Direction::Received(Reception::Multicast),
            libc::PACKET_OTHERHOST => Direction::Received(Reception::Other),
            _ => Direction::Received(Reception::Host),
        };
        let mut bytes = seen.bytes.to_vec();
        let mut length = seen.length;
        // As it was on the link.
        if let (Link::Ethernet, Some(tag), true) = (link, seen.tag, bytes.len() >= ADDRESSES) {
            bytes.splice(ADDRESSES..ADDRESSES, tag);
            length += tag.len();
        }
        Some(Self { time, node, interface: seen.interface, link, direction, length, bytes: bytes.into() })
    }

    pub(crate) fn decode(&self) -> Packet {
        match self.link {
            Link::Ethernet | Link::Loopback => Packet::decode_cut(self.bytes.to_vec(), self.length),
            Link::Ip => Packet::decode_ip(self.bytes.to_vec(), self.length),
        }
    }

    /// What comes first: by their times, and what is sent before it is received in the same nanosecond.
    pub(super) fn order(&self) -> (u64, bool) {
        (self.time, !self.is_sent())
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.direction == Direction::Sent
    }
}
