//! Packets that a test's own code decides on.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::checksums;
use crate::fault::Told;
use crate::packet::Packet;
use crate::panics;

/// What is to happen to a packet, from the code given to [`LinkDirection::intercept`](crate::LinkDirection::intercept).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It is gone.
    Drop,
    /// It is kept until [`Interception::release`].
    Hold,
    /// This frame goes on in its place, with checksums that are made right.
    Replace(Vec<u8>),
}

type Decide = Box<dyn FnMut(&Packet) -> Verdict + Send>;

/// One piece of code that decides.
struct Interceptor {
    id: u64,
    decide: Mutex<Decide>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    frames: Vec<Vec<u8>>,
    /// Nobody can release more.
    has_ended: bool,
}

impl Interceptor {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What decides on the packets of one direction, and those that are to be sent on.
#[derive(Default)]
pub(super) struct Desk {
    interceptors: Mutex<Vec<Arc<Interceptor>>>,
    /// Released and injected.
    outgoing: Mutex<Vec<Vec<u8>>>,
}

impl Desk {
    fn interceptors(&self) -> MutexGuard<'_, Vec<Arc<Interceptor>>> {
        self.interceptors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outgoing(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.outgoing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn inject(&self, frame: Vec<u8>) {
        self.outgoing().push(frame);
    }

    pub(super) fn take_outgoing(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.outgoing())
    }

    /// The frame that goes on, if one does.
    pub(super) fn judge(&self, frame: Vec<u8>) -> Option<Vec<u8>> {
        let interceptors = {
            let interceptors = self.interceptors();
            if interceptors.is_empty() {
                return Some(frame);
            }
            // What decides may end itself or others.
            interceptors.clone()
        };
        let mut packet = Packet::decode(frame);
        for interceptor in interceptors {
            let mut decide = interceptor.decide.lock().unwrap_or_else(PoisonError::into_inner);
            match panics::watched(|| checked(decide(&packet))) {
                Ok(Verdict::Pass) => {}
                Ok(Verdict::Drop) => return None,
                Ok(Verdict::Hold) => {
                    let mut held = interceptor.held();
                    // One that was ended meanwhile lets it pass.
                    if !held.has_ended {
                        held.frames.push(packet.into_bytes());
                        return None;
                    }
                }
                Ok(Verdict::Replace(mut frame)) => {
                    checksums::make_right(&mut frame);
                    packet = Packet::decode(frame);
                }
                // It fails the test. The others are not to wait for packets until then.
                Err(_noted) => self.interceptors().retain(|other| other.id != interceptor.id),
            }
        }
        Some(packet.into_bytes())
    }
}

/// The verdict, if it can be carried out.
///
/// # Panics
/// It cannot: within the test's code, as far as anybody is told.
fn checked(verdict: Verdict) -> Verdict {
    if let Verdict::Replace(frame) = &verdict
        && frame.len() < ETHERNET
    {
        panic!(
            "a packet was replaced by {} bytes: a frame begins with its Ethernet header of {ETHERNET}",
            frame.len()
        );
    }
    verdict
}

/// The length of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("interceptors", &self.interceptors().len()).finish_non_exhaustive()
    }
}

/// Code that decides on packets until this is dropped, from [`LinkDirection::intercept`](crate::LinkDirection::intercept).
///
/// What it has held then goes on.
#[must_use = "packets are decided on until this is dropped"]
pub struct Interception {
    interceptor: Arc<Interceptor>,
    desk: Arc<Desk>,
    ring: Arc<dyn Fn() + Send + Sync>,
    /// What the report tells of it, until it ends.
    told: Option<Told>,
}

impl Interception {
    pub(super) fn new(desk: Arc<Desk>, decide: Decide, ring: Arc<dyn Fn() + Send + Sync>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let interceptor = Arc::new(Interceptor { id, decide: Mutex::new(decide), held: Mutex::default() });
        desk.interceptors().push(Arc::clone(&interceptor));
        Self { interceptor, desk, ring, told: None }
    }

    pub(crate) fn told(mut self, told: Told) -> Self {
        self.told = Some(told);
        self
    }

    /// How many packets are held.
    pub fn held(&self) -> usize {
        self.interceptor.held().frames.len()
    }

    /// Lets the packets go that are held, in the order in which they came.
    pub fn release(&self) {
        self.release_first(usize::MAX);
    }

    /// Lets the first `count` of them go.
    pub fn release_first(&self, count: usize) {
        self.release_from(&mut self.interceptor.held(), count);
        (self.ring)();
    }

    fn release_from(&self, held: &mut Held, count: usize) {
        let count = count.min(held.frames.len());
        self.desk.outgoing().extend(held.frames.drain(..count));
    }
}

impl Drop for Interception {
    fn drop(&mut self) {
        // In one go: what comes from here on is not held any more, and must not overtake what was.
        {
            let mut held = self.interceptor.held();
            held.has_ended = true;
            self.release_from(&mut held, usize::MAX);
        }
        (self.ring)();
        self.desk.interceptors().retain(|other| other.id != self.interceptor.id);
    }
}

impl fmt::Debug for Interception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interception").field("held", &self.held()).finish_non_exhaustive()
    }
}
