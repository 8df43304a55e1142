//! Sockets of this process that other threads own, by the number of their descriptor.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

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

/// A packet socket that sends by one interface, and hears nothing, packet(7). It is born in the calling thread's namespace.
pub(crate) fn packet_sender(interface: u32) -> io::Result<OwnedFd> {
    // SAFETY: socket(2) takes no memory; a new descriptor belongs to the caller alone.
    let socket = unsafe {
        match libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) {
            -1 => return Err(io::Error::last_os_error()),
            socket => OwnedFd::from_raw_fd(socket),
        }
    };
    bind_packet_for(socket.as_fd(), interface, 0)?;
    Ok(socket)
}

/// Binds a packet socket to one interface, for all protocols, packet(7).
pub(crate) fn bind_packet(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    bind_packet_for(socket, interface, libc::ETH_P_ALL as u16)
}

/// Binds a packet socket to one interface, for one protocol; for 0 it hears nothing.
fn bind_packet_for(socket: BorrowedFd<'_>, interface: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: all zeros is a value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface as i32;
    // SAFETY: the kernel reads one sockaddr_ll from this stack.
    let result = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
