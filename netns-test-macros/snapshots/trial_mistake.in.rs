#[netns_test]
#[test_log::test]
fn logs() {}
