//! An interface of a node, switched off and on.

use std::io;
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use nix::net::if_::if_nametoindex;

use super::{Node, NodeState};
use crate::error::Error;
use crate::link;
use crate::namespace::{self, Depth};
use crate::netlink::state::{Address, Link, Neighbour, NeighbourState, Route, RouteProtocol};
use crate::netlink::{Batch, Request, RouteSocket};
use crate::plan::InterfacePlan;

/// A network interface of a node.
#[derive(Clone, Debug)]
pub struct Interface {
    node: Node,
    name: String,
    index: u32,
}

/// What an interface had before it was switched off, since the kernel forgets it.
#[derive(Debug)]
pub(super) struct Kept {
    index: u32,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    /// Neighbours that are written down, rather than asked for.
    neighbours: Vec<(IpAddr, [u8; 6])>,
}

/// What an error says of an interface that was made without a handle.
const OF_THE_BODY: &str =
    "; one of that name is in the body's own namespace: make it in the node, by `node.run` or `node.enter`";

impl Node {
    /// The interfaces other than the loopback, in the order of their index.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let links = self.links()?.into_iter().filter(|link| link.name != "lo");
        Ok(links.map(|link| Interface { node: self.clone(), name: link.name, index: link.index }).collect())
    }

    /// The interface of this name, `eth0` for instance.
    ///
    /// # Errors
    /// There is none (the error lists those there are); the kernel's own; when the test has ended.
    pub fn interface(&self, name: &str) -> io::Result<Interface> {
        let links = self.links()?;
        match links.iter().find(|link| link.name == name) {
            Some(link) => Ok(Interface { node: self.clone(), name: link.name.clone(), index: link.index }),
            None => {
                let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
                let text = format!(
                    "`{}` has no interface `{name}`, only `{}`{}",
                    self.name(),
                    names.join("`, `"),
                    if self.body_has(name) { OF_THE_BODY } else { "" }
                );
                Err(io::Error::new(io::ErrorKind::NotFound, text))
            }
        }
    }

    /// Whether an interface of this name is in the body's own namespace, outside of the network.
    fn body_has(&self, name: &str) -> bool {
        let Ok(net) = self.net() else { return false };
        namespace::enter(&net.body, Depth::Network).is_ok_and(|_inside| if_nametoindex(name).is_ok())
    }
}

