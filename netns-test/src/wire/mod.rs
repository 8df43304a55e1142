//! The wire in user space: one thread of a test takes packets at one end of a link, and gives them to the other when they
//! are due.
//!
//! An end is a veth whose peer stands in a namespace between the nodes, and a packet socket on that peer: no device file is
//! needed, and nodes see an interface like any other. What becomes of a packet is decided by `direction`, which is pure;
//! `pump` does the rest.

mod checksums;
mod direction;
mod fate;
mod frame;
mod intercept;
pub(crate) mod kernel;
mod pace;
mod pump;

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netns_test_model::graph::Conditions;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};

use self::direction::Direction;
pub use self::direction::Tally;
use self::intercept::Desk;
pub(crate) use self::intercept::ETHERNET;
pub use self::intercept::{Interception, Verdict};
use crate::error::{Doing, Error};
use crate::namespace::Namespaces;
use crate::netlink::{LinkEvents, RouteSocket};
use crate::packet::Packet;
use crate::sys::ring::PacketSocket;
use crate::{knob, panics, worker};

/// A point in time, in nanoseconds since some other.
type Nanos = u64;

/// The name of the thread.
pub(crate) const THREAD: &str = "netns-test/wire";

/// How long the thread may take to end when it is told to. It takes longer only where a test's own code blocks it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The links of one test that are on the wire in user space.
#[derive(Debug)]
pub(crate) struct Wires {
    lines: Vec<Arc<Line>>,
    shared: Arc<Shared>,
}

/// What the thread and the others share.
#[derive(Debug)]
struct Shared {
    /// Rung when there is something for the thread to look at.
    bell: EventFd,
    is_stopped: AtomicBool,
    has_ended: AtomicBool,
    thread: AtomicI32,
}

/// One link.
#[derive(Debug)]
struct Line {
    /// Its index among those with conditions.
    link: usize,
    /// What the first and the second end send.
    directions: [Mutex<Direction>; 2],
    /// What decides on these packets before.
    desks: [Arc<Desk>; 2],
}

impl Line {
    fn direction(&self, side: usize) -> MutexGuard<'_, Direction> {
        self.directions[side].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the ends of a link are: packet sockets on the peers of its interfaces, and the indices of these peers.
pub(crate) struct Ends {
    pub(crate) link: usize,
    pub(crate) conditions: [Conditions; 2],
    pub(crate) sockets: [PacketSocket; 2],
    pub(crate) indices: [u32; 2],
}

impl Wires {
    /// Starts the thread, in the body's namespaces. `between` and `events` speak for the namespace of the peers.
    pub(crate) fn start(
        ends: Vec<Ends>,
        seed: u64,
        between: RouteSocket,
        events: LinkEvents,
        body: Arc<Namespaces>,
    ) -> Result<Self, Error> {
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)
            .doing(|| "make an event descriptor")?;
        let shared = Arc::new(Shared {
            bell,
            is_stopped: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            thread: AtomicI32::new(0),
        });
        let mut lines = Vec::with_capacity(ends.len());
        let mut ports = Vec::with_capacity(2 * ends.len());
        let now = monotonic().doing(|| "ask for the time")?;
        for Ends { link, conditions, sockets, indices } in ends {
            let [forth, back] = conditions;
            let directions =
                [Direction::new(forth, now, seed, link, 0), Direction::new(back, now, seed, link, 1)];
            let line =
                Arc::new(Line { link, directions: directions.map(Mutex::new), desks: Default::default() });
            for (side, (socket, index)) in sockets.into_iter().zip(indices).enumerate() {
                ports.push(pump::Port::new(Arc::clone(&line), side, socket, index));
            }
            lines.push(line);
        }
        let inside = Arc::clone(&shared);
        worker::start_in(THREAD.to_owned(), body, move || {
            let pump = pump::Pump::new(ports, between, events, Arc::clone(&inside));
            // A panic has been noted, and fails the test.
            let _told = panics::watched(|| pump.run());
            inside.has_ended.store(true, Ordering::Release);
        })?;
        Ok(Self { lines, shared })
    }

    fn line(&self, link: usize) -> Option<&Line> {
        self.lines.iter().find(|line| line.link == link).map(Arc::as_ref)
    }

    /// Changes what a link does to the packets that one side sends.
    pub(crate) fn set_conditions(&self, link: usize, side: usize, conditions: Conditions) -> io::Result<()> {
        let now = monotonic()?;
        if let Some(line) = self.line(link) {
            line.direction(side).set_conditions(conditions, now);
        }
        Ok(())
    }

    /// What became of the packets that one side of a link has sent; `None` where the link is not on this wire.
    pub(crate) fn tally(&self, link: usize, side: usize) -> Option<Tally> {
        self.line(link).map(|line| line.direction(side).tally())
    }

    /// Has code decide on the packets that one side of a link sends; `None` where the link is not on this wire.
    pub(crate) fn intercept(
        &self,
        link: usize,
        side: usize,
        decide: impl FnMut(&Packet) -> Verdict + Send + 'static,
    ) -> Option<Interception> {
        let desk = Arc::clone(&self.line(link)?.desks[side]);
        let shared = Arc::clone(&self.shared);
        Some(Interception::new(desk, Box::new(decide), Arc::new(move || shared.ring())))
    }

    /// Sends a frame as if one side of a link had sent it; `false` where the link is not on this wire.
    pub(crate) fn inject(&self, link: usize, side: usize, frame: Vec<u8>) -> bool {
        let Some(line) = self.line(link) else { return false };
        line.desks[side].inject(frame);
        self.shared.ring();
        true
    }

    /// Whether a thread is the wire's own, and was not told to end.
    pub(crate) fn is_busy(&self, tid: i32) -> bool {
        self.shared.thread.load(Ordering::Acquire) == tid && !self.shared.is_stopped.load(Ordering::Acquire)
    }

    /// Ends the thread. `false` if it does not: what it does then is a test's own code.
    pub(crate) fn stop(&self) -> bool {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.ring();
        let started = Instant::now();
        while !self.shared.has_ended.load(Ordering::Acquire) {
            if started.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        true
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.ring();
    }
}

impl Shared {
    fn ring(&self) {
        // It fails only where it has been rung 2^64 times without being heard.
        let _rung = self.bell.write(1);
    }
}

/// The seed of `NETNS_TEST_SEED`, a number in decimal or, behind `0x`, in hexadecimal.
///
/// # Errors
/// It is something else.
fn seed_of_environment() -> Result<Option<u64>, String> {
    let Some(text) = knob::text("NETNS_TEST_SEED") else { return Ok(None) };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number
        .map(Some)
        .map_err(|_| format!("NETNS_TEST_SEED is `{text}`: expected a number, as a failed test prints it"))
}

/// The seed of a network: that of the environment, or else the declared one, or else one that no other run has.
pub(crate) fn seed(declared: Option<u64>) -> Result<u64, Error> {
    let of_environment = seed_of_environment().map_err(|text| Error::because("choose a seed", text))?;
    // Short enough to be copied by hand.
    let any = || RandomState::new().hash_one(0_u8) % 1_000_000_000;
    Ok(of_environment.or(declared).unwrap_or_else(any))
}

fn monotonic() -> io::Result<Nanos> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC)?).as_nanos() as Nanos)
}
