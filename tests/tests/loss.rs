//! Loss is what was declared, packet by packet: of datagrams, of bulk TCP and of UDP's segments, on both wires, as the receiver counts.
//!
//! On the wire in user space fates follow a fixed seed: a share that is right stays right. The kernel draws its own (before Linux 6.6 it
//! takes no seed): a sample of its wire that is outside the interval is drawn a second time, so that one in a million is outside twice.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use netns_test::{LinkDirection, Network, Node, netns_test};
use netns_test_tests::datagrams::{received, received_within, send_numbers, sockets};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How many datagrams make a sample.
const COUNT: u32 = 10_000;

/// What was lost of what was sent.
#[derive(Clone, Copy, Debug)]
struct Sample {
    lost: u64,
    of: u64,
}

impl Sample {
    /// Of datagrams that have numbers from 0 on.
    fn of_numbers(arrived: &[u32]) -> Self {
        Self { lost: u64::from(COUNT) - arrived.len() as u64, of: COUNT.into() }
    }

    fn is_within(self, percent: f64) -> Result<(), String> {
        let interval = interval(self.of, percent / 100.0);
        match interval.contains(&self.lost) {
            true => Ok(()),
            false => Err(format!("{self:?} is outside {interval:?}, for {percent} %")),
        }
    }
}

/// Between which numbers 99.9 % of binomial variables are: 0.05 % of them are smaller, and 0.05 % larger. From the distribution itself,
/// not from the normal one that comes near to it: P(k) = (n over k) p^k (1 - p)^(n - k), hence P(k) / P(k - 1) = (n - k + 1) p / (k (1 - p)).
fn interval(n: u64, p: f64) -> RangeInclusive<u64> {
    let mut log = n as f64 * (1.0 - p).ln();
    let (mut below, mut least) = (log.exp(), 0);
    for k in 1..=n {
        // All of them up to k - 1.
        if below <= 0.0005 {
            least = k;
        }
        if below >= 0.9995 {
            return least..=k - 1;
        }
        log += ((n - k + 1) as f64 / k as f64 * p / (1.0 - p)).ln();
        below += log.exp();
    }
    least..=n
}

#[test]
fn intervals_are_those_of_tables() {
    // By hand: of ten throws of a coin, 0 and 10 heads come once in 1,024 each.
    assert_eq!(interval(10, 0.5), 0..=10);
    // 11 of 11: once in 2,048.
    assert_eq!(interval(11, 0.5), 1..=10);
    // Computed with 60 digits. The normal distribution has 1000 ± 3.2905 × 30.
    assert_eq!(interval(10_000, 0.1), 903..=1100);
}

/// Asks for a sample of the kernel's chance; for a second one if it is outside.
async fn twice(percent: f64, draw: impl AsyncFn() -> io::Result<Sample>) -> io::Result<()> {
    if let Err(text) = draw().await?.is_within(percent) {
        println!("{text}; once more");
        draw().await?.is_within(percent).map_err(io::Error::other)?;
    }
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { loss = 10%, wire = user }, b -> a { loss = 2% }), seed = 1)]
async fn each_direction_loses_its_own_share(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    let link = network.link(&a, &b)?;
    let there = send_numbers((&a, &of_a), &of_b, &link.from(&a)?, COUNT).await?;
    let back = send_numbers((&b, &of_b), &of_a, &link.from(&b)?, COUNT).await?;
    Sample::of_numbers(&there).is_within(10.0).map_err(io::Error::other)?;
    Sample::of_numbers(&back).is_within(2.0).map_err(io::Error::other)?;
    assert!(there.is_sorted() && back.is_sorted());
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { loss = 10%, wire = kernel }, b -> a { loss = 2% }), seed = 1, timeout = 5min)]
#[ignore = "wants a kernel with netem"]
async fn kernel_loses_its_share_in_each_direction(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    let link = network.link(&a, &b)?;
    let draw = async |from: (&Node, &UdpSocket), to| {
        Ok(Sample::of_numbers(&send_numbers(from, to, &link.from(from.0)?, COUNT).await?))
    };
    twice(10.0, async || draw((&a, &of_a), &of_b).await).await?;
    twice(2.0, async || draw((&b, &of_b), &of_a).await).await
}

/// How many bursts of losses there are between the first datagram and the last that arrived, and how long they are on average.
fn bursts(mut arrived: Vec<u32>) -> (usize, f64) {
    // A sender that moves to another processor may overtake itself.
    arrived.sort_unstable();
    let bursts = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
    (bursts, (COUNT as usize - arrived.len()) as f64 / bursts as f64)
}

