//! Beside other frameworks: macros that cannot inject find the network of the running test by themselves.

use netns_test::{Network, netns_test};
use proptest::prelude::*;

/// proptest's closure has no arguments of ours.
#[netns_test(nodes = 2)]
fn proptest_finds_the_network(_network: Network) {
    proptest!(ProptestConfig::with_cases(16), |(payload in proptest::collection::vec(any::<u8>(), 1..1000))| {
        let network = Network::current().expect("a test is running");
        let [client, server] = [network.node("node-0").unwrap(), network.node("node-1").unwrap()];
        let to = server.blocking_bind_udp(0).unwrap();
        let from = client.blocking_bind_udp(0).unwrap();
        from.send_to(&payload, to.local_addr().unwrap()).unwrap();
        let mut buffer = [0; 1000];
        let (length, _) = to.recv_from(&mut buffer).unwrap();
        prop_assert_eq!(&buffer[..length], &payload[..]);
    });
}

#[test]
fn outside_a_netns_test_there_is_none() {
    let error = Network::current().expect_err("no test is running").to_string();
    assert!(error.contains("no network of a running `#[netns_test]`"), "{error}");
}
