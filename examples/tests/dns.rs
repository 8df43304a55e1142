//! How a client fares when its name server fails, and under which names it finds a server.

use std::io;

use netns_test::dns::{Rcode, Server};
use netns_test::{Node, netns_test};

// Every node's /etc/resolv.conf names `resolver`.
#[netns_test(nodes = 3, dns = resolver)]
async fn fails_over(client: Node, db: Node, resolver: Node) -> io::Result<()> {
    let dns = Server::start(&resolver)?;
    dns.add("db.test", db.ip())?;
    let _listener = db.listen_tcp(5432).await?;

    let servfail = dns.answer_with(Rcode::ServFail);
    assert!(client.connect_tcp("db.test:5432").await.is_err());
    drop(servfail);
    client.connect_tcp("db.test:5432").await?;

    let asked = dns.wait_query("db.test").await?;
    assert_eq!(asked.node.as_deref(), Some("client"));
    Ok(())
}

// The answer comes when the test says so, and nothing has to be timed.
#[netns_test(nodes = 2, dns = server)]
async fn one_slow_name_does_not_hold_up_another(client: Node, server: Node) -> io::Result<()> {
    let dns = Server::start(&server)?;
    dns.add("slow.test", server.ip())?;
    dns.add("fast.test", server.ip())?;
    let held = dns.only("slow.test")?.hold();
    let slow = client.spawn(async || tokio::net::lookup_host("slow.test:80").await.is_ok());
    dns.wait_query("slow.test").await?;
    assert!(client.run(async || tokio::net::lookup_host("fast.test:80").await.is_ok()).await);
    assert!(!slow.is_finished());
    drop(held);
    assert!(slow.await.expect("it ran"));
    Ok(())
}

// One server under the names that its certificate has: no DNS is needed for that.
#[netns_test(nodes = 2, aliases(server = ["www.example.com", "api.example.com"]))]
async fn virtual_hosts(client: Node, server: Node) -> io::Result<()> {
    let _listener = server.listen_tcp(443).await?;
    for host in ["www.example.com", "api.example.com"] {
        client.connect_tcp((host, 443)).await?;
    }
    Ok(())
}
