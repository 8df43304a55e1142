//! An interface that is taken from its link and plugged in elsewhere.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::SystemTime;

use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};

use super::{FIRST_PORT, Patience, await_addresses, await_interfaces, configuration, first_index, route};
use crate::error::{Doing, Error};
use crate::netlink::{Batch, LinkEnd, MacvlanMode, NetlinkError, Request, RouteSocket};
use crate::network::Net;
use crate::node::{Node, NodeState};
use crate::plan::{End, InterfacePlan, Joint, NodePlan, Plan, Replugged};
use crate::{gateway, worker};

/// The index of the first port of a bridge that is made while a test runs.
const FIRST_PLUG: u32 = 50_000;

/// Plugs an interface into the node, router or switch of this name. When this returns, the first packet over it arrives.
pub(crate) fn replug(net: &Arc<Net>, near: End, to: &str) -> Result<[Option<End>; 2], Error> {
    let (tell, told) = mpsc::channel();
    let (inside, to) = (Arc::clone(net), to.to_owned());
    // A thread of its own: it moves between namespaces.
    worker::spawn_in("netns-test".to_owned(), Arc::clone(&net.body), move |settled| {
        // The receiver waits for this.
        let _waiting = tell.send(settled.and_then(|()| rewire(&inside, near, &to)));
    })?;
    told.recv().unwrap_or_else(|_gone| {
        Err(Error::because("plug in an interface", "the thread that does it panicked"))
    })
}

fn rewire(net: &Arc<Net>, near: End, to: &str) -> Result<[Option<End>; 2], Error> {
    let _turn = net.rewired.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let before = net.now();
    let interface = &before.nodes[near.node].interfaces[near.interface];
    let operation = || format!("plug `{}/{}` into `{to}`", before.nodes[near.node].name, interface.name);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let replugged = before.replug(near, to, now).map_err(|text| Error::because(operation(), text))?;
    let work = Work { net, before: &before, after: &replugged.plan, nodes: net.nodes() };
    work.check(near, &replugged).map_err(|text| Error::because(operation(), text))?;
    let joined = match replugged.joint {
        Joint::Switch(_) => [Some(near), None],
        Joint::Alone(end) | Joint::New(end) => [Some(near), Some(end)],
    };
    work.perform(near, &replugged)
        .map_err(|error| Error::because(operation(), format!("{error}; the interface is not as it was")))?;
    Ok(joined)
}

struct Work<'a> {
    net: &'a Arc<Net>,
    before: &'a Plan,
    after: &'a Plan,
    nodes: Vec<Arc<NodeState>>,
}

