//! The namespaces of one node, and entering them.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::{fs, io};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;

use crate::directory::WorkingDirectory;
use crate::error::{Doing, Error};
use crate::{registry, sys};

/// A network, a mount and a UTS namespace, held by their file descriptors.
#[derive(Debug)]
pub(crate) struct Namespaces {
    net: OwnedFd,
    mount: OwnedFd,
    uts: OwnedFd,
    inodes: Inodes,
}

/// The names of namespaces in the kernel: their inode numbers (namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Inodes {
    net: u64,
    mount: u64,
    uts: u64,
}

impl Inodes {
    /// Those that the calling thread is in.
    fn current() -> io::Result<Self> {
        Ok(Self { net: current_inode()?, mount: current("mnt")?, uts: current("uts")? })
    }
}

/// The inode number of one namespace of the calling thread. /proc/self would be the main thread's.
fn current(kind: &str) -> io::Result<u64> {
    Ok(nix::sys::stat::stat(format!("/proc/thread-self/ns/{kind}").as_str())?.st_ino)
}

/// What all three are made with.
const ALL: CloneFlags =
    CloneFlags::CLONE_NEWNET.union(CloneFlags::CLONE_NEWNS).union(CloneFlags::CLONE_NEWUTS);

impl Namespaces {
    /// Moves the calling thread into new namespaces, the mounts copied from where it stands.
    pub(crate) fn unshare() -> Result<Self, Error> {
        unshare(ALL).doing(|| "create namespaces")?;
        Self::of_this_thread().doing(|| "open the new namespaces")
    }

    fn of_this_thread() -> io::Result<Self> {
        let open = |kind: &str| fs::File::open(format!("/proc/thread-self/ns/{kind}")).map(OwnedFd::from);
        let (net, mount, uts) = (open("net")?, open("mnt")?, open("uts")?);
        let inode = |namespace: &OwnedFd| fstat(namespace).map(|stat| stat.st_ino);
        let inodes = Inodes { net: inode(&net)?, mount: inode(&mount)?, uts: inode(&uts)? };
        Ok(Self { net, mount, uts, inodes })
    }

    pub(crate) fn net(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }

    /// The network namespace's inode number, which is its name in the kernel (namespaces(7)).
    pub(crate) fn inode(&self) -> u64 {
        self.inodes.net
    }

    /// The descriptors of the network, the mount and the UTS namespace.
    pub(crate) fn descriptors(&self) -> [RawFd; 3] {
        [&self.net, &self.mount, &self.uts].map(AsRawFd::as_raw_fd)
    }

    /// The inode numbers of all three; no two namespaces of whatever kind have the same.
    pub(crate) fn inodes(&self) -> [u64; 3] {
        let Inodes { net, mount, uts } = self.inodes;
        [net, mount, uts]
    }

    /// Whether the calling thread is in all of them.
    pub(crate) fn are_here(&self) -> io::Result<bool> {
        Ok(Inodes::current()? == self.inodes)
    }

    /// Moves the calling thread in for good. Its working directory stays the one of that name.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let directory = WorkingDirectory::of_this_thread();
        // setns(2) refuses a mount namespace to a thread that shares its root and working directory with another.
        unshare(CloneFlags::CLONE_FS)?;
        setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET)?;
        setns(self.mount.as_fd(), CloneFlags::CLONE_NEWNS)?;
        setns(self.uts.as_fd(), CloneFlags::CLONE_NEWUTS)?;
        directory.return_to();
        Ok(())
    }

    /// Moves the calling thread into the mount namespace alone.
    pub(crate) fn settle_mounts(&self) -> io::Result<()> {
        Ok(setns(self.mount.as_fd(), CloneFlags::CLONE_NEWNS)?)
    }
}

/// The network namespace that the calling thread is in, by inode number.
pub(crate) fn current_inode() -> io::Result<u64> {
    current("net")
}

/// Makes the calling thread one that may make and enter namespaces: its capabilities raised, its working directory its
/// own.
pub(crate) fn prepare_thread() -> Result<(), Error> {
    if matches!(crate::bootstrap::state(), Some(crate::bootstrap::State::UserNamespace)) {
        sys::caps::raise().doing(|| "raise the capabilities of a thread")?;
    }
    unshare(CloneFlags::CLONE_FS).doing(|| "give a thread a working directory of its own")
}

/// How much of a node a thread enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Network, mounts and host name.
    Whole,
    /// The network alone: enough for a socket to be born in it.
    Network,
}

/// The calling thread is in other namespaces than its own until this is dropped.
///
/// If it cannot be brought back the process aborts, rather than go on in the wrong network.
#[must_use = "the thread returns when this is dropped"]
pub(crate) struct Entered {
    back: Option<Back>,
    /// It is about one thread.
    _not_send: PhantomData<*const ()>,
}

struct Back {
    home: Arc<Namespaces>,
    depth: Depth,
    directory: Option<WorkingDirectory>,
}

/// Moves the calling thread, which has to be one of a running test, into `target`.
pub(crate) fn enter(target: &Namespaces, depth: Depth) -> io::Result<Entered> {
    let home = registry::here()?
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::PermissionDenied,
                "this thread is not one of the test's: it could never return from a node to the namespace that it is in \
                 (use `run`, `spawn` or `spawn_thread`, which bring a thread of the node's own)",
            )
        })?
        .namespaces;
    // Code that entered the network by itself is at home in it, with mounts and a host name from elsewhere.
    let home = match depth {
        Depth::Whole if !home.are_here()? => Arc::new(Namespaces::of_this_thread()?),
        _ => home,
    };
    let is_there = match depth {
        Depth::Whole => home.inodes == target.inodes,
        Depth::Network => home.inodes.net == target.inodes.net,
    };
    if is_there {
        return Ok(Entered { back: None, _not_send: PhantomData });
    }
    let directory = match depth {
        Depth::Whole => {
            unshare(CloneFlags::CLONE_FS)?;
            Some(WorkingDirectory::of_this_thread())
        }
        Depth::Network => None,
    };
    setns(target.net.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let entered = Entered { back: Some(Back { home, depth, directory }), _not_send: PhantomData };
    if depth == Depth::Whole {
        // From here on a refusal drops `entered`, which brings the thread back.
        setns(target.mount.as_fd(), CloneFlags::CLONE_NEWNS)?;
        setns(target.uts.as_fd(), CloneFlags::CLONE_NEWUTS)?;
        if let Some(back) = &entered.back {
            back.restore_directory();
        }
    }
    Ok(entered)
}

impl Back {
    fn restore_directory(&self) {
        if let Some(directory) = &self.directory {
            directory.return_to();
        }
    }

    fn go(&self) -> io::Result<()> {
        setns(self.home.net.as_fd(), CloneFlags::CLONE_NEWNET)?;
        if self.depth == Depth::Whole {
            // A thread that was started meanwhile shares root and working directory with this one.
            unshare(CloneFlags::CLONE_FS)?;
            setns(self.home.mount.as_fd(), CloneFlags::CLONE_NEWNS)?;
            setns(self.home.uts.as_fd(), CloneFlags::CLONE_NEWUTS)?;
            // The directory may have been removed meanwhile: the thread is at home all the same.
            self.restore_directory();
        }
        Ok(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.back.take().map(|back| back.go()) {
            let text =
                format!("netns-test: failed to return a thread to its own namespaces, aborting: {error}\n");
            sys::process::write_raw(2, text.as_bytes());
            std::process::abort();
        }
    }
}
