//! Cuts and partitions: which frames vanish where.

use std::panic::Location;

use super::Fault;
use super::frames::Frames;
use super::group::{Group, distinct, names};
use super::hook::Hook;
use super::ways::{Way, far_end, ways};
use crate::error::{Doing, Error};
use crate::network::Network;
use crate::node::{Interface, Node};

impl Network {
    /// Cuts two groups of nodes off from each other: what a node of one sends to a node of the other vanishes, both ways.
    ///
    /// Nothing tells either side: interfaces keep their carrier, sending succeeds, no answer comes. Connections stay open until
    /// they give up, or the partition ends. It holds on every network: between neighbours for whole frames, broadcasts and ARP
    /// included, and over routers for packets with the nodes' own addresses. Nodes in no group go on with everybody. A router
    /// in a group passes nothing on for the nodes of the other group either.
    ///
    /// [`guide::faults`](crate::guide::faults) has the details.
    ///
    /// # Errors
    /// A node is in both groups, or of another test. The kernel's own.
    ///
    /// ```
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test(nodes = 3)]
    /// async fn splits(a: Node, b: Node, c: Node, network: Network) -> std::io::Result<()> {
    ///     let (from, to) = (a.bind_udp(7).await?, c.bind_udp(7).await?);
    ///     let mut buf = [0; 9];
    ///     from.send_to(b"hello", (c.ip(), 7)).await?;
    ///     assert_eq!(to.recv(&mut buf).await?, 5);
    ///
    ///     let partition = network.partition([&a], [&b, &c])?;
    ///     from.send_to(b"lost", (c.ip(), 7)).await?;
    ///     partition.repair()?;
    ///     from.send_to(b"hi", (c.ip(), 7)).await?;
    ///     assert_eq!(to.recv(&mut buf).await?, 2);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn partition(
        &self,
        group: impl IntoIterator<Item = impl AsRef<Node>>,
        other: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Fault, Error> {
        let (group, other) = (distinct(group), distinct(other));
        let text = format!("{} and {} are partitioned", names(&group), names(&other));
        self.split(&text, &group, &other, true, Location::caller())
    }

    /// Cuts one way off: what nodes of the first group send to nodes of the second vanishes; what they send back arrives.
    ///
    /// Between neighbours questions for link-layer addresses (ARP, neighbour discovery) go unanswered then, so that in time
    /// the other way fails, too, with `EHOSTUNREACH`: as it does on a wire that is broken in one direction.
    ///
    /// # Errors
    /// As for [`partition`](Network::partition).
    ///
    /// ```
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn is_heard_but_not_answered(a: Node, b: Node, network: Network) -> std::io::Result<()> {
    ///     let (from, to) = (a.bind_udp(7).await?, b.bind_udp(7).await?);
    ///     let _deaf = network.partition_oneway([&b], [&a])?;
    ///     from.send_to(b"hi", (b.ip(), 7)).await?;
    ///     to.recv(&mut [0; 2]).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn partition_oneway(
        &self,
        from: impl IntoIterator<Item = impl AsRef<Node>>,
        to: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Fault, Error> {
        let (from, to) = (distinct(from), distinct(to));
        let verb = if from.len() == 1 { "is" } else { "are" };
        let text = format!("{} {verb} cut off from sending to {}", names(&from), names(&to));
        self.split(&text, &from, &to, false, Location::caller())
    }

    fn split(
        &self,
        text: &str,
        group: &[Node],
        other: &[Node],
        both_ways: bool,
        place: &Location<'_>,
    ) -> Result<Fault, Error> {
        let operation = || format!("begin the fault that {text}");
        let any = self.check_groups(group, other).doing(operation)?;
        let group = Group::of(group).doing(operation)?;
        let other = Group::of(other).doing(operation)?;
        let mut hooks = group.hooks(&other, true, both_ways);
        hooks.extend(other.hooks(&group, both_ways, true));
        Fault::vanish(&any, text, hooks, place)
    }
}

