//! The PID namespace of a test's programs.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};

use crate::error::{Doing, Error};
use crate::{janitor, sys};

/// How long the processes of a PID namespace may take to be gone, in milliseconds.
const PATIENCE: u16 = 10_000;

/// A PID namespace: what is in it dies with its first process, and that one dies with the test process or before.
#[derive(Debug)]
pub(crate) struct PidNamespace {
    first: OwnedFd,
    pid: OwnedFd,
    /// The mount namespace of the first process, whose /proc is the one of this PID namespace.
    mount: OwnedFd,
}

impl PidNamespace {
    /// Makes one. The calling thread's /proc has to be the host's.
    pub(crate) fn make() -> Result<Self, Error> {
        let process = janitor::make_pid_namespace()?;
        let open = |kind: &str| {
            let path = format!("/proc/{process}/ns/{kind}");
            fs::File::open(&path).map(OwnedFd::from).doing(|| format!("open `{path}`"))
        };
        let first = sys::fork::pidfd(process).doing(|| "open the first process of a PID namespace")?;
        match open("pid").and_then(|pid| Ok((pid, open("mnt")?))) {
            Ok((pid, mount)) => Ok(Self { first, pid, mount }),
            Err(error) => {
                // Nobody would end it before the test process ends. It cannot have ended by itself.
                sys::fork::signal(first.as_fd(), nix::libc::SIGKILL)
                    .doing(|| "end a PID namespace that cannot be used")?;
                Err(error)
            }
        }
    }

    /// Moves the calling thread into the mounts of the first process and returns a copy of its /proc, attached nowhere.
    pub(crate) fn proc(&self) -> Result<OwnedFd, Error> {
        setns(self.mount.as_fd(), CloneFlags::CLONE_NEWNS).doing(|| "enter the mounts of a PID namespace")?;
        sys::mount::copy_of(c"/proc").doing(|| "copy the /proc of a PID namespace")
    }

    /// From here on, the calling thread's children are in this namespace. It can start no thread any more (clone(2)).
    pub(crate) fn adopt_children(&self) -> Result<(), Error> {
        setns(self.pid.as_fd(), CloneFlags::CLONE_NEWPID).doing(|| "enter the PID namespace of the test")
    }

    /// Ends every process in it, and returns when they are gone.
    pub(crate) fn end(&self) -> Result<(), Error> {
        match sys::fork::signal(self.first.as_fd(), nix::libc::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => {}
            sent => sent.doing(|| "end the programs of the test")?,
        }
        loop {
            // A pidfd is readable when its process has ended, which the first of a PID namespace does after all others.
            match poll(&mut [PollFd::new(self.first.as_fd(), PollFlags::POLLIN)], PollTimeout::from(PATIENCE))
            {
                Ok(0) => return Err(Error::because("end the programs of the test", "they do not die")),
                Ok(_) => return Ok(()),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(Error::new("wait for the end of the test's programs", error)),
            }
        }
    }
}
