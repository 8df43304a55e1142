//! Sockets of this process that other threads own, by the number of their descriptor.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::libc;

/// A second descriptor of what another thread has open under this number, fcntl(2) with `F_DUPFD_CLOEXEC`. It stays what
/// it is, whatever the other thread does with its number.
pub(crate) fn duplicate(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl checks the number, and takes no memory; a new descriptor belongs to the caller alone.
    unsafe {
        match libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) {
            -1 => Err(io::Error::last_os_error()),
            copy => Ok(OwnedFd::from_raw_fd(copy)),
        }
    }
}

/// The network namespace that a socket was born in, `SIOCGSKNS` of linux/sockios.h. It needs CAP_NET_ADMIN there.
pub(crate) fn namespace_of(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const SIOCGSKNS: u16 = 0x894c;
    // SAFETY: this ioctl takes no memory; a new descriptor belongs to the caller alone.
    unsafe {
        match libc::ioctl(socket.as_raw_fd(), SIOCGSKNS.into()) {
            -1 => Err(io::Error::last_os_error()),
            namespace => Ok(OwnedFd::from_raw_fd(namespace)),
        }
    }
}

/// A socket's address family, `SO_DOMAIN` of socket(7).
pub(crate) fn domain(socket: BorrowedFd<'_>) -> io::Result<i32> {
    let mut domain: libc::c_int = 0;
    let mut length = size_of_val(&domain) as libc::socklen_t;
    // SAFETY: the kernel writes one int, and its length, to this stack.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut domain).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(domain) } else { Err(io::Error::last_os_error()) }
}

/// Binds a packet socket to one interface, for all protocols, packet(7).
pub(crate) fn bind_packet(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: all zeros is a value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface as i32;
    // SAFETY: the kernel reads one sockaddr_ll from this stack.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
