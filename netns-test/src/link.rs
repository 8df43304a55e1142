//! The handle to a link: what it does to packets, told and changed.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netns_test_model::graph::{Conditions, Wire};

use crate::error::{Doing, Error};
use crate::fault::{Change, Faults};
use crate::netlink::{Batch, NetlinkError, Request, RouteSocket, Shape};
use crate::network::{Net, Network};
use crate::node::{Interface, Node};
use crate::packet::Packet;
use crate::plan::{End, Plan, Wiring};
use crate::wire::{ETHERNET, Interception, Tally, Verdict, Wires, kernel};

/// The links of a network that do something to packets, by their index in [`Wiring::conditioned`].
#[derive(Debug)]
pub(crate) struct Links {
    states: Vec<LinkState>,
    /// What random fates follow.
    pub(crate) seed: u64,
    /// The wire in user space, where a link is on it.
    pub(crate) user: Option<Wires>,
}

#[derive(Debug)]
struct LinkState {
    wire: Wire,
    /// What happens to the packets that each side sends.
    sides: [Mutex<Stack>; 2],
}

/// More than a frame has: the largest packet, a header of Ethernet, and a tag.
const LONGER: usize = 65_535 + ETHERNET + 4 + 1;

/// The conditions that were declared, and those that hold in their place while their guards live, the latest of them.
#[derive(Debug)]
struct Stack {
    declared: Conditions,
    changes: Vec<(u64, Conditions)>,
    /// The largest MTU that the interface is known to have had.
    largest: u32,
}

impl Stack {
    fn current(&self) -> &Conditions {
        self.changes.last().map_or(&self.declared, |(_, conditions)| conditions)
    }
}

impl Links {
    pub(crate) fn new(wiring: &Wiring, wires: Vec<Wire>, seed: u64, user: Option<Wires>) -> Self {
        let stack = |declared| Mutex::new(Stack { declared, changes: Vec::new(), largest: 0 });
        let states = wiring
            .conditioned
            .iter()
            .zip(wires)
            .map(|(link, wire)| LinkState { wire, sides: link.conditions.clone().map(stack) });
        Self { states: states.collect(), seed, user }
    }

    pub(crate) fn wire(&self, link: usize) -> Wire {
        self.states[link].wire
    }

    fn stack(&self, link: usize, side: usize) -> MutexGuard<'_, Stack> {
        self.states[link].sides[side].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the packets that one side of a link has sent.
    pub(crate) fn tally(&self, link: usize, side: usize) -> Option<Tally> {
        self.user.as_ref().and_then(|user| user.tally(link, side))
    }

    /// Whether a thread is the wire's, and was not told to end.
    pub(crate) fn is_busy(&self, tid: i32) -> bool {
        self.user.as_ref().is_some_and(|user| user.is_busy(tid))
    }

    /// Ends what serves the links; `false` if it does not end.
    pub(crate) fn stop(&self) -> bool {
        self.user.as_ref().is_none_or(Wires::stop)
    }

    pub(crate) fn conditions(&self, link: usize, side: usize) -> Conditions {
        self.stack(link, side).current().clone()
    }
}

/// A link: two interfaces, or an interface and a switch, and what is between them.
///
/// It comes from [`Network::link`] or [`Network::link_of`].
///
/// ```
/// use std::time::Duration;
///
/// use netns_test::{Conditions, Network, Node, netns_test};
///
/// #[netns_test(nodes(client, server), links(client -- server { delay = 1ms }))]
/// async fn grows_slow(client: Node, server: Node, network: Network) -> std::io::Result<()> {
///     let link = network.link(&client, &server)?;
///     assert_eq!(link.to_string(), "client/eth0 – server/eth0");
///     let slow = link.set_conditions(Conditions::new().delay(Duration::from_millis(50)))?;
///     assert_eq!(link.from(&client)?.conditions().delay, Some(Duration::from_millis(50)));
///     drop(slow);
///     assert_eq!(link.from(&client)?.conditions().delay, Some(Duration::from_millis(1)));
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[derive(Clone)]
pub struct LinkHandle {
    net: Arc<Net>,
    ends: [Option<End>; 2],
}

