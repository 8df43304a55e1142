//! IPv6 router advertisements (RFC 4861), and hosts that configure themselves by them (RFC 4862).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use netns_test_model::Prefix;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrIn6, recv, sendto};
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_local;

use crate::error::{Doing, Error};
use crate::netlink::state::{RouteKind, Scope};
use crate::node::{Interface, Node};

/// Types of messages and options of RFC 4861 section 4, and RFC 8106 section 5.1.
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const SOURCE: u8 = 1;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const DNS: u8 = 25;

/// RFC 4861 section 6.2.1: how long a prefix is valid, and preferred.
const VALID: u32 = 2_592_000;
const PREFERRED: u32 = 604_800;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// What a router advertises on a link, for [`Interface::advertise`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it is advertised by `Interface::advertise`"]
pub struct Advertisement {
    prefixes: Vec<String>,
    lifetime: Duration,
    mtu: Option<u32>,
    dns: Vec<Ipv6Addr>,
    every: Duration,
}

impl Default for Advertisement {
    fn default() -> Self {
        Self::new()
    }
}

impl Advertisement {
    /// A default router for half an hour, as RFC 4861 section 6.2.1 has it, and nothing else.
    pub fn new() -> Self {
        Self {
            prefixes: Vec::new(),
            lifetime: Duration::from_secs(1800),
            mtu: None,
            dns: Vec::new(),
            every: Duration::from_secs(1),
        }
    }

    /// A prefix that is on the link, and that hosts take addresses of: `"2001:db8:7::/64"`. It is valid for 30 days, and preferred for 7.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefixes.push(prefix.into());
        self
    }

    /// For how long the router is a default router: whole seconds, at most 9000; 0 is not at all.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// The MTU of the link for IPv6, in bytes: at least 1280 (RFC 8200).
    pub fn mtu(self, bytes: u32) -> Self {
        Self { mtu: Some(bytes), ..self }
    }

    /// A recursive name server (RFC 8106), for as long as the router is a default router. Linux leaves it to programs.
    pub fn dns(mut self, server: Ipv6Addr) -> Self {
        self.dns.push(server);
        self
    }

    /// How often it is advertised, beside answers to solicitations: every second unless it is called.
    pub fn every(self, period: Duration) -> Self {
        Self { every: period, ..self }
    }

    /// The message, without a checksum, which the kernel computes; and one that takes all of it back.
    fn messages(&self, mac: Option<[u8; 6]>) -> Result<[Vec<u8>; 2], String> {
        if self.lifetime > Duration::from_secs(9000) || self.lifetime.subsec_nanos() != 0 {
            return Err(format!(
                "a lifetime of {:?} is none: write whole seconds, at most 9000",
                self.lifetime
            ));
        }
        if self.every < Duration::from_millis(30) {
            return Err(format!(
                "every {:?} is too often: at most every 30ms (RFC 6275 section 7.5)",
                self.every
            ));
        }
        if let Some(mtu) = self.mtu.filter(|mtu| *mtu < 1280) {
            return Err(format!("an MTU of {mtu} is too small: IPv6 needs 1280 (RFC 8200 section 5)"));
        }
        let prefixes = self.prefixes.iter().map(|text| match Prefix::parse(text)? {
            prefix if prefix.is_ipv4() => {
                Err(format!("`{text}` is of IPv4: routers advertise IPv6 prefixes"))
            }
            prefix if prefix.length() != 64 => {
                Err(format!("`{text}` is no /64: hosts take no address of it (RFC 4862 section 5.5.3)"))
            }
            prefix => Ok(prefix.first()),
        });
        let prefixes = prefixes.collect::<Result<Vec<IpAddr>, String>>()?;
        let message = |lifetime: u16, valid: u32, preferred: u32| {
            // Type, code, checksum, hop limit, flags; reachable time and retransmission timer are not said.
            let mut message = vec![ADVERTISEMENT, 0, 0, 0, 64, 0];
            message.extend(lifetime.to_be_bytes());
            message.extend([0; 8]);
            message.extend(source(mac));
            if let Some(mtu) = self.mtu {
                message.extend([MTU, 1, 0, 0]);
                message.extend(mtu.to_be_bytes());
            }
            for prefix in &prefixes {
                const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;
                message.extend([PREFIX, 4, 64, ON_LINK_AND_AUTONOMOUS]);
                message.extend([valid, preferred, 0].map(u32::to_be_bytes).concat());
                message.extend(octets(*prefix));
            }
            if !self.dns.is_empty() {
                message.extend([DNS, 1 + 2 * self.dns.len() as u8, 0, 0]);
                message.extend(u32::from(lifetime).to_be_bytes());
                self.dns.iter().for_each(|server| message.extend(server.octets()));
            }
            message
        };
        Ok([message(self.lifetime.as_secs() as u16, VALID, PREFERRED), message(0, 0, 0)])
    }
}

