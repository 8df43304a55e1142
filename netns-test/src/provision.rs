//! From a plan to a network: the only place where plan and netlink meet.
//!
//! It runs on the thread that will run the body. What was made before a failure is gone when that thread ends: every
//! namespace is held by file descriptors alone.

#[cfg(feature = "kubernetes")]
mod join;
mod replug;
mod wires;

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, OnceLock, RwLock, Weak};
use std::time::{Duration, Instant};
use std::{fs, thread};

use netns_test_model::Family;
use netns_test_model::graph::{Conditions, Wire};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;

use self::wires::Taps;
use crate::__private::Runtime;
use crate::artifacts::Artifacts;
use crate::directory::WorkingDirectory;
use crate::error::{Doing, Error};
use crate::fault::Faults;
use crate::held::with_room;
use crate::key_log::Secrets;
use crate::link::Links;
use crate::log::Log;
use crate::mounts::{self, Base};
use crate::namespace::Namespaces;
use crate::netlink::state::{Address, Link, Route, RouteKind};
use crate::netlink::{Batch, LinkEnd, MacvlanMode, NetlinkError, Request, RouteSocket};
use crate::network::{Clock, Members, Net, Rewired};
use crate::node::NodeState;
use crate::panics::Witness;
use crate::plan::{End, NodePlan, Plan, RoutePlan};
use crate::registry::{self, Place};
use crate::teardown::Reaped;
use crate::wire::Wires;
use crate::{capture, gate, gateway, knob, report, sysctl, wire, worker};

#[cfg(feature = "kubernetes")]
pub(crate) use self::join::{join, leave};
pub(crate) use self::replug::replug;

/// The loopback interface has this index in every namespace (`LOOPBACK_IFINDEX` in the kernel).
const LOOPBACK: u32 = 1;

/// The index of a switch's first interface: of the one that its macvlans stand on, whose other end has the next, or of
/// the bridge that it is. The next switch's is two further.
///
/// No interface of a node has one of these: older kernels, 6.12 among them, look for the index of a new macvlan in the namespace of the
/// socket (`rtnl_newlink`), which is the switch's, and refuse it where it is taken there.
const FIRST_SWITCH: u32 = 1_000_000;

/// The index of the bridges' first port; the others follow, those of all switches in one row.
const FIRST_PORT: u32 = 10_000;

/// The MTU of an interface that has none of its own, as the kernel chooses it.
const DEFAULT_MTU: u32 = 1500;

/// The MAC address of the side (0 or 1) of a switch; no node's interface has number 255.
fn switch_mac(switch: usize, side: u8) -> [u8; 6] {
    let [.., high, low] = (2 * switch + usize::from(side)).to_be_bytes();
    [0x02, b'n', b't', 0xff, high, low]
}

