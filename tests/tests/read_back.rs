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

/// What the kernel answers in a node to a request for all of a kind: of each answer, what stands behind the header of netlink.
fn dump(node: &Node, request: u16, length: u32) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    node.enter(|| {
        let netlink =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute)
                .expect("everybody has it");
        // nlmsghdr: length, type, NLM_F_REQUEST | NLM_F_DUMP, sequence, port; and zeros.
        let header = [&length.to_ne_bytes()[..], &request.to_ne_bytes(), &0x301_u16.to_ne_bytes()];
        let mut message = header.concat();
        message.resize(length as usize, 0);
        send(netlink.as_raw_fd(), &message, MsgFlags::empty()).expect("the kernel takes it");
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length =
                recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()).expect("the kernel answers");
            let mut messages = &buffer[..length];
            while messages.len() >= 16 {
                let (message, behind) = messages.split_at(word(messages, 0) as usize);
                messages = behind;
                match half(message, 4) {
                    // NLMSG_DONE
                    3 => return,
                    // RTM_NEW… is two less than RTM_GET….
                    answer if answer == request - 2 => found.push(message[16..].to_vec()),
                    other => panic!("the kernel answers with {other}"),
                }
            }
        }
    });
    found
}

/// What an interface sends through, in the order of a packet.
fn qdiscs(interface: &Interface) -> Vec<Qdisc> {
    // RTM_GETQDISC, with a tcmsg.
    let all = dump(interface.node(), 38, 36);
    let own = all.iter().filter(|message| word(message, 4) == interface.index());
    let mut found: Vec<Qdisc> = own.map(|message| qdisc(word(message, 8), &message[20..])).collect();
    // The kernel tells the root first, and then in no order.
    found.sort_by_key(|qdisc| qdisc.handle);
    found
}

/// Of how many segments TCP makes the largest packet that it sends by an interface (`IFLA_GSO_MAX_SEGS`).
fn segments(interface: &Interface) -> u32 {
    // RTM_GETLINK, with an ifinfomsg.
    let all = dump(interface.node(), 18, 32);
    let own = all.iter().find(|message| word(message, 4) == interface.index()).expect("the interface");
    words(&own[16..], 40).expect("every interface has it")[0]
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

/// The longest frame that passes before netem, and how much of the rate's leaves at once.
fn sizes(interface: &Interface) -> (u32, u32) {
    let found = qdiscs(interface);
    let [apart, _netem, rate] = &found[..] else { panic!("{found:?}") };
    assert_eq!(apart.kind, "tbf");
    (words(&apart.options, 1).expect("tbf's parameters")[6], tbf(rate).2)
}

#[netns_test(nodes(a, b), links(a -- b { delay = 20ms, rate = 10mbit, wire = kernel }), family = v4)]
#[ignore = "wants a kernel with netem"]
async fn kernel_takes_frames_of_another_mtu(a: Node, b: Node, network: Network) -> io::Result<()> {
    let [here, there] = [a.interface("eth0")?, b.interface("eth0")?];
    // A header of Ethernet, and two tags.
    let frame = |mtu: u32| mtu + 14 + 8;
    assert_eq!(sizes(&here), (frame(1500), 6250));
    [&here, &there].into_iter().try_for_each(|interface| interface.set_mtu(9000))?;
    assert_eq!(sizes(&here), (frame(9000), 2 * 9014));
    let (from, to) = (a.bind_udp(9).await?, b.bind_udp(9).await?);
    let mut buffer = [0; 9000];
    // From here on the neighbour is known, and nothing waits for its address.
    from.send_to(&[0; 1], (b.ip(), 9)).await?;
    to.recv(&mut buffer).await?;
    from.send_to(&[1; 8000], (b.ip(), 9)).await?;
    here.set_mtu(600)?;
    assert_eq!(sizes(&here), (frame(600), 2 * 9014), "a long one may wait there");
    from.send_to(&[2; 500], (b.ip(), 9)).await?;
    for length in [8000, 500] {
        assert_eq!(to.recv(&mut buffer).await?, length);
    }
    assert_eq!(segments(&here), 1);
    let bare = network.link(&a, &b)?.set_conditions(Conditions::new().rate(Rate::mbit(10)))?;
    assert_eq!((qdiscs(&here).len(), segments(&here)), (1, 65_535), "as every interface");
    bare.repair()?;
    assert_eq!((qdiscs(&here).len(), segments(&here)), (3, 1));
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { rate = 1mbit, queue = 100ms, wire = kernel }), family = v4)]
async fn a_smaller_mtu_keeps_nothing_from_leaving(a: Node, b: Node) -> io::Result<()> {
    let (from, to) = (a.bind_udp(9).await?, b.bind_udp(9).await?);
    let mut buffer = [0; 1500];
    from.send_to(&[0; 1], (b.ip(), 9)).await?;
    to.recv(&mut buffer).await?;
    for _ in 0..5 {
        from.send_to(&[0; 1400], (b.ip(), 9)).await?;
    }
    a.interface("eth0")?.set_mtu(600)?;
    for _ in 0..5 {
        assert_eq!(to.recv(&mut buffer).await?, 1400);
    }
    Ok(())
}
