//! The floor: the work that netns-test does, by bare system calls. A namespace for the body; network, mount and UTS
//! namespaces for it and for every node; names, a sysfs of their own, sysctls, both address families, readiness.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use libc::{CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS, MS_BIND, MS_PRIVATE, MS_REC};

use crate::least::{LOWER, lower};
use crate::netlink::{Interface, LOOPBACK, Requests, Socket};
use crate::variant::{Held, PROGRAM, Variant, Work, at_once, echo, on_own_thread};
use crate::{addresses, cluster, identity, sys};

/// The index of each node's one interface.
const INDEX: u32 = 2;
const KINDS: libc::c_int = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS;
/// The files that steer the resolver, and what they hold; the hosts are filled in.
const RESOLVER: [(&str, &str); 2] =
    [("resolv.conf", "nameserver 127.0.0.1\n"), ("nsswitch.conf", "hosts: files dns\n")];
/// What no test wants to inherit from the host, and what it wants at once.
const SYSCTLS: [(&str, &str); 4] = [
    ("/proc/sys/net/ipv6/conf/all/accept_dad", "0"),
    ("/proc/sys/net/ipv6/conf/default/accept_dad", "0"),
    ("/proc/sys/net/ipv6/conf/all/accept_ra", "0"),
    ("/proc/sys/net/ipv6/conf/default/accept_ra", "0"),
];

static HELD: Held = Held::new();

pub(crate) struct Floor;

impl Variant for Floor {
    fn name(&self) -> &'static str {
        "floor"
    }

    fn takes_part(&self, _work: Work, _round: usize) -> bool {
        true
    }

    fn perform(&self, work: Work) -> io::Result<Duration> {
        let start = Instant::now();
        match work {
            Work::Isolated => {
                on_own_thread(|| network(0, 0, |_| Ok(())))?;
                Ok(start.elapsed())
            }
            Work::Ready(nodes) => Ok(on_own_thread(|| network(nodes, 0, |_| Ok(())))? - start),
            // And the host beside the nodes.
            Work::Cluster { nodes, pods } => {
                Ok(on_own_thread(|| network(nodes + 1, pods, |_| Ok(())))? - start)
            }
            Work::Echo => {
                on_own_thread(|| {
                    network(2, 0, |nodes| echo(&nodes[0].namespaces.net, &nodes[1].namespaces.net))
                })?;
                Ok(start.elapsed())
            }
            Work::AtOnce => at_once(|| network(2, 0, |_| Ok(()))),
            // Outside of every network: what a program itself takes.
            Work::Program { .. } => {
                let status = Command::new(PROGRAM).stdin(Stdio::null()).status()?;
                assert!(status.success());
                Ok(start.elapsed())
            }
        }
    }
}

/// The three namespaces of a node or of the body.
pub(crate) struct Namespaces {
    pub(crate) net: OwnedFd,
    pub(crate) mnt: OwnedFd,
    uts: OwnedFd,
}

impl Namespaces {
    /// Those that the calling thread is in.
    fn own() -> io::Result<Self> {
        let own = sys::own_namespace;
        Ok(Self { net: own("net")?, mnt: own("mnt")?, uts: own("uts")? })
    }
}

pub(crate) struct Node {
    pub(crate) namespaces: Namespaces,
    pub(crate) socket: Socket,
}

/// Makes a network, with so many pods on all nodes but the last, runs the body in its namespace, and holds what was made. Returns
/// the moment at which all nodes could reach each other. The calling thread is not to be used for anything else afterwards.
fn network(count: u16, pods: u16, body: impl FnOnce(&[Node]) -> io::Result<()>) -> io::Result<Instant> {
    identity::raise()?;
    sys::unshare(KINDS)?;
    base(count)?;
    let base = Namespaces::own()?;
    configure_self("body")?;
    let nodes = (0..count).map(|node| make(node, &base)).collect::<io::Result<Vec<_>>>()?;
    let switch = if count > 2 { Some(star(&nodes)?) } else { None };
    if let [one, other] = nodes.as_slice() {
        let mut requests = Requests::default();
        requests.veth(&interface(0, one), &Interface { up: false, ..interface(1, other) });
        one.socket.perform(&requests)?;
    }
    for (node, made) in (0..).zip(&nodes) {
        let mut requests = Requests::default();
        if node == 1 && count == 2 {
            requests.up(INDEX);
        }
        requests.address(INDEX, addresses::v4(node), addresses::PREFIX_V4);
        requests.address(INDEX, addresses::v6(node), addresses::PREFIX_V6);
        made.socket.perform(&requests)?;
    }
    let hosts = if pods > 0 { &nodes[..nodes.len() - 1] } else { &[] };
    let pods = cluster::pods(hosts, pods, &base)?;
    if !nodes.is_empty() {
        sys::enter(&base.net, CLONE_NEWNET)?;
        sys::enter(&base.uts, CLONE_NEWUTS)?;
        sys::enter(&base.mnt, CLONE_NEWNS)?;
    }
    own_sysfs()?;
    // The kernel's worker activates interfaces; it may want this core.
    if let Some((_, socket)) = &switch {
        while !(socket.is_ready(LOWER, &[])? && socket.is_ready(LOWER + 1, &[])?) {
            thread::yield_now();
        }
    }
    for (node, made) in (0..).zip(&nodes) {
        while !made.socket.is_ready(INDEX, &[addresses::v4(node), addresses::v6(node)])? {
            thread::yield_now();
        }
    }
    cluster::await_ready(&pods, &nodes)?;
    let ready = Instant::now();
    body(&nodes)?;
    let pods = pods.into_iter().map(|pod| pod.node);
    let made = nodes.into_iter().chain(pods).map(|node| node.namespaces).chain([base]);
    HELD.hold(
        made.flat_map(|Namespaces { net, mnt, uts }| [net, mnt, uts])
            .chain(switch.map(|(namespace, _)| namespace)),
    );
    Ok(ready)
}