/// How long a network may take to carry its first packet. It takes well under a millisecond; a kernel that needs longer
/// than this is broken or starved.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds the network of a plan, and moves the calling thread into the body's namespaces.
pub(crate) fn provision(
    test: &'static str,
    plan: Plan,
    flavor: Runtime,
    limit: Option<Duration>,
    wanted: capture::Wanted,
) -> Result<Arc<Net>, Error> {
    let _turn = gate::turn_to_provision();
    worker::leave_signals_outside().doing(|| "build a runtime")?;
    // Entering mount namespaces moves it to the root directory.
    let directory = WorkingDirectory::of_this_thread();
    let wires = wires::choose(&plan)?;
    let seed = wire::seed(plan.seed)?;
    let has_between = !plan.wiring.switches.is_empty() || wires.contains(&Wire::User);
    // The base has a mount namespace more, and only the first time.
    let all = plan.nodes.len() + 1 + usize::from(has_between);
    let base = with_room(all, mounts::base)?;
    base.settle()?;
    let body = with_room(all, Namespaces::unshare)?;
    base.set_hosts(&plan.hosts)?;
    // Before the nodes copy the body's mounts. A network without a name server pays nothing for it.
    if let Some(resolver) = &plan.resolver {
        base.set_resolver(resolver)?;
    }
    sysctl::apply(plan.family, false)?;
    raise_loopback()?;
    let mut switch = match has_between {
        true => Some(with_room(all, || Switches::make(&wires))?),
        false => None,
    };
    let mut packets = capture::Opening::new(wanted, plan.nodes.len());
    let make_node = |node: &NodePlan| {
        let made = make_node(base, &body, node, plan.family, all)?;
        packets.tap(&node.name)?;
        Ok(made)
    };
    let nodes: Vec<(Namespaces, RouteSocket)> =
        plan.nodes.iter().map(make_node).collect::<Result<_, Error>>()?;
    body.settle().doing(|| "return to the body's namespaces")?;
    sethostname("localhost").doing(|| "set the host name of the body")?;
    base.mount_sys()?;
    mounts::bind_proc_net()?;
    directory.return_to();
    let has_macvlans = wire(&plan, switch.as_ref(), &wires, &nodes)?;
    wires::shape(&plan, &wires, seed, &nodes)?;
    let taps = switch.as_mut().and_then(|between| between.taps.take());
    let bound = taps.map(|taps| taps.bind(&plan.wiring.conditioned)).transpose()?;
    await_readiness(&plan, switch.as_ref(), &nodes)?;
    let body = Arc::new(body);
    let pump = match bound {
        Some(bound) => Some(Wires::start(bound.ends, seed, bound.between, bound.events, Arc::clone(&body))?),
        None => None,
    };
    let links = Links::new(&plan.wiring, wires, seed, pump);
    let made = Made { body, switch, has_macvlans, nodes, packets: packets.finish(), links };
    assemble(test, plan, flavor, limit, made)
}

fn raise_loopback() -> Result<(), Error> {
    let socket = RouteSocket::open().doing(|| "open a netlink socket")?;
    Ok(socket.request(Request::set_up(LOOPBACK, true), || "switch on `lo`".to_owned())?)
}

fn make_node(
    base: &Base,
    body: &Namespaces,
    node: &NodePlan,
    family: Family,
    all: usize,
) -> Result<(Namespaces, RouteSocket), Error> {
    // Copied from the body's mounts each time: from the previous node's they would pile up.
    body.settle_mounts().doing(|| "return to the body's mounts")?;
    let namespaces = with_room(all, Namespaces::unshare)?;
    sethostname(&node.name).doing(|| format!("set the host name `{}`", node.name))?;
    base.mount_sys()?;
    sysctl::apply(family, node.forwards)?;
    if let Some(plan) = &node.gateway {
        gateway::apply(&node.name, plan)?;
    }
    let socket = RouteSocket::open().doing(|| format!("open a netlink socket in `{}`", node.name))?;
    Ok((namespaces, socket))
}

/// What is between the nodes: a namespace of its own, with the network's switches, which the nodes' interfaces are ports of,
/// and the ends of links on the wire in user space.
struct Switches {
    net: OwnedFd,
    socket: RouteSocket,
    kind: SwitchKind,
    taps: Option<Taps>,
}

/// How a switch is made. Even an empty bridge costs 15-20 ms of serialised clean-up, which stalls the next set-up, so it
/// is taken only where the kernel has no macvlan, or the user asks for it (`NETNS_TEST_SWITCH=bridge`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SwitchKind {
    /// A veth pair, and on it a macvlan in bridge mode for each port.
    Macvlans,
    /// A bridge, and a veth pair for each port.
    Bridge,
}

impl SwitchKind {
    fn wanted() -> Result<Self, Error> {
        match knob::text("NETNS_TEST_SWITCH").as_deref() {
            Some("bridge") => Ok(Self::Bridge),
            None | Some("macvlan") => Ok(Self::Macvlans),
            Some(other) => {
                let text = format!("NETNS_TEST_SWITCH is `{other}`: expected `macvlan` or `bridge`");
                Err(Error::because("make a switch", text))
            }
        }
    }
}

impl Switches {
    fn make(wires: &[Wire]) -> Result<Self, Error> {
        let kind = SwitchKind::wanted()?;
        unshare(CloneFlags::CLONE_NEWNET).doing(|| "create the network namespace of the switch")?;
        let net =
            fs::File::open("/proc/thread-self/ns/net").doing(|| "open the namespace of the switch")?.into();
        // A switch has no addresses, so that nothing but the nodes speaks on it.
        sysctl::apply(Family::V4, false)?;
        let socket = RouteSocket::open().doing(|| "open a netlink socket in the switch")?;
        let taps = wires.contains(&Wire::User).then(|| Taps::open(wires)).transpose()?;
        Ok(Self { net, socket, kind, taps })
    }

