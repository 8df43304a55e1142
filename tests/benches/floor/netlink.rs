//! Route netlink by hand: bytes in, bytes out (rtnetlink(7)).

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::sys;

// linux/netlink.h
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const NLA_F_NESTED: u16 = 0x8000;
const NLA_TYPE_MASK: u16 = 0x3fff;
// linux/rtnetlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
// linux/if_link.h
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_QDISC: u16 = 6;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const MACVLAN_MODE_BRIDGE: u32 = 4;
const IF_OPER_UP: u8 = 6;
// linux/neighbour.h
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
// linux/veth.h
const VETH_INFO_PEER: u16 = 1;
// linux/if.h
const IFF_UP: u32 = 1;
// linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 0x02;

const HEADER: usize = 16;
/// Acknowledgements wait in the socket's buffer until the whole datagram is done, so a datagram has its bounds.
const MESSAGES_AT_ONCE: usize = 64;

/// The index of the loopback interface in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// An interface to make.
pub(crate) struct Interface<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    /// Whether to make it up; the second end of a veth pair cannot be.
    pub(crate) up: bool,
    /// Where to make it; `None` is the namespace of the socket.
    pub(crate) namespace: Option<&'a OwnedFd>,
}

/// Requests that the kernel performs in order.
#[derive(Default)]
pub(crate) struct Requests {
    messages: Vec<Vec<u8>>,
}

impl Requests {
    /// Makes a veth pair, each end in its namespace.
    pub(crate) fn veth(&mut self, one: &Interface<'_>, other: &Interface<'_>) {
        let mut message = new_link(one);
        let info = message.begin(IFLA_LINKINFO | NLA_F_NESTED);
        message.attribute(IFLA_INFO_KIND, b"veth");
        let data = message.begin(IFLA_INFO_DATA | NLA_F_NESTED);
        let peer = message.begin(VETH_INFO_PEER | NLA_F_NESTED);
        message.0.extend(link_header(other.index, u32::from(other.up) * IFF_UP));
        message.interface(other);
        message.end(peer);
        message.end(data);
        message.end(info);
        self.push(message);
    }

    /// Makes a macvlan in bridge mode over the interface `lower` of the socket's namespace.
    pub(crate) fn macvlan(&mut self, lower: u32, interface: &Interface<'_>) {
        let mut message = new_link(interface);
        message.attribute(IFLA_LINK, &lower.to_ne_bytes());
        let info = message.begin(IFLA_LINKINFO | NLA_F_NESTED);
        message.attribute(IFLA_INFO_KIND, b"macvlan");
        let data = message.begin(IFLA_INFO_DATA | NLA_F_NESTED);
        message.attribute(IFLA_MACVLAN_MODE, &MACVLAN_MODE_BRIDGE.to_ne_bytes());
        message.end(data);
        message.end(info);
        self.push(message);
    }

