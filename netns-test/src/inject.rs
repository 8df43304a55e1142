//! How the arguments of a test get their values.

use crate::{Error, Network, Node, Topology};

/// A type that a netns test may have as an argument.
///
/// `Node`, [`Router`](crate::Router), `[Node; N]` and [`Network`] implement it. A structure of your own gathers what your tests need
/// once, and declares their network, by [`#[derive(FromNetwork)]`](derive@crate::FromNetwork). What takes more than that is written out:
///
/// ```
/// use netns_test::{Argument, Error, FromNetwork, Node, netns_test};
///
/// struct Pair {
///     client: Node,
///     server: Node,
/// }
///
/// impl FromNetwork for Pair {
///     fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
///         Ok(Self { client: argument.node("node-0")?, server: argument.node("node-1")? })
///     }
/// }
///
/// #[netns_test(nodes = 2)]
/// async fn talks(pair: Pair) {
///     assert_ne!(pair.client.ip(), pair.server.ip());
/// }
/// # fn main() {}
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a netns test",
    label = "not a `Node`, a `Router`, a `[Node; N]`, a `Network`, nor a type that implements `FromNetwork`",
    note = "derive or implement `netns_test::FromNetwork` for it, or mark it for rstest with `#[case]`, `#[values]` or a fixture"
)]
pub trait FromNetwork: Sized {
    /// The network that the type declares, if it does: that of a test which declares none itself.
    ///
    /// `#[derive(FromNetwork)]` writes it.
    fn topology() -> Option<Topology> {
        None
    }

    /// Makes the value for one argument of the running test.
    ///
    /// # Errors
    /// What the argument asks for does not exist. The test then fails with this error, and its body does not run.
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error>;
}

/// One argument of a test, as [`FromNetwork`] sees it.
#[derive(Debug)]
pub struct Argument<'a> {
    name: &'a str,
    network: &'a Network,
}

impl<'a> Argument<'a> {
    pub(crate) fn new(name: &'a str, network: &'a Network) -> Self {
        Self { name, network }
    }

    /// The argument's name as a host name: `web-server` for `web_server` and for `_web_server`.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The test's network.
    pub fn network(&self) -> &Network {
        self.network
    }

    /// An error that says why this argument cannot be had: "failed to inject the argument `name`: {why}".
    pub fn refuse(&self, why: impl Into<String>) -> Error {
        Error::because(format!("inject the argument `{}`", self.name), why)
    }

    /// The node of this name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn node(&self, name: &str) -> Result<Node, Error> {
        self.network.node(name)
    }
}

impl FromNetwork for Node {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.node(argument.name())
    }
}

impl<const N: usize> FromNetwork for [Node; N] {
    /// The nodes `name-0` to `name-(N-1)`.
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        let nodes: Vec<Node> = (0..N)
            .map(|index| argument.node(&format!("{}-{index}", argument.name())))
            .collect::<Result<_, _>>()?;
        nodes.try_into().map_err(|_| Error::because("make an array of nodes", "the length differs"))
    }
}

impl FromNetwork for Network {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Ok(argument.network().clone())
    }
}
