///first
#[rstest]
#[case(1)]
#[case(2)]
#[::other::test(nodes = 2, timeout = 5s, crate = ::other)]
async fn rstest_above(
    #[case]
    x: u32,
    #[ignore]
    a: Node,
    #[ignore]
    nodes: [Node; 2],
    #[from(f)]
    b: Node,
    #[ignore]
    network: netns_test::Network,
    own: My,
) {
    body();
}
