//! The ways out of a node, as the kernel lists them at the moment: declared, added, or made by code of the test.

use std::io;
use std::os::fd::AsFd as _;

use crate::netlink::RouteSocket;
use crate::netlink::state::Link;
use crate::network::Net;
use crate::node::{Interface, Node};

/// An interface that leads out of its node.
pub(super) struct Way {
    pub(super) near: Interface,
    /// The other end, where it is an end of a cable between two nodes.
    pub(super) far: Option<Interface>,
}

/// The ways out of a node. What leads into namespaces that its own code has made stays within it.
pub(super) fn ways(node: &Node) -> io::Result<Vec<Way>> {
    let net = node.net()?;
    let known = node.known_interfaces().into_iter();
    let known = known.map(|near| Way { far: net.other_end(node, near.index()), near });
    Ok(known.chain(made(&net, node)?).collect())
}

/// The other end of a cable between two nodes.
pub(super) fn far_end(net: &Net, near: &Interface) -> io::Result<Option<Interface>> {
    match net.other_end(near.node(), near.index()) {
        Some(far) => Ok(Some(far)),
        None => {
            let way = made(net, near.node())?.into_iter().find(|way| way.near.index() == near.index());
            Ok(way.and_then(|way| way.far))
        }
    }
}

/// Whether it is an end of a cable that code of the test has made.
pub(super) fn is_made_cable(link: &Link, node: &Node) -> bool {
    is_cable(link) && !is_known(link, &node.known_interfaces())
}

fn is_cable(link: &Link) -> bool {
    matches!(link.kind.as_deref(), Some("veth" | "netkit"))
}

fn is_known(link: &Link, known: &[Interface]) -> bool {
    known.iter().any(|known| known.index() == link.index)
}

/// Those that code of the test has made.
fn made(net: &Net, node: &Node) -> io::Result<Vec<Way>> {
    let known = node.known_interfaces();
    let socket = node.route_socket()?;
    let mut links = socket.links()?;
    links.retain(|link| link.peer_namespace.is_some() && !is_known(link, &known));
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let elsewhere = elsewhere(net, node, &socket)?;
    let mut ways = Vec::new();
    for link in links {
        let there = elsewhere.iter().find(|(number, _)| link.peer_namespace == Some(*number));
        let Some((_, owner)) = there else { continue };
        let far = match owner {
            Some(owner) if is_cable(&link) => end_in(owner, &link)?,
            // Others send by what such an interface stands on as well.
            _ => None,
        };
        ways.push(Way { near: Interface::found(node.clone(), link.index, link.name), far });
    }
    Ok(ways)
}

fn end_in(node: &Node, link: &Link) -> io::Result<Option<Interface>> {
    match node.interfaces() {
        Err(_) if node.has_left() => Ok(None),
        found => Ok(found?.into_iter().find(|end| Some(end.index()) == link.peer)),
    }
}

/// What is outside of a node, each by the number that the node's namespace has for it: other nodes, the body and the switches.
fn elsewhere(net: &Net, node: &Node, socket: &RouteSocket) -> io::Result<Vec<(i32, Option<Node>)>> {
    let mut numbers = Vec::new();
    for other in net.nodes().into_iter().map(Node::new).filter(|other| !other.is(node)) {
        let number = socket.number_of(other.netns_fd())?;
        numbers.extend(number.map(|number| (number, Some(other))));
    }
    let switch = net.switch.as_ref().map(|switch| switch.as_fd());
    for namespace in [Some(net.body.net()), switch].into_iter().flatten() {
        numbers.extend(socket.number_of(namespace)?.map(|number| (number, None)));
    }
    Ok(numbers)
}
