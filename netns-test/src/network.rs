//! The network of a running test, as a whole.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::__private::Runtime;
use crate::artifacts::Artifacts;
use crate::capture::Packets;
use crate::error::Error;
use crate::fault::Faults;
use crate::key_log::{self, KeyLog, Secrets};
use crate::link::Links;
use crate::log::Log;
use crate::namespace::Namespaces;
use crate::node::{Interface, Node, NodeState};
use crate::panics::{AllowPanics, Witness};
use crate::plan::{End, InterfacePlan, NodePlan, Plan};
use crate::program::PidNamespace;
use crate::registry;
use crate::report;
use crate::tasks::Tasks;
use crate::teardown::Reaped;

/// All that belongs to one running test.
pub(crate) struct Net {
    /// The test's path, `module::name`.
    pub(crate) test: &'static str,
    pub(crate) flavor: Runtime,
    /// What the network was at its start.
    pub(crate) plan: Plan,
    /// What it is since something was plugged in elsewhere.
    pub(crate) rewired: Rewired,
    pub(crate) body: Arc<Namespaces>,
    /// Where the switch is, in a network that has one.
    pub(crate) switch: Option<Arc<OwnedFd>>,
    pub(crate) members: RwLock<Members>,
    /// Its links that do something to packets.
    pub(crate) links: Links,
    pub(crate) clock: Clock,
    pub(crate) witness: Witness,
    /// The files that it leaves when it fails.
    pub(crate) artifacts: Artifacts,
    pub(crate) faults: Faults,
    /// The secrets of its TLS connections.
    pub(crate) secrets: Secrets,
    /// The async work of its nodes that is not done.
    pub(crate) tasks: Arc<Tasks>,
    /// What its code has logged.
    pub(crate) log: Log,
    /// How many interfaces the test has added.
    pub(crate) added: AtomicU32,
    /// The packets of its nodes.
    pub(crate) packets: Packets,
    /// What has been collected for its report.
    pub(crate) report: report::Notes,
    /// What a cluster has at the moment.
    #[cfg(feature = "kubernetes")]
    pub(crate) kubernetes: crate::kubernetes::State,
    /// The PID namespace of its programs, once there is one.
    pub(crate) processes: Mutex<Option<Arc<PidNamespace>>>,
    /// What the process's children had used when the network was made.
    pub(crate) reaped: Reaped,
    pub(crate) ended: AtomicBool,
    /// What this crate did not manage for the test, the first time: a panic over that is not the test's own.
    pub(crate) own_failure: OnceLock<String>,
}

/// What tests have plugged in elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Rewired {
    /// The plan since then.
    pub(crate) plan: RwLock<Option<Arc<Plan>>>,
    /// Held by who plugs something in: one after the other.
    pub(crate) turn: Mutex<()>,
    /// Of each switch whether it is made of macvlans; the others are bridges.
    pub(crate) has_macvlans: Vec<bool>,
    /// Where the other ends of interfaces are into which nothing is plugged.
    pub(crate) nowhere: OnceLock<OwnedFd>,
}

/// The nodes of a network, which may come and go while its test runs.
#[derive(Default)]
pub(crate) struct Members {
    /// Those that are there, in the order in which they came.
    pub(crate) nodes: Vec<Arc<NodeState>>,
    /// Those that have left. Threads of theirs may be left behind.
    pub(crate) gone: Vec<Arc<NodeState>>,
}

/// When the body started, and how long it may take.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) limit: Option<Duration>,
    pub(crate) started: OnceLock<Instant>,
}

impl Clock {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.started.get()?.checked_add(self.limit?)
    }

    /// When something that waits has to give up, so that its error comes before the test's timeout.
    pub(crate) fn deadline_of_waits(&self) -> Option<Instant> {
        let margin = (self.limit? / 10).min(Duration::from_millis(500));
        self.deadline()?.checked_sub(margin)
    }
}

impl Net {
    /// The plan of what was declared, as it is wired now.
    pub(crate) fn now(&self) -> Cow<'_, Plan> {
        let rewired = self.rewired.plan.read().unwrap_or_else(PoisonError::into_inner);
        rewired.as_ref().map_or(Cow::Borrowed(&self.plan), |plan| Cow::Owned(Plan::clone(plan)))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Makes what a network has beside its nodes when the body starts.
    pub(crate) fn begin(self: &Arc<Self>) -> Result<(), Error> {
        #[cfg(feature = "kubernetes")]
        crate::kubernetes::begin(self)?;
        Ok(())
    }

