//! Netlink: how the kernel is asked for links, addresses, routes, neighbours, sockets and filters.
//!
//! Synchronous, and without knowledge of tests and nodes: a socket speaks for the network namespace that it was
//! opened in, and whoever opens it decides which one that is.

#[cfg(target_os = "linux")]
mod decode;
#[cfg(target_os = "linux")]
mod diag;
#[cfg(target_os = "linux")]
mod events;
#[cfg(target_os = "linux")]
mod filter;
#[cfg(target_os = "linux")]
#[cfg_attr(
    not(any(test, feature = "kubernetes")),
    expect(dead_code, reason = "some words are in the rules of clusters alone")
)]
pub(crate) mod nftables;
#[cfg(target_os = "linux")]
mod route;
#[cfg(target_os = "linux")]
mod shape;
#[cfg(target_os = "linux")]
mod socket;
pub mod state;
#[cfg(all(test, target_os = "linux"))]
mod tests;

#[cfg(target_os = "linux")]
pub(crate) use self::{
    diag::DiagSocket,
    events::LinkEvents,
    filter::{Direction, Instruction, MARK, MOST_INSTRUCTIONS, NEXT, VANISH},
    route::{Batch, LinkEnd, MacvlanMode, NetlinkError, Request, RouteSocket},
    shape::{Model, Netem, Shape, Tbf},
};
