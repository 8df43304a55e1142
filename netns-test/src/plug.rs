//! Interfaces that are plugged in elsewhere.

use std::panic::Location;

use crate::error::{Doing, Error};
use crate::link::LinkHandle;
use crate::network::Network;
use crate::node::Interface;
use crate::place::ToPlace;
use crate::plan::End;
use crate::provision;

impl Interface {
    /// Takes the interface from its link and plugs it into another node, router or switch, as a device moves to another network.
    ///
    /// Its name, index and MAC address stay; its addresses and routes are those of the new place, as if it had been declared there:
    /// on a switch the first free addresses, on a new link to a node or router the first free prefixes, of which that one has the
    /// first address; where it was declared, the declared ones again. Names resolve to the new addresses. Other interfaces of the
    /// node keep theirs, and everybody's routes follow. The new link has no conditions. Plug it in elsewhere, or back, at any time.
    ///
    /// It loses its carrier, is gone for a moment, and comes back with a carrier: when this returns, the first packet arrives. Sockets
    /// stay: those of the wildcard address go on from the new address, those that are bound to an address that is gone get no
    /// answers, or fail with `ENETUNREACH`. [`guide::faults`](crate::guide::faults) has the details.
    ///
    /// # Errors
    /// There is nothing of this name to plug it into, or it is there already; the network is no graph; a fault concerns an
    /// interface that has to be made anew, or a macvlan or VLAN that the test has added stands on it; the way back leads to a link that was declared with conditions; the kernel's own; the
    /// test has ended.
    ///
    /// ```
    /// use netns_test::{Node, Router, netns_test};
    ///
    /// #[netns_test(
    ///     nodes(phone, server),
    ///     routers(home, cafe, isp),
    ///     links(phone -- home, home -- isp, cafe -- isp, isp -- server),
    /// )]
    /// async fn roams(phone: Node, server: Node, cafe: Router) -> std::io::Result<()> {
    ///     let listener = server.listen_tcp(80).await?;
    ///     let at_home = phone.ip();
    ///     let link = phone.interface("eth0")?.replug(&cafe)?;
    ///     assert_eq!(link.to_string(), "phone/eth0 – cafe/eth1");
    ///     let _out = phone.connect_tcp("server:80").await?;
    ///     let (_in, peer) = listener.accept().await?;
    ///     assert!(peer.ip() == phone.ip() && phone.ip() != at_home);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn replug(&self, place: impl ToPlace) -> Result<LinkHandle, Error> {
        let to = place.place();
        let operation = || format!("plug `{self}` into `{to}`");
        let net = self.node().net().doing(operation)?;
        let now = net.now();
        let own = |end: &End| {
            let node = &now.nodes[end.node];
            node.name == self.node().name() && node.interfaces[end.interface].index == self.index()
        };
        let mut all = now.nodes.iter().enumerate().flat_map(|(node, planned)| {
            (0..planned.interfaces.len()).map(move |interface| End { node, interface })
        });
        let near = all
            .find(own)
            .ok_or_else(|| Error::because(operation(), "it was not declared: the test has made it"))?;
        let ends = provision::replug(&net, near, &to)?;
        net.faults.done(&format!("`{self}` is plugged into `{to}`"), Location::caller());
        Ok(Network(net).handle(ends))
    }
}
