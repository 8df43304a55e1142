//! Which tests run right now, and what becomes of a process that exits meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

use super::fail;
use crate::{registry, sys};

/// The process that runs tests.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// The tests that run right now: a process that exits meanwhile has been ended by one of them.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Running;

impl Running {
    pub(super) fn start() -> Self {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            if let Err(error) = sys::process::at_exit(at_exit) {
                eprintln!("netns-test: failed to watch for `exit` in tests: {error}");
                fail();
            }
        });
        PROCESS.get_or_init(std::process::id);
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body that calls `exit(0)` would end the process as if all were well, and so would a thread that a test left behind.
extern "C" fn at_exit() {
    // A child of fork(2) inherits the handler, and may exit as it likes.
    if PROCESS.get() != Some(&std::process::id()) {
        return;
    }
    let left_by = registry::left_by().map(|test| format!("a thread that the test `{test}` left behind"));
    let text = match (RUNNING.load(Ordering::Acquire), left_by) {
        // libtest has come to its end, and has counted.
        (0, None) => return,
        (0, Some(who)) => format!("netns-test: {who} called `exit`: the run has failed\n"),
        (_, left_by) => {
            let net = registry::here().ok().flatten().and_then(|place| place.net.upgrade());
            let running = net.map(|net| format!("the test `{}`", net.test));
            let who = running.or(left_by).unwrap_or_else(|| "a thread".to_owned());
            format!("netns-test: {who} called `exit` while netns tests were running: they have failed\n")
        }
    };
    sys::process::write_raw(2, text.as_bytes());
    sys::process::exit_now(101)
}
