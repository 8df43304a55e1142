//! A user namespace with one user in it, user_namespaces(7).

use std::ffi::CStr;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid};

/// What the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `unshare(CLONE_NEWUSER)`.
    Unshare(Errno),
    /// Writing /proc/self/setgroups, uid_map or gid_map.
    Map(Errno),
}

/// Who the caller is in the new namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As {
    /// The same user and group as outside.
    Itself,
    /// User and group 0.
    Root,
}

/// Moves the calling process, which has one thread, into a new user namespace. It makes system calls only.
pub(crate) fn enter(whom: As) -> Result<(), Refused> {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let inside = |id: u32| if whom == As::Root { 0 } else { id };
    unshare(CloneFlags::CLONE_NEWUSER).map_err(Refused::Unshare)?;
    // An unprivileged process maps its own ids alone, and must give up setgroups(2) first.
    write_file(c"/proc/self/setgroups", format_args!("deny"))?;
    write_file(c"/proc/self/uid_map", format_args!("{} {user} 1", inside(user)))?;
    write_file(c"/proc/self/gid_map", format_args!("{} {group} 1", inside(group)))
}

/// Whether a user namespace, by its link in /proc, is the calling process's own or stands in it. One that cannot be read does
/// not.
pub(crate) fn is_within_own(link: &str) -> bool {
    // `_IO(NSIO, 2)` of linux/nsfs.h: the user namespace around one, ioctl_ns(2).
    const NS_GET_PARENT: u16 = 0xb702;
    let inode = |namespace: &OwnedFd| nix::sys::stat::fstat(namespace).map(|found| found.st_ino);
    let open = |path: &str| open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let (Ok(own), Ok(mut namespace)) = (open("/proc/self/ns/user").and_then(|own| inode(&own)), open(link))
    else {
        return false;
    };
    while inode(&namespace) != Ok(own) {
        // SAFETY: this ioctl takes no memory; a new descriptor belongs to the caller alone.
        namespace = unsafe {
            match libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT.into()) {
                // EPERM: it is none that the caller could see.
                -1 => return false,
                parent => OwnedFd::from_raw_fd(parent),
            }
        };
    }
    true
}

/// Writes a short text in one write(2), as the files of user namespaces demand.
fn write_file(path: &CStr, text: std::fmt::Arguments<'_>) -> Result<(), Refused> {
    let mut buffer = [0_u8; 64];
    let mut rest = &mut buffer[..];
    if rest.write_fmt(text).is_err() {
        return Err(Refused::Map(Errno::E2BIG));
    }
    let unused = rest.len();
    let length = buffer.len() - unused;
    let write = || {
        let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        nix::unistd::write(&file, &buffer[..length])
    };
    write().map(drop).map_err(Refused::Map)
}
