//! A rate that changes over time, by steps of its own or as mahimahi has recorded it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Rate, Time};

/// A rate that changes over time: each for so long, one after the other, and from the beginning again.
///
/// A rate of zero is an outage: packets wait for its end.
///
/// ```
/// # use std::time::Duration;
/// # use netns_test_model::graph::{Rate, Trace};
/// let trace = Trace::new([(Rate::mbit(20), Duration::from_secs(2)), (Rate::bit(0), Duration::from_millis(500))]);
/// assert_eq!(trace.to_string(), "[20mbit for 2s, 0mbit for 500ms]");
/// assert_eq!(trace.mean(), Rate::mbit(16));
/// assert_eq!(trace.duration(), Duration::from_millis(2500));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(Arc<[(Rate, Duration)]>);

/// The bytes that pass by one opportunity of mahimahi: a full-sized packet, with its Ethernet header.
const OPPORTUNITY: u64 = 1514;

/// The longest step.
const MOST_STEP: Duration = Duration::from_secs(3600);

impl Trace {
    /// These rates, each for so long.
    pub fn new(steps: impl IntoIterator<Item = (Rate, Duration)>) -> Self {
        Self(steps.into_iter().collect())
    }

    /// A trace in the format of mahimahi's `mm-link`: each line is a number of milliseconds since the beginning, in rising order,
    /// at which one full-sized packet can pass (a frame of 1514 bytes); the last is where it begins again.
    ///
    /// A millisecond with three lines is one at the rate of three such packets. What passes in a
    /// millisecond is what mahimahi lets pass; within it packets are spaced evenly, and one may begin in an opportunity and end in the next.
    ///
    /// ```
    /// # use netns_test_model::graph::{Rate, Trace};
    /// let trace = Trace::mahimahi("1\n1\n3\n4\n")?;
    /// assert_eq!(trace.mean(), Rate::kbit(12_112));
    /// assert!(Trace::mahimahi("3\n1\n").is_err_and(|error| error.to_string().contains("line 2")));
    /// # Ok::<(), netns_test_model::graph::TraceError>(())
    /// ```
    ///
    /// # Errors
    /// A line is no number, or less than the one before; there is no line, or none later than 0.
    pub fn mahimahi(text: &str) -> Result<Self, TraceError> {
        let mut opportunities: Vec<u64> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let at = line.trim().parse().map_err(|_| {
                TraceError(format!("line {}: `{}` is no number of milliseconds", number + 1, line.trim()))
            })?;
            if opportunities.last().is_some_and(|last| *last > at) {
                return Err(TraceError(format!("line {}: {at} is earlier than the line before", number + 1)));
            }
            opportunities.push(at);
        }
        let Some(end) = opportunities.last().copied().filter(|end| *end > 0) else {
            return Err(TraceError("it has no line later than 0, and so no end".to_owned()));
        };
        // What can pass by the end of a millisecond passes in it; at 0, that is the end of the last.
        let mut steps: Vec<(Rate, Duration)> = Vec::new();
        let mut add = |count: u64, milliseconds: u64| {
            let rate = Rate::bit(count.saturating_mul(OPPORTUNITY * 8 * 1000));
            let time = Duration::from_millis(milliseconds);
            match steps.last_mut() {
                _ if milliseconds == 0 => {}
                Some((last, so_long)) if *last == rate => *so_long += time,
                _ => steps.push((rate, time)),
            }
        };
        let at_zero = opportunities.iter().take_while(|at| **at == 0).count() as u64;
        let mut now = 0;
        for same in opportunities[at_zero as usize..].chunk_by(|left, right| left == right) {
            let at = same[0];
            add(0, at - 1 - now);
            add(same.len() as u64 + if at == end { at_zero } else { 0 }, 1);
            now = at;
        }
        Ok(Self::new(steps))
    }

    /// The rates, and for how long each.
    pub fn steps(&self) -> &[(Rate, Duration)] {
        &self.0
    }

    /// After how long it begins again.
    pub fn duration(&self) -> Duration {
        self.0.iter().map(|(_, time)| *time).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// What passes in the mean.
    pub fn mean(&self) -> Rate {
        let bits = self.0.iter().map(|(rate, time)| u128::from(rate.bits()).saturating_mul(time.as_nanos()));
        let all = bits.fold(0, u128::saturating_add);
        Rate::bit((all / self.duration().as_nanos().max(1)) as u64)
    }

    /// What is wrong with it.
    pub(super) fn check(&self, most: Rate) -> Result<(), String> {
        if self.0.is_empty() {
            return Err(
                "a trace has one rate at least: write `trace = [10mbit for 2s, 1mbit for 500ms]`".to_owned()
            );
        }
        for (rate, time) in self.0.iter() {
            if time.is_zero() {
                return Err(format!("`{rate} for 0s` is no time: write `{rate} for 500ms`"));
            }
            if *time > MOST_STEP {
                return Err(format!(
                    "`{rate} for {}` is too long: a rate holds for at most `1h`",
                    Time(*time)
                ));
            }
            if *rate > most {
                return Err(format!("`{rate}` is too fast: a link has at most `{most}`"));
            }
        }
        if self.0.iter().all(|(rate, _)| rate.bits() == 0) {
            return Err("the trace lets nothing pass: write `loss = 100%` if that is meant".to_owned());
        }
        Ok(())
    }
}

/// `[10mbit for 2s, 0mbit for 500ms]`; of a long one the beginning.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let shown = self.0.iter().take(SHOWN).map(|(rate, time)| format!("{rate} for {}", Time(*time)));
        let mut parts: Vec<String> = shown.collect();
        if self.0.len() > SHOWN {
            parts.push(format!("{} more in {}", self.0.len() - SHOWN, Time(self.duration())));
        }
        write!(f, "[{}]", parts.join(", "))
    }
}

/// Why a text is no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceError(String);

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to read a trace: {}", self.0)
    }
}

impl Error for TraceError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(text: &str) -> Vec<(u64, u64)> {
        let trace = Trace::mahimahi(text).unwrap();
        let per_opportunity = OPPORTUNITY * 8000;
        trace
            .steps()
            .iter()
            .map(|(rate, time)| (rate.bits() / per_opportunity, time.as_millis() as u64))
            .collect()
    }

    #[test]
    fn mahimahis_opportunities_are_rates() {
        assert_eq!(steps("1\n"), [(1, 1)]);
        assert_eq!(steps("1\n2\n3\n"), [(1, 3)]);
        assert_eq!(steps("2\n2\n5\n\n"), [(0, 1), (2, 1), (0, 2), (1, 1)]);
        assert_eq!(steps("0\n0\n1\n2\n"), [(1, 1), (3, 1)]);
        assert_eq!(steps("0\n3\n"), [(0, 2), (2, 1)]);
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        for (text, message) in [
            ("", "no end"),
            ("0\n0\n", "no end"),
            ("1\n-2\n", "line 2: `-2` is no number of milliseconds"),
            ("1\n\n12 ms\n", "line 3: `12 ms` is no number"),
            ("5\n4\n", "line 2: 4 is earlier than the line before"),
        ] {
            let error = Trace::mahimahi(text).unwrap_err().to_string();
            assert!(error.starts_with("failed to read a trace: ") && error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_long_one_is_told_by_its_beginning() {
        let steps = (1..100).map(|rate| (Rate::mbit(rate), Duration::from_secs(1)));
        let text = Trace::new(steps).to_string();
        assert!(text.ends_with("5mbit for 1s, 94 more in 99s]"), "{text}");
    }
}
