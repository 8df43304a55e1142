//! Give a test its own network.
#![deny(unsafe_code)]

#[doc(hidden)]
pub mod __private;

mod bootstrap;
mod error;
mod gate;
mod harness;
mod inject;
mod job;
mod mounts;
mod namespace;
mod netlink;
mod network;
mod node;
mod panics;
mod plan;
mod probe;
mod provision;
mod registry;
#[expect(unsafe_code, reason = "the one place for it")]
mod sys;
mod sysctl;
mod teardown;
mod worker;

pub use netns_test_macros::{netns_test, test};

pub use crate::error::Error;
pub use crate::inject::{Argument, FromNetwork};
pub use crate::job::{JoinError, JoinHandle};
pub use crate::netlink::state;
pub use crate::network::Network;
pub use crate::node::{Interface, Node, ThreadHandle, ToEndpoint};
pub use crate::panics::AllowPanics;