    /// Makes the veth pair that a switch's macvlans stand on: without its other end it would have no carrier.
    ///
    /// No macvlan can send more than what it stands on.
    fn make_trunk(&self, switch: usize, mtu: Option<u32>) -> Result<(), NetlinkError> {
        let first = first_index(switch);
        let names = [format!("trunk{switch}"), format!("end{switch}")];
        let [trunk, end] = [0, 1].map(|side| LinkEnd {
            index: first + u32::from(side),
            mac: Some(switch_mac(switch, side)),
            mtu,
            up: side == 0,
            ..LinkEnd::new(&names[usize::from(side)])
        });
        let mut batch = Batch::new();
        batch.push(Request::veth(&trunk, &end), || format!("create veth `switch/{}`", names[0]));
        batch.push(Request::set_up(first + 1, true), || format!("switch on `switch/{}`", names[1]));
        self.socket.send(batch)
    }

    /// Connects the nodes' interfaces to the switches; returns of each switch whether they are up already.
    fn attach(&self, switches: &[Vec<Port<'_>>]) -> Result<Vec<bool>, NetlinkError> {
        let mut next = FIRST_PORT;
        let mut has_macvlans = self.kind == SwitchKind::Macvlans;
        let mut are_up = Vec::with_capacity(switches.len());
        for (switch, ports) in switches.iter().enumerate() {
            // A macvlan's offloads cannot be switched off, and a link that does something to packets needs that.
            let mut is_up = has_macvlans && !ports.iter().any(|port| port.is_tap);
            if is_up {
                match self.attach_to_trunk(switch, ports) {
                    Err(error) if error.source.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => {
                        (has_macvlans, is_up) = (false, false);
                    }
                    attached => attached?,
                }
            }
            if !is_up {
                self.attach_to_bridge(switch, ports, &mut next)?;
            }
            are_up.push(is_up);
        }
        Ok(are_up)
    }

    fn attach_to_trunk(&self, switch: usize, ports: &[Port<'_>]) -> Result<(), NetlinkError> {
        // What has no MTU of its own would take the trunk's.
        let most = ports.iter().filter_map(|port| port.end.mtu).max();
        let raised = most.filter(|most| *most > DEFAULT_MTU);
        self.make_trunk(switch, raised)?;
        self.attach_macvlans(switch, ports, raised.map(|_| DEFAULT_MTU))
    }

    fn attach_macvlans(
        &self,
        switch: usize,
        ports: &[Port<'_>],
        mtu: Option<u32>,
    ) -> Result<(), NetlinkError> {
        ports.chunks(64).try_for_each(|chunk| {
            let mut batch = Batch::new();
            for Port { end, name, .. } in chunk {
                let end = LinkEnd { mtu: end.mtu.or(mtu), ..*end };
                batch.push(Request::macvlan(&end, first_index(switch), MacvlanMode::Bridge), move || {
                    format!("create macvlan {name} on the switch")
                });
            }
            self.socket.send(batch)
        })
    }

    fn attach_to_bridge(
        &self,
        switch: usize,
        ports: &[Port<'_>],
        next: &mut u32,
    ) -> Result<(), NetlinkError> {
        // The namespace may have the trunks of macvlans that turned out not to be there.
        let (name, index) = (format!("bridge{switch}"), first_index(switch) + 2 * FIRST_PORT);
        let bridge = LinkEnd { index, mac: Some(switch_mac(switch, 0)), up: true, ..LinkEnd::new(&name) };
        self.socket.request(Request::bridge(&bridge), || format!("create bridge `switch/{name}`"))?;
        for Port { end, name, .. } in ports {
            let (port, number) = (format!("port{}", *next - FIRST_PORT), *next);
            *next += 1;
            let mut batch = Batch::new();
            let request = Request::veth(
                &LinkEnd { index: number, mtu: end.mtu, up: true, ..LinkEnd::new(&port) },
                &LinkEnd { up: false, ..*end },
            );
            batch.push(request, || format!("create veth `switch/{port}` – {name}"));
            let request = Request::set_controller(number, Some(index));
            batch.push(request, || format!("make `{port}` a port of the bridge"));
            self.socket.send(batch)?;
        }
        Ok(())
    }
}

fn first_index(switch: usize) -> u32 {
    FIRST_SWITCH + 2 * switch as u32
}

/// What is to be connected to a switch.
struct Port<'a> {
    end: LinkEnd<'a>,
    name: String,
    /// Whether it is an end of the wire in user space, and no node's interface.
    is_tap: bool,
}

/// Makes the links; returns of each switch whether it is made of macvlans.
fn wire(
    plan: &Plan,
    switch: Option<&Switches>,
    wires: &[Wire],
    nodes: &[(Namespaces, RouteSocket)],
) -> Result<Vec<bool>, Error> {
    let link_end = |end: End| {
        let interface = &plan.nodes[end.node].interfaces[end.interface];
        LinkEnd {
            index: interface.index,
            mac: Some(interface.mac),
            mtu: interface.mtu,
            up: true,
            netns: Some(nodes[end.node].0.net()),
            ..LinkEnd::new(&interface.name)
        }
    };
    let name = |end: End| {
        let node = &plan.nodes[end.node];
        format!("`{}/{}`", node.name, node.interfaces[end.interface].name)
    };
    // The link and side of an end whose packets go to the wire in user space.
    let on_wire = |end: End| plan.wiring.conditioned_at(end).filter(|(link, _)| wires[*link] == Wire::User);
    // The interfaces whose other end was not there yet when they were created.
    let mut second_ends: Vec<Vec<u32>> = vec![Vec::new(); plan.nodes.len()];
    let bare: Vec<[End; 2]> =
        plan.wiring.pairs.iter().copied().filter(|pair| on_wire(pair[0]).is_none()).collect();
    for chunk in bare.chunk_by(|left, right| left[0].node == right[0].node) {
        let mut batch = Batch::new();
        for &[left, right] in chunk {
            // A peer cannot be created up: it has no other end yet.
            let request = Request::veth(&link_end(left), &LinkEnd { up: false, ..link_end(right) });
            batch.push(request, move || format!("create veth {} – {}", name(left), name(right)));
            second_ends[right.node].push(plan.nodes[right.node].interfaces[right.interface].index);
        }
        nodes[chunk[0][0].node].1.send(batch)?;
    }
    let mut has_macvlans = Vec::new();
    if let Some(between) = switch {
        for (link, conditioned) in plan.wiring.conditioned.iter().enumerate() {
            for (side, end) in conditioned.ends.iter().enumerate() {
                let Some(end) = end.filter(|_| wires[link] == Wire::User) else { continue };
                let tap = wires::name(link, side);
                let request =
                    Request::veth(&link_end(end), &wires::end(between.net.as_fd(), link, side, &tap));
                let describe = || format!("create veth {} – `switch/{tap}`", name(end));
                nodes[end.node].1.request(request, describe)?;
            }
        }
        // The ports of switches have the side that is no node's.
        let taps: Vec<String> = plan
            .wiring
            .conditioned
            .iter()
            .enumerate()
            .map(|(link, conditioned)| wires::name(link, usize::from(conditioned.ends[1].is_none())))
            .collect();
        let port = |&end: &End| match on_wire(end) {
            None => Port { end: link_end(end), name: name(end), is_tap: false },
            Some((link, side)) => {
                let tap = &taps[link];
                let end = wires::end(between.net.as_fd(), link, 1 - side, tap);
                Port { end, name: format!("`switch/{tap}`"), is_tap: true }
            }
        };
        let switches: Vec<Vec<Port<'_>>> =
            plan.wiring.switches.iter().map(|ends| ends.iter().map(port).collect()).collect();
        has_macvlans = between.attach(&switches)?;
        let not_up = plan.wiring.switches.iter().zip(&has_macvlans).filter(|(_, are_up)| !**are_up);
        for end in not_up.flat_map(|(ends, _)| ends).filter(|end| on_wire(**end).is_none()) {
            second_ends[end.node].push(plan.nodes[end.node].interfaces[end.interface].index);
        }
    }
    for ((node, (_, socket)), second_ends) in plan.nodes.iter().zip(nodes).zip(second_ends) {
        socket.send(configuration(node, &second_ends))?;
    }
    // What is on one switch hands large packets and open checksums on to each other. What the kernel is to do nothing to yet carries what
    // a bare veth does.
    let is_conditioned = |end: &End| {
        plan.wiring.conditioned_at(*end).is_some_and(|(link, _)| {
            let conditions = &plan.wiring.conditioned[link].conditions;
            wires[link] == Wire::User || !conditions.iter().all(Conditions::are_none)
        })
    };
    let pairs = plan.wiring.pairs.iter().map(|pair| &pair[..]);
    let segments = pairs.chain(plan.wiring.switches.iter().map(|ends| &ends[..]));
    for end in segments.filter(|ends| ends.iter().any(is_conditioned)).flatten() {
        let interface = &plan.nodes[end.node].interfaces[end.interface].name;
        let switched_off = nodes[end.node].1.switch_off_offloads(interface);
        switched_off.doing(|| format!("switch off the offloads of {}", name(*end)))?;
    }
    Ok(has_macvlans)
}

/// All that one node's interfaces get, in one batch.
fn configuration<'a>(node: &'a NodePlan, second_ends: &[u32]) -> Batch<'a> {
    let mut batch = Batch::new();
    for &index in second_ends.iter().chain([&LOOPBACK]) {
        batch.push(Request::set_up(index, true), move || {
            format!("switch on interface {index} of `{}`", node.name)
        });
    }
    for (link, name, ip, prefix_len) in addresses(node) {
        let has_routes =
            node.interfaces.iter().all(|interface| interface.index != link || interface.has_routes);
        let address = Address { prefix_route: has_routes, ..Address::new(link, ip, prefix_len) };
        let describe = move || format!("add address {ip}/{prefix_len} to `{}/{name}`", node.name);
        batch.push(Request::add_address(&address), describe);
    }
    for interface in &node.interfaces {
        for &(ip, mac) in &interface.neighbours {
            let describe = move || format!("add neighbour {ip} to `{}/{}`", node.name, interface.name);
            batch.push(Request::add_neighbour(interface.index, ip, mac), describe);
        }
    }
    for planned in &node.routes {
        let describe =
            move || format!("add route {}/{} to `{}`", planned.destination, planned.prefix_len, node.name);
        batch.push(Request::add_route(&route(planned)), describe);
    }
    batch
}

fn route(planned: &RoutePlan) -> Route {
    let route = match planned.via {
        Some(via) => Route::via(planned.destination, planned.prefix_len, via).with_link(planned.interface),
        None => Route::on_link(planned.destination, planned.prefix_len, planned.interface),
    };
    match planned.source {
        Some(source) => route.with_source(source),
        None => route,
    }
}

/// Every planned address of a node with its interface's index and name.
fn addresses(node: &NodePlan) -> impl Iterator<Item = (u32, &str, std::net::IpAddr, u8)> {
    let loopback = node.loopback.iter().map(|&(ip, length)| (LOOPBACK, "lo", ip, length));
    let others = node.interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|&(ip, length)| (interface.index, interface.name.as_str(), ip, length))
    });
    loopback.chain(others)
}

