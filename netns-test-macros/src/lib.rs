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
mod hosts;
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

/// The expansion; or all mistakes, and the function as it was.
fn attribute(args: proc_macro2::TokenStream, item: proc_macro2::TokenStream) -> proc_macro2::TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => return fallback::verbatim(item, &error),
    };
    if let Some(moved) = rstest::below(&args, &function) {
        return moved;
    }
    let mut diag = Diag::default();
    let args = args::parse(args, &mut diag);
    match check::check(args, &function, diag) {
        Ok(test) => expand::expand(test),
        Err(error) => fallback::expand(function, &error),
    }
}
