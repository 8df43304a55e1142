//! Which panics a test has to answer for.
//!
//! A chained panic hook notes every panic of a running test, by the network namespace of its thread; whether it is still
//! there is asked for before and after each test. What becomes of a panic is told by whoever is around: [`watched`] code
//! (bodies, jobs and threads of nodes) knows for sure whether a panic came through. Elsewhere, in tasks that user code spawned and threads that it made, the frames say whether the panic is
//! on its way to code that catches it or to the end of the task or thread. A task's panic is settled when the one who
//! awaits its `JoinHandle` is woken by it; so a task that panics before its handle can have been awaited is held up, in
//! the hook, until it can.

mod hook;
mod trace;
mod watched;

use std::any::Any;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::unistd::gettid;

pub(crate) use self::hook::{ensure_hook, resume};
pub(crate) use self::watched::{Watched, watched};
use crate::network::Net;

/// The panics of one test.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    records: Mutex<Vec<Record>>,
    /// How many panics are being looked at right now.
    open: AtomicUsize,
    /// The guards under which panics are allowed: in all of the network, or in one node and in the body.
    allowing: Mutex<Vec<Option<String>>>,
    /// When the last of them had been looked at.
    looked: Mutex<Option<Instant>>,
    /// The polls of [`Watched`] futures that go on right now.
    polls: Mutex<Vec<Polling>>,
}

/// One poll of a [`Watched`] future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Polling {
    serial: u64,
    thread: i32,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) thread: String,
    /// The node's name; `None` is the body's own namespace.
    pub(crate) node: Option<String>,
    pub(crate) location: String,
    pub(crate) message: String,
    uncaught: bool,
    /// Whether [`watched`] code panicked, and when it was known what becomes of a panic of other code.
    watched: bool,
    settled: Option<Instant>,
}

/// One panic of one test.
#[derive(Clone)]
pub(crate) struct RecordRef {
    net: Arc<Net>,
    index: usize,
}

/// A panic that came through [`watched`] code.
pub(crate) struct Caught {
    pub(crate) payload: Box<dyn Any + Send>,
    record: Option<RecordRef>,
}

/// A guard under which the panics of a test's other threads and tasks do not fail it.
///
/// See [`Network::allow_panics`](crate::Network::allow_panics).
#[derive(Debug)]
#[must_use = "panics are allowed until this is dropped"]
pub struct AllowPanics {
    net: Arc<Net>,
    node: Option<String>,
}

impl AllowPanics {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        Self::begin(net, None)
    }

    /// Allows those of one node, and of what the body has of it.
    pub(crate) fn of(net: Arc<Net>, node: &str) -> Self {
        Self::begin(net, Some(node.to_owned()))
    }

    fn begin(net: Arc<Net>, node: Option<String>) -> Self {
        net.witness.allowing().push(node.clone());
        Self { net, node }
    }
}

impl Drop for AllowPanics {
    fn drop(&mut self) {
        let mut allowing = self.net.witness.allowing();
        if let Some(position) = allowing.iter().position(|node| *node == self.node) {
            allowing.swap_remove(position);
        }
    }
}

impl Witness {
    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allowing(&self) -> std::sync::MutexGuard<'_, Vec<Option<String>>> {
        self.allowing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether panics are allowed there now; `None` is the body's own namespace.
    fn allows(&self, place: Option<&str>) -> bool {
        let allows = |node: &Option<String>| node.is_none() || place.is_none() || node.as_deref() == place;
        self.allowing().iter().any(allows)
    }

    fn polls(&self) -> std::sync::MutexGuard<'_, Vec<Polling>> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every watched future that another thread polls right now is through with that, so that a handle which
    /// it awaits at once is awaited; or until it is clear that it waits for something else first.
    fn let_polls_end(&self) {
        let own = gettid().as_raw();
        let others: Vec<Polling> =
            self.polls().iter().copied().filter(|polling| polling.thread != own).collect();
        for polling in others {
            let mut last = None;
            let mut rested = 0;
            let began = Activity::of(polling.thread).map(|activity| activity.ran);
            while self.polls().contains(&polling) {
                // A thread that cannot be looked at has ended.
                let (Some(activity), Some(began)) = (Activity::of(polling.thread), began) else { break };
                rested = if !activity.runs && last == Some(activity.ran) { rested + 1 } else { 0 };
                // It blocks, perhaps for the very thread that stands here, or it spins.
                if rested >= RESTED || activity.ran.saturating_sub(began) > SPINS {
                    break;
                }
                last = Some(activity.ran);
                thread::sleep(Duration::from_micros(500));
            }
        }
    }

