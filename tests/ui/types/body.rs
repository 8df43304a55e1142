// What is wrong in the body is reported where it is, once, as in any function.
use netns_test::{Node, netns_test};

#[netns_test]
async fn body(client: Node) -> std::io::Result<()> {
    let port: u16 = "7"; //~ ERROR mismatched types
    client.listen_tcp(port).await?;
    client.listen_to(port).await?; //~ ERROR no method named `listen_to` found
    Ok(())
}

#[netns_test]
fn result(_client: Node) -> std::io::Result<()> { //~ ERROR mismatched types
}
