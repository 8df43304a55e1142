//! The end of a network: emptied at once (no process, no socket, no neighbour), released late (`held`).

use std::ffi::c_long;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{Shutdown, UnixAddr, getpeername, getsockname, shutdown};
use nix::sys::stat::fstat;
use nix::unistd::gettid;

use crate::error::{Doing, Error};
use crate::namespace::{Depth, Namespaces, enter};
use crate::netlink::{DiagSocket, Request, RouteSocket};
use crate::network::Net;
use crate::node::Node;
use crate::panics::AllowPanics;
use crate::processes::{Among, Children};
use crate::wire::THREAD;
use crate::{mounts, panics, processes, sys};

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
    net.packets.end();
    net.ended.store(true, Ordering::Release);
    let nodes = net.nodes();
    let workers: Vec<_> = nodes.iter().flat_map(|node| node.all_workers()).collect();
    workers.iter().for_each(|worker| worker.stop());
    nodes.iter().for_each(|node| drop(node.programs.end()));
    nodes.iter().for_each(|node| node.end_stations());
    let processes = net.processes.lock().unwrap_or_else(PoisonError::into_inner).take();
    // What cannot be ended is told in the end: the rest is torn down all the same.
    let ended_processes = processes.map_or(Ok(()), |processes| processes.end());
    let killed = ended_processes.and(kill_processes(net));
    let ended = || workers.iter().all(|worker| worker.has_ended());
    // First what ends by itself: a server whose socket is destroyed under it would call that a failure.
    let all = net.all_namespaces();
    let is_inside = |inode: u64| all.iter().any(|own| own.inode() == inode);
    let mut leftovers = come_to_rest(net, is_inside, 3, ended)?;
    // Packets went on until now. What keeps it from ending is a test's own code, which decides on packets.
    if !net.links.stop() {
        leftovers.push(Leftover { name: THREAD.to_owned(), spins: false });
    }
    // What still blocks is told by errors, and may panic over them.
    let _told = AllowPanics::new(Arc::clone(net));
    for namespaces in net.all_namespaces() {
        let _inside =
            enter(&namespaces, Depth::Network).doing(|| "enter a namespace of a test that has ended")?;
        if has_sockets().doing(|| "count the sockets of a test that has ended")? {
            let diag = DiagSocket::open().doing(|| "open a socket of sock_diag")?;
            diag.destroy_all().doing(|| "destroy the sockets of a test that has ended")?;
        }
    }
    if !leftovers.is_empty() {
        shut_down_sockets(net)?;
        // The last word: what is about to end is not left behind.
        leftovers = come_to_rest(net, is_inside, 12, ended)?;
    }
    for node in &nodes {
        if let Some(socket) = node.take_route_socket() {
            forget_neighbours(&socket)?;
        }
    }
    killed.map(|()| leftovers)
}

/// Ends everything in one node, so that it can be started again. The calling thread has to be one of the test's, and elsewhere.
///
/// Returns the threads that cannot be ended.
pub(crate) fn empty(net: &Net, node: &Node) -> Result<Vec<String>, Error> {
    let namespaces = node.namespaces();
    let workers = node.stop_work();
    let ended = || workers.iter().all(|worker| worker.has_ended());
    let programs = node.end_programs();
    let is_here = |inode: u64| namespaces.inodes().contains(&inode);
    let kill = || processes::end_all(is_here, Among::All, Children::LeftToTheirParents);
    if sys::process::has_children() {
        kill()?;
    }
    let is_inside = |inode: u64| inode == namespaces.inode();
    let mut leftovers = come_to_rest(net, is_inside, 3, ended)?;
    // What a thread has started at the last moment.
    if sys::process::has_children() {
        kill()?;
    }
    programs.iter().try_for_each(|program| program.await_end())?;
    {
        let _inside = enter(namespaces, Depth::Whole).doing(|| "enter a node that has crashed")?;
        if !workers.is_empty() {
            mounts::unbind_proc_net()?;
        }
        if has_sockets().doing(|| "count the sockets of a node that has crashed")? {
            let diag = DiagSocket::open().doing(|| "open a socket of sock_diag")?;
            diag.destroy_all().doing(|| "destroy the sockets of a node that has crashed")?;
        }
    }
    if !leftovers.is_empty() {
        leftovers = come_to_rest(net, is_inside, 12, ended)?;
    }
    forget_neighbours(&*node.route_socket().doing(|| "forget the neighbours of a node that has crashed")?)?;
    Ok(leftovers.iter().map(Leftover::to_string).collect())
}

/// Whether the calling thread's network namespace has TCP or UDP sockets left, by the kernel's own counters.
///
/// A list of the connections costs 0.2 ms for each family, since it is taken from a table of all namespaces.
pub(crate) fn has_sockets() -> io::Result<bool> {
    let four = fs::read_to_string("/proc/thread-self/net/sockstat")?;
    // Absent where the kernel has no IPv6.
    let six = match fs::read_to_string("/proc/thread-self/net/sockstat6") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    Ok(four.lines().chain(six.lines()).any(|line| {
        line.split_once(": inuse ").is_some_and(|(protocol, counts)| {
            (protocol.starts_with("TCP") || protocol.starts_with("UDP"))
                && !counts.starts_with("0 ")
                && counts != "0"
        })
    }))
}

