//! Injection by type; an argument's name is its node's.

use netns_test::{Argument, Error, FromNetwork, Network, Node, netns_test};

fn names(network: &Network) -> Vec<String> {
    network.nodes().iter().map(|node| node.name().to_owned()).collect()
}

#[netns_test]
fn none() {
    let network = Network::current().expect("the network of this test");
    assert!(network.nodes().is_empty());
}

#[netns_test]
fn one_by_one(client: Node, web_server: Node, _silent: netns_test::Node, network: Network) {
    assert_eq!((client.name(), web_server.name()), ("client", "web-server"));
    assert_eq!(names(&network), ["client", "web-server", "silent"]);
}

#[netns_test(nodes = 4)]
fn arrays(mut servers: [Node; 3], client: Node, network: Network) {
    servers.reverse();
    assert_eq!(servers.map(|server| server.name().to_owned()), ["servers-2", "servers-1", "servers-0"]);
    assert_eq!(client.name(), "client");
    assert_eq!(names(&network), ["servers-0", "servers-1", "servers-2", "client"]);
}

#[netns_test(nodes = 3)]
fn by_number(network: Network) {
    assert_eq!(names(&network), ["node-0", "node-1", "node-2"]);
}

#[netns_test]
fn raw(r#match: Node) {
    assert_eq!(r#match.name(), "match");
}

#[netns_test]
fn chosen_by_cfg(
    #[cfg(target_os = "linux")] client: Node,
    #[cfg(not(target_os = "linux"))] client: netns_test::Network,
    #[cfg(any())] never: Node,
    network: Network,
) {
    assert_eq!(client.name(), "client");
    assert_eq!(names(&network), ["client"]);
}

struct Pair {
    first: Node,
    second: Node,
}

impl FromNetwork for Pair {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        assert_eq!(argument.name(), "the-pair");
        Ok(Self { first: argument.node("node-0")?, second: argument.node("node-1")? })
    }
}

#[netns_test(nodes = 2)]
async fn own_type(the_pair: Pair) -> std::io::Result<()> {
    let listener = the_pair.first.listen_tcp(7).await?;
    the_pair.second.connect_tcp("node-0:7").await?;
    listener.accept().await?;
    Ok(())
}
