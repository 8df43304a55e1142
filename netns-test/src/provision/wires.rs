//! Links that do something to packets: their ends between the nodes, and what is done with packets there.

use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use netns_test_model::graph::Wire;
use nix::libc;
use nix::sched::{CloneFlags, unshare};

use crate::error::{Doing, Error};
use crate::knob;
use crate::namespace::Namespaces;
use crate::netlink::{Batch, LinkEnd, LinkEvents, Netem, NetlinkError, Request, RouteSocket, Shape};
use crate::plan::{Conditioned, Plan};
use crate::sys::ring::PacketSocket;
use crate::wire::{Ends, kernel};

/// The index of the first interface at which the wire in user space takes packets. Each of its links has two.
const FIRST_WIRE: u32 = 40_000;

/// The largest MTU of a veth: what a node's interface sends is as large as that one says.
const ANY_MTU: u32 = 65535;

/// What each of the links with conditions is on, by what it says itself, `NETNS_TEST_WIRE`, the graph, and the kernel.
pub(super) fn choose(plan: &Plan) -> Result<Vec<Wire>, Error> {
    let of_environment = match knob::text("NETNS_TEST_WIRE").as_deref() {
        None => None,
        Some("kernel") => Some(Wire::Kernel),
        Some("user") => Some(Wire::User),
        Some(other) => {
            let text = format!("NETNS_TEST_WIRE is `{other}`: expected `kernel` or `user`");
            return Err(Error::because("choose a wire", text));
        }
    };
    let choose = |link: &Conditioned| {
        let said = if link.is_own { link.wire } else { of_environment.or(link.wire) };
        let is_beyond =
            link.ends.contains(&None) || link.conditions.iter().any(|side| side.beyond_kernel().is_some());
        match said {
            _ if is_beyond => Ok(Wire::User),
            Some(Wire::User) => Ok(Wire::User),
            // A rate alone takes no netem.
            Some(_) if !needs_netem(link) || has_netem()? => Ok(Wire::Kernel),
            Some(_) => {
                let text = "this kernel has no netem or no tbf (CONFIG_NET_SCH_NETEM, CONFIG_NET_SCH_TBF; some distributions have it in a package of more \
                            modules): leave it to the wire in user space, without `wire = kernel` and NETNS_TEST_WIRE";
                Err(Error::because("make a link on the kernel's wire", text))
            }
            None => Ok(if has_netem()? { Wire::Kernel } else { Wire::User }),
        }
    };
    plan.wiring.conditioned.iter().map(choose).collect()
}

fn needs_netem(link: &Conditioned) -> bool {
    link.conditions.iter().any(|conditions| {
        kernel::shape(conditions, super::DEFAULT_MTU, super::DEFAULT_MTU, 0).netem.is_some()
    })
}

/// Whether the kernel has netem, and tbf before it: tried, once, in a namespace that is good for nothing else. The calling thread stays there.
fn has_netem() -> Result<bool, Error> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(*found);
    }
    const LOOPBACK: u32 = 1;
    unshare(CloneFlags::CLONE_NEWNET).doing(|| "create a network namespace to look for netem in")?;
    let socket = RouteSocket::open().doing(|| "open a netlink socket to look for netem with")?;
    let shape = Shape { netem: Some(Netem::default()), tbf: None, longest: 1 << 17 };
    let found = match send(&socket, Request::add_shape(LOOPBACK, &shape), || "`lo`".to_owned()) {
        Ok(()) => true,
        Err(error) if matches!(error.source.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP)) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(*FOUND.get_or_init(|| found))
}

/// Sends requests about what an interface sends through.
fn send(
    socket: &RouteSocket,
    requests: Vec<Request<'_>>,
    name: impl Fn() -> String,
) -> Result<(), NetlinkError> {
    let name = &name;
    let mut batch = Batch::new();
    for request in requests {
        batch.push(request, move || format!("put the conditions of the link on {}", name()));
    }
    socket.send(batch)
}

