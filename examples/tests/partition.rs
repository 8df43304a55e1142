//! A client of two replicas: one is cut off silently, the other loses its link, and both come back.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netns_test::{Network, Node, netns_test};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// One program under test: tells who it is.
async fn serve(name: u8) -> io::Result<()> {
    let socket = UdpSocket::bind("[::]:53").await?;
    loop {
        let mut question = [0; 1];
        let (_, peer) = socket.recv_from(&mut question).await?;
        socket.send_to(&[question[0], name], peer).await?;
    }
}

/// The other program under test: asks the replicas in turn until one has answered.
struct Client {
    socket: UdpSocket,
    replicas: [IpAddr; 2],
    asked: u8,
}

impl Client {
    async fn ask(&mut self) -> io::Result<u8> {
        self.asked += 1;
        for replica in self.replicas.into_iter().cycle() {
            // With the link down the kernel may refuse to send: one more reason to ask the other.
            let _unsent = self.socket.send_to(&[self.asked], (replica, 53)).await;
            let mut answer = [0; 2];
            if let Ok(received) = timeout(Duration::from_millis(20), self.socket.recv_from(&mut answer)).await
            {
                received?;
                // Answers to earlier questions may still be on their way.
                if answer[0] == self.asked {
                    return Ok(answer[1]);
                }
            }
        }
        unreachable!("it asks for ever")
    }
}

#[netns_test(nodes = 3, timeout = 30s)]
async fn a_client_finds_the_replica_that_is_left(
    client: Node,
    one: Node,
    two: Node,
    network: Network,
) -> io::Result<()> {
    for (node, name) in [(&one, 1), (&two, 2)] {
        node.spawn(async move || serve(name).await.expect("the server ended"));
        node.wait_bound_udp(53).await?;
    }
    let mut client = Client { socket: client.bind_udp(0).await?, replicas: [one.ip(), two.ip()], asked: 0 };
    client.ask().await?;

    // The first replica still runs and has its carrier, but nobody hears of it.
    let isolated = one.isolate()?;
    assert_eq!(client.ask().await?, 2);

    // And then the client is cut off from the other one, too: nobody answers, until one of the faults ends.
    let partition = network.partition([&network.node("client")?], [&two])?;
    assert!(timeout(Duration::from_millis(100), client.ask()).await.is_err(), "an answer from nowhere");
    isolated.repair()?;
    assert_eq!(client.ask().await?, 1);

    // A cable that is pulled: this end is off. Addresses and routes come back with it.
    let unplugged = one.interface("eth0")?.unplug()?;
    partition.repair()?;
    assert_eq!(client.ask().await?, 2);
    unplugged.repair()?;
    let partition = network.partition([&network.node("client")?], [&two])?;
    assert_eq!(client.ask().await?, 1);
    drop(partition);
    Ok(())
}
