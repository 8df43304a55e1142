//! Interfaces that code of a test makes, moves and deletes by itself: faults hold there as well, and nowhere else.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::thread;

use netns_test::{Fault, Hold, Interface, Network, Node, netns_test};
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

// What programs such as ip(8) ask of the kernel, by rtnetlink(7).

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len() as u16;
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn namespace(namespace: impl AsFd) -> Vec<u8> {
    attribute(libc::IFLA_NET_NS_FD, &namespace.as_fd().as_raw_fd().to_ne_bytes())
}

const NAME: u16 = libc::IFLA_IFNAME;

/// Of a kind, with what its driver is to know.
fn kind(kind: &str, data: &[u8]) -> Vec<u8> {
    attribute(libc::IFLA_LINKINFO, &[attribute(1, kind.as_bytes()), attribute(2, data)].concat())
}

/// An `ifinfomsg`.
fn header(index: u32, flags: u32) -> Vec<u8> {
    [0, index, flags, flags].map(u32::to_ne_bytes).concat()
}

/// Has the kernel do something in the calling thread's namespace.
fn request(message: u16, body: &[Vec<u8>]) {
    const REQUEST_ACK_CREATE: u16 = 0x405;
    let body = body.concat();
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend([message, REQUEST_ACK_CREATE].map(u16::to_ne_bytes).concat());
    bytes.extend([0; 8]);
    bytes.extend(body);
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)
            .expect("everybody has it");
    send(netlink.as_raw_fd(), &bytes, MsgFlags::empty()).expect("the kernel takes it");
    let mut answer = [0; 2048];
    recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
    let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    assert_eq!(errno, 0, "the kernel refuses: {}", io::Error::from_raw_os_error(-errno));
}

fn delete(node: &Node, interface: &str) -> io::Result<()> {
    let index = node.interface(interface)?.index();
    node.enter(|| request(libc::RTM_DELLINK, &[header(index, 0)]));
    Ok(())
}

fn move_away(node: &Node, interface: &str, to: impl AsFd) -> io::Result<()> {
    let index = node.interface(interface)?.index();
    node.enter(|| request(libc::RTM_NEWLINK, &[header(index, 0), namespace(to)]));
    Ok(())
}

/// A veth with one end here and the other in another namespace, both with this index.
fn veth(node: &Node, here: &str, there: &str, index: u32, to: impl AsFd) {
    let peer = [header(index, 0), attribute(NAME, there.as_bytes()), namespace(to)].concat();
    let veth = [header(index, 0), attribute(NAME, here.as_bytes()), kind("veth", &attribute(1, &peer))];
    node.enter(|| request(libc::RTM_NEWLINK, &veth));
}

/// A cable `x0` – `x1` between two nodes, with these addresses.
fn cable(a: &Node, b: &Node) -> io::Result<[IpAddr; 2]> {
    veth(a, "x0", "x1", 7, b.netns_fd());
    with_addresses([&a.interface("x0")?, &b.interface("x1")?])
}

/// A macvlan `m0` on the `eth0` of both nodes.
fn macvlans(a: &Node, b: &Node) -> io::Result<[IpAddr; 2]> {
    const BRIDGE: u32 = 4;
    for node in [a, b] {
        // On the switch its `eth0` hears questions for the address as well, and is not to answer.
        node.set_sysctl("net.ipv4.conf.all.arp_ignore", 1)?;
        let lower = attribute(libc::IFLA_LINK, &node.interface("eth0")?.index().to_ne_bytes());
        let mode = attribute(1, &BRIDGE.to_ne_bytes());
        let macvlan = [header(0, 0), attribute(NAME, b"m0"), lower, kind("macvlan", &mode)];
        node.enter(|| request(libc::RTM_NEWLINK, &macvlan));
    }
    with_addresses([&a.interface("m0")?, &b.interface("m0")?])
}

fn with_addresses(ends: [&Interface; 2]) -> io::Result<[IpAddr; 2]> {
    let addresses = [[10, 77, 0, 1], [10, 77, 0, 2]].map(IpAddr::from);
    for (end, address) in ends.into_iter().zip(addresses) {
        end.add_address(address, 24)?;
        end.up()?;
    }
    // Its other end was off.
    ends[0].up()?;
    Ok(addresses)
}

/// A network namespace of the node's own, as `ip netns add` makes.
fn own_namespace(node: &Node) -> File {
    let made = node.enter(|| {
        thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("it has the capabilities");
            File::open("/proc/thread-self/ns/net").expect("it is there")
        })
    });
    made.join().expect("it makes one")
}

/// Does something in such a namespace.
fn inside<R: Send + 'static>(
    node: &Node,
    own: &File,
    work: impl FnOnce() -> R + Send + 'static,
) -> io::Result<R> {
    let own = own.try_clone()?;
    let thread = node.enter(|| {
        thread::spawn(move || {
            setns(own, CloneFlags::CLONE_NEWNET).expect("it has the capabilities");
            work()
        })
    });
    Ok(thread.join().expect("it does not panic"))
}

