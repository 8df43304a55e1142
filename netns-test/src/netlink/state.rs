//! What the kernel says about a network namespace, as plain data.
//!
//! Links are named by their index, as the kernel does it; [`Address::with_names`] and its siblings print the names.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The interface's index in its namespace.
    pub index: u32,
    /// The interface's name, `eth0` for instance.
    pub name: String,
    /// The MAC address; `None` where the link layer has none of six bytes.
    pub mac: Option<[u8; 6]>,
    /// The largest packet that the link carries, in bytes.
    pub mtu: u32,
    /// Whether the interface is switched on (`IFF_UP`).
    pub up: bool,
    /// The operational state ([RFC 2863](https://www.rfc-editor.org/rfc/rfc2863)).
    pub operstate: OperState,
    /// Whether the link layer has a carrier.
    pub carrier: bool,
    /// The name of the queueing discipline; `noop` drops every packet.
    pub qdisc: String,
    /// The driver's name, `veth` for instance; `None` for the loopback interface and hardware.
    pub kind: Option<String>,
    /// The index of the bridge, bond or other controller that the interface is a port of.
    pub controller: Option<u32>,
    /// The index of the other end of a veth, or of the interface that a macvlan stands on.
    ///
    /// It counts in the namespace of that interface, which may be another one.
    pub peer: Option<u32>,
    /// The number that this namespace has for the other one in which `peer` counts, if it is another.
    pub(crate) peer_namespace: Option<i32>,
    /// The counters since the interface was created.
    pub stats: LinkStats,
}

impl Link {
    /// Whether a packet that is sent now leaves: switched on, operational, and with a queue that does not drop.
    pub fn is_running(&self) -> bool {
        let operational = match self.operstate {
            OperState::Up => true,
            // The loopback interface, and drivers that do not track their state.
            OperState::Unknown => self.carrier,
            _ => false,
        };
        self.up && operational && self.qdisc != "noop"
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.index, self.name)?;
        if let Some(peer) = self.peer {
            write!(f, "@if{peer}")?;
        }
        let switched = if self.up { "up" } else { "down" };
        write!(f, " {switched} state {} mtu {} qdisc {}", self.operstate, self.mtu, self.qdisc)?;
        if let Some(controller) = self.controller {
            write!(f, " master if{controller}")?;
        }
        if let Some(mac) = &self.mac {
            write!(f, " mac {}", Mac(mac))?;
        }
        Ok(())
    }
}

/// The counters of a [`Link`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Packets that were to be sent and were dropped.
    pub tx_dropped: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets that could not be sent for an error.
    pub tx_errors: u64,
}

impl fmt::Display for LinkStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rx {} packets {} bytes {} dropped {} errors, tx {} packets {} bytes {} dropped {} errors",
            self.rx_packets,
            self.rx_bytes,
            self.rx_dropped,
            self.rx_errors,
            self.tx_packets,
            self.tx_bytes,
            self.tx_dropped,
            self.tx_errors,
        )
    }
}

/// The operational state of a [`Link`] ([RFC 2863](https://www.rfc-editor.org/rfc/rfc2863), section 3.1.14).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperState {
    /// The driver does not say.
    Unknown,
    /// A component is missing.
    NotPresent,
    /// Down.
    Down,
    /// Down because the link below, or the other end, is down.
    LowerLayerDown,
    /// In a test mode.
    Testing,
    /// Waiting for an outside event.
    Dormant,
    /// Up.
    Up,
    /// A state that this crate does not know.
    Other(u8),
}

impl fmt::Display for OperState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::NotPresent => "not-present",
            Self::Down => "down",
            Self::LowerLayerDown => "lower-layer-down",
            Self::Testing => "testing",
            Self::Dormant => "dormant",
            Self::Up => "up",
            Self::Other(state) => return write!(f, "{state}"),
        })
    }
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The index of the interface.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// The length of the prefix, in bits.
    pub prefix_len: u8,
    /// The address of the other end, on a point-to-point interface.
    pub peer: Option<IpAddr>,
    /// How far the address is valid.
    pub scope: Scope,
    /// Whether duplicate address detection is still running; the address cannot be used before it ends.
    pub tentative: bool,
    /// Whether duplicate address detection found another owner.
    pub duplicate: bool,
    /// Whether the address stays until it is deleted.
    pub permanent: bool,
    /// Whether the address brings a route for its prefix with it.
    pub prefix_route: bool,
}

