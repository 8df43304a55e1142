//! Sockets that are born in a node and used anywhere.

use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket,
};

use tokio::net::TcpSocket;

use super::Node;
use super::endpoint::{Endpoint, ToEndpoint};
use crate::namespace::Depth;

impl Node {
    /// Listens on a TCP port in this node; the listener works in the caller's own runtime.
    ///
    /// A socket keeps the network namespace that it was born in, whichever thread uses it later (namespaces(7)). A bare
    /// port listens on the node's [`ip`](Node::ip); see [`ToEndpoint`] for the rest. SO_REUSEADDR is set, as the standard
    /// library does.
    ///
    /// # Errors
    /// The kernel's own, bind(2) and listen(2); and when the node's test has ended or a name does not resolve.
    ///
    /// # Panics
    /// Outside a Tokio runtime: use [`blocking_listen_tcp`](Node::blocking_listen_tcp) there.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn listens(server: Node) -> std::io::Result<()> {
    ///     let listener = server.listen_tcp(7).await?;
    ///     assert_eq!(listener.local_addr()?.ip(), server.ip());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub async fn listen_tcp(&self, on: impl ToEndpoint) -> io::Result<tokio::net::TcpListener> {
        let addresses = self.resolve(on.to_endpoint()?).await?;
        let listener = self.born_here(|| TcpListener::bind(&addresses[..]))?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    }

    /// [`listen_tcp`](Node::listen_tcp) for plain functions: a blocking listener of the standard library.
    ///
    /// # Errors
    /// As for `listen_tcp`.
    pub fn blocking_listen_tcp(&self, on: impl ToEndpoint) -> io::Result<TcpListener> {
        let addresses = self.blocking_resolve(on.to_endpoint()?)?;
        self.born_here(|| TcpListener::bind(&addresses[..]))
    }

    /// Connects from this node; the stream works in the caller's own runtime.
    ///
    /// A name is resolved inside the node, and its addresses are tried in turn. A bare port connects to the node itself.
    ///
    /// # Errors
    /// The kernel's own, connect(2), of the last address that was tried; and when the node's test has ended or a name
    /// does not resolve.
    ///
    /// # Panics
    /// Outside a Tokio runtime: use [`blocking_connect_tcp`](Node::blocking_connect_tcp) there.
    pub async fn connect_tcp(&self, to: impl ToEndpoint) -> io::Result<tokio::net::TcpStream> {
        let mut last = None;
        for address in self.resolve(to.to_endpoint()?).await? {
            let socket = self.born_here(|| match address {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            })?;
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(no_address))
    }

    /// [`connect_tcp`](Node::connect_tcp) for plain functions: a blocking stream of the standard library.
    ///
    /// # Errors
    /// As for `connect_tcp`.
    pub fn blocking_connect_tcp(&self, to: impl ToEndpoint) -> io::Result<TcpStream> {
        let addresses = self.blocking_resolve(to.to_endpoint()?)?;
        self.born_here(|| TcpStream::connect(&addresses[..]))
    }

    /// Binds a UDP socket in this node; it works in the caller's own runtime.
    ///
    /// A bare port binds the node's [`ip`](Node::ip); port 0 lets the kernel choose.
    ///
    /// # Errors
    /// The kernel's own, bind(2); and when the node's test has ended or a name does not resolve.
    ///
    /// # Panics
    /// Outside a Tokio runtime: use [`blocking_bind_udp`](Node::blocking_bind_udp) there.
    pub async fn bind_udp(&self, on: impl ToEndpoint) -> io::Result<tokio::net::UdpSocket> {
        let addresses = self.resolve(on.to_endpoint()?).await?;
        let socket = self.born_here(|| UdpSocket::bind(&addresses[..]))?;
        socket.set_nonblocking(true)?;
        tokio::net::UdpSocket::from_std(socket)
    }

    /// [`bind_udp`](Node::bind_udp) for plain functions: a blocking socket of the standard library.
    ///
    /// # Errors
    /// As for `bind_udp`.
    pub fn blocking_bind_udp(&self, on: impl ToEndpoint) -> io::Result<UdpSocket> {
        let addresses = self.blocking_resolve(on.to_endpoint()?)?;
        self.born_here(|| UdpSocket::bind(&addresses[..]))
    }

    /// Makes a socket while the calling thread is in the node's network.
    pub(crate) fn born_here<S>(&self, make: impl FnOnce() -> io::Result<S>) -> io::Result<S> {
        if self.is_out() {
            let text = format!("the node `{}` has crashed", self.name());
            return Err(io::Error::new(io::ErrorKind::NotConnected, text));
        }
        let _inside = self.enter_depth(Depth::Network)?;
        make()
    }

    /// What is known without asking: ports, addresses, and the names of the network's own nodes.
    fn known(&self, endpoint: Endpoint) -> io::Result<Result<Vec<SocketAddr>, (String, u16)>> {
        let net = self.net()?;
        Ok(match endpoint {
            Endpoint::Port(port) => match self.0.plan().addresses().next() {
                Some(ip) => Ok(vec![SocketAddr::new(ip, port)]),
                None => return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, self.no_address(""))),
            },
            Endpoint::Address(address) => Ok(vec![address]),
            Endpoint::Name(name, port) if name == "localhost" => {
                let v6 = net.plan.family.has_v6().then_some(IpAddr::V6(Ipv6Addr::LOCALHOST));
                let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
                Ok(v6.into_iter().chain([v4]).map(|ip| SocketAddr::new(ip, port)).collect())
            }
            Endpoint::Name(name, port) => match net.find(&name) {
                // The name server knows what a cluster makes of it.
                Some(_) if net.has_service(&name) => Err((name, port)),
                Some(node) => Ok(node.plan().addresses().map(|ip| SocketAddr::new(ip, port)).collect()),
                None => Err((name, port)),
            },
        })
    }

    async fn resolve(&self, endpoint: Endpoint) -> io::Result<Vec<SocketAddr>> {
        match self.known(endpoint)? {
            Ok(addresses) => Ok(addresses),
            Err((name, port)) => {
                // getaddrinfo(3) blocks, so it does on a thread of the node's.
                let looked_up =
                    self.run(async move || tokio::net::lookup_host((name, port)).await.map(Vec::from_iter));
                looked_up.await
            }
        }
    }

    fn blocking_resolve(&self, endpoint: Endpoint) -> io::Result<Vec<SocketAddr>> {
        match self.known(endpoint)? {
            Ok(addresses) => Ok(addresses),
            Err((name, port)) => {
                let _inside = self.enter_depth(Depth::Whole)?;
                (name.as_str(), port).to_socket_addrs().map(Vec::from_iter)
            }
        }
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the name resolved to no address")
}
