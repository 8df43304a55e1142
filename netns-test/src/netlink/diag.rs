//! `NETLINK_SOCK_DIAG`: the sockets of a namespace, listed and destroyed.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6},
};

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_sock_diag::{
    IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY, SockDiagDestroy, SockDiagMessage, TCP_CLOSE,
    TCP_CLOSE_WAIT, TCP_CLOSING, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LAST_ACK, TCP_LISTEN,
    TCP_SYN_RECV, TCP_SYN_SENT, TCP_TIME_WAIT,
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::libc;

use super::{
    socket::{Channel, Refusal},
    state::{Protocol, Socket, SocketState},
};

/// The version of the Internet Protocol. A socket of IPv6 may carry IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Self::V4 => netlink_packet_sock_diag::AF_INET,
            Self::V6 => netlink_packet_sock_diag::AF_INET6,
        }
    }
}

/// A `NETLINK_SOCK_DIAG` socket.
///
/// It speaks for the network namespace that it was opened in, whichever thread uses it. Listing needs no privilege;
/// destroying needs `CAP_NET_ADMIN` over that namespace.
pub(crate) struct DiagSocket {
    channel: Channel,
}

impl DiagSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Channel::open(NETLINK_SOCK_DIAG).map(|channel| Self { channel })
    }

    /// The sockets of one protocol and family; an IPv6 socket that carries IPv4 counts as IPv6.
    pub(crate) fn sockets(&self, protocol: Protocol, family: Family) -> io::Result<Vec<Socket>> {
        self.sockets_in(protocol, family, StateFlags::all())
    }

    fn sockets_in(&self, protocol: Protocol, family: Family, states: StateFlags) -> io::Result<Vec<Socket>> {
        let request = request(protocol, family, states);
        let sockets = self.channel.dump(&request, |kind, payload| match kind {
            SOCK_DIAG_BY_FAMILY => decode(protocol, payload).map(Some),
            _ => Ok(None),
        });
        sockets.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT) => io::Error::new(
                io::ErrorKind::Unsupported,
                format!("the kernel cannot list {protocol} sockets: it has no `{protocol}_diag`"),
            ),
            _ => error,
        })
    }

    /// All TCP and UDP sockets.
    pub(crate) fn all_sockets(&self) -> io::Result<Vec<Socket>> {
        let mut all = Vec::new();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for family in [Family::V4, Family::V6] {
                all.extend(self.sockets(protocol, family)?);
            }
        }
        Ok(all)
    }

    /// The sockets that wait for peers: TCP sockets that listen, and UDP sockets that are bound and not connected.
    ///
    /// Connections stand in one table for all namespaces, which takes the kernel 0.2 ms to look through. This does not.
    pub(crate) fn listeners(&self, protocol: Protocol) -> io::Result<Vec<Socket>> {
        let states = || match protocol {
            Protocol::Tcp => StateFlags::LISTEN,
            Protocol::Udp => StateFlags::all(),
        };
        let mut sockets = self.sockets_in(protocol, Family::V4, states())?;
        sockets.extend(self.sockets_in(protocol, Family::V6, states())?);
        sockets.retain(Socket::is_listening);
        Ok(sockets)
    }

    /// Destroys all TCP and UDP sockets under their owners, whose calls return with an error; returns their number.
    ///
    /// The error is `EOPNOTSUPP` where the kernel was built without `CONFIG_INET_DIAG_DESTROY`.
    pub(crate) fn destroy_all(&self) -> io::Result<usize> {
        // A connection may have come in between the list and the listener's end, hence a second look at TCP. UDP
        // sockets stay on the list, unconnected, until their owners close them.
        let destroyed = self.destroy_each(&self.all_sockets()?)?;
        let mut late = self.sockets(Protocol::Tcp, Family::V4)?;
        late.extend(self.sockets(Protocol::Tcp, Family::V6)?);
        Ok(destroyed + self.destroy_each(&late)?)
    }

    fn destroy_each(&self, sockets: &[Socket]) -> io::Result<usize> {
        let requests = sockets.iter().map(|socket| (destroy_request(socket), 0));
        match self.channel.transact(requests, is_gone) {
            Ok(gone) => Ok(sockets.len() - gone),
            Err((_, refusal)) => Err(refusal.into()),
        }
    }
}

/// Whether the socket does not exist any more, or another one has taken its addresses (`ESTALE`).
fn is_gone(refusal: &Refusal) -> bool {
    matches!(refusal.errno(), Some(libc::ENOENT | libc::ESTALE))
}

fn request(protocol: Protocol, family: Family, states: StateFlags) -> SockDiagMessage {
    let socket_id = match family {
        Family::V4 => SocketId::new_v4(),
        Family::V6 => SocketId::new_v6(),
    };
    SockDiagMessage::InetRequest(InetRequest {
        family: family.number(),
        protocol: number(protocol),
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    })
}

fn destroy_request(socket: &Socket) -> SockDiagDestroy {
    let (family, unspecified) = match socket.local {
        SocketAddr::V4(_) => (Family::V4, SocketId::new_v4()),
        SocketAddr::V6(_) => (Family::V6, SocketId::new_v6()),
    };
    let remote = socket.remote.map(|remote| (remote.ip(), remote.port()));
    let (destination_address, destination_port) = remote.unwrap_or((unspecified.destination_address, 0));
    SockDiagDestroy::new(SockDiagMessage::InetRequest(InetRequest {
        family: family.number(),
        protocol: number(socket.protocol),
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: socket.local.port(),
            destination_port,
            source_address: socket.local.ip(),
            destination_address,
            interface_id: socket.link.unwrap_or(0),
            cookie: socket.cookie,
        },
    }))
}

pub(super) fn decode(protocol: Protocol, payload: &[u8]) -> Result<Socket, DecodeError> {
    let response = InetResponse::parse(payload)?;
    let header = response.header;
    let id = header.socket_id;
    let link = id.interface_id;
    let connected = id.destination_port != 0 || !id.destination_address.is_unspecified();
    Ok(Socket {
        protocol,
        state: state(protocol, header.state),
        local: socket_addr(id.source_address, id.source_port, link),
        remote: connected.then(|| socket_addr(id.destination_address, id.destination_port, link)),
        v6_only: response.nlas.contains(&Nla::SkV6Only(true)),
        link: Some(link).filter(|&link| link != 0),
        inode: header.inode,
        uid: header.uid,
        recv_queue: header.recv_queue,
        send_queue: header.send_queue,
        cookie: id.cookie,
    })
}

/// A link-local address means something on its link only, which the kernel reports as the socket's interface.
fn socket_addr(ip: IpAddr, port: u16, link: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, port, 0, link).into(),
        ip => SocketAddr::new(ip, port),
    }
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    }
}

fn state(protocol: Protocol, state: u8) -> SocketState {
    match state {
        TCP_ESTABLISHED => SocketState::Established,
        TCP_SYN_SENT => SocketState::SynSent,
        TCP_SYN_RECV => SocketState::SynReceived,
        TCP_FIN_WAIT1 => SocketState::FinWait1,
        TCP_FIN_WAIT2 => SocketState::FinWait2,
        TCP_TIME_WAIT => SocketState::TimeWait,
        TCP_CLOSE if protocol == Protocol::Udp => SocketState::Unconnected,
        TCP_CLOSE => SocketState::Closed,
        TCP_CLOSE_WAIT => SocketState::CloseWait,
        TCP_LAST_ACK => SocketState::LastAck,
        TCP_LISTEN => SocketState::Listen,
        TCP_CLOSING => SocketState::Closing,
        other => SocketState::Other(other),
    }
}
