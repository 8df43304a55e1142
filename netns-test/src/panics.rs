//! Which panics a test has to answer for.
//!
//! A chained panic hook notes every panic of a running test, by the network namespace of its thread; whether it is still
//! there is asked for before and after each test. What becomes of a panic is told by whoever is around: [`watched`] code
//! (bodies, jobs and threads of nodes) knows for sure whether a panic came through. Elsewhere, in tasks that user code spawned and threads that it made, the frames say whether the panic is
//! on its way to code that catches it or to the end of the task or thread. A task's panic is settled when the one who
//! awaits its `JoinHandle` is woken by it; so a task that panics before its handle can have been awaited is held up, in
//! the hook, until it can.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use std::{fs, thread};

use nix::unistd::gettid;

use crate::network::Net;
use crate::{registry, report};

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

pub(crate) fn text(payload: &(dyn Any + Send)) -> &str {
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

/// A task that died of a panic.
struct Died {
    record: RecordRef,
    task: tokio::task::Id,
    /// The part of Tokio that polled it, which is compiled once for each type of task.
    poll: Option<String>,
    /// The runtime's live tasks then. The dead one counts until it has told whoever awaits it. `None` where other threads
    /// may begin and end tasks meanwhile.
    alive: Option<usize>,
}

impl Died {
    fn of(record: RecordRef, task: tokio::task::Id) -> Self {
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

/// What is known of the hook.
struct Hook {
    /// How deep in the stack a panic meets it, as measured by [`probe`].
    depth: Option<usize>,
    /// How often it was chained.
    chained: u32,
}

/// How often the hook is chained at most: a test that replaces it each time makes a chain of it, which costs stack.
const MOST_CHAINED: u32 = 200;

/// Sees to it that this crate's hook is the first that a panic meets. Tells whether panics did not meet it at all: somebody
/// had replaced it, and did not call it.
///
/// The standard library has no way to ask for the hook but to take it away, and meanwhile panics of other tests would not
/// be heard. So a panic asks for it, one that only shows where another hook comes first.
pub(crate) fn ensure_hook() -> bool {
    static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
    let mut hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let (chained, is_missing) = match &*hook {
        None => (0, false),
        Some(hook) => match probe() {
            None => (hook.chained, true),
            found if found == hook.depth || hook.chained >= MOST_CHAINED => return false,
            // Another one comes first, and calls it. From now on it is the other way round.
            Some(_) => (hook.chained, false),
        },
    };
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| hear(info, &*previous)));
    *hook = Some(Hook { depth: probe(), chained: chained + 1 });
    is_missing
}

/// A panic that asks for the hook.
#[derive(Clone, Copy)]
struct Probe {
    /// An address in the stack.
    base: usize,
    /// How far from there the hook was met.
    depth: Option<usize>,
}

thread_local! {
    static PROBE: Cell<Option<Probe>> = const { Cell::new(None) };
    /// Whether this thread is in the hook: in a chain of several, the first one does the work.
    static HEARS: Cell<bool> = const { Cell::new(false) };
}

/// How deep in the stack a panic meets the hook; `None` if it does not.
#[inline(never)]
fn probe() -> Option<usize> {
    let base = 0_u8;
    PROBE.set(Some(Probe { base: std::ptr::from_ref(&base).addr(), depth: None }));
    let asked: thread::Result<()> = catch_unwind(|| {
        std::panic::panic_any("netns-test looks whether its panic hook is still there: this is no failure")
    });
    drop(asked);
    PROBE.take().and_then(|probe| probe.depth)
}

/// The hook.
#[inline(never)]
fn hear(info: &PanicHookInfo<'_>, previous: &dyn Fn(&PanicHookInfo<'_>)) {
    let here = 0_u8;
    if let Some(probe) = PROBE.get() {
        let depth = probe.base.abs_diff(std::ptr::from_ref(&here).addr());
        return PROBE.set(Some(Probe { depth: Some(depth), ..probe }));
    }
    if HEARS.replace(true) {
        return previous(info);
    }
    // Noted before the previous hook prints: with a backtrace that takes 100 ms.
    let location = info.location().map_or_else(String::new, ToString::to_string);
    let noted = note(location, text(info.payload()).to_owned());
    // The same goes for the network, which unwinding changes: sockets are closed by it.
    if let Some(Noted { record, watched: true }) = &noted {
        report::at_panic(&record.net, record.index);
    }
    previous(info);
    if let Some(noted) = noted {
        noted.settle();
    }
    HEARS.set(false);
}

