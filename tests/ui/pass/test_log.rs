//! test-log, as it is written with any test attribute: by its argument, above and below.

use netns_test::{Node, netns_test};
use rstest::rstest;

#[test_log::test(netns_test::test)]
async fn argument(client: Node) {
    assert_eq!(client.name(), "client");
}

#[test_log::test(netns_test::test(nodes = 2, timeout = 10s))]
async fn argument_with_keys(client: Node, _server: Node) {
    assert_eq!(client.name(), "client");
}

#[test_log::test]
#[netns_test]
async fn above(client: Node) {
    assert_eq!(client.name(), "client");
}

#[test_log::test]
#[netns_test::test(timeout = 10s)]
fn above_second_name(client: Node) {
    assert_eq!(client.name(), "client");
}

#[netns_test]
#[test_log::test]
async fn below(client: Node) -> std::io::Result<()> {
    client.listen_tcp(7).await?;
    Ok(())
}

#[rstest]
#[case(1)]
#[test_log::test(netns_test::test)]
async fn with_rstest(#[case] number: u32, #[ignore] client: Node) {
    assert_eq!((number, client.name()), (1, "client"));
}
