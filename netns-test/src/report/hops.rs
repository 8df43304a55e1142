//! From frames to packets on their way: who sent each over which link, and who received it. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use netns_test_model::graph::{Conditions, Queue, Trace};

use super::data::Direction;
use crate::capture::{Frame, Link, Recorded};
use crate::packet::{Packet, Repeats};
use crate::plan::{End, Plan};

/// As many bytes as are kept of every frame, whatever is kept of others.
const COMPARED: usize = 256;

/// How long a packet may take on a machine that is busy, beside what its link makes it wait.
const WIRE: Duration = Duration::from_millis(50);

/// How much later than it is due, in nanoseconds, one may come that was changed: nothing else tells that it is the same.
const LATE: u64 = 1_000_000_000;

/// How long it may take by the queue of a link alone: one that passes nothing would be waited for without end.
const LONGEST_QUEUE: Duration = Duration::from_secs(3600);

/// A packet with its Ethernet header, where a queue is told in packets.
const FULL_SIZED: u64 = 1514;

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
    /// When the last of them received it; `time` where nobody did.
    pub(super) came: u64,
    /// It arrived with one bit flipped.
    pub(super) is_corrupted: bool,
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
    /// Which of them may have a packet wait: over the others it arrives as it is sent.
    is_slow: Vec<bool>,
}

impl Links {
    /// `directions` is what links do now, which may be more than was planned.
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
        let conditioned = &plan.wiring.conditioned;
        let planned = conditioned.iter().enumerate();
        let planned = planned.flat_map(|(index, link)| link.conditions.iter().map(move |its| (index, its)));
        let now = directions.iter().map(|direction| (direction.link, &direction.conditions));
        let mut slowness = vec![WIRE.as_nanos() as u64; ends.len()];
        let mut is_slow = vec![false; ends.len()];
        for (index, conditions) in planned.chain(now) {
            let ends = conditioned.get(index).into_iter().flat_map(|link| link.ends.iter().flatten());
            // A link to a switch is one of those that the switch joins.
            if let Some(&link) = ends.filter_map(|end| of.get(&place(end))).next() {
                let longest = (longest_way(conditions) + WIRE).as_nanos() as u64;
                slowness[link] = slowness[link].max(longest);
                is_slow[link] = true;
            }
        }
        Self { of, since, ends, slowness, is_slow }
    }

    /// Until when a packet that was sent then may arrive over a link.
    pub(super) fn due(&self, link: Option<usize>, time: u64) -> u64 {
        let slowness = link.and_then(|link| self.slowness.get(link)).copied();
        time.saturating_add(slowness.unwrap_or(WIRE.as_nanos() as u64))
    }

    /// Whether a packet that was sent then may arrive after `until`.
    pub(super) fn may_come(&self, link: Option<usize>, time: u64, until: u64) -> bool {
        link.is_some_and(|link| self.is_slow[link]) && self.due(link, time) > until
    }

    /// The link that a packet went over which passed there; `None` for one that is no more.
    fn passed(&self, place: Place, time: u64) -> Option<usize> {
        match self.since.get(&place) {
            Some(since) if time < *since => None,
            _ => self.of.get(&place).copied(),
        }
    }
}

/// How long a link may have a packet wait.
fn longest_way(conditions: &Conditions) -> Duration {
    let delay = conditions.delay.unwrap_or_default() + conditions.jitter.unwrap_or_default();
    let rate = conditions.rate.or_else(|| conditions.trace.as_ref().map(Trace::mean));
    let Some(rate) = rate else { return 2 * delay };
    let (time, bytes) = match conditions.queue.unwrap_or(Queue::DEFAULT) {
        Queue::Bytes(bytes) => (Duration::ZERO, bytes),
        Queue::Packets(packets) => (Duration::ZERO, packets.saturating_mul(FULL_SIZED)),
        Queue::Time(time) => (time, 0),
        _ => (LONGEST_QUEUE, 0),
    };
    // One is being sent, and one more fits where there is room for a byte.
    let bits = 8.0 * bytes.saturating_add(2 * FULL_SIZED) as f64;
    let sending = (bits / rate.bits().max(1) as f64).min(LONGEST_QUEUE.as_secs_f64());
    // It may begin with the worst of a trace.
    let outage = conditions.trace.as_ref().map_or(Duration::ZERO, Trace::duration);
    2 * delay + time + Duration::from_secs_f64(sending) + outage
}

/// What of the packets was not recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct Blind {
    /// From when until when not all were kept.
    pub(super) gap: Option<(u64, u64)>,
    /// The nodes whose packets came faster than they are recorded.
    pub(super) overrun: BTreeSet<usize>,
}

