//! The server's sockets, and its tasks: one for each socket, one for each question.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::spawn_local;

use super::message;
use super::{Query, State, Transport};
use crate::error::{Doing, Error};
use crate::node::Node;

/// The port of DNS, over UDP and TCP.
pub(super) const PORT: u16 = 53;

/// The largest datagram.
const DATAGRAM: usize = 65535;

/// Sockets that no runtime has yet.
#[derive(Default)]
pub(super) struct Sockets {
    udp: Vec<std::net::UdpSocket>,
    tcp: Vec<std::net::TcpListener>,
}

impl Sockets {
    /// Binds both transports on each address: an answer then comes from where the question went.
    pub(super) fn bind(addresses: &[IpAddr]) -> Result<Self, Error> {
        let mut sockets = Self { udp: Vec::new(), tcp: Vec::new() };
        for &ip in addresses {
            let address = SocketAddr::new(ip, PORT);
            let udp = std::net::UdpSocket::bind(address)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            sockets.udp.push(udp.doing(|| format!("bind UDP {address} for a DNS server"))?);
            let tcp = std::net::TcpListener::bind(address)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
            sockets.tcp.push(tcp.doing(|| format!("listen on TCP {address} for a DNS server"))?);
        }
        Ok(sockets)
    }

    #[cfg(feature = "kubernetes")]
    pub(super) fn and(mut self, mut more: Self) -> Self {
        self.udp.append(&mut more.udp);
        self.tcp.append(&mut more.tcp);
        self
    }
}

/// Starts the tasks, in the runtime of the calling task.
pub(super) fn serve(sockets: Sockets, node: &Node, state: &Arc<State>) {
    for socket in sockets.udp {
        let (node, state) = (node.clone(), Arc::clone(state));
        spawn_local(async move {
            let Err(error) = serve_udp(socket, state).await;
            give_up(&node, &error);
        });
    }
    for listener in sockets.tcp {
        let (node, state) = (node.clone(), Arc::clone(state));
        spawn_local(async move {
            let Err(error) = serve_tcp(listener, state).await;
            give_up(&node, &error);
        });
    }
}

/// A server that stopped while its test runs must not look like one that is silent on purpose.
fn give_up(node: &Node, error: &io::Error) {
    if node.net().is_ok() {
        panic!("the DNS server in `{}` lost a socket: {error}", node.name());
    }
}

async fn serve_udp(socket: std::net::UdpSocket, state: Arc<State>) -> io::Result<std::convert::Infallible> {
    let socket = Arc::new(UdpSocket::from_std(socket)?);
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        let (query, socket, state) = (buffer[..length].to_vec(), Arc::clone(&socket), Arc::clone(&state));
        // On its own, so that one whose answer is delayed delays no other.
        spawn_local(async move {
            if let Some(answer) = answer(&query, from, Transport::Udp, &state).await {
                // A client that cannot be reached any more is its network's matter.
                let _unreachable = socket.send_to(&answer, from).await;
            }
        });
    }
}

async fn serve_tcp(
    listener: std::net::TcpListener,
    state: Arc<State>,
) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let state = Arc::clone(&state);
                spawn_local(async move {
                    // The client has closed it, in whatever way.
                    let _closed = serve_stream(stream, from, &state).await;
                });
            }
            // The client gave up between its SYN and now (accept(2)).
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Messages over TCP have their length before them (RFC 1035 section 4.2.2); one connection may bring many (RFC 7766).
async fn serve_stream(mut stream: TcpStream, from: SocketAddr, state: &State) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await?;
        if let Some(answer) = answer(&query, from, Transport::Tcp, state).await {
            let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
            let mut message = length.to_be_bytes().to_vec();
            message.extend(answer);
            stream.write_all(&message).await?;
        }
    }
}

/// The answer to a message, when it is time for it; `None` where there is to be none.
async fn answer(query: &[u8], from: SocketAddr, transport: Transport, state: &State) -> Option<Vec<u8>> {
    if !message::is_query(query) {
        return None;
    }
    let asked = message::question(query);
    let name = asked.as_ref().map_or("", |asked| asked.name.as_str());
    // Before the query is told: who waits for it may end the fault at once.
    let effect = state.faults.borrow().effect(name);
    if let Some(asked) = &asked {
        state.log.lock().unwrap_or_else(PoisonError::into_inner).push(Query {
            name: asked.name.clone(),
            record_type: asked.record_type,
            from,
            node: state.owner(from.ip()),
            transport,
        });
    }
    if effect.silence {
        return None;
    }
    if !effect.delay.is_zero() {
        tokio::time::sleep(effect.delay).await;
    }
    if effect.hold {
        // The sender lives in the state.
        let mut faults = state.faults.subscribe();
        let _released = faults.wait_for(|faults| !faults.effect(name).hold).await;
    }
    let zone = state.zone.lock().unwrap_or_else(PoisonError::into_inner);
    Some(message::answer(query, &state.server, &zone, effect, transport))
}
