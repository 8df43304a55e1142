#[netns_test::test]
#[::core::prelude::v1::test]
async fn test_log_above(a: Node) {
    {
        mod init {}
    }
}
