//! Datagrams: to one node, to a multicast group, to all.

use std::net::Ipv4Addr;

use netns_test::{Node, netns_test};

#[netns_test]
async fn unicast(client: Node, server: Node) -> std::io::Result<()> {
    let receiver = server.bind_udp(5353).await?;
    let sender = client.bind_udp(0).await?;
    sender.send_to(b"ping", (server.ip(), 5353)).await?;

    let mut buf = [0; 16];
    let (length, peer) = receiver.recv_from(&mut buf).await?;
    assert_eq!((&buf[..length], peer.ip()), (&b"ping"[..], client.ip()));
    Ok(())
}

#[netns_test]
async fn multicast(announcer: Node, listeners: [Node; 3]) -> std::io::Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
    let mut sockets = Vec::new();
    for listener in &listeners {
        let socket = listener.bind_udp("0.0.0.0:5353").await?;
        socket.join_multicast_v4(GROUP, Ipv4Addr::UNSPECIFIED)?;
        sockets.push(socket);
    }
    let sender = announcer.bind_udp("0.0.0.0:0").await?;
    sender.send_to(b"here I am", (GROUP, 5353)).await?;

    for socket in &sockets {
        let mut buf = [0; 16];
        let (length, peer) = socket.recv_from(&mut buf).await?;
        assert_eq!((&buf[..length], peer.ip()), (&b"here I am"[..], announcer.ip4().into()));
    }
    Ok(())
}

#[netns_test]
async fn broadcast(caller: Node, hosts: [Node; 2]) -> std::io::Result<()> {
    let receivers = [hosts[0].bind_udp("0.0.0.0:67").await?, hosts[1].bind_udp("0.0.0.0:67").await?];
    let sender = caller.bind_udp("0.0.0.0:68").await?;
    sender.set_broadcast(true)?;
    sender.send_to(b"anyone?", (Ipv4Addr::BROADCAST, 67)).await?;

    for receiver in &receivers {
        let mut buf = [0; 16];
        let (length, _) = receiver.recv_from(&mut buf).await?;
        assert_eq!(&buf[..length], b"anyone?");
    }
    Ok(())
}
