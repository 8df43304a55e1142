//! Nodes that join a network that is there, and leave it again.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use super::{Patience, await_addresses, await_interfaces, configuration, make_node, register};
use crate::capture::Tap;
use crate::error::{Doing, Error};
use crate::namespace::Namespaces;
use crate::netlink::{Batch, LinkEnd, Request, RouteSocket};
use crate::network::Net;
use crate::node::{Node, NodeState};
use crate::panics::AllowPanics;
use crate::plan::{Joining, NodePlan};
use crate::{mounts, registry, teardown, worker};

/// Adds nodes to a network, each joined to one that is there. When this returns, their first packets arrive.
pub(crate) fn join(net: &Arc<Net>, all: Vec<Joining>) -> Result<Vec<Arc<NodeState>>, Error> {
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let (tell, told) = mpsc::channel();
    let inside = Arc::clone(net);
    // A thread of its own: it moves from node to node, and ends in the last one's namespaces.
    worker::spawn_in("netns-test".to_owned(), Arc::clone(&net.body), move |settled| {
        // The receiver waits for this.
        let _waiting = tell.send(settled.and_then(|()| build(&inside, all)));
    })?;
    told.recv().unwrap_or_else(|_gone| Err(Error::because("add nodes", "the thread that does it panicked")))
}

/// A node that is being added.
struct New {
    plan: Joining,
    to: Arc<NodeState>,
    far: Arc<RouteSocket>,
    namespaces: Namespaces,
    socket: RouteSocket,
    tap: Option<Tap>,
}

fn build(net: &Arc<Net>, all: Vec<Joining>) -> Result<Vec<Arc<NodeState>>, Error> {
    let base = mounts::base()?;
    let count = all.len();
    let mut made = Vec::with_capacity(count);
    for plan in all {
        let new = match make(net, base, plan, count) {
            Ok(new) => new,
            Err(error) => return Err(undo(made.iter().map(New::far_end), error)),
        };
        let wired = wire(&new);
        made.push(new);
        if let Err(error) = wired {
            return Err(undo(made.iter().map(New::far_end), error));
        }
    }
    let mut patience = Patience::start();
    let ready = made.iter().try_for_each(|new| {
        await_interfaces(&new.plan.to, &new.far, &mut patience)?;
        await_interfaces(&new.plan.node, &new.socket, &mut patience)?;
        await_addresses(&new.plan.node, &new.socket, &mut patience)
    });
    if let Err(error) = ready {
        return Err(undo(made.iter().map(New::far_end), error));
    }
    let mut states = Vec::with_capacity(count);
    let mut far_ends = Vec::with_capacity(count);
    let mut taps = Vec::with_capacity(count);
    for New { plan, far, namespaces, socket, tap, .. } in made {
        taps.extend(tap);
        let Joining { node, to } = plan;
        let (net, test) = (Arc::downgrade(net), net.test);
        far_ends.push((far, to.clone()));
        states.push(Arc::new(NodeState::new(net, test, node, Some(to), Arc::new(namespaces), socket)));
    }
    match register(net, &states).and_then(|()| net.add(&states)) {
        Ok(()) => {
            taps.into_iter().for_each(|tap| net.packets.add(tap));
            Ok(states)
        }
        Err(error) => {
            states.iter().for_each(|state| registry::remove(&state.namespaces, net.test));
            Err(undo(far_ends.iter().map(|(far, to)| (&**far, to)), error))
        }
    }
}

impl New {
    /// The socket of the node that it is joined to, and what that one gets by it.
    fn far_end(&self) -> (&RouteSocket, &NodePlan) {
        (&self.far, &self.plan.to)
    }
}

