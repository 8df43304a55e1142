//! The first test to write: two hosts on one switch.

use netns_test::{Node, netns_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

// The argument names are the host names.
#[netns_test(nodes = 2)]
async fn echo(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?; // a listener that lives in `server`
    let mut out = client.connect_tcp("server:7").await?; // name resolved inside `client`
    let (mut inc, peer) = listener.accept().await?;
    assert_eq!(peer.ip(), client.ip());
    out.write_all(b"hi").await?;
    let mut buf = [0; 2];
    inc.read_exact(&mut buf).await?;
    assert_eq!(&buf, b"hi");
    Ok(())
}