/// Waits until every interface carries packets and every address is the node's own.
///
/// A veth whose peer is not up yet drops silently, and its activation happens in a kernel worker.
fn await_readiness(
    plan: &Plan,
    switch: Option<&Switches>,
    nodes: &[(Namespaces, RouteSocket)],
) -> Result<(), Error> {
    let mut patience = Patience::start();
    if let Some(switch) = switch {
        let idle = |links: Vec<Link>| {
            links.iter().any(|link| link.index > LOOPBACK && link.up && !link.is_running())
        };
        while idle(switch.socket.links().doing(|| asking("switch"))?) {
            patience.pause("switch")?;
        }
    }
    plan.nodes.iter().zip(nodes).try_for_each(|(node, (_, socket))| {
        await_interfaces(node, socket, &mut patience)?;
        await_addresses(node, socket, &mut patience)
    })
}

fn await_interfaces(node: &NodePlan, socket: &RouteSocket, patience: &mut Patience) -> Result<(), Error> {
    for interface in &node.interfaces {
        let link = || socket.link(interface.index).doing(|| asking(&node.name));
        while !link()?.is_some_and(|link| link.is_running()) {
            patience.pause(&node.name)?;
        }
    }
    Ok(())
}

fn await_addresses(node: &NodePlan, socket: &RouteSocket, patience: &mut Patience) -> Result<(), Error> {
    for (_, _, ip, _) in addresses(node) {
        // Before the address is ready there may be no route to it at all.
        while !socket.route_to(ip).is_ok_and(|route| route.kind == RouteKind::Local) {
            patience.pause(&node.name)?;
        }
    }
    // Link-local addresses come by themselves, tentative until a worker of the kernel has looked at them.
    let settling = |addresses: Vec<Address>| addresses.iter().any(|address| address.tentative);
    while node.family.has_v6() && settling(socket.addresses().doing(|| asking(&node.name))?) {
        patience.pause(&node.name)?;
    }
    Ok(())
}

