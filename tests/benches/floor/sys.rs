//! The system calls of the benchmark, and every `unsafe` in it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use libc::c_int;

/// The capability sets of the calling thread, capabilities(7).
#[derive(Clone, Copy, Default)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

/// `CAP_NET_ADMIN`, `CAP_SYS_CHROOT` and `CAP_SYS_ADMIN` of linux/capability.h: what making, wiring and entering
/// namespaces takes.
pub(crate) const NEEDED: u64 = 1 << 12 | 1 << 18 | 1 << 21;

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits, in two halves.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilityHalf {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

impl Capabilities {
    /// Reads the sets of the calling thread, capget(2).
    pub(crate) fn read() -> io::Result<Self> {
        let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
        let mut halves = [CapabilityHalf::default(); 2];
        // SAFETY: version 3 reads one header and writes two halves; both live on this stack.
        check("capget", unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
        let join =
            |set: fn(&CapabilityHalf) -> u32| u64::from(set(&halves[1])) << 32 | u64::from(set(&halves[0]));
        Ok(Self {
            effective: join(|half| half.effective),
            permitted: join(|half| half.permitted),
            inheritable: join(|half| half.inheritable),
        })
    }

    /// Makes these the sets of the calling thread, capset(2).
    pub(crate) fn apply(self) -> io::Result<()> {
        let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
        let half = |shift: u32| CapabilityHalf {
            effective: (self.effective >> shift) as u32,
            permitted: (self.permitted >> shift) as u32,
            inheritable: (self.inheritable >> shift) as u32,
        };
        let halves = [half(0), half(32)];
        // SAFETY: version 3 reads one header and two halves; both live on this stack.
        check("capset", unsafe { libc::syscall(libc::SYS_capset, &raw mut header, halves.as_ptr()) })
    }
}

/// Makes one inheritable capability ambient, so that programs which this thread starts have it, prctl(2).
pub(crate) fn raise_ambient(capability: u32) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: PR_CAP_AMBIENT takes numbers only.
    check("prctl", unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
            libc::c_ulong::from(capability),
            zero,
            zero,
        )
        .into()
    })
}

/// Moves the calling thread into new namespaces, unshare(2).
pub(crate) fn unshare(kinds: c_int) -> io::Result<()> {
    // SAFETY: unshare takes a number only. Descriptors and memory are not unshared by any flag of this benchmark.
    check("unshare", unsafe { libc::unshare(kinds) }.into())
}

/// Moves the calling thread into the namespace that a descriptor refers to, setns(2).
pub(crate) fn enter(namespace: &impl AsFd, kind: c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as it is borrowed.
    check("setns", unsafe { libc::setns(namespace.as_fd().as_raw_fd(), kind) }.into())
}

/// mount(2).
pub(crate) fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: three strings that end with a zero byte and outlive the call; no data.
    check(
        "mount",
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) }
            .into(),
    )
}

/// chdir(2); of the calling thread alone once it has unshared its mount namespace.
pub(crate) fn change_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: a string that ends with a zero byte and outlives the call.
    check("chdir", unsafe { libc::chdir(path.as_ptr()) }.into())
}

/// sethostname(2).
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the string is long.
    check("sethostname", unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }.into())
}

/// The ids of the user and the group, geteuid(2) and getegid(2).
pub(crate) fn user_and_group() -> (u32, u32) {
    // SAFETY: neither has arguments or can fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Raises the soft limit of open files to the hard one and returns it, setrlimit(2).
pub(crate) fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which lives on this stack.
    check("getrlimit", unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }.into())?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one `rlimit`, which lives on this stack.
    check("setrlimit", unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into())?;
    Ok(limit.rlim_cur)
}

/// A NETLINK_ROUTE socket of the calling thread's network namespace, netlink(7).
pub(crate) fn netlink_socket() -> io::Result<OwnedFd> {
    // SAFETY: socket takes numbers only.
    let socket =
        unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) };
    check("socket", socket.into())?;
    // SAFETY: the descriptor was just made and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Sends one datagram to the peer that an unconnected netlink socket has: the kernel, send(2).
pub(crate) fn send(socket: &OwnedFd, datagram: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as the slice is long.
    let sent = unsafe { libc::send(socket.as_raw_fd(), datagram.as_ptr().cast(), datagram.len(), 0) };
    check("send", sent as i64)
}

/// Receives one datagram, recv(2); returns its length.
pub(crate) fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most as many bytes as the slice is long.
    let received = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Opens a namespace of the calling thread; `kind` is `net`, `mnt` or `uts`.
pub(crate) fn own_namespace(kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(Path::new("/proc/thread-self/ns").join(kind))?.into())
}

/// The kernel's release, uname(2) by way of procfs.
pub(crate) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())
}

/// Whether a program is found along `PATH`.
pub(crate) fn has_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|directory| {
            let Ok(path) = CString::new(directory.join(name).into_os_string().into_encoded_bytes()) else {
                return false;
            };
            // SAFETY: a string that ends with a zero byte and outlives the call.
            unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
        })
    })
}

/// An error names the call that it came from.
fn check(call: &str, result: i64) -> io::Result<()> {
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(io::Error::new(error.kind(), format!("{call}: {error}")));
    }
    Ok(())
}
