//! A target with `harness = false`, for `.ci/elsewhere`.

use netns_test::{Node, netns_test};

#[netns_test(nodes = 2)]
async fn connects(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    client.connect_tcp("server:7").await?;
    listener.accept().await.map(|_| ())
}

netns_test::harness!();
