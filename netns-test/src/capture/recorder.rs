//! The thread that empties the taps of all tests of the process.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::recording::Recording;
use crate::error::{Doing, Error};
use crate::sys::packets::{self, Buffers};

/// How often taps are emptied, and how often where much passes, or somebody asked for all packets: their queues have room for a few
/// hundred packets.
const TICK: Duration = Duration::from_millis(3);
const BUSY_TICK: Duration = Duration::from_micros(500);

/// How long it rests at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// From how many packets in a tick on a tap is busy.
const MUCH: usize = 64;

/// The most of a processor that it takes, where nobody asked for all packets: one part in so many.
const SHARE: u32 = 25;

#[derive(Default)]
struct Recordings {
    running: Vec<Weak<Recording>>,
    /// Those whose taps are to be closed.
    retired: Vec<Arc<Recording>>,
}

static RECORDINGS: Mutex<Recordings> = Mutex::new(Recordings { running: Vec::new(), retired: Vec::new() });
static CHANGED: Condvar = Condvar::new();

fn recordings() -> MutexGuard<'static, Recordings> {
    RECORDINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread, if it does not run. The calling thread must be in the host's namespaces, where that one stays.
pub(crate) fn start() -> Result<(), Error> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let spawned = thread::Builder::new().name("netns-test".to_owned()).spawn(record);
        spawned.doing(|| "start the thread that records packets")?;
        *started = true;
    }
    Ok(())
}

/// Has the kernel note the times of packets from now on, for as long as the process lives, rather than from test to test.
pub(crate) fn keep_timestamps() -> Result<(), Error> {
    static SOCKET: OnceLock<OwnedFd> = OnceLock::new();
    if SOCKET.get().is_none() {
        let socket = packets::keep_timestamps().doing(|| "have the kernel note the times of packets")?;
        // If another thread was here first, its socket does.
        SOCKET.get_or_init(|| socket);
    }
    Ok(())
}

/// Has a recording's taps emptied, until it is dropped or retired.
pub(crate) fn add(recording: &Arc<Recording>) {
    recordings().running.push(Arc::downgrade(recording));
    CHANGED.notify_one();
}

/// Has a recording's taps closed, by a thread that is in no test.
pub(crate) fn retire(recording: Arc<Recording>) {
    recordings().retired.push(recording);
    CHANGED.notify_one();
}

fn record() {
    let mut buffers = Buffers::new();
    loop {
        let mut recordings = recordings();
        recordings.running.retain(|recording| recording.strong_count() > 0);
        let is_idle =
            |recordings: &mut Recordings| recordings.running.is_empty() && recordings.retired.is_empty();
        let mut recordings = CHANGED.wait_while(recordings, is_idle).unwrap_or_else(PoisonError::into_inner);
        let running: Vec<Arc<Recording>> = recordings.running.iter().filter_map(Weak::upgrade).collect();
        let retired = std::mem::take(&mut recordings.retired);
        drop(recordings);
        retired.iter().for_each(|recording| recording.close());
        drop(retired);
        let started = Instant::now();
        let wants_all = running.iter().any(|recording| recording.keeps_all());
        let read = running.iter().map(|recording| recording.drain(&mut buffers)).max();
        drop(running);
        if wants_all {
            thread::sleep(BUSY_TICK);
            continue;
        }
        let tick = if read > Some(MUCH) { BUSY_TICK } else { TICK };
        // A drain that was interrupted took no processor: no pause is longer than what a queue can stand.
        let pause = tick.max(started.elapsed() * (SHARE - 1)).min(LONGEST_PAUSE);
        // Until somebody wants all of them.
        let goes_on = |recordings: &mut Recordings| {
            let running: Vec<Arc<Recording>> = recordings.running.iter().filter_map(Weak::upgrade).collect();
            !running.iter().any(|recording| recording.keeps_all())
        };
        drop(CHANGED.wait_timeout_while(self::recordings(), pause, goes_on));
    }
}
