//! What the benchmarks share.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The smallest value that is not below `percent` of them (nearest rank).
pub fn percentile(samples: &[Duration], percent: usize) -> Duration {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The one in the middle; the upper one of two.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Waits until the kernel's worker has released the namespaces of processes that ended, or that takes too long. It shows as `+netns` in the
/// worker's name while it works; where kernel threads cannot be seen, a short sleep has to do.
pub fn wait_for_quiet(at_most: Duration) {
    let start = Instant::now();
    let cleans = |comm: String| comm.starts_with("kworker/") && comm.contains("+netns");
    loop {
        thread::sleep(Duration::from_millis(100));
        let Ok(processes) = fs::read_dir("/proc") else { return };
        let mut comms =
            processes.flatten().filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
        if !comms.any(cleans) || start.elapsed() > at_most {
            return;
        }
    }
}
