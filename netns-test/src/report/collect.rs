//! From the kernel to data.
//!
//! On a thread of its own, so that neither a panic nor a hang here can touch the test: whoever asks gives up after a while.

use std::collections::{HashMap, HashSet};
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use netns_test_model::graph::Wire;
use nix::libc;
use nix::unistd::gettid;

use super::data::{Counters, Direction, Host, Line, Program, Snapshot, Socket, Thread};
use super::{Names, signs, threads};
use crate::error::{Doing, Error};
use crate::log::Entry;
use crate::namespace::{Depth, Namespaces, enter};
use crate::netlink::nftables::{NftSocket, Stop};
use crate::netlink::{DiagSocket, RouteSocket, state};
use crate::network::Net;
use crate::node::NodeState;
use crate::plan::{NodePlan, Plan};
use crate::{gateway, processes, sys, worker};

/// How many lines of each program are kept for the page.
const LINES: usize = 1000;

/// And how many of all programs and events together.
const MOST_LINES: usize = 10_000;

/// How long a collection may take. Hosts that are not reached by then are left out.
const BUDGET: Duration = Duration::from_secs(2);

/// How long the result is waited for. Only a kernel or a machine that is stuck needs longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Collects the plan and the state of a network as they are now; `body` is the body's thread, wanted where running threads are to be told.
pub(super) fn collect(net: &Arc<Net>, body: Option<i32>) -> Result<(Plan, Snapshot), Error> {
    aside(net, move |net| {
        let nodes = net.nodes();
        let plan = net.plan_of(&nodes);
        let snapshot = look(net, &nodes, &plan, body);
        Ok((plan, snapshot))
    })
}

/// Collects the names of all interfaces.
pub(super) fn names(net: &Arc<Net>) -> Result<Names, Error> {
    aside(net, |net| {
        let mut names = Names::new();
        for node in net.nodes() {
            let operation = || format!("list the interfaces of `{}`", node.name());
            let _inside = enter(&node.namespaces, Depth::Network).doing(operation)?;
            let links = RouteSocket::open().and_then(|socket| socket.links()).doing(operation)?;
            names.extend(links.into_iter().map(|link| ((node.name().to_owned(), link.index), link.name)));
        }
        Ok(names)
    })
}

/// Does it on a thread of its own, in the body's namespaces.
fn aside<T: Send + 'static>(
    net: &Arc<Net>,
    work: impl FnOnce(&Arc<Net>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    // No channel: that one parks the thread, and could take the wake-up of an executor that parks it as well.
    let result = Arc::new((Mutex::new(None), Condvar::new()));
    let (inside, tell) = (Arc::clone(net), Arc::clone(&result));
    worker::spawn_in("netns-test".to_owned(), Arc::clone(&net.body), move |settled| {
        let seen = settled.and_then(|()| work(&inside));
        *tell.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        tell.1.notify_all();
    })?;
    let slot = result.0.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = result.1.wait_timeout_while(slot, PATIENCE, |slot| slot.is_none());
    let (mut slot, _) = waited.unwrap_or_else(PoisonError::into_inner);
    slot.take().unwrap_or_else(|| {
        let cause = format!("there was no answer within {} s", PATIENCE.as_secs());
        Err(Error::because("collect the state of the network", cause))
    })
}

fn look(net: &Net, nodes: &[Arc<NodeState>], plan: &Plan, body: Option<i32>) -> Snapshot {
    let started = Instant::now();
    let mut snapshot = Snapshot::default();
    let owners = Owners::find(net, nodes);
    let own = [(None, &net.body)];
    let places =
        own.into_iter().chain(nodes.iter().enumerate().map(|(index, node)| (Some(index), &node.namespaces)));
    for (node, namespaces) in places {
        if started.elapsed() > BUDGET {
            let seen = snapshot.hosts.iter().filter(|host| host.node.is_some()).count();
            snapshot.gaps.push(format!(
                "only {seen} of {} nodes were looked at: more would have taken longer than {} s",
                nodes.len(),
                BUDGET.as_secs()
            ));
            break;
        }
        let name = || node.map_or("the body", |node: usize| nodes[node].name());
        let planned = node.map(|node| &plan.nodes[node]);
        let mut host_gaps = Vec::new();
        match host(net, node, planned, namespaces, &owners, &mut host_gaps) {
            Ok(host) => {
                snapshot.hosts.push(host);
                snapshot.gaps.extend(host_gaps.iter().map(|gap| format!("{gap} of {}", name())));
            }
            Err(error) => snapshot.gaps.push(format!("the state of {}: {error}", name())),
        }
    }
    if let Some(body) = body {
        match running(net, nodes, body, &snapshot) {
            Ok(threads) => snapshot.threads = threads,
            Err(error) => snapshot.gaps.push(format!("the threads of the test: {error}")),
        }
        // That of a node which has left is dropped.
        let tasks = net.tasks.unfinished().into_iter().filter_map(|task| {
            let node = nodes.iter().position(|node| node.name() == task.node)?;
            Some((node, task.place.to_string(), task.since.elapsed()))
        });
        snapshot.tasks = tasks.collect();
    }
    for (index, node) in nodes.iter().enumerate() {
        snapshot.deaths.extend(node.programs.failures().into_iter().map(|text| (index, text)));
        let lines = node.programs.log(LINES).into_iter();
        let line = |(time, source, text)| Line { time, node: Some(index), source, text };
        snapshot.log.extend(lines.map(line));
    }
    let events = net.log.entries().into_iter().map(|Entry { time, node, source, text }| {
        // One that has left is told with the body.
        let node = node.and_then(|name| nodes.iter().position(|node| *node.name() == *name));
        Line { time, node, source, text }
    });
    snapshot.log.extend(events);
    snapshot.log.sort_by_key(|line| line.time);
    // Of many programs together.
    snapshot.log.drain(..snapshot.log.len().saturating_sub(MOST_LINES));
    snapshot.faults = net.faults.lines(net.clock.started.get().copied());
    snapshot.programs = owners.programs;
    snapshot.directions = directions(net);
    let is_random = |direction: &Direction| direction.wire == Wire::User && direction.conditions.are_random();
    snapshot.seed = snapshot.directions.iter().any(is_random).then_some(net.links.seed);
    snapshot
}

