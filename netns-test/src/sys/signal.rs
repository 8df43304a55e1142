//! SIGCONT, which continues what waits for a person.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::libc;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CONTINUED: OnceLock<EventFd> = OnceLock::new();

/// The same, for the handler.
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(_signal: i32) {
    let one = 1_u64;
    // SAFETY: write(2) may be called in a signal handler; the descriptor is never closed, and the number lives on this stack.
    unsafe { libc::write(DESCRIPTOR.load(Ordering::Acquire), (&raw const one).cast(), size_of::<u64>()) };
}

/// A descriptor that becomes readable when the process gets SIGCONT from now on, signal(7). A process that is not stopped ignores it
/// otherwise.
pub(crate) fn on_continue() -> io::Result<BorrowedFd<'static>> {
    let continued = match CONTINUED.get() {
        Some(continued) => continued,
        None => {
            let made = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
            let continued = CONTINUED.get_or_init(|| made);
            DESCRIPTOR.store(continued.as_fd().as_raw_fd(), Ordering::Release);
            let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
            // SAFETY: the handler calls write(2) alone, on a descriptor that is set already.
            unsafe { sigaction(Signal::SIGCONT, &action)? };
            continued
        }
    };
    // An earlier one has continued somebody else.
    match continued.read() {
        Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(continued.as_fd()),
        Err(errno) => Err(errno.into()),
    }
}
