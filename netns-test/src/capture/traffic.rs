//! What a test reads of its network's packets.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::recorder;
use super::recording::{Keep, Recording, Tap};
use crate::error::{Doing, Error};
use crate::namespace::{Depth, enter};
use crate::network::{Net, Network};
use crate::node::{Interface, Node};
use crate::packet::{Packet, Repeats};
use crate::queue::Waiting;

/// How long is waited before what there is is looked at again.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

/// How many of the last packets an error shows.
const SHOWN: usize = 8;

/// The packets of a network, a node or an interface, from its making on.
///
/// [`packets`](Self::packets) gives what has passed up to now, [`until`](Self::until) waits for a packet. It ends when it is dropped.
///
/// A packet is seen when it is handed to its interface, before the call that sends it returns; so what UDP sent before
/// [`packets`](Self::packets) is among them. TCP sends when window and congestion allow it, and nothing is sent before its destination is
/// found as a neighbour: `until` waits for such a one. What is on its way over a link is [sent](Captured::is_sent), and not yet
/// received.
///
/// All of every packet is kept, up to 64 MiB in all; what goes over a router passes four interfaces, and counts four times. A thread reads
/// packets while the test runs. What comes faster waits in the kernel's memory, at most 64 MiB for all nodes and 32 MiB for one, in up to 64
/// sockets; each holds 4 MiB, or where `net.core.rmem_max` allows less, twice that: with its 212,992 bytes of most kernels before Linux 6.18
/// and three nodes, about 6 MiB in each. So 2 MB that TCP sends at once over a router between two nodes are whole, also where that thread
/// does not get to read; how much more depends on the machine. [`Node::capture`] has the room of all nodes for one. If packets were lost
/// to it, [`packets`](Self::packets) and [`until`](Self::until) are errors.
///
/// ```
/// use netns_test::{Network, Node, netns_test};
///
/// #[netns_test(nodes = 2)]
/// async fn nothing_in_the_clear(client: Node, server: Node, network: Network) -> std::io::Result<()> {
///     let capture = network.capture()?;
///     let socket = client.bind_udp(9).await?;
///     socket.send_to(b"hi", (server.ip(), 7)).await?;
///
///     let hi = capture.until("the greeting", |packet| packet.contains("hi")).await?;
///     assert_eq!((hi.node(), hi.udp().unwrap().destination_port), ("client", 7));
///     let packets = capture.packets()?;
///     assert!(packets.containing("a secret").is_empty());
///     assert_eq!(packets.retransmissions().len(), 0);
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[must_use = "packets are captured until it is dropped"]
pub struct Capture {
    net: Weak<Net>,
    recording: Arc<Recording>,
    /// Of which interface alone.
    interface: Option<u32>,
}

/// A packet as it passed one interface.
///
/// It is a [`Packet`], which has the headers.
#[derive(Clone, Debug)]
pub struct Captured {
    node: String,
    interface: String,
    is_sent: bool,
    time: Duration,
    packet: Packet,
}

impl Captured {
    /// The node that sent or received it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The interface that it passed: `eth0`.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Whether the node sent it; otherwise the node received it. On the loopback interface every packet counts as received.
    pub fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// When it passed, since the body's start.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The packet itself.
    pub fn into_packet(self) -> Packet {
        self.packet
    }
}

impl Deref for Captured {
    type Target = Packet;

    fn deref(&self) -> &Packet {
        &self.packet
    }
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_sent { "sent" } else { "received" };
        let millis = self.time.as_micros();
        let (whole, part) = (millis / 1000, millis % 1000);
        write!(f, "{whole}.{part:03} ms  {}/{} {way}  {}", self.node, self.interface, self.packet)
    }
}

/// Packets that were captured, in the order of their times: a slice of them, with questions that tests ask.
///
/// A packet that went over a link between two nodes is there twice in a network's capture, sent and received: [`sent`](Self::sent) leaves
/// one of them.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Vec<Captured>);

impl Traffic {
    fn only(&self, is_wanted: impl Fn(&Captured) -> bool) -> Self {
        Self(self.0.iter().filter(|packet| is_wanted(packet)).cloned().collect())
    }

    /// What nodes sent: each packet once for every link that it went over, also where it was lost.
    #[must_use]
    pub fn sent(&self) -> Self {
        self.only(|packet| packet.is_sent)
    }

