//! A firewall inside a node, by `iptables` and `nft`, and what a client in another node sees of it; and a router that hands connections
//! to a transparent proxy.

use std::io;
use std::net::IpAddr;

use netns_test::kubernetes::original_destination;
use netns_test::{Command, Node, Router, netns_test};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn succeeds(command: &mut Command) -> io::Result<()> {
    let output = command.output().await?;
    assert!(output.status.success(), "{output:?}");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn iptables_rejects_a_port(client: Node, server: Node) -> io::Result<()> {
    let _open = server.listen_tcp("0.0.0.0:80").await?;
    let _closed = server.listen_tcp("0.0.0.0:81").await?;
    let rule = ["-A", "INPUT", "-p", "tcp", "--dport", "81", "-j", "REJECT", "--reject-with", "tcp-reset"];
    succeeds(server.command("iptables").args(rule)).await?;

    client.connect_tcp((server.ip4(), 80)).await?;
    let error = client.connect_tcp((server.ip4(), 81)).await.expect_err("rejected");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}

const RULES: &str = "
table inet filter {
    chain input {
        type filter hook input priority filter;
        tcp dport 81 counter reject with tcp reset
    }
}
";

#[netns_test(nodes = 2)]
async fn nft_rejects_a_port(client: Node, server: Node) -> io::Result<()> {
    let _open = server.listen_tcp("[::]:80").await?;
    let _closed = server.listen_tcp("[::]:81").await?;
    succeeds(server.command("nft").args(["-f", "-"]).input(RULES)).await?;

    for ip in [IpAddr::from(server.ip4()), server.ip6().into()] {
        client.connect_tcp((ip, 80)).await?;
        let error = client.connect_tcp((ip, 81)).await.expect_err("rejected");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    let rules = server.command("nft").args(["list", "ruleset"]).output().await?;
    assert!(String::from_utf8_lossy(&rules.stdout).contains("counter packets 2 bytes"), "{rules:?}");
    Ok(())
}

// Every node knows the network namespaces of all by name, as `ip netns` has it.
#[netns_test(nodes = 2)]
async fn ip_netns_exec(client: Node, server: Node) -> io::Result<()> {
    let _listener = server.listen_tcp(80).await?;
    let listeners = client.command("ip").args(["netns", "exec", "server", "ss", "-Hltn"]).output().await?;
    assert!(String::from_utf8_lossy(&listeners.stdout).contains(":80 "), "{listeners:?}");
    Ok(())
}

const REDIRECT: &str = "
table ip proxy {
    chain arriving {
        type nat hook prerouting priority dstnat;
        tcp dport 80 redirect to :15001
    }
}
";

/// Takes connections to wherever they were to go.
async fn proxy() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:15001").await?;
    loop {
        let (mut inner, _) = listener.accept().await?;
        let mut outer = TcpStream::connect(original_destination(&inner)?).await?;
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut inner, &mut outer).await });
    }
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server), family = v4)]
async fn a_router_hands_connections_to_its_proxy(client: Node, server: Node, r: Router) -> io::Result<()> {
    succeeds(r.command("nft").args(["-f", "-"]).input(REDIRECT)).await?;
    r.spawn(async || proxy().await.expect("the proxy runs"));
    r.wait_listening(15001).await?;

    let listener = server.listen_tcp(80).await?;
    let mut out = client.connect_tcp("server:80").await?;
    let (mut inc, peer) = listener.accept().await?;
    assert_eq!(peer.ip(), r.interface("eth1")?.addresses()?[0].ip, "the server sees the proxy");
    out.write_all(b"hi").await?;
    let mut buffer = [0; 2];
    inc.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"hi");
    Ok(())
}
