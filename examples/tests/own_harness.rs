//! A target without libtest (`harness = false` in Cargo.toml): a test that cannot run here shows as ignored, with the reason, where
//! `NETNS_TEST_UNSUPPORTED=skip` says so. Try it: `NETNS_TEST_USERNS=0 NETNS_TEST_UNSUPPORTED=skip cargo test --test own_harness`, as an
//! ordinary user.

use netns_test::{Node, netns_test};

netns_test::harness!();

#[netns_test]
async fn connects(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    let _out = client.connect_tcp("server:7").await?;
    listener.accept().await.map(drop)
}

#[netns_test(require = [root])]
fn is_root(node: Node) -> std::io::Result<()> {
    node.set_sysctl("net.ipv4.ip_forward", 1)
}
