//! Signals by name.

use std::fmt;

use nix::libc;

/// A signal that a [`Child`](super::Child) can be sent, signal(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

impl Signal {
    /// SIGHUP: many daemons read their configuration again.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// SIGINT, as from Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// SIGQUIT: for nginx, the graceful end.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// SIGUSR1.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// SIGUSR2.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// SIGTERM: a request to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// SIGKILL: the end, which no program can refuse.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// SIGSTOP: the program stands still until [`CONT`](Self::CONT).
    pub const STOP: Self = Self(libc::SIGSTOP);
    /// SIGCONT.
    pub const CONT: Self = Self(libc::SIGCONT);

    /// A signal by its number; the kernel refuses one that does not exist when it is sent.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(known) => f.write_str(known.as_str()),
            Err(_) => write!(f, "signal {}", self.0),
        }
    }
}
