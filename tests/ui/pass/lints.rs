//! An expansion trips no lint of the user's, and hides nothing of the module from the body.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_results, single_use_lifetimes)]
#![deny(
    let_underscore_drop,
    unused_lifetimes,
    unused_import_braces,
    trivial_casts,
    absolute_paths_not_starting_with_crate
)]
#![deny(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::shadow_unrelated,
    clippy::wildcard_imports
)]

use netns_test::{Network, Node, netns_test};

const TEST: u16 = 7;
const __NETNS_TEST: u16 = 8;

#[expect(non_camel_case_types, reason = "as the expansion might name something")]
type arguments = Network;

#[netns_test]
fn alone() {
    assert_eq!((TEST, __NETNS_TEST), (7, 8));
}

#[netns_test(nodes = 2)]
async fn sockets(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(TEST).await?;
    let _out = client.connect_tcp("server:7").await?;
    let _accepted = listener.accept().await?;
    drop((client, server));
    Ok(())
}

#[netns_test]
#[expect(unused_variables, reason = "an expectation is met in the body")]
fn expectation(arguments: arguments) {
    let network = 1;
    drop(arguments);
}

#[netns_test]
fn calls_itself_by_name(client: Node) {
    fn inner(client: &Node) -> &str {
        client.name()
    }
    assert_eq!(inner(&client), "client");
    drop(client);
}
