//! The taps of one test, and what was read from them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::closing;
use super::frame::Frame;
use crate::error::{Doing, Error};
use crate::sys::packets::{self, Buffers};

/// What the kernel may queue for all taps of a test, in its memory; a socket has twice as much as it asks for.
const QUEUES: usize = 8 << 20;

/// The most that a socket can have (`net.core.rmem_max`, as kernels come).
const MOST_OF_QUEUE: usize = 212_992;

/// What the kernel may queue where all packets are kept: for all taps, for one of them, and for one socket, as it is asked for.
const LARGE_QUEUES: usize = 64 << 20;
const LARGE_QUEUE: usize = 32 << 20;
const LARGE_ROOM: usize = 2 << 20;

/// The most sockets of all taps: each takes the kernel milliseconds to close.
const MOST_SOCKETS: usize = 64;

/// How much of each half of what is kept: the first packets, and the last ones.
const HALF: usize = 1 << 20;

/// The most that is kept where all is.
const MOST: usize = 64 << 20;

/// What one of the last packets is kept of: its headers, and the beginning of what it carries.
const HEAD: usize = 256;

/// How often taps are read again for packets whose time was not noted, where more and more come.
const MOST_ROUNDS: usize = 16;

/// What a frame takes beside its bytes.
const OVERHEAD: usize = size_of::<Frame>();

/// A packet socket in a node, or several, of which each queues what the ones before have no room for.
#[derive(Debug)]
pub(crate) struct Tap {
    name: String,
    sockets: Vec<OwnedFd>,
}

impl Tap {
    /// Opens a tap in the network namespace of the calling thread, which is one of `nodes` nodes.
    pub(crate) fn open(name: &str, nodes: usize) -> Result<Self, Error> {
        let room = (QUEUES / nodes.max(1)).min(MOST_OF_QUEUE);
        let socket = packets::open(room)
            .doing(|| "open a packet socket in a node, which its packets are recorded from")?;
        Ok(Self { name: name.to_owned(), sockets: vec![socket] })
    }

    /// As `open`, with more room: megabytes that come at once wait in it until they are read.
    pub(super) fn open_large(name: &str, nodes: usize) -> Result<Self, Error> {
        let operation = || format!("open packet sockets in `{name}`, which its packets are captured from");
        let nodes = nodes.max(1);
        let wanted = (LARGE_QUEUES / nodes).min(LARGE_QUEUE);
        let first = packets::open(LARGE_ROOM.min(wanted / 2)).doing(operation)?;
        // Most kernels allow a socket less than it asks for.
        let room = packets::room(first.as_fd()).doing(operation)?;
        let count = wanted.div_ceil(room.max(1)).clamp(1, (MOST_SOCKETS / nodes).max(1));
        let mut sockets = vec![first];
        for _ in 1..count {
            sockets.push(packets::open_beside(sockets[0].as_fd(), room / 2).doing(operation)?);
        }
        Ok(Self { name: name.to_owned(), sockets })
    }
}

/// What is kept of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The first ones whole, and of those that follow the heads of the last.
    Bounded,
    /// All.
    All,
}

/// The packets of a test, as far as they were kept.
#[derive(Debug)]
pub(crate) struct Recording {
    keep: Keep,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each of the node of that number.
    taps: Vec<Vec<OwnedFd>>,
    /// What the last reading brought of packets that passed after it had begun: what caused them may lie in a tap that had been
    /// read before.
    fresh: Vec<Frame>,
    /// Whether the last reading brought packets whose time the kernel had not noted.
    has_unnoted: bool,
    kept: Recorded,
    first_size: usize,
    last_size: usize,
    /// What is later is no part of the test.
    until: Option<u64>,
    error: Option<String>,
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    /// The nodes that are recorded, by their numbers here.
    pub(crate) nodes: Vec<String>,
    /// The first packets.
    pub(crate) first: Vec<Frame>,
    /// The last ones; between the two, `dropped` packets are missing.
    pub(crate) last: VecDeque<Frame>,
    pub(crate) dropped: u64,
    /// Packets that came faster than they were read.
    pub(crate) lost: Vec<Lost>,
}

