//! Every `unsafe` block and every raw system call of the crate.
//!
//! What `nix` or the standard library already make safe is called where it is needed; here stands what they do not have.

#[cfg(test)]
pub(crate) mod allocations;
pub(crate) mod bpf;
pub(crate) mod caps;
pub(crate) mod env;
pub(crate) mod ethtool;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod mount;
pub(crate) mod packets;
pub(crate) mod process;
pub(crate) mod ring;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod sockets;
pub(crate) mod subscriber;
pub(crate) mod userns;

mod trial;

pub(crate) use trial::in_trial_child;