fn asking(name: &str) -> String {
    format!("ask for the state of `{name}`")
}

/// How long is waited, and how often is asked: that takes the lock that the answer waits for, so it is asked less and less
/// often.
struct Patience {
    started: Instant,
    next: Duration,
}

impl Patience {
    fn start() -> Self {
        Self { started: Instant::now(), next: Duration::from_micros(20) }
    }

    fn pause(&mut self, name: &str) -> Result<(), Error> {
        let waited = self.started.elapsed();
        if waited > PATIENCE {
            return Err(Error::because(
                format!("bring up the interfaces of `{name}`"),
                format!("they carried nothing after {} s", PATIENCE.as_secs()),
            ));
        }
        // Where many wait for that lock at once, as many ask for it.
        thread::sleep(self.next.max(waited / 16));
        self.next = (self.next * 3 / 2).min(Duration::from_millis(2));
        Ok(())
    }
}

/// All that a network is made of.
struct Made {
    body: Arc<Namespaces>,
    switch: Option<Switches>,
    /// Of each switch whether it is made of macvlans.
    has_macvlans: Vec<bool>,
    nodes: Vec<(Namespaces, RouteSocket)>,
    packets: capture::Packets,
    links: Links,
}

fn assemble(
    test: &'static str,
    plan: Plan,
    flavor: Runtime,
    limit: Option<Duration>,
    made: Made,
) -> Result<Arc<Net>, Error> {
    let Made { body, switch, has_macvlans, nodes, packets, links } = made;
    let net = Arc::new_cyclic(|net: &Weak<Net>| Net {
        test,
        flavor,
        body,
        switch: switch.map(|switch| Arc::new(switch.net)),
        members: RwLock::new(Members {
            nodes: nodes
                .into_iter()
                .zip(&plan.nodes)
                .map(|((namespaces, socket), plan)| {
                    let namespaces = Arc::new(namespaces);
                    Arc::new(NodeState::new(Weak::clone(net), test, plan.clone(), None, namespaces, socket))
                })
                .collect(),
            gone: Vec::new(),
        }),
        links,
        plan,
        rewired: Rewired { has_macvlans, ..Rewired::default() },
        clock: Clock { limit, started: OnceLock::new() },
        witness: Witness::default(),
        artifacts: Artifacts::default(),
        faults: Faults::default(),
        added: AtomicU32::new(0),
        packets,
        secrets: Secrets::begin(),
        tasks: Arc::default(),
        log: Log::default(),
        report: report::Notes::default(),
        #[cfg(feature = "kubernetes")]
        kubernetes: crate::kubernetes::State::default(),
        processes: Mutex::new(None),
        reaped: Reaped::by_now(),
        ended: AtomicBool::new(false),
        own_failure: OnceLock::new(),
    });
    register(&net, &net.nodes())?;
    registry::add(Place { net: Arc::downgrade(&net), node: None, namespaces: Arc::clone(&net.body) })?;
    Ok(net)
}

fn register(net: &Arc<Net>, nodes: &[Arc<NodeState>]) -> Result<(), Error> {
    nodes.iter().try_for_each(|node| {
        let (net, namespaces) = (Arc::downgrade(net), Arc::clone(&node.namespaces));
        registry::add(Place { net, node: Some(node.name().into()), namespaces })
    })
}