impl Network {
    /// The link between two nodes.
    ///
    /// # Errors
    /// There is none, or several: those there are are told.
    pub fn link(&self, left: &Node, right: &Node) -> Result<LinkHandle, Error> {
        let operation = || format!("find the link between `{}` and `{}`", left.name(), right.name());
        let ends = [left, right].map(|node| number(&self.0, node));
        let now = self.0.now();
        let pairs = &now.wiring.pairs;
        let between = |pair: &&[End; 2]| {
            let nodes = pair.map(|end| Some(end.node));
            nodes == ends || nodes == [ends[1], ends[0]]
        };
        let found: Vec<LinkHandle> =
            pairs.iter().filter(between).map(|pair| self.handle(pair.map(Some))).collect();
        match &found[..] {
            [link] => Ok(link.clone()),
            [] => Err(Error::because(operation(), self.no_link(left, right))),
            several => {
                let all: Vec<String> = several.iter().map(|link| format!("`{link}`")).collect();
                let text =
                    format!("there are {}: ask for the one of an interface, by `link_of`", all.join(" and "));
                Err(Error::because(operation(), text))
            }
        }
    }

    /// The link that an interface is at the end of.
    ///
    /// # Errors
    /// The interface was not declared: the test has made it.
    pub fn link_of(&self, interface: &Interface) -> Result<LinkHandle, Error> {
        let node = number(&self.0, interface.node());
        let now = self.0.now();
        let found = node.and_then(|node| {
            let mut planned = now.nodes[node].interfaces.iter();
            planned.position(|planned| planned.index == interface.index()).map(|position| (node, position))
        });
        let Some((node, position)) = found else {
            let text = "it was not declared: there is nothing at its other end that is known here";
            return Err(Error::because(format!("find the link of `{interface}`"), text));
        };
        let end = End { node, interface: position };
        let pair = now.wiring.pairs.iter().find(|pair| pair.contains(&end));
        Ok(self.handle(pair.map_or([Some(end), None], |pair| pair.map(Some))))
    }

    /// The links, in the order of their declaration: first those between nodes, then those of nodes to switches.
    pub fn links(&self) -> Vec<LinkHandle> {
        let now = self.0.now();
        let Wiring { pairs, switches, .. } = &now.wiring;
        let of_pairs = pairs.iter().map(|pair| pair.map(Some));
        let of_switches = switches.iter().flatten().map(|end| [Some(*end), None]);
        of_pairs.chain(of_switches).map(|ends| self.handle(ends)).collect()
    }

    pub(crate) fn handle(&self, ends: [Option<End>; 2]) -> LinkHandle {
        LinkHandle { net: Arc::clone(&self.0), ends }
    }

    fn no_link(&self, left: &Node, right: &Node) -> String {
        let [left, right] = [left, right].map(|node| number(&self.0, node));
        let has = |ends: &[End], node: Option<usize>| ends.iter().any(|end| Some(end.node) == node);
        if self.0.now().wiring.switches.iter().any(|ends| has(ends, left) && has(ends, right)) {
            return "they are on a switch: ask for the link of an interface to it, by `link_of`".to_owned();
        }
        let all: Vec<String> = self.links().iter().map(|link| format!("`{link}`")).collect();
        match all.is_empty() {
            true => "the network has no links".to_owned(),
            false => format!("there are {}", all.join(", ")),
        }
    }
}

/// The number of a node among those that the network began with.
fn number(net: &Net, node: &Node) -> Option<usize> {
    net.plan.nodes.iter().position(|planned| planned.name == node.name())
}

impl LinkHandle {
    /// The interfaces at its ends: two, or the one of a node that is linked to a switch.
    ///
    /// # Errors
    /// One is gone; the kernel's own; when the test has ended.
    pub fn interfaces(&self) -> std::io::Result<Vec<Interface>> {
        let now = self.net.now();
        if !self.is_there(&now) {
            return Err(std::io::Error::new(std::io::ErrorKind::NotConnected, self.unplugged()));
        }
        let at = |end: &End| {
            let planned = &now.nodes[end.node];
            let node = Network(Arc::clone(&self.net)).node(&planned.name)?;
            node.interface(&planned.interfaces[end.interface].name)
        };
        self.ends.iter().flatten().map(at).collect()
    }

