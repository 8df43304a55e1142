//! Interfaces that code of a test makes, moves and deletes by itself: faults hold there as well, and nowhere else.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd as _};
use std::thread;

use netns_test::{Fault, Network, Node, netns_test};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
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

/// Of the node's interface with this index, or of a new one.
fn request(node: &Node, message: u16, index: u32, attributes: &[Vec<u8>]) {
    const CREATE: u16 = 0x400;
    const REQUEST_WITH_ANSWER: u16 = 5;
    let flags = REQUEST_WITH_ANSWER | if index == 0 { CREATE } else { 0 };
    let mut body = [&[0; 4][..], &index.to_ne_bytes(), &[0; 8]].concat();
    body.extend(attributes.concat());
    let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(message.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    let mut answer = [0; 2048];
    node.enter(|| {
        let netlink =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)
                .expect("everybody has it");
        send(netlink.as_raw_fd(), &bytes, MsgFlags::empty()).expect("the kernel takes it");
        recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
    });
    let errno = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    assert_eq!(errno, 0, "the kernel refuses: {}", io::Error::from_raw_os_error(-errno));
}

fn delete(node: &Node, interface: &str) -> io::Result<()> {
    request(node, libc::RTM_DELLINK, node.interface(interface)?.index(), &[]);
    Ok(())
}

fn move_away(node: &Node, interface: &str, to: impl AsFd) -> io::Result<()> {
    request(node, libc::RTM_NEWLINK, node.interface(interface)?.index(), &[namespace(to)]);
    Ok(())
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

/// A way from one node to another, by addresses of a link that both know.
struct Way {
    from: UdpSocket,
    to: UdpSocket,
}

impl Way {
    async fn open(from: (&Node, IpAddr), to: (&Node, IpAddr)) -> io::Result<Self> {
        let way = Self { from: from.0.bind_udp((from.1, 0)).await?, to: to.0.bind_udp((to.1, 0)).await? };
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
    let hold = network.hold([&a, &b], [&c])?;
    way.send(4).await?;
    a.wait_until("a packet that waits", |_| Ok(hold.held() == 1)).await?;
    hold.release()?;
    assert_eq!(way.next().await?, 4);
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
    let hold = c.interface("eth0")?.hold()?;
    way.send(4).await?;
    b.wait_until("a packet that waits", |_| Ok(hold.held() == 1)).await?;
    hold.release()?;
    assert_eq!(way.next().await?, 4);
    Ok(())
}
