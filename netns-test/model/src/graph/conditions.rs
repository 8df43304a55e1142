//! What a link does to packets, and the one check of it.

use std::fmt;
use std::time::Duration;

use super::Trace;

/// What a link does to the packets of one direction.
///
/// What is not said does not happen. Every packet is an Ethernet frame with its header of 14 bytes, and no larger than the
/// MTU: segmentation offload is off on links with conditions. A packet meets, in this order: [`icmp`](Self::icmp) and
/// [`ecn`](Self::ecn), [`loss`](Self::loss), [`duplicate`](Self::duplicate), [`corrupt`](Self::corrupt), then the queue
/// of [`rate`](Self::rate) or [`trace`](Self::trace), then [`delay`](Self::delay).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Conditions {
    /// How long a packet is on its way.
    pub delay: Option<Duration>,
    /// By how much that varies.
    pub jitter: Option<Duration>,
    /// Which packets are lost.
    pub loss: Option<Loss>,
    /// The share of packets that arrive twice.
    pub duplicate: Option<Percent>,
    /// The share of packets that are not delayed, and overtake those that are.
    pub reorder: Option<Percent>,
    /// The share of packets in which one bit is flipped.
    pub corrupt: Option<Percent>,
    /// How much passes in a second.
    pub rate: Option<Rate>,
    /// The rate, where it changes over time.
    pub trace: Option<Trace>,
    /// How much waits for its turn at that rate.
    pub queue: Option<Queue>,
    /// What becomes of Explicit Congestion Notification.
    pub ecn: Option<Ecn>,
    /// What becomes of ICMP's error messages.
    pub icmp: Option<Icmp>,
}

