//! The same topology as people build it in scripts: one `ip` command per step. Namespaces, interfaces, addresses and
//! readiness only: no mounts, host names or sysctls.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{MS_PRIVATE, MS_REC};

use crate::variant::{Held, Variant, Work, at_once, echo, on_own_thread};
use crate::{addresses, identity, sys};

/// With many nodes it takes a hundred times as long as the others, so it does a fifth of the rounds.
const SELDOM: usize = 5;

static HELD: Held = Held::new();

pub(crate) struct Ip;

impl Ip {
    /// `None` where the program is missing.
    pub(crate) fn find() -> Option<Self> {
        sys::has_program("ip").then_some(Self)
    }
}

impl Variant for Ip {
    fn name(&self) -> &'static str {
        "ip"
    }

    fn takes_part(&self, work: Work, round: usize) -> bool {
        match work {
            Work::Ready(10..) => round.is_multiple_of(SELDOM),
            Work::Program { .. } | Work::Cluster { .. } => false,
            _ => true,
        }
    }

    fn perform(&self, work: Work) -> io::Result<Duration> {
        on_own_thread(|| {
            // Not measured: a /run of its own, so that `ip netns` leaves nothing on the machine, and a network namespace
            // to which it may return, as without root it may not to the host's.
            identity::raise_with_programs()?;
            sys::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET)?;
            sys::mount(c"none", c"/", c"", MS_REC | MS_PRIVATE)?;
            sys::mount(c"tmpfs", c"/run", c"tmpfs", 0)?;
            HELD.hold([sys::own_namespace("mnt")?, sys::own_namespace("net")?]);
            let start = Instant::now();
            match work {
                Work::Isolated => {
                    let name = namespace()?;
                    ip(&format!("-n {name} link set lo up"))?;
                    Ok(start.elapsed())
                }
                Work::Ready(nodes) => {
                    network(nodes)?;
                    Ok(start.elapsed())
                }
                Work::Echo => {
                    let names = network(2)?;
                    echo(&open(&names[0])?, &open(&names[1])?)?;
                    Ok(start.elapsed())
                }
                Work::AtOnce => at_once(|| network(2).map(|_| Instant::now())),
                Work::Program { .. } | Work::Cluster { .. } => Err(io::ErrorKind::Unsupported.into()),
            }
        })
    }
}

fn network(count: u16) -> io::Result<Vec<String>> {
    let names = (0..count).map(|_| namespace()).collect::<io::Result<Vec<_>>>()?;
    if let [one, other] = names.as_slice() {
        ip(&format!("link add eth0 netns {one} type veth peer name eth0 netns {other}"))?;
    } else {
        let switch = namespace()?;
        ip(&format!("-n {switch} link add lower type veth peer name upper"))?;
        ip(&format!("-n {switch} link set lower up"))?;
        ip(&format!("-n {switch} link set upper up"))?;
        for name in &names {
            ip(&format!("-n {switch} link add link lower name eth0 netns {name} type macvlan mode bridge"))?;
        }
    }
    for (node, name) in (0..).zip(&names) {
        let (v4, v6) = (addresses::v4(node), addresses::v6(node));
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} address add {v4}/{} dev eth0", addresses::PREFIX_V4))?;
        ip(&format!("-n {name} address add {v6}/{} dev eth0 nodad", addresses::PREFIX_V6))?;
        ip(&format!("-n {name} link set eth0 up"))?;
    }
    for name in &names {
        while !ip(&format!("-n {name} link show eth0"))?.contains("state UP") {}
    }
    Ok(names)
}

fn namespace() -> io::Result<String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("bench{}", COUNT.fetch_add(1, Ordering::Relaxed));
    ip(&format!("netns add {name}"))?;
    Ok(name)
}

fn open(name: &str) -> io::Result<OwnedFd> {
    Ok(File::open(Path::new("/run/netns").join(name))?.into())
}

fn ip(arguments: &str) -> io::Result<String> {
    let output = Command::new("ip").args(arguments.split(' ')).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("`ip {arguments}` failed: {}", text.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
