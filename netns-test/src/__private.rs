//! All that an expansion of the attribute may name. Not public API: it changes without notice.

use std::time::Duration;

pub use inventory;
use netns_test_model::Alias;
pub use netns_test_model::graph::{
    Addresses, Burst, Conditions, Ecn, Firewall, Icmp, Nat, NatBehavior, Percent, Queue, Rate, Routes, Trace,
    Wire,
};
pub use netns_test_model::{Capture, Family, Shape};

pub use crate::topology::Topology;

use crate::{Argument, Error, FromNetwork, Network};

cfg_if::cfg_if! {
    if #[cfg(all(target_os = "linux", not(netns_test_elsewhere)))] {
        mod run;

        pub use self::run::{before_main, main_async, main_sync, run_async, run_sync};
        pub use crate::__prepare as prepare;
    } else {
        pub use crate::elsewhere::run::{main_async, main_sync, run_async, run_sync};
        pub use crate::__prepare_nothing as prepare;
    }
}

/// One test, as its attribute declared it.
#[derive(Debug)]
pub struct TestCase {
    /// The test's path: module and name.
    pub name: &'static str,
    /// Where it stands.
    pub file: &'static str,
    /// Where it stands.
    pub line: u32,
    /// The host names.
    pub nodes: &'static [&'static str],
    /// How they are wired.
    pub shape: Shape,
    /// Which addresses they have.
    pub family: Family,
    /// Makes the network, where the three above do not tell all of it.
    pub topology: Option<fn() -> Topology>,
    /// How long the body may take; `None` is the default.
    pub timeout: Option<Duration>,
    /// The node that the body runs in.
    pub run_in: Option<&'static str>,
    /// More names of nodes: the node, and what it is called, too.
    pub aliases: &'static [(&'static str, &'static str)],
    /// The node that all nodes ask for names, over DNS.
    pub dns: Option<&'static str>,
    /// The runtime of the body and of the nodes.
    pub runtime: Runtime,
    /// What the process must be.
    pub require: &'static [Require],
    /// Whether its packets are recorded, and kept; `None` is the default.
    pub capture: Option<Capture>,
    /// Whether the body has to panic.
    pub should_panic: ShouldPanic,
    /// Why the test is known to fail.
    pub fails: Option<&'static str>,
    /// Whether it is a program's `main`, and no test.
    pub program: bool,
}

impl TestCase {
    /// The network, not yet checked.
    pub(crate) fn topology(&self) -> netns_test_model::Topology {
        let nodes = self.nodes.iter().map(ToString::to_string).collect();
        let topology = match self.topology {
            Some(make) => make().model(),
            None => netns_test_model::Topology::new(nodes, self.shape, self.family),
        };
        let own = self.aliases.iter();
        let own = own.map(|&(node, name)| Alias { node: node.to_owned(), name: name.to_owned() });
        let aliases = topology.aliases.iter().cloned().chain(own).collect();
        let dns = self.dns.map(str::to_owned).or_else(|| topology.dns.clone());
        topology.with_aliases(aliases).with_dns(dns)
    }

    /// The test's path as libtest writes it: without the crate.
    pub(crate) fn path(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |(_crate, path)| path)
    }
}

/// A Tokio runtime's flavor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// All tasks on one thread.
    CurrentThread,
    /// Tasks on several threads; `None` is one for each processor.
    MultiThread {
        /// How many threads.
        workers: Option<usize>,
    },
}

/// What a test requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Require {
    /// Real root, outside every user namespace of this crate's making.
    Root,
    /// The kernel takes eBPF programs for networks from this process.
    Bpf,
}

/// `#[should_panic]`, taken over from libtest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShouldPanic {
    /// The body must not panic.
    No,
    /// The body must panic.
    Yes,
    /// The body must panic with a message that contains this.
    With(&'static str),
}

