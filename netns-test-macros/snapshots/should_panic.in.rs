#[netns_test]
#[should_panic]
fn should_panic() {}