/// Has the interfaces send through what the conditions say.
pub(super) fn shape(
    plan: &Plan,
    wires: &[Wire],
    seed: u64,
    nodes: &[(Namespaces, RouteSocket)],
) -> Result<(), Error> {
    let on_kernel =
        plan.wiring.conditioned.iter().enumerate().filter(|(link, _)| wires[*link] == Wire::Kernel);
    for (link, conditioned) in on_kernel {
        for (side, (end, conditions)) in conditioned.ends.iter().zip(&conditioned.conditions).enumerate() {
            let Some(end) = end else { continue };
            let node = &plan.nodes[end.node];
            let interface = &node.interfaces[end.interface];
            let mtu = interface.mtu.unwrap_or(super::DEFAULT_MTU);
            let shape = kernel::shape(conditions, mtu, mtu, kernel::seed(seed, link, side));
            let requests = Request::add_shape(interface.index, &shape);
            let name = || format!("`{}/{}`", node.name, interface.name);
            send(&nodes[end.node].1, requests, name).map_err(|error| {
                kernel::refused(error, &shape, || format!("put the conditions of the link on {}", name()))
            })?;
        }
    }
    Ok(())
}

/// What the wire in user space needs, opened in the namespace between the nodes.
pub(super) struct Taps {
    /// Of each link its index and its two sockets.
    sockets: Vec<(usize, [PacketSocket; 2])>,
    /// Speaks for the namespace.
    pub(super) between: RouteSocket,
    pub(super) events: LinkEvents,
}

impl Taps {
    /// For the links on the wire in user space. The calling thread is in the namespace between the nodes.
    pub(super) fn open(wires: &[Wire]) -> Result<Self, Error> {
        let open = || PacketSocket::open().doing(|| "open a packet socket for the wire in user space");
        let links = wires.iter().enumerate().filter(|(_, wire)| **wire == Wire::User);
        let sockets = links.map(|(link, _)| Ok((link, [open()?, open()?])));
        Ok(Self {
            sockets: sockets.collect::<Result<_, Error>>()?,
            between: RouteSocket::open().doing(|| "open a netlink socket for the wire in user space")?,
            events: LinkEvents::open().doing(|| "listen for changes of interfaces")?,
        })
    }

    /// Binds the sockets to their interfaces, which have been made meanwhile and are switched on here.
    pub(super) fn bind(self, conditioned: &[Conditioned]) -> Result<Bound, Error> {
        let bind = |(link, sockets): (usize, [PacketSocket; 2])| {
            let indices = [index(link, 0), index(link, 1)];
            for (side, (socket, index)) in sockets.iter().zip(indices).enumerate() {
                let name = name(link, side);
                self.between.request(Request::set_up(index, true), || format!("switch on `{name}`"))?;
                socket.bind(index).doing(|| format!("listen on `{name}`"))?;
            }
            Ok(Ends { link, conditions: conditioned[link].conditions.clone(), sockets, indices })
        };
        let ends = self.sockets.into_iter().map(bind).collect::<Result<_, Error>>()?;
        Ok(Bound { ends, between: self.between, events: self.events })
    }
}

/// [`Taps`] that hear packets.
pub(super) struct Bound {
    pub(super) ends: Vec<Ends>,
    pub(super) between: RouteSocket,
    pub(super) events: LinkEvents,
}

fn index(link: usize, side: usize) -> u32 {
    FIRST_WIRE + (2 * link + side) as u32
}

/// The name of an interface between the nodes.
pub(super) fn name(link: usize, side: usize) -> String {
    format!("wire{link}.{side}")
}

/// The interface between the nodes at which the packets are taken that a side of a link sends.
pub(super) fn end<'a>(between: BorrowedFd<'a>, link: usize, side: usize, name: &'a str) -> LinkEnd<'a> {
    let [.., high, low] = link.to_be_bytes();
    LinkEnd {
        index: index(link, side),
        mac: Some([0x02, b'n', b'w', side as u8, high, low]),
        mtu: Some(ANY_MTU),
        netns: Some(between),
        ..LinkEnd::new(name)
    }
}