#[netns_test(nodes(a, b), links(a -- b { loss = burst(enter = 1%, leave = 25%), wire = user }), seed = 1)]
async fn bursts_are_as_long_as_declared(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    let direction = network.link(&a, &b)?.from(&a)?;
    let (count, length) = bursts(send_numbers((&a, &of_a), &of_b, &direction, COUNT).await?);
    assert!((3.0..5.0).contains(&length), "{length} packets in a burst, for 4");
    assert!((60..140).contains(&count), "{count} bursts, for 96");
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { loss = burst(enter = 1%, leave = 25%), wire = kernel }), timeout = 5min)]
#[ignore = "wants a kernel with netem"]
async fn kernel_loses_in_bursts(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    let direction = network.link(&a, &b)?.from(&a)?;
    let (count, length) = bursts(send_numbers((&a, &of_a), &of_b, &direction, COUNT).await?);
    assert!((2.5..6.0).contains(&length), "{length} packets in a burst, for 4");
    assert!((50..160).contains(&count), "{count} bursts, for 96");
    Ok(())
}

/// The segments that a node has sent over TCP, those sent again included, and those that it has received (RFC 4022: tcpOutSegs,
/// tcpRetransSegs, tcpInSegs). Linux counts a large packet as the segments in it.
fn segments(node: &Node) -> io::Result<(u64, u64)> {
    let text = node.enter(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = lines.next().zip(lines.next()).expect("names and values of TCP");
    let value = |wanted| {
        let mut both = names.split(' ').zip(values.split(' '));
        let found = both.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse::<u64>().ok());
        found.expect("the kernel has it")
    };
    Ok((value("OutSegs") + value("RetransSegs"), value("InSegs")))
}

/// Sends so many bytes over TCP, and tells what was lost of the segments that were sent.
async fn stream(from: &Node, to: &Node, bytes: usize) -> io::Result<Sample> {
    let (sent, received) = (segments(from)?.0, segments(to)?.1);
    let listener = to.listen_tcp((to.ip(), 80)).await?;
    let mut out = from.connect_tcp((to.ip(), 80)).await?;
    let (mut inc, _) = listener.accept().await?;
    let mut arrived = Vec::with_capacity(bytes);
    // When both have read the end, all of it has been acknowledged, and nothing is sent again.
    tokio::try_join!(
        async {
            out.write_all(&vec![7; bytes]).await?;
            out.shutdown().await?;
            out.read_to_end(&mut Vec::new()).await
        },
        async {
            inc.read_to_end(&mut arrived).await?;
            inc.shutdown().await
        }
    )?;
    assert_eq!(arrived.len(), bytes);
    // What has been sent before arrives before, if it does.
    let (of_from, of_to) = (from.bind_udp(9).await?, to.bind_udp(9).await?);
    loop {
        of_from.send_to(b"last", (to.ip(), 9)).await?;
        if let Ok(arrived) = timeout(Duration::from_millis(300), of_to.recv(&mut [0; 8])).await {
            arrived?;
            break;
        }
    }
    let (sent, received) = (segments(from)?.0 - sent, segments(to)?.1 - received);
    println!("{received} of {sent} segments have arrived");
    Ok(Sample { lost: sent - received, of: sent })
}

#[netns_test(nodes(a, b), links(a -- b { loss = 1%, wire = user }), seed = 3)]
async fn tcp_loses_single_packets(a: Node, b: Node, network: Network) -> io::Result<()> {
    let sample = stream(&a, &b, 14 << 20).await?;
    assert!(sample.of >= 10_000, "{sample:?}");
    sample.is_within(1.0).map_err(io::Error::other)?;
    // The wire says the same.
    let tally = network.link(&a, &b)?.from(&a)?.tally()?;
    assert!(
        tally.overrun == 0 && tally.lost >= sample.lost && tally.sent >= sample.of,
        "{tally:?} {sample:?}"
    );
    Ok(())
}

/// What others have put into large packets is not passed on as such.
#[netns_test(nodes(a, b), routers(r), links(a -- r, r -- b { loss = 1%, wire = user }), seed = 3)]
async fn tcp_that_is_passed_on_loses_single_packets(a: Node, b: Node) -> io::Result<()> {
    stream(&a, &b, 14 << 20).await?.is_within(1.0).map_err(io::Error::other)
}

