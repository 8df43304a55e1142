//! A fixture of one's own: whatever a test needs of its network, made once and injected by type.

use std::io;

use netns_test::{Argument, Error, FromNetwork, Node, netns_test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that runs, and a host to use it from.
struct Service {
    client: Node,
    server: Node,
}

impl FromNetwork for Service {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        let service = Self { client: argument.node("node-0")?, server: argument.node("node-1")? };
        service.server.spawn(async || shout().await.expect("the server ended"));
        service.server.blocking_wait_listening(79)?;
        Ok(service)
    }
}

impl Service {
    async fn ask(&self, question: &str) -> io::Result<String> {
        let mut stream = self.client.connect_tcp((&self.server, 79)).await?;
        stream.write_all(question.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

/// The program under test: answers in capitals.
async fn shout() -> io::Result<()> {
    let listener = tokio::net::TcpListener::bind("[::]:79").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut question = String::new();
        stream.read_to_string(&mut question).await?;
        stream.write_all(question.to_uppercase().as_bytes()).await?;
    }
}

#[netns_test(nodes = 2)]
async fn shouts(service: Service) -> io::Result<()> {
    assert_eq!(service.ask("hello").await?, "HELLO");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn shouts_twice(service: Service) -> io::Result<()> {
    assert_eq!(service.ask("and").await?, "AND");
    assert_eq!(service.ask("again").await?, "AGAIN");
    Ok(())
}
