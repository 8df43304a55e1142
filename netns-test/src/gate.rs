//! Tests wait for file descriptors and namespaces rather than fail without them.

use std::num::NonZero;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::thread;

use netns_test_model::Topology;
use nix::sys::resource::{Resource, getrlimit};

use crate::bootstrap;
use crate::limits::Limits;

/// What stays for the program itself: its files, its sockets, libtest's.
const RESERVE: usize = 64;

/// Descriptors of a test without nodes: three namespaces of the body, its runtime, passing ones.
const PER_TEST: usize = 16;

/// Descriptors of a node: three namespaces, a netlink socket, what records its packets, its runtime once it has one.
const PER_NODE: usize = 13;

/// How many pods a cluster may add before it asks for more descriptors.
const SPARE: usize = 8;

/// The share of the descriptors, and of the namespaces, that what awaits its release may take.
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

/// How many namespaces of a kind there may be. Where that is not known, the kernel refuses.
static NAMESPACES: LazyLock<usize> = LazyLock::new(|| {
    let lowest = Limits::read().within(bootstrap::before().limits).lowest();
    lowest.map_or(usize::MAX, |(_, limit)| usize::try_from(limit).unwrap_or(usize::MAX))
});

static PLACES: LazyLock<Gate> = LazyLock::new(|| Gate::new(*NAMESPACES));

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

/// Descriptors for a node that joins while its test runs, if there are any: a test that waited for others here could wait for
/// ever.
#[cfg(feature = "kubernetes")]
pub(crate) fn for_one_more() -> Share {
    let mut free = DESCRIPTORS.free.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = (*free).min(PER_NODE);
    *free -= taken;
    drop(free);
    Share { gate: &DESCRIPTORS, taken }
}

fn limit() -> usize {
    // getrlimit(2) cannot fail with a resource that exists.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// How many descriptors tests may take in all.
fn for_tests(limit: usize) -> usize {
    (limit - limit / HELD_SHARE).saturating_sub(RESERVE)
}

/// The lowest limit that leaves so many descriptors to tests: the inverse of [`for_tests`].
fn limit_for(wanted: usize) -> usize {
    (wanted + RESERVE - 1) * HELD_SHARE / (HELD_SHARE - 1) + 1
}

/// How many descriptors may be held by namespaces that await their release.
pub(crate) fn descriptors_for_held() -> usize {
    limit() / HELD_SHARE
}

/// How many namespaces may await their release.
pub(crate) fn namespaces_for_held() -> usize {
    *NAMESPACES / HELD_SHARE
}

/// What a test holds while it runs.
pub(crate) struct Shares {
    _descriptors: Share,
    _places: Share,
}

/// How many nodes a test is to have room for: those of its network, and of a cluster the pods.
pub(crate) fn nodes(topology: &Topology) -> usize {
    let pods = topology.kubernetes.as_ref().map_or(0, |kubernetes| kubernetes.all_pods().len() + SPARE);
    topology.nodes.len() + pods
}

/// Waits until there are descriptors and namespaces for a test with so many nodes; `Err` is the cause why there never can
/// be.
pub(crate) fn enter(nodes: usize) -> Result<Shares, String> {
    let wanted = PER_TEST + PER_NODE * nodes;
    let limit = limit();
    if wanted > for_tests(limit) {
        return Err(too_few(wanted, limit));
    }
    // One more for the body and one for a switch. A test that needs more than there can be has its turn alone, and the
    // kernel's refusal.
    let places = (nodes + 2).min(*NAMESPACES);
    Ok(Shares { _descriptors: DESCRIPTORS.take(wanted), _places: PLACES.take(places) })
}

fn too_few(wanted: usize, limit: usize) -> String {
    let needed = limit_for(wanted);
    let enough = (needed * 2).max(4096);
    format!(
        "the process may open too few files: the limit is {limit}, and this test needs one of {needed} \
         ({wanted} for itself, {RESERVE} for the program, {} for the namespaces of ended tests)\n\
         to mend it: `ulimit -n {enough}` as root, or `sudo prlimit --pid $$ --nofile={enough}` in the shell that runs the \
         tests (in a container: `docker run --ulimit nofile={enough}`)",
        needed / HELD_SHARE,
    )
}

/// Waits until this thread may make a network.
pub(crate) fn turn_to_provision() -> Share {
    TURNS.take(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_is_named_suffices_and_no_lower_one_does() {
        for wanted in 1..5000 {
            let limit = limit_for(wanted);
            assert!(for_tests(limit) >= wanted, "{wanted}: {limit} does not suffice");
            assert!(for_tests(limit - 1) < wanted, "{wanted}: {} suffices", limit - 1);
        }
    }

    #[test]
    fn the_numbers_of_the_message_add_up() {
        for nodes in [0, 1, 2, 3, 10, 1000] {
            let wanted = PER_TEST + PER_NODE * nodes;
            let limit = limit_for(wanted);
            assert_eq!(limit, wanted + RESERVE + limit / HELD_SHARE);
        }
        let text = too_few(40, 137);
        assert!(
            text.contains("the limit is 137, and this test needs one of 138 (40 for itself, 64 for"),
            "{text}"
        );
    }
}
