//! Closing packet sockets.
//!
//! The kernel makes whoever closes one wait until no processor can be in it any more (`synchronize_net` in `packet_release`): 8 to
//! 16 ms, of waiting alone. So threads of their own do it, many at once, which wait for the same.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most threads that close. They sleep.
const MOST_THREADS: usize = 64;

#[derive(Default)]
struct Closing {
    sockets: VecDeque<OwnedFd>,
    idle: usize,
    threads: usize,
}

static CLOSING: Mutex<Closing> = Mutex::new(Closing { sockets: VecDeque::new(), idle: 0, threads: 0 });
static CHANGED: Condvar = Condvar::new();

fn closing() -> MutexGuard<'static, Closing> {
    CLOSING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes packet sockets, soon. The calling thread must be in the host's namespaces: those that it starts outlive the test.
pub(super) fn close(sockets: impl Iterator<Item = OwnedFd>) {
    let mut closing_now = closing();
    closing_now.sockets.extend(sockets);
    let wanted = closing_now.sockets.len().saturating_sub(closing_now.idle);
    for _ in 0..wanted.min(MOST_THREADS - closing_now.threads) {
        let started = thread::Builder::new().name("netns-test".to_owned()).stack_size(64 << 10).spawn(work);
        match started {
            Ok(_detached) => closing_now.threads += 1,
            // Those that there are do it; where there is none, the calling one.
            Err(_refused) if closing_now.threads > 0 => break,
            Err(_refused) => return closing_now.sockets.clear(),
        }
    }
    drop(closing_now);
    CHANGED.notify_all();
}

fn work() {
    let mut closing = closing();
    loop {
        match closing.sockets.pop_front() {
            Some(socket) => {
                drop(closing);
                drop(socket);
                closing = self::closing();
            }
            None => {
                closing.idle += 1;
                closing = CHANGED.wait(closing).unwrap_or_else(PoisonError::into_inner);
                closing.idle -= 1;
            }
        }
    }
}
