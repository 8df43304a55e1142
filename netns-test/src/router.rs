//! A node that passes packets on.

use std::ops::Deref;

use crate::error::Error;
use crate::inject::{Argument, FromNetwork};
use crate::network::Network;
use crate::node::Node;

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
