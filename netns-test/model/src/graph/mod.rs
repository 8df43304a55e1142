//! Any network: nodes, routers and switches, and the links between them.
//!
//! A graph is what somebody declared, with its texts as they were written; [`Graph::resolve`] is its one validation, and
//! makes of it what can be built: interfaces with names and addresses, on segments with prefixes.

mod addresses;
mod conditions;
mod directions;
mod gateways;
mod interface;
mod nat;
mod replug;
mod resolve;
#[cfg(test)]
mod tests;
mod trace;
mod units;
mod vlans;

use std::fmt;
use std::net::IpAddr;

use crate::prefix::Prefix;

use conditions::Time;
pub use conditions::{Burst, Conditions, Ecn, Icmp, Loss, Percent, Queue, Rate, Wire};
pub use nat::{Firewall, Gateway, Nat, NatBehavior, RouterOptions};
pub use replug::Plug;
pub use trace::{Trace, TraceError};
pub use units::{parse_queue, parse_rate};

/// The most links of one node: their number is a byte of the interfaces' MAC addresses, and the switches have the last.
pub const MAX_INTERFACES: usize = 255;

/// A network as it was declared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Nodes, routers and switches, in the order of declaration.
    pub members: Vec<Member>,
    /// The links between them, in the order of declaration.
    pub links: Vec<Link>,
    /// What routers do beside passing packets on.
    pub routers: Vec<RouterOptions>,
    /// What was declared for one direction of a link alone.
    pub directions: Vec<Direction>,
    /// What is routed.
    pub routes: Routes,
    /// Which addresses there are.
    pub addresses: Addresses,
    /// What does to packets what the links' conditions say; `None` leaves it to what the kernel has.
    pub wire: Option<Wire>,
    /// What random fates of packets follow; `None` draws one.
    pub seed: Option<u64>,
}

/// What a link can end at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The host name, or the switch's name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A host.
    Node,
    /// A node that passes on packets that are not its own.
    Router,
    /// A switch: what is on it is on one link.
    Switch,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Router => "router",
            Self::Switch => "switch",
        })
    }
}

/// A link, with the texts of what was written to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Link {
    /// What it connects.
    pub ends: [End; 2],
    /// The largest packet on it, in bytes.
    pub mtu: Option<u32>,
    /// The VLAN that its port of a switch is in.
    pub vlan: Option<u16>,
    /// Its prefixes, at most one of each family.
    pub prefixes: Vec<String>,
    /// The addresses that were chosen for its ends.
    pub addresses: Vec<OwnAddress>,
    /// Whether its prefixes are known to nobody who is not on it.
    pub private: bool,
    /// What it does to packets, in both directions.
    pub conditions: Conditions,
    /// What does that; `None` leaves it to [`Graph::wire`].
    pub wire: Option<Wire>,
}

/// What one direction of a link does to packets, beside what the link does in both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Direction {
    /// Where packets come from, and where they go to: the ends of a link.
    pub ends: [End; 2],
    /// What it does to them.
    pub conditions: Conditions,
}

/// An end of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The name of a member.
    pub member: String,
    /// The name of the member's interface, where it was chosen.
    pub interface: Option<String>,
}

/// An address that was chosen for an end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnAddress {
    /// The name of the member at that end.
    pub member: String,
    /// The address, with or without the length of its prefix.
    pub address: String,
}

/// Which routes the nodes have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routes {
    /// Everything reaches everything, over routers, by the shortest way.
    #[default]
    All,
    /// A node reaches what is on its own links.
    Connected,
    /// None: not even those of the interfaces' own prefixes.
    None,
}

impl Routes {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::All, Self::Connected, Self::None];

    /// The word that declares it: `all`, `connected` or `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Connected => "connected",
            Self::None => "none",
        }
    }
}

/// Which addresses the interfaces have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addresses {
    /// Those that are declared, and where none are, assigned ones.
    #[default]
    Assigned,
    /// Those that are declared, and no others.
    None,
}

impl Addresses {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Assigned, Self::None];

    /// The word that declares it: `assigned` or `none`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::None => "none",
        }
    }
}

/// A graph that can be built.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Nodes and routers, in the order of declaration.
    pub hosts: Vec<Host>,
    /// Their interfaces, in the order of the links.
    pub interfaces: Vec<Interface>,
    /// What the interfaces are on, in the order of each one's first link.
    pub segments: Vec<Segment>,
    /// The links that do something to packets, or are to be able to, in the order of declaration.
    pub conditioned: Vec<Conditioned>,
}

/// A link that does something to packets.
#[derive(Clone, Debug, PartialEq)]
pub struct Conditioned {
    /// The interfaces at its ends, indices of [`Resolved::interfaces`]; a switch has none.
    pub ends: [Option<usize>; 2],
    /// What it does to the packets that each end sends.
    pub conditions: [Conditions; 2],
    /// What does that; `None` leaves it to what the kernel has.
    pub wire: Option<Wire>,
    /// Whether the link itself says so, and not the graph.
    pub is_own: bool,
}

/// A node or router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its host name.
    pub name: String,
    /// Whether it is a router.
    pub is_router: bool,
    /// Its uplink, if it translates or filters there.
    pub gateway: Option<Gateway>,
}

/// An interface of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its host: an index of [`Resolved::hosts`].
    pub host: usize,
    /// What it is on: an index of [`Resolved::segments`].
    pub segment: usize,
    /// Its name.
    pub name: String,
    /// The largest packet that it sends, where that was declared.
    pub mtu: Option<u32>,
    /// The VLAN of its port, on a switch.
    pub vlan: Option<u16>,
    /// Its addresses with the lengths of their prefixes, IPv4 before IPv6.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// What can be reached without a router: the two ends of a link, or all that is on a switch and those joined to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Its prefixes: at most one of each family, IPv4 first.
    pub prefixes: Vec<Prefix>,
    /// Who is on it: indices of [`Resolved::interfaces`].
    pub interfaces: Vec<usize>,
    /// Whether its prefixes are known to nobody who is not on it.
    pub private: bool,
    /// The names of the switches that it is made of.
    pub switches: Vec<String>,
}

/// Why a graph cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphProblem {
    /// What it is about.
    pub place: Place,
    /// What is wrong and what would be right; lower case, no full stop.
    pub message: String,
}

/// What a [`GraphProblem`] is about, by indices into the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The whole of it.
    Graph,
    /// A member.
    Member(usize),
    /// A link.
    Link(usize),
    /// An end (0 or 1) of a link.
    End(usize, usize),
    /// The interface's name at an end of a link.
    Interface(usize, usize),
    /// The MTU of a link.
    Mtu(usize),
    /// The VLAN of a link.
    Vlan(usize),
    /// A prefix of a link.
    Prefix(usize, usize),
    /// The name beside a chosen address of a link.
    Owner(usize, usize),
    /// A chosen address of a link.
    Address(usize, usize),
    /// A key of [`Graph::routers`].
    Router(usize, &'static str),
    /// What a link says under a key, or under `wire`.
    Condition(usize, &'static str),
    /// A direction.
    Direction(usize),
    /// An end (0 or 1) of a direction.
    DirectionEnd(usize, usize),
    /// What a direction says under a key.
    DirectionCondition(usize, &'static str),
}

impl fmt::Display for GraphProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// `a -- b`
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [left, right] = &self.ends;
        write!(f, "{left} -- {right}")
    }
}

/// `a -> b`
impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [from, to] = &self.ends;
        write!(f, "{from} -> {to}")
    }
}

/// `a` or `a.eth1`
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{}.{interface}", self.member),
            None => f.write_str(&self.member),
        }
    }
}
