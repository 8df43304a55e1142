::core::compile_error! {
    "in a target with `harness = false` rustc would drop the test: write this attribute above `#[netns_test]`"
}
#[allow(dead_code, unused, clippy::all)]
fn logs() {}
