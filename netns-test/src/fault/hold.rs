//! Packets that are kept, and delivered later in order.
//!
//! What a held interface sends is led to a station: by a filter, through a veth of its own, to a thread that keeps the packets and
//! sends them by the interface when they may go. The station stays when the last hold has ended, and passes on what comes: if
//! packets went past it again, they would overtake others. Nobody waits for a slow link: what it has no room for yet, the thread sends
//! when it has.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::pipe2;
use tokio::sync::oneshot;

use super::frames::Frames;
use super::group::{Group, distinct, names};
use super::hook;
use super::ways::{far_end, is_made_cable, ways};
use crate::error::{Doing, Error};
use crate::job;
use crate::namespace::prepare_thread;
use crate::netlink::state::Link;
use crate::netlink::{LinkEnd, MARK, Request, RouteSocket};
use crate::network::{Net, Network};
use crate::node::{Interface, Node};
use crate::sys::ring::{PacketSocket, Received};
use crate::worker;

/// The most that one station keeps, in bytes.
const ROOM: usize = 64 << 20;

impl Network {
    /// Holds what two groups of nodes send to each other: packets are kept, and delivered in order when the guard ends.
    ///
    /// Nothing tells either side. It is about IPv4 and IPv6: what kernels say of themselves passes, questions for neighbours (ARP,
    /// neighbour discovery), lest a sender's kernel give up, and multicast reports (IGMP, MLD). Broadcasts and multicasts are held on
    /// links between two nodes, and pass on switches. What waits is kept in this process, at most 64 MiB for each interface; what is
    /// more is lost, and [`release`](Hold::release) says so.
    ///
    /// # Errors
    /// As for [`partition`](Network::partition).
    ///
    /// ```
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn arrives_late(a: Node, b: Node, network: Network) -> std::io::Result<()> {
    ///     let (from, to) = (a.bind_udp(7).await?, b.bind_udp(7).await?);
    ///     let hold = network.hold([&a], [&b])?;
    ///     for number in 0..3 {
    ///         from.send_to(&[number], (b.ip(), 7)).await?;
    ///     }
    ///     a.wait_until("three packets that wait", |_| Ok(hold.held() == 3)).await?;
    ///     hold.release()?;
    ///     for number in 0..3 {
    ///         let mut buf = [0];
    ///         to.recv(&mut buf).await?;
    ///         assert_eq!(buf, [number]);
    ///     }
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn hold(
        &self,
        group: impl IntoIterator<Item = impl AsRef<Node>>,
        other: impl IntoIterator<Item = impl AsRef<Node>>,
    ) -> Result<Hold, Error> {
        let place = Location::caller();
        let (group, other) = (distinct(group), distinct(other));
        let text = format!("what {} and {} send each other is held", names(&group), names(&other));
        self.check_groups(&group, &other).doing(|| format!("begin the fault that {text}"))?;
        let (group, other) = (Group::of(&group), Group::of(&other));
        let operation = || "look up the addresses of nodes";
        let (group, other) = (group.doing(operation)?, other.doing(operation)?);
        let mut held = group.sends(&other);
        held.extend(other.sends(&group));
        Hold::begin(&self.0, &text, held, place)
    }
}

impl Interface {
    /// Holds what is sent on this interface and what is sent to it: packets are kept, and delivered in order when the guard ends.
    ///
    /// On a link between two nodes this is all that passes over the link; [`Network::hold`] has the details.
    ///
    /// # Errors
    /// It is gone, or has no MAC address, as a TUN device: [`cut`](Interface::cut) that, or hold the interface by which its program sends.
    /// The kernel's own; the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn waits(client: Node, server: Node) -> std::io::Result<()> {
    ///     let _listener = server.listen_tcp(80).await?;
    ///     let hold = server.interface("eth0")?.hold()?;
    ///     let connecting = client.spawn(async || tokio::net::TcpStream::connect("server:80").await.map(drop));
    ///     client.wait_until("the SYN", |_| Ok(hold.held() > 0)).await?;
    ///     hold.release()?;
    ///     connecting.await.expect("the task does not panic")
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn hold(&self) -> Result<Hold, Error> {
        let place = Location::caller();
        let operation = || format!("hold the packets of `{self}`");
        let net = self.node().net().doing(operation)?;
        let link = self.link().doing(operation)?;
        let mac = mac_of(&link).doing(operation)?;
        let mut held = vec![(self.clone(), vec![Frames::All])];
        let other = far_end(&net, self).doing(operation)?;
        let text = match &other {
            Some(other) => format!("what passes over `{self}` – `{other}` is held"),
            None => format!("what passes over `{self}` is held"),
        };
        match other {
            Some(other) => held.push((other, vec![Frames::All])),
            None if is_made_cable(&link, self.node()) => {
                let cause = "its other end is in no other node, and what is sent there cannot be held: cut it, or hold an interface between nodes";
                return Err(Error::because(operation(), cause));
            }
            None => {
                for node in net.nodes().into_iter().map(Node::new).filter(|node| !node.is(self.node())) {
                    let ways = ways(&node).doing(operation)?;
                    held.extend(ways.into_iter().map(|way| (way.near, vec![Frames::ToMac(mac)])));
                }
            }
        }
        Hold::begin(&net, &text, held, place)
    }
}

/// The address by which frames are known to be for an interface.
fn mac_of(link: &Link) -> io::Result<[u8; 6]> {
    link.mac.ok_or_else(|| {
        let cause = "it has no MAC address, and only Ethernet frames can be held: cut it, or hold the interface by which its program sends";
        io::Error::new(io::ErrorKind::Unsupported, cause)
    })
}

/// Packets are kept until this is dropped, or until [`release`](Hold::release): then they are delivered, in order.
///
/// Holds nest and overlap: a packet goes when the last one that concerns it has ended. With a node that leaves its network go the
/// packets that wait at its interfaces.
#[must_use = "the packets are released when this is dropped"]
pub struct Hold {
    net: Weak<Net>,
    number: u16,
    stations: Vec<Arc<Station>>,
}

impl Hold {
    fn begin(
        net: &Arc<Net>,
        text: &str,
        held: Vec<(Interface, Vec<Frames>)>,
        place: &Location<'_>,
    ) -> Result<Self, Error> {
        let number = net.faults.begin(format!("{text} ({}:{})", place.file(), place.line()))?;
        // A refusal drops it, which ends what has begun.
        let mut hold = Self { net: Arc::downgrade(net), number, stations: Vec::new() };
        for (interface, kinds) in held {
            let station = match interface.node().station(&interface) {
                // Nothing passes there: a test may delete what was declared, or move it away.
                Err(_) if interface.is_gone() => continue,
                station => station?,
            };
            station.begin(number, kinds);
            hold.stations.push(station);
        }
        Ok(hold)
    }