/// Ends the calls of threads that were left behind on sockets which sock_diag does not destroy: raw, ICMP, packet and Unix
/// ones.
///
/// Such a thread is one of this process, so its sockets are among the process's descriptors.
fn shut_down_sockets(net: &Net) -> Result<(), Error> {
    let mut has_packet_sockets = Vec::new();
    let all = net.all_namespaces();
    for descriptor in processes::numbers("/proc/self/fd").doing(|| "list the descriptors of the process")? {
        // Closing the copy of a file would release the process's locks on it (fcntl_locking(2)), so nothing else is copied.
        let link = fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap_or_default();
        if !link.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
            continue;
        }
        let socket = match sys::sockets::duplicate(descriptor) {
            // Closed meanwhile.
            Err(error) if error.raw_os_error() == Some(nix::libc::EBADF) => continue,
            copy => copy.doing(|| "copy the descriptor of a socket of a test that has ended")?,
        };
        // Of a namespace where this thread has no privileges, so none of the test's.
        let Ok(namespace) = sys::sockets::namespace_of(socket.as_fd()) else { continue };
        let inode = fstat(&namespace).doing(|| "read the namespace of a socket")?.st_ino;
        let Some(own) = all.iter().find(|own| own.inode() == inode) else { continue };
        match sys::sockets::domain(socket.as_fd()).doing(|| "read the kind of a socket")? {
            nix::libc::AF_PACKET => has_packet_sockets.push((own, socket)),
            nix::libc::AF_UNIX if !has_name(&socket) => {}
            nix::libc::AF_INET | nix::libc::AF_INET6 | nix::libc::AF_UNIX => {
                match shutdown(socket.as_raw_fd(), Shutdown::Both) {
                    // Nobody is at the other end of a raw socket: calls on it return all the same (`inet_shutdown`).
                    Ok(()) | Err(Errno::ENOTCONN) => {}
                    result => result.doing(|| "shut down a socket of a test that has ended")?,
                }
            }
            _ => {}
        }
    }
    has_packet_sockets.iter().try_for_each(|(namespaces, socket)| end_packet_socket(namespaces, socket))
}

/// Whether a Unix socket or its peer has an address. A pair has none, and may be one that a library keeps for the whole process.
fn has_name(socket: &OwnedFd) -> bool {
    let named = |address: nix::Result<UnixAddr>| {
        address.is_ok_and(|address| address.path().is_some() || address.as_abstract().is_some())
    };
    named(getsockname(socket.as_raw_fd())) || named(getpeername(socket.as_raw_fd()))
}

/// A packet socket cannot be shut down. Bound to an interface that is off, it tells so to whoever waits (`packet_do_bind`).
fn end_packet_socket(namespaces: &Namespaces, socket: &OwnedFd) -> Result<(), Error> {
    const LOOPBACK: u32 = 1;
    let _inside = enter(namespaces, Depth::Network).doing(|| "enter a namespace of a test that has ended")?;
    let route = RouteSocket::open().doing(|| "open a netlink socket")?;
    route.request(Request::set_up(LOOPBACK, false), || "switch off `lo`".to_owned())?;
    match sys::sockets::bind_packet(socket.as_fd(), LOOPBACK) {
        // One of a fanout group stays bound as it is.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        result => result.doing(|| "end a packet socket of a test that has ended"),
    }
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
    let all = net.all_namespaces();
    let is_ours = |inode: u64| all.iter().any(|own| own.inodes().contains(&inode));
    processes::end_all(is_ours, Among::All, Children::Reaped)
}

/// Waits until the other threads in these network namespaces of the test have ended or block, and panics have been looked at.
///
/// Threads block when they are seen to do so this often in a row.
fn come_to_rest(
    net: &Net,
    is_inside: impl Fn(u64) -> bool,
    often: u32,
    workers_ended: impl Fn() -> bool,
) -> Result<Vec<Leftover>, Error> {
    let started = Instant::now();
    let mut quiet_since = started;
    let own = gettid().as_raw();
    let mut pause = Duration::from_micros(20);
    let mut rested = 0;
    loop {
        let list = || threads_inside(net, &is_inside, own).doing(|| "list the threads of the test");
        let mut threads = list()?;
        if threads.is_empty() {
            // A list ends early where the thread that it has come to ends meanwhile (`next_tid` in fs/proc/base.c).
            threads = list()?;
        }
        let at_rest = threads.iter().all(|(_, leftover)| !leftover.spins);
        // A panic that is caught counts as lost until that is known.
        let is_quiet = net.witness.is_quiet() || started.elapsed() > panics::PATIENCE;
        if !is_quiet {
            quiet_since = Instant::now();
        }
        // Seen more than once, lest a thread be between two system calls.
        rested = if at_rest && is_quiet { rested + 1 } else { 0 };
        let waited = quiet_since.elapsed();
        if threads.is_empty() && is_quiet {
            return Ok(Vec::new());
        }
        if (rested >= often && (workers_ended() || waited > PATIENCE / 5)) || waited > PATIENCE {
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

/// The threads of this process that are in network namespaces of these inode numbers, but for one, and those that move packets.
fn threads_inside(net: &Net, is_inside: &impl Fn(u64) -> bool, own: i32) -> io::Result<Vec<(i32, Leftover)>> {
    // A thread that has ended or cannot be read is not in.
    let inside = processes::numbers("/proc/self/task")?.filter(|&tid| {
        tid != own
            && !net.links.is_busy(tid)
            && processes::inode(&format!("/proc/self/task/{tid}/ns/net")).is_some_and(is_inside)
    });
    Ok(inside
        .filter_map(|tid| {
            // proc_pid_stat(5): "tid (name) state …"; the name may hold parentheses. A thread that ended has no file.
            let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok()?;
            let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
            match rest.as_bytes().first()? {
                b'Z' | b'X' => None,
                // One that cannot be interrupted is at work in the kernel: it closes a socket, for instance.
                state => Some((tid, Leftover { name: name.to_owned(), spins: matches!(state, b'R' | b'D') })),
            }
        })
        .collect())
}
