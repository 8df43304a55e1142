//! Interfaces that a test adds to nodes while it runs: tunnels over whatever is between them, and more on a link that is there.

mod on_link;
mod vxlan;

use std::io;
use std::sync::atomic::Ordering;

use nix::libc;

pub use self::on_link::MacvlanMode;
use crate::error::{Doing, Error};
use crate::netlink::{LinkEnd, NetlinkError, Request, RouteSocket};
use crate::network::Net;
use crate::node::{Interface, Node};

/// The first byte of the MAC addresses of what is added: locally administered, and none that is declared begins with it.
#[derive(Clone, Copy)]
enum Mac {
    Macvlan = 0x06,
    Vxlan = 0x0a,
}

/// The index of the first interface that is added to any node of a network. All have different ones: in older kernels, Linux 6.1
/// among them, an index has to be free where the interface is created from, too.
const FIRST_ADDED: u32 = 60_000;

/// The number of the next interface that is added, and its index.
fn next(node: &Node) -> io::Result<(u16, u32)> {
    let number = node.net()?.added.fetch_add(1, Ordering::Relaxed) + 1;
    Ok((number as u16, FIRST_ADDED + number))
}

/// Why the kernel cannot make an interface of a kind, and what mends it.
fn without_driver(operation: String, error: NetlinkError, what: &str, module: &str, config: &str) -> Error {
    match error.source.raw_os_error() {
        Some(libc::EOPNOTSUPP) => Error::because(
            operation,
            format!(
                "this kernel has no {what} ({config}): `sudo modprobe {module}` loads the module, where the system has it"
            ),
        ),
        _ => error.into(),
    }
}

/// Creates an interface by the socket of one namespace, in a node, and waits until it carries packets if it is to be on. `lower` is
/// what it stands on.
fn add(
    socket: &RouteSocket,
    node: &Node,
    lower: Option<&Interface>,
    end: &LinkEnd<'_>,
    request: Request<'_>,
    operation: impl Fn() -> String,
    refused: impl FnOnce(NetlinkError) -> Error,
) -> Result<Interface, Error> {
    socket.request(request, &operation).map_err(refused)?;
    let interface = node.interface(end.name).doing(&operation)?;
    node.remember_added(&interface, lower);
    if end.up {
        // Where what it stands on is off, there is no carrier to wait for.
        let carries = |_: &Node| interface.link().map(|link| link.is_running() || !link.carrier);
        if let Err(error) = node.blocking_wait_until(&format!("`{interface}` to carry packets"), carries) {
            // The first error is the one to tell.
            drop(interface.delete());
            return Err(error);
        }
    }
    Ok(interface)
}

/// Whether a node is one of this network.
fn check_node(net: &Net, node: &Node) -> Result<(), String> {
    match node.net() {
        Ok(own) if own.is(net) => Ok(()),
        Ok(_) => Err(format!("`{}` is a node of another test", node.name())),
        Err(error) => Err(error.to_string()),
    }
}

impl Interface {
    /// Deletes an interface that the test has added, with its addresses and routes.
    ///
    /// # Errors
    /// It was declared: [`down`](Interface::down) switches it off. Another interface that the test has added stands on it. The kernel's
    /// own; when the test has ended.
    pub fn delete(self) -> Result<(), Error> {
        let operation = || format!("delete `{self}`");
        if !self.node().has_added(self.index()) {
            let text = "the test has not added it: `down` or `unplug` switches off what was declared";
            return Err(Error::because(operation(), text));
        }
        let net = self.node().net().doing(operation)?;
        if let Some(upper) = net.standing_on(self.node().name(), self.index()) {
            return Err(Error::because(operation(), format!("`{upper}` stands on it: delete that first")));
        }
        let socket = self.node().route_socket().doing(operation)?;
        socket.request(Request::delete_link(self.index()), operation)?;
        self.node().forget_added(self.index());
        self.node().forget_interface(&socket, self.index())
    }
}
