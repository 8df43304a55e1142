//! A protocol of one's own over UDP, on a link that loses, doubles and reorders packets: does everything arrive, once and in order?

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use netns_test::{Network, Node, Verdict, netns_test};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Sends numbered messages, each again when its acknowledgement was waited for in vain; returns how many datagrams that took.
async fn send(socket: &UdpSocket, messages: u32, patience: Duration) -> io::Result<u32> {
    let mut sent = 0;
    for number in 0..messages {
        loop {
            socket.send(&number.to_be_bytes()).await?;
            sent += 1;
            if timeout(patience, acknowledged(socket, number)).await.is_ok() {
                break;
            }
        }
    }
    Ok(sent)
}

async fn acknowledged(socket: &UdpSocket, number: u32) -> io::Result<()> {
    let mut buffer = [0; 4];
    loop {
        socket.recv(&mut buffer).await?;
        // An old acknowledgement, doubled or late, says nothing new.
        if u32::from_be_bytes(buffer) == number {
            return Ok(());
        }
    }
}

/// Receives messages and acknowledges them, for ever; keeps each once.
async fn receive(socket: &UdpSocket, received: &Mutex<Vec<u32>>) -> io::Result<u32> {
    let mut buffer = [0; 4];
    loop {
        socket.recv(&mut buffer).await?;
        socket.send(&buffer).await?;
        let number = u32::from_be_bytes(buffer);
        let mut received = received.lock().expect("nobody panics with it");
        if received.last().is_none_or(|last| *last < number) {
            received.push(number);
        }
    }
}

async fn sockets(client: &Node, server: &Node) -> io::Result<(UdpSocket, UdpSocket)> {
    let (out, inc) = (client.bind_udp(4000).await?, server.bind_udp(4000).await?);
    out.connect((server.ip(), 4000)).await?;
    inc.connect((client.ip(), 4000)).await?;
    Ok((out, inc))
}

#[netns_test(
    nodes(client, server),
    links(
        client -- server { delay = 2ms, jitter = 1ms, loss = 10%, duplicate = 5%, reorder = 5% },
        server -> client { loss = 20% },
    ),
)]
async fn everything_arrives_once_and_in_order(client: Node, server: Node) -> io::Result<()> {
    let (out, inc) = sockets(&client, &server).await?;
    let received = Mutex::new(Vec::new());
    let sent = tokio::select! {
        sent = send(&out, 50, Duration::from_millis(100)) => sent?,
        error = receive(&inc, &received) => error?,
    };
    assert_eq!(received.into_inner().expect("nobody panics with it"), (0..50).collect::<Vec<_>>());
    assert!(sent >= 50);
    Ok(())
}

/// No chance in it: the first acknowledgement is lost, always.
#[netns_test(nodes(client, server), links(client -- server { wire = user }))]
async fn a_lost_acknowledgement_costs_one_datagram(
    client: Node,
    server: Node,
    network: Network,
) -> io::Result<()> {
    let (out, inc) = sockets(&client, &server).await?;
    let mut is_first = true;
    let _lost =
        network.link(&client, &server)?.from(&server)?.intercept(move |packet| match packet.udp() {
            Some(_) if std::mem::take(&mut is_first) => Verdict::Drop,
            _ => Verdict::Pass,
        })?;
    let received = Mutex::new(Vec::new());
    let sent = tokio::select! {
        // With so much patience, one that is late because the machine is busy does not count as lost.
        sent = send(&out, 3, Duration::from_secs(2)) => sent?,
        error = receive(&inc, &received) => error?,
    };
    assert_eq!(sent, 4);
    Ok(())
}