/// A way from one node to another, by addresses of a link that both know.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
}

impl Way {
    async fn open(from: (&Node, IpAddr), to: (&Node, IpAddr)) -> io::Result<Self> {
        Self::between(from.0.bind_udp((from.1, 0)).await?, to.0.bind_udp((to.1, 0)).await?).await
    }

    async fn between(from: UdpSocket, to: UdpSocket) -> io::Result<Self> {
        let way = Self { from, to };
        way.works().await?;
        // The answer, so that the other end knows its neighbour, too.
        way.to.send_to(&[0], way.from.local_addr()?).await?;
        way.from.recv(&mut [0]).await?;
        Ok(way)
    }

    async fn declared(from: &Node, to: &Node) -> io::Result<Self> {
        Self::open((from, from.ip()), (to, to.ip())).await
    }

    async fn send(&self, what: u8) -> io::Result<()> {
        assert_eq!(self.from.send_to(&[what], self.to.local_addr()?).await?, 1);
        Ok(())
    }

    async fn next(&self) -> io::Result<u8> {
        let mut what = [0];
        self.to.recv(&mut what).await?;
        Ok(what[0])
    }

    async fn works(&self) -> io::Result<()> {
        self.send(1).await?;
        assert_eq!(self.next().await?, 1);
        Ok(())
    }

    /// Nothing passes until the fault is repaired.
    async fn is_cut_by(&self, fault: Fault) -> io::Result<()> {
        self.send(2).await?;
        fault.repair()?;
        self.send(3).await?;
        // It would have come before.
        assert_eq!(self.next().await?, 3);
        Ok(())
    }
}

