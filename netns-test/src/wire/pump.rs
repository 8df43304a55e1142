//! The thread that moves packets: in at one end, out at the other when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

use super::direction::Fate;
use super::{Line, Nanos, Shared, monotonic};
use crate::netlink::{LinkEvents, Request, RouteSocket};
use crate::sys::ring::{PacketSocket, Received};

/// The most packets that are taken from one end before the others have their turn.
const TURN: usize = 64;

/// One end of a link.
pub(super) struct Port {
    line: Arc<Line>,
    side: usize,
    socket: PacketSocket,
    index: u32,
    /// When its last packet was sent.
    last: Nanos,
}

impl Port {
    pub(super) fn new(line: Arc<Line>, side: usize, socket: PacketSocket, index: u32) -> Self {
        Self { line, side, socket, index, last: 0 }
    }
}

/// A packet on its way to a port, in the order in which packets are due.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Nanos,
    /// Of packets that are due at once, the one that was sent first is first.
    number: u64,
    to: usize,
    frame: Vec<u8>,
}

pub(super) struct Pump {
    ports: Vec<Port>,
    /// The namespace in which the ports are.
    between: RouteSocket,
    events: LinkEvents,
    shared: Arc<Shared>,
    due: BinaryHeap<Reverse<Due>>,
    number: u64,
    /// Frames to be used again.
    spare: Vec<Vec<u8>>,
}

impl Pump {
    pub(super) fn new(
        ports: Vec<Port>,
        between: RouteSocket,
        events: LinkEvents,
        shared: Arc<Shared>,
    ) -> Self {
        shared.thread.store(gettid().as_raw(), Ordering::Release);
        Self { ports, between, events, shared, due: BinaryHeap::new(), number: 0, spare: Vec::new() }
    }

    /// Moves packets until it is told to stop.
    ///
    /// # Panics
    /// The kernel refused something: without its wire the test cannot go on.
    pub(super) fn run(mut self) {
        // By default, a thread may sleep 50 µs longer than it asked for (prctl(2), PR_SET_TIMERSLACK).
        self.try_to("sleep exactly", |_| Ok(nix::sys::prctl::set_timerslack(1)?));
        self.try_to("ask for the state of its ends", Self::pass_carrier);
        while !self.shared.is_stopped.load(Ordering::Acquire) {
            let (rings, changes) = self.try_to("wait for packets", Self::wait);
            if rings {
                self.try_to("hear its bell", |pump| Ok(pump.shared.bell.read()?));
                self.try_to("send on packets", Self::send_on);
            }
            if changes {
                self.try_to("ask for the state of its ends", Self::pass_carrier);
            }
            self.try_to("take packets", Self::take_all);
            self.try_to("deliver packets", Self::deliver);
        }
    }

    fn try_to<R>(&mut self, operation: &str, act: impl FnOnce(&mut Self) -> io::Result<R>) -> R {
        match act(self) {
            Ok(result) => result,
            Err(error) => panic!("netns-test: the wire in user space failed to {operation}: {error}"),
        }
    }

    /// Waits until a packet comes or is due; whether the bell rings, and whether an interface has changed.
    fn wait(&mut self) -> io::Result<(bool, bool)> {
        let in_time = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut all: Vec<PollFd<'_>> = vec![in_time(self.shared.bell.as_fd()), in_time(self.events.as_fd())];
        all.extend(self.ports.iter().map(|port| in_time(port.socket.as_fd())));
        let patience = match self.due.peek() {
            None => None,
            Some(Reverse(due)) => {
                Some(TimeSpec::from(Duration::from_nanos(due.at.saturating_sub(monotonic()?))))
            }
        };
        match ppoll(&mut all, patience, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let has = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        let failed = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLERR));
        let found = (has(&all[0]), has(&all[1]));
        let failed: Vec<bool> = all[2..].iter().map(failed).collect();
        for (port, _) in self.ports.iter().zip(failed).filter(|(_, failed)| *failed) {
            match port.socket.take_error()? {
                // It is off: what is sent by it is lost.
                Some(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Some(error) => return Err(error),
                None => {}
            }
        }
        Ok(found)
    }

