//! Faults of a link, by its handle.

use std::panic::Location;

use super::{Fault, Hold};
use crate::error::{Doing, Error};
use crate::link::LinkHandle;
use crate::node::{Interface, Node};

impl LinkHandle {
    /// Cuts the link: what is sent over it vanishes, both ways, and what is on its way vanishes where it arrives.
    ///
    /// It is [`Interface::cut`], from either end.
    ///
    /// # Errors
    /// The kernel's own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test(nodes = 3, topology = ring)]
    /// async fn goes_the_long_way(a: Node, b: Node, _c: Node, network: Network) -> std::io::Result<()> {
    ///     let link = network.link(&a, &b)?;
    ///     let cut = link.cut()?;
    ///     cut.repair()?;
    ///     let _deaf = link.cut_from(&b)?; // what `b` sends
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn cut(&self) -> Result<Fault, Error> {
        self.first_end()?.cut_ways(true, true, Location::caller())
    }

    /// Cuts one direction: what this node sends over the link vanishes.
    ///
    /// # Errors
    /// The node is at no end of the link; as for [`cut`](Self::cut).
    #[track_caller]
    pub fn cut_from(&self, node: &Node) -> Result<Fault, Error> {
        let place = Location::caller();
        let operation = || format!("cut what `{}` sends over `{self}`", node.name());
        let ends = self.interfaces().doing(operation)?;
        match ends.into_iter().find(|end| end.node().is(node)) {
            Some(end) => end.cut_ways(true, false, place),
            None => Err(Error::because(operation(), "it is at no end of the link")),
        }
    }

    /// Holds what is sent over the link, both ways, until the guard ends: it is [`Interface::hold`], from either end.
    ///
    /// # Errors
    /// The kernel's own; the test has ended.
    #[track_caller]
    pub fn hold(&self) -> Result<Hold, Error> {
        self.first_end()?.hold()
    }

    fn first_end(&self) -> Result<Interface, Error> {
        let operation = || format!("find the ends of `{self}`");
        let ends = self.interfaces().doing(operation)?;
        ends.into_iter().next().ok_or_else(|| Error::because(operation(), "it has none"))
    }
}
