//! The table.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netns_test_tests::figures::percentile;

use crate::measure::Samples;
use crate::sys;

/// The variant that the others are compared with.
const FLOOR: &str = "floor";

/// Prints the machine, the date and the columns.
pub(crate) fn print_heading(rounds: usize) {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let (user, _) = sys::user_and_group();
    println!(
        "Linux {} {}, {cores} cores, user id {user}, {}; {rounds} rounds of small rows, variants interleaved",
        sys::kernel_release(),
        std::env::consts::ARCH,
        date(SystemTime::now()),
    );
    println!(
        "{:<32} {:<11} {:>6} {:>11} {:>11} {:>11} {:>8} {:>8} {:>8}",
        "", "", "rounds", "median ms", "p90 ms", "p99 ms", "x floor", "p90/med", "p99/med"
    );
}

/// Prints what the variants took for one row.
pub(crate) fn print_row(name: &str, all: &[Samples]) {
    let summary =
        |samples: &Samples| [50, 90, 99].map(|percent| milliseconds(percentile(&samples.durations, percent)));
    let floor = all.iter().find(|samples| samples.variant == FLOOR).map(|samples| summary(samples)[0]);
    for (index, samples) in all.iter().enumerate() {
        let [median, p90, p99] = summary(samples);
        println!(
            "{:<32} {:<11} {:>6} {median:>11.3} {p90:>11.3} {p99:>11.3} {:>8.2} {:>8.2} {:>8.2}",
            if index == 0 { name } else { "" },
            samples.variant,
            samples.durations.len(),
            median / floor.unwrap_or(f64::NAN),
            p90 / median,
            p99 / median,
        );
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The day in UTC, as `2026-01-31`.
fn date(time: SystemTime) -> String {
    let days = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut rest) = (1970, days);
    while rest >= 365 + u64::from(is_leap(year)) {
        rest -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if rest < length {
            break;
        }
        rest -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", rest + 1)
}