    fn take_all(&mut self) -> io::Result<()> {
        let now = monotonic()?;
        // Packets are stamped by the clock that can be set.
        let wall = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?);
        for from in 0..self.ports.len() {
            for _ in 0..TURN {
                let mut frame = self.spare.pop().unwrap_or_default();
                let port = &mut self.ports[from];
                let age = match port.socket.receive(&mut frame)? {
                    None => {
                        self.spare.push(frame);
                        break;
                    }
                    Some(Received::TooLong) => {
                        port.line.direction(port.side).missed(1);
                        self.spare.push(frame);
                        continue;
                    }
                    Some(Received::At(stamp)) => wall.saturating_sub(stamp),
                    Some(Received::Losing(stamp)) => {
                        // It is told with every packet until it has been asked for.
                        let overruns = port.socket.overruns()?;
                        port.line.direction(port.side).missed(overruns.into());
                        wall.saturating_sub(stamp)
                    }
                };
                let sent_at = now.saturating_sub(age.as_nanos() as Nanos).max(port.last);
                port.last = sent_at;
                let desk = Arc::clone(&port.line.desks[port.side]);
                if let Some(frame) = desk.judge(frame) {
                    // What was released meanwhile came before it.
                    for earlier in desk.take_outgoing() {
                        self.send(from, sent_at, earlier);
                    }
                    self.send(from, sent_at, frame);
                }
            }
        }
        Ok(())
    }

    /// Sends what was released and injected.
    fn send_on(&mut self) -> io::Result<()> {
        let now = monotonic()?;
        for from in 0..self.ports.len() {
            let port = &mut self.ports[from];
            port.last = now.max(port.last);
            let sent_at = port.last;
            for frame in port.line.desks[port.side].take_outgoing() {
                self.send(from, sent_at, frame);
            }
        }
        Ok(())
    }

    /// Sends a frame that came in by a port on its way to the other.
    fn send(&mut self, from: usize, sent_at: Nanos, mut frame: Vec<u8>) {
        let port = &self.ports[from];
        let fate = port.line.direction(port.side).offer(sent_at, &mut frame);
        // The two ends of a link are beside each other.
        let to = from ^ 1;
        match fate {
            Fate::Lost(_) => self.spare.push(frame),
            Fate::Arrives { at, again } => {
                if let Some(again) = again {
                    self.schedule(again, to, frame.clone());
                }
                self.schedule(at, to, frame);
            }
        }
    }

    fn schedule(&mut self, at: Nanos, to: usize, frame: Vec<u8>) {
        self.number += 1;
        self.due.push(Reverse(Due { at, number: self.number, to, frame }));
    }

    /// Delivers what is due by now.
    fn deliver(&mut self) -> io::Result<()> {
        let now = monotonic()?;
        while let Some(Reverse(due)) = self.due.peek() {
            if due.at > now {
                break;
            }
            let Some(Reverse(Due { to, frame, .. })) = self.due.pop() else { break };
            match self.ports[to].socket.send(&frame) {
                Ok(()) => {}
                Err(error) => match error.raw_os_error() {
                    // The interface is off or gone, or takes no packet as large: so is the packet.
                    Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV | libc::EMSGSIZE) => {}
                    Some(libc::ENOBUFS | libc::EAGAIN) => {
                        let from = &self.ports[to ^ 1];
                        from.line.direction(from.side).had_no_room();
                    }
                    _ => return Err(error),
                },
            }
            if self.spare.len() < TURN {
                self.spare.push(frame);
            }
        }
        Ok(())
    }

    /// Gives each end the carrier that the other has: as over one veth, an interface that is off leaves the other without.
    fn pass_carrier(&mut self) -> io::Result<()> {
        self.events.forget()?;
        let links = self.between.links()?;
        let state = |port: &Port| links.iter().find(|link| link.index == port.index);
        for pair in self.ports.chunks(2) {
            let (left, right) = match (state(&pair[0]), state(&pair[1])) {
                (Some(left), Some(right)) => (left, right),
                // One was unplugged, and its end here went with it.
                (Some(alone), None) | (None, Some(alone)) if alone.up => {
                    let describe = || format!("take the carrier of `{}`", alone.name);
                    self.between
                        .request(Request::set_up(alone.index, false), describe)
                        .map_err(io::Error::other)?;
                    continue;
                }
                _ => continue,
            };
            for (from, to) in [(left, right), (right, left)] {
                // One that is off itself tells nothing.
                let wanted = match (from.up, from.carrier) {
                    (true, true) if !to.up => true,
                    (true, false) if to.up && to.carrier => false,
                    _ => continue,
                };
                let describe = || format!("switch the carrier of `{}`", to.name);
                let request = Request::set_up(to.index, wanted);
                self.between.request(request, describe).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}