impl Blind {
    /// From when until when not all packets were kept.
    pub(super) fn gap(recorded: &Recorded) -> Option<(u64, u64)> {
        let from = recorded.first.last().map_or(0, |frame| frame.time);
        let until = recorded.last.front().map_or(u64::MAX, |frame| frame.time);
        (recorded.dropped > 0).then_some((from, until))
    }

    /// Whether a node may have seen something meanwhile that is not known.
    pub(super) fn hides(&self, node: usize, from: u64, until: u64) -> bool {
        let is_in_gap = self.gap.is_some_and(|(begin, end)| from <= end && until >= begin);
        is_in_gap || self.overrun.contains(&node)
    }
}

/// What is the same of a packet when it is received: the link, its length, and its bytes but for those that a router or link may rewrite
/// on the way: the traffic class with its ECN, and what follows from that, the checksum of IPv4's header.
type Likeness = (usize, usize, Vec<u8>);

fn likeness(link: usize, frame: &Frame) -> Likeness {
    let mut bytes = frame.bytes[..frame.bytes.len().min(COMPARED)].to_vec();
    match bytes.get(12..26) {
        Some([8, 0, ..]) => [15, 24, 25].into_iter().for_each(|position| bytes[position] = 0),
        Some([0x86, 0xdd, ..]) => {
            bytes[14] &= 0xf0;
            bytes[15] &= 0x0f;
        }
        _ => {}
    }
    (link, frame.length, bytes)
}

/// The packets that were sent until then and those that followed, in the order of their times. What is received later counts as far as it
/// was sent before.
pub(super) fn hops(recorded: &Recorded, links: &Links, blind: &Blind, until: u64) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    // Those that were sent, by what is the same when they are received.
    let mut sent: HashMap<Likeness, Vec<usize>> = HashMap::new();
    // Those that were received, and that nobody was seen to send like that.
    let mut strangers: Vec<usize> = Vec::new();
    for frame in recorded.frames() {
        let place = Place { node: frame.node, interface: frame.interface };
        let link = links.passed(place, frame.time);
        let key = link.map(|link| likeness(link, frame));
        let candidates = key.as_ref().and_then(|key| sent.get(key)).map_or(&[][..], Vec::as_slice);
        if !frame.is_sent() {
            let is_open = |&&hop: &&usize| !hops[hop].to.contains(&place) && hops[hop].from != Some(place);
            // Of equal ones the first that may still come, since packets keep their order; one that is late beyond that is rather the last.
            let first = candidates.partition_point(|&hop| links.due(link, hops[hop].time) < frame.time);
            let its = candidates[first..].iter().find(is_open).or(candidates.iter().rev().find(is_open));
            if let Some(&hop) = its {
                hops[hop].to.push(place);
                hops[hop].came = frame.time;
                hops[hop].is_corrupted |= is_flipped(hops[hop].packet.bytes(), &frame.bytes);
                continue;
            }
            if frame.time > until {
                continue;
            }
        }
        // On the loopback interface whoever sends receives.
        let (from, to) = match (frame.is_sent(), frame.link) {
            (true, _) => (Some(place), Vec::new()),
            (false, Link::Loopback) => (Some(place), vec![place]),
            (false, _) => (None, vec![place]),
        };
        // One that comes twice explains no other.
        if from.is_none() && link.is_some() && candidates.is_empty() {
            strangers.push(hops.len());
        }
        if let (true, Some(key)) = (frame.is_sent(), key) {
            sent.entry(key).or_default().push(hops.len());
        }
        hops.push(Hop {
            time: frame.time,
            link,
            from,
            to,
            came: frame.time,
            is_corrupted: false,
            is_lost: false,
            is_repeated: false,
            packet: frame.decode(),
        });
    }
    for hop in &mut hops {
        let ends = hop.link.map_or(&[][..], |link| &links.ends[link]);
        let to_one = hop.packet.ethernet().is_some_and(|ethernet| ethernet.destination.0[0] & 1 == 0);
        let due = links.due(hop.link, hop.time);
        hop.is_lost = to_one
            && !links.may_come(hop.link, hop.time, until)
            && hop.from.is_some()
            && hop.to.is_empty()
            && !ends.iter().any(|end| blind.hides(end.node, hop.time, due));
    }
    explain(&mut hops, links, &strangers);
    find_repeated(&mut hops);
    hops
}

