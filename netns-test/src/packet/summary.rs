//! A packet in one line, in the words of tcpdump(8).

use std::net::IpAddr;

use super::layers::{Icmp, Ip, Original};
use super::{Packet, Transport, dns};

/// What calls addresses by a name.
type Name<'a> = &'a dyn Fn(IpAddr) -> Option<String>;

/// The ports that DNS and multicast DNS are spoken on.
const DNS: [u16; 2] = [53, 5353];

pub(super) fn summary(packet: &Packet, name: Name<'_>) -> String {
    if let Some(arp) = packet.arp() {
        let (sender, target) = (host(arp.sender_ip.into(), name), host(arp.target_ip.into(), name));
        return match arp.operation {
            1 => format!("ARP, Request who-has {target} tell {sender}"),
            2 => format!("ARP, Reply {sender} is-at {}", arp.sender_mac),
            other => format!("ARP, operation {other} from {sender}"),
        };
    }
    let Some(ip) = packet.ip() else {
        return match packet.ethernet() {
            Some(ethernet) => format!(
                "{} > {}, ethertype 0x{:04x}, length {}",
                ethernet.source,
                ethernet.destination,
                ethernet.ether_type,
                packet.length()
            ),
            None => format!("a frame without an Ethernet header, length {}", packet.length()),
        };
    };
    let family = if ip.source.is_ipv4() { "IP" } else { "IP6" };
    let end = |ip: IpAddr, port: Option<u16>| match port {
        Some(port) => with_port(ip, port, name),
        None => host(ip, name),
    };
    let ports = packet.ports();
    let source = end(ip.source, ports.map(|(source, _)| source));
    let destination = end(ip.destination, ports.map(|(_, destination)| destination));
    format!("{family} {source} > {destination}: {}", content(packet, ip, name))
}

fn content(packet: &Packet, ip: &Ip, name: Name<'_>) -> String {
    let length = packet.payload_length();
    let mut text = match &packet.layers.transport {
        Some(Transport::Tcp(tcp)) => {
            let mut text = format!("Flags [{}]", tcp.flags);
            if length > 0 || tcp.flags.syn || tcp.flags.fin || tcp.flags.rst {
                text += &format!(", seq {}", tcp.sequence);
            }
            if tcp.flags.ack {
                text += &format!(", ack {}", tcp.acknowledgment);
            }
            text += &format!(", win {}", tcp.window);
            if let Some(mss) = tcp.mss {
                text += &format!(", mss {mss}");
            }
            format!("{text}, length {length}")
        }
        Some(Transport::Udp(udp)) => {
            let is_dns = DNS.contains(&udp.source_port) || DNS.contains(&udp.destination_port);
            match is_dns.then(|| dns::summary(packet.payload())).flatten() {
                Some(message) => format!("DNS {message} ({length})"),
                None => format!("UDP, length {length}"),
            }
        }
        Some(Transport::Icmp(icmp)) => {
            let version = if icmp.is_v6 { "ICMP6" } else { "ICMP" };
            format!("{version} {}", message(icmp, name))
        }
        None if ip.fragment.is_some_and(|fragment| fragment.offset > 0) => "fragment".to_owned(),
        None => format!("protocol {}, length {length}", ip.protocol),
    };
    if let Some(fragment) = ip.fragment {
        let more = if fragment.more { "+" } else { "" };
        text += &format!(" (frag {}:{length}@{}{more})", fragment.identification, fragment.offset);
    }
    text
}

fn message(icmp: &Icmp, name: Name<'_>) -> String {
    if let Some((id, number)) = icmp.echo {
        let kind = if matches!(icmp.kind, 8 | 128) { "request" } else { "reply" };
        return format!("echo {kind}, id {id}, seq {number}");
    }
    let target = || icmp.target.map_or_else(String::new, |target| host(target, name));
    let host_of =
        || icmp.original.map_or_else(|| "host".to_owned(), |original| host(original.destination.ip(), name));
    let text = match (icmp.is_v6, icmp.kind, icmp.code) {
        (false, 3, 0) => "net unreachable".to_owned(),
        (false, 3, 1) | (true, 1, 3) => format!("host {} unreachable", host_of()),
        (false, 3, 2) => "protocol unreachable".to_owned(),
        (false, 3, 3) | (true, 1, 4) => match &icmp.original {
            Some(original) => {
                let (ip, port) = (original.destination.ip(), original.destination.port());
                format!("{} {} port {port} unreachable", host(ip, name), protocol(original))
            }
            None => "port unreachable".to_owned(),
        },
        (false, 3, 4) => {
            format!("{} unreachable - need to frag (mtu {})", host_of(), icmp.mtu.unwrap_or_default())
        }
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => format!("{} unreachable - prohibited", host_of()),
        (true, 1, 0) => format!("{} unreachable - no route", host_of()),
        (true, 1, code) => format!("unreachable, code {code}"),
        (false, 3, code) => format!("unreachable, code {code}"),
        (true, 2, _) => format!("packet too big (mtu {})", icmp.mtu.unwrap_or_default()),
        (false, 11, 0) | (true, 3, 0) => "time exceeded in-transit".to_owned(),
        (false, 11, _) | (true, 3, _) => "time exceeded in reassembly".to_owned(),
        (false, 12, _) | (true, 4, _) => "parameter problem".to_owned(),
        (false, 5, _) | (true, 137, _) => "redirect".to_owned(),
        (true, 130..=132 | 143, _) => "multicast listener report".to_owned(),
        (true, 133, _) => "router solicitation".to_owned(),
        (true, 134, _) => "router advertisement".to_owned(),
        (true, 135, _) => format!("neighbor solicitation, who has {}", target()),
        (true, 136, _) => format!("neighbor advertisement, tgt is {}", target()),
        (_, kind, code) => format!("type {kind}, code {code}"),
    };
    match &icmp.original {
        // The port says all.
        Some(original) if !text.contains(" port ") => {
            let end = |address: std::net::SocketAddr| match address.port() {
                0 => host(address.ip(), name),
                port => with_port(address.ip(), port, name),
            };
            format!(
                "{text}, for {} {} > {}",
                protocol(original),
                end(original.source),
                end(original.destination)
            )
        }
        _ => text,
    }
}

fn protocol(original: &Original) -> String {
    match original.protocol {
        1 | 58 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        other => format!("protocol {other}"),
    }
}

fn host(ip: IpAddr, name: Name<'_>) -> String {
    name(ip).unwrap_or_else(|| ip.to_string())
}

fn with_port(ip: IpAddr, port: u16, name: Name<'_>) -> String {
    match name(ip) {
        Some(name) => format!("{name}:{port}"),
        None => std::net::SocketAddr::new(ip, port).to_string(),
    }
}