    /// What nodes received.
    #[must_use]
    pub fn received(&self) -> Self {
        self.only(|packet| !packet.is_sent)
    }

    /// What passed the interfaces of one node.
    #[must_use]
    pub fn of(&self, node: &Node) -> Self {
        self.only(|packet| packet.node == node.name())
    }

    /// What passed one interface.
    #[must_use]
    pub fn on(&self, interface: &Interface) -> Self {
        self.only(|packet| packet.node == interface.node().name() && packet.interface == interface.name())
    }

    /// What comes from an address.
    #[must_use]
    pub fn from(&self, ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        self.only(|packet| packet.ip().is_some_and(|header| header.source == ip))
    }

    /// What goes to an address.
    #[must_use]
    pub fn to(&self, ip: impl Into<IpAddr>) -> Self {
        let ip = ip.into();
        self.only(|packet| packet.ip().is_some_and(|header| header.destination == ip))
    }

    /// What has these bytes anywhere. Bytes that two packets share between them are not found.
    #[must_use]
    pub fn containing(&self, bytes: impl AsRef<[u8]>) -> Self {
        self.only(|packet| packet.contains(&bytes))
    }

    /// TCP segments that were sent again: those of which an interface had sent every byte before. A SYN and a FIN count as a byte.
    #[must_use]
    pub fn retransmissions(&self) -> Self {
        let mut senders: HashMap<(&str, &str), Repeats> = HashMap::new();
        let mut repeated = Vec::new();
        for packet in self.0.iter().filter(|packet| packet.is_sent) {
            if senders.entry((&packet.node, &packet.interface)).or_default().is_repeated(packet) {
                repeated.push(packet.clone());
            }
        }
        Self(repeated)
    }

    /// The TCP connections and flows of UDP that there were: source and destination of each, in the order in which they began.
    pub fn flows(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let mut flows = Vec::new();
        for packet in &self.0 {
            if let (true, Some(source), Some(destination)) =
                (packet.tcp().is_some() || packet.udp().is_some(), packet.source(), packet.destination())
                && !flows.contains(&(source, destination))
            {
                flows.push((source, destination));
            }
        }
        flows
    }
}

impl Deref for Traffic {
    type Target = [Captured];

    fn deref(&self) -> &[Captured] {
        &self.0
    }
}

impl IntoIterator for Traffic {
    type Item = Captured;
    type IntoIter = std::vec::IntoIter<Captured>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Traffic {
    type Item = &'a Captured;
    type IntoIter = std::slice::Iter<'a, Captured>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A line each.
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|packet| writeln!(f, "{packet}"))
    }
}

impl Network {
    /// Captures the packets of all nodes from now on, those that join later excepted.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn capture(&self) -> Result<Capture, Error> {
        Capture::start(&self.0, &self.nodes(), None)
    }
}

impl Node {
    /// Captures the packets of this node from now on, on all of its interfaces.
    ///
    /// # Errors
    /// As for [`Network::capture`].
    pub fn capture(&self) -> Result<Capture, Error> {
        let net = self.net().doing(|| format!("capture the packets of `{}`", self.name()))?;
        Capture::start(&net, std::slice::from_ref(self), None)
    }
}

impl Interface {
    /// Captures the packets of this interface from now on.
    ///
    /// # Errors
    /// As for [`Network::capture`].
    pub fn capture(&self) -> Result<Capture, Error> {
        let net = self.node().net().doing(|| format!("capture the packets of `{self}`"))?;
        Capture::start(&net, std::slice::from_ref(self.node()), Some(self.index()))
    }
}

impl Capture {
    fn start(net: &Arc<Net>, nodes: &[Node], interface: Option<u32>) -> Result<Self, Error> {
        let tap = |node: &Node| {
            let _inside = enter(node.namespaces(), Depth::Network)
                .doing(|| format!("enter `{}` to capture its packets", node.name()))?;
            Tap::open_large(node.name(), nodes.len())
        };
        let taps: Vec<Tap> = nodes.iter().map(tap).collect::<Result<_, Error>>()?;
        let recording = Arc::new(Recording::new(taps, Keep::All));
        recorder::add(&recording);
        Ok(Self { net: Arc::downgrade(net), recording, interface })
    }

