::core::compile_error! {
    "`#[netns_test]` goes on a function: `async fn name(client: Node, server: Node) { .. }`"
}
struct NoFunction;