/// A registered test, for listings and harnesses.
#[derive(Debug)]
pub struct Registered(pub &'static TestCase);

inventory::collect!(Registered);

/// Registers a test, and the work to be done before `main`.
#[doc(hidden)]
#[macro_export]
macro_rules! __register {
    ($test:expr) => {
        $crate::__private::inventory::submit! { $crate::__private::Registered(&$test) }
        $crate::__private::prepare!();
    };
    ($test:expr, $run:expr, $ignored:expr) => {
        $crate::__private::trial!($test, $run, $ignored);
        $crate::__private::register!($test);
    };
}

/// Registers a test for [`run_tests`](crate::run_tests).
#[cfg(feature = "harness")]
#[doc(hidden)]
#[macro_export]
macro_rules! __trial {
    ($test:expr, $run:expr, $ignored:expr) => {
        $crate::__private::inventory::submit! {
            $crate::__private::Trial { test: &$test, run: $run, ignored: $ignored }
        }
    };
}

/// Says which feature is missing.
#[cfg(not(feature = "harness"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __trial {
    ($test:expr, $run:expr, $ignored:expr) => {
        ::core::compile_error!(
            "this target has `harness = false`, so libtest does not run the test: write `features = [\"harness\"]` to the \
             dependency on netns-test and `netns_test::harness!();` to the target"
        );
    };
}

/// Registers the work to be done before `main`.
///
/// The constructor is written out, because the attribute that the `ctor` crate emits with it, `allow(unsafe_code)`, does
/// not compile in crates that forbid unsafe code.
#[doc(hidden)]
#[macro_export]
macro_rules! __prepare {
    () => {
        const _: () = {
            #[used]
            #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
            static BEFORE_MAIN: extern "C" fn() = {
                extern "C" fn before_main() {
                    $crate::__private::before_main();
                }
                before_main
            };
        };
    };
}

/// There is nothing to prepare elsewhere.
#[doc(hidden)]
#[macro_export]
macro_rules! __prepare_nothing {
    () => {};
}

pub use crate::{__register as register, __trial as trial};

#[cfg(feature = "harness")]
pub use crate::trials::Trial;

/// Makes the network of a cluster, where the crate has the feature for it.
#[cfg(feature = "kubernetes")]
#[doc(hidden)]
#[macro_export]
macro_rules! __kubernetes {
    ($($declared:tt)*) => {
        $crate::__private::kubernetes_topology(&$crate::__private::Kubernetes { $($declared)* })
    };
}

/// Says which feature is missing.
#[cfg(not(feature = "kubernetes"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __kubernetes {
    ($($declared:tt)*) => {
        ::core::compile_error!(
            "`kubernetes(..)` needs the feature `kubernetes` of netns-test: write `features = [\"kubernetes\"]` to the dependency"
        )
    };
}

pub use crate::__kubernetes as kubernetes;

/// A cluster, as its attribute declared it.
#[cfg(feature = "kubernetes")]
#[derive(Debug)]
pub struct Kubernetes {
    /// Which addresses there are.
    pub family: Family,
    /// How many nodes.
    pub nodes: usize,
    /// How many pods of each.
    pub pods_per_node: usize,
    /// Pods by name, and the numbers of their nodes.
    pub pods: &'static [(&'static str, usize)],
    /// The range of the pods.
    pub pod_cidrs: &'static [&'static str],
    /// The range of the services.
    pub service_cidrs: &'static [&'static str],
}

/// The cluster as a network.
#[cfg(feature = "kubernetes")]
pub fn kubernetes_topology(declared: &Kubernetes) -> Topology {
    Topology::of_kubernetes(declared)
}

/// Where arguments come from.
#[derive(Debug)]
pub struct Arguments<'a>(&'a Network);

/// Makes one argument.
pub fn argument<T: FromNetwork>(arguments: &Arguments<'_>, name: &str) -> Result<T, Error> {
    T::from_network(&Argument::new(name, arguments.0))
}

/// Makes one field of a structure of handles.
pub fn field<T: FromNetwork>(argument: &Argument<'_>, name: &str) -> Result<T, Error> {
    T::from_network(&Argument::new(name, argument.network()))
}

/// The network that a type declares.
pub fn declared<T: FromNetwork>() -> Option<Topology> {
    T::topology()
}

/// The network that the first of some types declares; a test without nodes, where none does.
pub fn first_declared(types: &[fn() -> Option<Topology>]) -> Topology {
    types.iter().find_map(|declared| declared()).unwrap_or_else(|| Topology::of_shape(&[], Shape::Star))
}