impl Conditions {
    /// A link that does nothing to packets.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a packet is on its way.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay: Some(delay), ..self }
    }

    /// By how much the delay varies: each packet's is drawn evenly from `delay - jitter` to `delay + jitter`.
    ///
    /// Packets do not overtake one another by it: what would arrive before an earlier one waits for that. It goes with
    /// [`delay`](Self::delay), and is at most that long.
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter: Some(jitter), ..self }
    }

    /// Which packets are lost: a [`Percent`] of them, each on its own, or a [`Burst`].
    #[must_use]
    pub fn loss(self, loss: impl Into<Loss>) -> Self {
        Self { loss: Some(loss.into()), ..self }
    }

    /// The share of packets that arrive twice, one copy at once behind the other.
    #[must_use]
    pub fn duplicate(self, share: Percent) -> Self {
        Self { duplicate: Some(share), ..self }
    }

    /// The share of packets that are not delayed, and so overtake those that are. It goes with [`delay`](Self::delay).
    #[must_use]
    pub fn reorder(self, share: Percent) -> Self {
        Self { reorder: Some(share), ..self }
    }

    /// The share of packets in which one bit, anywhere in the frame, is flipped. Most of them are dropped where they arrive,
    /// by a checksum.
    #[must_use]
    pub fn corrupt(self, share: Percent) -> Self {
        Self { corrupt: Some(share), ..self }
    }

    /// How much passes in a second, frames with their Ethernet header.
    #[must_use]
    pub fn rate(self, rate: Rate) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// A rate that changes over time, in place of one [`rate`](Self::rate). It begins when the conditions begin to hold: with the
    /// network, or when a test changes them.
    ///
    /// The wire in user space follows it exactly; the kernel's cannot, because its tbf gives every new rate a full bucket.
    #[must_use]
    pub fn trace(self, trace: Trace) -> Self {
        Self { trace: Some(trace), ..self }
    }

    /// How much waits for its turn at [`rate`](Self::rate) or [`trace`](Self::trace): what finds more before it is dropped.
    /// [`Queue::DEFAULT`] (100 ms) unless it is said.
    #[must_use]
    pub fn queue(self, queue: impl Into<Queue>) -> Self {
        Self { queue: Some(queue.into()), ..self }
    }

    /// What becomes of Explicit Congestion Notification (RFC 3168).
    #[must_use]
    pub fn ecn(self, ecn: Ecn) -> Self {
        Self { ecn: Some(ecn), ..self }
    }

    /// What becomes of ICMP's error messages.
    #[must_use]
    pub fn icmp(self, icmp: Icmp) -> Self {
        Self { icmp: Some(icmp), ..self }
    }

    /// These, and what `more` says in their place.
    #[must_use]
    pub fn with(self, more: &Self) -> Self {
        // One rate is said in place of the other.
        let (rate, trace) = match (&more.rate, &more.trace) {
            (None, None) => (self.rate, self.trace),
            (rate, trace) => (*rate, trace.clone()),
        };
        Self {
            delay: more.delay.or(self.delay),
            jitter: more.jitter.or(self.jitter),
            loss: more.loss.or(self.loss),
            duplicate: more.duplicate.or(self.duplicate),
            reorder: more.reorder.or(self.reorder),
            corrupt: more.corrupt.or(self.corrupt),
            rate,
            trace,
            queue: more.queue.or(self.queue),
            ecn: more.ecn.or(self.ecn),
            icmp: more.icmp.or(self.icmp),
        }
    }

    /// Whether something is said under this key.
    pub(super) fn says(&self, key: &str) -> bool {
        match key {
            "delay" => self.delay.is_some(),
            "jitter" => self.jitter.is_some(),
            "loss" => self.loss.is_some(),
            "duplicate" => self.duplicate.is_some(),
            "reorder" => self.reorder.is_some(),
            "corrupt" => self.corrupt.is_some(),
            "rate" => self.rate.is_some(),
            "trace" => self.trace.is_some(),
            "queue" => self.queue.is_some(),
            "ecn" => self.ecn.is_some(),
            "icmp" => self.icmp.is_some(),
            _ => false,
        }
    }

    /// Whether a packet passes as over a bare link.
    pub fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether chance decides on packets.
    pub fn are_random(&self) -> bool {
        let shares = [self.duplicate, self.reorder, self.corrupt];
        self.loss.is_some() || self.jitter.is_some() || shares.iter().any(Option::is_some)
    }

    /// Whether the kernel's netem and tbf can do it; if not, by which of the keys they cannot.
    pub fn beyond_kernel(&self) -> Option<&'static str> {
        match (self.ecn, self.icmp) {
            (Some(Ecn::Bleach), _) => Some("ecn = bleach"),
            (Some(Ecn::Drop), _) => Some("ecn = drop"),
            (_, Some(Icmp::Drop)) => Some("icmp = drop"),
            _ if self.trace.is_some() => Some("trace"),
            _ => None,
        }
    }

    /// What is wrong with them: the key, and the words about it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn check(&self) -> Result<(), Vec<(&'static str, String)>> {
        let mut wrong: Vec<(&'static str, String)> = Vec::new();
        let mut shares = vec![
            ("duplicate", "duplicate", self.duplicate),
            ("reorder", "reorder", self.reorder),
            ("corrupt", "corrupt", self.corrupt),
        ];
        match self.loss {
            None => {}
            Some(Loss::Uniform(share)) => shares.push(("loss", "loss", Some(share))),
            Some(Loss::Burst(Burst { enter, leave, bad, good })) => {
                let all = [("enter", enter), ("leave", leave), ("bad", bad), ("good", good)];
                shares.extend(all.map(|(word, share)| ("loss", word, Some(share))));
                if leave == Percent(0.0) {
                    let message = "`leave = 0%` never ends: write `leave = 25%` for bursts of 4 packets";
                    wrong.push(("loss", message.to_owned()));
                }
            }
        }
        for (key, word, share) in shares {
            match share {
                Some(Percent(share)) if share > 100.0 => {
                    wrong.push((
                        key,
                        format!("`{word} = {share}%` is more than all packets: write at most `100%`"),
                    ));
                }
                Some(Percent(share)) if share.is_nan() || share < 0.0 => {
                    wrong.push((key, format!("`{word} = {share}%` is no share of packets: write `1%`")));
                }
                _ => {}
            }
        }
        match (self.delay, self.jitter) {
            (None, Some(_)) => wrong.push((
                "jitter",
                "`jitter` varies a delay, and there is none: write `delay`, too".to_owned(),
            )),
            (Some(delay), Some(jitter)) if jitter > delay => wrong.push((
                "jitter",
                format!(
                    "`jitter = {}` is longer than `delay = {}`: a packet would arrive before it was sent",
                    Time(jitter),
                    Time(delay)
                ),
            )),
            _ => {}
        }
        for (key, time) in [("delay", self.delay), ("jitter", self.jitter)] {
            if let Some(time) = time.filter(|time| *time > MOST_DELAY) {
                wrong.push((key, format!("`{key} = {}` is too long: a link has at most `1h`", Time(time))));
            }
        }
        if self.reorder.is_some() && self.delay.is_none() {
            let message =
                "`reorder` lets packets overtake those that are delayed, and none are: write `delay`, too";
            wrong.push(("reorder", message.to_owned()));
        }
        match self.rate {
            Some(Rate(0)) => wrong.push((
                "rate",
                "`rate = 0` lets nothing pass: write `loss = 100%` if that is meant".to_owned(),
            )),
            Some(rate) if rate.0 > MOST_RATE => {
                wrong.push(("rate", format!("`rate = {rate}` is too fast: a link has at most `100gbit`")));
            }
            None if self.queue.is_some() && self.trace.is_none() => wrong.push((
                "queue",
                "`queue` is what waits for its turn at a `rate`, and there is none: write `rate`, too"
                    .to_owned(),
            )),
            _ => {}
        }
        if let Some(trace) = &self.trace {
            if self.rate.is_some() {
                let message = "`rate` and `trace` both say how much passes: remove one";
                wrong.push(("trace", message.to_owned()));
            }
            wrong.extend(trace.check(Rate(MOST_RATE)).err().map(|message| ("trace", message)));
        }
        if matches!(self.queue, Some(Queue::Time(Duration::ZERO) | Queue::Bytes(0) | Queue::Packets(0))) {
            let message =
                "a queue of nothing drops all that does not find the link idle: write `queue = 10ms`";
            wrong.push(("queue", message.to_owned()));
        }
        if self.ecn == Some(Ecn::Mark) && self.loss.is_none() {
            let message =
                "`ecn = mark` marks the packets that `loss` picks, and there is none: write `loss`, too";
            wrong.push(("ecn", message.to_owned()));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// The longest delay of a link.
const MOST_DELAY: Duration = Duration::from_secs(3600);

/// The fastest rate of a link, in bits per second.
const MOST_RATE: u64 = 100_000_000_000;

/// As they are written in the attribute: `delay = 20ms, loss = 1%`.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.delay.map(|delay| format!("delay = {}", Time(delay))));
        parts.extend(self.jitter.map(|jitter| format!("jitter = {}", Time(jitter))));
        parts.extend(self.loss.map(|loss| format!("loss = {loss}")));
        parts.extend(self.duplicate.map(|share| format!("duplicate = {share}")));
        parts.extend(self.reorder.map(|share| format!("reorder = {share}")));
        parts.extend(self.corrupt.map(|share| format!("corrupt = {share}")));
        parts.extend(self.rate.map(|rate| format!("rate = {rate}")));
        parts.extend(self.trace.iter().map(|trace| format!("trace = {trace}")));
        parts.extend(self.queue.map(|queue| format!("queue = {queue}")));
        parts.extend(self.ecn.map(|ecn| format!("ecn = {}", ecn.name())));
        parts.extend(self.icmp.map(|icmp| format!("icmp = {}", icmp.name())));
        f.write_str(&parts.join(", "))
    }
}

