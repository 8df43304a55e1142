//! What is measured: pieces of work, and the ways to do them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::{addresses, sys};

/// How many two-node networks are made at once in that row.
pub(crate) const AT_ONCE: u16 = 8;

/// The program of the rows on programs: it does nothing, successfully.
pub(crate) const PROGRAM: &str = "true";

/// One piece of work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// A test without nodes, from its call to its return.
    Isolated,
    /// So many nodes, from the call to the moment at which every one can reach every other.
    Ready(u16),
    /// A cluster of so many nodes with so many pods each, from the call to the moment at which every pod can reach every other.
    Cluster { nodes: u16, pods: u16 },
    /// A TCP echo between two nodes over IPv4, from the call to its return.
    Echo,
    /// [`AT_ONCE`] networks of two nodes, one thread each, from the first call to the moment at which the last is ready.
    AtOnce,
    /// A program in a node, from its start to its end: the first of its test, or the second.
    Program { first: bool },
}

impl Work {
    /// The network namespaces that it takes: one per node, one for the body, one for a switch.
    pub(crate) fn namespaces(self) -> usize {
        match self {
            Self::Isolated => 1,
            Self::Ready(nodes @ ..=2) => usize::from(nodes) + 1,
            Self::Ready(nodes) => usize::from(nodes) + 2,
            // The host beside the nodes, the body, the switch.
            Self::Cluster { nodes, pods } => usize::from(nodes) * usize::from(1 + pods) + 3,
            Self::Echo => 3,
            Self::AtOnce => 3 * usize::from(AT_ONCE),
            Self::Program { .. } => 2,
        }
    }
}

/// A way to do the work.
pub(crate) trait Variant {
    /// Its name in the table.
    fn name(&self) -> &'static str;

    /// Whether it can do the work in the given round; a slow variant may sit rounds out.
    fn takes_part(&self, work: Work, round: usize) -> bool;

    /// Does the work once and tells how long it took. What it made is emptied when this returns, and held until the
    /// process ends, so that no clean-up in the kernel falls into a measurement.
    fn perform(&self, work: Work) -> io::Result<Duration>;
}

/// Runs `make` on [`AT_ONCE`] threads; it returns when it was ready.
pub(crate) fn at_once(make: impl Fn() -> io::Result<Instant> + Sync) -> io::Result<Duration> {
    let start = Instant::now();
    let last = thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(&make)).collect();
        threads.into_iter().map(joined).try_fold(start, |last, ready| Ok::<_, io::Error>(last.max(ready?)))
    })?;
    Ok(last - start)
}

/// Runs `work` on a thread of its own, which may leave its namespaces for good.
pub(crate) fn on_own_thread<R: Send>(work: impl FnOnce() -> io::Result<R> + Send) -> io::Result<R> {
    thread::scope(|scope| joined(thread::Builder::new().spawn_scoped(scope, work)?))
}

fn joined<R>(thread: thread::ScopedJoinHandle<'_, io::Result<R>>) -> io::Result<R> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A TCP echo from node 0 to node 1 and back, on the calling thread, which is left in node 0.
pub(crate) fn echo(client: &OwnedFd, server: &OwnedFd) -> io::Result<()> {
    let address = SocketAddr::new(addresses::v4(1), addresses::PORT);
    sys::enter(server, libc::CLONE_NEWNET)?;
    let listener = TcpListener::bind(address)?;
    sys::enter(client, libc::CLONE_NEWNET)?;
    // The kernel completes the handshake before anyone accepts.
    let mut outgoing = TcpStream::connect(address)?;
    let (mut incoming, peer) = listener.accept()?;
    assert_eq!(peer.ip(), addresses::v4(0));
    let mut buffer = [0; 2];
    outgoing.write_all(b"hi")?;
    incoming.read_exact(&mut buffer)?;
    incoming.write_all(&buffer)?;
    outgoing.read_exact(&mut buffer)?;
    assert_eq!(&buffer, b"hi");
    Ok(())
}

/// Namespaces that live until the process ends.
pub(crate) struct Held(Mutex<Vec<OwnedFd>>);

impl Held {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    pub(crate) fn hold(&self, namespaces: impl IntoIterator<Item = OwnedFd>) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend(namespaces);
    }
}
