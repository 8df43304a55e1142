#[netns_test]
struct NoFunction;
