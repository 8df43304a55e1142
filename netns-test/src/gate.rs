//! Tests wait for file descriptors rather than fail without them.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use nix::sys::resource::{Resource, getrlimit};

/// What stays for the program itself: its files, its sockets, libtest's.
const RESERVE: usize = 64;

/// Descriptors of a test without nodes: three namespaces of the body, its runtime, passing ones.
const PER_TEST: usize = 16;

/// Descriptors of a node: three namespaces, a netlink socket, its runtime once it has one.
const PER_NODE: usize = 12;

/// The share of the descriptors that namespaces which await their release may take.
const HELD_SHARE: usize = 4;

struct Gate {
    free: Mutex<usize>,
    changed: Condvar,
}

static GATE: LazyLock<Gate> =
    LazyLock::new(|| Gate { free: Mutex::new(for_tests(limit())), changed: Condvar::new() });

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

/// A test's share of the descriptors, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share(usize);

/// Waits until there are descriptors for a test with so many nodes; `Err` tells how many it wants and there can be.
pub(crate) fn enter(nodes: usize) -> Result<Share, (usize, usize)> {
    let wanted = PER_TEST + PER_NODE * nodes;
    let most = for_tests(limit());
    if wanted > most {
        return Err((wanted, limit()));
    }
    let free = GATE.free.lock().unwrap_or_else(PoisonError::into_inner);
    let mut free = GATE.changed.wait_while(free, |free| *free < wanted).unwrap_or_else(PoisonError::into_inner);
    *free -= wanted;
    Ok(Share(wanted))
}

impl Drop for Share {
    fn drop(&mut self) {
        *GATE.free.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        GATE.changed.notify_all();
    }
}
