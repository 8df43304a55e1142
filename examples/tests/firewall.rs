//! A firewall inside a node, by `iptables` and `nft`, and what a client in another node sees of it.

use std::io;
use std::net::IpAddr;

use netns_test::{Command, Node, netns_test};

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
