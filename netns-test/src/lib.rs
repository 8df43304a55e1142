//! Give a test its own network: real Linux network stacks, one for each node, without root.
//!
//! ```
//! use netns_test::{netns_test, Node};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! // Two hosts on one switch. The argument names are the host names.
//! #[netns_test(nodes = 2)]
//! async fn echo(client: Node, server: Node) -> std::io::Result<()> {
//!     let listener = server.listen_tcp(7).await?;          // a listener that lives in `server`
//!     let mut out = client.connect_tcp("server:7").await?; // name resolved inside `client`
//!     let (mut inc, peer) = listener.accept().await?;
//!     assert_eq!(peer.ip(), client.ip());
//!     out.write_all(b"hi").await?;
//!     let mut buf = [0; 2];
//!     inc.read_exact(&mut buf).await?;
//!     assert_eq!(&buf, b"hi");
//!     Ok(())
//! }
//! ```
//!
//! The attribute is [`netns_test`](macro@netns_test), and its page lists what it takes. A [`Node`] is the handle to one host, a
//! [`Network`] to all of them, a [`Router`] to a node that passes packets on, and [`FromNetwork`] makes arguments of your own types.
//!
//! # Where code runs
//!
//! The body runs on a thread of its own, in namespaces of its own with nothing but a loopback: it is no part of the network,
//! so a forgotten handle fails at once. `run_in = client` puts it into a node instead. What is to happen in a node is said
//! through the node's handle:
//!
//! | what | by |
//! |---|---|
//! | a socket, for use in the body | [`listen_tcp`](Node::listen_tcp), [`connect_tcp`](Node::connect_tcp), [`bind_udp`](Node::bind_udp) |
//! | async code that opens its own sockets | [`run`](Node::run), [`spawn`](Node::spawn) |
//! | a few calls on this thread | [`enter`](Node::enter) |
//! | code that blocks | [`spawn_thread`](Node::spawn_thread) |
//! | a program | [`command`](Node::command) |
//!
//! A socket keeps the network namespace that it was born in, whichever thread uses it later. Each node's thread, and all that is
//! started from it, stays in the node: tasks, `spawn_blocking` threads, threads and child processes.
//!
//! Programs die with the test, and have a PID namespace, private files and the node's capabilities: [`guide::programs`] has the
//! details, and the flags that known daemons need.
//!
//! Plain tests in the same binary keep the host's network and have no capabilities.
//!
//! # Names and addresses
//!
//! They follow from the declaration alone. Node *i*, counted from 1, has `10.0.0.i` and `2001:db8::i` (hexadecimal) in a star, on its
//! interface `eth0`. In a graph (`nodes(..)`, `routers(..)`, `links(..)`, or a [`Topology`] built in code) every link has a prefix, and
//! every end of it an address; the [attribute's page](macro@netns_test#links) says which. Every node resolves the name of every node. [`Node::ip`] is the address that the name resolves to first, and
//! what a bare port in `listen_tcp(7)` stands for; [`ToEndpoint`] lists the other forms.
//!
//! More names come from the attribute's `aliases`, from [`Node::add_host`], and from DNS: `dns = server` has every node ask that one, and
//! the module `dns` (with the feature of that name) has a server to answer there.
//!
//! # Waiting
//!
//! The first packet between any two nodes arrives: nothing has to be waited for before a test begins. For what it starts there are
//! [`wait_listening`](Node::wait_listening), [`wait_bound_udp`](Node::wait_bound_udp) and [`wait_until`](Node::wait_until), which ask
//! the kernel and give up shortly before the test's timeout, with a list of what was there instead. Methods that wait are async and
//! have a twin, `blocking_…`, for plain functions. Time is real.
//!
//! # Faults
//!
//! A test cuts its network and repairs it: [`Network::partition`], [`Node::isolate`], [`Interface::cut`] and [`unplug`](Interface::unplug),
//! [`Network::hold`], [`Node::crash`]. Each returns a guard, which ends when it is dropped. [`guide::faults`] tells what each does to packets,
//! connections, carrier and routes.
//!
//! # What fails a test
//!
//! - What fails a `#[test]`: a panic of the body, an `Err` that it returns.
//! - A panic that nobody caught, in whatever thread or task of the test. [`Network::allow_panics`] has the details.
//! - Its timeout, 60 seconds unless `timeout = …` says otherwise.
//! - A network that cannot be made. The message says why, and names the command that mends it.
//!
//! When the test ends, its tasks are dropped, its processes killed, its sockets destroyed. A thread that blocks or spins cannot be
//! ended from outside: the test's output names it.
//!
//! A test that fails shows its network: what stands out (a refused port, an interface that is down, a full backlog, counters that are 0
//! when all is well), a drawing with names and addresses, traffic, packets, sockets, and, when it timed out, what still ran. [`guide::failures`] says more. A panic is looked at
//! before it unwinds, other failures before the network is torn down. The README has an example.
//!
//! # Environment variables
//!
//! | variable | effect |
//! |---|---|
//! | `NETNS_TEST_TIMEOUT` | a duration such as `5min`, or `none`: overrides every test's timeout |
//! | `NETNS_TEST_UNSUPPORTED=skip` | where tests cannot run, they are skipped, and say so on stderr; libtest counts them as ok |
//! | `NETNS_TEST_USERNS=0` | no user namespace for the process: netns tests then need root |
//! | `NETNS_TEST_REPORT` | `always` or `never`: of which tests the network is shown; by default of those that fail |
//! | `NETNS_TEST_LOG` | `error`, `warn`, `info`, `debug`, `trace` or `off`: which events of `tracing` the report has; see [`guide::failures`] |
//! | `NETNS_TEST_LIST=1` | with `--list`: the netns tests, each with its network drawn, on stderr |
//! | `NETNS_TEST_PAUSE=1` | the network of a failed test waits, with the command that enters each node, until Enter or SIGCONT |
//! | `NETNS_TEST_CAPTURE` | `failure`, `always` or `never`: overrides every test's `capture` |
//! | `NO_COLOR` | if set, the report has no colours; otherwise it has on a terminal, with `--nocapture` |
//! | `NETNS_TEST_SWITCH` | `macvlan` or `bridge`: what switches are made of |
//! | `NETNS_TEST_WIRE` | `kernel` or `user`: what does to packets what links say, unless a link says it itself |
//! | `NETNS_TEST_SEED` | a number: what random fates of packets follow, as a failed test prints it |
//! | `NETNS_TEST_DIR` | where the files of failed tests go, in place of `target/netns-test` |
#![deny(unsafe_code)]
// What only Linux uses.
#![cfg_attr(any(not(target_os = "linux"), netns_test_elsewhere), allow(dead_code, unused_imports))]

