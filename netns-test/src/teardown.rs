//! The end of a network: emptied at once, released late.
//!
//! The kernel's clean-up of a namespace holds the lock that set-up needs, so namespaces are emptied (no process, no
//! socket, no neighbour) and then held, bounded, until the process ends.

use std::collections::VecDeque;
use std::ffi::c_long;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::gettid;

use crate::error::{Doing, Error};
use crate::namespace::{Depth, Namespaces, enter};
use crate::netlink::{DiagSocket, RouteSocket};
use crate::network::Net;
use crate::panics::AllowPanics;
use crate::processes::Ticks;
use crate::{gate, processes, registry, sys};

/// How many namespaces are held at most. 510 cost 31 ms at the end of the process, and 0.16 MB each.
const MOST_HELD: usize = 512;

/// How long threads that still run may take to come to rest, after which they count as spinning.
const PATIENCE: Duration = Duration::from_millis(500);

/// A thread that outlived its test.
#[derive(Debug)]
pub(crate) struct Leftover {
    name: String,
    spins: bool,
}

impl std::fmt::Display for Leftover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let doing = if self.spins { "runs" } else { "blocks" };
        write!(f, "`{}`, which {doing}", self.name)
    }
}

/// Ends everything in a network. The calling thread has to be one of the test's.
///
/// Returns the threads that cannot be ended: they go with the process.
pub(crate) fn tear_down(net: &Arc<Net>) -> Result<Vec<Leftover>, Error> {
    net.ended.store(true, Ordering::Release);
    let workers: Vec<_> = net.nodes.iter().flat_map(|node| node.workers()).collect();
    workers.iter().for_each(|worker| worker.stop());
    net.nodes.iter().for_each(|node| node.programs.stop());
    let processes = net.processes.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(processes) = processes {
        processes.end()?;
    }
    kill_processes(net)?;
    let ended = || workers.iter().all(|worker| worker.has_ended());
    // First what ends by itself: a server whose socket is destroyed under it would call that a failure.
    let mut leftovers = come_to_rest(net, ended)?;
    // What still blocks is told by errors, and may panic over them.
    let _told = AllowPanics::new(Arc::clone(net));
    for namespaces in net.all_namespaces() {
        let _inside =
            enter(namespaces, Depth::Network).doing(|| "enter a namespace of a test that has ended")?;
        if has_sockets().doing(|| "count the sockets of a test that has ended")? {
            let diag = DiagSocket::open().doing(|| "open a socket of sock_diag")?;
            diag.destroy_all().doing(|| "destroy the sockets of a test that has ended")?;
        }
    }
    if !leftovers.is_empty() {
        leftovers = come_to_rest(net, ended)?;
    }
    for node in &net.nodes {
        if let Some(socket) = node.take_route_socket() {
            forget_neighbours(&socket)?;
        }
    }
    Ok(leftovers)
}

/// Whether the calling thread's network namespace has TCP or UDP sockets left, by the kernel's own counters.
///
/// A list of the connections costs 0.2 ms for each family, since it is taken from a table of all namespaces.
fn has_sockets() -> io::Result<bool> {
    let four = fs::read_to_string("/proc/thread-self/net/sockstat")?;
    // Absent where the kernel has no IPv6.
    let six = fs::read_to_string("/proc/thread-self/net/sockstat6").unwrap_or_default();
    Ok(four.lines().chain(six.lines()).any(|line| {
        line.split_once(": inuse ").is_some_and(|(protocol, counts)| {
            (protocol.starts_with("TCP") || protocol.starts_with("UDP"))
                && !counts.starts_with("0 ")
                && counts != "0"
        })
    }))
}

/// The neighbours of all namespaces share one table, of 1,024 entries by default (`gc_thresh3`, arp(7)).
fn forget_neighbours(socket: &RouteSocket) -> Result<(), Error> {
    Ok(socket.flush_neighbours()?)
}

/// What the children of this process that were waited for have used, in page faults: no child ends without one, so it
/// tells whether one was reaped meanwhile, and may have left children of its own behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reaped(c_long);

