//! redis-server in a node, talked to over IPv4 and IPv6 in Redis' own protocol, RESP.

use std::io;

use netns_test::{Child, Node, netns_test};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Starts redis-server in a node, which keeps nothing on disk; it answers when this returns.
async fn redis(server: &Node) -> io::Result<Child> {
    let arguments =
        ["--port", "6379", "--bind", "* -::*", "--protected-mode", "no", "--save", "", "--appendonly", "no"];
    let redis =
        server.command("redis-server").args(arguments).current_dir(server.data_dir()?).spawn().await?;
    server.wait_listening(6379).await?;
    Ok(redis)
}

/// The program under test: a client.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(from: &Node, to: &str) -> io::Result<Self> {
        Ok(Self(BufReader::new(from.connect_tcp(to).await?)))
    }

    /// Sends a command in one line, and returns the line of the answer that holds the value.
    async fn ask(&mut self, command: &str) -> io::Result<String> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).await?;
        if answer.starts_with('$') {
            // `$` and a length: the value is in the next line.
            answer.clear();
            self.0.read_line(&mut answer).await?;
        }
        Ok(answer.trim_end().to_owned())
    }
}

#[netns_test(nodes = 3)]
async fn two_clients_share_a_value(writer: Node, reader: Node, server: Node) -> io::Result<()> {
    let _redis = redis(&server).await?;
    let mut writer = Client::connect(&writer, "server:6379").await?;
    let mut reader = Client::connect(&reader, "server:6379").await?;

    assert_eq!(writer.ask("SET greeting hello").await?, "+OK");
    assert_eq!(reader.ask("GET greeting").await?, "hello");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn over_ipv4_and_ipv6(client: Node, server: Node) -> io::Result<()> {
    let _redis = redis(&server).await?;
    for (address, shown) in [
        (format!("{}:6379", server.ip4()), format!("addr={}:", client.ip4())),
        (format!("[{}]:6379", server.ip6()), format!("addr=[{}]:", client.ip6())),
    ] {
        // What the server says about this connection.
        let info = Client::connect(&client, &address).await?.ask("CLIENT INFO").await?;
        assert!(info.contains(&shown), "{info}");
    }
    Ok(())
}