    /// How many packets wait because of this hold, or behind one that does.
    ///
    /// A packet that has just been sent counts when a thread has taken it up, some microseconds later.
    pub fn held(&self) -> usize {
        self.stations.iter().map(|station| station.flow().waiting.len()).sum()
    }

    /// How many packets could not be kept since it began, for lack of room for instance.
    pub fn lost(&self) -> u64 {
        self.stations.iter().map(|station| station.flow().lost_since(self.number)).sum()
    }

    /// Delivers the packets, as far as no other hold concerns them, and ends the hold.
    ///
    /// It does not wait: what a slow link has no room for yet follows when it has, in order and before whatever is sent later. On the
    /// link they are packets as all others: it may lose them, and its queue drops those that it is too short for.
    ///
    /// # Errors
    /// Packets were lost: there was no room for them, or the interface refused them.
    pub fn release(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let stations = std::mem::take(&mut self.stations);
        let ended = stations.iter().map(|station| station.end(self.number)).fold(Ok(()), Result::and);
        let Some(net) = self.net.upgrade().filter(|net| !net.has_ended()) else { return Ok(()) };
        net.faults.end(self.number);
        ended
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let (Err(error), Some(net)) = (self.end(), self.net.upgrade()) {
            net.faults.fail(&format!("{error} (as the guard of held packets was dropped)"));
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("number", &self.number).field("held", &self.held()).finish()
    }
}

/// Where the packets that an interface sends are kept, or pass.
pub(crate) struct Station {
    interface: String,
    /// The index of its veth's end in the node.
    near: std::sync::OnceLock<u32>,
    flow: Mutex<Flow>,
}

struct Flow {
    net: Weak<Net>,
    interface: String,
    /// `None` when the station has ended: guards may outlive it.
    open: Option<Open>,
    holds: Vec<Holding>,
    waiting: VecDeque<Vec<u8>>,
    /// What nothing holds any more, and the interface had no room for.
    leaving: VecDeque<Vec<u8>>,
    /// Of both.
    bytes: usize,
    /// How many packets were lost, and why the last ones were.
    lost: u64,
    why: String,
}

struct Open {
    /// Sends by the interface. What it sends is marked, and so comes here no more.
    sender: OwnedFd,
    /// Rung when there is something for the thread to send; it ends when this is closed.
    bell: OwnedFd,
}

/// What one hold is about.
struct Holding {
    number: u16,
    kinds: Vec<Frames>,
    /// How many packets were lost before it began.
    lost_before: u64,
}

impl Flow {
    fn holds(&self, frame: &[u8]) -> bool {
        self.holds.iter().any(|hold| hold.kinds.iter().any(|kind| kind.matches(frame)))
    }