impl Node {
    /// Cuts the node off from everybody: what it sends and what is sent to it vanishes. Its loopback is not concerned.
    ///
    /// It holds at the interfaces that lead out of the node when it begins, declared or made by code of the test. What leads into
    /// namespaces of the node's own stays as it is.
    ///
    /// Nothing tells either side: all interfaces keep their carrier, and sending succeeds.
    ///
    /// # Errors
    /// The kernel's own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// use netns_test::state::SocketState;
    ///
    /// #[netns_test(nodes = 2)]
    /// async fn connects_in_the_end(client: Node, server: Node) -> std::io::Result<()> {
    ///     let _listener = server.listen_tcp(80).await?;
    ///     let isolated = server.isolate()?;
    ///     let connecting = client.spawn(async || tokio::net::TcpStream::connect("server:80").await.map(drop));
    ///     let waits = |node: &Node| Ok(node.sockets()?.iter().any(|socket| socket.state == SocketState::SynSent));
    ///     client.wait_until("a connection without an answer", waits).await?;
    ///     isolated.repair()?;
    ///     connecting.await.expect("the task does not panic")
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn isolate(&self) -> Result<Fault, Error> {
        let text = format!("`{}` is isolated", self.name());
        Fault::vanish(self, &text, everything(self)?, Location::caller())
    }
}

impl Interface {
    /// Cuts the link at this interface: what is sent on it and what comes over it vanishes. It keeps its carrier.
    ///
    /// Nothing tells either side. On a link between two nodes this is the cut of the link, at both ends; on a switch the others go
    /// on with each other.
    ///
    /// # Errors
    /// It is gone; the kernel's own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 3, topology = ring)]
    /// async fn keeps_its_carrier(a: Node, b: Node, _c: Node) -> std::io::Result<()> {
    ///     let _cut = a.interface("eth0")?.cut()?; // the link between a and b
    ///     assert!(a.interface("eth0")?.link()?.carrier && b.interface("eth0")?.link()?.carrier);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn cut(&self) -> Result<Fault, Error> {
        self.cut_ways(true, true, Location::caller())
    }

    /// Cuts the way out alone: what is sent on this interface vanishes.
    ///
    /// # Errors
    /// As for [`cut`](Interface::cut).
    #[track_caller]
    pub fn cut_outgoing(&self) -> Result<Fault, Error> {
        self.cut_ways(true, false, Location::caller())
    }

    /// Cuts the way in alone: what comes over this interface vanishes.
    ///
    /// # Errors
    /// As for [`cut`](Interface::cut).
    #[track_caller]
    pub fn cut_incoming(&self) -> Result<Fault, Error> {
        self.cut_ways(false, true, Location::caller())
    }

    pub(super) fn cut_ways(&self, sent: bool, received: bool, place: &Location<'_>) -> Result<Fault, Error> {
        let ways = match (sent, received) {
            (true, true) => "",
            (true, false) => " on the way out",
            _ => " on the way in",
        };
        let operation = || format!("cut `{self}`");
        let net = self.node().net().doing(operation)?;
        self.link().doing(operation)?;
        let mut hooks = vec![whole(self.clone(), sent, received)];
        let mut what = format!("`{self}`");
        if let Some(other) = far_end(&net, self).doing(operation)? {
            what += &format!(" – `{other}`");
            hooks.push(whole(other, received, sent));
        }
        Fault::vanish(self.node(), &format!("{what} is cut{ways}"), hooks, place)
    }

    /// Pulls the cable: the interface is off and the other end of its link has no carrier, until the guard ends.
    ///
    /// It is [`down`](Interface::down) as a guard, and ends with what [`up`](Interface::up) does: addresses and routes are put
    /// back. Unplugged twice, it is on again when both guards have ended. On a switch nobody else loses a carrier.
    ///
    /// A program in the node that switches the interface on, a network manager for instance, undoes this, and nothing says so. Where one
    /// runs, unplug the other end of the link instead: here the carrier is lost then, as by a cable that is pulled.
    ///
    /// # Errors
    /// The kernel's own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn loses_its_carrier(client: Node, server: Node) -> std::io::Result<()> {
    ///     let unplugged = server.interface("eth0")?.unplug()?;
    ///     client.wait_until("no carrier", |client| Ok(!client.interface("eth0")?.link()?.carrier)).await?;
    ///     unplugged.repair()?;
    ///     client.wait_until("a carrier", |client| Ok(client.interface("eth0")?.link()?.carrier)).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn unplug(&self) -> Result<Fault, Error> {
        Fault::switch_off(self, Location::caller())
    }
}

pub(super) fn whole(interface: Interface, sent: bool, received: bool) -> Hook {
    let all = |is_wanted: bool| if is_wanted { vec![Frames::All] } else { Vec::new() };
    Hook { interface, sent: all(sent), received: all(received) }
}

/// What cuts a node off from everybody.
pub(super) fn everything(node: &Node) -> Result<Vec<Hook>, Error> {
    let ways = ways(node).doing(|| format!("cut `{}` off", node.name()))?;
    let ends = ways.into_iter().flat_map(|Way { near, far }| [Some(near), far]).flatten();
    Ok(ends.map(|end| whole(end, true, true)).collect())
}
