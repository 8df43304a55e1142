//! Memory that a process shares with the children that it forks.

use std::io;
use std::num::NonZero;
use std::sync::atomic::AtomicU64;

use nix::libc;

/// So many numbers, all zero, that every later child of fork(2) sees as they are, mmap(2) with `MAP_SHARED`.
///
/// They live as long as the process. What is never touched takes no memory.
pub(crate) fn numbers(count: NonZero<usize>) -> io::Result<&'static [AtomicU64]> {
    let length = count.get() * size_of::<AtomicU64>();
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice touches no other memory. It is never unmapped, aligned to a
    // page, and zero, which is a valid `AtomicU64`.
    unsafe {
        match libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) {
            libc::MAP_FAILED => Err(io::Error::last_os_error()),
            start => Ok(std::slice::from_raw_parts(start.cast(), count.get())),
        }
    }
}
