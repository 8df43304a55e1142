//! Packets, decoded.
//!
//! [`Packet::decode`] takes an Ethernet frame as it stands on a link, and gives its headers as plain data, from the link layer up to
//! TCP, UDP and ICMP. Decoding never fails: what a frame does not have, or what is cut off, is `None`. Shown with `{}`, a packet is one
//! line in the words of tcpdump(8).
//!
//! ```
//! use netns_test::packet::Packet;
//!
//! # let frame = [
//! #     &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..],
//! #     &[0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
//! #     &[0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0],
//! # ].concat();
//! let packet = Packet::decode(frame);
//! assert!(packet.tcp().is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack && tcp.destination_port == 80));
//! assert_eq!(packet.to_string(), "IP 10.0.0.1:40000 > 10.0.0.2:80: Flags [S], seq 7, win 65535, length 0");
//! ```

mod decode;
mod dns;
mod layers;
mod repeats;
mod summary;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

pub use self::layers::{Arp, Ethernet, Fragment, Icmp, Ip, Mac, Original, Tcp, TcpFlags, Udp};
pub(crate) use self::repeats::Repeats;

/// An Ethernet frame and its decoded headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    bytes: Vec<u8>,
    length: usize,
    layers: Layers,
    payload: Range<usize>,
}

/// The headers that were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layers {
    ethernet: Option<Ethernet>,
    arp: Option<Arp>,
    ip: Option<Ip>,
    transport: Option<Transport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp(Tcp),
    Udp(Udp),
    Icmp(Icmp),
}

impl Packet {
    /// Decodes a frame that begins with its Ethernet header, without a frame check sequence.
    pub fn decode(frame: impl Into<Vec<u8>>) -> Self {
        let bytes = frame.into();
        let length = bytes.len();
        Self::decode_cut(bytes, length)
    }

    /// Decodes the first bytes of a frame that was longer.
    pub(crate) fn decode_cut(bytes: Vec<u8>, length: usize) -> Self {
        let (layers, payload) = decode::frame(&bytes);
        Self { bytes, length, layers, payload }
    }

    /// Decodes a packet that begins with its IP header.
    pub(crate) fn decode_ip(bytes: Vec<u8>, length: usize) -> Self {
        let (layers, payload) = decode::ip(&bytes);
        Self { bytes, length, layers, payload }
    }

    /// The frame from its Ethernet header on, as far as it is known: see [`length`](Packet::length).
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The frame itself, without a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes the frame had on the link, which may be more than [`bytes`](Packet::bytes) knows.
    ///
    /// Where the kernel leaves segmentation to the interface, as it does on a veth, it is more than the MTU allows: one "packet" of up to
    /// 64 kB carries many segments (`tcp-segmentation-offload` of ethtool(8)).
    pub fn length(&self) -> usize {
        self.length
    }

    /// The link layer's header.
    pub fn ethernet(&self) -> Option<&Ethernet> {
        self.layers.ethernet.as_ref()
    }

    /// ARP for IPv4 over Ethernet.
    pub fn arp(&self) -> Option<&Arp> {
        self.layers.arp.as_ref()
    }

    /// The header of IPv4 or IPv6.
    pub fn ip(&self) -> Option<&Ip> {
        self.layers.ip.as_ref()
    }

    /// The header of TCP.
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.layers.transport {
            Some(Transport::Tcp(tcp)) => Some(tcp),
            _ => None,
        }
    }

    /// The header of UDP.
    pub fn udp(&self) -> Option<&Udp> {
        match &self.layers.transport {
            Some(Transport::Udp(udp)) => Some(udp),
            _ => None,
        }
    }

    /// The header of ICMP or ICMPv6.
    pub fn icmp(&self) -> Option<&Icmp> {
        match &self.layers.transport {
            Some(Transport::Icmp(icmp)) => Some(icmp),
            _ => None,
        }
    }

    /// What is behind the last header that is known: the data of a TCP segment or UDP datagram.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    /// How many bytes of payload the packet had on the link, by the lengths that its headers tell.
    pub fn payload_length(&self) -> usize {
        let headers = self.payload.start;
        let end = match &self.layers.ip {
            Some(ip) => ip.start + ip.length,
            None => self.length,
        };
        end.saturating_sub(headers)
    }

    /// Whether these bytes stand anywhere in the frame.
    pub fn contains(&self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        bytes.is_empty() || self.bytes.windows(bytes.len()).any(|window| window == bytes)
    }

    /// Where it comes from: the address of IP, and the port of TCP or UDP, else 0.
    pub fn source(&self) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip.source, self.ports().map_or(0, |(source, _)| source)))
    }

    /// Where it goes to: the address of IP, and the port of TCP or UDP, else 0.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.ip()
            .map(|ip| SocketAddr::new(ip.destination, self.ports().map_or(0, |(_, destination)| destination)))
    }

    /// A DNS message that it carries, in the words of its summary.
    pub(crate) fn dns(&self) -> Option<String> {
        self.udp().and_then(|_| dns::summary(self.payload()))
    }

    /// The ports of TCP or UDP: source and destination.
    fn ports(&self) -> Option<(u16, u16)> {
        match &self.layers.transport {
            Some(Transport::Tcp(tcp)) => Some((tcp.source_port, tcp.destination_port)),
            Some(Transport::Udp(udp)) => Some((udp.source_port, udp.destination_port)),
            _ => None,
        }
    }

    /// The packet in one line, where `name` may call addresses by a name.
    pub(crate) fn summary(&self, name: &dyn Fn(IpAddr) -> Option<String>) -> String {
        summary::summary(self, name)
    }
}

/// One line in the words of tcpdump(8).
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary(&|_| None))
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
