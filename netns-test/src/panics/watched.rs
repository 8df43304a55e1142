//! Code of which is known whether a panic came through, and tasks whose handles tell of theirs.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use nix::unistd::gettid;

use super::hook::note;
use super::trace::Trace;
use super::{Caught, Polling, RecordRef, text};
use crate::network::Net;

thread_local! {
    /// Whether this thread is in watched code, and in which Tokio task that code runs.
    pub(super) static WATCHED: Cell<Option<Option<tokio::task::Id>>> = const { Cell::new(None) };
    /// The last panic of watched code on this thread.
    pub(super) static LAST: RefCell<Option<RecordRef>> = const { RefCell::new(None) };
    /// The task that died last on this thread, until something else runs here.
    pub(super) static DIED: RefCell<Option<Died>> = const { RefCell::new(None) };
}

/// A task that died of a panic.
pub(super) struct Died {
    record: RecordRef,
    task: tokio::task::Id,
    /// The part of Tokio that polled it, which is compiled once for each type of task.
    poll: Option<String>,
    /// The runtime's live tasks then. The dead one counts until it has told whoever awaits it. `None` where other threads
    /// may begin and end tasks meanwhile.
    alive: Option<usize>,
}

impl Died {
    pub(super) fn of(record: RecordRef, task: tokio::task::Id) -> Self {
        let trace = Trace::capture();
        let alive = if trace.is_in_a_pool() { None } else { alive_tasks() };
        Self { record, task, poll: trace.poll().map(str::to_owned), alive }
    }

    /// Whether the calling thread, which wakes somebody, does so because this task has ended.
    fn tells(&self) -> bool {
        // Fewer or more: another task has ended or begun since, and this wake is that one's.
        let is_alone = self.alive.is_none() || self.alive == alive_tasks();
        let trace = Trace::capture();
        is_alone && self.poll.is_some() && trace.poll() == self.poll.as_deref() && !trace.is_in_a_task()
    }
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
        // One that the hook did not hear of: it was resumed, or somebody had replaced the hook.
        let unheard = || note(String::new(), text(&*payload).to_owned()).map(|noted| noted.record.clone());
        let record = LAST.take().or_else(unheard);
        if let Some(record) = &record {
            let witness = &record.net.witness;
            let node = witness.records()[record.index].node.clone();
            record.set_uncaught(!witness.allows(node.as_deref()));
        }
        Caught { payload, record }
    })
}

/// A future whose panics are [`watched`], one poll at a time.
pub(crate) struct Watched<F> {
    future: Pin<Box<F>>,
    waker: Arc<Observer>,
    net: Weak<Net>,
}

impl<F: Future> Watched<F> {
    pub(crate) fn new(net: Weak<Net>, future: F) -> Self {
        Self {
            future: Box::pin(future),
            waker: Arc::new(Observer { next: Mutex::new(Waker::noop().clone()) }),
            net,
        }
    }
}

/// A poll goes on until this is dropped.
struct PollGuard(Arc<Net>, Polling);

impl PollGuard {
    fn new(net: Arc<Net>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let polling = Polling { serial: NEXT.fetch_add(1, Ordering::Relaxed), thread: gettid().as_raw() };
        net.witness.polls().push(polling);
        Self(net, polling)
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        self.0.witness.polls().retain(|polling| *polling != self.1);
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = Result<F::Output, Caught>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.waker.next().clone_from(context.waker());
        let waker = Waker::from(Arc::clone(&self.waker));
        let mut context = Context::from_waker(&waker);
        let _polling = self.net.upgrade().map(PollGuard::new);
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
            // A thread that is about to end may wake somebody, too.
            && DIED.try_with(|died| died.borrow().as_ref().is_some_and(is_past)).unwrap_or(false)
            && let Some(died) = DIED.take()
            && died.tells()
        {
            died.record.set_uncaught(false);
        }
        let next = self.next().clone();
        next.wake();
    }
}
