//! The end of the process, and of its threads.

use std::io;

use nix::libc;
use nix::unistd::Pid;

/// Calls `handler` when the process ends by exit(3) or by returning from `main`, atexit(3).
pub(crate) fn at_exit(handler: extern "C" fn()) -> io::Result<()> {
    // SAFETY: the handler is a plain function that lives as long as the program.
    if unsafe { libc::atexit(handler) } == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ENOMEM))
    }
}

/// Ends the process at once, without further handlers, _exit(2).
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes no memory and does not return.
    unsafe { libc::_exit(status) }
}

/// Writes to a standard stream past Rust's buffers, locks and libtest's capture, write(2).
pub(crate) fn write_raw(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of one live slice.
        let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(written) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            // A closed standard stream has no reader to tell.
            Err(_) => return,
        }
    }
}

/// Sends a signal to a process, kill(2). The signal is a number, since real-time ones have no name.
pub(crate) fn kill(process: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: it takes two integers.
    let result = unsafe { libc::kill(process.as_raw(), signal) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets a thread run only when nothing else wants the processor, sched_setscheduler(2) with `SCHED_IDLE`.
pub(crate) fn make_idle(tid: i32) -> io::Result<()> {
    // The kernel's `struct sched_param`; musl's has more in it.
    let priority: libc::c_int = 0;
    // SAFETY: the kernel reads one int from this stack, and checks the thread id. The raw call, because musl's wrapper always
    // answers ENOSYS.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, tid, libc::SCHED_IDLE, &raw const priority) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process has a child, or the calling thread one that sends no signal; waitid(2) without reaping it.
///
/// The janitor is a child without a signal of another thread's.
pub(crate) fn has_children() -> bool {
    let has = |which: i32| {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | which;
        // SAFETY: the kernel writes one siginfo_t; WNOWAIT leaves every child as it was.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
        result == 0
    };
    has(0) || has(libc::__WALL | libc::__WNOTHREAD)
}