    /// What does to packets what its conditions say; `None` for a bare link, which does nothing to them.
    pub fn wire(&self) -> Option<Wire> {
        self.index().map(|index| self.net.links.wire(index))
    }

    /// The direction of the packets that a node sends.
    ///
    /// # Errors
    /// The node is not at an end of it.
    pub fn from(&self, node: &Node) -> Result<LinkDirection, Error> {
        let side = self.side(node, || format!("find what `{}` sends", node.name()))?;
        Ok(LinkDirection { link: self.clone(), side })
    }

    /// The direction of the packets that a node receives.
    ///
    /// # Errors
    /// The node is not at an end of it.
    pub fn to(&self, node: &Node) -> Result<LinkDirection, Error> {
        let side = self.side(node, || format!("find what `{}` receives", node.name()))?;
        Ok(LinkDirection { link: self.clone(), side: 1 - side })
    }

    fn side(&self, node: &Node, operation: impl Fn() -> String) -> Result<usize, Error> {
        let own = number(&self.net, node);
        let at = |end: &Option<End>| end.is_some_and(|end| Some(end.node) == own);
        self.ends
            .iter()
            .position(at)
            .ok_or_else(|| Error::because(operation(), format!("it is at no end of `{self}`")))
    }

    /// Changes what both directions do to packets, until the guard is dropped.
    ///
    /// They are the conditions as a whole: what they do not say does not happen. Of several guards the latest holds.
    ///
    /// # Errors
    /// The conditions cannot be had; the link is a bare one, whose packets pass through the kernel alone.
    #[track_caller]
    pub fn set_conditions(&self, conditions: Conditions) -> Result<ChangedConditions, Error> {
        self.change(&[0, 1], conditions, Location::caller())
    }

    fn change(
        &self,
        sides: &[usize],
        conditions: Conditions,
        place: &Location<'_>,
    ) -> Result<ChangedConditions, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let operation = || format!("change the conditions of `{self}`");
        conditions.check().map_err(|wrong| {
            let texts: Vec<String> = wrong.into_iter().map(|(_, text)| text).collect();
            Error::because(operation(), texts.join("; "))
        })?;
        let places: Option<Vec<(usize, usize)>> = sides.iter().map(|side| self.place(*side)).collect();
        let places = places.ok_or_else(|| Error::because(operation(), self.bare()))?;
        let index = places[0].0;
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let is_on_kernel = self.net.links.wire(index) == Wire::Kernel;
        if let Some(beyond) = conditions.beyond_kernel().filter(|_| is_on_kernel) {
            let text = format!("the kernel's wire cannot do `{beyond}`: declare the link with `wire = user`");
            return Err(Error::because(operation(), text));
        }
        let net = Arc::clone(&self.net);
        let mut changed = ChangedConditions { net, index, sides: Vec::new(), id, note: None };
        // What has been changed when the next is refused is put back as the guard is dropped.
        for (_, side) in places {
            let mut stack = self.net.links.stack(index, side);
            put(&self.net, (index, side), &stack, stack.current(), &conditions)?;
            stack.changes.push((id, conditions.clone()));
            changed.sides.push(side);
        }
        let what = match conditions.are_none() {
            true => "bare".to_owned(),
            false => conditions.to_string(),
        };
        let packets = match sides {
            [side] => self.sent_by(*side),
            _ => format!("`{self}`"),
        };
        let text = format!("{packets} is changed: {what}");
        changed.note = Some(self.net.faults.begin_change(&text, place));
        Ok(changed)
    }

    /// The packets of one direction, as the report calls them.
    fn sent_by(&self, side: usize) -> String {
        match self.end_name(side) {
            Some(end) => format!("what `{end}` sends over `{self}`"),
            None => format!("what the switch sends over `{self}`"),
        }
    }

    /// `client/eth0`; `None` is a switch.
    fn end_name(&self, side: usize) -> Option<String> {
        let now = self.net.now();
        self.ends[side].map(|end| {
            let node = &now.nodes[end.node];
            format!("{}/{}", node.name, node.interfaces[end.interface].name)
        })
    }

    /// Its index among those that do something to packets.
    fn index(&self) -> Option<usize> {
        self.place(0).map(|(index, _)| index)
    }

    /// That, and which side of it one of these ends is: a switch may have been declared first.
    fn place(&self, side: usize) -> Option<(usize, usize)> {
        let now = self.net.now();
        let [own, other] = [side, 1 - side].map(|side| now.wiring.conditioned_at(self.ends[side]?));
        let found = own.or(other.map(|(index, side)| (index, 1 - side)));
        found.filter(|_| self.is_there(&now))
    }

    /// Whether its ends are still joined.
    fn is_there(&self, now: &Plan) -> bool {
        match self.ends {
            [Some(left), Some(right)] => {
                now.wiring.pairs.iter().any(|pair| pair.contains(&left) && pair.contains(&right))
            }
            [end, other] => {
                let end = end.or(other);
                now.wiring.switches.iter().flatten().any(|port| Some(*port) == end)
            }
        }
    }

    fn unplugged(&self) -> String {
        format!("`{self}` is no link any more: an end of it was plugged in elsewhere")
    }

    /// Why nothing can be done to the packets of a bare link.
    fn bare(&self) -> String {
        if !self.is_there(&self.net.now()) {
            return self.unplugged();
        }
        "it is a bare veth: declare its conditions, or `wire = user` if it is to have some later".to_owned()
    }
}

