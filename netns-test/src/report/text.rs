//! From data to the text of a report. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use netns_test_model::graph::Wire;

use super::data::{Host, Report, Socket};
use super::drawing::draw;
use super::packet_lines::{packet_lines, time};
use super::routes::routes;
use super::signs::{Sign, address, signs};
use crate::netlink::state::{Protocol, SocketState};
use crate::wire::Tally;

/// The most lines of one section.
const MOST_LINES: usize = 14;

/// In how many nodes interfaces are shown that carried nothing.
const FEW_NODES: usize = 4;

/// The longest line of a panic's message.
const LONGEST_MESSAGE: usize = 160;

/// How a report looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colours: bool,
}

impl Style {
    fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    fn sign(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Select graphic rendition, ECMA-48 section 8.3.117.
    fn with(self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The report, without a line feed at its end.
pub(super) fn write(report: &Report, style: Style) -> String {
    let signs = signs(report);
    let mut first: Vec<usize> = signs.iter().filter_map(|sign| sign.node).collect();
    first.sort_unstable();
    first.dedup();
    let mut text = style.heading(&title(report));
    let sections = [
        ("Panics", failures(report)),
        (
            "What the test did to the network",
            shorten(report.snapshot.faults.clone(), MOST_LINES, "line", "lines"),
        ),
        ("What stands out", shorten(sign_lines(report, &signs), MOST_LINES, "line", "lines")),
        ("Still running", shorten(running(report), MOST_LINES, "line", "lines")),
        ("Network", draw(report, &first)),
        ("Links", shorten(links(report), MOST_LINES, "line", "lines")),
        ("Traffic", traffic(report)),
        ("Packets", packet_lines(report)),
        ("Log", log_lines(report)),
        ("Sockets", shorten(sockets(report), MOST_LINES, "socket", "sockets")),
        ("Routes", shorten(routes(report, &signs, MOST_LINES), MOST_LINES, "route", "routes")),
        ("Not known", shorten(report.snapshot.gaps.clone(), MOST_LINES, "line", "lines")),
    ];
    for (heading, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
        let is_sign = *heading == "What stands out";
        let mut lines = lines.iter();
        // A table's own headings stand beside the section's.
        let heading = match *heading == "Traffic" {
            true => lines.next().map_or("", String::as_str),
            false => heading,
        };
        // Writing to a String cannot fail.
        let _infallible = write!(text, "\n{}", style.heading(heading));
        for line in lines {
            let line = if is_sign { style.sign(line) } else { line.clone() };
            let _infallible = write!(text, "\n  {line}");
        }
    }
    text
}

pub(super) fn title(report: &Report) -> String {
    let mut title = format!("the network of `{}`", report.test);
    if let Some(after) = report.after {
        title += &format!(", {} after its body started", rounded(after));
    }
    match report.ended_after {
        Some(ended) => title += &format!(", at a panic: after {} {}", rounded(ended), report.how),
        None => title += &format!(": {}", report.how),
    }
    if report.is_after_body {
        title += " (which closed the sockets that it held)";
    }
    if report.is_late {
        title += " (found out at the end: sockets and neighbours are gone)";
    }
    title
}

fn rounded(duration: Duration) -> String {
    match duration.as_millis() {
        0..10_000 => format!("{} ms", duration.as_millis()),
        more => format!("{} s", more / 1000),
    }
}

fn failures(report: &Report) -> Vec<String> {
    let rows: Vec<Vec<String>> = report
        .failures
        .iter()
        .map(|failure| {
            let message = failure.message.lines().next().unwrap_or_default();
            let mut message: String = message.chars().take(LONGEST_MESSAGE).collect();
            if message.len() < failure.message.len() {
                message.push_str(" …");
            }
            let place = failure.node.clone().unwrap_or_else(|| "the body".to_owned());
            // The body's thread is named as the test: that says nothing more.
            let thread = match failure.node.is_none() && failure.thread == report.test {
                true => String::new(),
                false => format!("thread `{}`, ", failure.thread),
            };
            vec![place, format!("{thread}{}: {message}", failure.location)]
        })
        .collect();
    shorten(columns(&rows, 2), 4, "panic", "panics")
}

fn sign_lines(report: &Report, signs: &[Sign]) -> Vec<String> {
    let mut rows = Vec::new();
    let mut previous = None;
    for sign in signs {
        for (index, line) in sign.text.lines().enumerate() {
            let place = match previous == Some(sign.node) || index > 0 {
                true => String::new(),
                false => report.place(sign.node).to_owned(),
            };
            rows.push(vec![place, line.to_owned()]);
        }
        previous = Some(sign.node);
    }
    columns(&rows, 2)
}

fn running(report: &Report) -> Vec<String> {
    let threads = report.snapshot.threads.iter().map(|thread| {
        let name = match &thread.name {
            Some(name) => format!("thread `{name}`"),
            None if thread.node.is_some() => "the body".to_owned(),
            None => String::new(),
        };
        vec![report.place(thread.node).to_owned(), name, thread.doing.clone()]
    });
    let programs = report.snapshot.programs.iter().map(|program| {
        let name = format!("program `{}`", program.name);
        vec![report.place(program.node).to_owned(), name, format!("runs as process {}", program.id)]
    });
    let tasks = report.snapshot.tasks.iter().map(|(node, place, since)| {
        let since = format!("is not done after {}", rounded(*since));
        vec![report.place(Some(*node)).to_owned(), format!("task of {place}"), since]
    });
    let threads = threads.chain(tasks);
    // Without threads it was no timeout, and that programs run is as it should be.
    match report.snapshot.threads.is_empty() {
        true => Vec::new(),
        false => columns(&threads.chain(programs).collect::<Vec<_>>(), 2),
    }
}

fn traffic(report: &Report) -> Vec<String> {
    let mut rows = Vec::new();
    let mut quiet = 0;
    for host in &report.snapshot.hosts {
        for link in &host.links {
            let stats = &link.stats;
            let dropped = stats.rx_dropped + stats.tx_dropped;
            let errors = stats.rx_errors + stats.tx_errors;
            let is_quiet = stats.rx_packets + stats.tx_packets + dropped + errors == 0;
            let is_planned = host.node.is_some_and(|node| {
                report.plan.nodes[node].interfaces.iter().any(|planned| planned.index == link.index)
            });
            // That nothing came through a small network is worth a line.
            let is_shown = is_planned && report.plan.nodes.len() <= FEW_NODES;
            if is_quiet && !is_shown {
                quiet += u64::from(is_planned);
                continue;
            }
            let name = format!("{}/{}", report.place(host.node), link.name);
            let packets = |count: u64, bytes: u64| {
                format!("{} ({bytes} B)", super::signs::plural(count, "packet", "packets"))
            };
            let both = |received: u64, sent: u64| match (received, sent) {
                (0, 0) => "0".to_owned(),
                (received, 0) => format!("{received} received"),
                (0, sent) => format!("{sent} to send"),
                (received, sent) => format!("{received} received, {sent} to send"),
            };
            let row = vec![
                format!("  {name}"),
                packets(stats.rx_packets, stats.rx_bytes),
                packets(stats.tx_packets, stats.tx_bytes),
                both(stats.rx_dropped, stats.tx_dropped),
                both(stats.rx_errors, stats.tx_errors),
            ];
            rows.push((dropped + errors == 0, row));
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    if rows.len() > MOST_LINES {
        rows.sort_by_key(|(is_well, _)| *is_well);
    }
    let heading = ["Traffic", "received", "sent", "dropped", "errors"].map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(rows.into_iter().map(|(_, row)| row)).collect();
    let mut lines = columns(&rows, 2);
    let head = lines.remove(0);
    let rest = lines.into_iter().map(|line| line.trim_start().to_owned()).collect();
    let mut lines = [vec![head], shorten(rest, MOST_LINES, "interface", "interfaces")].concat();
    let reports: u64 =
        report.snapshot.hosts.iter().map(|host| host.counters.get("Icmp6OutMLDv2Reports")).sum();
    if reports > 0 {
        let sent = super::signs::plural(reports, "packet that was sent is", "packets that were sent are");
        lines.push(format!("{sent} the kernel's own: IPv6 multicast reports (RFC 3810)"));
    }
    if quiet > 0 {
        lines.push(format!(
            "nothing on {}",
            super::signs::plural(quiet, "other interface", "other interfaces")
        ));
    }
    lines
}

/// The last lines of programs and of events.
fn log_lines(report: &Report) -> Vec<String> {
    let log = &report.snapshot.log;
    let first = log.len().saturating_sub(MOST_LINES);
    let rows = log[first..].iter().map(|line| {
        let text = format!("{}: {}", line.source, line.text);
        let shown: String = text.chars().take(LONGEST_MESSAGE).collect();
        let more = if shown.len() < text.len() { " …" } else { "" };
        let shown = plain(&shown);
        vec![
            time(line.time, report.packets.started),
            report.place(line.node).to_owned(),
            format!("{shown}{more}"),
        ]
    });
    let mut lines = columns(&rows.collect::<Vec<_>>(), 2);
    if first > 0 {
        lines.insert(0, format!("… {first} before these"));
    }
    lines
}

/// The text without what a terminal would act on: the colours of programs, for instance.
fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\t' => " ".to_owned(),
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

fn sockets(report: &Report) -> Vec<String> {
    let rank = |socket: &Socket| match socket.state {
        SocketState::SynSent | SocketState::SynReceived => 0,
        SocketState::Listen | SocketState::Unconnected => 1,
        SocketState::Established => 2,
        _ => 3,
    };
    let mut rows: Vec<(u8, Vec<String>)> = report
        .snapshot
        .hosts
        .iter()
        .flat_map(|host: &Host| host.sockets.iter().map(move |socket| (host.node, socket)))
        .map(|(node, socket)| {
            let remote = socket.remote.map_or_else(String::new, |remote| format!("→ {}", address(remote)));
            let row = vec![
                report.place(node).to_owned(),
                format!("{} {}", socket.protocol, socket.state),
                address(socket.local),
                remote,
                queues(socket),
                socket.owner.clone().unwrap_or_default(),
            ];
            (rank(socket), row)
        })
        .collect();
    if rows.len() > MOST_LINES {
        rows.sort_by_key(|(rank, _)| *rank);
    }
    columns(&rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), 2)
}

/// What links do to packets, a line for each direction, and what chance follows.
fn links(report: &Report) -> Vec<String> {
    let wiring = &report.plan.wiring;
    let rows = report.snapshot.directions.iter().map(|direction| {
        let ends = &wiring.conditioned[direction.link].ends;
        let name = |side: usize| match ends[side] {
            Some(end) => {
                let node = &report.plan.nodes[end.node];
                format!("{}/{}", node.name, node.interfaces[end.interface].name)
            }
            None => "switch".to_owned(),
        };
        let wire = match direction.wire {
            Wire::Kernel => "by the kernel",
            _ => "in user space",
        };
        let tally = direction.tally.map(tally).unwrap_or_default();
        let conditions = match direction.conditions.are_none() {
            true => "bare".to_owned(),
            false => direction.conditions.to_string(),
        };
        let (from, to) = (name(direction.side), name(1 - direction.side));
        vec![format!("{from} → {to}"), conditions, wire.to_owned(), tally]
    });
    let mut lines = columns(&rows.collect::<Vec<_>>(), 2);
    lines.extend(
        report
            .snapshot
            .seed
            .map(|seed| format!("NETNS_TEST_SEED={seed} gives the same packets the same fates")),
    );
    lines
}

/// `40 sent, 3 lost`
fn tally(tally: Tally) -> String {
    let Tally { sent, lost, overflowed, overrun, filtered, duplicated, reordered, corrupted, marked, .. } =
        tally;
    let others = [
        (lost, "lost"),
        (overflowed, "found the queue full"),
        (overrun, "came faster than the machine could pass on"),
        (filtered, "filtered"),
        (duplicated, "doubled"),
        (reordered, "reordered"),
        (corrupted, "corrupted"),
        (marked, "marked"),
    ];
    let mut parts = vec![format!("{sent} sent")];
    parts
        .extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}

fn queues(socket: &Socket) -> String {
    // A FIN counts as a byte, of what was received and of what was sent.
    let (came_fin, sent_fin) = match socket.state {
        SocketState::CloseWait => (1, 0),
        SocketState::FinWait1 => (0, 1),
        SocketState::Closing | SocketState::LastAck => (1, 1),
        _ => (0, 0),
    };
    let received = socket.recv_queue.saturating_sub(came_fin);
    let sent = socket.send_queue.saturating_sub(sent_fin);
    let waits = match socket.protocol {
        Protocol::Tcp => "unacknowledged",
        Protocol::Udp => "on their way out",
    };
    match (socket.state, received, sent) {
        // A SYN counts as a byte.
        (SocketState::Listen, 0, _) | (SocketState::SynSent, ..) | (_, 0, 0) => String::new(),
        (SocketState::Listen, ..) => format!("{received} to accept, backlog {sent}"),
        (_, received, 0) => format!("{received} B unread"),
        (_, 0, sent) => format!("{sent} B {waits}"),
        (_, received, sent) => format!("{received} B unread, {sent} B {waits}"),
    }
}

/// Rows of cells as lines, each column as wide as its widest cell, with `gap` spaces between; empty columns are left out.
pub(super) fn columns(rows: &[Vec<String>], gap: usize) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter()
        .map(|row| {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths).filter(|&(_, &width)| width > 0) {
                line.push_str(cell);
                let padding = width - cell.chars().count() + gap;
                line.extend(std::iter::repeat_n(' ', padding));
            }
            line.trim_end().to_owned()
        })
        .collect()
}

/// The first lines, and how many there are more.
pub(super) fn shorten(mut lines: Vec<String>, most: usize, one: &str, many: &str) -> Vec<String> {
    if lines.len() > most {
        let more = lines.len() - (most - 1);
        lines.truncate(most - 1);
        lines.push(format!("… and {more} more {}", if more == 1 { one } else { many }));
    }
    lines
}
