//! A node that passes packets on.

use std::ops::Deref;
use std::panic::Location;

use netns_test_model::graph::{Firewall, Nat};

use crate::error::{Doing, Error};
use crate::gateway::{self, ChangedRouter, NatMapping};
use crate::inject::{Argument, FromNetwork};
use crate::network::Network;
use crate::node::Node;
use crate::plan::NatPlan;

/// A router: a [`Node`] that passes on packets that are not its own, and knows the ways to all segments.
///
/// It can do whatever a node can. Only what was declared as a router is one: in `routers(..)`, or by
/// [`Topology::router`](crate::Topology::router).
///
/// ```
/// # use netns_test::{Node, Router, netns_test};
/// #[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server))]
/// fn routes(client: Node, server: Node, r: Router) -> std::io::Result<()> {
///     assert_eq!(r.sysctl("net.ipv4.ip_forward")?, "1");
///     let way = client.route_to(server.ip4())?;
///     assert_eq!(way.gateway, Some(r.ip4().into()));
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
pub struct Router(Node);

impl Router {
    /// The router as a node, for what takes one.
    pub fn node(&self) -> &Node {
        &self.0
    }

    /// How it translates IPv4 now, if it does.
    pub fn nat(&self) -> Option<Nat> {
        Some(self.nat_plan()?.nat)
    }

    /// What it lets through now between its uplink and its other links.
    pub fn firewall(&self) -> Firewall {
        self.0.gateway().map_or(Firewall::Open, |gateway| gateway.firewall)
    }

