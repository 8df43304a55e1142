//! The packets of a test: for its report, and as a file.

use std::collections::BTreeMap;
use std::fs;

use super::data::{Direction, Packets};
use super::hops::{Blind, Links, hops};
use super::signs::plural;
use super::{Names, unless_panicked};
use crate::capture::{self, Frame, Interface, Link, Recorded};
use crate::error::{Doing, Error};
use crate::network::Net;
use crate::plan::Plan;

/// The names of the files.
const FILE: &str = "packets.pcapng";
const PAGE: &str = "packets.html";

/// Writes what was recorded to the directory of the failed test; `Some` is what it lacks.
///
/// # Errors
/// There is no such file.
pub(crate) fn write_packets(net: &Net) -> Result<Option<Error>, Error> {
    let written = unless_panicked(|| Ok(written(net)));
    written.unwrap_or_else(|why_not| Err(Error::because(format!("write {FILE}"), why_not)))
}

fn written(net: &Net) -> Result<Option<Error>, Error> {
    let operation = || format!("write {FILE}");
    let recorded = match net.packets.so_far() {
        None => return Ok(None),
        // A test that passes shows no report that could say why.
        Some(Err(cause)) if net.packets.are_kept_always() => return Err(Error::because(operation(), cause)),
        // It is said where they would be shown.
        Some(Err(_)) => return Ok(None),
        Some(Ok(recorded)) => recorded,
    };
    let file = net.artifacts.directory(net.test)?.join(FILE);
    let (names, unnamed) = names(net);
    let interfaces = interfaces(&net.plan_of(&net.nodes()), &recorded, &names);
    let comment = format!("the test `{}`", net.test);
    let (secrets, refused) = net.secrets.read(net);
    fs::write(&file, capture::write(&recorded, &interfaces, &comment, &secrets)).doing(operation)?;
    Ok(refused.or(unnamed))
}

/// Writes the page to the directory of the failed test.
pub(super) fn write_page(net: &Net, page: &str) -> Result<(), Error> {
    let file = net.artifacts.directory(net.test)?.join(PAGE);
    fs::write(&file, page).doing(|| format!("write {PAGE}"))
}

/// The packets that were sent in a time, for the report, whether they were received until then, and what followed; `Err` is why there are none, or
/// that some are missing.
pub(super) fn between(
    net: &Net,
    plan: &Plan,
    directions: &[Direction],
    from: u64,
    until: u64,
    received_until: u64,
) -> Result<Packets, String> {
    let mut recorded = match net.packets.so_far() {
        None => return Ok(Packets { started: from, ..Packets::default() }),
        Some(recorded) => recorded.map_err(|why_not| format!("its packets: {why_not}"))?,
    };
    let mut notes = Vec::new();
    if recorded.dropped > 0 {
        notes.push(format!(
            "{} before the last ones were not kept",
            plural(recorded.dropped, "packet", "packets")
        ));
    }
    for (node, name) in recorded.nodes.iter().enumerate() {
        let count: u64 = recorded.lost.iter().filter(|lost| lost.node == node).map(|lost| lost.count).sum();
        if count > 0 {
            notes.push(format!(
                "{} of {name} came faster than they are recorded",
                plural(count, "packet", "packets")
            ));
        }
    }
    let gap = Blind::gap(&recorded);
    // Those of nodes that have left are in the file alone.
    let place = |name: &String| plan.nodes.iter().position(|planned| planned.name == *name);
    let places: Vec<Option<usize>> = recorded.nodes.iter().map(place).collect();
    let is_wanted = |frame: &mut Frame| match places[frame.node] {
        Some(node) if (from..=received_until).contains(&frame.time) => {
            frame.node = node;
            true
        }
        _ => false,
    };
    recorded.first.retain_mut(is_wanted);
    recorded.last.retain_mut(is_wanted);
    recorded.lost.retain_mut(|lost| match places[lost.node] {
        Some(node) => {
            lost.node = node;
            true
        }
        None => false,
    });
    let links = Links::of(plan, directions);
    let blind = Blind { gap, overrun: recorded.lost.iter().map(|lost| lost.node).collect() };
    let all = hops(&recorded, &links, &blind, until);
    let (hops, after) = all.into_iter().partition(|hop| hop.time <= until);
    Ok(Packets { hops, after, links, started: from, until, blind, notes })
}

/// The names of all interfaces that the network had when it was looked at, those that a test has added, too; and why they are missing.
fn names(net: &Net) -> (Names, Option<Error>) {
    let (mut names, refused) = match net.report.names.get() {
        Some(Ok(names)) => (names.clone(), None),
        Some(Err(error)) => {
            (Names::new(), Some(Error::because("name the interfaces of the packets", error.clone())))
        }
        None => (Names::new(), None),
    };
    for taken in net.report.taken().iter() {
        let Ok((plan, snapshot)) = &taken.seen else { continue };
        for host in &snapshot.hosts {
            let Some(node) = host.node.map(|node| &plan.nodes[node].name) else { continue };
            names.extend(host.links.iter().map(|link| ((node.clone(), link.index), link.name.clone())));
        }
    }
    (names, refused)
}

/// Every planned interface, and whatever else packets were seen on.
fn interfaces(plan: &Plan, recorded: &Recorded, names: &Names) -> Vec<Interface> {
    let planned = |node: usize| plan.nodes.iter().find(|planned| planned.name == recorded.nodes[node]);
    let mut found: BTreeMap<(usize, u32), Link> = BTreeMap::new();
    for node in 0..recorded.nodes.len() {
        let interfaces = planned(node).into_iter().flat_map(|planned| &planned.interfaces);
        found.extend(interfaces.map(|interface| ((node, interface.index), Link::Ethernet)));
    }
    found.extend(recorded.frames().iter().map(|frame| ((frame.node, frame.interface), frame.link)));
    let interfaces = found.into_iter().map(|((node, index), link)| {
        let own = planned(node).and_then(|planned| planned.interfaces.iter().find(|own| own.index == index));
        let name = match (own, link) {
            (Some(own), _) => own.name.clone(),
            (None, Link::Loopback) => "lo".to_owned(),
            (None, _) => {
                let seen = names.get(&(recorded.nodes[node].clone(), index)).cloned();
                seen.unwrap_or_else(|| format!("interface {index}"))
            }
        };
        Interface { key: (node, index), name: format!("{}/{name}", recorded.nodes[node]), link }
    });
    interfaces.collect()
}