impl Work<'_> {
    /// Whether something is in the way that a test has to end first.
    fn check(&self, near: End, replugged: &Replugged) -> Result<(), String> {
        let alone = match replugged.joint {
            Joint::Alone(end) => Some(end),
            _ => None,
        };
        for end in [Some(near), replugged.left, alone].into_iter().flatten() {
            let (state, planned) = (&self.nodes[end.node], self.planned(end));
            if state.has_fault(planned.index) {
                let name = format!("{}/{}", state.name(), planned.name);
                return Err(format!("a fault concerns `{name}`, which is made anew: end it first"));
            }
            if let Some(upper) = self.net.standing_on(state.name(), planned.index) {
                let name = format!("{}/{}", state.name(), planned.name);
                return Err(format!("`{upper}` stands on `{name}`, which is made anew: delete it first"));
            }
        }
        match self.nodes.iter().find(|state| Node::new(Arc::clone(state)).is_out()) {
            Some(out) => Err(format!("`{}` has crashed: restart it first", out.name())),
            None => Ok(()),
        }
    }

    fn perform(&self, near: End, replugged: &Replugged) -> Result<(), Error> {
        let between = self.between()?;
        // Who watches it sees its carrier go.
        let off = || format!("switch off {}", self.name(near));
        self.socket(near)?.request(Request::set_up(self.planned(near).index, false), off)?;
        self.remove(near)?;
        let mut made = vec![near];
        if let Some(left) = replugged.left
            && self.leave_alone(left)?
        {
            made.push(left);
        }
        match replugged.joint {
            Joint::Switch(switch) => self.join_switch(near, switch, between.as_ref())?,
            Joint::Alone(end) => {
                self.remove(end)?;
                self.join(near, end)?;
                made.push(end);
            }
            Joint::New(end) => {
                self.join(near, end)?;
                made.push(end);
            }
        }
        self.configure(&made)?;
        for (state, planned) in self.nodes.iter().zip(&self.after.nodes) {
            let gateway = planned.gateway.clone();
            state.change_plan(|now| {
                let in_force = now.gateway.take();
                *now = NodePlan { gateway: in_force, aliases: now.aliases.clone(), ..planned.clone() };
            });
            if let Some(gateway) = gateway {
                let is_new = self.before.nodes.iter().all(|node| node.gateway.as_ref() != Some(&gateway));
                if is_new {
                    gateway::redeclare(&Node::new(Arc::clone(state)), &gateway)?;
                }
            }
        }
        self.rename()?;
        let mut patience = Patience::start();
        for end in [Some(near), replugged.joint.end()].into_iter().flatten() {
            let only = self.only(end);
            let socket = self.socket(end)?;
            await_interfaces(&only, &socket, &mut patience)?;
            await_addresses(&only, &socket, &mut patience)?;
        }
        let mut now = self.net.rewired.plan.write().unwrap_or_else(PoisonError::into_inner);
        *now = Some(Arc::new(self.after.clone()));
        Ok(())
    }

    fn planned(&self, end: End) -> &InterfacePlan {
        &self.after.nodes[end.node].interfaces[end.interface]
    }

    fn name(&self, end: End) -> String {
        format!("`{}/{}`", self.after.nodes[end.node].name, self.planned(end).name)
    }

    fn socket(&self, end: End) -> Result<Arc<RouteSocket>, Error> {
        let socket = self.nodes[end.node].route_socket();
        socket.ok_or_else(|| Error::because("plug in an interface", "the test has ended"))
    }

    fn link_end(&self, end: End) -> LinkEnd<'_> {
        let planned = self.planned(end);
        LinkEnd {
            index: planned.index,
            mac: Some(planned.mac),
            mtu: planned.mtu,
            netns: Some(self.nodes[end.node].namespaces.net()),
            ..LinkEnd::new(&planned.name)
        }
    }

    /// A node with that interface alone.
    fn only(&self, end: End) -> NodePlan {
        let node = &self.after.nodes[end.node];
        NodePlan {
            interfaces: vec![self.planned(end).clone()],
            loopback: Vec::new(),
            routes: Vec::new(),
            ..node.clone()
        }
    }

    /// A socket in the namespace of the switches.
    fn between(&self) -> Result<Option<RouteSocket>, Error> {
        let Some(between) = &self.net.switch else { return Ok(None) };
        setns(between.as_fd(), CloneFlags::CLONE_NEWNET).doing(|| "enter the namespace of the switches")?;
        let socket = RouteSocket::open().doing(|| "open a netlink socket in the switch");
        self.net.body.settle().doing(|| "return to the body's namespaces")?;
        socket.map(Some)
    }

    /// Where the other ends are of what is plugged in nowhere.
    fn nowhere(&self) -> Result<&OwnedFd, Error> {
        if let Some(nowhere) = self.net.rewired.nowhere.get() {
            return Ok(nowhere);
        }
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "create a network namespace for loose ends")?;
        let opened = fs::File::open("/proc/thread-self/ns/net").doing(|| "open the namespace of loose ends");
        self.net.body.settle().doing(|| "return to the body's namespaces")?;
        let opened = opened?;
        Ok(self.net.rewired.nowhere.get_or_init(|| opened.into()))
    }

    /// Deletes an interface, with what faults have kept of it; its address and routes go with it.
    fn remove(&self, end: End) -> Result<(), Error> {
        let (socket, index) = (self.socket(end)?, self.planned(end).index);
        socket.request(Request::delete_link(index), || format!("delete {}", self.name(end)))?;
        self.nodes[end.node].forget_interface(&socket, index)
    }

    /// What was at the other end stays, without a carrier. Of a veth, it went with the other end: whether it is made anew.
    fn leave_alone(&self, end: End) -> Result<bool, Error> {
        let (socket, planned) = (self.socket(end)?, self.planned(end));
        let describe = || format!("create {} with nothing at its other end", self.name(end));
        if socket.link(planned.index).doing(describe)?.is_some() {
            return Ok(false);
        }
        self.nodes[end.node].forget_interface(&socket, planned.index)?;
        let nowhere = self.nowhere()?;
        let name = format!("{}.{}", end.node, planned.index);
        // Its index is the kernel's choice for neither end, or for both (`veth_newlink` in `drivers/net/veth.c`).
        let index = FIRST_PLUG + plug_number(end);
        let far = LinkEnd { index, netns: Some(nowhere.as_fd()), ..LinkEnd::new(&name) };
        let request = Request::veth(&LinkEnd { up: true, ..self.link_end(end) }, &far);
        socket.request(request, describe)?;
        Ok(true)
    }

    fn join(&self, near: End, far: End) -> Result<(), Error> {
        let describe = || format!("create veth {} – {}", self.name(near), self.name(far));
        let request = Request::veth(&LinkEnd { up: true, ..self.link_end(near) }, &self.link_end(far));
        self.socket(near)?.request(request, describe)?;
        let on = || format!("switch on {}", self.name(far));
        Ok(self.socket(far)?.request(Request::set_up(self.planned(far).index, true), on)?)
    }

    fn join_switch(&self, near: End, switch: usize, between: Option<&RouteSocket>) -> Result<(), Error> {
        let Some(between) = between else {
            return Err(Error::because("find the switch", "the network has none"));
        };
        let own = self.link_end(near);
        if self.net.rewired.has_macvlans.get(switch).copied().unwrap_or(false) {
            let describe = || format!("create macvlan {} on the switch", self.name(near));
            let end = LinkEnd { up: true, ..own };
            return Ok(between
                .request(Request::macvlan(&end, first_index(switch), MacvlanMode::Bridge), describe)?);
        }
        let port = format!("plug{}", plug_number(near));
        let index = FIRST_PLUG + plug_number(near);
        let describe = || format!("create veth `switch/{port}` – {}", self.name(near));
        let request = Request::veth(&LinkEnd { index, up: true, ..LinkEnd::new(&port) }, &own);
        between.request(request, describe)?;
        let bridge = first_index(switch) + 2 * FIRST_PORT;
        let request = Request::set_controller(index, Some(bridge));
        between.request(request, || format!("make `{port}` a port of the bridge"))?;
        let on = || format!("switch on {}", self.name(near));
        self.socket(near)?.request(Request::set_up(self.planned(near).index, true), on)?;
        // What is on one switch hands large packets and open checksums on to each other.
        let ends = &self.after.wiring.switches[switch];
        if ends.iter().any(|end| self.after.wiring.conditioned_at(*end).is_some()) {
            let switched_off = self.socket(near)?.switch_off_offloads(&self.planned(near).name);
            switched_off.doing(|| format!("switch off the offloads of {}", self.name(near)))?;
        }
        Ok(())
    }

    /// Gives what was made its addresses, and all nodes the routes that are other ones now.
    fn configure(&self, made: &[End]) -> Result<(), Error> {
        for end in made {
            self.socket(*end)?.send(configuration(&self.only(*end), &[]))?;
        }
        for (index, (before, after)) in self.before.nodes.iter().zip(&self.after.nodes).enumerate() {
            let is_made = |interface: u32| {
                made.iter().any(|end| end.node == index && self.planned(*end).index == interface)
            };
            let Some(socket) = self.nodes[index].route_socket() else { continue };
            // Those over what was made anew are gone.
            let gone =
                before.routes.iter().filter(|old| !is_made(old.interface) && !after.routes.contains(old));
            for old in gone {
                let describe =
                    || format!("delete route {}/{} of `{}`", old.destination, old.prefix_len, before.name);
                tolerate_absence(socket.request(Request::delete_route(&route(old)), describe))?;
            }
            let mut batch = Batch::new();
            let new =
                after.routes.iter().filter(|new| is_made(new.interface) || !before.routes.contains(new));
            for new in new {
                let describe =
                    move || format!("add route {}/{} to `{}`", new.destination, new.prefix_len, after.name);
                batch.push(Request::add_route(&route(new)).or_replace(), describe);
            }
            socket.send(batch)?;
        }
        Ok(())
    }

    /// Has the names of nodes resolve to what their addresses are now.
    fn rename(&self) -> Result<(), Error> {
        let (before, after) = (&self.before.hosts, &self.after.hosts);
        if before == after {
            return Ok(());
        }
        for state in &self.nodes {
            Node::new(Arc::clone(state)).replace_hosts(before, after)?;
        }
        // The body's, and that of all nodes that have none of their own.
        let text = fs::read_to_string("/etc/hosts").doing(|| "read the body's `/etc/hosts`")?;
        fs::write("/etc/hosts", text.replacen(before, after, 1)).doing(|| "write the body's `/etc/hosts`")
    }
}

/// A number that no other interface of the network has.
fn plug_number(end: End) -> u32 {
    (end.node * 256 + end.interface) as u32
}

/// A test may have deleted the route.
fn tolerate_absence(result: Result<(), NetlinkError>) -> Result<(), Error> {
    match result {
        Err(error) if error.source.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        result => Ok(result?),
    }
}