    /// The mappings of its NAT that are there now, TCP before UDP, by their inner addresses.
    ///
    /// # Errors
    /// It has no NAT; the kernel's own; when the test has ended.
    ///
    /// ```
    /// # use netns_test::{Node, Router, netns_test};
    /// #[netns_test(
    ///     nodes(host, server),
    ///     routers(gateway { nat = home, uplink = server }),
    ///     links(host -- gateway, gateway -- server),
    ///     family = v4,
    /// )]
    /// async fn mappings(host: Node, server: Node, gateway: Router) -> std::io::Result<()> {
    ///     let far = server.bind_udp(7).await?;
    ///     let near = host.bind_udp(5000).await?;
    ///     near.send_to(b"out", "server:7").await?;
    ///     let (_, seen) = far.recv_from(&mut [0; 8]).await?;
    ///     let mappings = gateway.mappings()?;
    ///     assert_eq!(std::net::SocketAddr::from(mappings[0].outside), seen);
    ///     assert_eq!(mappings[0].inside.ip(), &host.ip4());
    ///
    ///     gateway.flush_nat()?;
    ///     assert!(gateway.mappings()?.is_empty());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn mappings(&self) -> Result<Vec<NatMapping>, Error> {
        let operation = || format!("list the mappings of `{}`", self.name());
        let plan = self.nat_plan().ok_or_else(|| self.without_nat(operation()))?;
        let socket = self.0.nft().doing(operation)?;
        gateway::mappings(&socket, &plan).doing(operation)
    }

    /// Forgets all mappings and connections, as a router does that is switched off and on: what comes from outside is not
    /// known any more, and what goes out takes a new port, unless ports are kept.
    ///
    /// # Errors
    /// It has no NAT; the kernel's own; when the test has ended.
    #[track_caller]
    pub fn flush_nat(&self) -> Result<(), Error> {
        let operation = || format!("flush the mappings of `{}`", self.name());
        let plan = self.nat_plan().ok_or_else(|| self.without_nat(operation()))?;
        let socket = self.0.nft().doing(operation)?;
        gateway::flush(&socket, &plan, self.name())?;
        let net = self.0.net().doing(operation)?;
        net.faults.done(&format!("the mappings of `{}` are flushed", self.name()), Location::caller());
        Ok(())
    }

    /// Has it translate in another way, or with `None` not at all, until the guard is dropped.
    ///
    /// It is as if another box took its place: all mappings and connections are forgotten, when it begins and when it ends.
    /// Addresses and routes stay: where no NAT was declared, those outside have routes to those inside, and where one was, they
    /// have none. Settings are put back when a guard ends; those of a declared NAT (conntrack's timeouts, no ICMP redirects) stay also under
    /// `None`. Of several guards the latest holds.
    ///
    /// # Errors
    /// It has no uplink that was declared, or that has no IPv4 address; a time-out is not in whole seconds; the kernel's own; the
    /// test has ended.
    ///
    /// ```
    /// # use netns_test::{Nat, Node, Router, netns_test};
    /// #[netns_test(
    ///     nodes(host, server),
    ///     routers(gateway { nat = home, uplink = server }),
    ///     links(host -- gateway, gateway -- server),
    ///     family = v4,
    /// )]
    /// async fn another_provider(host: Node, server: Node, gateway: Router) -> std::io::Result<()> {
    ///     let far = server.bind_udp(7).await?;
    ///     let near = host.bind_udp(5000).await?;
    ///     let cgnat = gateway.set_nat(Nat::cgnat())?;
    ///     near.send_to(b"out", "server:7").await?;
    ///     assert_eq!(far.recv_from(&mut [0; 8]).await?.1.port(), 1024); // ports are not kept
    ///     cgnat.repair()?;
    ///     near.send_to(b"out", "server:7").await?;
    ///     assert_eq!(far.recv_from(&mut [0; 8]).await?.1.port(), 5000);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn set_nat(&self, nat: impl Into<Option<Nat>>) -> Result<ChangedRouter, Error> {
        ChangedRouter::nat(self.node(), nat.into())
    }

    /// Has it let something else through between its uplink and its other links, until the guard is dropped.
    ///
    /// The rules change from one packet to the next. Connections that it knows go on: they are answers to what was let through.
    /// Of several guards the latest holds.
    ///
    /// # Errors
    /// It has no uplink that was declared (`routers(gate { firewall = open, uplink = isp })` declares one for later); the kernel's
    /// own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{Firewall, Node, Router, netns_test};
    /// #[netns_test(
    ///     nodes(inside, outside),
    ///     routers(gate { firewall = open, uplink = outside }),
    ///     links(inside -- gate, gate -- outside),
    /// )]
    /// async fn closes(inside: Node, outside: Node, gate: Router) -> std::io::Result<()> {
    ///     let _listener = outside.listen_tcp(22).await?;
    ///     inside.connect_tcp("outside:22").await?;
    ///     let closed = gate.set_firewall(Firewall::Corporate)?;
    ///     assert!(inside.connect_tcp("outside:22").await.is_err());
    ///     closed.repair()?;
    ///     inside.connect_tcp("outside:22").await.map(drop)
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn set_firewall(&self, firewall: Firewall) -> Result<ChangedRouter, Error> {
        ChangedRouter::firewall(self.node(), firewall)
    }

    fn nat_plan(&self) -> Option<NatPlan> {
        self.0.gateway()?.nat
    }

    fn without_nat(&self, operation: String) -> Error {
        Error::because(
            operation,
            "it has no NAT: declare one, as in `routers(gateway { nat = home, uplink = isp })`",
        )
    }
}

impl Deref for Router {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl AsRef<Node> for Router {
    fn as_ref(&self) -> &Node {
        &self.0
    }
}

impl From<Router> for Node {
    fn from(router: Router) -> Self {
        router.0
    }
}

impl FromNetwork for Router {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.network().router(argument.name())
    }
}

impl Network {
    /// The router of this host name.
    ///
    /// # Errors
    /// There is no such node, or it is no router.
    pub fn router(&self, name: &str) -> Result<Router, Error> {
        let node = self.node(name)?;
        match node.is_router() {
            true => Ok(Router(node)),
            false => Err(Error::because(
                format!("find the router `{name}`"),
                format!("`{name}` was declared as a node: take it as `Node`, or declare it as a router"),
            )),
        }
    }

    /// The routers, in the order of their declaration.
    pub fn routers(&self) -> Vec<Router> {
        self.nodes().into_iter().filter(Node::is_router).map(Router).collect()
    }
}
