//! What proofs send over links, and what of it arrives: numbered datagrams, and streams.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use netns_test::{Conditions, LinkDirection, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UdpSocket;

/// After so long nothing more is on its way.
pub const SILENCE: Duration = Duration::from_millis(1500);

/// The numbers of the datagrams that arrive, until none does.
pub async fn received(socket: &UdpSocket) -> io::Result<Vec<u32>> {
    received_within(socket, SILENCE).await
}

/// The numbers of those that arrive, until none does for so long.
pub async fn received_within(socket: &UdpSocket, silence: Duration) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut buffer = [0; 2000];
    while let Ok(length) = tokio::time::timeout(silence, socket.recv(&mut buffer)).await {
        let number = buffer[..length?].first_chunk().expect("a datagram has a number");
        numbers.push(u32::from_be_bytes(*number));
    }
    Ok(numbers)
}

/// Sends so many numbered datagrams, no faster than the wire looks at them, and tells which arrive.
pub async fn send_numbers(
    (from, out): (&Node, &UdpSocket),
    to: &UdpSocket,
    direction: &LinkDirection,
    count: u32,
) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    // The kernel's wire has looked at a packet when `send` returns.
    let sent = || direction.tally().map_or(u64::MAX, |tally| tally.sent);
    let before = sent();
    for first in (0..count).step_by(100) {
        let end = (first + 100).min(count);
        for number in first..end {
            out.send(&number.to_be_bytes()).await?;
        }
        let seen = |_: &Node| Ok(sent() >= before.saturating_add(end.into()));
        from.wait_until("the wire to have seen the packets", seen).await?;
        // What has arrived makes room for more.
        numbers.extend(received_within(to, Duration::from_millis(1)).await?);
    }
    numbers.extend(received(to).await?);
    Ok(numbers)
}

/// A socket of each, connected to the other, whose nodes know each other: what is lost then are the datagrams.
pub async fn sockets(a: &Node, b: &Node) -> io::Result<(UdpSocket, UdpSocket)> {
    let (of_a, of_b) = (a.bind_udp(7).await?, b.bind_udp(7).await?);
    of_a.connect((b.ip(), 7)).await?;
    of_b.connect((a.ip(), 7)).await?;
    let _open = a.network()?.link(a, b)?.set_conditions(Conditions::new())?;
    for (out, inc) in [(&of_a, &of_b), (&of_b, &of_a)] {
        out.send(b"hello").await?;
        inc.recv(&mut [0; 8]).await?;
    }
    Ok((of_a, of_b))
}

/// Sends so many bytes over TCP, and tells how long they took to arrive.
pub async fn bulk(from: &Node, to: &Node, bytes: usize) -> io::Result<Duration> {
    bulk_to(from, (to.ip(), 80).into(), to, bytes).await
}

/// As [`bulk`], to this address of the other node.
pub async fn bulk_to(from: &Node, address: SocketAddr, to: &Node, bytes: usize) -> io::Result<Duration> {
    let listener = to.listen_tcp(address).await?;
    let mut out = from.connect_tcp(address).await?;
    let (mut inc, _) = listener.accept().await?;
    let sent: Vec<u8> = (0..bytes).map(|number| (number % 251) as u8).collect();
    let started = Instant::now();
    let mut arrived = Vec::with_capacity(bytes);
    tokio::try_join!(
        async {
            out.write_all(&sent).await?;
            out.shutdown().await
        },
        inc.read_to_end(&mut arrived)
    )?;
    assert!(arrived == sent, "TCP brings all of it, unchanged");
    Ok(started.elapsed())
}
