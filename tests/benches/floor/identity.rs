//! The right to make namespaces: as root, in the user namespace that netns-test made, or in one made here.

use std::{fs, io};

use crate::sys::{self, Capabilities};

/// Makes sure that [`raise`] will succeed. To be called while the process has one thread.
///
/// A binary that holds a netns test is in a user namespace before `main` starts, with its capabilities permitted but not
/// effective. Where no such constructor ran, the user namespace is made here in the same way.
pub(crate) fn prepare() -> io::Result<()> {
    if Capabilities::read()?.permitted & sys::NEEDED == sys::NEEDED {
        return Ok(());
    }
    let (user, group) = sys::user_and_group();
    sys::unshare(libc::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Makes the permitted capabilities of the calling thread effective.
pub(crate) fn raise() -> io::Result<()> {
    let sets = Capabilities::read()?;
    Capabilities { effective: sets.permitted, ..sets }.apply()
}

/// As [`raise`], also for the programs that the calling thread starts.
pub(crate) fn raise_with_programs() -> io::Result<()> {
    let sets = Capabilities::read()?;
    Capabilities { effective: sets.permitted, inheritable: sets.permitted, ..sets }.apply()?;
    (0..u64::BITS).filter(|bit| sets.permitted >> bit & 1 == 1).try_for_each(sys::raise_ambient)
}
