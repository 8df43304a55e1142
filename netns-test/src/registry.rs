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
    /// The node's index; `None` is the body's own namespace.
    pub(crate) node: Option<usize>,
    pub(crate) namespaces: Arc<Namespaces>,
}

static PLACES: LazyLock<Mutex<HashMap<u64, Place>>> = LazyLock::new(Mutex::default);

fn places() -> std::sync::MutexGuard<'static, HashMap<u64, Place>> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn add(place: Place) -> Result<(), Error> {
    for inode in place.namespaces.inodes() {
        janitor::watch(inode)?;
    }
    places().insert(place.namespaces.inode(), place);
    Ok(())
}

pub(crate) fn remove(namespaces: &Namespaces) {
    places().remove(&namespaces.inode());
    for inode in namespaces.inodes() {
        janitor::forget(inode);
    }
}

/// Where the calling thread is; `None` outside every test.
pub(crate) fn here() -> io::Result<Option<Place>> {
    namespace::current_inode().map(|inode| places().get(&inode).cloned())
}
