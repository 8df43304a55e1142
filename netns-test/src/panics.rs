//! Which panics a test has to answer for.
//!
//! A chained panic hook notes every panic of a running test, by the network namespace of its thread. What becomes of it
//! is told by whoever is around: [`watched`] code (bodies, jobs and threads of nodes) knows for sure whether a panic
//! came through. Elsewhere, in tasks that user code spawned and threads that it made, the frames say whether the panic is
//! on its way to code that catches it or to the end of the task or thread. A task's panic is settled when the one who
//! awaits its `JoinHandle` is woken by it.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::network::Net;
use crate::{registry, report};

/// The panics of one test.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    records: Mutex<Vec<Record>>,
    /// How many panics are being looked at right now.
    open: AtomicUsize,
    /// How many guards of `allow_panics` are alive.
    allowing: AtomicUsize,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) thread: String,
    /// The node's name; `None` is the body's own namespace.
    pub(crate) node: Option<String>,
    pub(crate) location: String,
    pub(crate) message: String,
    uncaught: bool,
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
}

impl AllowPanics {
    pub(crate) fn new(net: Arc<Net>) -> Self {
        net.witness.allowing.fetch_add(1, Ordering::Relaxed);
        Self { net }
    }
}

impl Drop for AllowPanics {
    fn drop(&mut self) {
        self.net.witness.allowing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Witness {
    fn records(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no panic is being looked at.
    pub(crate) fn is_quiet(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
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

impl RecordRef {
    fn set_uncaught(&self, uncaught: bool) {
        self.net.witness.records()[self.index].uncaught = uncaught;
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

fn text(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("Box<dyn Any>", String::as_str),
    }
}

thread_local! {
    /// Whether this thread is in watched code, and in which Tokio task that code runs.
    static WATCHED: Cell<Option<Option<tokio::task::Id>>> = const { Cell::new(None) };
    /// The last panic of watched code on this thread.
    static LAST: RefCell<Option<RecordRef>> = const { RefCell::new(None) };
    /// The task that died last on this thread, until something else runs here.
    static DIED: RefCell<Option<Died>> = const { RefCell::new(None) };
}

/// A task that died of a panic.
struct Died {
    record: RecordRef,
    task: tokio::task::Id,
    /// The runtime's live tasks then. The dead one counts until it has told whoever awaits it.
    alive: Option<usize>,
}

fn alive_tasks() -> Option<usize> {
    tokio::runtime::Handle::try_current().ok().map(|runtime| runtime.metrics().num_alive_tasks())
}

/// Runs `work`; a panic that comes through is uncaught until somebody is told.
pub(crate) fn watched<R>(work: impl FnOnce() -> R) -> Result<R, Caught> {
    let outer = WATCHED.replace(Some(tokio::task::try_id()));
    LAST.take();
    DIED.take();
    let result = catch_unwind(AssertUnwindSafe(work));
    WATCHED.set(outer);
    result.map_err(|payload| {
        let record = LAST.take();
        if let Some(record) = &record {
            record.set_uncaught(record.net.witness.allowing.load(Ordering::Relaxed) == 0);
        }
        Caught { payload, record }
    })
}

/// A future whose panics are [`watched`], one poll at a time.
pub(crate) struct Watched<F> {
    future: Pin<Box<F>>,
    waker: Arc<Observer>,
}

impl<F: Future> Watched<F> {
    pub(crate) fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            waker: Arc::new(Observer { next: Mutex::new(Waker::noop().clone()) }),
        }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = Result<F::Output, Caught>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.waker.next().clone_from(context.waker());
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut context = Context::from_waker(&waker);
        match watched(|| self.future.as_mut().poll(&mut context)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(caught) => Poll::Ready(Err(caught)),
        }
    }
}

/// Passes a wake on, and sees whether it is a dead task telling whoever awaits its `JoinHandle` (or a `JoinSet` of it).
///
/// Tokio's harness does so on the dead task's thread, after the panic was caught. Other wakes on that thread, a socket's
/// that the task held for instance, do not come from the harness.
struct Observer {
    next: Mutex<Waker>,
}

impl Observer {
    fn next(&self) -> std::sync::MutexGuard<'_, Waker> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Observer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A worker's loop is a task itself, so there may be another task here, but not the dead one.
        let is_past = |died: &Died| tokio::task::try_id() != Some(died.task);
        if !thread::panicking()
            && DIED.with_borrow(|died| died.as_ref().is_some_and(is_past))
            && let Some(died) = DIED.take()
            // Fewer or more: another task has ended or begun since, and this wake is that one's.
            && died.alive == alive_tasks()
            && with_frames(|frames| frames.any(is_harness))
        {
            died.record.set_uncaught(false);
        }
        let next = self.next().clone();
        next.wake();
    }
}

/// Chains the hook, once in a process.
pub(crate) fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Noted before the previous hook prints: with a backtrace that takes 100 ms.
            let noted = note(info);
            // The same goes for the network, which unwinding changes: sockets are closed by it.
            if let Some(Noted { record, watched: true }) = &noted {
                report::at_panic(&record.net, record.index);
            }
            previous(info);
            if let Some(noted) = noted {
                noted.settle();
            }
        }));
    });
}

