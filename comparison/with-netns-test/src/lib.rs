//! What the tests of netns-test do with their nodes.

use netns_test::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Two bytes from the client to the server and back.
pub async fn echo(client: &Node, server: &Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(measure::PORT).await?;
    let mut out = client.connect_tcp((server.ip(), measure::PORT)).await?;
    let (mut inside, _) = listener.accept().await?;
    let mut buffer = [0; 2];
    out.write_all(b"hi").await?;
    inside.read_exact(&mut buffer).await?;
    inside.write_all(&buffer).await?;
    out.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"hi");
    Ok(())
}
