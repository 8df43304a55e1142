//! A program of one's own package, tested as a whole: started in a node, used over the network, and ended by a signal.

use std::ffi::OsString;

use assert_cmd::assert::OutputAssertExt;
use netns_test::{Node, Signal, netns_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The program, which cargo builds before the test. A runner that has moved it since says where it is now.
fn tcp_echo() -> OsString {
    std::env::var_os("CARGO_BIN_EXE_tcp-echo").unwrap_or_else(|| env!("CARGO_BIN_EXE_tcp-echo").into())
}

#[netns_test(nodes = 2)]
async fn ends_gracefully(client: Node, server: Node) -> std::io::Result<()> {
    let echo = server.command(tcp_echo()).spawn().await?;
    server.wait_listening(7).await?;
    let mut stream = client.connect_tcp("server:7").await?;
    stream.write_all(b"before").await?;
    stream.read_exact(&mut [0; 6]).await?;

    // Asked to end, it takes no new connections, and serves the old one to its end.
    echo.signal(Signal::TERM)?;
    echo.wait_line("serving 1 more").await?;
    assert!(client.connect_tcp("server:7").await.is_err());
    stream.write_all(b"after").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"after");
    drop(stream);

    assert!(echo.wait().await?.success());
    assert_eq!(echo.lines().last().map(String::as_str), Some("bye"));
    Ok(())
}

#[netns_test(nodes = 2)]
async fn dies_in_the_middle(client: Node, server: Node) -> std::io::Result<()> {
    let echo = server.command(tcp_echo()).arg("0.0.0.0:7").spawn().await?;
    assert_eq!(echo.wait_line("listening").await?, "listening on 0.0.0.0:7");
    let mut stream = client.connect_tcp((server.ip4(), 7)).await?;
    stream.write_all(b"hello").await?;
    stream.read_exact(&mut [0; 5]).await?;

    // A killed program's kernel still closes its connections.
    echo.kill().await?;
    assert_eq!(stream.read(&mut [0; 5]).await?, 0);
    Ok(())
}

// A command that other code has built, and assert_cmd's words for what it did.
#[netns_test]
async fn says_what_is_wrong(server: Node) -> Result<(), Box<dyn std::error::Error>> {
    let mut command = std::process::Command::new(tcp_echo());
    command.arg("203.0.113.1:7");
    let output = server.adopt(command).output().await?;
    output.assert().failure().stdout("");
    Ok(())
}
