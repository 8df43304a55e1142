//! The network as a small drawing: names, interfaces, addresses.

use std::net::IpAddr;

use super::data::{Host, Report};
use super::text::{columns, shorten};
use crate::netlink::state::Link;
use crate::plan::{End, NodePlan, Wiring};

/// The most nodes of which a drawing is made; more are a table.
const MOST_DRAWN: usize = 6;

/// The most rows of a drawing or a table.
const MOST_ROWS: usize = 12;

/// How long a wire between two nodes is at least.
const WIRE: usize = 10;

/// What links usually carry; another MTU is worth a word.
const USUAL_MTU: u32 = 1500;

/// The drawing, line by line; `first` are the nodes that an abbreviated one must show.
pub(super) fn draw(report: &Report, first: &[usize]) -> Vec<String> {
    let nodes: Vec<Drawn> = report
        .plan
        .nodes
        .iter()
        .enumerate()
        .map(|(index, plan)| Drawn::new(plan, report.host(index)))
        .collect();
    let Wiring { pairs, switches, .. } = &report.plan.wiring;
    let count = nodes.len();
    let mut lines = match (&pairs[..], &switches[..]) {
        _ if nodes.is_empty() => Vec::new(),
        ([], [ends]) if count <= MOST_ROWS && is_star(ends, count) => star(&nodes, ends),
        ([pair], []) if count == 2 => wire(&nodes, *pair),
        (pairs, []) if count <= MOST_DRAWN && pairs.len() + 1 == count && path(pairs).is_some() => {
            chain(&nodes, &path(pairs).unwrap_or_default(), None)
        }
        ([pairs @ .., last], [])
            if (3..=MOST_DRAWN).contains(&count) && is_chain(pairs) && pairs.len() + 1 == count =>
        {
            chain(&nodes, pairs, Some(*last))
        }
        (pairs, switches) if count <= MOST_DRAWN => graph(&nodes, pairs, switches),
        _ => table(&nodes, first, &report.plan.wiring),
    };
    lines.extend(made(report));
    lines
}

/// The interfaces that came while the test ran: tunnels, VLANs and macvlans, a line each. A veth belongs to a pod, or to what holds packets.
fn made(report: &Report) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (index, plan) in report.plan.nodes.iter().enumerate() {
        let Some(host) = report.host(index) else { continue };
        let is_planned = |index: u32| plan.interfaces.iter().any(|interface| interface.index == index);
        for link in host.links.iter().filter(|link| !is_planned(link.index)) {
            let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") else { continue };
            let label = Port::label(&link.name, [Some(kind.to_owned()), state(Some(link))]);
            rows.push(vec![format!("{}/{label}", plan.name), addresses(host, link.index).join(", ")]);
        }
    }
    let mut lines = Vec::new();
    if !rows.is_empty() {
        lines.push("made while it ran:".to_owned());
        let rows = columns(&rows, 2).into_iter().map(|row| format!("  {}", row.trim_end())).collect();
        lines.extend(shorten(rows, MOST_ROWS, "interface", "interfaces"));
    }
    lines
}

/// What of an interface is worth a word.
fn state(link: Option<&Link>) -> Option<String> {
    match link {
        None => Some("gone".to_owned()),
        Some(link) if !link.up => Some("down".to_owned()),
        Some(link) if !link.carrier => Some("no carrier".to_owned()),
        Some(link) if link.mtu != USUAL_MTU => Some(format!("MTU {}", link.mtu)),
        Some(_) => None,
    }
}

/// Whether each of so many nodes has one interface on a switch, in their order.
fn is_star(ends: &[End], count: usize) -> bool {
    ends.iter().map(|end| end.node).eq(0..count)
}

/// A node as it is drawn.
struct Drawn {
    name: String,
    /// The addresses of its loopback interface that others use.
    own: Vec<String>,
    ports: Vec<Port>,
}

struct Port {
    /// `eth0`, or `eth0 (down)`.
    label: String,
    addresses: Vec<String>,
}

impl Drawn {
    /// From what the kernel says or, where it was not asked, from the plan.
    fn new(plan: &NodePlan, host: Option<&Host>) -> Self {
        let loopback = host.and_then(|host| host.links.iter().find(|link| link.name == "lo"));
        let own = match (host, loopback) {
            (Some(host), Some(loopback)) => addresses(host, loopback.index),
            _ => plan.loopback.iter().map(|&(ip, _)| ip.to_string()).collect(),
        };
        let ports = plan.interfaces.iter().map(|interface| {
            let vlan = interface.vlan.map(|vlan| format!("VLAN {vlan}"));
            let Some(host) = host else {
                let addresses = interface.addresses.iter().map(|&(ip, length)| prefix(ip, length)).collect();
                return Port { label: Port::label(&interface.name, [vlan, None]), addresses };
            };
            let link = host.links.iter().find(|link| link.index == interface.index);
            let label = Port::label(&interface.name, [vlan, state(link)]);
            Port { label, addresses: addresses(host, interface.index) }
        });
        Self { name: plan.name.clone(), own, ports: ports.collect() }
    }