    /// How many packets were lost since a hold began.
    fn lost_since(&self, number: u16) -> u64 {
        let hold = self.holds.iter().find(|hold| hold.number == number);
        hold.map_or(0, |hold| self.lost - hold.lost_before)
    }

    /// Keeps a frame in one of the two rows, if there is room.
    fn keep(&mut self, frame: &[u8], row: impl FnOnce(&mut Self) -> &mut VecDeque<Vec<u8>>) {
        if self.bytes + frame.len() > ROOM {
            return self.lose(1, "there was no room for more than 64 MiB");
        }
        self.bytes += frame.len();
        row(self).push_back(frame.to_vec());
    }

    /// Sends a frame; `false` if the interface has no room for it now.
    fn send(&mut self, frame: &[u8]) -> bool {
        loop {
            let Some(open) = &self.open else { return true };
            match send(open.sender.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return false,
                // The interface's own queue is too short, as it is for all that is sent: what happens on the link is no loss here.
                Ok(_) | Err(Errno::ENOBUFS) => return true,
                Err(error) => {
                    self.lose(1, &format!("the interface refused them: {error}"));
                    return true;
                }
            }
        }
    }

    /// Sends what may go, as far as there is room.
    fn send_leaving(&mut self) {
        while let Some(frame) = self.leaving.pop_front() {
            if !self.send(&frame) {
                return self.leaving.push_front(frame);
            }
            self.bytes -= frame.len();
        }
    }

    /// Has the thread send what may go.
    fn ring(&self) {
        if let Some(open) = &self.open {
            // A pipe that is full has been rung often enough.
            let _rung = nix::unistd::write(&open.bell, &[0]);
        }
    }

    fn lose(&mut self, count: u64, why: &str) {
        self.lost += count;
        self.why = why.to_owned();
        // No guard is there that would tell.
        if let (true, Some(net)) = (self.holds.is_empty(), self.net.upgrade()) {
            net.faults.lost_behind_hold(&self.interface, count, why);
        }
    }
}

impl Station {
    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, number: u16, kinds: Vec<Frames>) {
        let mut flow = self.flow();
        let lost_before = flow.lost;
        flow.holds.push(Holding { number, kinds, lost_before });
    }

    /// Ends it for good, with what it keeps.
    pub(crate) fn stop(&self) {
        let mut flow = self.flow();
        flow.open = None;
        flow.holds.clear();
        flow.waiting.clear();
        flow.leaving.clear();
        flow.bytes = 0;
    }

    /// Whether something is to be held.
    pub(crate) fn is_used(&self) -> bool {
        !self.flow().holds.is_empty()
    }

    /// Ends it, and removes its veth from the node: another one may get the name.
    pub(crate) fn take_away(&self, socket: &RouteSocket) -> Result<(), Error> {
        // The thread would take a veth that is gone for a loss.
        self.stop();
        let describe = || format!("remove what held the packets of `{}`", self.interface);
        let removed = self.near.get().map(|near| socket.request(Request::delete_link(*near), describe));
        removed.map_or(Ok(()), hook::tolerate_absence)
    }

    /// Keeps a frame, or passes it on.
    fn take(&self, frame: &[u8]) {
        let mut flow = self.flow();
        flow.send_leaving();
        if flow.holds(frame) {
            flow.keep(frame, |flow| &mut flow.waiting);
        } else if !flow.leaving.is_empty() || !flow.send(frame) {
            flow.keep(frame, |flow| &mut flow.leaving);
        }
    }

