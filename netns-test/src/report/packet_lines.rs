//! The last packets of each link, a line each. Pure.

use std::collections::HashSet;
use std::net::IpAddr;

use super::data::{Packets, Report};
use super::hops::{Hop, Links, answer, is_housekeeping, question};
use super::signs::owner;
use super::suspects::place_name;
use super::text::columns;

/// The most links that are shown, and the most packets of all of them.
const MOST_LINKS: usize = 6;
const MOST_PACKETS: usize = 24;

/// The longest line of a packet.
const LONGEST: usize = 150;

/// The last packets of each link; those that only find neighbours are left out, unless they go unanswered.
pub(super) fn packet_lines(report: &Report) -> Vec<String> {
    let Packets { hops, links, started, notes, .. } = &report.packets;
    let answered: HashSet<IpAddr> = hops.iter().filter_map(|hop| answer(&hop.packet)).collect();
    let shown = |hop: &&Hop| {
        !is_housekeeping(&hop.packet)
            || question(&hop.packet).is_some_and(|asked| hop.from.is_some() && !answered.contains(&asked))
    };
    let mut of_links: Vec<(usize, Vec<&Hop>)> = (0..links.ends.len())
        .map(|link| (link, hops.iter().filter(|hop| hop.link == Some(link)).filter(shown).collect()))
        .filter(|(_, hops): &(usize, Vec<&Hop>)| !hops.is_empty())
        .collect();
    let all = of_links.len();
    if all > MOST_LINKS {
        // Those where something went wrong first.
        let wrong = |hops: &[&Hop]| hops.iter().filter(|hop| hop.is_lost || hop.is_repeated).count();
        of_links.sort_by_key(|(_, hops)| std::cmp::Reverse((wrong(hops), hops.len())));
        of_links.truncate(MOST_LINKS);
    }
    let most = (MOST_PACKETS / of_links.len().max(1)).max(4);
    let mut lines = Vec::new();
    for (link, hops) in &of_links {
        let first = hops.len().saturating_sub(most);
        // Of one link, everything else says which.
        if links.ends.len() > 1 {
            lines.push(heading(report, links, *link));
        }
        if first > 0 {
            lines.push(format!("… {first} before these"));
        }
        let rows: Vec<Vec<String>> = hops[first..].iter().map(|hop| row(report, hop, *started)).collect();
        lines.extend(columns(&rows, 2).iter().map(|line| line.chars().take(LONGEST).collect()));
    }
    if all > of_links.len() {
        lines.push(format!("… and {} more links", all - of_links.len()));
    }
    lines.extend(notes.iter().cloned());
    lines
}

fn heading(report: &Report, links: &Links, link: usize) -> String {
    let ends: Vec<String> = links.ends[link].iter().take(4).map(|&end| place_name(report, end)).collect();
    match (&ends[..], links.ends[link].len()) {
        ([left, right], 2) => format!("{left} – {right}"),
        (_, count) if count > ends.len() => format!("switch of {}, …", ends.join(", ")),
        _ => format!("switch of {}", ends.join(", ")),
    }
}

fn row(report: &Report, hop: &Hop, started: u64) -> Vec<String> {
    let names = |ip| owner(report, ip).map(|node| report.place(Some(node)).to_owned());
    let summary = hop.packet.summary(&names);
    let marks = [
        (hop.is_lost, " ✗ did not arrive"),
        (hop.is_corrupted, " ✗ corrupted on its way"),
        (hop.is_repeated, " ↻ once more"),
        (hop.packet.tcp().is_some_and(|tcp| tcp.flags.rst), " ✗ reset"),
        (hop.packet.icmp().is_some_and(|icmp| icmp.is_error()), " ✗ error"),
    ];
    let marks: String = marks.iter().filter(|(holds, _)| *holds).map(|(_, mark)| *mark).collect();
    vec![time(hop.time, started), way(report, hop), format!("{summary}{marks}")]
}

/// `client → server`, as far as this link goes.
pub(super) fn way(report: &Report, hop: &Hop) -> String {
    let place = |node: usize| report.place(Some(node)).to_owned();
    let from = hop.from.map_or_else(|| "?".to_owned(), |from| place(from.node));
    let to = match (&hop.to[..], hop.is_lost) {
        ([], true) => "✗".to_owned(),
        ([], false) => "…".to_owned(),
        ([one], _) => place(one.node),
        (many, _) => format!("{} nodes", many.len()),
    };
    format!("{from} → {to}")
}

/// Milliseconds since the body's start.
pub(super) fn time(time: u64, started: u64) -> String {
    let micros = time.saturating_sub(started) / 1000;
    format!("{}.{:03} ms", micros / 1000, micros % 1000)
}
