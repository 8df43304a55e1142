//! Tests wait for file descriptors rather than fail without them.

use std::num::NonZero;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

use nix::sys::resource::{Resource, getrlimit};

/// What stays for the program itself: its files, its sockets, libtest's.
const RESERVE: usize = 64;

/// Descriptors of a test without nodes: three namespaces of the body, its runtime, passing ones.
const PER_TEST: usize = 16;

/// Descriptors of a node: three namespaces, a netlink socket, its runtime once it has one.
const PER_NODE: usize = 12;

/// The share of the descriptors that namespaces which await their release may take.
const HELD_SHARE: usize = 4;

/// A number that tests take their shares of, and wait for.
struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn new(free: usize) -> Self {
        Self { free: Mutex::new(free), changed: Condvar::new() }
    }

    fn take(&'static self, wanted: usize) -> Share {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.changed.wait_while(free, |free| *free < wanted).unwrap_or_else(PoisonError::into_inner);
        *free -= wanted;
        Share { gate: self, taken: wanted }
    }
}

static DESCRIPTORS: LazyLock<Gate> = LazyLock::new(|| Gate::new(for_tests(limit())));

/// Networks are made under one lock of the kernel's. More threads than processors at it only get into each other's way:
/// 256 tests at once took minutes, and seconds in turns.
static TURNS: LazyLock<Gate> =
    LazyLock::new(|| Gate::new(thread::available_parallelism().map_or(2, NonZero::get).max(2)));

/// A test's share, given back when it is dropped.
pub(crate) struct Share {
    gate: &'static Gate,
    taken: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        *self.gate.free.lock().unwrap_or_else(PoisonError::into_inner) += self.taken;
        self.gate.changed.notify_all();
    }
}

fn limit() -> usize {
    // getrlimit(2) cannot fail with a resource that exists.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

fn for_tests(limit: usize) -> usize {
    (limit - limit / HELD_SHARE).saturating_sub(RESERVE)
}

/// How many descriptors may be held by namespaces that await their release.
pub(crate) fn for_held() -> usize {
    limit() / HELD_SHARE
}

/// Waits until there are descriptors for a test with so many nodes; `Err` tells how many it wants and there can be.
pub(crate) fn enter(nodes: usize) -> Result<Share, (usize, usize)> {
    let wanted = PER_TEST + PER_NODE * nodes;
    match wanted <= for_tests(limit()) {
        true => Ok(DESCRIPTORS.take(wanted)),
        false => Err((wanted, limit())),
    }
}

/// Waits until this thread may make a network.
pub(crate) fn turn_to_provision() -> Share {
    TURNS.take(1)
}
