//! What a process has before `main`: its environment, its threads, its table of files.

use std::ffi::CStr;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

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

/// Closes a descriptor that a system call has just returned, close(2).
pub(crate) fn close(descriptor: RawFd) {
    // SAFETY: the caller got it from the kernel as new, so nobody else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
}