impl Address {
    /// Prints the interface's name, looked up in `links`, instead of its index.
    pub fn with_names<'a>(&'a self, links: &'a [Link]) -> impl fmt::Display + 'a {
        Shown(move |f: &mut fmt::Formatter<'_>| self.show(f, links))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, links: &[Link]) -> fmt::Result {
        let family = if self.ip.is_ipv4() { "inet" } else { "inet6" };
        write!(f, "{family} {}", self.ip)?;
        if let Some(peer) = self.peer {
            write!(f, " peer {peer}")?;
        }
        write!(f, "/{} dev {} scope {}", self.prefix_len, Dev(self.link, links), self.scope)?;
        if self.tentative {
            f.write_str(" tentative")?;
        }
        if self.duplicate {
            f.write_str(" dadfailed")?;
        }
        Ok(())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, &[])
    }
}

/// How far an address or a route's destination is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Everywhere.
    Global,
    /// Within the site.
    Site,
    /// On the link.
    Link,
    /// On this host.
    Host,
    /// Nowhere: the destination does not exist.
    Nowhere,
    /// A scope that the user of the machine has defined.
    Other(u8),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Global => "global",
            Self::Site => "site",
            Self::Link => "link",
            Self::Host => "host",
            Self::Nowhere => "nowhere",
            Self::Other(scope) => return write!(f, "{scope}"),
        })
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The network address of the destination; `0.0.0.0` or `::` with a prefix of length 0 is the default route.
    pub destination: IpAddr,
    /// The length of the destination's prefix, in bits.
    pub prefix_len: u8,
    /// The router that packets are handed to; `None` where the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The index of the interface that packets leave through.
    pub link: Option<u32>,
    /// The source address of packets whose sender did not choose one.
    pub source: Option<IpAddr>,
    /// What happens to a packet.
    pub kind: RouteKind,
    /// The number of the routing table: 254 is the main one, 255 holds the local addresses.
    pub table: u32,
    /// The priority; the smallest wins.
    pub metric: u32,
    /// Who made the route.
    pub protocol: RouteProtocol,
    /// The distance to the destination; IPv6 routes are always [`Scope::Global`].
    pub scope: Scope,
    /// The next hops of a multipath route, which has neither `gateway` nor `link` of its own.
    pub next_hops: Vec<NextHop>,
}

/// One next hop of a multipath [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NextHop {
    /// The router that packets are handed to.
    pub gateway: Option<IpAddr>,
    /// The index of the interface that packets leave through.
    pub link: u32,
    /// The share of the flows that take this hop, in relation to the other hops' weights.
    pub weight: u16,
}

impl Route {
    /// The main routing table.
    pub const MAIN_TABLE: u32 = 254;
    /// The routing table of the local and broadcast addresses, which the kernel keeps.
    pub const LOCAL_TABLE: u32 = 255;

    /// Prints interface names, looked up in `links`, instead of indices.
    pub fn with_names<'a>(&'a self, links: &'a [Link]) -> impl fmt::Display + 'a {
        Shown(move |f: &mut fmt::Formatter<'_>| self.show(f, links))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, links: &[Link]) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind)?;
        }
        let whole = if self.destination.is_ipv4() { 32 } else { 128 };
        match self.prefix_len {
            0 => f.write_str("default")?,
            len if len == whole => write!(f, "{}", self.destination)?,
            len => write!(f, "{}/{len}", self.destination)?,
        }
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = self.link {
            write!(f, " dev {}", Dev(link, links))?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        match self.table {
            Self::MAIN_TABLE => {}
            Self::LOCAL_TABLE => f.write_str(" table local")?,
            table => write!(f, " table {table}")?,
        }
        for hop in &self.next_hops {
            f.write_str(" nexthop")?;
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            write!(f, " dev {} weight {}", Dev(hop.link, links), hop.weight)?;
        }
        Ok(())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, &[])
    }
}

