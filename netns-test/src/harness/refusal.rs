//! Tests that cannot run here: they fail, or are skipped.

use super::fail;
use crate::__private::{Require, TestCase};
use crate::{bootstrap, probe, sys};

/// Fails a test that cannot run here, or skips it where the user asked for that.
pub(super) fn refuse(test: &TestCase, cause: &str) {
    if probe::may_skip() {
        #[cfg(feature = "harness")]
        SKIPPED.replace(Some(one_line(cause)));
        // Past libtest's capture: it has no run-time skip, and counts the test as ok.
        let text = format!("netns-test: skipped {}: {}\n", test.path(), one_line(cause));
        return sys::process::write_raw(2, text.as_bytes());
    }
    eprintln!("netns-test: this test cannot run here: {cause}");
    fail()
}

fn one_line(cause: &str) -> String {
    cause.replace('\n', "; ")
}

#[cfg(feature = "harness")]
thread_local! {
    /// Why the test that this thread ran was skipped.
    static SKIPPED: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Why the test that this thread ran was skipped while it ran, if it was; told once.
#[cfg(feature = "harness")]
pub(crate) fn take_skipped() -> Option<String> {
    SKIPPED.take()
}

/// Why the test would be skipped.
#[cfg(feature = "harness")]
pub(crate) fn would_skip(test: &TestCase) -> Option<String> {
    let cause = probe::may_skip().then(|| probe::refusal().or_else(|| unmet(test)));
    cause.flatten().map(|cause| one_line(&cause))
}

/// What the test requires and the process is not, with the mending.
pub(super) fn unmet(test: &TestCase) -> Option<String> {
    let is_root = || {
        matches!(bootstrap::state(), Some(bootstrap::State::Privileged)) && nix::unistd::geteuid().is_root()
    };
    test.require.iter().find_map(|requirement| match requirement {
        Require::Root if !is_root() => {
            Some(format!("the test requires root (`require = [root]`)\nto mend it: {}", probe::run_as_root()))
        }
        Require::Root => None,
    })
}