/// A panic whose fate is not known yet; the test waits for it.
struct Noted {
    record: RecordRef,
    watched: bool,
}

fn note(info: &PanicHookInfo<'_>) -> Option<Noted> {
    // A thread whose namespace cannot be read belongs to no test.
    let place = registry::here().ok().flatten()?;
    let net = place.net.upgrade()?;
    let task = tokio::task::try_id();
    let watched = WATCHED.get().is_some_and(|outer| outer == task);
    let allowed = net.witness.allowing.load(Ordering::Relaxed) > 0;
    net.witness.open.fetch_add(1, Ordering::AcqRel);
    let record = Record {
        thread: thread::current().name().unwrap_or("<unnamed>").to_owned(),
        node: place.node.map(|index| net.plan.nodes[index].name.clone()),
        location: info.location().map_or_else(String::new, ToString::to_string),
        message: text(info.payload()).to_owned(),
        // Watched code says so when it comes through; elsewhere it counts until it is known to be caught.
        uncaught: !watched && !allowed,
    };
    let index = {
        let mut records = net.witness.records();
        records.push(record);
        records.len() - 1
    };
    Some(Noted { record: RecordRef { net, index }, watched })
}

impl Noted {
    fn settle(self) {
        let record = self.record.clone();
        if self.watched {
            LAST.set(Some(record));
        } else if record.net.witness.records()[record.index].uncaught {
            if is_caught_by_user() {
                record.set_uncaught(false);
            } else if let Some(task) = tokio::task::try_id() {
                DIED.set(Some(Died { record, task, alive: alive_tasks() }));
            }
        }
        let RecordRef { net, index } = &self.record;
        if net.witness.records()[*index].uncaught {
            report::at_panic(net, *index);
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.record.net.witness.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a panic of this thread will be caught before it ends the task or thread, told by the frames.
///
/// Unwinding stops at the first `catch_unwind`. That is the end of the task if Tokio's harness called it, the end of the
/// thread if the standard library did. Without symbols nothing is known to be caught.
fn is_caught_by_user() -> bool {
    with_frames(|frames| is_caught(frames))
}

/// The names of the calling thread's frames, innermost first; none without symbols.
fn with_frames<R>(look: impl FnOnce(&mut std::vec::IntoIter<&str>) -> R) -> R {
    let trace = Backtrace::force_capture().to_string();
    let names = trace.lines().filter_map(|line| {
        let (number, name) = line.trim_start().split_once(": ")?;
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
    });
    look(&mut names.collect::<Vec<_>>().into_iter())
}

/// The part of Tokio that polls a task, and that catches its panic.
fn is_harness(name: &str) -> bool {
    name.contains("tokio::runtime::task::")
}

fn is_caught<'a>(frames: impl Iterator<Item = &'a str>) -> bool {
    let is_end = |name: &str| {
        is_harness(name) || name.contains("__rust_begin_short_backtrace") || name.contains("std::thread::")
    };
    let is_catch = |name: &str| {
        ["panicking::try", "panicking::catch_unwind", "panic::catch_unwind", "__rust_try", "AssertUnwindSafe"]
            .iter()
            .any(|part| name.contains(part))
    };
    let mut catching = false;
    for name in frames {
        if is_end(name) {
            return false;
        }
        match is_catch(name) {
            true => catching |= !name.contains("AssertUnwindSafe"),
            false if catching => return true,
            false => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_caught;

    #[test]
    fn a_panic_in_a_task_ends_it() {
        assert!(!is_caught(
            [
                "std::panicking::panic_with_hook",
                "user::work",
                "tokio::runtime::task::core::Core<T,S>::poll",
                "std::panicking::catch_unwind",
                "tokio::runtime::task::harness::poll_future"
            ]
            .into_iter()
        ));
    }

    #[test]
    fn a_panic_in_a_task_with_inlined_frames_ends_it() {
        assert!(!is_caught(["user::work", "__rust_try", "tokio::runtime::task::raw::poll"].into_iter()));
    }

    #[test]
    fn a_panic_below_a_catch_of_the_users_is_caught() {
        assert!(is_caught(
            [
                "user::work",
                "std::panicking::try::do_call",
                "__rust_try",
                "std::panic::catch_unwind",
                "user::handler",
                "tokio::runtime::task::core::Core<T,S>::poll"
            ]
            .into_iter()
        ));
    }

    #[test]
    fn a_panic_that_ends_a_thread_is_not_caught() {
        assert!(!is_caught(
            [
                "user::work",
                "std::sys::backtrace::__rust_begin_short_backtrace",
                "std::panicking::try",
                "std::thread::Builder::spawn_unchecked_"
            ]
            .into_iter()
        ));
    }
}
