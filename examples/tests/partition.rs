//! A host that loses its link, and gets it back.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use netns_test::{Node, netns_test};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// One program under test: sends back what it gets.
async fn serve() -> io::Result<()> {
    let socket = UdpSocket::bind("[::]:53").await?;
    loop {
        let mut buf = [0; 1];
        let (_, peer) = socket.recv_from(&mut buf).await?;
        socket.send_to(&buf, peer).await?;
    }
}

/// The other program under test: asks again until it is answered.
async fn ask(question: u8, socket: &UdpSocket, server: (IpAddr, u16)) -> io::Result<()> {
    loop {
        // With the link down, the kernel may refuse to send: one more reason to ask again.
        let _unsent = socket.send_to(&[question], server).await;
        let mut answer = [0; 1];
        if let Ok(received) = timeout(Duration::from_millis(20), socket.recv_from(&mut answer)).await {
            received?;
            // Answers to earlier questions may still be on their way.
            if answer == [question] {
                return Ok(());
            }
        }
    }
}

#[netns_test(nodes = 2, timeout = 30s)]
async fn a_client_survives_the_loss_of_its_link(client: Node, server: Node) -> io::Result<()> {
    server.spawn(async || serve().await.expect("the server ended"));
    server.wait_bound_udp(53).await?;
    let socket = client.bind_udp(0).await?;
    let to = (server.ip(), 53);
    ask(1, &socket, to).await?;

    let link = client.interface("eth0")?;
    link.down()?;
    server
        .wait_until("the loss of the carrier", |server| Ok(!server.interface("eth0")?.link()?.carrier))
        .await?;
    assert!(
        timeout(Duration::from_millis(60), ask(2, &socket, to)).await.is_err(),
        "an answer without a link"
    );

    // Addresses and routes come back, too.
    link.up()?;
    ask(3, &socket, to).await
}
