//! rstest above and below: its cases, values and fixtures, and nodes beside them.

use std::time::Duration;

use netns_test::{Network, Node, netns_test};
use rstest::{fixture, rstest};

#[fixture]
fn port() -> u16 {
    7
}

#[rstest]
#[case(1)]
#[case::second(2)]
#[netns_test::test(timeout = 10s)]
async fn below(#[case] number: u32, port: u16, #[ignore] client: Node, #[ignore] servers: [Node; 2]) {
    assert!((1..=2).contains(&number));
    let listener = servers[1].listen_tcp(port).await.expect("a free port");
    client.connect_tcp(("servers-1", port)).await.expect("a listener");
    listener.accept().await.expect("a connection");
}

#[netns_test(timeout = 10s)]
#[rstest]
#[case(1)]
#[case::second(2)]
fn above(#[case] number: u32, #[values("a", "b")] text: &str, port: u16, client: Node, network: Network) {
    assert!((1..=2).contains(&number) && text.len() == 1 && port == 7);
    assert_eq!(network.nodes().len(), 1);
    assert_eq!(client.name(), "client");
}

#[netns_test(nodes = 2)]
#[rstest]
async fn no_cases(port: u16, network: Network) {
    assert_eq!((network.nodes().len(), port), (2, 7));
}

#[rstest]
#[case(1)]
#[should_panic(expected = "case 2")]
#[case(2)]
#[netns_test::test]
fn should_panic_of_one_case(#[case] number: u32) {
    assert_eq!(number, 1, "case {number}");
}

#[rstest]
#[case(1)]
#[netns_test::test]
#[should_panic(expected = "case 1")]
async fn should_panic_of_all_cases(#[case] number: u32, #[ignore] _client: Node) {
    panic!("case {number}");
}

#[rstest]
#[test_attr(netns_test::test)]
async fn by_test_attr(#[values(1, 2)] number: u32, #[ignore] client: Node) {
    assert!(number < 3 && client.name() == "client");
}

#[rstest]
#[timeout(Duration::from_secs(10))]
#[netns_test::test]
async fn timeout_of_rstest(port: u16, #[ignore] client: Node) {
    client.listen_tcp(port).await.expect("a free port");
}
