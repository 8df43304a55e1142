//! A target without libtest (`harness = false` in Cargo.toml): a test that cannot run here shows as ignored, with the reason, where
//! `NETNS_TEST_UNSUPPORTED=skip` says so. Try it, as an ordinary user:
//! `NETNS_TEST_USERNS=0 NETNS_TEST_UNSUPPORTED=skip cargo test -p netns-test-examples --test own_harness`.

use netns_test::{Node, netns_test};

netns_test::harness!();

#[netns_test]
async fn connects(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    let _out = client.connect_tcp("server:7").await?;
    listener.accept().await.map(drop)
}

#[netns_test(nodes = 100)]
#[ignore = "many nodes: for now and then"]
async fn everybody_is_there(nodes: [Node; 100]) -> std::io::Result<()> {
    let [first, .., last] = nodes;
    let listener = last.listen_tcp(7).await?;
    let _out = first.connect_tcp((last.ip(), 7)).await?;
    listener.accept().await.map(drop)
}
