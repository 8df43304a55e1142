//! Reachable by name: every node resolves every node, from the standard library, Tokio and child processes.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, ToSocketAddrs as _, UdpSocket};
use std::process::Command;

use netns_test::{Network, Node, netns_test};

/// Every address that belongs to a node rather than to a link, the one that its name resolves to first at the front.
fn addresses(node: &Node) -> Vec<IpAddr> {
    let all = node.addresses().expect("addresses");
    let global = all.iter().map(|address| address.ip).filter(|ip| match ip {
        IpAddr::V4(ip) => ip.octets()[..2] == [10, 0],
        IpAddr::V6(ip) => ip.segments()[..3] == [0x2001, 0xdb8, 0],
    });
    let mut found: Vec<IpAddr> = global.collect();
    found.sort_by_key(|&ip| ip != node.ip());
    assert_eq!(found[0], node.ip());
    found
}

/// Without repetitions: a resolver may give an address once for each kind of socket.
fn once(found: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    found.into_iter().filter(|ip| seen.insert(*ip)).collect()
}

fn by_std(name: &str) -> Vec<IpAddr> {
    let found = (name, 80).to_socket_addrs().unwrap_or_else(|error| panic!("{name}: {error}"));
    once(found.map(|address| address.ip()))
}

fn by_child(name: &str) -> Vec<IpAddr> {
    let output = Command::new("getent").args(["ahosts", name]).output().expect("getent");
    assert!(output.status.success(), "{name}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    once(text.lines().map(|line| line.split_whitespace().next().unwrap().parse().expect("an address")))
}

async fn every_node_resolves_every_node(nodes: Vec<Node>) {
    for from in &nodes {
        for to in &nodes {
            let mut names = vec![to.name().to_owned()];
            if to.name().contains('-') {
                names.push(to.name().replace('-', "_"));
            }
            for name in names {
                let wanted = addresses(to);
                let what = format!("`{name}` in `{}`", from.name());
                let asked = name.clone();
                assert_eq!(from.run(async move || by_std(&asked)).await, wanted, "{what}, std in run");
                assert_eq!(from.enter(|| by_std(&name)), wanted, "{what}, std in enter");
                let asked = name.clone();
                assert_eq!(
                    from.spawn_thread("names", move || by_std(&asked)).await.unwrap(),
                    wanted,
                    "{what}, thread"
                );
                let asked = name.clone();
                let looked_up = from.run(async move || {
                    let found = tokio::net::lookup_host((asked, 80)).await.expect("lookup_host");
                    once(found.map(|address| address.ip()))
                });
                assert_eq!(looked_up.await, wanted, "{what}, Tokio");
                let asked = name.clone();
                assert_eq!(from.run(async move || by_child(&asked)).await, wanted, "{what}, getent");
            }
        }
    }
}

#[netns_test(nodes = 2)]
async fn dual(client: Node, web_server: Node) {
    assert!(client.ip().is_ipv6());
    every_node_resolves_every_node(vec![client, web_server]).await;
}

#[netns_test(nodes = 2, family = v4)]
async fn v4(client: Node, web_server: Node) {
    assert!(client.ip().is_ipv4());
    every_node_resolves_every_node(vec![client, web_server]).await;
}

#[netns_test(nodes = 2, family = v6)]
async fn v6(client: Node, web_server: Node) {
    assert!(client.ip().is_ipv6());
    every_node_resolves_every_node(vec![client, web_server]).await;
}

#[netns_test(nodes = 3, topology = line)]
async fn over_routers(nodes: [Node; 3]) {
    every_node_resolves_every_node(nodes.into()).await;
}

#[netns_test(nodes = 2)]
async fn the_body_resolves_them_too(client: Node, server: Node) {
    assert_eq!(by_std("client"), addresses(&client));
    assert_eq!(by_child("server"), addresses(&server));
}

#[netns_test(nodes = 2, run_in = client)]
async fn a_body_in_a_node_resolves_them_too(client: Node, server: Node) {
    assert_eq!(by_std("client"), addresses(&client));
    assert_eq!(by_std("server"), addresses(&server));
    assert_eq!(by_child("server"), addresses(&server));
}

#[netns_test(nodes = 1)]
async fn localhost(node: Node) {
    let found = node.run(async || by_std("localhost")).await;
    assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
}

#[netns_test(nodes = 2)]
async fn an_unknown_name_is_an_error(client: Node, _server: Node) {
    let names = ["nobody", "server.example.com", "example.org"];
    for name in names {
        let error =
            client.run(async move || (name, 80).to_socket_addrs().map(Vec::from_iter)).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::TimedOut, "{error}");
        let error = client.connect_tcp((name, 80)).await.unwrap_err();
        assert_ne!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(client.blocking_connect_tcp((name, 80)).is_err());
        let status = client.run(async move || Command::new("getent").args(["hosts", name]).status()).await;
        // getent(1): one or more keys could not be found.
        assert_eq!(status.expect("getent").code(), Some(2));
    }
}

/// What makes the answer to an unknown name come at once: the port of DNS is closed, and says so.
#[netns_test(nodes = 1)]
fn a_question_over_dns_is_refused(node: Node) -> std::io::Result<()> {
    let refused = node.enter(|| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect("127.0.0.1:53")?;
        socket.send(b"?")?;
        Ok::<_, std::io::Error>(socket.recv(&mut [0; 1]).unwrap_err())
    })?;
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    Ok(())
}

async fn the_peer_has_the_nodes_address(network: Network) -> std::io::Result<()> {
    let [client, server] = &network.nodes()[..] else { panic!("two nodes") };
    let listener = server.listen_tcp(7).await?;
    let out = client.connect_tcp("server:7").await?;
    let (_inc, peer) = listener.accept().await?;
    assert_eq!((peer.ip(), out.peer_addr()?.ip()), (client.ip(), server.ip()));
    // Code that knows nothing of the handles sees the same.
    let theirs = client.run(async || std::net::TcpStream::connect("server:7")?.local_addr()).await?;
    let (_inc, peer) = listener.accept().await?;
    assert_eq!((peer, peer.ip()), (theirs, client.ip()));
    Ok(())
}

#[netns_test(nodes = 2)]
async fn peer_in_dual(network: Network, _client: Node, _server: Node) -> std::io::Result<()> {
    the_peer_has_the_nodes_address(network).await
}

#[netns_test(nodes = 2, family = v4)]
async fn peer_in_v4(network: Network, _client: Node, _server: Node) -> std::io::Result<()> {
    the_peer_has_the_nodes_address(network).await
}

#[netns_test(nodes = 2, family = v6)]
async fn peer_in_v6(network: Network, _client: Node, _server: Node) -> std::io::Result<()> {
    the_peer_has_the_nodes_address(network).await
}