#[netns_test(nodes = 3, topology = mesh)]
async fn what_is_deleted_needs_no_fault(a: Node, b: Node, c: Node, network: Network) -> io::Result<()> {
    let gone = a.interface("eth0")?;
    let way = Way::open(
        (&a, a.interface("eth1")?.addresses()?[0].ip),
        (&c, c.interface("eth0")?.addresses()?[0].ip),
    )
    .await?;
    delete(&a, "eth0")?;
    way.is_cut_by(a.isolate()?).await?;
    way.is_cut_by(network.partition([&a, &b], [&c])?).await?;
    is_held_by(&way, &a, network.hold([&a, &b], [&c])?).await?;
    for node in [&a, &b] {
        node.crash().await?.restart()?;
    }
    // One that is asked for by itself has to be there.
    for refused in [gone.cut().map(drop), gone.cut_incoming().map(drop), gone.hold().map(drop)] {
        let error = refused.expect_err("there is nothing to cut").to_string();
        assert!(error.contains("`a/eth0`") && error.ends_with("`a/eth0` is gone"), "{error}");
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn what_is_deleted_while_a_fault_lasts_is_over(a: Node, b: Node, network: Network) -> io::Result<()> {
    let isolated = a.isolate()?;
    let partition = network.partition([&a], [&b])?;
    let hold = network.hold([&a], [&b])?;
    delete(&b, "eth0")?;
    isolated.repair()?;
    partition.repair()?;
    hold.release()?;
    a.isolate()?.repair().map_err(io::Error::from)
}

#[netns_test(nodes = 3)]
async fn what_is_moved_away_from_a_switch_needs_no_fault(
    a: Node,
    b: Node,
    c: Node,
    network: Network,
) -> io::Result<()> {
    let way = Way::declared(&b, &c).await?;
    let container = own_namespace(&a);
    move_away(&a, "eth0", &container)?;
    let _faults = (a.isolate()?, network.partition([&a], [&b])?, network.hold([&a], [&c])?);
    way.works().await?;
    a.crash().await?.restart()?;
    // Others are held by their addresses at all interfaces that are there.
    is_held_by(&way, &b, c.interface("eth0")?.hold()?).await
}

/// What is sent waits for the release.
async fn is_held_by(way: &Way, node: &Node, hold: Hold) -> io::Result<()> {
    way.send(4).await?;
    node.wait_until("a packet that waits", |_| Ok(hold.held() == 1)).await?;
    hold.release()?;
    assert_eq!(way.next().await?, 4);
    Ok(())
}

/// What holds for declared networks holds where code of the test has made a way from `a` to `b`.
async fn faults_hold_there([a, b, c]: [&Node; 3], made: [&str; 2], at: [IpAddr; 2]) -> io::Result<()> {
    let network = a.network()?;
    let (way, back) = (Way::open((a, at[0]), (b, at[1])).await?, Way::open((b, at[1]), (a, at[0])).await?);
    let ends = [a.interface(made[0])?, b.interface(made[1])?];
    let is_cable = made[0] == "x0";
    for (way, [from, to]) in [(&way, [0, 1]), (&back, [1, 0])] {
        let nodes = [a, b];
        way.is_cut_by(nodes[from].isolate()?).await?;
        way.is_cut_by(ends[from].cut()?).await?;
        // Elsewhere what is sent vanishes where it arrives, which may be after the repair.
        if is_cable {
            way.is_cut_by(nodes[to].isolate()?).await?;
            way.is_cut_by(ends[to].cut()?).await?;
        }
        let (from, to) = (nodes[from], nodes[to]);
        way.is_cut_by(network.partition([a], [b, c])?).await?;
        way.is_cut_by(network.partition_oneway([from], [to])?).await?;
        let _others =
            (network.partition_oneway([to], [from])?, network.partition([c], [a, b])?, c.isolate()?);
        way.works().await?;
    }
    // Not even a RST leaves a node that crashes.
    let listener = b.listen_tcp((at[1], 80)).await?;
    let _open = a.connect_tcp((at[1], 80)).await?;
    let (mut accepted, _) = listener.accept().await?;
    let crashed = a.crash().await?;
    assert_eq!(accepted.try_read(&mut [0]).map_err(|error| error.kind()), Err(io::ErrorKind::WouldBlock));
    assert_eq!(accepted.write(b"hello").await?, 5);
    crashed.restart()?;
    let error = accepted.read(&mut [0]).await.expect_err("the node has been started again");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    // From here on, a thread passes on what is sent: a cut that ends may let pass what was sent before.
    for (from, to) in [((a, at[0]), (b, at[1])), ((b, at[1]), (a, at[0]))] {
        let way = Way::open(from, to).await?;
        is_held_by(&way, a, network.hold([a], [b])?).await?;
        if is_cable {
            is_held_by(&way, a, ends[0].hold()?).await?;
            is_held_by(&way, a, ends[1].hold()?).await?;
        }
        let _others = network.hold([c], [a, b])?;
        way.works().await?;
    }
    // What stands on another interface, and was held, passes that one's holds: it comes last.
    let way = Way::open((a, at[0]), (b, at[1])).await?;
    is_held_by(&way, a, ends[1].hold()?).await?;
    Ok(())
}

#[netns_test(nodes = 3)]
async fn faults_hold_at_a_cable_beside_a_switch(a: Node, b: Node, c: Node) -> io::Result<()> {
    faults_hold_there([&a, &b, &c], ["x0", "x1"], cable(&a, &b)?).await
}

#[netns_test(nodes = 3, topology = line)]
async fn faults_hold_at_a_cable_beside_links(a: Node, c: Node, b: Node) -> io::Result<()> {
    faults_hold_there([&a, &b, &c], ["x0", "x1"], cable(&a, &b)?).await
}

#[netns_test(nodes = 3)]
async fn faults_hold_at_a_macvlan_on_a_switch(a: Node, b: Node, c: Node) -> io::Result<()> {
    faults_hold_there([&a, &b, &c], ["m0", "m0"], macvlans(&a, &b)?).await
}

#[netns_test(nodes = 3)]
async fn what_a_node_has_within_itself_stays(a: Node, b: Node, c: Node, network: Network) -> io::Result<()> {
    const INDEX: u32 = 7;
    let container = own_namespace(&a);
    veth(&a, "y0", "y1", INDEX, &container);
    let end = a.interface("y0")?;
    end.add_address([10, 78, 0, 1], 24)?;
    end.up()?;
    let theirs = inside(&a, &container, || {
        request(libc::RTM_NEWLINK, &[header(INDEX, libc::IFF_UP as u32)]);
        // ifaddrmsg: family, length of the prefix, flags, scope; index.
        let address = [[2, 24, 0, 0], INDEX.to_ne_bytes()].concat();
        let local = attribute(libc::IFA_LOCAL, &[10, 78, 0, 2]);
        request(libc::RTM_NEWADDR, &[address, local]);
        let socket = std::net::UdpSocket::bind("10.78.0.2:0")?;
        socket.set_nonblocking(true)?;
        io::Result::Ok(socket)
    })??;
    end.up()?;
    let way = Way::between(a.bind_udp("10.78.0.1:0").await?, UdpSocket::from_std(theirs)?).await?;
    let outside = Way::declared(&b, &a).await?;
    let _faults = (a.isolate()?, network.partition([&a], [&b, &c])?, network.hold([&a], [&b])?);
    way.works().await?;
    outside.send(4).await?;
    // Whoever wants it cut says so.
    way.is_cut_by(end.cut()?).await?;
    let error = end.hold().expect_err("its other end is out of reach").to_string();
    assert!(error.contains("`a/y0`") && error.contains("its other end is in no other node"), "{error}");
    a.crash().await?.restart()?;
    Ok(())
}