/// A share of packets: `Percent(1.5)` is `1.5%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// Which packets are lost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// A share of them, each packet on its own.
    Uniform(Percent),
    /// Several in a row.
    Burst(Burst),
}

impl From<Percent> for Loss {
    fn from(share: Percent) -> Self {
        Self::Uniform(share)
    }
}

impl From<Burst> for Loss {
    fn from(burst: Burst) -> Self {
        Self::Burst(burst)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform(share) => share.fmt(f),
            Self::Burst(burst) => burst.fmt(f),
        }
    }
}

/// Loss in bursts, by the model of Gilbert and Elliott: the link is good or bad, and may change with every packet.
///
/// A bad stretch has `100 / leave` packets in the mean; `enter / (enter + leave)` of all packets meet a bad link.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Burst {
    /// How often a packet finds the link good and leaves it bad.
    pub enter: Percent,
    /// How often a packet finds the link bad and leaves it good.
    pub leave: Percent,
    /// The share that is lost while it is bad.
    pub bad: Percent,
    /// The share that is lost while it is good.
    pub good: Percent,
}

impl Burst {
    /// All packets are lost while the link is bad, none while it is good.
    pub fn new(enter: Percent, leave: Percent) -> Self {
        Self { enter, leave, bad: Percent(100.0), good: Percent(0.0) }
    }

