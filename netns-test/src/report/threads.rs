//! What a thread is called, and what it is at, in words, from proc_pid_syscall(5).

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use nix::libc;
use nix::unistd::gettid;

use crate::wire::THREAD;

/// The names of the threads that nodes have started: the kernel keeps 15 bytes of them alone.
static NAMES: LazyLock<Mutex<HashMap<i32, String>>> = LazyLock::new(Mutex::default);

fn names() -> MutexGuard<'static, HashMap<i32, String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The calling thread is known by its whole name until this is dropped.
pub(crate) struct Named(i32);

impl Named {
    pub(crate) fn new(name: String) -> Self {
        let id = gettid().as_raw();
        names().insert(id, name);
        Self(id)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        names().remove(&self.0);
    }
}

/// Has the calling thread known by its whole name, as long as it lives.
pub(crate) fn keep_name(name: String) {
    thread_local!(static NAMED: OnceCell<Named> = const { OnceCell::new() });
    NAMED.with(|named| _ = named.set(Named::new(name)));
}

/// The whole name of a thread that a node has started.
pub(super) fn name(id: i32) -> Option<String> {
    names().get(&id).cloned()
}

/// Whether a thread serves this crate alone: it starts a node's programs (`test@node/programs`), watches one
/// (`node/program`), or moves packets.
pub(super) fn is_ours<'a>(name: &str, mut nodes: impl Iterator<Item = &'a str>) -> bool {
    match name.split_once('@') {
        _ if name == THREAD => true,
        Some((_, rest)) => rest.ends_with("/programs"),
        None => nodes.any(|node| name.strip_prefix(node).is_some_and(|rest| rest.starts_with('/'))),
    }
}

/// `worker` of `test@node/worker`; the test and the node are told elsewhere.
pub(super) fn own_name(name: String) -> String {
    name.split_once('@')
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(_, own)| own.to_owned())
        .unwrap_or(name)
}

/// Waits that are of no file descriptor.
#[cfg(target_arch = "x86_64")]
const OLD_WAITS: [(libc::c_long, &str); 3] = [
    (libc::SYS_epoll_wait, "waits for I/O or a timer (epoll_wait)"),
    (libc::SYS_poll, "waits for I/O (poll)"),
    (libc::SYS_select, "waits for I/O (select)"),
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_WAITS: [(libc::c_long, &str); 0] = [];

const WAITS: [(libc::c_long, &str); 9] = [
    (libc::SYS_epoll_pwait, "waits for I/O or a timer (epoll_pwait)"),
    (libc::SYS_ppoll, "waits for I/O (ppoll)"),
    (libc::SYS_pselect6, "waits for I/O (pselect6)"),
    (libc::SYS_futex, "waits for another thread (futex)"),
    (libc::SYS_nanosleep, "sleeps (nanosleep)"),
    (libc::SYS_clock_nanosleep, "sleeps (clock_nanosleep)"),
    (libc::SYS_wait4, "waits for the end of a process (wait4)"),
    (libc::SYS_waitid, "waits for the end of a process (waitid)"),
    (libc::SYS_rt_sigtimedwait, "waits for a signal (rt_sigtimedwait)"),
];

/// Calls whose first argument is a file descriptor: what the thread does, and the name of the call.
const ON_FILES: [(libc::c_long, &str, &str); 14] = [
    (libc::SYS_accept, "waits for a connection on", "accept"),
    (libc::SYS_accept4, "waits for a connection on", "accept4"),
    (libc::SYS_connect, "waits for an answer on", "connect"),
    (libc::SYS_read, "reads from", "read"),
    (libc::SYS_readv, "reads from", "readv"),
    (libc::SYS_recvfrom, "reads from", "recvfrom"),
    (libc::SYS_recvmsg, "reads from", "recvmsg"),
    (libc::SYS_recvmmsg, "reads from", "recvmmsg"),
    (libc::SYS_write, "writes to", "write"),
    (libc::SYS_writev, "writes to", "writev"),
    (libc::SYS_sendto, "writes to", "sendto"),
    (libc::SYS_sendmsg, "writes to", "sendmsg"),
    (libc::SYS_flock, "waits for the lock of", "flock"),
    (libc::SYS_fsync, "writes to", "fsync"),
];

/// What a thread in `state` (proc_pid_stat(5)) does, by the text of its `syscall` file; `file` names a file descriptor.
pub(super) fn doing(state: char, syscall: &str, file: impl Fn(i32) -> Option<String>) -> String {
    let mut words = syscall.split_whitespace();
    let number = words.next().and_then(|word| word.parse::<libc::c_long>().ok());
    let Some(number) = number.filter(|&number| number >= 0) else {
        return match state {
            'R' => "runs: it computes or spins".to_owned(),
            _ => format!("blocks (state {state})"),
        };
    };
    if let Some((_, text)) = WAITS.iter().chain(&OLD_WAITS).find(|(known, _)| *known == number) {
        return (*text).to_owned();
    }
    match ON_FILES.iter().find(|(known, ..)| *known == number) {
        Some((_, does, name)) => {
            let argument =
                words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
            let descriptor = argument.map(|argument| argument as i32);
            let named = descriptor.and_then(file).unwrap_or_else(|| "a file".to_owned());
            format!("{does} {named} ({name})")
        }
        None => format!("is in system call {number}"),
    }
}

#[cfg(test)]
mod tests {
    use nix::libc;

    use super::{doing, is_ours, own_name};

    #[test]
    fn a_call_on_a_socket_names_it() {
        let text = format!("{} 0x9 0x0 0x0 0x80000 0x0 0x0 0x7f 0x7f\n", libc::SYS_accept4);
        let file = |descriptor| (descriptor == 9).then(|| "tcp 10.0.0.1:80".to_owned());
        assert_eq!(doing('S', &text, file), "waits for a connection on tcp 10.0.0.1:80 (accept4)");
    }

    #[test]
    fn threads_are_shown_by_what_users_called_them() {
        assert_eq!(own_name("test@server/accepts".to_owned()), "accepts");
        assert_eq!(own_name("test@server".to_owned()), "test@server");
        assert!(is_ours("test@server/programs", ["server"].into_iter()));
        assert!(is_ours("server/nginx", ["client", "server"].into_iter()));
        assert!(!is_ours("serverless", ["server"].into_iter()));
        assert!(!is_ours("test@server/accepts", ["server"].into_iter()));
    }

    #[test]
    fn waits_and_loops_are_told_apart() {
        assert_eq!(doing('R', "running\n", |_| None), "runs: it computes or spins");
        let text = format!("{} 0x5 0x0 0x0 0xffffffff 0x0 0x8 0x7f 0x7f", libc::SYS_epoll_pwait);
        assert_eq!(doing('S', &text, |_| None), "waits for I/O or a timer (epoll_pwait)");
        assert_eq!(doing('S', "", |_| None), "blocks (state S)");
    }
}
