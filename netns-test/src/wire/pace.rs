//! How long it takes to send so many bytes at a rate, or by a trace of rates. Pure.

use netns_test_model::graph::{Conditions, Rate, Trace};

use super::Nanos;

/// Bits at a rate, times nanoseconds: a bit takes as many as there are nanoseconds in a second.
type Work = u128;

/// The work of one byte.
const BYTE: Work = 8 * 1_000_000_000;

/// How fast a direction sends.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// As fast as can be.
    Any,
    At(Rate),
    By(Timetable),
}

impl Pace {
    /// What the conditions say; a trace begins at `now`.
    pub(super) fn new(conditions: &Conditions, now: Nanos) -> Self {
        match (&conditions.trace, conditions.rate) {
            (Some(trace), _) => Self::By(Timetable::new(trace, now)),
            (None, Some(rate)) => Self::At(rate),
            (None, None) => Self::Any,
        }
    }

    /// When so many bytes have left that begin to be sent at `begins_at`.
    pub(super) fn end(&self, begins_at: Nanos, bytes: u64) -> Nanos {
        match self {
            Self::Any => begins_at,
            Self::At(rate) => {
                let nanos = u128::from(bytes) * BYTE / u128::from(rate.bits().max(1));
                begins_at.saturating_add(nanos.try_into().unwrap_or(Nanos::MAX))
            }
            Self::By(timetable) => timetable.end(begins_at, bytes),
        }
    }
}

/// A trace that has begun.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    began_at: Nanos,
    /// Of each step when it ends and what is done by then, since the trace has begun.
    steps: Vec<(Nanos, Work)>,
}

impl Timetable {
    fn new(trace: &Trace, now: Nanos) -> Self {
        let (mut time, mut work) = (0, 0);
        let step = |&(rate, so_long): &(Rate, std::time::Duration)| {
            time += so_long.as_nanos() as Nanos;
            work += u128::from(rate.bits()) * so_long.as_nanos();
            (time, work)
        };
        Self { began_at: now, steps: trace.steps().iter().map(step).collect() }
    }

    /// When so many bytes have left that begin to be sent at `begins_at`.
    fn end(&self, begins_at: Nanos, bytes: u64) -> Nanos {
        // A trace that has been checked lasts, and lets something pass.
        let Some(&(period, all)) = self.steps.last().filter(|(_, all)| *all > 0) else { return Nanos::MAX };
        let since = begins_at.saturating_sub(self.began_at);
        let done = Work::from(since / period) * all + self.done_by(since % period);
        let wanted = done + Work::from(bytes.max(1)) * BYTE;
        // What is done just as it begins again has been done before.
        let rounds = (wanted - 1) / all;
        let in_round = self.time_of(wanted - rounds * all);
        let end = rounds * u128::from(period) + u128::from(in_round) + u128::from(self.began_at);
        end.try_into().unwrap_or(Nanos::MAX)
    }

    /// Where step `index` begins, and what is done by then.
    fn beginning(&self, index: usize) -> (Nanos, Work) {
        index.checked_sub(1).map_or((0, 0), |before| self.steps[before])
    }

    /// What is done by this time of one round.
    fn done_by(&self, time: Nanos) -> Work {
        let index = self.steps.partition_point(|(ends_at, _)| *ends_at <= time);
        let (from, before) = self.beginning(index);
        before + u128::from(time - from) * self.rate(index)
    }

    /// When so much of one round is done, the earliest time at which it is.
    fn time_of(&self, work: Work) -> Nanos {
        let index = self.steps.partition_point(|(_, done)| *done < work);
        let (from, before) = self.beginning(index);
        from + ((work - before).div_ceil(self.rate(index))) as Nanos
    }

    fn rate(&self, index: usize) -> u128 {
        let ((from, before), (to, after)) = (self.beginning(index), self.steps[index]);
        (after - before) / u128::from(to - from)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MS: Nanos = 1_000_000;

    fn trace(steps: &[(Rate, u64)], began_at: Nanos) -> Pace {
        let steps = steps.iter().map(|&(rate, ms)| (rate, Duration::from_millis(ms)));
        Pace::new(&Conditions::new().trace(Trace::new(steps)), began_at)
    }

    #[test]
    fn a_trace_of_one_rate_is_that_rate() {
        let (one, other) = (trace(&[(Rate::mbit(8), 7)], 5), Pace::At(Rate::mbit(8)));
        for (begins_at, bytes) in [(5, 1), (5, 1000), (9 * MS, 64_000), (700 * MS + 1, 1514)] {
            assert_eq!(one.end(begins_at, bytes), other.end(begins_at, bytes));
        }
    }

    #[test]
    fn what_passes_is_what_the_steps_let_pass() {
        // 1000 bytes in a millisecond, then none, then 2000.
        let pace = trace(&[(Rate::mbit(8), 10), (Rate::bit(0), 20), (Rate::mbit(16), 5)], 100 * MS);
        let end = |begins_at: u64, bytes| pace.end((100 + begins_at) * MS, bytes) / MS - 100;
        assert_eq!(end(0, 1000), 1);
        assert_eq!(end(0, 10_000), 10, "up to the outage");
        assert_eq!(end(9, 3000), 31, "a part before it, a part behind");
        assert_eq!(end(15, 2000), 31);
        assert_eq!(end(0, 20_000), 35, "a whole round");
        assert_eq!(end(0, 21_000), 36, "and on from the beginning");
        assert_eq!(end(35 * 1000 + 9, 3000), 35 * 1000 + 31, "a thousand rounds later");
        assert_eq!(end(0, 2_000_000), 3500);
    }

    #[test]
    fn bytes_one_by_one_take_as_long_as_all_at_once() {
        let pace =
            trace(&[(Rate::mbit(3), 1), (Rate::kbit(7), 2), (Rate::bit(0), 1), (Rate::mbit(90), 1)], 0);
        let one_by_one = (0..300).fold(0, |now, _| pace.end(now, 100));
        let at_once = pace.end(0, 30_000);
        // Each is rounded up to a nanosecond.
        assert!(one_by_one.abs_diff(at_once) <= 300 * 200, "{one_by_one} and {at_once}");
    }
}
