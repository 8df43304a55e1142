//! Without async: plain functions, blocking sockets, threads.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use netns_test::{Node, netns_test};

#[netns_test(nodes = 2)]
fn blocking_sockets(client: Node, server: Node) -> io::Result<()> {
    let listener = server.blocking_listen_tcp(7)?;
    let mut out = client.blocking_connect_tcp("server:7")?;
    let (mut inc, peer) = listener.accept()?;
    assert_eq!(peer.ip(), client.ip());
    out.write_all(b"hi")?;
    let mut buf = [0; 2];
    inc.read_exact(&mut buf)?;
    assert_eq!(&buf, b"hi");
    Ok(())
}

#[netns_test(nodes = 2)]
fn a_thread_in_a_node(client: Node, server: Node) -> io::Result<()> {
    // One more thread that stays in `server`, with whatever code opens its own sockets.
    let worker = server.spawn_thread("worker", || {
        let (mut stream, _) = TcpListener::bind("[::]:13")?.accept()?;
        stream.write_all(b"12:00")
    });
    server.blocking_wait_listening(13)?;

    // This thread, there and back.
    let mut stream = client.enter(|| TcpStream::connect("server:13"))?;
    let mut time = String::new();
    stream.read_to_string(&mut time)?;
    assert_eq!(time, "12:00");
    worker.join().expect("the worker panicked")
}
