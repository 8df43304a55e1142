//! The page: the network and its packets over time, as one HTML file that needs nothing else. Pure.

use std::fmt::Write as _;

use super::data::{Packets, Report};
use super::hops::{Hop, is_housekeeping};
use super::signs::{owner, signs};
use super::text::title;
use crate::packet::Packet;

/// The most packets that a page has: the last ones.
const MOST: usize = 10_000;

/// How many bytes of each.
const BYTES: usize = 256;

const HTML: &str = include_str!("page/page.html");
const CSS: &str = include_str!("page/page.css");
const JS: &str = include_str!("page/page.js");

/// The page; `None` where there is no packet to show.
pub(super) fn page(report: &Report) -> Option<String> {
    if report.packets.hops.is_empty() {
        return None;
    }
    let title = escape_html(&format!("{}: packets", report.test));
    let page = HTML.replace("{{title}}", &title).replace("{{css}}", CSS).replace("{{js}}", JS);
    // Last: what it holds is no template.
    Some(page.replace("{{data}}", &data(report)))
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn data(report: &Report) -> String {
    let Packets { hops, links, started, .. } = &report.packets;
    let omitted = hops.len().saturating_sub(MOST);
    let nodes = report.plan.nodes.iter().map(|node| {
        let addresses = node.addresses().map(|ip| string(&ip.to_string()));
        format!(
            "{{\"name\":{},\"router\":{},\"addresses\":{}}}",
            string(&node.name),
            node.is_router,
            list(addresses)
        )
    });
    let links = links.ends.iter().map(|ends| list(ends.iter().map(|end| end.node.to_string())));
    let signs = signs(report).into_iter().map(|sign| {
        list([string(report.place(sign.node)), string(&sign.text.replace('\n', "; "))].into_iter())
    });
    let logs = report.snapshot.log.iter().map(|line| {
        let time = line.time.saturating_sub(*started) / 1000;
        let node = line.node.map_or_else(|| "null".to_owned(), |node| node.to_string());
        list([time.to_string(), node, string(&format!("{}: {}", line.source, line.text))].into_iter())
    });
    let packets = hops[omitted..].iter().map(|hop| packet(report, hop, *started));
    format!(
        "{{\"test\":{},\"how\":{},\"nodes\":{},\"links\":{},\"signs\":{},\"omitted\":{omitted},\"logs\":{},\"packets\":{}}}",
        string(&report.test),
        string(&title(report)),
        list(nodes),
        list(links),
        list(signs),
        list(logs),
        list(packets)
    )
}

/// As the script has it: time, from, to, link, marks, kind, summary, headers, bytes, length.
fn packet(report: &Report, hop: &Hop, started: u64) -> String {
    let packet = &hop.packet;
    let names = |ip| owner(report, ip).map(|node| report.place(Some(node)).to_owned());
    let optional =
        |number: Option<usize>| number.map_or_else(|| "null".to_owned(), |number| number.to_string());
    let marks = [
        hop.is_lost,
        hop.is_repeated,
        packet.tcp().is_some_and(|tcp| tcp.flags.rst),
        packet.icmp().is_some_and(|icmp| icmp.is_error()),
        is_housekeeping(packet),
        hop.is_corrupted,
    ];
    let marks: u32 = marks.iter().enumerate().map(|(bit, &holds)| u32::from(holds) << bit).sum();
    let mut bytes = String::new();
    for byte in packet.bytes().iter().take(BYTES) {
        // Writing to a String cannot fail.
        let _infallible = write!(bytes, "{byte:02x}");
    }
    list(
        [
            (hop.time.saturating_sub(started) / 1000).to_string(),
            optional(hop.from.map(|from| from.node)),
            list(hop.to.iter().map(|to| to.node.to_string())),
            optional(hop.link),
            marks.to_string(),
            string(kind(packet)),
            string(&packet.summary(&names)),
            list(headers(packet).iter().map(|header| list(header.iter().map(|line| string(line))))),
            string(&bytes),
            packet.length().to_string(),
        ]
        .into_iter(),
    )
}

fn kind(packet: &Packet) -> &'static str {
    if packet.tcp().is_some() {
        "TCP"
    } else if packet.dns().is_some() {
        "DNS"
    } else if packet.udp().is_some() {
        "UDP"
    } else if packet.icmp().is_some() {
        "ICMP"
    } else if packet.arp().is_some() {
        "ARP"
    } else {
        "other"
    }
}

/// Each header: its name, and a line for each field.
fn headers(packet: &Packet) -> Vec<Vec<String>> {
    let mut headers = Vec::new();
    if let Some(ethernet) = packet.ethernet() {
        let way = format!("{} > {}", ethernet.source, ethernet.destination);
        headers.push(vec!["Ethernet".to_owned(), way, format!("type 0x{:04x}", ethernet.ether_type)]);
    }
    if let Some(arp) = packet.arp() {
        let sender = format!("sender {} {}", arp.sender_mac, arp.sender_ip);
        let target = format!("target {} {}", arp.target_mac, arp.target_ip);
        headers.push(vec!["ARP".to_owned(), format!("operation {}", arp.operation), sender, target]);
    }
    if let Some(ip) = packet.ip() {
        let name = if ip.source.is_ipv4() { "IPv4" } else { "IPv6" };
        let mut lines = vec![
            name.to_owned(),
            format!("{} > {}", ip.source, ip.destination),
            format!("protocol {}, hop limit {}, length {}", ip.protocol, ip.hop_limit, ip.length),
            format!("dscp {}, ecn {}, don't fragment {}", ip.dscp, ip.ecn, ip.dont_fragment),
        ];
        if let Some(part) = ip.fragment {
            lines
                .push(format!("fragment of {}, at {}, more {}", part.identification, part.offset, part.more));
        }
        headers.push(lines);
    }
    if let Some(tcp) = packet.tcp() {
        let mut lines = vec![
            "TCP".to_owned(),
            format!("{} > {}", tcp.source_port, tcp.destination_port),
            format!("flags {}, window {}", tcp.flags, tcp.window),
            format!("sequence {}, acknowledgment {}", tcp.sequence, tcp.acknowledgment),
        ];
        lines.extend(tcp.mss.map(|mss| format!("largest segment {mss}")));
        headers.push(lines);
    }
    if let Some(udp) = packet.udp() {
        headers.push(vec!["UDP".to_owned(), format!("{} > {}", udp.source_port, udp.destination_port)]);
    }
    if let Some(icmp) = packet.icmp() {
        let name = if icmp.is_v6 { "ICMPv6" } else { "ICMP" };
        let mut lines = vec![name.to_owned(), format!("type {}, code {}", icmp.kind, icmp.code)];
        lines.extend(icmp.mtu.map(|mtu| format!("MTU {mtu}")));
        lines.extend(icmp.target.map(|target| format!("target {target}")));
        let about = icmp.original.map(|original| {
            format!("about protocol {}, {} > {}", original.protocol, original.source, original.destination)
        });
        lines.extend(about);
        headers.push(lines);
    }
    headers
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

/// A string of JSON that may stand in a script element: no `<` ends that (HTML, section 4.12.1.3).
fn string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '<' | '\u{2028}' | '\u{2029}' | '\0'..' ' => {
                let _infallible = write!(json, "\\u{:04x}", char as u32);
            }
            _ => json.push(char),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::string;

    #[test]
    fn nothing_ends_the_script() {
        assert_eq!(string("</script>\"\\\n"), "\"\\u003c/script>\\\"\\\\\\u000a\"");
    }
}
