//! Packets of the nodes' interfaces, kept.
//!
//! A `Tap` is a packet socket in a node's network namespace: opening it costs 0.05 ms, and the kernel queues what passes until somebody
//! reads. A `Recording` is the taps of a test and what was read from them. One thread of the process (`recorder`) empties all of
//! them every few milliseconds; whoever wants the packets empties them, too. `pcapng` makes a file of them.
//!
//! A memory-mapped ring (`PACKET_RX_RING`) would need no reading, but the kernel waits 8 ms when one is made, and 24 ms when it is
//! closed. What a test captures itself has more room: several sockets in each node, of which each takes what the one before cannot.

mod closing;
mod frame;
mod pcapng;
mod recorder;
mod recording;
mod traffic;
mod wanted;

#[cfg(test)]
pub(crate) use self::frame::{Direction, Reception};
pub(crate) use self::frame::{Frame, Link};
pub(crate) use self::pcapng::{Interface, write};
pub(crate) use self::recording::Recorded;
#[cfg(feature = "kubernetes")]
pub(crate) use self::recording::Tap;
pub use self::traffic::{Capture, Captured, Traffic};
pub(crate) use self::wanted::{Opening, Packets, Wanted};
