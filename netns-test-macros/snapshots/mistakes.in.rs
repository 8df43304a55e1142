#[netns_test(nodes = 3, topolgy = ring, timeout = "10s", worker_threads = 2, nodes = 2)]
#[should_panic]
#[tokio::test]
/// Kept.
async unsafe fn mistakes<T>(self, client: Node, _: Node, #[case] localhost: Node) {
    kept();
}
