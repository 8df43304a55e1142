//! The attribute of [netns-test](https://docs.rs/netns-test), which re-exports it: depend on that crate, not on this one.
#![forbid(unsafe_code)]

mod aliases;
mod args;
mod arguments;
mod attributes;
mod check;
mod conditions;
mod diag;
#[cfg(test)]
mod drawn;
mod expand;
mod fallback;
mod function;
mod graph;
mod handles;
mod hosts;
mod kubernetes;
mod matrix;
#[cfg(test)]
mod random_graphs;
mod routers;
mod rstest;
#[cfg(test)]
mod snapshots;

use proc_macro::TokenStream;

use crate::diag::Diag;
use crate::function::Function;

#[doc = include_str!("../docs/attribute.md")]
#[proc_macro_attribute]
pub fn netns_test(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), item.into(), expand::Kind::of_test()).into()
}

/// [`netns_test`](macro@netns_test) under a second name, for tools that look for a test attribute by a path that ends in
/// `test`: rstest and test-log among them.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    netns_test(args, item)
}

/// Gathers the handles of a network in a structure, which a test then takes as one argument.
///
/// The fields are injected as a test's arguments are, by type and name. The network is declared as in the attribute
/// [`netns_test`](macro@netns_test): by the fields, or by its keys in `#[network(..)]`. A test whose argument is of that type, and which
/// declares no network of its own, gets that network; in any other network, the fields find their nodes by name.
///
/// ```
/// use netns_test::{FromNetwork, Network, Node, Router, netns_test};
///
/// #[derive(FromNetwork)]
/// #[network(nodes(client, server), routers(r), links(client -- r, r -- server { mtu = 1400 }))]
/// struct Lab {
///     client: Node,
///     server: Node,
///     r: Router,
///     network: Network,
/// }
///
/// #[netns_test]
/// async fn connects(lab: Lab) -> std::io::Result<()> {
///     let listener = lab.server.listen_tcp(7).await?;
///     let _out = lab.client.connect_tcp("server:7").await?;
///     listener.accept().await?;
///     assert_eq!(lab.network.nodes().len(), 3);
///     assert_eq!(lab.r.interfaces()?.len(), 2);
///     Ok(())
/// }
///
/// // The keys that are about the test stand where they always do.
/// #[netns_test(timeout = 10s, run_in = client)]
/// fn resolves(lab: Lab) {
///     assert!(std::net::ToSocketAddrs::to_socket_addrs("server:7").is_ok());
/// }
/// # fn main() {}
/// ```
#[proc_macro_derive(FromNetwork, attributes(network))]
pub fn from_network(input: TokenStream) -> TokenStream {
    match syn::parse(input) {
        Ok(input) => handles::derive(&input).into(),
        Err(error) => error.to_compile_error().into(),
    }
}

/// Makes a network for a program, and keeps it up to explore.
///
/// It stands on `main`, takes the keys of [`netns_test`](macro@netns_test) about the network, `run_in`, `flavor` and `timeout`, and injects
/// arguments as that does. The body runs as a test's body does. When it has returned, and without an error, the network stays, with
/// all that runs in its nodes: the program prints the command that puts a shell into each node (nsenter(1)), and waits for Enter or
/// SIGCONT. Then, or when the program is killed, everything is taken down. Without `timeout`, the body may take as long as it likes.
///
/// What the body holds itself, sockets and tasks of its own runtime, ends with it; what
/// `Node::spawn` and `Node::command` started stays.
///
/// ```no_run
/// use netns_test::{Node, Router};
///
/// #[netns_test::main(nodes(client, server), routers(r), links(client -- r { mtu = 1400 }, r -- server))]
/// async fn main(client: Node, server: Node, r: Router) -> std::io::Result<()> {
///     server.spawn(async || tokio::net::TcpListener::bind("[::]:80").await?.accept().await);
///     server.wait_listening(80).await?;
///     println!("try, in {}: curl http://{}/, and in {}: tcpdump -i eth1", client.name(), server.name(), r.name());
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn main(args: TokenStream, item: TokenStream) -> TokenStream {
    program(args.into(), item.into()).into()
}

/// The expansion of a program's `main`; or all mistakes, and the function as it was.
fn program(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return fallback::verbatim(item, &error),
    };
    let mut diag = Diag::default();
    let args = args::parse(args, &mut diag);
    check::program(&args, &function, &mut diag);
    match check::check(args, &function, diag) {
        Ok(test) => expand::expand(test, expand::Kind::Main),
        Err(error) => fallback::program(function, &error),
    }
}

/// The expansion; or all mistakes, and the function as it was.
fn attribute(
    args: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
    kind: expand::Kind,
) -> proc_macro2::TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return fallback::verbatim(item, &error),
    };
    if let Some(moved) = rstest::below(&args, &function) {
        return moved;
    }
    if let Some(tests) = matrix::expand(&args, &function) {
        return tests;
    }
    let mut diag = Diag::default();
    let args = args::parse(args, &mut diag);
    // The first one has been taken out.
    for (_, span) in args.keys.iter().filter(|(key, _)| key == "matrix") {
        diag.at(*span, "`matrix` is written twice: put its values into one");
    }
    if kind == expand::Kind::Trial {
        check::trial(&function, &mut diag);
    }
    match check::check(args, &function, diag) {
        Ok(test) => expand::expand(test, kind),
        Err(error) => fallback::expand(function, &error),
    }
}
