//! One direction of a link: from a packet and the time at which it is sent to the times at which it arrives. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use netns_test_model::graph::{Conditions, Ecn, Icmp, Queue};

use super::fate::Row;
use super::pace::Pace;
use super::{Nanos, frame};

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and perhaps once more behind itself.
    Arrives { at: Nanos, again: Option<Nanos> },
    /// It does not.
    Lost(Lost),
}

/// Why a packet does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// By `loss`.
    Chance,
    /// The queue was full.
    Queue,
    /// By `ecn = drop`.
    Ecn,
    /// By `icmp = drop`.
    Icmp,
}

/// How many packets met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Packets that were sent.
    pub sent: u64,
    /// Packets that were lost by `loss`.
    pub lost: u64,
    /// Packets that found the queue full.
    pub overflowed: u64,
    /// Packets that came faster than the machine could pass them on: the only loss that was not declared.
    pub overrun: u64,
    /// Packets that `ecn = drop` or `icmp = drop` took out.
    pub filtered: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets that overtook others.
    pub reordered: u64,
    /// Packets in which a bit was flipped.
    pub corrupted: u64,
    /// Packets that were marked "congestion experienced" in place of being lost.
    pub marked: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Direction {
    conditions: Conditions,
    /// How fast it sends.
    pace: Pace,
    /// What the tests' code sends, and what kernels say on their own account: when they do is not determined, and must
    /// not change the fates of other packets.
    rows: [Row; 2],
    /// When the link can begin to send the next packet.
    free_at: Nanos,
    /// What waits for that: when each packet begins to be sent, and its length.
    waiting: VecDeque<(Nanos, u64)>,
    waiting_bytes: u64,
    /// When the last packet arrives that was not reordered.
    last_arrival: Nanos,
    tally: Tally,
}

impl Direction {
    /// Direction `side` (0 or 1) of link `link`, from `now` on.
    pub(crate) fn new(conditions: Conditions, now: Nanos, seed: u64, link: usize, side: usize) -> Self {
        let row = |class| Row::new(seed, [link as u64, side as u64, class]);
        Self {
            pace: Pace::new(&conditions, now),
            conditions,
            rows: [row(0), row(1)],
            free_at: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            last_arrival: 0,
            tally: Tally::default(),
        }
    }