    /// Whether no panic is being looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until no panic is being looked at any more. Tells whether one was, or has been just now: it may be about to end
    /// whatever it unwinds.
    pub(crate) fn let_panics_be_seen(&self) -> bool {
        let began = Instant::now();
        while !self.is_quiet() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_some_and(|at| at + UNWINDING > began)
    }

    /// All panics, by number.
    pub(crate) fn all(&self) -> Vec<Record> {
        self.records().clone()
    }

    /// The panics that nobody caught, numbered.
    pub(crate) fn uncaught(&self) -> Vec<(usize, Record)> {
        self.records().iter().cloned().enumerate().filter(|(_, record)| record.uncaught).collect()
    }
}

impl Witness {
    /// Which of these panics nobody caught.
    pub(crate) fn lost(&self, index: usize) -> Option<Record> {
        self.records().get(index).filter(|record| record.uncaught).cloned()
    }

    /// A panic that nobody caught of code in a node that is not watched. One that has just been looked at may still be on its way to
    /// whoever awaits its task.
    pub(crate) fn lost_unwatched(&self, node: &str) -> Option<Record> {
        let is_over = |record: &&Record| record.settled.is_some_and(|at| at.elapsed() > UNWINDING);
        let is_there = |record: &&Record| record.node.as_deref() == Some(node);
        let is_lost = |record: &&Record| record.uncaught && !record.watched;
        self.records().iter().filter(is_there).filter(is_lost).find(is_over).cloned()
    }
}

impl RecordRef {
    fn set_uncaught(&self, uncaught: bool) {
        self.net.witness.records()[self.index].uncaught = uncaught;
    }

    fn set_settled(&self) {
        self.net.witness.records()[self.index].settled = Some(Instant::now());
    }
}

impl Caught {
    /// Somebody was told: it is theirs from here on.
    pub(crate) fn observed(self) -> Box<dyn Any + Send> {
        if let Some(record) = &self.record {
            record.set_uncaught(false);
        }
        self.payload
    }

    /// The number of its record.
    pub(crate) fn index(&self) -> Option<usize> {
        self.record.as_ref().map(|record| record.index)
    }

    /// The payload's text, as the default hook prints it.
    pub(crate) fn message(&self) -> &str {
        text(&*self.payload)
    }
}

pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("Box<dyn Any>", String::as_str),
    }
}

/// How long panics may take to be looked at: on a busy machine the names of the frames of a large program take seconds. More
/// is only needed where somebody's panic hook blocks.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long unwinding may take on a busy machine.
pub(crate) const UNWINDING: Duration = Duration::from_millis(500);

/// How often in a row a thread is seen not to run before it counts as blocked.
const RESTED: u32 = 20;

/// How long a thread runs, in nanoseconds of its processor, before it counts as spinning.
const SPINS: u64 = 500_000_000;

/// What a thread of this process is at.
struct Activity {
    runs: bool,
    /// How long it has run, in nanoseconds.
    ran: u64,
}

impl Activity {
    fn of(thread: i32) -> Option<Self> {
        // A thread that has ended has no such files.
        let file = |name: &str| fs::read_to_string(format!("/proc/self/task/{thread}/{name}")).ok();
        // proc_pid_stat(5): "tid (name) state …"; the name may hold parentheses.
        let stat = file("stat")?;
        let runs = stat.rsplit_once(") ")?.1.starts_with('R');
        // Time on the processor, time that it waited for one (Documentation/scheduler/sched-stats.rst); a kernel without
        // it has the clock's ticks in `stat`, which are too coarse: the state has to do.
        let ran = file("schedstat").and_then(|text| text.split_whitespace().next()?.parse().ok());
        Some(Self { runs, ran: ran.unwrap_or(0) })
    }
}