    /// Its name and its own addresses.
    fn title(&self) -> String {
        match self.own.is_empty() {
            true => self.name.clone(),
            false => format!("{}  {}", self.name, self.own.join(", ")),
        }
    }
}

impl Port {
    /// `eth0 (VLAN 10, down)`
    fn label(name: &str, words: [Option<String>; 2]) -> String {
        let words: Vec<String> = words.into_iter().flatten().collect();
        match words.is_empty() {
            true => name.to_owned(),
            false => format!("{name} ({})", words.join(", ")),
        }
    }

    fn described(&self) -> String {
        match self.addresses.is_empty() {
            true => format!("{}  no address", self.label),
            false => format!("{}  {}", self.label, self.addresses.join(", ")),
        }
    }
}

/// The addresses of an interface that reach beyond its link.
fn addresses(host: &Host, link: u32) -> Vec<String> {
    let of_link = host.addresses.iter().filter(|address| address.link == link);
    let useful = of_link.filter(|address| match address.ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    });
    useful.map(|address| prefix(address.ip, address.prefix_len)).collect()
}

/// `10.0.0.1/16`, or the address alone where the prefix is all of it.
fn prefix(ip: IpAddr, length: u8) -> String {
    match (ip, length) {
        (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => ip.to_string(),
        _ => format!("{ip}/{length}"),
    }
}

/// Two nodes on one veth, side by side.
fn wire(nodes: &[Drawn], pair: [End; 2]) -> Vec<String> {
    let side = |end: End| {
        let (node, port) = (&nodes[end.node], &nodes[end.node].ports[end.interface]);
        let mut above = vec![node.name.clone()];
        above.extend(node.own.iter().cloned());
        (above, port)
    };
    let ((above_left, left), (above_right, right)) = (side(pair[0]), side(pair[1]));
    let (mut lefts, mut rights) = (above_left, above_right);
    let row = lefts.len().max(rights.len());
    lefts.resize(row, String::new());
    rights.resize(row, String::new());
    lefts.push(left.label.clone());
    rights.push(right.label.clone());
    lefts.extend(left.addresses.iter().cloned());
    rights.extend(right.addresses.iter().cloned());
    let width = lefts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
    let count = lefts.len().max(rights.len());
    lefts.resize(count, String::new());
    rights.resize(count, String::new());
    let lines = lefts.iter().zip(&rights).enumerate().map(|(index, (left, right))| {
        let gap = width - left.chars().count() + WIRE;
        match index == row {
            true => format!("{left} {} {right}", "─".repeat(gap)),
            false => format!("{left}{}{right}", " ".repeat(gap + 2)),
        }
    });
    lines.map(|line| line.trim_end().to_owned()).collect()
}

/// Nodes on a switch.
fn star(nodes: &[Drawn], ends: &[End]) -> Vec<String> {
    let last = ends.len().saturating_sub(1);
    let rows: Vec<Vec<String>> = ends
        .iter()
        .enumerate()
        .map(|(index, end)| {
            let branch = match index {
                0 if last == 0 => "switch ───",
                0 => "switch ─┬─",
                index if index == last => "        └─",
                _ => "        ├─",
            };
            let port = &nodes[end.node].ports[end.interface];
            let addresses = match port.addresses.is_empty() {
                true => "no address".to_owned(),
                false => port.addresses.join(", "),
            };
            vec![branch.to_owned(), port.label.clone(), nodes[end.node].name.clone(), addresses]
        })
        .collect();
    // A branch touches its port.
    columns(&rows, 2).into_iter().map(|line| line.replacen("─  ", "─ ", 1)).collect()
}

/// The links from one end of a line of nodes to the other, each from the node before to the one behind it, where so many links make one.
fn path(pairs: &[[End; 2]]) -> Option<Vec<[End; 2]>> {
    let degree = |node: usize| pairs.iter().flatten().filter(|end| end.node == node).count();
    let ends = pairs.iter().flatten().map(|end| end.node).filter(|&node| degree(node) == 1);
    let mut here = ends.min()?;
    let mut left = pairs.to_vec();
    let mut path = Vec::new();
    while let Some(next) = left.iter().position(|pair| pair.iter().any(|end| end.node == here)) {
        let [one, other] = left.swap_remove(next);
        let [from, to] = if one.node == here { [one, other] } else { [other, one] };
        here = to.node;
        path.push([from, to]);
    }
    let is_line = left.is_empty() && (0..=pairs.len()).all(|node| matches!(degree(node), 1 | 2));
    is_line.then_some(path)
}

/// Whether every link goes from one node to the next.
fn is_chain(pairs: &[[End; 2]]) -> bool {
    pairs.iter().enumerate().all(|(index, [left, right])| left.node == index && right.node == index + 1)
}

/// A line of nodes, from top to bottom, or a ring: `closing` is the link from the last node to the first.
fn chain(nodes: &[Drawn], pairs: &[[End; 2]], closing: Option<[End; 2]>) -> Vec<String> {
    let port = |end: End| nodes[end.node].ports[end.interface].described();
    let mut lines = Vec::new();
    lines.extend(pairs.first().map(|[first, _]| nodes[first.node].title()));
    for &[here, there] in pairs {
        lines.push(format!("│ {}", port(here)));
        lines.push(format!("│ {}", port(there)));
        lines.push(nodes[there.node].title());
    }
    let Some([last, first]) = closing else { return lines };
    let mut ring: Vec<String> = lines
        .into_iter()
        .enumerate()
        .map(|(index, line)| if index == 0 { format!("╭─ {line}") } else { format!("│  {line}") })
        .collect();
    ring.push(format!("│  │ {}", port(last)));
    ring.push(format!("│  │ {}", port(first)));
    ring.push(format!("╰──╯ to {}", nodes[first.node].name));
    ring
}

/// Any other graph: its nodes, and its links, a line each.
fn graph(nodes: &[Drawn], pairs: &[[End; 2]], switches: &[Vec<End>]) -> Vec<String> {
    let titles: Vec<Vec<String>> =
        nodes.iter().map(|node| vec![node.name.clone(), node.own.join(", ")]).collect();
    let mut lines = columns(&titles, 2);
    let end =
        |end: End| (format!("{}/{}", nodes[end.node].name, nodes[end.node].ports[end.interface].label), end);
    let links: Vec<Vec<String>> = pairs
        .iter()
        .map(|&[left, right]| {
            let ((left, at_left), (right, at_right)) = (end(left), end(right));
            let addresses = |end: End| nodes[end.node].ports[end.interface].addresses.join(", ");
            vec![left, "──".to_owned(), right, addresses(at_left), "──".to_owned(), addresses(at_right)]
        })
        .collect();
    lines.extend(shorten(columns(&links, 1), MOST_ROWS, "link", "links"));
    for ends in switches {
        let ports: Vec<String> = ends
            .iter()
            .map(|&at| {
                let port = &nodes[at.node].ports[at.interface];
                format!("{} {}", end(at).0, port.addresses.join(", "))
            })
            .collect();
        lines.push("a switch:".to_owned());
        let ports = ports.iter().map(|port| format!("  {}", port.trim_end())).collect();
        lines.extend(shorten(ports, MOST_ROWS, "port", "ports"));
    }
    lines
}

/// Too many nodes for a drawing.
fn table(nodes: &[Drawn], first: &[usize], wiring: &Wiring) -> Vec<String> {
    let links = match (wiring.pairs.len(), &wiring.switches[..]) {
        (0, [ends]) if ends.len() == nodes.len() => format!("{} nodes on a switch", nodes.len()),
        (pairs, []) => format!("{} nodes, {pairs} links", nodes.len()),
        (pairs, switches) => format!("{} nodes, {pairs} links, {} switches", nodes.len(), switches.len()),
    };
    let mut order: Vec<usize> = first.to_vec();
    order.extend((0..nodes.len()).filter(|index| !first.contains(index)));
    let rows: Vec<Vec<String>> = order
        .iter()
        .map(|&index| {
            let node = &nodes[index];
            let ports: Vec<String> = node.ports.iter().map(|port| port.label.clone()).collect();
            let own = match node.own.is_empty() {
                false => node.own.clone(),
                true => node.ports.iter().flat_map(|port| port.addresses.clone()).collect(),
            };
            vec![node.name.clone(), few(&own), few(&ports)]
        })
        .collect();
    let mut lines = vec![links];
    lines.extend(shorten(columns(&rows, 2), MOST_ROWS, "node", "nodes"));
    lines
}

/// The first of them, and how many there are.
fn few(all: &[String]) -> String {
    match all.len() {
        0..=4 => all.join(", "),
        count => format!("{}, … {count} in all", all[..3].join(", ")),
    }
}
