//! nginx, as the distribution installs it, in a node: configured by a file that only the node has, and asked by its name.

use netns_test::{Child, Node, Signal, netns_test};

const CONFIG: &str = r#"
daemon off;
error_log stderr;
pid /run/nginx.pid;
events {}
http {
    access_log /dev/stdout;
    server {
        listen 80;
        listen [::]:80;
        location / { return 200 "hello, $remote_addr"; }
    }
}
"#;

/// Starts nginx in a node; it answers when this returns.
async fn nginx(server: &Node) -> std::io::Result<Child> {
    server.write("/etc/nginx/nginx.conf", CONFIG)?;
    // Its compiled-in directory for bodies and logs belongs to other users on the host.
    server.tmpfs("/var/lib/nginx")?;
    let nginx = server.command("nginx").args(["-e", "stderr"]).spawn().await?;
    server.wait_listening(80).await?;
    Ok(nginx)
}

/// The program under test: a client.
async fn fetch(url: &str) -> reqwest::Result<String> {
    reqwest::get(url).await?.error_for_status()?.text().await
}

#[netns_test(nodes = 2)]
async fn by_name(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    let nginx = nginx(&server).await?;

    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip()));

    // It has logged that, and ends when it is done with its requests.
    nginx.wait_line("GET / HTTP/1.1").await?;
    nginx.signal(Signal::QUIT)?;
    assert!(nginx.wait().await?.success());
    Ok(())
}

#[netns_test(nodes = 2, family = v4)]
async fn by_name_over_ipv4(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    let _nginx = nginx(&server).await?;
    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip4()));
    Ok(())
}

#[netns_test(nodes = 2, family = v6)]
async fn by_name_over_ipv6(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    let _nginx = nginx(&server).await?;
    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip6()));
    Ok(())
}
