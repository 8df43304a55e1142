//! The rows, and the rounds in which the variants take turns.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use netns_test_tests::figures::wait_for_quiet;

use crate::floor::Floor;
use crate::ip::Ip;
use crate::least::Least;
use crate::variant::{Variant, Work};
use crate::{identity, library, sys};

/// How many network namespaces a variant makes in one process.
const HELD: usize = 512;
/// How many rounds a process does at most, however few namespaces they take.
const ROUNDS_PER_PROCESS: usize = 50;
/// How long to wait at most until the kernel has cleaned up.
const QUIET: Duration = Duration::from_secs(20);

/// One row of the table.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    work: Work,
    /// It does one of so many rounds.
    share: usize,
    /// Whether it is measured once more under load.
    pub(crate) under_load: bool,
}

pub(crate) const ROWS: [Row; 10] = [
    Row { name: "isolated test", work: Work::Isolated, share: 1, under_load: false },
    Row { name: "two nodes ready", work: Work::Ready(2), share: 1, under_load: true },
    Row { name: "TCP echo test", work: Work::Echo, share: 1, under_load: true },
    Row { name: "10 nodes ready", work: Work::Ready(10), share: 2, under_load: false },
    Row { name: "100 nodes ready", work: Work::Ready(100), share: 10, under_load: false },
    Row {
        name: "2 nodes with 10 pods",
        work: Work::Cluster { nodes: 2, pods: 5 },
        share: 5,
        under_load: false,
    },
    Row {
        name: "10 nodes with 300 pods",
        work: Work::Cluster { nodes: 10, pods: 30 },
        share: 40,
        under_load: false,
    },
    Row { name: "8 networks at once", work: Work::AtOnce, share: 2, under_load: false },
    Row { name: "first program", work: Work::Program { first: true }, share: 1, under_load: false },
    Row { name: "next program", work: Work::Program { first: false }, share: 1, under_load: false },
];

impl Row {
    /// Its rounds, if small rows do `rounds`.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        (rounds / self.share).max(rounds.min(2))
    }

    /// The rounds that one process does, less the one that is not measured.
    fn rounds_per_process(&self) -> usize {
        (HELD / self.work.namespaces()).saturating_sub(1).clamp(1, ROUNDS_PER_PROCESS)
    }
}

/// What one variant took, one duration per round.
pub(crate) struct Samples {
    pub(crate) variant: String,
    pub(crate) durations: Vec<Duration>,
}

/// Measures a row, in processes of its own. Under load the kernel is never quiet, and is not waited for.
pub(crate) fn row(row: &Row, rounds: usize, under_load: bool) -> io::Result<Vec<Samples>> {
    let index = ROWS.iter().position(|other| other.name == row.name).unwrap_or_default();
    let mut all: Vec<Samples> = Vec::new();
    let mut left = rounds;
    while left > 0 {
        let now = left.min(row.rounds_per_process());
        left -= now;
        if !under_load {
            wait_for_quiet(QUIET);
        }
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--measure", &index.to_string(), &now.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        for line in BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).lines() {
            let line = line?;
            let parsed = line.split_once(' ').and_then(|(nanos, name)| Some((nanos.parse().ok()?, name)));
            let (nanos, name) =
                parsed.ok_or_else(|| io::Error::other(format!("a measuring process said `{line}`")))?;
            let duration = Duration::from_nanos(nanos);
            match all.iter_mut().find(|samples| samples.variant == name) {
                Some(samples) => samples.durations.push(duration),
                None => all.push(Samples { variant: name.to_owned(), durations: vec![duration] }),
            }
        }
        if !child.wait()?.success() {
            return Err(io::Error::other(format!("the measuring process of `{}` failed", row.name)));
        }
    }
    Ok(all)
}

/// Does rounds of a row in this process and prints what they took, in nanoseconds.
pub(crate) fn rounds_here(row: usize, rounds: usize) -> io::Result<()> {
    identity::prepare()?;
    sys::raise_open_files()?;
    let work = ROWS.get(row).ok_or(io::ErrorKind::InvalidInput)?.work;
    let mut variants: Vec<Box<dyn Variant>> = vec![Box::new(Least), Box::new(Floor)];
    variants.extend(Ip::find().map(|ip| Box::new(ip) as Box<dyn Variant>));
    variants.extend(library::variant());
    let mut taken = vec![Vec::with_capacity(rounds); variants.len()];
    // Round 0 warms up and is not counted. Each round begins with another variant.
    for round in 0..=rounds {
        for turn in 0..variants.len() {
            let index = (round + turn) % variants.len();
            let variant = &variants[index];
            if round > 0 && !variant.takes_part(work, round - 1) || !variant.takes_part(work, 0) {
                continue;
            }
            let duration = variant
                .perform(work)
                .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", variant.name())))?;
            if round > 0 {
                taken[index].push(duration);
            }
        }
    }
    for (variant, durations) in variants.iter().zip(taken) {
        for duration in durations {
            println!("{} {}", duration.as_nanos(), variant.name());
        }
    }
    Ok(())
}
