//! A service in a cluster's network, its pods on two nodes, and what its clients see while pods come and go.

use std::io;

use netns_test::kubernetes::{Cluster, Pod};
use netns_test::netns_test;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The server under test: it greets with the name of the host that it runs on.
async fn greeter() -> io::Result<()> {
    let listener = TcpListener::bind("[::]:8080").await?;
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(name.trim().as_bytes()).await?;
    }
}

async fn replica(cluster: &Cluster, node: usize, name: &str) -> io::Result<Pod> {
    let pod = cluster.node(node).pod(name).label("app", "greeter").start()?;
    pod.spawn(async || greeter().await.expect("the greeter ended"));
    pod.wait_listening(8080).await?;
    Ok(pod)
}

async fn greeting(client: &Pod) -> io::Result<String> {
    let mut text = String::new();
    client.connect_tcp("greeter:80").await?.read_to_string(&mut text).await?;
    Ok(text)
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn survives_the_loss_of_a_replica(cluster: Cluster, client: Pod) -> io::Result<()> {
    cluster.service("greeter").port(80, 8080).selector("app", "greeter").create()?;
    let first = replica(&cluster, 0, "greeter-0").await?;
    let _second = replica(&cluster, 1, "greeter-1").await?;
    assert!(greeting(&client).await?.starts_with("greeter-"));

    first.delete()?;
    for _ in 0..10 {
        assert_eq!(greeting(&client).await?, "greeter-1");
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, pods(client = 0)))]
async fn is_refused_while_nobody_is_ready(cluster: Cluster, client: Pod) -> io::Result<()> {
    cluster.service("greeter").port(80, 8080).selector("app", "greeter").create()?;
    let server = replica(&cluster, 0, "greeter-0").await?;
    server.set_ready(false)?;
    assert_eq!(greeting(&client).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    server.set_ready(true)?;
    assert_eq!(greeting(&client).await?, "greeter-0");
    Ok(())
}

/// Programs of the machine: nginx behind a service, curl and dig in a client's pod.
#[cfg(feature = "programs")]
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn nginx_behind_a_service(cluster: Cluster, client: Pod) -> io::Result<()> {
    const CONFIG: &str = r#"
        daemon off;
        error_log stderr;
        pid /run/nginx.pid;
        events {}
        http {
            access_log /dev/stdout;
            server { listen 8080; listen [::]:8080; location / { return 200 "hello from $hostname"; } }
        }
    "#;
    cluster.service("web").port(80, 8080).selector("app", "web").create()?;
    for (node, name) in [(0, "web-0"), (1, "web-1")] {
        let pod = cluster.node(node).pod(name).label("app", "web").start()?;
        pod.write("/etc/nginx/nginx.conf", CONFIG)?;
        pod.tmpfs("/var/lib/nginx")?;
        pod.command("nginx").args(["-e", "stderr"]).spawn().await?;
        pod.wait_listening(8080).await?;
    }
    let curl = client.command("curl").args(["-sS", "http://web.default.svc.cluster.local/"]).output().await?;
    let text = String::from_utf8_lossy(&curl.stdout).into_owned();
    assert!(text == "hello from web-0" || text == "hello from web-1", "{text}");

    let dig = client.command("dig").args(["+short", "+search", "web"]).output().await?;
    assert_eq!(String::from_utf8_lossy(&dig.stdout).trim(), "10.96.0.11");
    Ok(())
}
