//! A network to look around in: `cargo run -p netns-test-examples --example explore`.
//!
//! It prints the command that puts a shell into each node, and stays until Enter.

use netns_test::{Node, Router};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

#[netns_test::main(
    nodes(client, server),
    routers(r1, r2),
    links(client -- r1, r1 -- r2 { mtu = 1400, prefix = "192.0.2.0/30" }, r2 -- server),
)]
async fn main(client: Node, server: Node, r1: Router) -> std::io::Result<()> {
    server.spawn(async || {
        let listener = TcpListener::bind("[::]:7").await?;
        loop {
            let (mut stream, peer) = listener.accept().await?;
            stream.write_all(format!("hello {peer}\n").as_bytes()).await?;
        }
        #[expect(unreachable_code, reason = "it says what the block returns")]
        std::io::Result::Ok(())
    });
    server.wait_listening(7).await?;
    println!("in {}: getent hosts {}; cat < /dev/tcp/{}/7", client.name(), server.name(), server.name());
    println!("in {}: ip route; ip -statistics link", r1.name());
    Ok(())
}
