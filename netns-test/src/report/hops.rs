//! From frames to packets on their way: who sent each over which link, and who received it. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::data::Direction;
use crate::capture::{Link, Recorded};
use crate::packet::{Packet, Repeats};
use crate::plan::{End, Plan};

/// As many bytes as are kept of every frame, whatever is kept of others.
const COMPARED: usize = 256;

/// How long what makes a link slow may take beside its delay.
const WIRE: Duration = Duration::from_millis(50);

/// One interface of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) node: usize,
    /// The interface's index in the node.
    pub(super) interface: u32,
}

/// One packet on its way over one link.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    /// When it was sent, in nanoseconds since 1970; when it was received, where nobody was seen to send it.
    pub(super) time: u64,
    /// The link's number in [`Links`]; `None` on an interface that was not planned.
    pub(super) link: Option<usize>,
    pub(super) from: Option<Place>,
    pub(super) to: Vec<Place>,
    /// It was sent to one, who could have been seen to receive it, and was not.
    pub(super) is_lost: bool,
    /// What it carries of TCP went over this link before.
    pub(super) is_repeated: bool,
    pub(super) packet: Packet,
}

/// The links of a plan, with the interfaces on each.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) ends: Vec<Vec<Place>>,
    of: HashMap<Place, usize>,
    /// Since when there has been another link at a place.
    since: HashMap<Place, u64>,
    /// How long a packet may be on its way over each, in nanoseconds.
    slowness: Vec<u64>,
}

impl Links {
    /// Those of a plan, with what they do to packets now, which the test may have changed.
    pub(super) fn of(plan: &Plan, directions: &[Direction]) -> Self {
        let place = |end: &End| Place {
            node: end.node,
            interface: plan.nodes[end.node].interfaces[end.interface].index,
        };
        let pairs = plan.wiring.pairs.iter().map(|pair| pair.iter().map(place).collect());
        let switches = plan.wiring.switches.iter().map(|ends| ends.iter().map(place).collect());
        let ends: Vec<Vec<Place>> = pairs.chain(switches).collect();
        let of =
            ends.iter().enumerate().flat_map(|(link, ends)| ends.iter().map(move |place| (*place, link)));
        let of: HashMap<Place, usize> = of.collect();
        let since = plan.wiring.replugged.iter().map(|(end, at)| (place(end), *at)).collect();
        let mut slowness = vec![0; ends.len()];
        for (index, conditioned) in plan.wiring.conditioned.iter().enumerate() {
            let link = conditioned.ends.iter().flatten().find_map(|end| of.get(&place(end)));
            let now = directions.iter().filter(|direction| direction.link == index);
            let all = conditioned.conditions.iter().chain(now.map(|direction| &direction.conditions));
            let delays = all.map(|conditions| {
                conditions.delay.unwrap_or_default() + conditions.jitter.unwrap_or_default()
            });
            if let (Some(&link), Some(delay)) = (link, delays.max()) {
                slowness[link] = (2 * delay + WIRE).as_nanos() as u64;
            }
        }
        Self { of, since, ends, slowness }
    }

    /// The link that a packet went over which passed there; `None` for one that is no more.
    fn passed(&self, place: Place, time: u64) -> Option<usize> {
        match self.since.get(&place) {
            Some(since) if time < *since => None,
            _ => self.of.get(&place).copied(),
        }
    }
}

/// The packets that were on their way until then, in the order of their times.
pub(super) fn hops(recorded: &Recorded, links: &Links, until: u64) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    // Those that were sent, by what is the same when they are received.
    let mut sent: HashMap<(usize, usize, &[u8]), Vec<usize>> = HashMap::new();
    let overran = |node: usize| recorded.lost.iter().any(|lost| lost.node == node);
    for frame in recorded.frames() {
        let place = Place { node: frame.node, interface: frame.interface };
        let link = links.passed(place, frame.time);
        let key = link.map(|link| (link, frame.length, &frame.bytes[..frame.bytes.len().min(COMPARED)]));
        if !frame.is_sent() {
            let its = key.and_then(|key| sent.get(&key)).and_then(|candidates| {
                let is_it = |&&hop: &&usize| !hops[hop].to.contains(&place) && hops[hop].from != Some(place);
                candidates.iter().find(is_it).copied()
            });
            if let Some(hop) = its {
                hops[hop].to.push(place);
                continue;
            }
        }
        let packet = frame.decode();
        // On the loopback interface whoever sends receives.
        let (from, to) = match (frame.is_sent(), frame.link) {
            (true, _) => (Some(place), Vec::new()),
            (false, Link::Loopback) => (Some(place), vec![place]),
            (false, _) => (None, vec![place]),
        };
        if let (true, Some(key)) = (frame.is_sent(), key) {
            sent.entry(key).or_default().push(hops.len());
        }
        hops.push(Hop { time: frame.time, link, from, to, is_lost: false, is_repeated: false, packet });
    }
    for hop in &mut hops {
        let ends = hop.link.map_or(&[][..], |link| &links.ends[link]);
        let to_one = hop.packet.ethernet().is_some_and(|ethernet| ethernet.destination.0[0] & 1 == 0);
        let may_come = hop.link.is_some_and(|link| hop.time + links.slowness[link] > until);
        hop.is_lost = to_one
            && !may_come
            && hop.from.is_some()
            && hop.to.is_empty()
            && !ends.iter().any(|end| overran(end.node));
    }
    find_repeated(&mut hops);
    hops
}

fn find_repeated(hops: &mut [Hop]) {
    let mut senders: HashMap<Place, Repeats> = HashMap::new();
    for hop in hops {
        if let Some(from) = hop.from {
            hop.is_repeated = senders.entry(from).or_default().is_repeated(&hop.packet);
        }
    }
}

/// Whether a packet is of those by which hosts find each other, or tell switches of groups: not what a test is about.
pub(super) fn is_housekeeping(packet: &Packet) -> bool {
    match (packet.arp(), packet.icmp()) {
        (Some(_), _) => true,
        (None, Some(icmp)) => icmp.is_v6 && matches!(icmp.kind, 130..=136 | 143),
        (None, None) => false,
    }
}