#[netns_test(nodes(a, b), links(a -- b { loss = 1%, wire = kernel }), timeout = 5min)]
#[ignore = "wants a kernel with netem"]
async fn kernel_loses_single_packets_of_tcp(a: Node, b: Node) -> io::Result<()> {
    twice(1.0, async || stream(&a, &b, 6 << 20).await).await
}

#[netns_test(nodes(a, b), routers(r), links(a -- r, r -- b { loss = 1%, wire = kernel }), timeout = 5min)]
#[ignore = "wants a kernel with netem"]
async fn kernel_loses_single_packets_of_tcp_that_is_passed_on(a: Node, b: Node) -> io::Result<()> {
    twice(1.0, async || stream(&a, &b, 6 << 20).await).await
}

/// How many segments are in what is sent at once.
const SEGMENTS: u32 = 40;

/// Has the kernel cut what is sent into datagrams of 1000 bytes (udp(7), `UDP_SEGMENT`).
fn segment(socket: &UdpSocket) {
    let segment: libc::c_int = 1000;
    // SAFETY: the kernel reads one int.
    let set = unsafe {
        let (value, length) = ((&raw const segment).cast(), size_of_val(&segment) as libc::socklen_t);
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, length)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Sends numbered segments, many at once, and tells which arrive; `None` where the kernel refuses.
async fn send_segments(
    (from, out): (&Node, &UdpSocket),
    to: &UdpSocket,
    direction: &LinkDirection,
) -> io::Result<Option<Vec<u32>>> {
    let sent = || direction.tally().map_or(u64::MAX, |tally| tally.sent);
    let mut arrived = Vec::new();
    for first in (0..COUNT).step_by(SEGMENTS as usize) {
        let before = sent();
        let of_segment = |number: u32| number.to_be_bytes().into_iter().chain([7; 996]);
        let many: Vec<u8> = (first..first + SEGMENTS).flat_map(of_segment).collect();
        match out.send(&many).await {
            // As older kernels have it where checksums are not postponed.
            Err(error) if error.raw_os_error() == Some(libc::EIO) && first == 0 => return Ok(None),
            sent => assert_eq!(sent?, many.len()),
        }
        let seen = |_: &Node| Ok(sent() >= before.saturating_add(SEGMENTS.into()));
        from.wait_until("the wire to have seen the segments", seen).await?;
        arrived.extend(received_within(to, Duration::from_millis(1)).await?);
    }
    arrived.extend(received(to).await?);
    arrived.sort_unstable();
    Ok(Some(arrived))
}

/// Whether each segment has a fate of its own: if not, what is lost is followed by what is lost.
#[track_caller]
fn are_single(arrived: &[u32]) {
    let lost: Vec<u32> = (0..COUNT).filter(|number| arrived.binary_search(number).is_err()).collect();
    let followed = lost.windows(2).filter(|pair| pair[1] - pair[0] == 1).count();
    // One in a hundred of them is.
    assert!(followed <= lost.len() / 4, "{followed} of {lost:?}");
}

/// Whether this kernel takes segments where checksums are not postponed: since Linux 6.11.
fn takes_segments() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("it has a name");
    let mut numbers = release.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(11))
}

#[netns_test(nodes(a, b), links(a -- b { loss = 1%, wire = user }), seed = 3)]
async fn segments_of_udp_are_lost_one_by_one(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    segment(&of_a);
    let arrived = send_segments((&a, &of_a), &of_b, &network.link(&a, &b)?.from(&a)?).await?;
    assert_eq!(arrived.is_some(), takes_segments());
    if let Some(arrived) = arrived {
        are_single(&arrived);
        Sample::of_numbers(&arrived).is_within(1.0).map_err(io::Error::other)?;
    }
    Ok(())
}

#[netns_test(nodes(a, b), links(a -- b { loss = 1%, wire = kernel }), timeout = 5min)]
#[ignore = "wants a kernel with netem"]
async fn kernel_loses_segments_of_udp_one_by_one(a: Node, b: Node, network: Network) -> io::Result<()> {
    let (of_a, of_b) = sockets(&a, &b).await?;
    segment(&of_a);
    let direction = network.link(&a, &b)?.from(&a)?;
    let draw = async || send_segments((&a, &of_a), &of_b, &direction).await;
    if !takes_segments() {
        assert_eq!(draw().await?, None);
        return Ok(());
    }
    twice(1.0, async || {
        let arrived = draw().await?.expect("it takes them");
        are_single(&arrived);
        Ok(Sample::of_numbers(&arrived))
    })
    .await
}