/// Resumes a panic that was told by a handle, and that somebody else has to answer for from here on.
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    // No hook hears of it: `resume_unwind` calls none.
    let message = text(&*payload).to_owned();
    if let Some(noted) = note(String::new(), message) {
        noted.settle();
    }
    std::panic::resume_unwind(payload)
}

/// A panic whose fate is not known yet; the test waits for it.
struct Noted {
    record: RecordRef,
    watched: bool,
}

/// Notes a panic of the calling thread. One without a place is one that was heard of before, and comes again.
fn note(location: String, message: String) -> Option<Noted> {
    // A thread whose namespace cannot be read belongs to no test.
    let place = registry::here().ok().flatten()?;
    let net = place.net.upgrade()?;
    let task = tokio::task::try_id();
    let watched = WATCHED.get().is_some_and(|outer| outer == task);
    let allowed = net.witness.allows(place.node.as_deref());
    net.witness.open.fetch_add(1, Ordering::AcqRel);
    let index = {
        let mut records = net.witness.records();
        let heard = || records.iter().rev().find(|record| record.message == message);
        let location = match location.is_empty() {
            true => heard()
                .map_or_else(|| "at a place that is not known".to_owned(), |heard| heard.location.clone()),
            false => location,
        };
        records.push(Record {
            thread: thread::current().name().unwrap_or("<unnamed>").to_owned(),
            node: place.node.map(|name| name.to_string()),
            location,
            message,
            // Watched code says so when it comes through; elsewhere it counts until it is known to be caught.
            uncaught: !watched && !allowed,
        });
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
                record.net.witness.let_polls_end();
                DIED.set(Some(Died::of(record, task)));
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
        *self.record.net.witness.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.record.net.witness.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a panic of this thread will be caught before it ends the task or thread, told by the frames.
///
/// Unwinding stops at the first `catch_unwind`. That is the end of the task if Tokio's harness called it, the end of the
/// thread if the standard library did. Without symbols nothing is known to be caught.
fn is_caught_by_user() -> bool {
    is_caught(Trace::capture().names())
}

/// The calling thread's frames, innermost first; without symbols there is nothing in it.
struct Trace(String);

impl Trace {
    fn capture() -> Self {
        // The long form tells the instances of a generic function apart, by a hash in its name.
        Self(format!("{:#}", Backtrace::force_capture()))
    }

    /// The names of the frames.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(": ")?;
            let name = rest.split_once(" - ").map_or(rest, |(_address, name)| name);
            number.bytes().all(|byte| byte.is_ascii_digit()).then_some(name)
        })
    }

    /// The names of the functions, those that were inlined into a frame included.
    fn functions(&self) -> impl Iterator<Item = &str> {
        let names = self.0.lines().map(str::trim).filter(|line| !line.starts_with("at "));
        names.map(|line| line.split_once(" - ").map_or(line, |(_number, name)| name))
    }

    /// What polls the innermost task: called through a table, it is a frame of its own in every build.
    fn poll(&self) -> Option<&str> {
        self.functions().find(|name| is_poll(&path(name)))
    }

    /// Whether the innermost task is still being polled, and does not just tell that it has ended.
    fn is_in_a_task(&self) -> bool {
        self.functions().map(path).take_while(|name| !is_poll(name)).any(|name| name.contains("poll_future"))
    }

    /// Whether it is a thread of a runtime's pool, beside which others run tasks.
    fn is_in_a_pool(&self) -> bool {
        self.functions().any(|name| path(name).contains("tokio::runtime::blocking::pool"))
    }
}

/// A function's own path. Names of the newer form (rustc's symbol mangling v0, RFC 2603; always with `-C instrument-coverage`)
/// have a hash behind each crate, and the generic arguments, which may name anything.
fn path(name: &str) -> String {
    let mut path = String::new();
    let mut skipped = 0;
    let mut last = ' ';
    for letter in name.chars() {
        let is_behind_name = last.is_alphanumeric() || last == '_';
        match letter {
            '<' | '[' if skipped > 0 || is_behind_name => skipped += 1,
            '<' if path.ends_with("::") => {
                path.truncate(path.len() - 2);
                skipped += 1;
            }
            // Not the arrow of a function's type.
            '>' | ']' if skipped > 0 && last != '-' => skipped -= 1,
            _ if skipped > 0 => {}
            _ => path.push(letter),
        }
        last = letter;
    }
    path
}

