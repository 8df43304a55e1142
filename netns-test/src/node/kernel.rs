//! What a node's kernel says about its network, and its settings.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::{fmt, fs, io};

use super::Node;
use crate::namespace::Depth;
use crate::netlink::nftables::NftSocket;
use crate::netlink::state::{Address, Link, Neighbour, Route, Socket};
use crate::netlink::{DiagSocket, RouteSocket};
use crate::{sys, sysctl};

impl Node {
    /// The interfaces, the loopback included, in the order of their index.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        self.route_socket()?.links()
    }

    /// The addresses of all interfaces.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        self.route_socket()?.addresses()
    }

    /// The routes of all tables.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn routes(&self) -> io::Result<Vec<Route>> {
        self.route_socket()?.routes()
    }

    /// The route that a packet to `ip` would take.
    ///
    /// # Errors
    /// The kernel's own (`NetworkUnreachable` where there is no route), and when the test has ended.
    pub fn route_to(&self, ip: impl Into<IpAddr>) -> io::Result<Route> {
        self.route_socket()?.route_to(ip.into())
    }

    /// The neighbours (ARP, RFC 826, and neighbour discovery, RFC 4861) that the node knows.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        self.route_socket()?.neighbours()
    }

    /// The TCP and UDP sockets of the node (sock_diag(7)), whoever holds them.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn sockets(&self) -> io::Result<Vec<Socket>> {
        self.diag()?.all_sockets()
    }

    /// Reads a setting of the node's network, `net.ipv4.ip_forward` for instance (sysctl(8)).
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn sysctl(&self, name: &str) -> io::Result<String> {
        let path = network_setting(name)?;
        self.net()?;
        let _inside = self.enter_depth(Depth::Network)?;
        fs::read_to_string(path).map(|text| text.trim().to_owned())
    }

    /// Changes a setting of the node's network.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn set_sysctl(&self, name: &str, value: impl fmt::Display) -> io::Result<()> {
        let path = network_setting(name)?;
        self.net()?;
        let _inside = self.enter_depth(Depth::Network)?;
        fs::write(path, value.to_string())
    }

    /// A socket that sends frames by one of its interfaces, with a mark.
    pub(crate) fn packet_sender(&self, interface: u32, mark: u32) -> io::Result<OwnedFd> {
        let _inside = self.enter_depth(Depth::Network)?;
        let socket = sys::sockets::packet_sender(interface)?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Mark, &mark)?;
        Ok(socket)
    }

    /// A socket for what hosts and routers of a link tell each other by ICMPv6, with the hop limit that shows it comes from there.
    pub(crate) fn icmp6_socket(&self, interface: &str) -> io::Result<OwnedFd> {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
        };
        const FROM_THIS_LINK: i32 = 255;
        let _inside = self.enter_depth(Depth::Network)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
        setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
        setsockopt(&socket, sockopt::Ipv6MulticastHops, &FROM_THIS_LINK)?;
        Ok(socket)
    }

    /// Has an interface say nothing by itself: no link-local address, no multicast report.
    pub(crate) fn silence(&self, interface: &str) -> io::Result<()> {
        match self.set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), 1) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            set => set,
        }
    }

    pub(crate) fn route_socket(&self) -> io::Result<Arc<RouteSocket>> {
        self.net()?;
        self.0.route_socket().ok_or_else(|| self.ended())
    }

    pub(super) fn diag(&self) -> io::Result<DiagSocket> {
        let _inside = self.enter_depth(Depth::Network)?;
        DiagSocket::open()
    }

    /// A socket of nf_tables.
    pub(crate) fn nft(&self) -> io::Result<NftSocket> {
        let _inside = self.enter_depth(Depth::Network)?;
        NftSocket::open()
    }

    /// Has the calling thread do something in the node's network.
    pub(crate) fn in_network<R>(&self, act: impl FnOnce() -> R) -> io::Result<R> {
        let _inside = self.enter_depth(Depth::Network)?;
        Ok(act())
    }
}

/// Only what is below net is the node's own: the rest is the host's.
fn network_setting(name: &str) -> io::Result<String> {
    let path = sysctl::path(name);
    match (name.starts_with("net.") || name.starts_with("net/")) && !path.split('/').any(|part| part == "..")
    {
        true => Ok(path),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` is a setting of the host: a node has those below `net.`"),
        )),
    }
}
