//! The headers as plain data.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ethernet {
    /// Who sent the frame.
    pub source: Mac,
    /// Who is to take it.
    pub destination: Mac,
    /// What it carries, behind any VLAN tags: 0x0800 is IPv4, 0x86dd IPv6, 0x0806 ARP (linux/if_ether.h).
    pub ether_type: u16,
}

/// ARP for IPv4 over Ethernet, RFC 826.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arp {
    /// 1 asks, 2 answers.
    pub operation: u16,
    /// Who speaks.
    pub sender_mac: Mac,
    /// Who speaks.
    pub sender_ip: Ipv4Addr,
    /// Who is spoken to; all zeros in a question.
    pub target_mac: Mac,
    /// Who is asked for.
    pub target_ip: Ipv4Addr,
}

/// The header of IPv4 (RFC 791) or IPv6 (RFC 8200).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ip {
    /// Where the packet comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// What it carries, behind any IPv6 extension headers: 6 is TCP, 17 UDP, 1 ICMP, 58 ICMPv6 (protocols(5)).
    pub protocol: u8,
    /// The time to live of IPv4, the hop limit of IPv6.
    pub hop_limit: u8,
    /// Differentiated services code point, RFC 2474.
    pub dscp: u8,
    /// Explicit congestion notification, RFC 3168: 3 is "congestion experienced".
    pub ecn: u8,
    /// IPv4's "don't fragment". Nobody fragments an IPv6 packet on its way.
    pub dont_fragment: bool,
    /// Where the packet is but a part of one.
    pub fragment: Option<Fragment>,
    /// Header and all, in bytes.
    pub length: usize,
    /// Where in the frame it begins.
    pub(crate) start: usize,
}

/// Which part of a packet a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragment {
    /// The same in all fragments of a packet.
    pub identification: u32,
    /// Where it belongs, in bytes.
    pub offset: u32,
    /// Whether more of them follow behind it.
    pub more: bool,
}

/// The header of TCP, RFC 9293.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tcp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The number of the first byte.
    pub sequence: u32,
    /// The number of the byte that is expected next; of no meaning without the flag `ack`.
    pub acknowledgment: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// How much the sender would take, not scaled.
    pub window: u16,
    /// The largest segment that the sender of a SYN takes.
    pub mss: Option<u16>,
}

/// The control bits of TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "RFC 9293, section 3.1, has them under these names")]
pub struct TcpFlags {
    pub fin: bool,
    pub syn: bool,
    pub rst: bool,
    pub psh: bool,
    pub ack: bool,
    pub urg: bool,
    pub ece: bool,
    pub cwr: bool,
}

/// As tcpdump(8) writes them: `S`, `S.`, `P.`, `R`.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (self.fin, "F"),
            (self.syn, "S"),
            (self.rst, "R"),
            (self.psh, "P"),
            (self.ack, "."),
            (self.urg, "U"),
            (self.ece, "E"),
            (self.cwr, "W"),
        ];
        match letters.iter().any(|(is_set, _)| *is_set) {
            true => {
                letters.iter().filter(|(is_set, _)| *is_set).try_for_each(|(_, letter)| f.write_str(letter))
            }
            false => f.write_str("none"),
        }
    }
}

/// The header of UDP, RFC 768.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
}

/// The header of ICMP (RFC 792) or ICMPv6 (RFC 4443).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Icmp {
    /// Whether it is ICMPv6, whose numbers are others.
    pub is_v6: bool,
    /// Its type: the echo request is 8 of ICMP and 128 of ICMPv6.
    pub kind: u8,
    /// What the type leaves open.
    pub code: u8,
    /// Identification and number of an echo.
    pub echo: Option<(u16, u16)>,
    /// The largest packet that would have passed: of "packet too big", and of ICMP's "fragmentation needed".
    pub mtu: Option<u32>,
    /// The packet that an error is about.
    pub original: Option<Original>,
    /// Who neighbour discovery (RFC 4861) asks for, or speaks of.
    pub target: Option<IpAddr>,
}

impl Icmp {
    /// Whether it tells of a packet that did not arrive.
    pub fn is_error(&self) -> bool {
        match self.is_v6 {
            true => self.kind < 128,
            false => matches!(self.kind, 3 | 4 | 11 | 12),
        }
    }
}

/// The head of the packet that an ICMP error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Original {
    /// Where it came from; port 0 where it has none.
    pub source: SocketAddr,
    /// Where it was to go; port 0 where it has none.
    pub destination: SocketAddr,
    /// What it carried, as in [`Ip::protocol`].
    pub protocol: u8,
}
