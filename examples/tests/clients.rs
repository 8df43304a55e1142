//! Programs as clients, of servers in Rust and of one another: curl, ping, dig, iperf3.

use std::io;

use axum::Router;
use axum::routing::get;
use netns_test::{Command, Node, netns_test};

/// Runs a program to its end, and returns what it has written.
async fn says(command: &mut Command) -> io::Result<String> {
    let output = command.output().await?;
    assert!(output.status.success(), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The program under test: a web server.
async fn serve() -> io::Result<()> {
    let app = Router::new().route("/", get(async || "hello"));
    axum::serve(tokio::net::TcpListener::bind("[::]:80").await?, app).await
}

#[netns_test(nodes = 2)]
async fn curl(client: Node, server: Node) -> io::Result<()> {
    server.spawn(async || serve().await.expect("the server ended"));
    server.wait_listening(80).await?;

    for family in ["-4", "-6"] {
        let text = says(client.command("curl").args([family, "-sS", "--fail", "http://server/"])).await?;
        assert_eq!(text, "hello");
    }
    let status = client.command("curl").args(["-sS", "--fail", "http://server/nowhere"]).status().await?;
    // curl(1): the server answered 400 or worse.
    assert_eq!(status.code(), Some(22));
    Ok(())
}

#[netns_test(nodes = 2)]
async fn ping(client: Node, server: Node) -> io::Result<()> {
    for (family, address) in [("-4", server.ip4().to_string()), ("-6", server.ip6().to_string())] {
        let text = says(client.command("ping").args([family, "-c1", server.name()])).await?;
        assert!(text.contains(&address) && text.contains("1 received"), "{text}");
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn dig(client: Node, server: Node) -> io::Result<()> {
    let records = ["--address=/www.example.test/192.0.2.7", "--address=/www.example.test/2001:db8:7::1"];
    let _dnsmasq = server
        .command("dnsmasq")
        .args(["-k", "-C", "/dev/null", "-u", "", "-R", "-h"])
        .args(records)
        .spawn()
        .await?;
    server.wait_bound_udp(53).await?;

    let question = ["@server", "+short", "www.example.test"];
    assert_eq!(says(client.command("dig").args(question).arg("A")).await?, "192.0.2.7");
    assert_eq!(says(client.command("dig").args(question).args(["+tcp", "AAAA"])).await?, "2001:db8:7::1");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn iperf3(client: Node, server: Node) -> io::Result<()> {
    let iperf = server.command("iperf3").args(["--server", "--one-off"]).spawn().await?;
    server.wait_listening(5201).await?;

    // So many bytes, however long it takes. It prints what either end has counted.
    let text = says(client.command("iperf3").args(["--client", "server", "--bytes", "10M"])).await?;
    assert!(text.contains("sender") && text.contains("receiver"), "{text}");
    assert!(iperf.wait().await?.success());
    Ok(())
}
