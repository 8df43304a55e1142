//! The least that connected nodes cost: namespaces, interfaces, one IPv4 address each. No mounts, no names, no IPv6, and
//! nothing waits until packets pass.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::netlink::{Interface, LOOPBACK, Requests, Socket};
use crate::variant::{Held, Variant, Work, at_once, on_own_thread};
use crate::{addresses, identity, sys};

/// The index of each node's one interface.
const INDEX: u32 = 2;

static HELD: Held = Held::new();

pub(crate) struct Least;

impl Variant for Least {
    fn name(&self) -> &'static str {
        "least"
    }

    fn takes_part(&self, work: Work, _round: usize) -> bool {
        // An echo without readiness would sometimes take a second, and a program needs no network.
        !matches!(work, Work::Echo | Work::Program { .. } | Work::Cluster { .. })
    }

    fn perform(&self, work: Work) -> io::Result<Duration> {
        let start = Instant::now();
        match work {
            Work::Isolated => {
                HELD.hold(on_own_thread(isolated)?);
                Ok(start.elapsed())
            }
            Work::Ready(nodes) => Ok(held(nodes)? - start),
            Work::Echo | Work::Program { .. } | Work::Cluster { .. } => {
                Err(io::ErrorKind::Unsupported.into())
            }
            Work::AtOnce => at_once(|| held(2)),
        }
    }
}

fn held(nodes: u16) -> io::Result<Instant> {
    let (done, namespaces) = on_own_thread(|| network(nodes))?;
    HELD.hold(namespaces);
    Ok(done)
}

fn isolated() -> io::Result<Option<OwnedFd>> {
    identity::raise()?;
    sys::unshare(libc::CLONE_NEWNET)?;
    let mut requests = Requests::default();
    requests.up(LOOPBACK);
    Socket::open()?.perform(&requests)?;
    sys::own_namespace("net").map(Some)
}

/// Makes a network and leaves the calling thread in one of its namespaces. Returns the moment at which it was done.
pub(crate) fn network(nodes: u16) -> io::Result<(Instant, Vec<OwnedFd>)> {
    identity::raise()?;
    let namespace = || {
        sys::unshare(libc::CLONE_NEWNET)?;
        Ok::<_, io::Error>((sys::own_namespace("net")?, Socket::open()?))
    };
    let made = (0..nodes).map(|_| namespace()).collect::<io::Result<Vec<_>>>()?;
    let interface = |node: u16| Interface {
        name: "eth0",
        index: INDEX,
        mac: addresses::mac(node),
        up: false,
        namespace: made.get(usize::from(node)).map(|(namespace, _)| namespace),
    };
    let mut requests = Requests::default();
    let mut switch = None;
    if nodes == 2 {
        requests.veth(&interface(0), &interface(1));
        made[0].1.perform(&requests)?;
    } else {
        let (namespace, socket) = namespace()?;
        lower(&mut requests);
        for node in 0..nodes {
            requests.macvlan(LOWER, &interface(node));
        }
        socket.perform(&requests)?;
        switch = Some(namespace);
    }
    for (node, (_, socket)) in (0..).zip(&made) {
        let mut requests = Requests::default();
        requests.address(INDEX, addresses::v4(node), addresses::PREFIX_V4);
        requests.up(INDEX);
        socket.perform(&requests)?;
    }
    let done = Instant::now();
    Ok((done, made.into_iter().map(|(namespace, _)| namespace).chain(switch).collect()))
}

/// The index of the interface of the switch's namespace that the macvlans are made over.
pub(crate) const LOWER: u32 = 2;

/// Makes what macvlans need beneath them: a veth pair, both ends in the switch's namespace, up.
pub(crate) fn lower(requests: &mut Requests) {
    let mac = |last| [0x02, 0, 0, 0xff, 0, last];
    requests.veth(
        &Interface { name: "lower", index: LOWER, mac: mac(0), up: true, namespace: None },
        &Interface { name: "upper", index: LOWER + 1, mac: mac(1), up: false, namespace: None },
    );
    requests.up(LOWER + 1);
}
