//! The panic hook: it hears of every panic, and finds out what becomes of it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{PanicHookInfo, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::trace::is_caught_by_user;
use super::watched::{DIED, Died, LAST, WATCHED};
use super::{Record, RecordRef, text};
use crate::{registry, report};

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
pub(super) struct Noted {
    pub(super) record: RecordRef,
    watched: bool,
}

/// Notes a panic of the calling thread. One without a place is one that was heard of before, and comes again.
pub(super) fn note(location: String, message: String) -> Option<Noted> {
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
            watched,
            settled: None,
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
        self.record.set_settled();
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        *self.record.net.witness.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.record.net.witness.open.fetch_sub(1, Ordering::AcqRel);
    }
}
