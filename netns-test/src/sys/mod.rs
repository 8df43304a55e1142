//! Every `unsafe` block and every raw system call of the crate.
//!
//! What `nix` or the standard library already make safe is called where it is needed; here stands what they do not have.

pub(crate) mod caps;
pub(crate) mod env;
pub(crate) mod process;
pub(crate) mod sockets;

mod trial;

pub(crate) use trial::in_trial_child;
