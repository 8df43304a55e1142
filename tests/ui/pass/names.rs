//! More names for nodes, and a name server, in every way of writing them.

use std::net::ToSocketAddrs as _;

use netns_test::{Network, Node, netns_test};

fn resolves(name: &str, node: &Node) {
    let found: Vec<_> = (name, 1).to_socket_addrs().expect("it resolves").collect();
    assert!(found.iter().any(|address| address.ip() == node.ip()), "{name}: {found:?}");
}

#[netns_test(aliases = ["relay.test", "www"])]
fn of_the_only_node(server: Node) {
    resolves("relay.test", &server);
    resolves("www", &server);
}

#[netns_test(aliases(web_server = ["a.test",], "client" = ["b.test"],), nodes = 2, dns = web_server)]
fn of_several(client: Node, _web_server: Node) {
    resolves("b.test", &client);
    resolves("a.test", &_web_server);
    assert_eq!(
        client.read("/etc/resolv.conf").expect("it is there"),
        format!("nameserver {}\n", _web_server.ip())
    );
}

#[netns_test(aliases(servers_1 = ["a.test"], "servers-0" = []), dns = "servers-0")]
fn of_an_array(servers: [Node; 2]) {
    resolves("a.test", &servers[1]);
}

#[netns_test(nodes = 1, aliases = ["a.test"], dns = node_0)]
fn without_arguments(network: Network) {
    resolves("a.test", &network.nodes()[0]);
}

// The node that is there has the names, whichever it is.
#[netns_test(aliases = ["a.test"])]
fn of_what_a_cfg_chooses(#[cfg(unix)] server: Node, #[cfg(not(unix))] server: Node) {
    resolves("a.test", &server);
}
