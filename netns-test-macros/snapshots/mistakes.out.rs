::core::compile_error! {
    "unknown key `topolgy`: did you mean `topology`? (expected `nodes`, `topology`, `routers`, `switches`, `links`, `routes`, `addresses`, `kubernetes`, `wire`, `seed`, `family`, `timeout`, `run_in`, `aliases`, `dns`, `flavor`, `worker_threads`, `require`, `fails`, `matrix`, `capture` or `crate`)"
}
::core::compile_error! {
    "write it without quotes: `timeout = 10s`"
}
::core::compile_error! {
    "`nodes` is written twice: remove one"
}
::core::compile_error! {
    "a test cannot be `unsafe`: remove it, and write an `unsafe` block where it is needed"
}
::core::compile_error! {
    "a test cannot be generic: nothing says what to put here; write the types themselves"
}
::core::compile_error! {
    "`#[netns_test]` makes the function a test already: remove `#[tokio::test]`"
}
::core::compile_error! {
    "a test is a function of its own, outside any `impl`: remove `self`"
}
::core::compile_error! {
    "an argument needs a name here, for its name is its host name: write `_name`"
}
::core::compile_error! {
    "`localhost` is the name of every node's own loopback: choose another"
}
::core::compile_error! {
    "`worker_threads` requires the `multi_thread` flavor: write `flavor = \"multi_thread\"`"
}
#[allow(dead_code, unused, clippy::all)]
/// Kept.
async fn mistakes<T>(client: Node, _: Node, localhost: Node) {
    kept();
}
