#[netns_test(nodes = 2)]
/// Two hosts.
pub async fn echo(client: Node, mut _web_server: netns_test::Node) -> std::io::Result<()> {
    #![allow(unused_mut)]
    client.connect_tcp("web-server:7").await?;
    Ok(())
}