fn directions(net: &Net) -> Vec<Direction> {
    // What was unplugged does nothing any more.
    let now = net.now();
    let links = now.wiring.conditioned.iter().enumerate().filter(|(_, link)| link.ends != [None, None]);
    let all = links.flat_map(|(link, _)| [(link, 0), (link, 1)]);
    let seen = all.map(|(link, side)| Direction {
        link,
        side,
        conditions: net.links.conditions(link, side),
        wire: net.links.wire(link),
        tally: net.links.tally(link, side),
    });
    seen.collect()
}

fn host(
    net: &Net,
    node: Option<usize>,
    planned: Option<&NodePlan>,
    namespaces: &Namespaces,
    owners: &Owners,
    gaps: &mut Vec<String>,
) -> io::Result<Host> {
    let forwards = planned.is_some_and(|node| node.forwards);
    let _inside = enter(namespaces, Depth::Network)?;
    let socket = RouteSocket::open()?;
    let mut counters = Counters::default();
    for file in ["snmp", "netstat", "snmp6"] {
        // snmp6 is absent where the kernel has no IPv6.
        counters.read(&fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default());
    }
    let sockets = match crate::teardown::has_sockets()? {
        true => DiagSocket::open()?.all_sockets()?,
        false => Vec::new(),
    };
    let is_off =
        |path: &str| fs::read_to_string(crate::sysctl::path(path)).is_ok_and(|text| text.trim() == "0");
    let families = [
        (net.plan.family.has_v4(), "IPv4", "ipv4/ip_forward"),
        (net.plan.family.has_v6(), "IPv6", "ipv6/conf/all/forwarding"),
    ];
    let forwards_not = families.iter().filter(|(has, _, path)| forwards && *has && is_off(path));
    Ok(Host {
        node,
        links: socket.links()?,
        addresses: socket.addresses()?,
        routes: socket.routes()?,
        neighbours: socket.neighbours()?,
        sockets: sockets.iter().map(|socket| owned(socket, owners)).collect(),
        counters,
        forwards_not: forwards_not.map(|(_, family, _)| *family).collect(),
        stopped: match planned {
            Some(node) => stopped(net, node)?,
            None => Vec::new(),
        },
        // A program that changes them all the time is no reason to show nothing else.
        stops: stops(net, planned).unwrap_or_else(|error| {
            gaps.push(format!("the rules ({error})"));
            Vec::new()
        }),
    })
}

