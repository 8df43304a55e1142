//! In one file: tests with a network of their own, and plain tests.

use std::net::TcpListener;

use netns_test::{Node, netns_test};

// The same port in every test, at the same time.
#[netns_test]
fn port_80_is_free(server: Node) -> std::io::Result<()> {
    server.blocking_listen_tcp(80).map(drop)
}

// No node: a test that is alone with its loopback. Port 80 is free here, too.
#[netns_test]
fn alone() -> std::io::Result<()> {
    TcpListener::bind("127.0.0.1:80").map(drop)
}

// A plain test stays plain: it has the host's network.
#[test]
fn plain() -> std::io::Result<()> {
    TcpListener::bind("127.0.0.1:0").map(drop)
}
