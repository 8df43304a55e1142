//! A program to be tested from outside: a TCP echo server that ends gracefully on SIGTERM.
//!
//! It says on its standard output where it listens, serves each connection to its end, and exits with status 0.

use std::io;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "[::]:7".to_owned());
    let mut end = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);

    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut stream, _peer) = accepted?;
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
            _ = end.recv() => break,
        }
    }
    // No new ones; those that are open are served to their end.
    drop(listener);
    println!("serving {} more", connections.len());
    while connections.join_next().await.is_some() {}
    println!("bye");
    Ok(())
}