/// What a [`Route`] does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteKind {
    /// Sends it to the gateway or, without one, over the link.
    Unicast,
    /// Delivers it here: the destination is an address of this host.
    Local,
    /// Sends it to, and takes it from, everyone on the link.
    Broadcast,
    /// Delivers it here, as one of several owners of the address.
    Anycast,
    /// Sends it to a multicast group.
    Multicast,
    /// Drops it silently.
    Blackhole,
    /// Refuses it: destination unreachable.
    Unreachable,
    /// Refuses it: administratively prohibited.
    Prohibit,
    /// Ends the look-up in this table.
    Throw,
    /// A kind that this crate does not know.
    Other(u8),
}

impl fmt::Display for RouteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unicast => "unicast",
            Self::Local => "local",
            Self::Broadcast => "broadcast",
            Self::Anycast => "anycast",
            Self::Multicast => "multicast",
            Self::Blackhole => "blackhole",
            Self::Unreachable => "unreachable",
            Self::Prohibit => "prohibit",
            Self::Throw => "throw",
            Self::Other(kind) => return write!(f, "{kind}"),
        })
    }
}

/// Who made a [`Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RouteProtocol {
    /// Not said.
    Unspecified,
    /// An ICMP redirect.
    Redirect,
    /// The kernel, for an address or an interface.
    Kernel,
    /// A program that did not name itself, `ip` among them.
    Boot,
    /// The administrator; netns-test's own routes as well.
    Static,
    /// An IPv6 router advertisement.
    RouterAdvertisement,
    /// A DHCP client.
    Dhcp,
    /// Another program, by its number in the kernel's list.
    Other(u8),
}

impl fmt::Display for RouteProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspec",
            Self::Redirect => "redirect",
            Self::Kernel => "kernel",
            Self::Boot => "boot",
            Self::Static => "static",
            Self::RouterAdvertisement => "ra",
            Self::Dhcp => "dhcp",
            Self::Other(protocol) => return write!(f, "{protocol}"),
        })
    }
}

/// An entry of the neighbour table (ARP and IPv6 neighbour discovery).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Neighbour {
    /// The index of the interface.
    pub link: u32,
    /// The neighbour's address.
    pub ip: IpAddr,
    /// The neighbour's MAC address, once it is known.
    pub mac: Option<[u8; 6]>,
    /// What is known about the neighbour.
    pub state: NeighbourState,
}

impl Neighbour {
    /// Whether the neighbour was asked for its MAC address and has not answered.
    pub fn is_silent(&self) -> bool {
        matches!(self.state, NeighbourState::Incomplete | NeighbourState::Failed)
    }

    /// Prints the interface's name, looked up in `links`, instead of its index.
    pub fn with_names<'a>(&'a self, links: &'a [Link]) -> impl fmt::Display + 'a {
        Shown(move |f: &mut fmt::Formatter<'_>| self.show(f, links))
    }

    fn show(&self, f: &mut fmt::Formatter<'_>, links: &[Link]) -> fmt::Result {
        write!(f, "{} dev {}", self.ip, Dev(self.link, links))?;
        if let Some(mac) = &self.mac {
            write!(f, " lladdr {}", Mac(mac))?;
        }
        write!(f, " {}", self.state)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, &[])
    }
}

/// What is known about a [`Neighbour`]
/// ([RFC 4861](https://www.rfc-editor.org/rfc/rfc4861), section 7.3.2, and the kernel's own additions).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NeighbourState {
    /// Nothing yet.
    None,
    /// Asked for, not answered yet.
    Incomplete,
    /// Confirmed a short while ago.
    Reachable,
    /// Not confirmed for a while.
    Stale,
    /// A packet was sent to it; a confirmation by an upper layer is awaited.
    Delay,
    /// Being asked again.
    Probe,
    /// It did not answer.
    Failed,
    /// It needs no resolution.
    NoArp,
    /// Set by hand.
    Permanent,
    /// A state that this crate does not know.
    Other(u16),
}

impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "NONE",
            Self::Incomplete => "INCOMPLETE",
            Self::Reachable => "REACHABLE",
            Self::Stale => "STALE",
            Self::Delay => "DELAY",
            Self::Probe => "PROBE",
            Self::Failed => "FAILED",
            Self::NoArp => "NOARP",
            Self::Permanent => "PERMANENT",
            Self::Other(state) => return write!(f, "{state}"),
        })
    }
}