fn is_poll(name: &str) -> bool {
    name.contains("tokio::runtime::task::raw::poll")
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
    for name in frames.map(path) {
        if is_end(&name) {
            return false;
        }
        match is_catch(&name) {
            true => catching |= !name.contains("AssertUnwindSafe"),
            false if catching => return true,
            false => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Trace, is_caught, path};

    #[test]
    fn the_innermost_task_is_told_by_what_polls_it() {
        let trace = |inner: &str| {
            Trace(format!(
                "   0:     0x55d2b0c3a5e6 - {inner}::h0123456789abcdef\n\
                 \x20                              at /tokio/src/runtime/task/harness.rs:1:2\n\
                 \x20                      tokio::runtime::task::raw::poll::h1111111111111111\n\
                 \x20  1:     0x55d2b0c3a5e7 - tokio::runtime::blocking::pool::Inner::run::h2222222222222222\n\
                 \x20  2:     0x55d2b0c3a5e8 - tokio::runtime::task::raw::poll::h3333333333333333\n"
            ))
        };
        let ends = trace("tokio::runtime::task::harness::Harness<T,S>::complete");
        assert_eq!(ends.poll(), Some("tokio::runtime::task::raw::poll::h1111111111111111"));
        assert!(!ends.is_in_a_task() && ends.is_in_a_pool());
        assert!(trace("tokio::runtime::task::harness::poll_future").is_in_a_task());
        assert_eq!(ends.names().count(), 3);
    }

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
    fn names_of_the_newer_form_are_told_by_their_own_path() {
        let told = [
            (
                "tokio::runtime::task::raw::poll::h59f28edfd89770af",
                "tokio::runtime::task::raw::poll::h59f28edfd89770af",
            ),
            ("tokio::runtime::task::core::Core<T,S>::poll", "tokio::runtime::task::core::Core::poll"),
            (
                "tokio[35]::runtime::task::raw::poll::<user[39]::work::{closure#0}, alloc[fd]::sync::Arc<S>>",
                "tokio::runtime::task::raw::poll",
            ),
            (
                "<std[e2]::thread::Builder>::spawn_unchecked_::<fn(u8) -> [u8; 4], ()>::{closure#1}",
                "<std::thread::Builder>::spawn_unchecked_::{closure#1}",
            ),
            (
                "<core[c1]::panic::unwind_safe::AssertUnwindSafe<tokio[35]::runtime::task::F> as core[c1]::ops::function::FnOnce<()>>::call_once",
                "<core::panic::unwind_safe::AssertUnwindSafe as core::ops::function::FnOnce>::call_once",
            ),
            (
                "<<std[e2]::sys::Lock>::print::Display as core[c1]::fmt::Display>::fmt",
                "<<std::sys::Lock>::print::Display as core::fmt::Display>::fmt",
            ),
        ];
        for (name, own) in told {
            assert_eq!(path(name), own);
        }
    }

    #[test]
    fn a_panic_in_a_task_ends_it_also_with_names_of_the_newer_form() {
        let task = [
            "nothing_is_lost[39]::panic_in_task::{closure#0}::{closure#0}",
            "<tokio[35]::runtime::task::core::Core<nothing_is_lost[39]::panic_in_task::{closure#0}, S>>::poll",
            "tokio[35]::runtime::task::harness::poll_future::<F, S>::{closure#0}",
            "std[e2]::panicking::catch_unwind::do_call::<tokio[35]::runtime::task::harness::poll_future<F, S>::{closure#0}, R>",
            "__rust_try",
            "std[e2]::panic::catch_unwind::<tokio[35]::runtime::task::harness::poll_future<F, S>::{closure#0}, R>",
            "tokio[35]::runtime::task::harness::poll_future::<F, S>",
        ];
        assert!(!is_caught(task.into_iter()));
        let inlined = ["user[1]::work", "__rust_try", "tokio[35]::runtime::task::raw::poll::<F, S>"];
        assert!(!is_caught(inlined.into_iter()));
        let thread = [
            "user[1]::work",
            "std[e2]::panicking::catch_unwind::<F, R>",
            "<std[e2]::thread::Builder>::spawn_unchecked_::<F, R>",
        ];
        assert!(!is_caught(thread.into_iter()));
        // What the user catches stands in its generic arguments, too.
        let caught = [
            "user[1]::work",
            "std[e2]::panicking::catch_unwind::<core[c1]::panic::unwind_safe::AssertUnwindSafe<tokio[35]::runtime::task::JoinHandle<T>>, R>",
            "user[1]::handler::<std[e2]::thread::JoinHandle<()>>",
            "<tokio[35]::runtime::task::core::Core<F, S>>::poll",
        ];
        assert!(is_caught(caught.into_iter()));
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
