//! More interfaces on a link that is there: macvlans and VLANs.

use super::{Mac, add, check_node, next, without_driver};
use crate::error::{Doing, Error};
use crate::netlink::{self, LinkEnd, Request};
use crate::node::{Interface, Node};

/// What macvlans on one interface hear of each other, from [`Interface::add_macvlan`] (ip-link(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacvlanMode {
    /// They reach each other.
    Bridge,
    /// They do not reach each other.
    Private,
    /// What they send to each other leaves by the link, and comes back if there is a switch that sends it back.
    Vepa,
}

impl From<MacvlanMode> for netlink::MacvlanMode {
    fn from(mode: MacvlanMode) -> Self {
        match mode {
            MacvlanMode::Bridge => Self::Bridge,
            MacvlanMode::Private => Self::Private,
            MacvlanMode::Vepa => Self::Vepa,
        }
    }
}

impl Interface {
    /// Adds a macvlan on this interface: one more interface on its link, with a MAC address of its own, in this node or in
    /// another.
    ///
    /// So a container is beside its host on the host's own network. It reaches who is on the link, and they reach it; the
    /// node of this interface and it do not reach each other, which is what macvlans are (ip-link(8)). It has no address yet:
    /// [`add_address`](Interface::add_address). Its MTU is this interface's. What happens to this
    /// interface's packets, by conditions of the link or by faults, happens to its packets. [`delete`](Interface::delete) removes it, and
    /// has to before this interface is plugged in elsewhere.
    ///
    /// ```
    /// use netns_test::{MacvlanMode, Node, netns_test};
    ///
    /// #[netns_test(nodes(host, peer, container), links(host -- peer { prefix = "10.0.5.0/24" }), family = v4)]
    /// async fn a_container_on_the_hosts_network(host: Node, peer: Node, container: Node) -> std::io::Result<()> {
    ///     let eth0 = host.interface("eth0")?.add_macvlan(&container, "eth0", MacvlanMode::Bridge)?;
    ///     eth0.add_address([10, 0, 5, 100], 24)?;
    ///     let listener = container.listen_tcp("10.0.5.100:80").await?;
    ///     peer.connect_tcp("10.0.5.100:80").await?;
    ///     assert_eq!(listener.accept().await?.1.ip(), peer.ip());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// This interface is a macvlan itself, as on switches unless `NETNS_TEST_SWITCH=bridge` is set, or has no MAC address. The node is of another test, or has an interface
    /// of this name; the kernel's own; when the test has ended.
    pub fn add_macvlan(&self, to: &Node, name: &str, mode: MacvlanMode) -> Result<Interface, Error> {
        let operation = || format!("add macvlan `{}/{name}` on `{self}`", to.name());
        let net = self.node().net().doing(operation)?;
        check_node(&net, to).map_err(|text| Error::because(operation(), text))?;
        let lower = self.link().doing(operation)?;
        // The kernel would put it on what that one stands on: beside this interface, and reachable from this node.
        if lower.kind.as_deref() == Some("macvlan") {
            let text = "it is a macvlan itself, as interfaces on switches are: set NETNS_TEST_SWITCH=bridge, and they are veths, or write \
                        `wire = user` to a link of a switch that is declared";
            return Err(Error::because(operation(), text));
        }
        let Some([.., interface, third, fourth]) = lower.mac else {
            let text = "it has no MAC address, and a macvlan stands on Ethernet";
            return Err(Error::because(operation(), text));
        };
        let (number, index) = next(to).doing(operation)?;
        let [high, low] = number.to_be_bytes();
        let end = LinkEnd {
            index,
            mac: Some([Mac::Macvlan as u8, high, low, interface, third, fourth]),
            up: true,
            netns: Some(to.netns_fd()),
            ..LinkEnd::new(name)
        };
        let socket = self.node().route_socket().doing(operation)?;
        add(
            &socket,
            to,
            Some(self),
            &end,
            Request::macvlan(&end, self.index(), mode.into()),
            operation,
            |error| without_driver(operation(), error, "macvlan", "macvlan", "CONFIG_MACVLAN"),
        )
    }

    /// Adds a VLAN on this interface, `eth0.10` for number 10: what is sent by it leaves by this interface with a tag (IEEE
    /// 802.1Q), and what comes with that tag comes in by it.
    ///
    /// It has no address yet: [`add_address`](Interface::add_address). Its MTU is this interface's, as everywhere: with the tag, frames
    /// have four bytes more. Links of two nodes and switches pass tags on. [`delete`](Interface::delete) removes it, and has to before this
    /// interface is plugged in elsewhere.
    ///
    /// # Errors
    /// The number is not 1 to 4094; this kernel has no VLANs; the interface has it already; the kernel's own; when the test has ended.
    pub fn add_vlan(&self, number: u16) -> Result<Interface, Error> {
        let name = format!("{}.{number}", self.name());
        let operation = || format!("add VLAN `{}/{name}`", self.node().name());
        if !(1..=4094).contains(&number) {
            let text = "a VLAN has a number from 1 to 4094 (IEEE 802.1Q)";
            return Err(Error::because(operation(), text));
        }
        let (_, index) = next(self.node()).doing(operation)?;
        let end = LinkEnd { index, up: true, ..LinkEnd::new(&name) };
        let socket = self.node().route_socket().doing(operation)?;
        add(
            &socket,
            self.node(),
            Some(self),
            &end,
            Request::vlan(&end, self.index(), number),
            operation,
            |error| without_driver(operation(), error, "VLANs", "8021q", "CONFIG_VLAN_8021Q"),
        )
    }
}