/// What was recorded since somebody last looked, where all is kept.
#[derive(Debug)]
pub(super) struct News {
    /// In the order of their times.
    pub(super) frames: Vec<Frame>,
    /// How many there are now with those before.
    pub(super) count: usize,
    pub(super) nodes: Vec<String>,
    /// How many packets came faster than they were read, from the beginning on.
    pub(super) lost: u64,
}

/// Packets that came faster than they were read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub(crate) node: usize,
    pub(crate) count: u64,
    /// When that was found: it was before.
    pub(crate) time: u64,
}

impl Recorded {
    /// All frames, in the order of their times.
    pub(crate) fn frames(&self) -> Vec<&Frame> {
        let mut frames: Vec<&Frame> = self.first.iter().chain(&self.last).collect();
        frames.sort_by_key(|frame| frame.order());
        frames
    }
}

impl Recording {
    pub(crate) fn new(taps: Vec<Tap>, keep: Keep) -> Self {
        let recording = Self { keep, state: Mutex::default() };
        taps.into_iter().for_each(|tap| recording.add(tap));
        recording
    }

    pub(super) fn keeps_all(&self) -> bool {
        self.keep == Keep::All
    }

    /// Records one more node.
    pub(crate) fn add(&self, tap: Tap) {
        let mut state = self.state();
        state.taps.push(tap.sockets);
        state.kept.nodes.push(tap.name);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the kernel has queued; returns how many packets the busiest tap had.
    pub(crate) fn drain(&self, buffers: &mut Buffers) -> usize {
        let mut state = self.state();
        state.drain(self.keep, buffers).unwrap_or_else(|error| {
            // It is told where the packets are asked for.
            state.error.get_or_insert(error.to_string());
            0
        })
    }

    /// What was recorded up to now.
    pub(crate) fn so_far(&self) -> Result<Recorded, String> {
        self.drain(&mut Buffers::new());
        let state = self.state();
        match &state.error {
            Some(error) => Err(error.clone()),
            None => Ok(state.kept.clone()),
        }
    }

    /// What was recorded after the first `seen` frames.
    pub(super) fn news(&self, seen: usize) -> Result<News, String> {
        self.drain(&mut Buffers::new());
        let state = self.state();
        if let Some(error) = &state.error {
            return Err(error.clone());
        }
        // Not all of it: it is asked for again and again while packets come.
        let mut frames = state.kept.first.get(seen..).unwrap_or_default().to_vec();
        frames.sort_by_key(Frame::order);
        let lost = state.kept.lost.iter().map(|lost| lost.count).sum();
        Ok(News { frames, count: state.kept.first.len(), nodes: state.kept.nodes.clone(), lost })
    }

    /// Says that the test ends now: what is seen later is its tear-down.
    pub(crate) fn end(&self) {
        self.state().until.get_or_insert_with(packets::now);
    }

    /// Closes the taps.
    pub(crate) fn close(&self) {
        let taps = std::mem::take(&mut self.state().taps);
        closing::close(taps.into_iter().flatten());
    }
}

impl State {
    /// Reads the taps one after the other, and keeps what is complete: of a packet that is kept, everything is that was seen before.
    fn drain(&mut self, keep: Keep, buffers: &mut Buffers) -> io::Result<usize> {
        let (begun, older) = (packets::now(), self.fresh.len());
        let taps = std::mem::take(&mut self.taps);
        let mut read = self.drain_taps(&taps, begun, keep, buffers);
        // Without their times nothing tells whether what led to them is there: it is where nothing more comes.
        let mut rounds = 0;
        while std::mem::take(&mut self.has_unnoted) && rounds < MOST_ROUNDS {
            read.extend(self.drain_taps(&taps, begun, keep, buffers));
            rounds += 1;
        }
        self.taps = taps;
        let mut complete = std::mem::take(&mut self.fresh);
        // What the reading before has brought is complete by now, whatever its time: clocks are set, too.
        self.fresh = complete.extract_if(older.., |frame| frame.time > begun).collect();
        complete.sort_by_key(Frame::order);
        complete.into_iter().for_each(|frame| self.keep(frame, keep));
        read.into_iter().try_fold(0, |most, read| Ok(most.max(read?)))
    }