/// Whether one bit of an IPv4 packet was flipped among those that routers rewrite: they rewrite the checksum with the rest.
fn is_flipped(sent: &[u8], came: &[u8]) -> bool {
    let flipped =
        sent.iter().zip(came).take(COMPARED).map(|(sent, came)| (sent ^ came).count_ones()).sum::<u32>();
    flipped == 1 && came.get(12..14) == Some(&[8, 0])
}

/// Finds what became of packets that were changed on their way: corrupted, or replaced by a test.
fn explain(hops: &mut Vec<Hop>, links: &Links, strangers: &[usize]) {
    let mut explained: BTreeSet<usize> = BTreeSet::new();
    let mut known: BTreeSet<usize> = BTreeSet::new();
    for &stranger in strangers {
        let came = &hops[stranger];
        let open = (0..stranger).rev().filter(|sent| !explained.contains(sent)).filter(|&sent| {
            let sent = &hops[sent];
            let is_in_time = links.due(sent.link, sent.time).saturating_add(LATE) >= came.time;
            is_in_time && sent.link == came.link && sent.from.is_some() && sent.to.is_empty()
        });
        let corrupted = open.clone().find(|&sent| is_one_bit_off(&hops[sent].packet, &came.packet));
        let its =
            corrupted.or_else(|| open.clone().find(|&sent| is_same_flow(&hops[sent].packet, &came.packet)));
        let Some(its) = its else { continue };
        explained.insert(its);
        let is_corrupted = corrupted.is_some();
        let (to, came) = (came.to.clone(), came.came);
        let hop = &mut hops[its];
        hop.is_lost = false;
        if is_corrupted {
            (hop.to, hop.came, hop.is_corrupted) = (to, came, true);
            known.insert(stranger);
        }
    }
    let mut index = 0..;
    hops.retain(|_| index.next().is_none_or(|index| !known.contains(&index)));
}

fn is_one_bit_off(sent: &Packet, came: &Packet) -> bool {
    let bytes = || sent.bytes().iter().zip(came.bytes()).take(COMPARED);
    sent.length() == came.length() && bytes().map(|(one, other)| (one ^ other).count_ones()).sum::<u32>() == 1
}

fn is_same_flow(sent: &Packet, came: &Packet) -> bool {
    let flow = |packet: &Packet| packet.ip().map(|ip| (ip.protocol, packet.source(), packet.destination()));
    flow(sent).is_some() && flow(sent) == flow(came)
}

fn find_repeated(hops: &mut [Hop]) {
    let mut senders: HashMap<Place, Repeats> = HashMap::new();
    for hop in hops {
        if let Some(from) = hop.from {
            hop.is_repeated = senders.entry(from).or_default().is_repeated(&hop.packet);
        }
    }
}

/// Whose address a neighbour is asked for. Whoever looks whether its own is taken hopes for no answer.
pub(super) fn question(packet: &Packet) -> Option<IpAddr> {
    if packet.ip().is_some_and(|ip| ip.source.is_unspecified()) {
        return None;
    }
    match (packet.arp(), packet.icmp()) {
        (Some(arp), _) => (arp.operation == 1).then(|| arp.target_ip.into()),
        (None, Some(icmp)) => icmp.target.filter(|_| icmp.is_v6 && icmp.kind == 135),
        (None, None) => None,
    }
}

