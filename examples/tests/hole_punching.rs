//! Two peers behind NATs, and a rendezvous server that tells each where the other is: UDP hole punching (RFC 5128), and the relay
//! that is needed where no hole can be punched.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use netns_test::{NatBehavior, Node, Router, netns_test};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// The rendezvous server: tells two peers that say hello where the other one is, as it sees them, and passes on between them
/// what they send to it after that.
async fn rendezvous() -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:3478").await?;
    let (mut peers, mut buffer): (Vec<SocketAddr>, _) = (Vec::new(), [0; 512]);
    loop {
        let (len, from) = socket.recv_from(&mut buffer).await?;
        if !peers.contains(&from) {
            peers.push(from);
            if let [one, two] = peers[..] {
                socket.send_to(format!("peer {two}").as_bytes(), one).await?;
                socket.send_to(format!("peer {one}").as_bytes(), two).await?;
            }
            continue;
        }
        for peer in peers.iter().filter(|peer| **peer != from) {
            socket.send_to(&buffer[..len], peer).await?;
        }
    }
}

/// How a peer was reached.
#[derive(Debug, PartialEq)]
enum Path {
    Direct,
    Relayed,
}

/// The program under test: finds a path to the other peer, through a hole if there is one, otherwise by the server. The one that
/// leads says which of them both take.
async fn connect(leads: bool) -> io::Result<Path> {
    const ATTEMPTS: usize = 50;
    const PATIENCE: Duration = Duration::from_millis(20);

    let socket = UdpSocket::bind("0.0.0.0:4000").await?;
    let server: SocketAddr = tokio::net::lookup_host("server:3478").await?.next().expect("an address");
    socket.send_to(b"hello", server).await?;
    let mut buffer = [0; 512];
    let mut peer: SocketAddr = loop {
        let (len, from) = socket.recv_from(&mut buffer).await?;
        // The other one may be told first, and its packets be here before the server's.
        if let (true, Ok(text)) = (from == server, std::str::from_utf8(&buffer[..len])) {
            break text.strip_prefix("peer ").and_then(|peer| peer.parse().ok()).expect("an address");
        }
    };

    let mut attempts = 0;
    loop {
        // What goes out makes the hole that the other one's packets come in by.
        socket.send_to(b"ping", peer).await?;
        attempts += 1;
        while let Ok(received) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await {
            let (len, from) = received?;
            match &buffer[..len] {
                // It may come from another port than the server has seen, and then only that one is open.
                b"ping" => {
                    peer = from;
                    socket.send_to(b"pong", from).await?;
                }
                b"pong" if leads => {
                    socket.send_to(b"direct", server).await?;
                    return Ok(Path::Direct);
                }
                b"direct" => return Ok(Path::Direct),
                b"relay" => return Ok(Path::Relayed),
                _ => {}
            }
        }
        if leads && attempts == ATTEMPTS {
            socket.send_to(b"relay", server).await?;
            return Ok(Path::Relayed);
        }
    }
}

/// Whether packets from behind one router can come in at another, which has let some out to where the server has seen the first.
fn comes_in(from: &Router, to: &Router) -> bool {
    let same_port = from.nat().is_none_or(|nat| nat.mapping == NatBehavior::EndpointIndependent);
    let any_port = to.nat().is_none_or(|nat| nat.filtering != NatBehavior::AddressAndPortDependent);
    same_port || any_port
}

/// A pair of networks in every combination.
#[netns_test(
    nodes(alice, bob, server),
    routers(left { uplink = isp }, right { uplink = isp }, isp),
    links(
        alice -- left { prefix = "192.168.1.0/24" },
        bob -- right { prefix = "192.168.2.0/24" },
        left -- isp,
        right -- isp,
        isp -- server,
    ),
    family = v4,
    matrix(left.nat = [none, home, cgnat, cloud], right.nat = [home, cgnat, cloud]),
)]
async fn peers_find_a_path(
    alice: Node,
    bob: Node,
    server: Node,
    left: Router,
    right: Router,
) -> io::Result<()> {
    server.spawn(async || rendezvous().await.expect("the server ended"));
    server.wait_bound_udp(3478).await?;

    let leads = alice.spawn(async || connect(true).await);
    let path = bob.run(async || connect(false).await).await?;
    assert_eq!(leads.await.expect("it ended")?, path);
    let punched = comes_in(&left, &right) && comes_in(&right, &left);
    assert_eq!(path, if punched { Path::Direct } else { Path::Relayed });
    Ok(())
}
