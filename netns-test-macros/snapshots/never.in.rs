#[netns_test]
#[should_panic]
fn never(client: Node) -> ! {
    panic!()
}
