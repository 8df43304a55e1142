//! From bytes to headers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use etherparse::{
    EtherType, Icmpv4Slice, Icmpv6Slice, LaxLinkExtSlice, LaxNetSlice, LaxSlicedPacket, LinkSlice,
    TcpOptionElement, TcpSlice, TransportSlice,
};

use super::layers::{Arp, Ethernet, Fragment, Icmp, Ip, Mac, Original, Tcp, TcpFlags, Udp};
use super::{Layers, Transport};

/// The headers of an Ethernet frame, and where its payload is.
pub(super) fn frame(frame: &[u8]) -> (Layers, Range<usize>) {
    match LaxSlicedPacket::from_ethernet(frame) {
        Ok(sliced) => headers(frame, &sliced),
        Err(_cut) => (Layers::default(), 0..frame.len()),
    }
}

/// The same of a packet that begins with its IP header.
pub(super) fn ip(packet: &[u8]) -> (Layers, Range<usize>) {
    match LaxSlicedPacket::from_ip(packet) {
        Ok(sliced) => headers(packet, &sliced),
        Err(_cut) => (Layers::default(), 0..packet.len()),
    }
}

fn headers(frame: &[u8], sliced: &LaxSlicedPacket<'_>) -> (Layers, Range<usize>) {
    let mut layers = Layers::default();
    let mut rest: &[u8] = frame;
    if let Some(LinkSlice::Ethernet2(link)) = &sliced.link {
        let tag = sliced.link_exts.iter().rev().find_map(|extension| match extension {
            LaxLinkExtSlice::Vlan(tag) => Some(tag.ether_type()),
            LaxLinkExtSlice::Macsec(_) => None,
        });
        let ether_type = tag.unwrap_or(link.ether_type());
        layers.ethernet = Some(Ethernet {
            source: Mac(link.source()),
            destination: Mac(link.destination()),
            ether_type: ether_type.0,
        });
        rest = link.payload_slice();
    }
    match &sliced.net {
        Some(LaxNetSlice::Arp(slice)) => {
            layers.arp = arp(slice);
            rest = &frame[frame.len()..];
        }
        Some(LaxNetSlice::Ipv4(slice)) => {
            let header = slice.header();
            let offset = header.fragments_offset().byte_offset();
            let is_part = header.more_fragments() || offset > 0;
            layers.ip = Some(Ip {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                protocol: slice.payload_ip_number().0,
                hop_limit: header.ttl(),
                dscp: header.dcp().value(),
                ecn: header.ecn().value(),
                dont_fragment: header.dont_fragment(),
                fragment: is_part.then(|| Fragment {
                    identification: header.identification().into(),
                    offset: offset.into(),
                    more: header.more_fragments(),
                }),
                length: header.total_len().into(),
                start: position(frame, header.slice()),
            });
            rest = slice.payload().payload;
        }
        Some(LaxNetSlice::Ipv6(slice)) => {
            let header = slice.header();
            let start = position(frame, header.slice());
            let fragment = fragment(header.next_header().0, &frame[start + header.slice().len()..]);
            layers.ip = Some(Ip {
                source: header.source_addr().into(),
                destination: header.destination_addr().into(),
                protocol: slice.payload().ip_number.0,
                hop_limit: header.hop_limit(),
                dscp: header.dscp().value(),
                ecn: header.ecn().value(),
                dont_fragment: false,
                fragment,
                length: usize::from(header.payload_length()) + header.slice().len(),
                start,
            });
            rest = slice.payload().payload;
        }
        None => {}
    }
    if let Some((transport, behind)) = sliced.transport.as_ref().and_then(transport) {
        layers.transport = Some(transport);
        rest = behind;
    }
    let start = position(frame, rest);
    (layers, start..start + rest.len())
}

/// The fragment header among the extension headers of IPv6 (RFC 8200), which `number` is the first of, if it divides the packet. By hand:
/// etherparse walks over headers that it has not checked where a packet is cut short or wrong.
fn fragment(mut number: u8, mut headers: &[u8]) -> Option<Fragment> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    loop {
        let &[next, length, ..] = headers else { return None };
        let size = match number {
            HOP_BY_HOP | ROUTING | DESTINATION => 8 * (usize::from(length) + 1),
            AUTHENTICATION => 4 * (usize::from(length) + 2),
            FRAGMENT => {
                let [_, _, high, low, identification @ ..] = *headers.first_chunk::<8>()?;
                let (offset, more) = (u16::from_be_bytes([high, low]) & !7, low & 1 == 1);
                return (offset > 0 || more).then(|| Fragment {
                    identification: u32::from_be_bytes(identification),
                    offset: offset.into(),
                    more,
                });
            }
            _ => return None,
        };
        (number, headers) = (next, headers.get(size..)?);
    }
}

/// Where in a frame a part of it begins.
fn position(frame: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr().saturating_sub(frame.as_ptr().addr()).min(frame.len())
}

