//! Capability sets of the calling thread, capabilities(7).

use std::io;

use nix::libc;

/// Bits of capabilities(7) that the crate names.
pub(crate) const CAP_NET_ADMIN: u32 = 12;
pub(crate) const CAP_NET_RAW: u32 = 13;
pub(crate) const CAP_SYS_CHROOT: u32 = 18;
pub(crate) const CAP_SYS_ADMIN: u32 = 21;

/// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h: sets of 64 bits, as two halves.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets that capset(2) can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

impl Sets {
    /// The calling thread's sets, capget(2).
    pub(crate) fn current() -> io::Result<Self> {
        let mut header = Header { version: VERSION_3, pid: 0 };
        let mut halves = [Half::default(); 2];
        // SAFETY: version 3 reads one header and writes two halves; both live on this stack.
        let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        Ok(Self {
            effective: join(halves[0].effective, halves[1].effective),
            permitted: join(halves[0].permitted, halves[1].permitted),
            inheritable: join(halves[0].inheritable, halves[1].inheritable),
        })
    }

    /// Makes these the calling thread's sets, capset(2).
    pub(crate) fn apply(self) -> io::Result<()> {
        let mut header = Header { version: VERSION_3, pid: 0 };
        let half = |shift: u32| Half {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let halves = [half(0), half(32)];
        // SAFETY: version 3 reads one header and two halves; both live on this stack.
        let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Whether every capability in `wanted` is effective.
    pub(crate) fn can(&self, wanted: &[u32]) -> bool {
        wanted.iter().all(|&capability| self.effective & (1 << capability) != 0)
    }
}

/// Gives the calling thread all that it is permitted, and lets its children keep it across execve(2) (the ambient set).
pub(crate) fn raise() -> io::Result<()> {
    let sets = Sets::current()?;
    if sets.effective == sets.permitted && sets.inheritable == sets.permitted {
        return Ok(());
    }
    Sets { effective: sets.permitted, inheritable: sets.permitted, ..sets }.apply()?;
    for capability in (0..64).filter(|bit| sets.permitted & (1 << bit) != 0) {
        // SAFETY: PR_CAP_AMBIENT takes three integers and touches no memory.
        let result =
            unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
