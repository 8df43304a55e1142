#[netns_test]
#[should_panic = "text"]
fn should_panic_equals() {}
