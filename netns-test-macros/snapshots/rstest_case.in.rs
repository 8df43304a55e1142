#[netns_test::test]
async fn case_1(a: Node) {
    let x = 1;
    t(x, a).await
}