    /// Whether it is a cluster's.
    pub(crate) fn is_cluster(&self) -> bool {
        #[cfg(feature = "kubernetes")]
        let is_cluster = self.plan.cluster.is_some();
        #[cfg(not(feature = "kubernetes"))]
        let is_cluster = false;
        is_cluster
    }

    /// Whether the name is a service's.
    pub(crate) fn has_service(&self, name: &str) -> bool {
        #[cfg(feature = "kubernetes")]
        let has_service = self.kubernetes.has_service(name);
        #[cfg(not(feature = "kubernetes"))]
        let has_service = {
            _ = name;
            false
        };
        has_service
    }

    /// The test's name without its modules, for the names of threads.
    pub(crate) fn short_name(&self) -> &'static str {
        self.test.rsplit("::").next().unwrap_or(self.test)
    }

    /// Whether it is the same network.
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// An interface that the test has added, and that stands on this one.
    pub(crate) fn standing_on(&self, node: &str, index: u32) -> Option<String> {
        self.nodes().iter().find_map(|state| state.standing_on(node, index))
    }

    /// The other end of a link between two nodes; `None` for an interface on a switch.
    pub(crate) fn other_end(&self, node: &Node, index: u32) -> Option<Interface> {
        let nodes = self.nodes();
        let plan = self.plan_of(&nodes);
        let interface = |end: &End| -> &InterfacePlan { &plan.nodes[end.node].interfaces[end.interface] };
        let is_this = |end: &End| node.is_of(&nodes[end.node]) && interface(end).index == index;
        let other =
            plan.wiring.pairs.iter().find_map(|[left, right]| match (is_this(left), is_this(right)) {
                (true, _) => Some(right),
                (_, true) => Some(left),
                _ => None,
            })?;
        Some(Interface::planned(Node::new(Arc::clone(&nodes[other.node])), interface(other)))
    }

    /// The nodes that are there, in the order in which they came.
    pub(crate) fn nodes(&self) -> Vec<Arc<NodeState>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).nodes.clone()
    }

    /// The node of this name: its host name, in either spelling, or an alias.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<NodeState>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.nodes.iter().find(|node| node.plan().is_called(name)).cloned()
    }

    /// The body's namespaces and every node's, also of those that have left.
    pub(crate) fn all_namespaces(&self) -> Vec<Arc<Namespaces>> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        let nodes = members.nodes.iter().chain(&members.gone);
        nodes.map(|node| &node.namespaces).chain([&self.body]).cloned().collect()
    }

    #[cfg(feature = "kubernetes")]
    /// Adds nodes, unless the test has ended: its tear-down would not see them.
    pub(crate) fn add(&self, nodes: &[Arc<NodeState>]) -> Result<(), Error> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if self.has_ended() {
            return Err(Error::because("add a node", format!("the test `{}` has ended", self.test)));
        }
        members.nodes.extend_from_slice(nodes);
        Ok(())
    }

    #[cfg(feature = "kubernetes")]
    /// Takes a node out, if it is in.
    pub(crate) fn take_out(&self, node: &Arc<NodeState>) {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let position = members.nodes.iter().position(|other| Arc::ptr_eq(other, node));
        if let Some(position) = position {
            let node = members.nodes.remove(position);
            members.gone.push(node);
        }
    }

    /// The plan of a network of these nodes: what was declared, and what has joined since.
    pub(crate) fn plan_of(&self, nodes: &[Arc<NodeState>]) -> Plan {
        let mut plan = self.now().into_owned();
        plan.nodes = nodes.iter().map(|node| NodePlan::clone(&node.plan())).collect();
        for (index, node) in nodes.iter().enumerate() {
            let Some(joined) = &node.joined else { continue };
            let Some(to) = nodes.iter().position(|other| other.name() == joined.name) else { continue };
            let host = &mut plan.nodes[to];
            let end = End { node: to, interface: host.interfaces.len() };
            host.interfaces.extend(joined.interfaces.iter().cloned());
            host.routes.extend(joined.routes.iter().cloned());
            plan.wiring.pairs.push([end, End { node: index, interface: 0 }]);
        }
        plan
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("test", &self.test).finish_non_exhaustive()
    }
}