/// `client/eth0 – server/eth0`, or `client/eth0 – switch`.
impl fmt::Display for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [0, 1].map(|side| self.end_name(side).unwrap_or_else(|| "switch".to_owned()));
        f.write_str(&texts.join(" – "))
    }
}

impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkHandle").field(&self.to_string()).finish()
    }
}

/// One direction of a link, from [`LinkHandle::from`] or [`LinkHandle::to`].
#[derive(Clone, Debug)]
pub struct LinkDirection {
    link: LinkHandle,
    side: usize,
}

impl LinkDirection {
    /// The link that it is a direction of.
    pub fn link(&self) -> &LinkHandle {
        &self.link
    }

    /// What it does to packets now; a bare link does nothing.
    pub fn conditions(&self) -> Conditions {
        let place = self.link.place(self.side);
        place.map_or_else(Conditions::new, |(index, side)| self.link.net.links.conditions(index, side))
    }

    /// Changes what it does to packets, until the guard is dropped, as [`LinkHandle::set_conditions`] does for both.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn set_conditions(&self, conditions: Conditions) -> Result<ChangedConditions, Error> {
        self.link.change(&[self.side], conditions, Location::caller())
    }

    /// Has code decide on every packet that is sent, before the conditions, until the guard is dropped.
    ///
    /// It runs on the wire's thread, in the order of the packets, and no packet of the test moves while it does: it must not
    /// wait. A panic in it fails the test. Of several, the first that drops or holds a packet has the last word.
    ///
    /// ```
    /// use netns_test::{Network, Node, Verdict, netns_test};
    ///
    /// #[netns_test(nodes(client, server), links(client -- server { wire = user }))]
    /// async fn the_first_syn_is_lost(client: Node, server: Node, network: Network) -> std::io::Result<()> {
    ///     let listener = server.listen_tcp(80).await?;
    ///     let mut syns = 0;
    ///     let _first_lost = network.link(&client, &server)?.from(&client)?.intercept(move |packet| {
    ///         let is_syn = packet.tcp().is_some_and(|tcp| tcp.flags.syn);
    ///         syns += u32::from(is_syn);
    ///         if is_syn && syns == 1 { Verdict::Drop } else { Verdict::Pass }
    ///     })?;
    ///     client.connect_tcp("server:80").await?; // by the second, a second later
    ///     listener.accept().await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// The link is not on the wire in user space.
    #[track_caller]
    pub fn intercept(
        &self,
        decide: impl FnMut(&Packet) -> Verdict + Send + 'static,
    ) -> Result<Interception, Error> {
        let user = self.link.net.links.user.as_ref();
        let place = self.link.place(self.side).zip(user);
        let interception = place.and_then(|((index, side), user)| user.intercept(index, side, decide));
        let interception = interception.ok_or_else(|| self.not_in_user_space("intercept the packets of"))?;
        let text = format!("a test's code decides on {}", self.link.sent_by(self.side));
        Ok(interception.told(Faults::tell(&self.link.net, &text, Location::caller())))
    }

    /// Sends a frame, from its Ethernet header on, as if it had been sent here: behind what intercepts packets, before the
    /// conditions.
    ///
    /// # Errors
    /// It is too short or too long to be a frame; the link is not on the wire in user space.
    pub fn inject(&self, frame: impl Into<Vec<u8>>) -> Result<(), Error> {
        let (frame, user) = (frame.into(), self.link.net.links.user.as_ref());
        let why = match frame.len() {
            ..ETHERNET => format!("it begins with its Ethernet header of {ETHERNET}"),
            LONGER.. => format!("the longest has {}", LONGER - 1),
            _ => String::new(),
        };
        if !why.is_empty() {
            let text = format!("{} bytes are no frame: {why}", frame.len());
            return Err(Error::because(format!("inject a packet into `{}`", self.link), text));
        }
        match self.link.place(self.side).zip(user) {
            Some(((index, side), user)) if user.inject(index, side, frame) => Ok(()),
            _ => Err(self.not_in_user_space("inject a packet into")),
        }
    }

    fn not_in_user_space(&self, what: &str) -> Error {
        if !self.link.is_there(&self.link.net.now()) {
            return Error::because(format!("{what} `{}`", self.link), self.link.unplugged());
        }
        let text = "it is not on the wire in user space: declare it with `wire = user`";
        Error::because(format!("{what} `{}`", self.link), text)
    }

    /// What became of the packets that were sent, what kernels say on their own account included (ARP, neighbour discovery).
    ///
    /// # Errors
    /// The link is not on the wire in user space, which alone counts it.
    pub fn tally(&self) -> Result<Tally, Error> {
        let place = self.link.place(self.side);
        let tally = place.and_then(|(index, side)| self.link.net.links.tally(index, side));
        tally.ok_or_else(|| self.not_in_user_space("count the packets of"))
    }
}

