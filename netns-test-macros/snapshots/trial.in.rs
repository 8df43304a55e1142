#[netns_test]
#[ignore = "it is slow"]
#[cfg_attr(windows, ignore = "no namespaces", allow(unused))]
#[allow(clippy::unused_async)]
async fn slow(client: Node) {}
