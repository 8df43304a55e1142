//! The environment, where it may still be changed.

use std::ffi::CStr;

use nix::libc;

/// How many threads the process has: /proc/self/task has a link for each, and two of its own (proc_task(5)).
#[allow(clippy::useless_conversion, reason = "the type of a link count differs between processors")]
pub(crate) fn threads() -> Option<u64> {
    let links = nix::sys::stat::stat("/proc/self/task").ok()?.st_nlink;
    u64::try_from(links).ok()?.checked_sub(2)
}

/// Removes variables from the process's environment, if no other thread could be reading them.
pub(crate) fn remove_while_alone(names: &[&CStr]) {
    if threads() != Some(1) {
        return;
    }
    for name in names {
        // SAFETY: unsetenv(3) must not run beside a reader of the environment; this process has one thread, this one.
        // It fails for malformed names only, and these are constants.
        unsafe { libc::unsetenv(name.as_ptr()) };
    }
}
