//! Child processes that are no programs: they go on in this one's code.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

/// What wait(2) and the parent's signal handlers are told when a child ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// SIGCHLD, as of every ordinary child.
    Told,
    /// Nothing: code that waits for any child of the process does not see it.
    Silent,
}

/// Starts a child process that runs `work` and ends with the status that it returns, clone(2).
///
/// The child has this process's memory as it is now, and one thread. `work` must not use what other threads may have
/// locked. Where there are other threads, and the child needs no namespaces, fork(2) is called, which sees to the locks
/// of the C library's allocator; its death is told, then.
pub(crate) fn fork(flags: CloneFlags, death: Death, work: impl FnOnce() -> i32) -> io::Result<Pid> {
    let signal = match death {
        Death::Told => libc::SIGCHLD,
        Death::Silent => 0,
    };
    let child = match flags.is_empty() && super::env::threads() != Some(1) {
        // SAFETY: the child calls `work`, which keeps to what is allowed after fork(2), and _exit(2).
        true => libc::c_long::from(unsafe { libc::fork() }),
        // SAFETY: without CLONE_VM the child has memory and stack of its own, and goes on from here, as after fork(2).
        false => unsafe {
            libc::syscall(
                libc::SYS_clone,
                libc::c_long::from(flags.bits() | signal),
                0_usize,
                0_usize,
                0_usize,
                0_usize,
            )
        },
    };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Unwinding must not reach the frames of the parent that were copied along.
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            super::process::exit_now(ended.unwrap_or(101))
        }
        child => Ok(Pid::from_raw(i32::try_from(child).unwrap_or(i32::MAX))),
    }
}

/// A descriptor that is readable when a process has ended, pidfd_open(2).
pub(crate) fn pidfd(process: Pid) -> io::Result<OwnedFd> {
    // SAFETY: it takes two integers; a new descriptor that nobody else owns is returned.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as i32)),
        }
    }
}

/// Sends a signal to the process of a pidfd, pidfd_send_signal(2).
pub(crate) fn signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: without a siginfo_t it takes integers only.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<u8>(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor but these two, the standard ones, too, close_range(2).
///
/// For a child process of [`fork`]: whatever else in the copied memory owns a descriptor must not be used again.
pub(crate) fn keep_only(kept: [OwnedFd; 2]) -> io::Result<[OwnedFd; 2]> {
    // Out of the way of the numbers that they get in the end.
    let high = [kept[0].try_clone()?, kept[1].try_clone()?];
    std::mem::forget(kept);
    for (number, fd) in (0..).zip(&high) {
        // SAFETY: it takes two integers; what was open under that number belongs to memory that is not used again.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    std::mem::forget(high);
    // SAFETY: as above.
    if unsafe { libc::syscall(libc::SYS_close_range, 2, u32::MAX, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were opened above, and every other owner of these numbers has been forgotten.
    Ok(unsafe { [OwnedFd::from_raw_fd(0), OwnedFd::from_raw_fd(1)] })
}

/// Lets the kernel reap this process's children, signal(2) with `SIG_IGN` for SIGCHLD.
pub(crate) fn reap_children_unseen() {
    // SAFETY: no handler is installed, one is removed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Gives the calling process, which has one thread, the name that tools show, in place of its command line: prctl(2).
///
/// Whoever ends a test process by its command line (`pkill -f`) must not end the one that cleans up after it, too.
pub(crate) fn set_name(name: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: PR_SET_NAME reads a string of up to 16 bytes, which lives for ever.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
    // proc_pid_stat(5): where the command line lies in memory, fields 48 and 49; the second one is the parenthesised name.
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut bounds = fields.split(' ').skip(45).map(|field| field.trim().parse().unwrap_or(0));
    let (start, end): (usize, usize) = (bounds.next().unwrap_or(0), bounds.next().unwrap_or(0));
    if let Some(length) = end.checked_sub(start).filter(|_| start != 0) {
        let kept = name.count_bytes().min(length.saturating_sub(1));
        // SAFETY: the kernel says that the command line lies there; it is writable memory of this process's own, since it is
        // a copy of its parent's, and the process neither reads its arguments nor has another thread that does.
        unsafe {
            std::ptr::write_bytes(start as *mut u8, 0, length);
            std::ptr::copy_nonoverlapping(name.as_ptr().cast::<u8>(), start as *mut u8, kept);
        }
    }
    Ok(())
}