/// The option with the link-layer address of who sends.
fn source(mac: Option<[u8; 6]>) -> Vec<u8> {
    mac.map_or_else(Vec::new, |mac| [&[SOURCE, 1], &mac[..]].concat())
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V6(ip) => ip.octets(),
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
    }
}

/// What sends.
#[derive(Debug)]
struct Sender {
    socket: Arc<OwnedFd>,
    interface: u32,
    message: Vec<u8>,
    last: Vec<u8>,
    has_ended: AtomicBool,
}

impl Sender {
    fn send(&self, message: &[u8], to: Ipv6Addr) -> io::Result<()> {
        let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, self.interface));
        match sendto(self.socket.as_raw_fd(), message, &to, MsgFlags::MSG_DONTWAIT) {
            // The interface is off or gone, or the node's own firewall drops it: it is lost, as it were from a router.
            Ok(_)
            | Err(
                Errno::ENETDOWN | Errno::ENETUNREACH | Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::EPERM,
            ) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_over(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    async fn repeat(&self, every: Duration) -> io::Result<()> {
        while !self.is_over() {
            self.send(&self.message, ALL_NODES)?;
            tokio::time::sleep(every).await;
        }
        Ok(())
    }

    async fn answer(&self) -> io::Result<()> {
        #[expect(deprecated, reason = "what is shared keeps its descriptor, and the other way is unsafe")]
        let socket = AsyncFd::new(Arc::clone(&self.socket))?;
        let mut buffer = [0; 256];
        while !self.is_over() {
            let mut ready = socket.readable().await?;
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::EAGAIN) => ready.clear_ready(),
                // The interface has been off.
                Err(Errno::ENETDOWN | Errno::EINTR) => {}
                Ok(_) if buffer[0] == SOLICITATION && !self.is_over() => {
                    self.send(&self.message, ALL_NODES)?
                }
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A router that advertises, from [`Interface::advertise`], until this is dropped: then it falls silent, as one that has
/// lost its power.
#[derive(Debug)]
#[must_use = "it advertises until this is dropped"]
pub struct Advertising(Arc<Sender>);

impl Advertising {
    /// Takes back what was advertised, as a router does that is switched off properly: it is no default router any more, and its
    /// prefixes are not valid. Then it falls silent.
    ///
    /// Hosts keep their addresses for two hours, deprecated, and use them where they have no other (RFC 4862 section 5.5.3).
    ///
    /// # Errors
    /// The kernel's own.
    pub fn withdraw(self) -> Result<(), Error> {
        self.0.has_ended.store(true, Ordering::Release);
        self.0.send(&self.0.last, ALL_NODES).doing(|| "take back a router's advertisements")
    }
}

impl Drop for Advertising {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Release);
    }
}

impl Interface {
    /// Has a router advertise itself and prefixes on this interface's link (RFC 4861), until the guard is dropped: at once, every
    /// second, and to whom solicits it.
    ///
    /// Hosts do not listen unless they are told to: by [`autoconfigure`](Interface::autoconfigure), or by a program such as
    /// systemd-networkd. That the router can reach what it advertises, and others by it, is up to its addresses and routes.
    ///
    /// ```
    /// use netns_test::{Advertisement, Node, Router, netns_test};
    ///
    /// #[netns_test(
    ///     nodes(client, server), routers(r),
    ///     links(
    ///         client -- r { r = "2001:db8:7::1/64" },
    ///         r -- server { r = "2001:db8:8::1/64", server = "2001:db8:8::2/64" },
    ///     ),
    ///     addresses = none,
    /// )]
    /// async fn comes_up_by_itself(client: Node, server: Node, r: Router) -> std::io::Result<()> {
    ///     let advertisement = Advertisement::new().prefix("2001:db8:7::/64");
    ///     let _advertising = r.interface("eth0")?.advertise(advertisement)?;
    ///     let own = client.interface("eth0")?.autoconfigure().await?;
    ///     let listener = server.listen_tcp(80).await?;
    ///     client.connect_tcp("server:80").await?;
    ///     assert_eq!(listener.accept().await?.1.ip(), own);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The node is no router, or the network has no IPv6; a prefix is no IPv6 `/64`, or another value out of its bounds; the kernel's
    /// own; when the test has ended.
    pub fn advertise(&self, advertisement: Advertisement) -> Result<Advertising, Error> {
        let operation = || format!("advertise by `{self}`");
        let node = self.node();
        if !node.is_router() {
            let text = format!("`{}` is no router: declare it in `routers(..)`", node.name());
            return Err(Error::because(operation(), text));
        }
        let mac = self.link().doing(operation)?.mac;
        let [message, last] =
            advertisement.messages(mac).map_err(|wrong| Error::because(operation(), wrong))?;
        let socket = Arc::new(node.icmp6_socket(self.name()).doing(operation)?);
        let has_ended = AtomicBool::new(false);
        let sender = Arc::new(Sender { socket, interface: self.index(), message, last, has_ended });
        let (theirs, of_node) = (Arc::clone(&sender), node.clone());
        node.start_server(
            "router advertisement",
            || Ok(theirs),
            async move |sender: Arc<Sender>| {
                let (repeating, of_repeating) = (Arc::clone(&sender), of_node.clone());
                spawn_local(async move { told(repeating.repeat(advertisement.every).await, &of_repeating) });
                spawn_local(async move { told(sender.answer().await, &of_node) });
            },
        )?;
        Ok(Advertising(sender))
    }

    /// Has the interface configure itself by what routers advertise (RFC 4862), and waits until it has an address.
    ///
    /// It solicits a router, and listens to advertisements from then on: addresses, the default route and the MTU follow them. The
    /// address is the one that follows from the MAC address (EUI-64), without duplicate address detection. The node's name does not stand for
    /// it, unless [`Network::add_host`](crate::Network::add_host) says so.
    ///
    /// # Errors
    /// The test's timeout is about to pass; the error says what was there instead. The network has no IPv6; the kernel's own; when the test
    /// has ended.
    pub async fn autoconfigure(&self) -> Result<Ipv6Addr, Error> {
        self.listen_to_routers()?;
        let node = self.node();
        node.wait_for(&self.configuration(), || self.configured(), || node.state()).await
    }

    /// [`autoconfigure`](Interface::autoconfigure) for plain functions.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_autoconfigure(&self) -> Result<Ipv6Addr, Error> {
        self.listen_to_routers()?;
        let node = self.node();
        node.blocking_wait_for(&self.configuration(), || self.configured(), || node.state())
    }

    fn configuration(&self) -> String {
        format!("`{self}` to configure itself")
    }

    fn listen_to_routers(&self) -> Result<(), Error> {
        let operation = || format!("configure `{self}` by what routers advertise");
        let node = self.node();
        // 2 is also where the node passes packets on (Documentation/networking/ip-sysctl.rst).
        for (name, value) in [("autoconf", 1), ("accept_ra", 2)] {
            let setting = format!("net/ipv6/conf/{}/{name}", self.name());
            node.set_sysctl(&setting, value).doing(operation)?;
        }
        let mac = self.link().doing(operation)?.mac;
        let socket = Arc::new(node.icmp6_socket(self.name()).doing(operation)?);
        let message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0], &source(mac)[..]].concat();
        let has_ended = AtomicBool::new(false);
        let sender = Sender { socket, interface: self.index(), message, last: Vec::new(), has_ended };
        sender.send(&sender.message, ALL_ROUTERS).doing(operation)
    }

    /// The address that it has by what routers advertise, once that can be used.
    fn configured(&self) -> io::Result<Option<Ipv6Addr>> {
        for address in self.addresses()? {
            let is_own = !address.permanent && !address.tentative && address.scope == Scope::Global;
            let IpAddr::V6(ip) = address.ip else { continue };
            if is_own && self.node().route_to(ip).is_ok_and(|route| route.kind == RouteKind::Local) {
                return Ok(Some(ip));
            }
        }
        Ok(None)
    }
}

