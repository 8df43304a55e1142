//! Redirection of UDP.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netns_test::kubernetes::{Cluster, Pod, Redirect, receive_redirected, set_transparent};
use netns_test::{Node, netns_test};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;

use crate::redirect::{INBOUND, MARK, OUTBOUND, addresses, of_family};

/// A proxy's socket.
async fn transparent(node: &Node, port: u16) -> io::Result<UdpSocket> {
    let socket = node.bind_udp(("::".parse::<IpAddr>().unwrap(), port)).await?;
    set_transparent(&socket)?;
    Ok(socket)
}

/// Takes a datagram from `client`, sends it on to `to` with another's address if that is wanted, and its answer back.
async fn carries(
    proxy: &UdpSocket,
    node: &Node,
    client: &UdpSocket,
    server: &UdpSocket,
    to: SocketAddr,
    sender: Option<IpAddr>,
) -> io::Result<()> {
    client.send_to(b"ping", to).await?;
    let mut buffer = [0; 8];
    let (length, from, was_to) = receive_redirected(proxy, &mut buffer).await?;
    assert_eq!((&buffer[..length], was_to), (&b"ping"[..], to));
    let own = of_family(node, to.ip());
    let on = node.bind_udp_as((sender.unwrap_or(own), 0).into())?;
    setsockopt(&on, sockopt::Mark, &MARK)?;
    on.send_to(&buffer[..length], to).await?;
    let (_, seen) = server.recv_from(&mut buffer).await?;
    assert_eq!(seen.ip().to_canonical(), sender.unwrap_or(own));
    server.send_to(b"pong", seen).await?;
    assert_eq!(on.recv_from(&mut buffer).await?.1, to);
    let back = node.bind_udp_as(was_to)?;
    back.send_to(b"pong", from).await?;
    assert_eq!(client.recv_from(&mut buffer).await?.1, to);
    // The next one finds its socket.
    back.connect(from).await?;
    client.send_to(b"next", to).await?;
    let length = back.recv(&mut buffer).await?;
    assert_eq!(&buffer[..length], b"next");
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, gateway = 0, server = 1)))]
async fn datagrams_go_to_the_proxy(
    cluster: Cluster,
    captured: Pod,
    gateway: Pod,
    server: Pod,
) -> io::Result<()> {
    let node = cluster.node(0);
    let in_pod = Redirect::in_pod().unless_mark(MARK);
    for (redirect, at) in [
        (in_pod, captured.as_node()),
        (Redirect::at_node(), node.node()),
        (Redirect::by_way_of(&gateway), gateway.as_node()),
    ] {
        let proxy = transparent(at, OUTBOUND).await?;
        captured.redirect(redirect.outbound_udp(OUTBOUND))?;
        for ip in addresses(&server) {
            let own = of_family(&captured, ip);
            let app = server.bind_udp((ip, 53)).await?;
            for sender in [None, Some(own)] {
                let client = captured.bind_udp((own, 0)).await?;
                carries(&proxy, at, &client, &app, (ip, 53).into(), sender).await?;
            }
            // What the pod is asked by others, it answers itself.
            let served = captured.bind_udp((own, 8053)).await?;
            let asks = server.bind_udp((ip, 0)).await?;
            asks.send_to(b"ping", (own, 8053)).await?;
            let (_, from) = served.recv_from(&mut [0; 8]).await?;
            served.send_to(b"pong", from).await?;
            assert_eq!(asks.recv_from(&mut [0; 8]).await?.1, SocketAddr::new(own, 8053));
        }
        // Names resolve as before, and TCP goes its own way.
        let listener = server.listen_tcp("[::]:80").await?;
        let resolved =
            captured.run(async || tokio::net::TcpStream::connect("server:80").await.map(drop)).await;
        resolved?;
        assert_eq!(listener.accept().await?.1.ip(), captured.ip());

        // Without the proxy it is refused, and not let through.
        drop(proxy);
        let app = server.bind_udp((server.ip(), 53)).await?;
        let client = captured.bind_udp((captured.ip(), 0)).await?;
        client.connect((server.ip(), 53)).await?;
        client.send(b"ping").await?;
        let error = client.recv(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        captured.end_redirection()?;
        client.send(b"ping").await?;
        assert_eq!(app.recv_from(&mut [0; 8]).await?.1, client.local_addr()?);
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, gateway = 0, client = 1)))]
async fn datagrams_to_the_pod_go_to_a_proxy_on_the_way(
    cluster: Cluster,
    captured: Pod,
    gateway: Pod,
    client: Pod,
) -> io::Result<()> {
    let node = cluster.node(0);
    for (redirect, at) in
        [(Redirect::at_node(), node.node()), (Redirect::by_way_of(&gateway), gateway.as_node())]
    {
        let proxy = transparent(at, INBOUND).await?;
        captured.redirect(redirect.inbound_udp(INBOUND))?;
        for ip in addresses(&captured) {
            let app = captured.bind_udp((ip, 53)).await?;
            let peer = of_family(&client, ip);
            for sender in [None, Some(peer)] {
                let asks = client.bind_udp((peer, 0)).await?;
                carries(&proxy, at, &asks, &app, (ip, 53).into(), sender).await?;
            }
        }
    }
    Ok(())
}