    /// The share that is lost while the link is bad.
    #[must_use]
    pub fn bad(self, bad: Percent) -> Self {
        Self { bad, ..self }
    }

    /// The share that is lost while the link is good.
    #[must_use]
    pub fn good(self, good: Percent) -> Self {
        Self { good, ..self }
    }
}

impl fmt::Display for Burst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "burst(enter = {}, leave = {}", self.enter, self.leave)?;
        if self.bad != Percent(100.0) {
            write!(f, ", bad = {}", self.bad)?;
        }
        if self.good != Percent(0.0) {
            write!(f, ", good = {}", self.good)?;
        }
        f.write_str(")")
    }
}

/// A number of bits in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// So many bits in a second.
    pub const fn bit(bits: u64) -> Self {
        Self(bits)
    }

    /// So many thousand bits in a second.
    pub const fn kbit(kilobits: u64) -> Self {
        Self(kilobits.saturating_mul(1000))
    }

    /// So many million bits in a second.
    pub const fn mbit(megabits: u64) -> Self {
        Self(megabits.saturating_mul(1_000_000))
    }

    /// So many thousand million bits in a second.
    pub const fn gbit(gigabits: u64) -> Self {
        Self(gigabits.saturating_mul(1_000_000_000))
    }

    /// The number of bits in a second.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            // `0bit` is no token of Rust's: `0b` begins a binary number.
            0 => (0, "mbit"),
            bits if bits % 1000 != 0 => (bits, "bit"),
            bits if bits % 1_000_000 != 0 => (bits / 1000, "kbit"),
            bits if bits % 1_000_000_000 != 0 => (bits / 1_000_000, "mbit"),
            bits => (bits / 1_000_000_000, "gbit"),
        };
        write!(f, "{number}{unit}")
    }
}

/// How much waits for its turn: a packet that finds more than this before it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Queue {
    /// As much as passes in this time.
    Time(Duration),
    /// So many bytes.
    Bytes(u64),
    /// So many packets.
    Packets(u64),
}

impl Queue {
    /// What a link with a rate has unless it says otherwise: 100 ms.
    pub const DEFAULT: Self = Self::Time(Duration::from_millis(100));
}

impl From<Duration> for Queue {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(time) => Time(*time).fmt(f),
            Self::Bytes(bytes) => write!(f, "{bytes}bytes"),
            Self::Packets(packets) => write!(f, "{packets}packets"),
        }
    }
}

/// What becomes of Explicit Congestion Notification (RFC 3168).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ecn {
    /// It passes as it is.
    Pass,
    /// Of the packets that `loss` picks, those that are capable of it are marked ("congestion experienced") and not lost.
    Mark,
    /// It is taken off: every packet goes on as one that is not capable of it.
    Bleach,
    /// Packets that use it are dropped, and the SYN of a TCP connection that asks for it.
    Drop,
}

impl Ecn {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Pass, Self::Mark, Self::Bleach, Self::Drop];

    /// The word that declares it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Mark => "mark",
            Self::Bleach => "bleach",
            Self::Drop => "drop",
        }
    }
}

/// What becomes of ICMP's error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Icmp {
    /// They pass.
    Pass,
    /// They vanish: among them "fragmentation needed" and "packet too big", so that a smaller MTU further on is a black hole
    /// (RFC 2923). Echo requests and replies pass, and so does what IPv6 needs to find its neighbours.
    Drop,
}

impl Icmp {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Pass, Self::Drop];

    /// The word that declares it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        }
    }
}

/// What does to packets what a link's conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wire {
    /// The kernel: netem and tbf.
    Kernel,
    /// A thread of the test.
    User,
}

impl Wire {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Kernel, Self::User];

    /// The word that declares it: `kernel` or `user`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

/// A duration as it is written in the attribute.
pub(super) struct Time(pub(super) Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{:?}", self.0).replace('µ', "u"))
    }
}
