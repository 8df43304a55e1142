//! The attribute of [netns-test](https://docs.rs/netns-test), which re-exports it: depend on that crate, not on this one.
#![forbid(unsafe_code)]

mod aliases;
mod args;
mod arguments;
mod attributes;
mod check;
mod diag;
mod expand;
mod fallback;
mod function;
mod graph;
mod handles;
mod hosts;
mod kubernetes;
mod matrix;
mod rstest;
#[cfg(test)]
mod snapshots;

use proc_macro::TokenStream;

use crate::diag::Diag;
use crate::function::Function;

#[doc = include_str!("../docs/attribute.md")]
#[proc_macro_attribute]
pub fn netns_test(args: TokenStream, item: TokenStream) -> TokenStream {
    attribute(args.into(), item.into()).into()
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

/// The expansion; or all mistakes, and the function as it was.
fn attribute(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
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
    match check::check(args, &function, diag) {
        Ok(test) => expand::expand(test),
        Err(error) => fallback::expand(function, &error),
    }
}