/// Conditions that hold until this is dropped, from [`LinkHandle::set_conditions`].
#[derive(Debug)]
#[must_use = "the conditions are as before when this is dropped"]
pub struct ChangedConditions {
    net: Arc<Net>,
    index: usize,
    sides: Vec<usize>,
    id: u64,
    /// What the report tells of it, until it ends.
    note: Option<Change>,
}

impl ChangedConditions {
    /// Puts the conditions back that held before, as far as no other guard is in their place.
    ///
    /// # Errors
    /// The kernel's own: somebody else has removed the qdiscs of its wire, for instance.
    pub fn repair(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let (net, id) = (&self.net, self.id);
        let put_back = |side| {
            let mut stack = net.links.stack(self.index, side);
            let before = stack.current().clone();
            stack.changes.retain(|(other, _)| *other != id);
            // Another guard's hold: a trace does not begin again for that.
            if before == *stack.current() {
                return Ok(());
            }
            match put(net, (self.index, side), &stack, &before, stack.current()) {
                // With the network, all of it is gone.
                Err(_) if net.has_ended() => Ok(()),
                result => result,
            }
        };
        let sides = std::mem::take(&mut self.sides);
        let ended = sides.into_iter().map(put_back).fold(Ok(()), Result::and);
        if let (Ok(()), Some(note)) = (&ended, self.note.take()) {
            net.faults.end_change(note);
        }
        ended
    }
}

impl Drop for ChangedConditions {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            self.net.faults.failed(format!("{error} (as the guard of changed conditions was dropped)"));
        }
    }
}

