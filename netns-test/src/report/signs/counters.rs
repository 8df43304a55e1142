//! Counters of the kernel that are 0 when all is well.

use super::{Sign, plural};
use crate::report::data::Report;

/// A sum of counters that is 0 when all is well, in words.
struct Word {
    names: &'static [&'static str],
    /// What is counted in `names` as well, and is told in other words.
    but: &'static [&'static str],
    one: &'static str,
    many: &'static str,
    rest: &'static str,
}

const fn word(
    names: &'static [&'static str],
    one: &'static str,
    many: &'static str,
    rest: &'static str,
) -> Word {
    Word { names, but: &[], one, many, rest }
}

/// Documentation/networking/snmp_counter.rst, RFC 4293, and the places in net/ipv4 and net/ipv6 that count.
const WORDS: [Word; 26] = [
    word(
        &["IpOutNoRoutes", "Ip6OutNoRoutes"],
        "packet or connection",
        "packets or connections",
        "from here found no route",
    ),
    word(
        &["IpExtInNoRoutes", "Ip6InNoRoutes"],
        "packet that arrived",
        "packets that arrived",
        "found no route onwards",
    ),
    word(
        &["IpInAddrErrors", "Ip6InAddrErrors"],
        "packet",
        "packets",
        "for other hosts came and went no further: this node does not forward them",
    ),
    word(
        &["TcpExtListenOverflows"],
        "connection attempt",
        "connection attempts",
        "met a listener whose backlog was full, and got no answer",
    ),
    Word {
        // What finds no route for its answer is counted here as well.
        but: &["TcpExtListenOverflows", "IpOutNoRoutes", "Ip6OutNoRoutes"],
        ..word(
            &["TcpExtListenDrops"],
            "connection attempt",
            "connection attempts",
            "dropped by a listener, for lack of memory or because it was closed",
        )
    },
    word(
        &["UdpNoPorts", "Udp6NoPorts"],
        "datagram",
        "datagrams",
        "came for a UDP port that no socket had bound",
    ),
    word(
        &["TcpExtTCPSynRetrans"],
        "SYN or SYN-ACK",
        "SYNs or SYN-ACKs",
        "sent again: no answer came within a second",
    ),
    word(&["TcpExtTCPAbortOnTimeout"], "connection", "connections", "given up: no answer came"),
    word(&["TcpAttemptFails"], "TCP connection attempt", "TCP connection attempts", "from here failed"),
    word(&["TcpEstabResets"], "connection", "connections", "ended by a reset"),
    Word {
        but: &["TcpExtTCPSynRetrans"],
        ..word(
            &["TcpRetransSegs"],
            "TCP segment",
            "TCP segments",
            "sent again: no acknowledgement came in time",
        )
    },
    word(
        &["TcpExtTCPAbortOnClose", "TcpExtTCPAbortOnData"],
        "connection",
        "connections",
        "closed here with data unread, which resets them",
    ),
    word(
        &["IcmpInDestUnreachs", "Icmp6InDestUnreachs"],
        "ICMP message",
        "ICMP messages",
        "came: destination unreachable",
    ),
    word(
        &["IcmpOutDestUnreachs", "Icmp6OutDestUnreachs"],
        "ICMP message",
        "ICMP messages",
        "sent: destination unreachable",
    ),
    word(
        &["IcmpInTimeExcds", "Icmp6InTimeExcds"],
        "ICMP message",
        "ICMP messages",
        "came: time exceeded (a routing loop, or a small TTL)",
    ),
    word(
        &["IpFragFails", "Ip6FragFails"],
        "packet",
        "packets",
        "too big for the next link, and not to be fragmented",
    ),
    word(&["Icmp6InPktTooBigs"], "ICMP message", "ICMP messages", "came: packet too big"),
    word(
        &["IpReasmFails", "Ip6ReasmFails"],
        "packet",
        "packets",
        "could not be put together: fragments are missing",
    ),
    word(
        &["TcpExtIPReversePathFilter"],
        "packet",
        "packets",
        "dropped by the reverse-path filter: the way back leads elsewhere",
    ),
    word(
        &[
            "TcpInCsumErrors",
            "UdpInCsumErrors",
            "Udp6InCsumErrors",
            "IcmpInCsumErrors",
            "Icmp6InCsumErrors",
            "IpExtInCsumErrors",
        ],
        "packet",
        "packets",
        "came with a wrong checksum",
    ),
    word(
        &["UdpRcvbufErrors", "Udp6RcvbufErrors"],
        "datagram",
        "datagrams",
        "dropped: the receiver's buffer was full",
    ),
    word(
        &["UdpSndbufErrors", "Udp6SndbufErrors"],
        "datagram",
        "datagrams",
        "not sent: the sender's buffer was full",
    ),
    word(
        &["IpInHdrErrors", "Ip6InHdrErrors"],
        "packet",
        "packets",
        "came with a bad header or an expired TTL",
    ),
    word(&["IpInDiscards", "Ip6InDiscards"], "packet", "packets", "discarded on arrival"),
    // Not IPv6's: an interface without a carrier discards the kernel's own multicast reports.
    word(&["IpOutDiscards"], "packet", "packets", "discarded here on the way out"),
    word(
        &["TcpExtTCPReqQFullDrop", "TcpExtTCPBacklogDrop", "TcpExtTCPRcvQDrop"],
        "TCP segment",
        "TCP segments",
        "dropped: a queue was full",
    ),
];

/// One word for all hosts before the next one: what tells most comes first, wherever it is.
pub(super) fn counters(report: &Report) -> impl Iterator<Item = Sign> {
    WORDS.iter().flat_map(|word| {
        report.snapshot.hosts.iter().filter_map(move |host| {
            let count = host.counters.sum(word.names).saturating_sub(host.counters.sum(word.but));
            let text = || format!("{} {}", plural(count, word.one, word.many), word.rest);
            (count > 0).then(|| Sign::new(host.node, text()))
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::connections::ABORTS;
    use super::WORDS;
    use crate::report::data::Counters;

    /// A misspelt name would be a counter that is always 0.
    #[test]
    fn counters_are_named_as_the_kernel_names_them() {
        let mut known = Counters::default();
        let read = |file| fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        // A kernel without IPv6 has no snmp6.
        let Ok(six) = read("snmp6") else { return };
        known.read(&six);
        known.read(&read("snmp").expect("every kernel has it"));
        known.read(&read("netstat").expect("every kernel has it"));
        let used = WORDS.iter().flat_map(|word| word.names.iter().chain(word.but)).chain(&ABORTS);
        let others = ["TcpOutRsts", "TcpAttemptFails", "Icmp6OutMLDv2Reports"];
        for name in used.chain(&others) {
            assert!(known.has(name), "{name}");
        }
    }
}