impl Interface {
    /// The interface's name, `eth0` for instance.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface's index in its node. The first one beside the loopback has 100.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The node that it belongs to.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What the kernel says about it now: state, MAC address, MTU, counters.
    ///
    /// # Errors
    /// It is gone; the kernel's own; when the test has ended.
    pub fn link(&self) -> io::Result<Link> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("`{self}` is gone"));
        self.node.route_socket()?.link(self.index)?.ok_or_else(gone)
    }

    /// Whether the kernel lists it no more: it was deleted, or moved to another namespace.
    pub(crate) fn is_gone(&self) -> bool {
        let socket = self.node.route_socket();
        socket.is_ok_and(|socket| matches!(socket.link(self.index), Ok(None)))
    }

    /// Its addresses.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        let mut addresses = self.node.addresses()?;
        addresses.retain(|address| address.link == self.index);
        Ok(addresses)
    }

    /// Switches it off: the other end loses its carrier, and the routes over it are gone.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn down(&self) -> Result<(), Error> {
        let socket = self.node.route_socket().map_err(|error| self.failed("switch off", error))?;
        let link = self.link().map_err(|error| self.failed("switch off", error))?;
        if link.up {
            let found = || {
                let mut routes = self.node.routes()?;
                // The kernel puts back what it made itself: routes of addresses, local and multicast ones.
                routes.retain(|route| {
                    route.link == Some(self.index) && route.protocol != RouteProtocol::Kernel
                });
                let is_kept = |neighbour: &Neighbour| {
                    neighbour.link == self.index && neighbour.state == NeighbourState::Permanent
                };
                let neighbours = self.node.neighbours()?.into_iter().filter(is_kept);
                let neighbours = neighbours.filter_map(|neighbour| Some((neighbour.ip, neighbour.mac?)));
                let neighbours = neighbours.collect();
                io::Result::Ok(Kept { index: self.index, addresses: self.addresses()?, routes, neighbours })
            };
            let kept = found().map_err(|error| self.failed("keep the addresses and routes of", error))?;
            let mut all = self.node.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|other| other.index != self.index);
            all.push(kept);
        }
        Ok(socket.request(Request::set_up(self.index, false), || format!("switch off `{self}`"))?)
    }

    /// Switches it on, and puts back the addresses, routes and permanent neighbours that it had when [`down`](Interface::down) was called.
    ///
    /// It returns when the interface carries packets again, at the other end of its link, too, or at once where that is off.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended; when its timeout is about to pass and the interface carries nothing yet (the
    /// error says what was there instead).
    pub fn up(&self) -> Result<(), Error> {
        let socket = self.node.route_socket().map_err(|error| self.failed("switch on", error))?;
        socket.request(Request::set_up(self.index, true), || format!("switch on `{self}`"))?;
        let kept = {
            let mut all = self.node.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().position(|kept| kept.index == self.index).map(|position| all.swap_remove(position))
        };
        if let Some(kept) = kept {
            self.put_back(&kept)?;
        }
        let net = self.node.net().map_err(|error| self.failed("switch on", error))?;
        let other = net.other_end(&self.node, self.index);
        // With the other end off there is no carrier to wait for. On the wire in user space it comes later than here.
        let carries = |_: &Node| {
            let here = self.link()?;
            let there = match &other {
                Some(other) if here.is_running() => match other.link() {
                    // With a pod that is deleted meanwhile, the link goes.
                    Err(_) if other.node().has_left() => true,
                    link => link.map(|link| link.is_running() || !link.up)?,
                },
                _ => true,
            };
            Ok((here.is_running() || !here.carrier) && there)
        };
        self.node.blocking_wait_until(&format!("`{self}` to carry packets"), carries)
    }

    /// Adds an address, without duplicate address detection: it can be used at once.
    ///
    /// # Errors
    /// The kernel's own (`AlreadyExists` where the interface has it), and when the test has ended.
    pub fn add_address(&self, ip: impl Into<IpAddr>, prefix_len: u8) -> Result<(), Error> {
        let address = Address::new(self.index, ip.into(), prefix_len);
        let describe = || format!("add address {}/{prefix_len} to `{self}`", address.ip);
        let socket = self.node.route_socket().map_err(|error| Error::new(describe(), error))?;
        Ok(socket.request(Request::add_address(&address), describe)?)
    }

    /// Removes an address.
    ///
    /// # Errors
    /// The kernel's own (`AddrNotAvailable` where the interface has it not), and when the test has ended.
    pub fn remove_address(&self, ip: impl Into<IpAddr>, prefix_len: u8) -> Result<(), Error> {
        let address = Address::new(self.index, ip.into(), prefix_len);
        let describe = || format!("remove address {}/{prefix_len} from `{self}`", address.ip);
        let socket = self.node.route_socket().map_err(|error| Error::new(describe(), error))?;
        Ok(socket.request(Request::delete_address(&address), describe)?)
    }

    /// Sets the MTU: the largest packet that leaves by this interface, in bytes. Conditions of its link on the kernel's wire reckon with it
    /// from then on.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended. The interface has the new MTU already where it is its link's conditions that the
    /// error is about.
    pub fn set_mtu(&self, bytes: u32) -> Result<(), Error> {
        let describe = || format!("set the MTU of `{self}` to {bytes}");
        let socket = self.node.route_socket().map_err(|error| Error::new(describe(), error))?;
        let before = self.link().map_err(|error| Error::new(describe(), error))?.mtu;
        socket.request(Request::set_mtu(self.index, bytes), describe)?;
        link::resized(self, before, bytes)
    }

    pub(crate) fn planned(node: Node, plan: &InterfacePlan) -> Self {
        Self { node, name: plan.name.clone(), index: plan.index }
    }

    /// Switches it off for the fault of this number, unless another one has done so already.
    pub(crate) fn unplug_once_more(&self, fault: u16) -> Result<(), Error> {
        let mut unplugged = self.node.0.unplugged.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = unplugged.entry(self.index).or_default();
        if faults.is_empty() {
            self.down()?;
        }
        faults.push(fault);
        Ok(())
    }

    /// Switches it on when the last fault is over.
    pub(crate) fn plug_in_once(&self, fault: u16) -> Result<(), Error> {
        let mut unplugged = self.node.0.unplugged.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = unplugged.entry(self.index).or_default();
        // Where it is forgotten, the interface is gone, and the one that has its index now is another.
        let Some(position) = faults.iter().position(|other| *other == fault) else { return Ok(()) };
        faults.swap_remove(position);
        // Under the lock, lest a fault that begins meanwhile be undone.
        if faults.is_empty() { self.up() } else { Ok(()) }
    }

    fn put_back(&self, kept: &Kept) -> Result<(), Error> {
        let socket = self.node.route_socket().map_err(|error| self.failed("switch on", error))?;
        let mut batch = Batch::new();
        for address in &kept.addresses {
            let describe = move || format!("put back address {} of `{self}`", address.ip);
            batch.push(Request::add_address(address).or_replace(), describe);
        }
        for &(ip, mac) in &kept.neighbours {
            let request = Request::add_neighbour(self.index, ip, mac).or_replace();
            batch.push(request, move || format!("put back neighbour {ip} of `{self}`"));
        }
        // What a gateway is reached by comes before the routes by way of it, as those of pods.
        let (by_gateway, on_link): (Vec<_>, Vec<_>) =
            kept.routes.iter().partition(|route| route.gateway.is_some());
        for route in on_link.into_iter().chain(by_gateway) {
            let describe =
                move || format!("put back route {}/{} of `{self}`", route.destination, route.prefix_len);
            batch.push(Request::add_route(route).or_replace(), describe);
        }
        Ok(socket.send(batch)?)
    }

    /// One that is known by its index.
    pub(crate) fn found(node: Node, index: u32, name: String) -> Self {
        Self { node, name, index }
    }

    fn failed(&self, operation: &str, error: io::Error) -> Error {
        Error::new(format!("{operation} `{self}`"), error)
    }
}

