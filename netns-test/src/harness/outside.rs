//! A hint for bodies that forgot the handle of a node.

use std::fs;

use super::verdict::plural;
use crate::__private::TestCase;
use crate::network::Net;

/// Says so where the body tried to reach something from its own namespace, which has the loopback only.
pub(super) fn hint_at_forgotten_handles(test: &TestCase, net: &Net) {
    // In a node it stands in the network, and what found no route there was sent on purpose.
    if test.run_in.is_some() || net.is_cluster() {
        return;
    }
    let unrouted = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        counter(&text, name)
    };
    let count = unrouted("snmp", "OutNoRoutes") + unrouted("snmp6", "Ip6OutNoRoutes");
    if count > 0 && !net.nodes().is_empty() {
        eprintln!(
            "netns-test: {} from the body found no route: the body stands outside the network, in a namespace with \
             the loopback only\n(use `node.connect_tcp`, `node.run` or `node.enter`, or `run_in = NODE` in the attribute)",
            plural(count as usize, "packet or connection", "packets or connections"),
        );
    }
}

/// A counter of /proc/net/snmp (a line of names, a line of values) or snmp6 (a name and a value in each line).
fn counter(text: &str, name: &str) -> u64 {
    let mut names: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let position = names.iter().position(|&word| word == name);
        match (&words[..], position) {
            ([first, value], _) if *first == name => return value.parse().unwrap_or(0),
            (_, Some(position)) => {
                return words.get(position).and_then(|value| value.parse().ok()).unwrap_or(0);
            }
            _ => names = words,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_read_from_both_forms() {
        assert_eq!(
            counter("Ip: InReceives OutNoRoutes\nIp: 12 3\nIcmp: InMsgs\nIcmp: 0\n", "OutNoRoutes"),
            3
        );
        assert_eq!(counter("Ip6InReceives 4\nIp6OutNoRoutes 5\n", "Ip6OutNoRoutes"), 5);
        assert_eq!(counter("", "OutNoRoutes"), 0);
    }
}
