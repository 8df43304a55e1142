#[netns_test::test(nodes = 2, timeout = 5s, crate = ::other)]
#[doc = "first"]
#[rstest]
#[case(1)]
#[case(2)]
async fn rstest_above(#[case] x: u32, a: Node, nodes: [Node; 2], #[from(f)] b: Node, network: netns_test::Network, own: My) {
    body();
}
