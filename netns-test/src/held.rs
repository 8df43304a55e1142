//! Namespaces of ended tests, which wait to be released, and the room that their release makes.
//!
//! The kernel's clean-up of a namespace holds the lock that set-up needs, so emptied namespaces are held, bounded, until the
//! process ends or somebody needs their places.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;

use crate::error::Error;
use crate::limits::Limits;
use crate::namespace::Namespaces;
use crate::network::Net;
use crate::{bootstrap, gate, janitor, registry};

/// How many namespaces are held at most. 510 cost 31 ms at the end of the process, and 0.16 MB each.
const MOST_HELD: usize = 512;

/// How long released namespaces may take to be gone: a worker of the kernel does it, one namespace after the other. Other
/// processes release theirs meanwhile, too: five hundred at once, which take a busy machine some seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same where that was not enough for a test before: somebody holds them for good.
const LITTLE_PATIENCE: Duration = Duration::from_secs(5);

static WAS_IN_VAIN: AtomicBool = AtomicBool::new(false);

/// What is kept of an emptied namespace until it is released.
enum Held {
    Node(Arc<Namespaces>),
    Switch(#[expect(dead_code, reason = "held, not used")] Arc<OwnedFd>),
}

impl Drop for Held {
    fn drop(&mut self) {
        // Not before: a thread that was left behind may still start processes in it.
        if let Self::Node(namespaces) = self {
            namespaces.inodes().into_iter().for_each(janitor::forget);
        }
    }
}

static HELD: Mutex<VecDeque<Held>> = Mutex::new(VecDeque::new());

/// Keeps the namespaces of an ended test, and releases the oldest ones beyond the bound.
pub(crate) fn hold(net: &Net) {
    for namespaces in net.all_namespaces() {
        registry::remove(&namespaces, net.test);
    }
    let most = MOST_HELD.min(gate::descriptors_for_held() / 3).min(gate::namespaces_for_held());
    let released: Vec<Held> = {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(net.all_namespaces().into_iter().map(Held::Node));
        held.extend(net.switch.iter().map(|switch| Held::Switch(Arc::clone(switch))));
        let excess = held.len().saturating_sub(most);
        held.drain(..excess).collect()
    };
    drop(released);
}

fn release_all() {
    let released = std::mem::take(&mut *HELD.lock().unwrap_or_else(PoisonError::into_inner));
    drop(released);
}

/// Makes namespaces. Where the user's limit refuses one that it has room for, what is held is released, and it is tried
/// again until the kernel has cleaned up.
///
/// `all` is how many the network needs in all: a limit below that is refused at once.
pub(crate) fn with_room<T>(all: usize, make: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let mut started = None;
    let mut pause = Duration::from_micros(200);
    loop {
        let error = match make() {
            Err(error) if error.io().and_then(std::io::Error::raw_os_error) == Some(libc::ENOSPC) => error,
            made => return made,
        };
        let started = *started.get_or_insert_with(Instant::now);
        let limit = Limits::read().within(bootstrap::before().limits).lowest();
        if limit.is_some_and(|(_, limit)| limit < all as u64) {
            return Err(error);
        }
        let patience = if WAS_IN_VAIN.load(Ordering::Relaxed) { LITTLE_PATIENCE } else { PATIENCE };
        if started.elapsed() > patience {
            WAS_IN_VAIN.store(true, Ordering::Relaxed);
            return Err(error);
        }
        // Also what other tests have put there meanwhile.
        release_all();
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
