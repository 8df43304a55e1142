#[netns_test]
fn alone() {
    assert!(std::net::TcpListener::bind("127.0.0.1:80").is_ok());
}
