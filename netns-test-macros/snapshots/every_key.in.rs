#[netns_test(
    nodes = 3,
    topology = line,
    family = v6,
    timeout = 1.5s,
    run_in = node_0,
    aliases(node_1 = ["relay.test", "www"], "node-2" = ["a.test"]),
    dns = node_2,
    flavor = "multi_thread",
    worker_threads = 2,
    require = [root],
    crate = crate::reexports::netns_test,
)]
async fn every_key(network: Network, own: my::Extractor) {
    drop((network, own));
}