/// Makes a node, with no link yet.
fn make(net: &Net, base: &mounts::Base, plan: Joining, count: usize) -> Result<New, Error> {
    let operation = || format!("join `{}` to `{}`", plan.node.name, plan.to.name);
    let to = net.find(&plan.to.name).ok_or_else(|| Error::because(operation(), "there is no such node"))?;
    let far = to.route_socket().ok_or_else(|| Error::because(operation(), "it has been deleted"))?;
    let (namespaces, socket) = make_node(base, &net.body, &plan.node, net.plan.family, count)?;
    let tap = net.packets.tap(&plan.node.name)?;
    Ok(New { plan, to, far, namespaces, socket, tap })
}

fn wire(New { plan, to, far, namespaces, socket, .. }: &New) -> Result<(), Error> {
    let ends = [(&plan.node, namespaces), (&plan.to, &*to.namespaces)].map(|(node, namespaces)| {
        let interface = &node.interfaces[0];
        LinkEnd {
            index: interface.index,
            mac: Some(interface.mac),
            mtu: interface.mtu,
            netns: Some(namespaces.net()),
            ..LinkEnd::new(&interface.name)
        }
    });
    let name = |node: &NodePlan| format!("`{}/{}`", node.name, node.interfaces[0].name);
    let [own, other] = ends;
    let mut batch = Batch::new();
    // A peer cannot be created up: it has no other end yet.
    let request = Request::veth(&LinkEnd { up: true, ..own }, &other);
    batch.push(request, || format!("create veth {} – {}", name(&plan.node), name(&plan.to)));
    socket.send(batch)?;
    far.send(configuration(&plan.to, &[other.index]))?;
    Ok(socket.send(configuration(&plan.node, &[]))?)
}

/// Takes back what was made of nodes that cannot be added: the interfaces of those that stay.
fn undo<'a>(far_ends: impl Iterator<Item = (&'a RouteSocket, &'a NodePlan)>, error: Error) -> Error {
    for (far, to) in far_ends {
        // One that was not made cannot be deleted, and the first error is the one to tell.
        let _not_there = cut(far, to);
    }
    error
}

/// Deletes the interface that a node got by the joining of another; the routes over it go with it.
fn cut(far: &RouteSocket, to: &NodePlan) -> Result<(), Error> {
    for interface in &to.interfaces {
        let describe = || format!("delete `{}/{}`", to.name, interface.name);
        match far.request(Request::delete_link(interface.index), describe) {
            // It is gone already.
            Err(error) if error.source.raw_os_error() == Some(nix::libc::ENODEV) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

/// Takes a node out of its network: its tasks are dropped, its processes killed, its connections reset, and then its link is
/// gone. One that has failed on the way can be told to leave again.
pub(crate) fn leave(net: &Arc<Net>, state: &Arc<NodeState>) -> Result<(), Error> {
    let (node, operation) = (Node::new(Arc::clone(state)), || format!("delete `{}`", state.name()));
    let here = registry::here().doing(operation)?;
    if here.is_some_and(|here| here.namespaces.inode() == state.namespaces.inode()) {
        return Err(Error::because(operation(), "the code that asks for it runs in the node itself"));
    }
    net.take_out(state);
    // Nothing more is started in it; one that has crashed is as it should be.
    let _crashed = node.begin_outage();
    {
        // What is destroyed under its owner is told by errors, and may panic over them.
        let _told = AllowPanics::of(Arc::clone(net), state.name());
        // The end of the test tells of threads that could not be ended.
        let _left = teardown::empty(net, &node)?;
    }
    state.has_left.store(true, Ordering::Release);
    state.end_stations();
    let host = state.joined.as_ref().and_then(|to| Some((to, net.find(&to.name)?)));
    if let Some((to, host)) = host
        && let Some(far) = host.route_socket()
    {
        // Before it is gone, lest a guard that ends meanwhile miss it; and after, for what began meanwhile.
        let forget =
            || to.interfaces.iter().try_for_each(|interface| host.forget_interface(&far, interface.index));
        forget()?;
        cut(&far, to)?;
        forget()?;
    }
    drop(state.take_route_socket());
    Ok(())
}