    /// Sends what may go, as far as there is room; whether there was room for all.
    fn go_on(&self) -> bool {
        let mut flow = self.flow();
        flow.send_leaving();
        flow.leaving.is_empty()
    }

    /// Ends a hold. Under the lock, so that nothing overtakes what goes now.
    fn end(&self, number: u16) -> Result<(), Error> {
        let mut flow = self.flow();
        let Some(hold) = flow.holds.iter().position(|hold| hold.number == number) else { return Ok(()) };
        let lost_before = flow.holds.remove(hold).lost_before;
        let waiting = std::mem::take(&mut flow.waiting);
        let (waiting, free): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|frame| flow.holds(frame));
        flow.waiting = waiting;
        flow.leaving.extend(free);
        flow.send_leaving();
        if !flow.leaving.is_empty() {
            flow.ring();
        }
        match flow.lost - lost_before {
            0 => Ok(()),
            lost => {
                let operation = format!("keep all packets that `{}` has sent", self.interface);
                Err(Error::because(operation, format!("{lost} were lost: {}", flow.why)))
            }
        }
    }

    /// Builds the station of an interface, and leads its packets there.
    pub(crate) fn build(interface: &Interface) -> Result<Arc<Self>, Error> {
        let operation = || format!("hold the packets of `{interface}`");
        let net = interface.node().net().doing(operation)?;
        mac_of(&interface.link().doing(operation)?).doing(operation)?;
        let name = format!("hold{}", interface.index());
        let near = interface.node().route_socket().doing(operation)?;
        let sender = interface.node().packet_sender(interface.index(), MARK).doing(operation)?;
        let room = sender.try_clone().doing(operation)?;
        let (heard, bell) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).doing(operation)?;
        let station = Arc::new(Self {
            interface: interface.to_string(),
            near: std::sync::OnceLock::new(),
            flow: Mutex::new(Flow {
                net: Arc::downgrade(&net),
                interface: interface.to_string(),
                open: Some(Open { sender, bell }),
                holds: Vec::new(),
                waiting: VecDeque::new(),
                leaving: VecDeque::new(),
                bytes: 0,
                lost: 0,
                why: String::new(),
            }),
        });
        // The veth's far end is in a namespace that only the thread is in, and that ends with it.
        let (tell, told) = oneshot::channel();
        let (weak, thread_s_name, node) = (Arc::downgrade(&station), name.clone(), interface.node().clone());
        worker::spawn_in(name.clone(), Arc::clone(&net.body), move |settled| {
            let built = settled.and_then(|()| Far::build(&node, &thread_s_name));
            drop(node);
            match built {
                Ok((far, near_index)) => {
                    let _waiting = tell.send(Ok(near_index));
                    far.serve(&weak, &heard, &room);
                }
                Err(error) => {
                    let _waiting = tell.send(Err(error));
                }
            }
        })?;
        let gone = |_| Err(Error::because(operation(), "the thread that does it has ended"));
        let to = job::block_on(told).unwrap_or_else(gone)?;
        station.near.get_or_init(|| to);
        let led = Self::lead(interface, &near, &name, to);
        led.map_err(|error| match station.take_away(&near) {
            Ok(()) => error,
            // Its namespace takes the veth along, but the next station may come before.
            Err(more) => Error::because(operation(), format!("{error}; and then {more}")),
        })?;
        Ok(station)
    }

    /// Leads the packets of an interface to a station, by the end `name` of its veth.
    fn lead(interface: &Interface, near: &RouteSocket, name: &str, to: u32) -> Result<(), Error> {
        // It is to say nothing by itself.
        let operation = || format!("hold the packets of `{interface}`");
        interface.node().silence(name).doing(operation)?;
        near.request(Request::set_up(to, true), || format!("switch on `{name}`"))?;
        let carries = |node: &Node| {
            let link = node.links()?.into_iter().find(|link| link.name == name);
            Ok(link.is_some_and(|link| link.is_running()))
        };
        interface.node().blocking_wait_until(&format!("`{name}` to carry packets"), carries)?;
        hook::redirect(interface, to)
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Station").field(&self.interface).finish()
    }
}

