//! What links on the kernel's wire were declared to do is what the kernel then has: its qdiscs, with their own numbers.

use std::io;
use std::os::fd::AsRawFd as _;

use netns_test::{Conditions, Interface, Network, Node, Queue, Rate, netns_test};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// A queueing discipline, as the kernel tells of it.
#[derive(Debug)]
struct Qdisc {
    handle: u32,
    kind: String,
    options: Vec<u8>,
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// An attribute of netlink's among others.
fn find(mut bytes: &[u8], kind: u16) -> Option<&[u8]> {
    while bytes.len() >= 4 {
        let length = usize::from(half(bytes, 0));
        // `NLA_TYPE_MASK`
        if half(bytes, 2) & 0x3fff == kind {
            return Some(&bytes[4..length]);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn words(bytes: &[u8], kind: u16) -> Option<Vec<u32>> {
    Some(find(bytes, kind)?.chunks_exact(4).map(|four| word(four, 0)).collect())
}

/// What an interface sends through, in the order of a packet.
fn qdiscs(interface: &Interface) -> Vec<Qdisc> {
    let mut found = Vec::new();
    interface.node().enter(|| {
        let netlink =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)
                .expect("everybody has it");
        // nlmsghdr: length, RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, sequence, port; and a tcmsg of zeros.
        let header = [&36_u32.to_ne_bytes()[..], &38_u16.to_ne_bytes(), &0x301_u16.to_ne_bytes(), &[0; 28]];
        send(netlink.as_raw_fd(), &header.concat(), MsgFlags::empty()).expect("the kernel takes it");
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length =
                recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the kernel answers");
            let mut messages = &buffer[..length];
            while messages.len() >= 16 {
                let (message, behind) = messages.split_at(word(messages, 0) as usize);
                messages = behind;
                match half(message, 4) {
                    // NLMSG_DONE, RTM_NEWQDISC.
                    3 => return,
                    36 if word(message, 20) == interface.index() => {
                        found.push(qdisc(word(message, 24), &message[36..]))
                    }
                    36 => {}
                    other => panic!("the kernel answers with {other}"),
                }
            }
        }
    });
    // The kernel tells the root first, and then in no order.
    found.sort_by_key(|qdisc: &Qdisc| qdisc.handle);
    found
}

/// Its TCA_KIND and TCA_OPTIONS.
fn qdisc(handle: u32, attributes: &[u8]) -> Qdisc {
    let text = find(attributes, 1).expect("its kind");
    Qdisc {
        handle,
        kind: String::from_utf8_lossy(&text[..text.len() - 1]).into_owned(),
        options: find(attributes, 2).unwrap_or_default().to_vec(),
    }
}

/// Of tbf, `struct tc_tbf_qopt` of linux/pkt_sched.h: the rate in bytes, the bytes that may wait, and those that may leave at once.
fn tbf(qdisc: &Qdisc) -> (u32, u32, u32) {
    assert_eq!(qdisc.kind, "tbf");
    let parameters = words(&qdisc.options, 1).expect("tbf's parameters");
    let (rate, limit, ticks) = (parameters[2], parameters[6], parameters[7]);
    // Told as the time that they take, in ticks of 64 ns.
    let burst = f64::from(ticks) * 64e-9 * f64::from(rate);
    (rate, limit, burst.round() as u32)
}

const FRAME: u32 = 1514;

#[netns_test(
    nodes(a, b),
    links(a -- b { rate = 10mbit, queue = 50ms, wire = kernel }, b -> a { rate = 2mbit, queue = 20packets }),
)]
fn a_rate_and_its_queue_are_those_of_tbf(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (there, back) = (a.interface("eth0")?, b.interface("eth0")?);
    let only = |interface: &Interface| match &qdiscs(interface)[..] {
        [one] => tbf(one),
        several => panic!("{several:?}"),
    };
    assert_eq!(only(&there), (1_250_000, 62_500 + FRAME, 6250));
    assert_eq!(only(&back), (250_000, 21 * FRAME, 2 * FRAME));
    let link = network.link(&a, &b)?;
    let slow = Conditions::new().rate(Rate::mbit(1)).queue(Queue::Bytes(9000));
    let slow = link.set_conditions(slow)?;
    assert_eq!(only(&there), (125_000, 9000 + FRAME, 2 * FRAME));
    slow.repair()?;
    assert_eq!(only(&there), (1_250_000, 62_500 + FRAME, 6250));
    Ok(())
}

/// A share of packets, as netem has it.
fn share(percent: f64) -> u32 {
    (percent / 100.0 * f64::from(u32::MAX)).round() as u32
}

/// Of netem what both directions below have, and what it says of loss.
fn netem(qdisc: &Qdisc) -> (u32, Option<Vec<u32>>) {
    assert_eq!(qdisc.kind, "netem");
    let (first, more) = qdisc.options.split_at(24);
    let long =
        |kind| find(more, kind).map(|value| u64::from_ne_bytes(value.try_into().expect("eight bytes")));
    // TCA_NETEM_LATENCY64 and TCA_NETEM_JITTER64.
    assert_eq!((long(10), long(11)), (Some(20_000_000), Some(2_000_000)));
    let [duplicate, reorder, corrupt] = [2.0, 3.0, 4.0].map(share);
    assert_eq!((word(first, 16), word(first, 12)), (duplicate, 1), "of each packet, by chance");
    // TCA_NETEM_REORDER and TCA_NETEM_CORRUPT, with no correlation.
    assert_eq!(words(more, 3), Some(vec![reorder, 0]));
    assert_eq!(words(more, 4), Some(vec![corrupt, 0]));
    // TCA_NETEM_LOSS, and in it NETEM_LOSS_GE.
    (word(first, 8), find(more, 5).and_then(|model| words(model, 2)))
}

#[netns_test(
    nodes(a, b),
    links(
        a -- b {
            delay = 20ms, jitter = 2ms, loss = 1%, duplicate = 2%, reorder = 3%, corrupt = 4%, rate = 10mbit, queue = 50ms,
            wire = kernel
        },
        b -> a { loss = burst(enter = 1%, leave = 25%) },
    ),
)]
#[ignore = "wants a kernel with netem"]
fn kernel_has_the_conditions_of_each_direction(a: Node, b: Node) -> io::Result<()> {
    for (node, loss) in [(&a, (share(1.0), None)), (&b, (0, Some(vec![share(1.0), share(25.0), 0, 0])))] {
        let found = qdiscs(&node.interface("eth0")?);
        let [apart, outer, inner] = &found[..] else { panic!("{found:?}") };
        assert_eq!(apart.kind, "tbf", "it takes large packets apart, before netem");
        assert_eq!(netem(outer), loss, "{node}", node = node.name());
        assert_eq!(tbf(inner), (1_250_000, 62_500 + FRAME, 6250));
    }
    Ok(())
}
