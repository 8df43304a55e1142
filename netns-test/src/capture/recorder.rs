//! The thread that empties the taps of all tests of the process.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::recording::Recording;
use crate::error::{Doing, Error};
use crate::sys::packets::{self, Buffers};

/// How often taps are emptied, and how often where much passes: their queues have room for a few hundred packets.
const TICK: Duration = Duration::from_millis(3);
const BUSY_TICK: Duration = Duration::from_micros(500);

/// From how many packets in a tick on a tap is busy.
const MUCH: usize = 64;

/// The most of a processor that it takes: one part in so many.
const SHARE: u32 = 25;

static RECORDINGS: Mutex<Vec<Weak<Recording>>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

fn recordings() -> MutexGuard<'static, Vec<Weak<Recording>>> {
    RECORDINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread, if it does not run. The calling thread must be in the host's namespaces, where that one stays.
pub(crate) fn start() -> Result<(), Error> {
    // Errors are told each time.
    static STARTED: OnceLock<OwnedFd> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if STARTED.get().is_none() {
        let timestamps = packets::keep_timestamps().doing(|| "have the kernel note the times of packets")?;
        let spawned = thread::Builder::new().name("netns-test".to_owned()).spawn(record);
        spawned.doing(|| "start the thread that records packets")?;
        // Nobody else is here.
        STARTED.get_or_init(|| timestamps);
    }
    Ok(())
}

/// Has a recording's taps emptied, until it is dropped.
pub(crate) fn add(recording: &Arc<Recording>) {
    let mut recordings = recordings();
    let was_idle = recordings.is_empty();
    recordings.push(Arc::downgrade(recording));
    if was_idle {
        CHANGED.notify_one();
    }
}

fn record() {
    let mut buffers = Buffers::new();
    loop {
        let mut waiting = recordings();
        waiting.retain(|recording| recording.strong_count() > 0);
        let waiting = CHANGED.wait_while(waiting, |recordings| recordings.is_empty());
        let running: Vec<Weak<Recording>> = waiting.unwrap_or_else(PoisonError::into_inner).clone();
        let started = Instant::now();
        let read = running.iter().filter_map(Weak::upgrade).map(|recording| recording.drain(&mut buffers));
        let tick = if read.max() > Some(MUCH) { BUSY_TICK } else { TICK };
        thread::sleep(tick.max(started.elapsed() * (SHARE - 1)));
    }
}