/// The far end of a station's veth.
struct Far {
    socket: PacketSocket,
}

/// The most that a veth can have (`ETH_MAX_MTU` in the kernel).
const LARGEST_MTU: u32 = 65_535;

impl Far {
    /// Makes the veth, in the node and in a new namespace that the calling thread moves to; returns its index in the node, where
    /// it is not switched on yet.
    fn build(node: &Node, name: &str) -> Result<(Self, u32), Error> {
        let operation = || format!("make `{name}` in `{}`", node.name());
        let near = node.route_socket().doing(operation)?;
        prepare_thread()?;
        unshare(CloneFlags::CLONE_NEWNET).doing(operation)?;
        let here = std::fs::File::open("/proc/thread-self/ns/net").doing(operation)?;
        let far = RouteSocket::open().doing(operation)?;
        // As large as whatever is led here.
        let end = LinkEnd { mtu: Some(LARGEST_MTU), ..LinkEnd::new(name) };
        let ends = [end, LinkEnd { netns: Some(here.as_fd()), ..end }];
        near.request(Request::veth(&ends[0], &ends[1]), operation)?;
        let index = |socket: &RouteSocket| {
            let links = socket.links().doing(operation)?;
            let link = links.iter().find(|link| link.name == name);
            link.map(|link| link.index).ok_or_else(|| Error::because(operation(), "it is gone"))
        };
        let near_index = index(&near)?;
        let listen = || {
            // It is to get packets as they would be on a wire.
            near.switch_off_offloads(name).doing(operation)?;
            let far_index = index(&far)?;
            let socket = PacketSocket::open().doing(operation)?;
            socket.bind(far_index).doing(operation)?;
            far.request(Request::set_up(far_index, true), operation)?;
            // A socket remembers that its interface was off when it was bound.
            socket.take_error().doing(operation)?;
            Ok(Self { socket })
        };
        match listen() {
            Ok(far) => Ok((far, near_index)),
            Err(error) => match near.request(Request::delete_link(near_index), operation) {
                Ok(()) => Err(error),
                Err(more) => Err(Error::because(operation(), format!("{error}; and then {more}"))),
            },
        }
    }

    /// Brings what comes to the station, until that is stopped or gone, and has it send what may go when there is `room`.
    fn serve(mut self, station: &Weak<Station>, bell: &OwnedFd, room: &OwnedFd) {
        let mut frame = Vec::new();
        loop {
            let has_gone = match station.upgrade() {
                Some(station) => station.go_on(),
                None => return,
            };
            let mut events = [
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(bell.as_fd(), PollFlags::POLLIN),
                PollFd::new(room.as_fd(), PollFlags::POLLOUT),
            ];
            let asked = if has_gone { &mut events[..2] } else { &mut events[..] };
            match poll(asked, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return fail(station, &format!("poll: {error}")),
            }
            let [heard, rung, _] = events.map(|event| event.revents().unwrap_or(PollFlags::empty()));
            if rung.contains(PollFlags::POLLHUP) {
                return;
            }
            while matches!(nix::unistd::read(bell, &mut [0; 64]), Ok(64)) {}
            if heard.contains(PollFlags::POLLERR) {
                match self.socket.take_error() {
                    Ok(None) => {}
                    // Nobody but the kernel switches it off: as its other end is deleted.
                    Ok(Some(error)) | Err(error) => {
                        return fail(station, &format!("what leads them here is gone: {error}"));
                    }
                }
            }
            loop {
                let Some(station) = station.upgrade() else { return };
                match self.socket.receive(&mut frame) {
                    Ok(None) => break,
                    Ok(Some(Received::At(_))) => station.take(&frame),
                    Ok(Some(Received::TooLong)) => station.flow().lose(1, "they were too long"),
                    Ok(Some(Received::Losing(_))) => {
                        match self.socket.overruns() {
                            Ok(count) => {
                                station.flow().lose(count.into(), "they came faster than they were taken up")
                            }
                            Err(error) => station.flow().lose(1, &error.to_string()),
                        }
                        station.take(&frame);
                    }
                    Err(error) => return station.flow().lose(1, &error.to_string()),
                }
            }
        }
    }
}

fn fail(station: &Weak<Station>, why: &str) {
    if let Some(station) = station.upgrade() {
        station.flow().lose(1, why);
    }
}