/// The rules and policies of the test's own that stop packets; the calling thread is in the node.
fn stops(net: &Net, planned: Option<&NodePlan>) -> io::Result<Vec<Stop>> {
    let gateway = planned.and_then(|node| node.gateway.as_ref());
    let is_own = |stop: &Stop| {
        #[cfg(feature = "kubernetes")]
        let is_of_cluster = net.plan.cluster.is_some() && crate::kubernetes::is_own(stop.family, &stop.table);
        #[cfg(not(feature = "kubernetes"))]
        let is_of_cluster = {
            let _has_no_cluster = net;
            false
        };
        is_of_cluster || gateway.is_some_and(|gateway| gateway::is_own(gateway, stop.family, &stop.table))
    };
    match NftSocket::open().and_then(|socket| socket.stops()) {
        Ok(mut stops) => {
            stops.retain(|stop| !is_own(stop));
            Ok(stops)
        }
        // A kernel without nf_tables has no rules; without nfnetlink, the request itself makes no sense to it.
        Err(error)
            if error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(libc::EINVAL) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// What the rules of a node have stopped; the calling thread is in it.
fn stopped(net: &Net, node: &NodePlan) -> io::Result<Vec<gateway::Stopped>> {
    match &node.gateway {
        Some(gateway) => gateway::stopped(gateway),
        #[cfg(feature = "kubernetes")]
        None => crate::kubernetes::stopped(&net.kubernetes, &node.name),
        #[cfg(not(feature = "kubernetes"))]
        None => {
            let _has_no_cluster = net;
            Ok(Vec::new())
        }
    }
}

fn owned(socket: &state::Socket, owners: &Owners) -> Socket {
    Socket {
        protocol: socket.protocol,
        state: socket.state,
        local: socket.local,
        remote: socket.remote,
        recv_queue: socket.recv_queue,
        send_queue: socket.send_queue,
        inode: socket.inode,
        owner: owners.of(socket.inode),
    }
}

/// Who holds which sockets.
struct Owners {
    /// Sockets of this process.
    own: HashSet<u32>,
    /// Sockets of other processes: an index into `programs`.
    others: HashMap<u32, usize>,
    programs: Vec<Program>,
}

impl Owners {
    fn find(net: &Net, nodes: &[Arc<NodeState>]) -> Self {
        let own = sockets_of("/proc/self").into_iter().map(|(_, inode)| inode).collect();
        let mut owners = Self { own, others: HashMap::new(), programs: Vec::new() };
        // A process without children has no programs anywhere.
        if !sys::process::has_children() {
            return owners;
        }
        let me = nix::unistd::getpid().as_raw();
        // A process that ends meanwhile, or cannot be read, is left out.
        for id in processes::numbers("/proc").into_iter().flatten().filter(|&id| id != me) {
            let Some(inode) = processes::inode(&format!("/proc/{id}/ns/net")) else { continue };
            let Some(place) = place(net, nodes, inode) else { continue };
            let Ok(name) = fs::read_to_string(format!("/proc/{id}/comm")) else { continue };
            let index = owners.programs.len();
            let sockets = sockets_of(&format!("/proc/{id}"));
            owners.others.extend(sockets.into_iter().map(|(_, inode)| (inode, index)));
            owners.programs.push(Program { node: place, id, name: name.trim().to_owned() });
        }
        owners
    }

    fn of(&self, inode: u32) -> Option<String> {
        match self.others.get(&inode) {
            // What a program inherited from the test it holds as well.
            Some(&index) => {
                let program = &self.programs[index];
                Some(format!("program `{}` ({})", program.name, program.id))
            }
            None => self.own.contains(&inode).then(|| "this test".to_owned()),
        }
    }
}

/// The place of the test that has this network namespace: a node's index, or the body's own.
fn place(net: &Net, nodes: &[Arc<NodeState>], inode: u64) -> Option<Option<usize>> {
    let node = nodes.iter().position(|node| node.namespaces.inode() == inode);
    node.map(Some).or_else(|| (net.body.inode() == inode).then_some(None))
}

/// The descriptors of a process that are sockets, and the inodes of these.
fn sockets_of(process: &str) -> Vec<(RawFd, u32)> {
    let Ok(entries) = fs::read_dir(format!("{process}/fd")) else { return Vec::new() };
    let sockets = entries.flatten().filter_map(|entry| {
        let descriptor = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        Some((descriptor, target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?))
    });
    sockets.collect()
}

/// The threads of this process that are in the test's namespaces, but for the calling one.
fn running(net: &Net, nodes: &[Arc<NodeState>], body: i32, snapshot: &Snapshot) -> io::Result<Vec<Thread>> {
    let own = gettid().as_raw();
    let descriptors: HashMap<RawFd, u32> = sockets_of("/proc/self").into_iter().collect();
    let file = |descriptor: RawFd| match descriptors.get(&descriptor) {
        Some(inode) => {
            let sockets = snapshot.hosts.iter().flat_map(|host| &host.sockets);
            let socket = sockets.into_iter().find(|socket| socket.inode == *inode)?;
            let remote = socket.remote.map(|remote| format!(" → {}", signs::address(remote)));
            Some(format!(
                "{} {}{}",
                socket.protocol,
                signs::address(socket.local),
                remote.unwrap_or_default()
            ))
        }
        None => {
            fs::read_link(format!("/proc/self/fd/{descriptor}")).ok().map(|path| path.display().to_string())
        }
    };
    let mut threads = Vec::new();
    for tid in processes::numbers("/proc/self/task")?.filter(|&tid| tid != own) {
        let task = format!("/proc/self/task/{tid}");
        // A thread that ends meanwhile is left out.
        let Some(node) =
            processes::inode(&format!("{task}/ns/net")).and_then(|inode| place(net, nodes, inode))
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("{task}/stat")) else { continue };
        // proc_pid_stat(5): "tid (name) state …"; the name may hold parentheses.
        let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else {
            continue;
        };
        let state = rest.chars().next().unwrap_or('?');
        if matches!(state, 'Z' | 'X') {
            continue;
        }
        let syscall = fs::read_to_string(format!("{task}/syscall")).unwrap_or_default();
        let full = threads::name(tid).unwrap_or_else(|| name.to_owned());
        if threads::is_ours(&full, nodes.iter().map(|node| node.name())) {
            continue;
        }
        let doing = threads::doing(state, &syscall, file);
        let thread = Thread { node, name: (tid != body).then(|| threads::own_name(full)), doing };
        threads.push((tid != body, node, thread));
    }
    // The body first, then node by node.
    threads.sort_by_key(|(is_other, node, _)| (*is_other, *node));
    Ok(threads.into_iter().map(|(.., thread)| thread).collect())
}