/// A TCP or UDP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Socket {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The state of the connection.
    pub state: SocketState,
    /// The address that the socket is bound to.
    pub local: SocketAddr,
    /// The address that the socket is connected to.
    pub remote: Option<SocketAddr>,
    /// Whether an IPv6 socket on the wildcard address refuses IPv4 (`IPV6_V6ONLY`).
    pub v6_only: bool,
    /// The index of the interface that the socket is bound to (`SO_BINDTODEVICE`).
    pub link: Option<u32>,
    /// The inode, as in `socket:[…]` under `/proc/PID/fd`; 0 once no process holds the socket.
    pub inode: u32,
    /// The user id of the owner.
    pub uid: u32,
    /// Bytes that wait to be read; for a listener, the connections that wait to be accepted.
    pub recv_queue: u32,
    /// Bytes that were sent and are not acknowledged; for a listener, the length of its backlog.
    pub send_queue: u32,
    /// What tells the socket from an earlier one with the same addresses.
    pub(super) cookie: [u8; 8],
}

impl Socket {
    /// Whether the socket takes packets from anyone: a listening TCP socket, or an unconnected UDP socket with a port.
    pub fn is_listening(&self) -> bool {
        match self.state {
            SocketState::Listen => true,
            SocketState::Unconnected => self.local.port() != 0,
            _ => false,
        }
    }

    /// Whether the socket is listening for what is sent to `address`, one of this host's own.
    pub fn accepts(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let local = self.local.ip().to_canonical();
        let serves = match (local, ip) {
            // `::ffff:0.0.0.0` became IPv4 above, so this is the IPv6 wildcard proper.
            (IpAddr::V6(wildcard), IpAddr::V4(_)) => wildcard.is_unspecified() && !self.v6_only,
            (local, ip) => local == ip || local.is_unspecified() && local.is_ipv4() == ip.is_ipv4(),
        };
        self.is_listening() && self.local.port() == address.port() && serves
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.protocol, self.state, self.local)?;
        if let Some(remote) = self.remote {
            write!(f, " {remote}")?;
        }
        if self.recv_queue != 0 {
            write!(f, " recv-q {}", self.recv_queue)?;
        }
        if self.send_queue != 0 && self.state != SocketState::Listen {
            write!(f, " send-q {}", self.send_queue)?;
        }
        Ok(())
    }
}

/// The transport protocol of a [`Socket`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The state of a [`Socket`] ([RFC 9293](https://www.rfc-editor.org/rfc/rfc9293), section 3.3.2).
///
/// UDP sockets are either [`Established`](Self::Established), when they are connected, or
/// [`Unconnected`](Self::Unconnected).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketState {
    /// Connected.
    Established,
    /// Asked for a connection, not answered yet.
    SynSent,
    /// Was asked for a connection and has answered.
    SynReceived,
    /// Closed here, not acknowledged yet.
    FinWait1,
    /// Closed here, still open on the other side.
    FinWait2,
    /// Closed on both sides; waits for packets that may still be under way.
    TimeWait,
    /// Closed.
    Closed,
    /// Closed by the other side, still open here.
    CloseWait,
    /// Closed by the other side, then here; the last acknowledgement is awaited.
    LastAck,
    /// Waits for connections.
    Listen,
    /// Closed on both sides at the same time.
    Closing,
    /// A UDP socket that is not connected.
    Unconnected,
    /// A state that this crate does not know.
    Other(u8),
}

impl fmt::Display for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Established => "ESTAB",
            Self::SynSent => "SYN-SENT",
            Self::SynReceived => "SYN-RECV",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::Closed => "CLOSED",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::Unconnected => "UNCONN",
            Self::Other(state) => return write!(f, "{state}"),
        })
    }
}

/// Something that is printed by a closure.
struct Shown<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> fmt::Display for Shown<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// An interface: its name where `links` has it, `if7` otherwise, as `ip` prints it.
struct Dev<'a>(u32, &'a [Link]);

impl fmt::Display for Dev<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.iter().find(|link| link.index == self.0) {
            Some(link) => f.write_str(&link.name),
            None => write!(f, "if{}", self.0),
        }
    }
}

struct Mac<'a>(&'a [u8; 6]);

impl fmt::Display for Mac<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