    /// Changes what happens to packets from `now` on.
    pub(crate) fn set_conditions(&mut self, conditions: Conditions, now: Nanos) {
        self.pace = Pace::new(&conditions, now);
        self.conditions = conditions;
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Packets were sent, and there was no room for them to be looked at.
    pub(crate) fn missed(&mut self, packets: u64) {
        self.tally.sent += packets;
        self.tally.overrun += packets;
    }

    /// The kernel had no room for a packet that was to arrive.
    pub(crate) fn had_no_room(&mut self) {
        self.tally.overrun += 1;
    }

    /// A packet is sent at `now`.
    pub(crate) fn offer(&mut self, now: Nanos, frame: &mut [u8]) -> Fate {
        self.tally.sent += 1;
        let fate = self.fate(now, frame);
        match fate {
            Fate::Arrives { again, .. } => self.tally.duplicated += u64::from(again.is_some()),
            Fate::Lost(Lost::Chance) => self.tally.lost += 1,
            Fate::Lost(Lost::Queue) => self.tally.overflowed += 1,
            Fate::Lost(Lost::Ecn | Lost::Icmp) => self.tally.filtered += 1,
        }
        fate
    }

    fn fate(&mut self, now: Nanos, frame: &mut [u8]) -> Fate {
        let Conditions { loss, duplicate, corrupt, reorder, ecn, icmp, .. } = self.conditions;
        let row = &mut self.rows[usize::from(frame::is_chatter(frame))];
        let mut draws = row.next();
        // All is drawn, in one order, whatever comes of it: no condition changes another's fates.
        let is_picked = row.loses(loss, &mut draws);
        let is_doubled = draws.hits(duplicate);
        let is_corrupt = draws.hits(corrupt);
        let flipped = draws.below(8 * frame.len() as u64) as usize;
        let is_reordered = draws.hits(reorder);
        let shift = draws.below(u64::MAX);

        if icmp == Some(Icmp::Drop) && frame::is_icmp_error(frame) {
            return Fate::Lost(Lost::Icmp);
        }
        match ecn {
            Some(Ecn::Drop) if frame::ecn(frame) != 0 || frame::is_ecn_setup(frame) => {
                return Fate::Lost(Lost::Ecn);
            }
            Some(Ecn::Bleach) if frame::ecn(frame) != 0 => frame::set_ecn(frame, 0),
            _ => {}
        }
        let mut copies = 1 + u8::from(is_doubled);
        if is_picked {
            const CONGESTION_EXPERIENCED: u8 = 3;
            if ecn == Some(Ecn::Mark) && frame::ecn(frame) != 0 {
                frame::set_ecn(frame, CONGESTION_EXPERIENCED);
                self.tally.marked += 1;
            } else {
                copies -= 1;
            }
        }
        if copies == 0 {
            return Fate::Lost(Lost::Chance);
        }
        if is_corrupt && !frame.is_empty() {
            frame[flipped / 8] ^= 1 << (flipped % 8);
            self.tally.corrupted += 1;
        }
        let length = frame.len() as u64;
        let shift = (!is_reordered).then_some(shift);
        let Some(sent_at) = self.transmit(now, length) else { return Fate::Lost(Lost::Queue) };
        self.tally.reordered += u64::from(is_reordered);
        let at = self.arrival(sent_at, shift);
        let again = match copies {
            1 => None,
            _ => self.transmit(now, length).map(|sent_at| self.arrival(sent_at, shift)),
        };
        Fate::Arrives { at, again }
    }

    /// When a packet arrives that was sent then, and drew `shift`; `None` overtakes.
    fn arrival(&mut self, sent_at: Nanos, shift: Option<u64>) -> Nanos {
        let Some(shift) = shift else { return sent_at };
        let at = sent_at.saturating_add(delay(&self.conditions, shift));
        self.last_arrival = at.max(self.last_arrival);
        self.last_arrival
    }

    /// When the last bit of a packet has left; `None` if the queue is full.
    fn transmit(&mut self, now: Nanos, length: u64) -> Option<Nanos> {
        if matches!(self.pace, Pace::Any) {
            return Some(now);
        }
        while let Some(&(begins_at, length)) = self.waiting.front()
            && begins_at <= now
        {
            self.waiting.pop_front();
            self.waiting_bytes -= length;
        }
        let begins_at = self.free_at.max(now);
        let is_full = match self.conditions.queue.unwrap_or(Queue::DEFAULT) {
            Queue::Time(time) => begins_at - now >= nanos(time),
            Queue::Bytes(bytes) => self.waiting_bytes >= bytes,
            Queue::Packets(packets) => self.waiting.len() as u64 >= packets,
            _ => unreachable!("this version has no other"),
        };
        if is_full {
            return None;
        }
        if begins_at > now {
            self.waiting.push_back((begins_at, length));
            self.waiting_bytes += length;
        }
        self.free_at = self.pace.end(begins_at, length);
        Some(self.free_at)
    }
}

/// The delay that a packet has which drew `shift`.
fn delay(conditions: &Conditions, shift: u64) -> Nanos {
    let [delay, jitter] = [conditions.delay, conditions.jitter].map(|time| nanos(time.unwrap_or_default()));
    let span = u128::from(jitter) * 2 + 1;
    let drawn = ((u128::from(shift) * span) >> 64) as Nanos;
    (delay + drawn).saturating_sub(jitter)
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use netns_test_model::graph::{Burst, Percent, Rate, Trace};

    use super::*;

    const MS: Nanos = 1_000_000;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    fn direction(conditions: Conditions) -> Direction {
        Direction::new(conditions, 0, 7, 0, 0)
    }

    /// An IPv4 packet of UDP, of so many bytes with all headers, capable of ECN or not.
    fn packet(length: usize, ecn: u8) -> Vec<u8> {
        let mut frame = vec![0; length.max(42)];
        frame[12..16].copy_from_slice(&[0x08, 0x00, 0x45, ecn]);
        frame[23] = 17;
        frame
    }

    fn offer(direction: &mut Direction, now: Nanos) -> Fate {
        direction.offer(now, &mut packet(1000, 0))
    }

    fn arrives(at: Nanos) -> Fate {
        Fate::Arrives { at, again: None }
    }

    /// How many of 100,000 packets met the fate that `of` counts.
    fn share(conditions: Conditions, of: impl Fn(Tally) -> u64) -> f64 {
        let mut direction = direction(conditions);
        (0..100_000).for_each(|now| _ = offer(&mut direction, now));
        of(direction.tally()) as f64 / 1000.0
    }

    #[test]
    fn a_bare_link_does_nothing() {
        let mut direction = direction(Conditions::new());
        assert_eq!(offer(&mut direction, 5), arrives(5));
        assert_eq!(direction.tally(), Tally { sent: 1, ..Tally::default() });
    }

    #[test]
    fn the_delay_varies_evenly_and_keeps_the_order() {
        let mut direction = direction(Conditions::new().delay(ms(20)).jitter(ms(2)));
        let arrivals: Vec<Nanos> = (0..1000)
            .map(|number| match offer(&mut direction, number * 10 * MS) {
                Fate::Arrives { at, again: None } => at - number * 10 * MS,
                fate => panic!("{fate:?}"),
            })
            .collect();
        assert!(arrivals.iter().all(|at| (18 * MS..=22 * MS).contains(at)));
        let below = arrivals.iter().filter(|at| **at < 20 * MS).count();
        assert!((430..=570).contains(&below), "{below} of 1000 come early");
        let mut last = 0;
        for now in 0..1000 {
            let Fate::Arrives { at, .. } = offer(&mut direction, 100_000 * MS + now) else {
                panic!("none is lost")
            };
            assert!(at >= last, "jitter alone reorders nothing");
            last = at;
        }
    }

    #[test]
    fn shares_are_as_declared() {
        // Five standard deviations: these draws are always the same ones, anyway.
        let near = |share: f64, declared: f64| {
            let deviation = (declared * (100.0 - declared) / 100_000.0).sqrt();
            assert!((share - declared).abs() <= 5.0 * deviation, "{share} % for {declared} %");
        };
        for declared in [0.1, 1.0, 20.0, 100.0] {
            near(share(Conditions::new().loss(Percent(declared)), |tally| tally.lost), declared);
            near(share(Conditions::new().duplicate(Percent(declared)), |tally| tally.duplicated), declared);
            near(share(Conditions::new().corrupt(Percent(declared)), |tally| tally.corrupted), declared);
            let reorder = Conditions::new().delay(ms(1)).reorder(Percent(declared));
            near(share(reorder, |tally| tally.reordered), declared);
        }
        assert_eq!(share(Conditions::new().loss(Percent(0.0)), |tally| tally.lost), 0.0);
    }

    #[test]
    fn bursts_are_as_long_and_as_many_as_declared() {
        let mut direction = direction(Conditions::new().loss(Burst::new(Percent(1.0), Percent(25.0))));
        let lost: Vec<bool> =
            (0..400_000).map(|now| offer(&mut direction, now) == Fate::Lost(Lost::Chance)).collect();
        let all = lost.iter().filter(|lost| **lost).count() as f64;
        let bursts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64;
        assert!((all / 400_000.0 - 1.0 / 26.0).abs() < 0.003, "{all} lost");
        assert!((all / bursts - 4.0).abs() < 0.2, "{} in a burst", all / bursts);
    }

    #[test]
    fn a_rate_spaces_packets_and_its_queue_is_bounded() {
        // 1000 bytes take 1 ms.
        let rate = Conditions::new().rate(Rate::mbit(8));
        let mut in_time = direction(rate.clone().queue(ms(3)));
        let fates: Vec<Fate> = (0..5).map(|_| offer(&mut in_time, 0)).collect();
        let lost = Fate::Lost(Lost::Queue);
        assert_eq!(fates, [arrives(MS), arrives(2 * MS), arrives(3 * MS), lost, lost]);
        assert_eq!(offer(&mut in_time, MS), arrives(4 * MS));
        assert_eq!(offer(&mut in_time, 10 * MS), arrives(11 * MS));
        for queue in [Queue::Packets(2), Queue::Bytes(2000)] {
            let mut bounded = direction(rate.clone().queue(queue));
            let fates: Vec<Fate> = (0..5).map(|_| offer(&mut bounded, 0)).collect();
            assert_eq!(fates, [arrives(MS), arrives(2 * MS), arrives(3 * MS), lost, lost], "{queue:?}");
        }
        let mut default = direction(rate);
        assert_eq!((0..200).filter(|_| offer(&mut default, 0) != lost).count(), 100);
    }

    #[test]
    fn packets_wait_for_the_end_of_an_outage_as_far_as_the_queue_goes() {
        let trace = Trace::new([(Rate::mbit(8), ms(2)), (Rate::bit(0), ms(10))]);
        let conditions = Conditions::new().trace(trace.clone()).queue(Queue::Packets(2));
        let mut direction = direction(conditions);
        let fates: Vec<Fate> = (0..5).map(|_| offer(&mut direction, MS)).collect();
        let lost = Fate::Lost(Lost::Queue);
        assert_eq!(fates, [arrives(2 * MS), arrives(13 * MS), arrives(14 * MS), lost, lost]);
        // The trace begins anew with new conditions.
        direction.set_conditions(Conditions::new().trace(trace), 20 * MS);
        assert_eq!(offer(&mut direction, 21 * MS), arrives(22 * MS));
    }

    #[test]
    fn what_is_reordered_overtakes() {
        let mut direction = direction(Conditions::new().delay(ms(5)).reorder(Percent(30.0)));
        let fates: Vec<Fate> = (0..100).map(|_| offer(&mut direction, MS)).collect();
        assert!(fates.iter().all(|fate| [arrives(MS), arrives(6 * MS)].contains(fate)));
        assert_eq!(
            fates.iter().filter(|fate| **fate == arrives(MS)).count() as u64,
            direction.tally().reordered
        );
    }

    #[test]
    fn ecn_is_marked_bleached_or_dropped() {
        let offer = |conditions: Conditions, ecn: u8| {
            let mut frame = packet(100, ecn);
            let fate = direction(conditions).offer(0, &mut frame);
            (fate, frame::ecn(&frame))
        };
        let all = Conditions::new().loss(Percent(100.0));
        assert_eq!(offer(all.clone().ecn(Ecn::Mark), 2), (arrives(0), 3));
        assert_eq!(offer(all.clone().ecn(Ecn::Mark), 0).0, Fate::Lost(Lost::Chance));
        assert_eq!(offer(all, 2).0, Fate::Lost(Lost::Chance));
        assert_eq!(offer(Conditions::new().ecn(Ecn::Bleach), 1), (arrives(0), 0));
        assert_eq!(offer(Conditions::new().ecn(Ecn::Drop), 1).0, Fate::Lost(Lost::Ecn));
        assert_eq!(offer(Conditions::new().ecn(Ecn::Drop), 0).0, arrives(0));
    }

    #[test]
    fn fates_follow_the_seed_the_link_and_the_direction_whatever_else_is_sent() {
        let lossy = Conditions::new().loss(Percent(50.0));
        let fates = |seed, link, side, chatter: bool| -> Vec<Fate> {
            let mut direction = Direction::new(lossy.clone(), 0, seed, link, side);
            let fates = (0..64).map(|_| {
                if chatter {
                    // ARP.
                    direction.offer(0, &mut [0; 60]);
                }
                offer(&mut direction, 0)
            });
            fates.collect()
        };
        let first = fates(1, 0, 0, false);
        assert_eq!(first, fates(1, 0, 0, true));
        for other in [fates(2, 0, 0, false), fates(1, 1, 0, false), fates(1, 0, 1, false)] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn one_condition_does_not_change_the_fates_by_another() {
        let lost = |conditions: Conditions| -> Vec<bool> {
            let mut direction = direction(conditions.loss(Percent(30.0)));
            (0..200).map(|now| offer(&mut direction, now) == Fate::Lost(Lost::Chance)).collect()
        };
        let more = Conditions::new().delay(ms(9)).jitter(ms(3)).corrupt(Percent(10.0)).reorder(Percent(5.0));
        assert_eq!(lost(Conditions::new()), lost(more));
    }
}
