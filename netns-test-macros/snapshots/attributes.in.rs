#[netns_test]
#[ignore = "slow"]
#[expect(unused_variables, reason = "none needed")]
#[should_panic(expected = "boom")]
#[foreign::attribute(x)]
#[cfg(unix)]
async fn attributes(#[cfg(feature = "a")] a: Node, #[cfg(not(feature = "a"))] a: Node, #[allow(unused)] b: Node) {
    panic!("boom");
}