/// Has the wire of a direction do other things to packets; if it refuses, it does what it did before.
fn put(
    net: &Net,
    (link, side): (usize, usize),
    stack: &Stack,
    before: &Conditions,
    now: &Conditions,
) -> Result<(), Error> {
    let ends = net.now().wiring.conditioned[link].ends;
    match (net.links.wire(link), &net.links.user, ends[side]) {
        (Wire::User, Some(user), _) => {
            user.set_conditions(link, side, now.clone()).doing(|| "change the conditions of a link")
        }
        (Wire::Kernel, _, Some(end)) => {
            let seed = kernel::seed(net.links.seed, link, side);
            let planned = |end: End| {
                let node = &net.plan.nodes[end.node];
                (&node.name, &node.interfaces[end.interface].name)
            };
            let (node, name) = planned(end);
            let operation = || format!("change the conditions of `{node}/{name}`");
            let find = |end: End| {
                let (node, name) = planned(end);
                let state = net.find(node);
                let state =
                    state.ok_or_else(|| Error::because(operation(), "the node has left the network"))?;
                Node::new(state).interface(name).doing(operation)
            };
            let interface = find(end)?;
            if !now.are_none() {
                // One packet is one packet from here on.
                for end in ends.into_iter().flatten() {
                    let there = find(end)?;
                    let socket = there.node().route_socket().doing(operation)?;
                    socket.switch_off_offloads(there.name()).doing(operation)?;
                }
            }
            let mtu = interface.link().doing(operation)?.mtu;
            let largest = stack.largest.max(mtu);
            let [before, now] = [before, now].map(|conditions| kernel::shape(conditions, mtu, largest, seed));
            let socket = interface.node().route_socket().doing(operation)?;
            let Err(refused) = reshape(&socket, interface.index(), &before, &now, operation) else {
                return Ok(());
            };
            // Of two qdiscs, one may be there already.
            let _absent = socket.request(Request::delete_shape(interface.index()), operation);
            let bare = match before.netem {
                None => socket.request(Request::restore_segments(interface.index()), operation),
                Some(_) => Ok(()),
            };
            let put_back = bare
                .and_then(|()| reshape(&socket, interface.index(), &Shape::default(), &before, operation));
            let refused = kernel::refused(refused, &now, operation);
            match put_back {
                Ok(()) => Err(refused),
                Err(more) => Err(Error::because(operation(), format!("{refused}; and then {more}"))),
            }
        }
        _ => Ok(()),
    }
}

/// Has the kernel's wire reckon with another MTU of an interface.
pub(crate) fn resized(interface: &Interface, before: u32, now: u32) -> Result<(), Error> {
    let operation = || format!("have the qdiscs of `{interface}` take packets of up to {now} B");
    let net = interface.node().net().doing(operation)?;
    // One that the test has made is at no link's end.
    let Ok(link) = Network(Arc::clone(&net)).link_of(interface) else { return Ok(()) };
    let own = number(&net, interface.node());
    let is_own = |end: &Option<End>| {
        end.is_some_and(|end| {
            Some(end.node) == own
                && net.now().nodes[end.node].interfaces[end.interface].index == interface.index()
        })
    };
    let place = link.ends.iter().position(is_own).and_then(|side| link.place(side));
    let Some((index, side)) = place.filter(|(index, _)| net.links.wire(*index) == Wire::Kernel) else {
        return Ok(());
    };
    let mut stack = net.links.stack(index, side);
    let before = stack.largest.max(before);
    let largest = before.max(now);
    let shape = kernel::shape(stack.current(), now, largest, kernel::seed(net.links.seed, index, side));
    let socket = interface.node().route_socket().doing(operation)?;
    let mut batch = Batch::new();
    let requests = Request::resize_shape(interface.index(), &shape, now > before);
    requests.into_iter().for_each(|request| batch.push(request, operation));
    socket.send(batch).map_err(|refused| kernel::refused(refused, &shape, operation))?;
    // Not before: what was refused is tried again with the next MTU.
    stack.largest = largest;
    Ok(())
}

/// Has an interface send through other qdiscs, or through the same ones with other parameters.
fn reshape<'a>(
    socket: &RouteSocket,
    interface: u32,
    before: &Shape,
    now: &Shape,
    operation: impl Fn() -> String + Copy + 'a,
) -> Result<(), NetlinkError> {
    let mut batch: Batch<'a> = Batch::new();
    let requests = match (before.is_like(now), before.is_none()) {
        (true, _) => Request::change_shape(interface, now),
        (false, true) => Request::add_shape(interface, now),
        (false, false) => {
            batch.push(Request::delete_shape(interface), operation);
            if before.netem.is_some() && now.netem.is_none() {
                batch.push(Request::restore_segments(interface), operation);
            }
            Request::add_shape(interface, now)
        }
    };
    requests.into_iter().for_each(|request| batch.push(request, operation));
    socket.send(batch)
}
