//! The network that a test declares, as plain data, and the one place where it is validated.
//!
//! The attribute macro builds a [`Topology`] while it expands, the run time builds the same one while the test starts;
//! both ask [`Topology::check`] whether it can be built, so that a mistake is worded once. Users name these types by
//! their re-exports in `netns_test`.
#![forbid(unsafe_code)]

use std::fmt;

mod check;
mod duration;
pub mod graph;
pub mod kubernetes;
mod name;
mod prefix;
mod suggest;

use crate::graph::Graph;
use crate::kubernetes::Kubernetes;

pub use check::check_count;
pub use duration::parse_duration;
pub use name::{check_alias, check_name, host_name};
pub use prefix::Prefix;
pub use suggest::closest;

/// The most nodes that one topology may have: the ports of a Linux bridge (`BR_MAX_PORTS`) less the one spare.
pub const MAX_NODES: usize = 1023;

/// The most nodes that a mesh may have: it needs a link for every pair, so 2,016 of them at this size.
pub const MAX_MESH: usize = 64;

/// The longest host name: a label of RFC 1035 section 2.3.4 (Linux itself keeps one byte more, `__NEW_UTS_LEN`).
pub const MAX_NAME: usize = 63;

/// The longest domain name as text: 255 octets on the wire (RFC 1035 section 2.3.4), less the first length and the root.
pub const MAX_DOMAIN_NAME: usize = 253;

/// Why nothing runs on other systems than Linux.
pub const ELSEWHERE: &str = "netns-test runs on Linux alone";

/// Whose packets are kept as a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capture {
    /// Of a test that fails.
    Failure,
    /// Also of a test that passes.
    Always,
    /// Of none: they are not recorded.
    Never,
}

impl Capture {
    /// Every value, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Failure, Self::Always, Self::Never];

    /// The word that declares it: `failure`, `always` or `never`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// How the nodes are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Every node on one switch.
    Star,
    /// Each node linked to the next by a veth pair.
    Line,
    /// A line whose last node is linked to the first.
    Ring,
    /// Every node linked to every other.
    Mesh,
}

impl Shape {
    /// Every shape, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Star, Self::Line, Self::Ring, Self::Mesh];

    /// The word that declares the shape: `star`, `line`, `ring` or `mesh`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Star => "star",
            Self::Line => "line",
            Self::Ring => "ring",
            Self::Mesh => "mesh",
        }
    }

    /// The fewest nodes that can be wired so; a star of none is a test that is alone.
    pub const fn min_nodes(self) -> usize {
        match self {
            Self::Star => 0,
            Self::Line | Self::Mesh => 2,
            Self::Ring => 3,
        }
    }

    /// The most nodes that can be wired so.
    pub const fn max_nodes(self) -> usize {
        match self {
            Self::Mesh => MAX_MESH,
            Self::Star | Self::Line | Self::Ring => MAX_NODES,
        }
    }
}

/// The address families that the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// IPv4 and IPv6.
    Dual,
}

impl Family {
    /// Every family, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::V4, Self::V6, Self::Dual];

    /// The word that declares the family: `v4`, `v6` or `dual`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Dual => "dual",
        }
    }

    /// Whether nodes have IPv4 addresses.
    pub const fn has_v4(self) -> bool {
        matches!(self, Self::V4 | Self::Dual)
    }

    /// Whether nodes have IPv6 addresses.
    pub const fn has_v6(self) -> bool {
        matches!(self, Self::V6 | Self::Dual)
    }
}

/// The network of one test: its nodes by host name, and how they are wired.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Topology {
    /// Host names, in the order of declaration.
    pub nodes: Vec<String>,
    /// How the nodes are wired.
    pub shape: Shape,
    /// Which addresses they get.
    pub family: Family,
    /// The graph that they are in, instead of a shape.
    pub graph: Option<Graph>,
    /// The cluster that they are, instead of a shape.
    pub kubernetes: Option<Kubernetes>,
    /// More names of the nodes.
    pub aliases: Vec<Alias>,
    /// The host name of the node that all nodes ask for names, over DNS.
    pub dns: Option<String>,
}

impl Topology {
    /// A network of these nodes, not yet checked.
    pub fn new(nodes: Vec<String>, shape: Shape, family: Family) -> Self {
        Self { nodes, shape, family, graph: None, kubernetes: None, aliases: Vec::new(), dns: None }
    }

    /// The network of a graph, not yet checked.
    pub fn of_graph(graph: Graph, family: Family) -> Self {
        let hosts = graph.members.iter().filter(|member| member.kind != graph::Kind::Switch);
        let nodes = hosts.map(|host| host.name.clone()).collect();
        Self { graph: Some(graph), ..Self::new(nodes, Shape::Star, family) }
    }

    /// The network of a cluster, not yet checked.
    pub fn of_kubernetes(kubernetes: Kubernetes, family: Family) -> Self {
        let hosts = kubernetes.hosts();
        Self { kubernetes: Some(kubernetes), ..Self::new(hosts, Shape::Star, family) }
    }

    /// The same with more names for its nodes.
    #[must_use]
    pub fn with_aliases(self, aliases: Vec<Alias>) -> Self {
        Self { aliases, ..self }
    }

    /// The same with a node that is everybody's name server.
    #[must_use]
    pub fn with_dns(self, node: Option<String>) -> Self {
        Self { dns: node, ..self }
    }
}

/// One more name of a node: a host name or a domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The host name of the node.
    pub node: String,
    /// What it is called, too.
    pub name: String,
}

/// What a [`Problem`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// The network as a whole.
    Network,
    /// The node of this index in [`Topology::nodes`].
    Node(usize),
    /// The alias of this index in [`Topology::aliases`].
    Alias(usize),
    /// The node that [`Topology::dns`] names.
    Dns,
}

/// Why a topology cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub about: About,
    /// What is wrong and what would be right; lower case, no full stop.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