/// Whose address a neighbour says is its own.
pub(super) fn answer(packet: &Packet) -> Option<IpAddr> {
    match (packet.arp(), packet.icmp()) {
        (Some(arp), _) => (arp.operation == 2).then(|| arp.sender_ip.into()),
        (None, Some(icmp)) => icmp.target.filter(|_| icmp.is_v6 && icmp.kind == 136),
        (None, None) => None,
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use netns_test_model::graph::Rate;
    use netns_test_model::{Family, Shape, Topology};

    use super::*;
    use crate::capture::{self, Frame, Reception, Recorded};
    use crate::plan::plan;

    const SECOND: u64 = 1_000_000_000;

    /// A datagram from the first node to the second as one of them saw it, with this traffic class and identification.
    fn frame(time: u64, is_sent: bool, class: u8, number: u8) -> Frame {
        let payload = [number; 8];
        let header = [0x45, class, 0, 36, 0, number, 0x40, 0, 64, 17, class, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let udp = [0, 9, 0, 7, 0, 16, 0, 0];
        let bytes = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], &header, &udp, &payload].concat();
        let direction = match is_sent {
            true => capture::Direction::Sent,
            false => capture::Direction::Received(Reception::Host),
        };
        let (node, length) = (usize::from(!is_sent), bytes.len());
        Frame { time, node, interface: 100, link: Link::Ethernet, direction, length, bytes: bytes.into() }
    }

    /// Which of what was sent is lost, and the hops.
    fn seen(first: &[Frame], last: &[Frame], dropped: u64) -> (Vec<bool>, Vec<Hop>) {
        let plan = plan(&Topology::new(vec!["a".to_owned(), "b".to_owned()], Shape::Star, Family::V4));
        let recorded = Recorded {
            nodes: vec!["a".to_owned(), "b".to_owned()],
            first: first.to_vec(),
            last: VecDeque::from(last.to_vec()),
            dropped,
            lost: Vec::new(),
        };
        let links = Links::of(&plan, &[]);
        let blind = Blind { gap: Blind::gap(&recorded), overrun: BTreeSet::new() };
        let hops = hops(&recorded, &links, &blind, 10 * SECOND);
        (hops.iter().filter(|hop| hop.from.is_some()).map(|hop| hop.is_lost).collect(), hops)
    }

    #[test]
    fn what_may_have_arrived_while_packets_were_not_kept_is_not_lost() {
        let first = [frame(SECOND, true, 0, 1), frame(2 * SECOND, true, 0, 2)];
        let last = [frame(4 * SECOND, false, 0, 3), frame(5 * SECOND, true, 0, 4)];
        assert_eq!(seen(&first, &last, 7).0, [true, false, true]);
        assert_eq!(seen(&first, &last, 0).0, [true, true, true]);
    }

    #[test]
    fn of_two_equal_packets_the_one_that_is_due_has_arrived() {
        let sent =
            [frame(SECOND, true, 0, 1), frame(2 * SECOND, true, 0, 1), frame(2 * SECOND + 1, true, 0, 1)];
        let received = frame(2 * SECOND + 5, false, 0, 1);
        assert_eq!(seen(&[&sent[..], &[received]].concat(), &[], 0).0, [true, false, true]);
        // Later than any of them is due.
        let received = frame(4 * SECOND, false, 0, 1);
        assert_eq!(seen(&[&sent[..], &[received]].concat(), &[], 0).0, [true, true, false]);
    }

    #[test]
    fn what_was_on_its_way_may_come_and_nothing_else() {
        let late = 10 * SECOND;
        let came = [frame(late - 1, true, 0, 1), frame(late + 1, false, 0, 1)];
        assert_eq!(seen(&came, &[], 0).0, [false]);
        let another = [frame(late - 1, true, 0, 1), frame(late + 1, false, 0, 2)];
        let (lost, hops) = seen(&another, &[], 0);
        assert_eq!((lost, hops.len()), (vec![true], 1));
    }

    #[test]
    fn a_packet_may_be_changed_on_its_way() {
        // Its traffic class, and the header's checksum with it.
        assert_eq!(seen(&[frame(SECOND, true, 2, 1), frame(SECOND + 1, false, 3, 1)], &[], 0).0, [false]);
        // One bit of what it carries, or of what routers rewrite.
        for byte in [49, 15, 24] {
            let mut corrupted = frame(SECOND + 1, false, 0, 1);
            corrupted.bytes[byte] ^= 4;
            let (lost, hops) = seen(&[frame(SECOND, true, 0, 1), corrupted], &[], 0);
            assert!(lost == [false] && hops.len() == 1 && hops[0].is_corrupted && hops[0].to.len() == 1);
        }
        // All of it; the one before is lost.
        let all = [frame(SECOND, true, 0, 1), frame(SECOND + 1, true, 0, 2), frame(SECOND + 2, false, 0, 9)];
        assert_eq!(seen(&all, &[], 0).0, [true, false]);
        // One that comes twice is no other.
        let all = [
            frame(SECOND, true, 0, 1),
            frame(SECOND + 1, true, 0, 2),
            frame(SECOND + 2, false, 0, 1),
            frame(SECOND + 3, false, 0, 1),
        ];
        assert_eq!(seen(&all, &[], 0).0, [false, true]);
    }

    #[test]
    fn a_queue_makes_packets_wait() {
        let delay = Duration::from_millis(20);
        assert_eq!(longest_way(&Conditions::new().delay(delay)), 2 * delay);
        let narrow = Conditions::new().rate(Rate::kbit(8));
        assert_eq!(longest_way(&narrow.clone().queue(Queue::Bytes(1000))), Duration::from_millis(4028));
        assert!(longest_way(&narrow) > Duration::from_secs(3));
        assert_eq!(longest_way(&narrow.queue(Queue::Packets(u64::MAX))), LONGEST_QUEUE);
    }
}