#[doc(hidden)]
pub mod __private;
mod error;
mod inject;
pub mod packet;
mod place;
mod topology;
#[cfg(feature = "harness")]
mod trials;

pub use netns_test_macros::{FromNetwork, main, netns_test, test};
pub use netns_test_model::Family;
pub use netns_test_model::graph::{
    Addresses, Burst, Conditions, Ecn, Firewall, Icmp, Loss, Nat, NatBehavior, Percent, Queue, Rate, Routes,
    Trace, TraceError, Wire,
};

pub use crate::error::Error;
pub use crate::inject::{Argument, FromNetwork};
pub use crate::place::ToPlace;
pub use crate::topology::{LinkBuilder, RouterBuilder, Topology};
#[cfg(feature = "harness")]
pub use crate::trials::run_tests;

cfg_if::cfg_if! {
    if #[cfg(all(target_os = "linux", not(netns_test_elsewhere)))] {
        mod added;
        mod advertise;
        mod artifacts;
        mod bootstrap;
        mod capture;
        mod directory;
        #[cfg(feature = "dns")]
        pub mod dns;
        mod fault;
        #[cfg(test)]
        mod fuzz;
        mod gate;
        mod gateway;
        mod harness;
        mod held;
        mod janitor;
        mod job;
        mod key_log;
        mod knob;
        #[cfg(feature = "kubernetes")]
        pub mod kubernetes;
        mod layers;
        mod limits;
        mod link;
        mod listing;
        mod log;
        mod mounts;
        mod namespace;
        mod netlink;
        mod network;
        mod node;
        mod panics;
        mod pause;
        mod plan;
        mod plug;
        mod probe;
        mod processes;
        mod program;
        mod provision;
        mod queue;
        mod registry;
        mod report;
        mod router;
        mod standalone;
        #[expect(unsafe_code, reason = "the one place for it")]
        mod sys;
        mod sysctl;
        mod tasks;
        mod teardown;
        mod wire;
        mod worker;

        pub use crate::added::MacvlanMode;
        pub use crate::advertise::{Advertisement, Advertising};
        pub use crate::capture::{Capture, Captured, Traffic};
        pub use crate::fault::{Crashed, Fault, Hold};
        pub use crate::gateway::{ChangedRouter, NatMapping};
        pub use crate::job::{JoinError, JoinHandle};
        pub use crate::key_log::KeyLog;
        pub use crate::link::{ChangedConditions, LinkDirection, LinkHandle};
        pub use crate::netlink::state;
        pub use crate::network::Network;
        pub use crate::node::{Interface, Node, ThreadHandle, ToEndpoint};
        pub use crate::panics::AllowPanics;
        pub use crate::program::{Child, Command, Signal};
        pub use crate::router::Router;
        pub use crate::standalone::init;
        pub use crate::sys::subscriber::Logged;
        pub use crate::wire::{Interception, Tally, Verdict};
    } else {
        mod elsewhere;

        #[cfg(feature = "harness")]
        use crate::elsewhere::harness;
        use crate::elsewhere::log;
        pub use crate::elsewhere::endpoint::ToEndpoint;
        pub use crate::elsewhere::handles::*;
        pub use crate::elsewhere::state;
        pub use crate::elsewhere::subscriber::Logged;
        #[cfg(feature = "dns")]
        pub use crate::elsewhere::dns;
        #[cfg(feature = "kubernetes")]
        pub use crate::elsewhere::kubernetes;
    }
}

/// Pages to read: nothing in here is code.
pub mod guide {
    #[doc = include_str!("../docs/faults.md")]
    pub mod faults {}
    #[cfg(feature = "kubernetes")]
    #[doc = include_str!("../docs/kubernetes.md")]
    pub mod kubernetes {}

    #[doc = include_str!("../docs/failures.md")]
    pub mod failures {}

    #[doc = include_str!("../docs/links.md")]
    pub mod links {}
    #[doc = include_str!("../docs/machines.md")]
    pub mod machines {}
    #[doc = include_str!("../docs/programs.md")]
    pub mod programs {}

    #[doc = include_str!("../docs/routers.md")]
    pub mod routers {}

    #[doc = include_str!("../docs/tunnels.md")]
    pub mod tunnels {}
}
