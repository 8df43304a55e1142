//! A real HTTP server in one node, a real client in another, by name, over IPv4 and IPv6.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::get;
use netns_test::{Node, netns_test};

/// The program under test: it opens its own socket, as programs do.
async fn serve(on: &str) -> std::io::Result<()> {
    let hello =
        async |ConnectInfo(peer): ConnectInfo<SocketAddr>| format!("hello, {}", peer.ip().to_canonical());
    let app = Router::new().route("/", get(hello));
    let listener = tokio::net::TcpListener::bind(on).await?;
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// The other program under test.
async fn fetch(url: &str) -> reqwest::Result<String> {
    reqwest::get(url).await?.error_for_status()?.text().await
}

#[netns_test(nodes = 2)]
async fn by_name(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    server.spawn(async || serve("[::]:80").await.expect("the server ended"));
    server.wait_listening(80).await?;

    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip()));
    Ok(())
}

#[netns_test(nodes = 2, family = v4)]
async fn by_name_over_ipv4(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    server.spawn(async || serve("0.0.0.0:80").await.expect("the server ended"));
    server.wait_listening(80).await?;

    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip4()));
    Ok(())
}

#[netns_test(nodes = 2, family = v6)]
async fn by_name_over_ipv6(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    server.spawn(async || serve("[::]:80").await.expect("the server ended"));
    server.wait_listening(80).await?;

    let text = client.run(async || fetch("http://server/").await).await?;
    assert_eq!(text, format!("hello, {}", client.ip6()));
    Ok(())
}

#[netns_test(nodes = 2)]
async fn by_address_over_both(client: Node, server: Node) -> Result<(), Box<dyn std::error::Error>> {
    server.spawn(async || serve("[::]:80").await.expect("the server ended"));
    server.wait_listening(80).await?;

    let (v4, v6) = (format!("http://{}/", server.ip4()), format!("http://[{}]/", server.ip6()));
    let over_v4 = client.run(async move || fetch(&v4).await).await?;
    let over_v6 = client.run(async move || fetch(&v6).await).await?;
    assert_eq!(over_v4, format!("hello, {}", client.ip4()));
    assert_eq!(over_v6, format!("hello, {}", client.ip6()));
    Ok(())
}