/// A router that stopped while its test runs must not look like one that is silent on purpose.
fn told(result: io::Result<()>, node: &Node) {
    if let Err(error) = result
        && node.net().is_ok()
    {
        panic!("`{}` cannot advertise any more: {error}", node.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, b'n', b't', 0, 0, 1];

    #[test]
    fn messages_are_those_of_rfc_4861() {
        let advertisement = Advertisement::new()
            .prefix("2001:db8:7::/64")
            .mtu(1400)
            .dns("2001:db8::53".parse().unwrap())
            .lifetime(Duration::from_secs(600));
        let [message, last] = advertisement.messages(Some(MAC)).unwrap();
        assert_eq!(message.len(), 16 + 8 + 8 + 32 + 24);
        assert_eq!(message[..8], [134, 0, 0, 0, 64, 0, 2, 88]);
        assert_eq!(message[16..24], [1, 1, 2, b'n', b't', 0, 0, 1]);
        assert_eq!(message[24..32], [5, 1, 0, 0, 0, 0, 5, 120]);
        assert_eq!(message[32..36], [3, 4, 64, 0xc0]);
        assert_eq!(message[48..56], [0x20, 1, 0x0d, 0xb8, 0, 7, 0, 0]);
        assert_eq!(message[64..68], [25, 3, 0, 0]);
        assert_eq!(last[6..8], [0, 0]);
        assert_eq!(last[36..44], [0; 8], "neither valid nor preferred");
    }

    #[test]
    fn what_cannot_be_advertised_is_refused() {
        let new = Advertisement::new;
        for (advertisement, text) in [
            (new().prefix("10.0.0.0/24"), "`10.0.0.0/24` is of IPv4"),
            (new().prefix("2001:db8::/48"), "`2001:db8::/48` is no /64"),
            (new().prefix("2001:db8::1/64"), "has bits set beyond its length"),
            (new().mtu(1000), "an MTU of 1000 is too small"),
            (new().lifetime(Duration::from_secs(9001)), "write whole seconds, at most 9000"),
            (new().every(Duration::from_millis(1)), "is too often"),
        ] {
            let error = advertisement.messages(None).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