impl Reaped {
    pub(crate) fn by_now() -> Self {
        // getrusage(2) cannot fail with these arguments.
        Self(getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| usage.minor_page_faults()))
    }
}

/// Kills the processes that are in a test's namespaces, whoever started them.
fn kill_processes(net: &Net) -> Result<(), Error> {
    // A process that has no child and reaped none has started none.
    if !sys::process::has_children() && Reaped::by_now() == net.reaped {
        return Ok(());
    }
    let is_ours = |inode: u64| net.all_namespaces().any(|own| own.inodes().contains(&inode));
    processes::end_all(is_ours, Ticks::LAST)
}

/// Whether a link of /proc names a network namespace of the test. A thread that has ended or cannot be read is not in.
fn is_inside(net: &Net, link: &str) -> bool {
    processes::inode(link).is_some_and(|found| net.all_namespaces().any(|own| own.inode() == found))
}

/// Waits until the test's other threads have ended or block, and panics have been looked at.
fn come_to_rest(net: &Net, workers_ended: impl Fn() -> bool) -> Result<Vec<Leftover>, Error> {
    let started = Instant::now();
    let own = gettid().as_raw();
    let mut pause = Duration::from_micros(20);
    let mut rested = 0;
    loop {
        let threads = threads_inside(net, own).doing(|| "list the threads of the test")?;
        let at_rest = threads.iter().all(|(_, leftover)| !leftover.spins);
        // Seen twice, lest a thread be between two system calls.
        rested = if at_rest && net.witness.is_quiet() { rested + 1 } else { 0 };
        let waited = started.elapsed();
        if threads.is_empty() && net.witness.is_quiet() {
            return Ok(Vec::new());
        }
        if (rested >= 3 && (workers_ended() || waited > PATIENCE / 5)) || waited > PATIENCE {
            for (tid, leftover) in &threads {
                if leftover.spins {
                    make_idle(*tid)?;
                }
            }
            return Ok(threads.into_iter().map(|(_, leftover)| leftover).collect());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(2));
    }
}

fn make_idle(tid: i32) -> Result<(), Error> {
    match sys::process::make_idle(tid) {
        // It has ended meanwhile.
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        result => result.doing(|| format!("make the thread {tid} of an ended test idle")),
    }
}

/// The threads of this process that are in the test's namespaces, but for one.
fn threads_inside(net: &Net, own: i32) -> io::Result<Vec<(i32, Leftover)>> {
    let inside = processes::numbers("/proc/self/task")?
        .filter(|&tid| tid != own && is_inside(net, &format!("/proc/self/task/{tid}/ns/net")));
    Ok(inside
        .filter_map(|tid| {
            // proc_pid_stat(5): "tid (name) state …"; the name may hold parentheses. A thread that ended has no file.
            let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            match rest.as_bytes().first()? {
                b'Z' | b'X' => None,
                state => Some((tid, Leftover { name: name.to_owned(), spins: *state == b'R' })),
            }
        })
        .collect())
}

/// What is kept of an emptied namespace until it is released.
enum Held {
    Node(#[expect(dead_code, reason = "held, not used")] Arc<Namespaces>),
    Switch(#[expect(dead_code, reason = "held, not used")] Arc<OwnedFd>),
}

static HELD: Mutex<VecDeque<Held>> = Mutex::new(VecDeque::new());

/// Keeps the namespaces of an ended test, and releases the oldest ones beyond the bound.
pub(crate) fn hold(net: &Net) {
    for namespaces in net.all_namespaces() {
        registry::remove(namespaces);
    }
    let most = MOST_HELD.min(gate::for_held() / 3);
    let released: Vec<Held> = {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(net.all_namespaces().map(|namespaces| Held::Node(Arc::clone(namespaces))));
        held.extend(net.switch.iter().map(|switch| Held::Switch(Arc::clone(switch))));
        let excess = held.len().saturating_sub(most);
        held.drain(..excess).collect()
    };
    drop(released);
}
