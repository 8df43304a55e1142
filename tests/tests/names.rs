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

/// Resolves a name in every way there is: each has to give the node's addresses.
async fn resolves(from: &Node, name: &'static str, wanted: &Node) {
    let (wanted, what) = (addresses(wanted), format!("`{name}` in `{}`", from.name()));
    assert_eq!(from.run(async move || by_std(name)).await, wanted, "{what}, std");
    let looked_up = from.run(async move || {
        let found = tokio::net::lookup_host((name, 80)).await.expect("lookup_host");
        once(found.map(|address| address.ip()))
    });
    assert_eq!(looked_up.await, wanted, "{what}, Tokio");
    let output = from.command("getent").args(["ahosts", name]).output().await.expect("getent");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let found = text.lines().map(|line| line.split_whitespace().next().unwrap().parse().expect("an address"));
    assert_eq!(once(found), wanted, "{what}, getent in a program");
}

/// An alias is a name like the first: everywhere, in every family, and to the handles.
async fn an_alias_is_a_name(client: Node, web_server: Node) -> std::io::Result<()> {
    for name in ["relay.test", "www.example.com", "www"] {
        for from in [&client, &web_server] {
            resolves(from, name, &web_server).await;
        }
        let listener = web_server.listen_tcp((name, 80)).await?;
        let out = client.connect_tcp(format!("{name}:80")).await?;
        assert_eq!(out.peer_addr()?.ip(), web_server.ip());
        client.blocking_connect_tcp((name.to_uppercase().as_str(), 80))?;
        drop(listener);
    }
    resolves(&web_server, "client.example.com", &client).await;
    let ping = client.command("ping").args(["-c1", "-W5", "relay.test"]).output().await?;
    assert!(ping.status.success(), "{ping:?}");
    Ok(())
}

#[netns_test(
    nodes = 2,
    aliases(web_server = ["relay.test", "www.example.com", "www"], client = ["client.example.com"])
)]
async fn aliases_in_dual(client: Node, web_server: Node) -> std::io::Result<()> {
    an_alias_is_a_name(client, web_server).await
}

#[netns_test(
    family = v4,
    aliases("web-server" = ["relay.test", "www.example.com", "www"], client = ["client.example.com"])
)]
async fn aliases_in_v4(client: Node, web_server: Node) -> std::io::Result<()> {
    an_alias_is_a_name(client, web_server).await
}

#[netns_test(
    family = v6,
    aliases(web_server = ["relay.test", "www.example.com", "www"], client = ["client.example.com"])
)]
async fn aliases_in_v6(client: Node, web_server: Node) -> std::io::Result<()> {
    an_alias_is_a_name(client, web_server).await
}

#[netns_test(aliases = ["relay.test"])]
async fn the_only_node_has_aliases(relay: Node) {
    resolves(&relay, "relay.test", &relay).await;
    assert_eq!(by_std("relay.test"), addresses(&relay), "in the body");
}

#[netns_test(topology = line, aliases(nodes_2 = ["far.test"]))]
async fn an_alias_of_one_in_an_array(nodes: [Node; 3]) {
    resolves(&nodes[0], "far.test", &nodes[2]).await;
}

#[netns_test(nodes = 2)]
async fn hosts_can_be_added(network: Network, client: Node, server: Node) -> std::io::Result<()> {
    let early = client.run(async || ("db.test", 80).to_socket_addrs().map(Vec::from_iter)).await;
    assert!(early.is_err(), "{early:?}");
    client.add_host("db.test", server.ip6())?;
    client.add_host("db.test", server.ip4())?;
    resolves(&client, "db.test", &server).await;
    // Another name for the other node, and all that was there stays.
    client.add_host("self.test", client.ip4())?;
    resolves(&client, "server", &server).await;
    let _listener = server.listen_tcp(5432).await?;
    client.connect_tcp("db.test:5432").await?;
    client.blocking_connect_tcp("db.test:5432")?;
    // Nobody else knows it, until all are told.
    assert!(server.connect_tcp("db.test:5432").await.is_err());
    network.add_host("all.test", server.ip())?;
    for node in network.nodes() {
        node.connect_tcp("all.test:5432").await?;
    }
    Ok(())
}

#[netns_test(nodes = 2, run_in = client)]
async fn a_body_in_a_node_sees_added_hosts(client: Node, server: Node) -> std::io::Result<()> {
    client.add_host("db.test", server.ip6())?;
    assert_eq!(by_std("db.test"), [server.ip()]);
    Ok(())
}

#[netns_test(nodes = 2, aliases(server = ["relay.test"]))]
async fn a_host_that_cannot_be_added_is_an_error(client: Node, server: Node) {
    for (name, cause) in [
        ("server", "it is a name of the node `server` already"),
        ("relay.test", "it is a name of the node `server` already"),
        ("localhost", "loopback"),
        ("a b", "it has ` `"),
        ("10.0.0.9", "IPv4 address"),
        ("a.test.", "write `a.test`"),
    ] {
        let error = client.add_host(name, server.ip()).expect_err(name).to_string();
        let operation = format!("failed to add the host `{name}` in `client`: ");
        assert!(error.starts_with(&operation) && error.contains(cause), "{error}");
    }
}

#[netns_test(nodes = 3, dns = server)]
async fn every_node_asks_the_name_server(client: Node, server: Node, third: Node) -> std::io::Result<()> {
    let wanted = format!("nameserver {}\n", server.ip());
    for node in [&client, &server, &third] {
        let read = node.run(async || std::fs::read_to_string("/etc/resolv.conf")).await?;
        assert_eq!(read, wanted, "{}", node.name());
        let output = node.command("cat").arg("/etc/resolv.conf").output().await?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{} in a program", node.name());
    }
    // Its own from here on, and nobody else's.
    client.set_nameservers(&[third.ip(), third.ip4().into(), server.ip()])?;
    let wanted =
        format!("nameserver {}\nnameserver {}\nnameserver {}\n", third.ip(), third.ip4(), server.ip());
    assert_eq!(client.read("/etc/resolv.conf")?, wanted);
    let output = client.command("cat").arg("/etc/resolv.conf").output().await?;
    assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
    assert_eq!(third.read("/etc/resolv.conf")?, format!("nameserver {}\n", server.ip()));
    // One too many is none at all.
    let error = client.set_nameservers(&[third.ip(); 4]).expect_err("four").to_string();
    assert_eq!(
        error,
        "failed to set the name servers of `client`: a resolver asks 3 at most, and these are 4"
    );
    assert_eq!(client.read("/etc/resolv.conf")?, wanted);
    client.set_nameservers(&[])?;
    assert_eq!(client.read("/etc/resolv.conf")?, "");
    Ok(())
}

/// Nothing answers yet: the port is closed, and a resolver is told so.
#[netns_test(nodes = 2, dns = server)]
async fn a_name_server_that_does_not_run_refuses(client: Node, server: Node) {
    let error = client.connect_tcp("nobody.test:80").await.expect_err("nobody");
    assert_ne!(error.kind(), ErrorKind::TimedOut, "{error}");
    resolves(&client, "server", &server).await;
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
