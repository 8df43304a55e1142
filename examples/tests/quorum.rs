//! A cluster that agrees by Raft, etcd on three nodes: it keeps what it has acknowledged, through a partition and a crash.

use std::io;
use std::path::Path;

use netns_test::{Network, Node, netns_test};

async fn start(node: &Node, data: &Path) -> io::Result<()> {
    let name = node.name();
    let cluster: Vec<String> = (0..3).map(|n| format!("nodes-{n}=http://nodes-{n}:2380")).collect();
    node.command("etcd")
        .args(["--name", name, "--initial-cluster", &cluster.join(",")])
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-peer-urls", "http://0.0.0.0:2380", "--listen-client-urls", "http://0.0.0.0:2379"])
        .args(["--initial-advertise-peer-urls", &format!("http://{name}:2380")])
        .args(["--advertise-client-urls", &format!("http://{name}:2379")])
        .args(["--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "error"])
        .spawn()
        .await?;
    node.wait_listening(2379).await?;
    Ok(())
}

/// Asks the node's own member; `None` where it has no answer.
async fn etcdctl(node: &Node, arguments: &[&str]) -> io::Result<Option<String>> {
    let mut command = node.command("etcdctl");
    command.env("ETCDCTL_API", "3").args(["--endpoints", "http://127.0.0.1:2379", "--command-timeout", "2s"]);
    let output = command.args(arguments).output().await?;
    Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
}

/// Asks until there is an answer: while a leader is elected there is none. The test's timeout bounds it.
async fn insist(node: &Node, arguments: &[&str]) -> io::Result<String> {
    loop {
        if let Some(answer) = etcdctl(node, arguments).await? {
            return Ok(answer);
        }
    }
}

async fn leader(nodes: &[Node]) -> io::Result<usize> {
    loop {
        for (number, node) in nodes.iter().enumerate() {
            // Endpoint, member, version, size, whether it leads, …
            let status = etcdctl(node, &["endpoint", "status"]).await?.unwrap_or_default();
            if status.split(", ").nth(4) == Some("true") {
                return Ok(number);
            }
        }
    }
}

#[netns_test(timeout = 120s)]
async fn a_majority_goes_on(nodes: [Node; 3], network: Network) -> io::Result<()> {
    let mut data = Vec::new();
    for node in &nodes {
        data.push(node.data_dir()?);
    }
    for (node, data) in nodes.iter().zip(&data) {
        start(node, data).await?;
    }
    assert_eq!(insist(&nodes[0], &["put", "key", "one"]).await?, "OK");

    // The leader is alone: it can no more promise anything, the others elect another one.
    let alone = leader(&nodes).await?;
    let others: Vec<&Node> = nodes.iter().filter(|node| node.name() != nodes[alone].name()).collect();
    let partition = network.partition([&nodes[alone]], others.iter().copied())?;
    assert_eq!(insist(others[0], &["put", "key", "two"]).await?, "OK");
    assert_eq!(etcdctl(&nodes[alone], &["put", "key", "three"]).await?, None);

    // Together again, it hears what the others have agreed on.
    partition.repair()?;
    assert_eq!(insist(&nodes[alone], &["get", "key", "--print-value-only"]).await?, "two");

    // The power of another one fails. Two of three are a majority.
    let lost = others[0];
    let crashed = lost.crash().await?;
    assert_eq!(insist(others[1], &["put", "key", "four"]).await?, "OK");
    crashed.restart()?;
    let number = nodes.iter().position(|node| node.name() == lost.name()).expect("it is one of them");
    start(lost, &data[number]).await?;
    assert_eq!(insist(lost, &["get", "key", "--print-value-only"]).await?, "four");
    Ok(())
}