    /// What has passed up to now.
    ///
    /// # Errors
    /// Packets came faster than they could be read, and than the kernel keeps them ([how many that is](Self)), so that some are missing;
    /// there are more than 64 MiB of them; the kernel's own; the test has ended.
    pub fn packets(&self) -> Result<Traffic, Error> {
        self.packets_from(0).map(|(traffic, _)| traffic)
    }

    /// Those that were kept after the first `seen`, and how many are kept by now.
    fn packets_from(&self, seen: usize) -> Result<(Traffic, usize), Error> {
        let operation = "read captured packets";
        let net = self.net.upgrade().filter(|net| !net.has_ended());
        let net = net.ok_or_else(|| Error::because(operation, "the test has ended"))?;
        let news = self.recording.news(seen).map_err(|cause| Error::because(operation, cause))?;
        if news.lost > 0 {
            let cause = format!(
                "{} packets came faster than they could be read: what is there is not all",
                news.lost
            );
            return Err(Error::because(operation, cause));
        }
        let started = net.report.started();
        let mut names: HashMap<(usize, u32), String> = HashMap::new();
        let frames = news.frames.into_iter();
        let wanted = frames.filter(|frame| self.interface.is_none_or(|index| index == frame.interface));
        let packets = wanted.map(|frame| {
            let node = &news.nodes[frame.node];
            let name = || interface_name(&net, node, frame.interface);
            Captured {
                node: node.clone(),
                interface: names.entry((frame.node, frame.interface)).or_insert_with(name).clone(),
                is_sent: frame.is_sent(),
                time: Duration::from_nanos(frame.time.saturating_sub(started)),
                packet: frame.decode(),
            }
        });
        Ok((Traffic(packets.collect()), news.count))
    }

    /// Waits for a packet, and returns the first one, which may have passed before.
    ///
    /// `is_it` is shown every packet once, each after those that led to it: sent on one end of a link before received on the other, a
    /// question before its answer. It may count. `what` says in the error what was waited for, as in "the third SYN".
    ///
    /// # Errors
    /// The test's timeout is about to pass: the error shows the last packets. As for [`packets`](Self::packets).
    pub async fn until(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Captured) -> bool,
    ) -> Result<Captured, Error> {
        let (deadline, mut shown) = (self.deadline(), 0);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(found) = self.find(what, deadline, &mut shown, &mut is_it)? {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// [`until`](Self::until) for plain functions.
    ///
    /// # Errors
    /// As for `until`.
    pub fn blocking_until(
        &self,
        what: &str,
        mut is_it: impl FnMut(&Captured) -> bool,
    ) -> Result<Captured, Error> {
        let (deadline, mut shown) = (self.deadline(), 0);
        // What is waited for may come about by the very node whose thread waits.
        let _waiting = Waiting::start();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(found) = self.find(what, deadline, &mut shown, &mut is_it)? {
                return Ok(found);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.net.upgrade().and_then(|net| net.clock.deadline_of_waits())
    }

    fn find(
        &self,
        what: &str,
        deadline: Option<Instant>,
        shown: &mut usize,
        is_it: &mut impl FnMut(&Captured) -> bool,
    ) -> Result<Option<Captured>, Error> {
        let (news, read) = self.packets_from(*shown)?;
        *shown = read;
        if let Some(found) = news.iter().find(|packet| is_it(packet)) {
            return Ok(Some(found.clone()));
        }
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return Ok(None);
        }
        let packets = self.packets()?;
        if let Some(net) = self.net.upgrade() {
            // The first is the cause of what follows.
            net.own_failure.get_or_init(|| "a wait that gave up".to_owned());
        }
        let last: Vec<String> =
            packets.iter().rev().take(SHOWN).rev().map(|packet| format!("\n  {packet}")).collect();
        let seen = match packets.len() {
            0 => "no packet passed".to_owned(),
            count => format!(
                "{count} packets passed, the last of them\n{}",
                last.concat().trim_start_matches('\n')
            ),
        };
        let cause = format!("the test's timeout is about to pass; {seen}");
        Err(Error::because(format!("wait for {what}"), cause))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        recorder::retire(Arc::clone(&self.recording));
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

fn interface_name(net: &Net, node: &str, index: u32) -> String {
    let of_node = net.find(node).and_then(|node| node.route_socket());
    // One that is gone has no name any more.
    let link = of_node.and_then(|socket| socket.link(index).ok().flatten());
    link.map_or_else(|| format!("interface {index}"), |link| link.name)
}
