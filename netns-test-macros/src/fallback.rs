//! What stands in for a test with mistakes in it: the mistakes, and the function as it was.
//!
//! The function is there for the editor, and so that one mistake does not make others: of a name that nothing uses, of an
//! import that nothing needs.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::{Attribute, Error, FnArg};

use crate::function::Function;

pub(crate) fn expand(mut function: Function, error: &Error) -> TokenStream {
    let errors = error.to_compile_error();
    function.attrs.retain(harmless);
    let sig = &mut function.sig;
    sig.constness = None;
    sig.unsafety = None;
    sig.abi = None;
    sig.variadic = None;
    sig.inputs = std::mem::take(&mut sig.inputs)
        .into_iter()
        .filter_map(|input| match input {
            FnArg::Receiver(_) => None,
            FnArg::Typed(mut input) => {
                input.attrs.retain(harmless);
                Some(FnArg::Typed(input))
            }
        })
        .collect();
    quote! {
        #errors
        #[allow(dead_code, unused, clippy::all)]
        #function
    }
}

/// The same for a program's `main`, which takes no arguments.
pub(crate) fn program(function: Function, error: &Error) -> TokenStream {
    if function.sig.ident != "main" {
        return expand(function, error);
    }
    let inner = expand(function, error);
    quote! {
        fn main() {
            #inner
        }
    }
}

/// The item as it came, where it is no function.
pub(crate) fn verbatim(item: TokenStream, error: &Error) -> TokenStream {
    let mut tokens = error.to_compile_error();
    item.to_tokens(&mut tokens);
    tokens
}

/// Whether the attribute means on any function what it means on a test.
pub(crate) fn harmless(attr: &Attribute) -> bool {
    ["doc", "cfg", "allow", "expect", "warn", "deny", "forbid"].iter().any(|name| attr.path().is_ident(name))
}
