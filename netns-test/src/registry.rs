//! Which running test a thread belongs to: the one whose network namespace it is in.
//!
//! Thread-locals would miss the threads that a user's code makes by itself.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use crate::error::Error;
use crate::janitor;
use crate::namespace::{self, Namespaces};
use crate::network::Net;

/// A place that a thread can be in.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) net: Weak<Net>,
    /// The node's name; `None` is the body's own namespace.
    pub(crate) node: Option<Arc<str>>,
    pub(crate) namespaces: Arc<Namespaces>,
}

static PLACES: LazyLock<Mutex<HashMap<u64, Place>>> = LazyLock::new(Mutex::default);

fn places() -> std::sync::MutexGuard<'static, HashMap<u64, Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The namespaces of tests that have ended, in which threads may be left, and the tests' names.
static ENDED: LazyLock<Mutex<HashMap<u64, &'static str>>> = LazyLock::new(Mutex::default);

fn ended() -> std::sync::MutexGuard<'static, HashMap<u64, &'static str>> {
    ENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add(place: Place) -> Result<(), Error> {
    for inode in place.namespaces.inodes() {
        janitor::watch(inode)?;
    }
    // The kernel gives the number of a namespace that is gone to the next one.
    ended().remove(&place.namespaces.inode());
    places().insert(place.namespaces.inode(), place);
    Ok(())
}

/// Takes a namespace of a test that has ended out.
pub(crate) fn remove(namespaces: &Namespaces, test: &'static str) {
    let inode = namespaces.inode();
    ended().insert(inode, test);
    places().remove(&inode);
}

/// The test that has ended, and left the calling thread behind.
pub(crate) fn left_by() -> Option<&'static str> {
    let inode = namespace::current_inode().ok()?;
    ended().get(&inode).copied()
}

/// Where the calling thread is; `None` outside every test.
pub(crate) fn here() -> io::Result<Option<Place>> {
    namespace::current_inode().map(|inode| places().get(&inode).cloned())
}