    /// Sets an interface up.
    pub(crate) fn up(&mut self, index: u32) {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_ACK);
        message.0.extend(link_header(index, IFF_UP));
        self.push(message);
    }

    /// Gives an interface an address; an IPv6 address skips duplicate address detection.
    pub(crate) fn address(&mut self, index: u32, address: IpAddr, prefix: u8) {
        let mut message = Message::new(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        let (family, flags) = match address {
            IpAddr::V4(_) => (libc::AF_INET, 0),
            IpAddr::V6(_) => (libc::AF_INET6, IFA_F_NODAD),
        };
        message.0.extend([family as u8, prefix, flags, 0]);
        message.0.extend(index.to_ne_bytes());
        message.address(IFA_LOCAL, address);
        message.address(IFA_ADDRESS, address);
        self.push(message);
    }

    /// Adds a route over an interface, by way of a router if there is one.
    pub(crate) fn route(&mut self, index: u32, to: IpAddr, length: u8, via: Option<IpAddr>) {
        let mut message = Message::new(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        let (family, scope) = match to {
            IpAddr::V4(_) if via.is_none() => (libc::AF_INET, RT_SCOPE_LINK),
            IpAddr::V4(_) => (libc::AF_INET, RT_SCOPE_UNIVERSE),
            IpAddr::V6(_) => (libc::AF_INET6, RT_SCOPE_UNIVERSE),
        };
        message.0.extend([family as u8, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST]);
        message.0.extend([0; 4]);
        if length > 0 {
            message.address(RTA_DST, to);
        }
        if let Some(via) = via {
            message.address(RTA_GATEWAY, via);
        }
        message.attribute(RTA_OIF, &index.to_ne_bytes());
        self.push(message);
    }

    /// Writes down the MAC address of a neighbour.
    pub(crate) fn neighbour(&mut self, index: u32, ip: IpAddr, mac: [u8; 6]) {
        let mut message = Message::new(RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
        let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        message.0.extend([family as u8, 0, 0, 0]);
        message.0.extend(index.to_ne_bytes());
        message.0.extend(NUD_PERMANENT.to_ne_bytes());
        message.0.extend([0; 2]);
        message.address(NDA_DST, ip);
        message.attribute(NDA_LLADDR, &mac);
        self.push(message);
    }

    fn push(&mut self, message: Message) {
        self.messages.push(message.finish());
    }
}

/// A netlink socket. It belongs to the network namespace in which it was opened, whichever thread uses it.
pub(crate) struct Socket {
    socket: OwnedFd,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { socket: sys::netlink_socket()? })
    }

    /// Performs the requests; the first refusal is the error.
    pub(crate) fn perform(&self, requests: &Requests) -> io::Result<()> {
        let mut first = Ok(());
        for some in requests.messages.chunks(MESSAGES_AT_ONCE) {
            sys::send(&self.socket, &some.concat())?;
            self.replies(some.len(), |kind, body| {
                if kind == NLMSG_ERROR && first.is_ok() {
                    first = acknowledged(body);
                }
            })?;
        }
        first
    }

    /// Whether an interface and the addresses pass packets: its operational state is up, its queueing discipline is not
    /// the one that drops everything, and the kernel takes the addresses for its own.
    pub(crate) fn is_ready(&self, index: u32, addresses: &[IpAddr]) -> io::Result<bool> {
        let mut message = Message::new(RTM_GETLINK, 0);
        message.0.extend(link_header(index, 0));
        message.attribute(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
        let mut datagram = message.finish();
        for &address in addresses {
            let mut message = Message::new(RTM_GETROUTE, 0);
            let (family, length) = match address {
                IpAddr::V4(_) => (libc::AF_INET, 32),
                IpAddr::V6(_) => (libc::AF_INET6, 128),
            };
            message.0.extend([family as u8, length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            message.address(RTA_DST, address);
            datagram.extend(message.finish());
        }
        sys::send(&self.socket, &datagram)?;
        let mut ready = true;
        self.replies(1 + addresses.len(), |kind, body| {
            ready &= match kind {
                RTM_NEWLINK => link_is_up(body),
                // `rtm_type` of struct rtmsg.
                RTM_NEWROUTE => body.get(7) == Some(&RTN_LOCAL),
                // No route to the address yet.
                _ => false,
            }
        })?;
        Ok(ready)
    }

    /// Reads as many messages as requests were sent.
    fn replies(&self, mut expected: usize, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = [0_u8; 16 * 1024];
        while expected > 0 {
            let length = sys::receive(&self.socket, &mut buffer)?;
            let mut rest = &buffer[..length];
            while rest.len() >= HEADER {
                let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let message = rest.get(HEADER..size).ok_or(io::ErrorKind::InvalidData)?;
                each(kind, message);
                expected = expected.saturating_sub(1);
                rest = &rest[aligned(size).min(rest.len())..];
            }
        }
        Ok(())
    }
}

fn acknowledged(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)) {
        Some(0) => Ok(()),
        Some(negative) => {
            let error = io::Error::from_raw_os_error(-negative);
            Err(io::Error::new(error.kind(), format!("netlink request: {error}")))
        }
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn link_is_up(body: &[u8]) -> bool {
    let (mut up, mut queues) = (false, false);
    // struct ifinfomsg has 16 bytes; its attributes follow.
    let mut rest = body.get(16..).unwrap_or_default();
    while rest.len() >= 4 {
        let size = usize::from(u16::from_ne_bytes([rest[0], rest[1]])).max(4);
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & NLA_TYPE_MASK;
        let value = rest.get(4..size).unwrap_or_default();
        match kind {
            IFLA_OPERSTATE => up = value == [IF_OPER_UP],
            IFLA_QDISC => queues = value != b"noop\0",
            _ => {}
        }
        rest = rest.get(aligned(size)..).unwrap_or_default();
    }
    up && queues
}

fn new_link(interface: &Interface<'_>) -> Message {
    let mut message = Message::new(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    message.0.extend(link_header(interface.index, u32::from(interface.up) * IFF_UP));
    message.interface(interface);
    message
}

/// struct ifinfomsg.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// One request while it is written.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(192);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        Self(bytes)
    }

    fn interface(&mut self, interface: &Interface<'_>) {
        self.attribute(IFLA_IFNAME, &[interface.name.as_bytes(), b"\0"].concat());
        self.attribute(IFLA_ADDRESS, &interface.mac);
        if let Some(namespace) = interface.namespace {
            self.attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        }
    }

    fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.begin(kind);
        self.0.extend(value);
        self.end(start);
    }

    fn begin(&mut self, kind: u16) -> usize {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        start
    }

    fn end(&mut self, start: usize) {
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(aligned(self.0.len()), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = self.0.len() as u32;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}