/// The network of a running test: its nodes, and what spans them.
///
/// Ask for it as an argument, or with [`Network::current`] where no argument can be had.
#[derive(Clone, Debug)]
pub struct Network(pub(crate) Arc<Net>);

impl Network {
    /// The network of the test that the calling thread belongs to, told by the network namespace that it is in.
    ///
    /// It works in the body, in nodes, and in every thread that was started there, also in macros that cannot pass
    /// arguments on, such as proptest's.
    ///
    /// # Errors
    /// The thread belongs to no running netns test.
    pub fn current() -> Result<Self, Error> {
        let operation = "find the network of the running test";
        let place = registry::here().map_err(|error| Error::new(operation, error))?;
        let net = place.and_then(|place| place.net.upgrade()).filter(|net| !net.has_ended());
        net.map(Self).ok_or_else(|| {
            Error::because(operation, "the calling thread is in no network of a running `#[netns_test]`")
        })
    }

    /// The nodes, in the order of their declaration, and behind them those that have joined since.
    pub fn nodes(&self) -> Vec<Node> {
        self.0.nodes().into_iter().map(Node::new).collect()
    }

    /// The node of this host name; `web_server` finds `web-server`, too.
    ///
    /// # Errors
    /// There is no such node; the error lists those there are.
    pub fn node(&self, name: &str) -> Result<Node, Error> {
        let spelled = name.replace('_', "-");
        let nodes = self.0.nodes();
        let found = nodes.iter().find(|state| state.name() == name || state.name() == spelled);
        found.map(|state| Node::new(Arc::clone(state))).ok_or_else(|| {
            let names: Vec<&str> = nodes.iter().map(|state| state.name()).collect();
            let known = match (netns_test_model::closest(name, names.iter().copied()), names.is_empty()) {
                (Some(close), _) => format!("did you mean `{close}`?"),
                (None, true) => "the network has no nodes".to_owned(),
                (None, false) => format!("there are `{}`", names.join("`, `")),
            };
            Error::because(format!("find the node `{name}`"), known)
        })
    }

    /// The file in which code of the test leaves the secrets of its TLS connections: the capture of a failed test carries
    /// them, so that Wireshark and tshark show what was said.
    ///
    /// Most programs append to the file that the variable `SSLKEYLOGFILE` names, which is set where it is asked for. Code of
    /// the test writes to the same file, by its path or by [`KeyLog::log`]. A file that the environment of the test's process
    /// names is carried as well, as far as it was written while the test ran; that environment is never changed.
    ///
    /// The file is among the test's files, `keys.log`, and gone when the test passes.
    ///
    /// # Errors
    /// No directory can be made for the test's files.
    ///
    /// ```no_run
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test]
    /// async fn fetches(client: Node, server: Node, network: Network) -> std::io::Result<()> {
    ///     # server.wait_listening(443).await?;
    ///     let mut curl = client.command("curl");
    ///     curl.args(["-k", "https://server/"]).env("SSLKEYLOGFILE", network.key_log()?);
    ///     assert!(curl.status().await?.success());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn key_log(&self) -> Result<KeyLog, Error> {
        key_log::of(&self.0)
    }

    /// When the test's timeout passes; `None` before the body starts, and where there is no timeout.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.clock.deadline()
    }

    /// The test's path: its module and its name.
    pub fn test_name(&self) -> &str {
        self.0.test
    }

    /// Until the guard is dropped, panics of the test's other threads and tasks do not fail it.
    ///
    /// A panic that nobody catches fails the test, wherever it happens. What the test catches is its own business:
    /// `catch_unwind`, a [`JoinHandle`](crate::JoinHandle) that is read, and a Tokio `JoinHandle` or `JoinSet` that the body,
    /// or work of a node ([`run`](crate::Node::run), [`spawn`](crate::Node::spawn)), awaits at once, or already awaits when
    /// its task panics. What the framework cannot see, this guard says:
    ///
    /// - a Tokio `JoinHandle` that is first awaited later than its task panicked, with another `await` before it;
    /// - one that is awaited by a task of the test's own (within a `tokio::spawn`), or in a runtime of the test's own;
    /// - a thread of the standard library that is joined;
    /// - a `catch_unwind` within a task or thread of a program whose frames have no names (optimised or stripped, without
    ///   debug information).
    pub fn allow_panics(&self) -> AllowPanics {
        AllowPanics::new(Arc::clone(&self.0))
    }
}