/// The mounts that the body and all nodes share: a tmpfs, and files of it over those that steer the resolver. The tmpfs
/// is put where each one's sysfs will cover it.
fn base(count: u16) -> io::Result<()> {
    sys::mount(c"none", c"/", c"", MS_REC | MS_PRIVATE)?;
    let has_control_groups = Path::new("/sys/fs/cgroup").exists();
    if has_control_groups {
        sys::change_directory(c"/sys/fs/cgroup")?;
    }
    sys::mount(c"tmpfs", c"/sys", c"tmpfs", 0)?;
    if has_control_groups {
        fs::create_dir("/sys/cgroup")?;
        sys::mount(c".", c"/sys/cgroup", c"", MS_BIND | MS_REC)?;
    }
    let mut hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    for node in 0..count {
        let name = host_name(node);
        hosts.push_str(&format!("{} {name}\n{} {name}\n", addresses::v4(node), addresses::v6(node)));
    }
    fs::write("/sys/hosts", hosts)?;
    sys::mount(c"/sys/hosts", c"/etc/hosts", c"", MS_BIND)?;
    for ((file, text), (source, target)) in RESOLVER
        .into_iter()
        .zip([(c"/sys/resolv.conf", c"/etc/resolv.conf"), (c"/sys/nsswitch.conf", c"/etc/nsswitch.conf")])
    {
        fs::write(Path::new("/sys").join(file), text)?;
        if Path::new("/etc").join(file).exists() {
            sys::mount(source, target, c"", MS_BIND)?;
        }
    }
    Ok(())
}

/// Mounts the sysfs of the calling thread's network namespace, and puts the control groups back into it.
fn own_sysfs() -> io::Result<()> {
    let has_control_groups = Path::new("/sys/cgroup").exists();
    if has_control_groups {
        sys::change_directory(c"/sys/cgroup")?;
    }
    sys::mount(c"sysfs", c"/sys", c"sysfs", 0)?;
    if has_control_groups { sys::mount(c".", c"/sys/fs/cgroup", c"", MS_BIND | MS_REC) } else { Ok(()) }
}

/// Makes a node and leaves the calling thread in it.
fn make(node: u16, base: &Namespaces) -> io::Result<Node> {
    if node > 0 {
        // Not from the node before: mounts would stack up.
        sys::enter(&base.mnt, CLONE_NEWNS)?;
    }
    make_here(&host_name(node))
}

/// Makes a node of the mounts that the calling thread has.
pub(crate) fn make_here(name: &str) -> io::Result<Node> {
    sys::unshare(KINDS)?;
    own_sysfs()?;
    let socket = configure_self(name)?;
    Ok(Node { namespaces: Namespaces::own()?, socket })
}

/// What the body and the nodes have in common.
fn configure_self(name: &str) -> io::Result<Socket> {
    sys::set_host_name(name)?;
    for (path, value) in SYSCTLS {
        fs::write(path, value)?;
    }
    let socket = Socket::open()?;
    let mut requests = Requests::default();
    requests.up(LOOPBACK);
    socket.perform(&requests)?;
    Ok(socket)
}

/// Makes a switch of macvlans with a port for each node; returns its namespace, and a socket of it.
fn star(nodes: &[Node]) -> io::Result<(OwnedFd, Socket)> {
    sys::unshare(CLONE_NEWNET)?;
    let mut requests = Requests::default();
    lower(&mut requests);
    for (node, made) in (0..).zip(nodes) {
        requests.macvlan(LOWER, &interface(node, made));
    }
    let socket = Socket::open()?;
    socket.perform(&requests)?;
    Ok((sys::own_namespace("net")?, socket))
}

fn interface(node: u16, made: &Node) -> Interface<'_> {
    let namespace = Some(&made.namespaces.net);
    Interface { name: "eth0", index: INDEX, mac: addresses::mac(node), up: true, namespace }
}

fn host_name(node: u16) -> String {
    format!("node-{node}")
}