/// An interface that a test has added.
#[derive(Clone, Debug)]
pub(super) struct Added {
    pub(super) index: u32,
    pub(super) name: String,
    /// What it stands on: the name of a node, and the index of an interface there.
    pub(super) lower: Option<(String, u32)>,
}

impl NodeState {
    pub(super) fn added(&self) -> MutexGuard<'_, Vec<Added>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of an interface that a test has added, and that stands on this one.
    pub(crate) fn standing_on(&self, node: &str, index: u32) -> Option<String> {
        let added = self.added();
        let upper = added
            .iter()
            .find(|added| added.lower.as_ref().is_some_and(|(name, lower)| name == node && *lower == index));
        upper.map(|upper| format!("{}/{}", self.name(), upper.name))
    }

    /// Whether a fault concerns an interface.
    pub(crate) fn has_fault(&self, index: u32) -> bool {
        let unplugged = self.unplugged.lock().unwrap_or_else(PoisonError::into_inner);
        let stations = self.stations.lock().unwrap_or_else(PoisonError::into_inner);
        unplugged.get(&index).is_some_and(|faults| !faults.is_empty())
            || stations.get(&index).is_some_and(|station| station.is_used())
            || self.hooked.is_used(index)
    }

    /// Forgets what faults did to an interface that is gone: another one may get its index.
    pub(crate) fn forget_interface(&self, socket: &RouteSocket, index: u32) -> Result<(), Error> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).retain(|kept| kept.index != index);
        self.unplugged.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        self.hooked.forget(index);
        let station = self.stations.lock().unwrap_or_else(PoisonError::into_inner).remove(&index);
        station.map_or(Ok(()), |station| station.take_away(socket))
    }
}

impl std::fmt::Display for Interface {
    /// `node/eth0`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.node.name(), self.name)
    }
}
