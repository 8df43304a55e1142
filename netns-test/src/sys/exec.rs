//! What a child process does between fork(2) and execve(2).

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

use super::caps::Sets;
use super::userns::{self, As, Refused};

/// Who a program runs as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The caller's own user, with the node's capabilities.
    #[default]
    Own,
    /// The caller's own user without capabilities; user 65534 where the caller is root.
    Unprivileged,
    /// User 0: the caller itself, or in a user namespace of the program's own.
    Root,
}

/// `overflowuid` and `overflowgid` of every Linux: nobody, who owns nothing.
const NOBODY: u32 = 65534;

/// What is to be done in the child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) identity: Identity,
    /// The soft and the hard limit of open files.
    pub(crate) open_files: Option<(u64, u64)>,
}

impl Setup {
    /// Has `command` do it in each child, between fork(2) and execve(2).
    pub(crate) fn hook(self, command: &mut Command) {
        // SAFETY: `apply` makes system calls and writes to its own stack; it neither allocates nor takes a lock.
        unsafe { command.pre_exec(move || self.apply()) };
    }

    fn apply(self) -> io::Result<()> {
        if let Some((soft, hard)) = self.open_files {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        match self.identity {
            Identity::Own => Ok(()),
            Identity::Unprivileged => drop_privileges(),
            Identity::Root if geteuid().is_root() => Ok(()),
            Identity::Root => become_root(),
        }
    }
}

fn drop_privileges() -> io::Result<()> {
    if geteuid().is_root() {
        let become_nobody = || {
            setgroups(&[])?;
            setgid(Gid::from_raw(NOBODY))?;
            setuid(Uid::from_raw(NOBODY))
        };
        match become_nobody() {
            Ok(()) => {}
            // In a user namespace that maps nobody else, user 0 stays, and execve(2) gives it nothing.
            Err(Errno::EINVAL | Errno::EPERM) => keep_root_powerless()?,
            Err(error) => return Err(error.into()),
        }
    }
    // SAFETY: PR_CAP_AMBIENT takes integers and touches no memory.
    if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Sets { effective: 0, permitted: 0, inheritable: 0 }.apply()
}

/// `SECBIT_NOROOT`, which execve(2) keeps, and its lock (capabilities(7)).
fn keep_root_powerless() -> io::Result<()> {
    const NOROOT_AND_LOCK: libc::c_ulong = 0b11;
    // SAFETY: PR_SET_SECUREBITS takes an integer and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_SECUREBITS, NOROOT_AND_LOCK, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A user namespace in which the caller is user 0. It has no power over the node's network, which an outer one owns.
fn become_root() -> io::Result<()> {
    userns::enter(As::Root).map_err(|(Refused::Unshare(errno) | Refused::Map(errno))| errno.into())
}