fn arp(slice: &etherparse::ArpPacketSlice<'_>) -> Option<Arp> {
    let packet = slice.to_packet().try_eth_ipv4().ok()?;
    Some(Arp {
        operation: packet.operation.0,
        sender_mac: Mac(packet.sender_mac),
        sender_ip: packet.sender_ipv4.into(),
        target_mac: Mac(packet.target_mac),
        target_ip: packet.target_ipv4.into(),
    })
}

fn transport<'a>(slice: &TransportSlice<'a>) -> Option<(Transport, &'a [u8])> {
    match slice {
        TransportSlice::Tcp(slice) => Some((Transport::Tcp(tcp(slice)), slice.payload())),
        TransportSlice::Udp(slice) => {
            let udp = Udp { source_port: slice.source_port(), destination_port: slice.destination_port() };
            Some((Transport::Udp(udp), slice.payload()))
        }
        TransportSlice::Icmpv4(slice) => Some((Transport::Icmp(icmp4(slice)), slice.payload())),
        TransportSlice::Icmpv6(slice) => Some((Transport::Icmp(icmp6(slice)), slice.payload())),
        TransportSlice::Igmp(_) => None,
    }
}

fn tcp(slice: &TcpSlice<'_>) -> Tcp {
    let mss = slice.options_iterator().flatten().find_map(|option| match option {
        TcpOptionElement::MaximumSegmentSize(size) => Some(size),
        _ => None,
    });
    Tcp {
        source_port: slice.source_port(),
        destination_port: slice.destination_port(),
        sequence: slice.sequence_number(),
        acknowledgment: slice.acknowledgment_number(),
        flags: TcpFlags {
            fin: slice.fin(),
            syn: slice.syn(),
            rst: slice.rst(),
            psh: slice.psh(),
            ack: slice.ack(),
            urg: slice.urg(),
            ece: slice.ece(),
            cwr: slice.cwr(),
        },
        window: slice.window_size(),
        mss,
    }
}

fn icmp4(slice: &Icmpv4Slice<'_>) -> Icmp {
    let (kind, code, rest) = (slice.type_u8(), slice.code_u8(), slice.bytes5to8());
    let mut icmp = Icmp { is_v6: false, kind, code, echo: None, mtu: None, original: None, target: None };
    if matches!(kind, 0 | 8) {
        icmp.echo = Some(halves(rest));
    }
    if icmp.is_error() {
        icmp.original = original(EtherType::IPV4, slice.payload());
        // RFC 1191: "fragmentation needed".
        icmp.mtu = (kind == 3 && code == 4).then(|| halves(rest).1.into());
    }
    icmp
}

fn icmp6(slice: &Icmpv6Slice<'_>) -> Icmp {
    let (kind, code, rest) = (slice.type_u8(), slice.code_u8(), slice.bytes5to8());
    let mut icmp = Icmp { is_v6: true, kind, code, echo: None, mtu: None, original: None, target: None };
    match kind {
        128 | 129 => icmp.echo = Some(halves(rest)),
        // Solicitation, advertisement and redirect all begin with their target.
        135..=137 => {
            let target = slice.slice().get(8..24).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
            icmp.target = target.map(|bytes| Ipv6Addr::from(bytes).into());
        }
        _ => {}
    }
    if icmp.is_error() {
        icmp.original = original(EtherType::IPV6, slice.payload());
        icmp.mtu = (kind == 2).then(|| u32::from_be_bytes(rest));
    }
    icmp
}

fn halves([a, b, c, d]: [u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// The packet that an error carries, of which only the first bytes are there.
fn original(family: EtherType, bytes: &[u8]) -> Option<Original> {
    let sliced = LaxSlicedPacket::from_ether_type(family, bytes);
    let (source, destination, protocol, rest): (IpAddr, IpAddr, u8, &[u8]) = match sliced.net.as_ref()? {
        LaxNetSlice::Ipv4(slice) => {
            let header = slice.header();
            let addresses = (header.source_addr().into(), header.destination_addr().into());
            (addresses.0, addresses.1, slice.payload_ip_number().0, slice.payload().payload)
        }
        LaxNetSlice::Ipv6(slice) => {
            let header = slice.header();
            let addresses = (header.source_addr().into(), header.destination_addr().into());
            (addresses.0, addresses.1, slice.payload().ip_number.0, slice.payload().payload)
        }
        LaxNetSlice::Arp(_) => return None,
    };
    // TCP and UDP both begin with their ports; that is all that RFC 792 guarantees.
    let ports = match (protocol, rest) {
        (6 | 17, &[a, b, c, d, ..]) => halves([a, b, c, d]),
        _ => (0, 0),
    };
    Some(Original {
        source: SocketAddr::new(source, ports.0),
        destination: SocketAddr::new(destination, ports.1),
        protocol,
    })
}