    /// Reads each of them, whatever becomes of another.
    fn drain_taps(
        &mut self,
        taps: &[Vec<OwnedFd>],
        begun: u64,
        keep: Keep,
        buffers: &mut Buffers,
    ) -> Vec<io::Result<usize>> {
        taps.iter().enumerate().map(|(node, tap)| self.drain_tap(node, tap, begun, keep, buffers)).collect()
    }

    fn drain_tap(
        &mut self,
        node: usize,
        tap: &[OwnedFd],
        begun: u64,
        keep: Keep,
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        let [socket] = tap else {
            let have_packets = packets::have_packets(tap)?;
            let busy = tap.iter().zip(have_packets).filter(|(_, has_packets)| *has_packets);
            let read = busy.map(|(socket, _)| self.drain_socket(node, socket, begun, keep, buffers));
            return read.sum();
        };
        self.drain_socket(node, socket, begun, keep, buffers)
    }

    fn drain_socket(
        &mut self,
        node: usize,
        socket: &OwnedFd,
        begun: u64,
        keep: Keep,
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        let mut count = 0;
        // As many as the queue can hold: the rest has come meanwhile, and others have their turn first.
        while count < 4096 {
            let most = match keep {
                Keep::All => packets::LARGEST,
                Keep::Bounded if self.first_size < HALF => packets::LARGEST,
                Keep::Bounded => HEAD,
            };
            let read = packets::read(socket.as_fd(), buffers, most, |seen| {
                self.has_unnoted |= seen.time.is_none();
                let time = passed_at(seen.time, begun, self.until);
                if self.until.is_none_or(|until| time <= until)
                    && let Some(frame) = Frame::new(node, seen, time)
                {
                    self.fresh.push(frame);
                }
            })?;
            if read == 0 {
                break;
            }
            count += read;
        }
        // What was lost has filled the queue before: with two packets, or one, where many nodes share the room.
        if count > 0
            && let lost @ 1.. = packets::lost(socket.as_fd())?
        {
            self.kept.lost.push(Lost { node, count: lost.into(), time: packets::now() });
        }
        Ok(count)
    }

    fn keep(&mut self, frame: Frame, keep: Keep) {
        let size = frame.bytes.len() + OVERHEAD;
        if keep == Keep::All && self.first_size > MOST {
            self.error.get_or_insert_with(|| format!("there are more than {} MiB of them", MOST >> 20));
            return;
        }
        if keep == Keep::All || self.first_size < HALF {
            self.first_size += size;
            self.kept.first.push(frame);
            return;
        }
        self.last_size += size;
        self.kept.last.push_back(frame);
        while self.last_size > HALF {
            let Some(oldest) = self.kept.last.pop_front() else { break };
            self.last_size -= oldest.bytes.len() + OVERHEAD;
            self.kept.dropped += 1;
        }
    }
}

/// When a packet passed that is read now. If the kernel has not noted it, which it begins to do a little later than it is asked to, this
/// reading is the nearest that is known, and for what is read after the test its end.
fn passed_at(noted: Option<u64>, begun: u64, until: Option<u64>) -> u64 {
    noted.unwrap_or_else(|| until.map_or(begun, |until| until.min(begun)))
}

#[cfg(test)]
mod tests {
    use super::passed_at;

    #[test]
    fn a_packet_whose_time_was_not_noted_has_passed_by_now_and_within_the_test() {
        assert_eq!(passed_at(Some(7), 5, Some(6)), 7);
        assert_eq!(passed_at(None, 5, None), 5);
        assert_eq!(passed_at(None, 5, Some(9)), 5);
        assert_eq!(passed_at(None, 5, Some(3)), 3);
    }
}
