//! Sockets in a pod's network namespace, made by a proxy that lives elsewhere.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The mark of the proxy's own connections, which are not redirected to it again: ztunnel's.
pub const MARK: u32 = 0x539;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A network namespace: the proxy's own, or one that it was handed.
#[derive(Debug)]
pub struct Namespace(Option<OwnedFd>);

impl Namespace {
    /// The one that the proxy is in.
    pub fn own() -> Self {
        Self(None)
    }

    /// The one of this descriptor.
    pub fn of(descriptor: OwnedFd) -> Self {
        Self(Some(descriptor))
    }

    /// Does something in the namespace, and comes back. A socket that is made there stays there.
    fn enter<R>(&self, work: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let Some(target) = &self.0 else { return work() };
        let _back = Back(File::open("/proc/thread-self/ns/net")?);
        move_into_link_name_space(target.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    }

    /// A listener for both families that also takes connections to foreign addresses, as `TPROXY` brings them.
    pub(crate) fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let socket = self.enter(TcpSocket::new_v6)?;
        SockRef::from(&socket).set_only_v6(false)?;
        SockRef::from(&socket).set_ip_transparent_v4(true)?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv6Addr::UNSPECIFIED, port).into())?;
        socket.listen(BACKLOG)
    }

    /// A connection of the proxy's own, if need be with another's address.
    pub(crate) async fn connect(&self, to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
        let socket = self.enter(|| if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })?;
        SockRef::from(&socket).set_mark(MARK)?;
        if let Some(from) = from {
            SockRef::from(&socket).set_ip_transparent_v4(true)?;
            socket.bind((from, 0).into())?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Returns the thread to the namespace that it came from.
struct Back(File);

impl Drop for Back {
    fn drop(&mut self) {
        if move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
            // Whatever this thread did next, it would do in a pod.
            std::process::abort();
        }
    }
}

/// Where a connection was to go that was redirected on its way out of a pod.
pub(crate) fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let found = match stream.peer_addr()?.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4()?,
        IpAddr::V6(_) => socket.original_dst_v6()?,
    };
    found.as_socket().ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The address as it was on the wire: a socket of both families shows IPv4 ones as IPv6.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
