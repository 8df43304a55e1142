//! Random and damaged bytes for whatever reads bytes: it neither panics, nor goes on for ever, nor asks for a lot of memory.
//!
//! Every run has the same bytes; `NETNS_TEST_FUZZ=1000000` has that many for each reader. What fails is shown in hexadecimal digits.

use std::fmt::Write as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, thread};

use crate::sys::allocations;

/// How many inputs each reader gets.
const INPUTS: u64 = 6000;

/// How long one input may take on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers that lengths and counts go wrong at.
const ODD: [u64; 10] = [0, 1, 3, 4, 15, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, u64::MAX];

/// SplitMix64, by Sebastiano Vigna (<https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `end`; 0 if that is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// Whether it happens, in one of so many cases.
    pub(crate) fn once_in(&mut self, cases: usize) -> bool {
        self.below(cases) == 0
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.number() as u8).collect()
    }

    /// One of the samples with some damage; now and then, noise.
    fn input(&mut self, samples: &[Vec<u8>]) -> Vec<u8> {
        if samples.is_empty() || self.once_in(10) {
            return self.bytes(200);
        }
        let mut input = self.one_of(samples).clone();
        for _ in 0..=self.below(4) {
            self.damage(&mut input, samples);
        }
        input
    }

    fn damage(&mut self, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let at = self.below(input.len());
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(7) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..at, self.bytes(8))),
            3 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let other = self.one_of(samples);
                let tail = other[self.below(other.len())..].to_vec();
                input.truncate(at);
                input.extend(tail);
            }
            5 if at < input.len() => input[at] ^= 1 << self.below(8),
            _ => {
                let number = *self.one_of(&ODD);
                let bytes = if self.once_in(2) { number.to_be_bytes() } else { number.to_le_bytes() };
                let width = [1, 2, 4][self.below(3)];
                let bytes = if bytes[0] == 0 { &bytes[8 - width..] } else { &bytes[..width] };
                input.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new);
            }
        }
    }
}

/// Reads many inputs that are made of the samples.
#[track_caller]
pub(crate) fn survives(name: &str, samples: Vec<Vec<u8>>, read: impl Fn(&[u8]) + Send + 'static) {
    let inputs = env::var("NETNS_TEST_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(INPUTS);
    let current = Arc::new(Mutex::new(Vec::new()));
    let (done, told) = mpsc::channel();
    let noted = Arc::clone(&current);
    // A thread that never ends can be told, and left behind.
    let reader = thread::Builder::new().name(format!("reads {name}"));
    let reader = reader.spawn(move || {
        samples.iter().for_each(|sample| read(sample));
        let mut random = Random(7);
        for _ in 0..inputs {
            let input = random.input(&samples);
            noted.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&input);
            let largest = allocations::largest(|| read(&input));
            assert!(largest <= (64 << 10) + 64 * input.len(), "{largest} bytes were asked for at once");
            // Nobody listens any more once another input has failed.
            let _received = done.send(());
        }
    });
    reader.expect("a thread");
    let mut read = 0;
    let why = loop {
        match told.recv_timeout(PATIENCE) {
            Ok(()) => read += 1,
            Err(RecvTimeoutError::Disconnected) if read == inputs => return,
            Err(RecvTimeoutError::Disconnected) => break "fails",
            Err(RecvTimeoutError::Timeout) => break "does not end",
        }
    };
    let input = current.lock().unwrap_or_else(PoisonError::into_inner);
    let digits = input.iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(digits, "{byte:02x}");
        digits
    });
    panic!("reading {name} {why} on input {read}: {digits}");
}

/// The same of text.
#[track_caller]
fn text_survives(name: &str, samples: &[&str], read: impl Fn(&str) + Send + 'static) {
    let samples = samples.iter().map(|sample| sample.as_bytes().to_vec()).collect();
    survives(name, samples, move |bytes| read(&String::from_utf8_lossy(bytes)));
}

#[test]
fn words_of_a_declaration() {
    use netns_test_model::{Prefix, check_alias, check_name, graph, host_name, parse_duration};
    text_survives("durations", &["30s", "1.5min", "500us", "1_000ms", "18446744073709551615h"], |text| {
        let _judged = parse_duration(text);
    });
    let amounts = ["10mbit", "1.5gbit", "1_000kbit", "64kb", "3mib", "100packets", "50ms", "9e99bit"];
    text_survives("rates and queues", &amounts, |text| {
        let _judged = (graph::parse_rate(text), graph::parse_queue(text));
    });
    let prefixes = ["10.1.0.0/24", "2001:db8:7::/64", "0.0.0.0/0", "::/128", "10.0.0.1/32", "fe80::/10"];
    text_survives("prefixes", &prefixes, |text| {
        if let Ok(prefix) = Prefix::parse(text) {
            assert_eq!(Prefix::parse(&prefix.to_string()), Ok(prefix));
            assert!(prefix.contains(prefix.first()) && prefix.capacity() > 0);
        }
    });
    text_survives("names", &["web_server", "a-b.test", "xn--caf-dma", "client.eth0"], |text| {
        let _judged = (check_name(text), check_alias(text));
        assert_eq!(host_name(&host_name(text)), host_name(text));
    });
}

#[test]
fn traces_of_links() {
    use netns_test_model::graph::Trace;
    let samples = ["1\n1\n3\n4\n", "0\n0\n1\n2\n", "5\n\n18446744073709551615\n"];
    text_survives("traces", &samples, |text| {
        if let Ok(trace) = Trace::mahimahi(text) {
            assert!(!trace.steps().is_empty() && !trace.duration().is_zero());
            let _shown = (trace.mean(), trace.to_string());
        }
    });
}
