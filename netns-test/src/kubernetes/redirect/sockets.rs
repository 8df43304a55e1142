//! What a transparent proxy does to its sockets, and what they tell it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn,
    SockaddrIn6, SockaddrStorage, sockopt,
};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::node::Node;

/// Where a connection that was redirected was to go, by connection tracking (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
///
/// Of one that came transparently it is the accepted socket's own address, which this tells as well. Datagrams have
/// [`receive_redirected`].
///
/// # Errors
/// The kernel's own: the connection was neither redirected nor tracked.
pub fn original_destination(stream: &impl AsFd) -> io::Result<SocketAddr> {
    let stream = stream.as_fd();
    let v4 = || {
        socket::getsockopt(&stream, sockopt::OriginalDst)
            .map(SockaddrIn::from)
            .map(|to| SocketAddrV4::from(to).into())
    };
    let v6 = || {
        socket::getsockopt(&stream, sockopt::Ip6tOriginalDst)
            .map(SockaddrIn6::from)
            .map(|to| SocketAddrV6::from(to).into())
    };
    // A socket of IPv6 may have a peer of IPv4.
    let peer: SockaddrStorage = socket::getpeername(stream.as_raw_fd())?;
    let is_v4 = peer.as_sockaddr_in6().is_none_or(|peer| peer.ip().to_ipv4_mapped().is_some());
    let found: Result<SocketAddr, Errno> = if is_v4 { v4() } else { v6() };
    Ok(found?)
}

/// Makes a socket transparent (`IP_TRANSPARENT`, ip(7)): a listener takes connections to foreign addresses, and a socket may be bound
/// to one. It needs CAP_NET_ADMIN, which all threads of a test have.
///
/// # Errors
/// The kernel's own.
pub fn set_transparent(socket: &impl AsFd) -> io::Result<()> {
    Ok(socket::setsockopt(&socket.as_fd(), sockopt::IpTransparent, &true)?)
}

/// Receives a datagram that was redirected: its length, who sent it, and where it was to go (`IP_ORIGDSTADDR`, ip(7)). Addresses of IPv4
/// are told as such, also by a socket of IPv6.
///
/// # Errors
/// The kernel's own.
///
/// ```
/// use netns_test::kubernetes::{Pod, Redirect, receive_redirected, set_transparent};
/// use netns_test::netns_test;
///
/// #[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
/// async fn datagrams(client: Pod, server: Pod) -> std::io::Result<()> {
///     let proxy = client.bind_udp("[::]:15001").await?;
///     set_transparent(&proxy)?;
///     client.redirect(Redirect::in_pod().outbound_udp(15001).unless_mark(0x539))?;
///
///     let app = client.bind_udp(0).await?;
///     app.send_to(b"ping", (server.ip(), 9)).await?;
///     let (_, from, to) = receive_redirected(&proxy, &mut [0; 4]).await?;
///     assert_eq!(to, (server.ip(), 9).into());
///
///     // An answer comes from where the question went.
///     client.bind_udp_as(to)?.send_to(b"pong", from).await?;
///     assert_eq!(app.recv_from(&mut [0; 4]).await?.1, to);
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub async fn receive_redirected(
    socket: &UdpSocket,
    buffer: &mut [u8],
) -> io::Result<(usize, SocketAddr, SocketAddr)> {
    socket::setsockopt(socket, sockopt::Ipv4OrigDstAddr, &true)?;
    if socket.local_addr()?.is_ipv6() {
        socket::setsockopt(socket, sockopt::Ipv6OrigDstAddr, &true)?;
    }
    socket.async_io(Interest::READABLE, || receive(socket, buffer)).await
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr, SocketAddr)> {
    let mut slices = [IoSliceMut::new(buffer)];
    let mut space = nix::cmsg_space!(nix::libc::sockaddr_in6);
    let message = socket::recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let from = message.address.as_ref().and_then(plain);
    let to = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4OrigDstAddr(to) => Some(SocketAddrV4::from(SockaddrIn::from(to)).into()),
        ControlMessageOwned::Ipv6OrigDstAddr(to) => Some(SocketAddrV6::from(SockaddrIn6::from(to)).into()),
        _ => None,
    });
    match (from, to) {
        (Some(from), Some(to)) => Ok((message.bytes, from, to)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel has not told the datagram's addresses",
        )),
    }
}

/// An address of IP, those of IPv4 as such.
fn plain(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|ip| SocketAddr::from(SocketAddrV4::from(*ip)));
    let v6 = || address.as_sockaddr_in6().map(|ip| SocketAddr::from(SocketAddrV6::from(*ip)));
    v4.or_else(v6).map(|address| SocketAddr::new(address.ip().to_canonical(), address.port()))
}

impl Node {
    /// A UDP socket of this node that speaks with another's address: a proxy's answer comes from where the question was sent to.
    ///
    /// It is transparent ([`set_transparent`]) and shares its address with others of its kind (`SO_REUSEADDR`), one for each client.
    ///
    /// # Errors
    /// The kernel's own; the test has ended, the node has crashed, or the calling thread is none of the test's.
    pub fn bind_udp_as(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        self.net()?;
        let socket = self.born_here(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket = socket::socket(family, SockType::Datagram, flags, None)?;
            set_transparent(&socket)?;
            socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
            socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
            Ok(socket)
        })?;
        UdpSocket::from_std(socket.into())
    }

    /// Hands the node's network namespace to another process over a Unix socket (`SCM_RIGHTS`, unix(7)), with some bytes that say what
    /// it is: as a CNI plugin hands a pod's to a proxy on the node.
    ///
    /// # Errors
    /// The kernel's own; the test has ended; there are no bytes, and without any nothing is sent.
    pub fn send_netns(&self, to: &impl AsFd, message: &[u8]) -> io::Result<()> {
        self.net()?;
        if message.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor is sent beside one byte or more",
            ));
        }
        let descriptors = [self.netns_fd().as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let text = [IoSlice::new(message)];
        let sent =
            socket::sendmsg::<()>(to.as_fd().as_raw_fd(), &text, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
        match sent == message.len() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::WriteZero, "not all of the message was sent")),
        }
    }
}
