//! `#[netns_test]` above `#[rstest]`: the two change places.
//!
//! rstest makes a function of every case and copies the attributes that it does not know, so the test attribute has to
//! stand below it; and an argument that is none of rstest's has to say so, by `#[ignore]`.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{FnArg, Path, Type, parse_quote};

use crate::arguments::INJECTED;
use crate::expand::krate;
use crate::function::{Function, bare, ends_with, is_named};
use crate::{args, diag::Diag};

/// The function with the attribute below rstest's, if that is still to come.
pub(crate) fn below(args: &TokenStream, function: &Function) -> Option<TokenStream> {
    let rstest = function.attrs.iter().position(|attr| ends_with(attr.path(), &["rstest"]))?;
    let mut function = function.clone();
    // What stands above a `#[case]` is that case's alone.
    let last = function.attrs.iter().rposition(|attr| is_case(attr.path())).unwrap_or(rstest).max(rstest);
    // Mistakes are reported once, by the attribute in its new place.
    let krate = krate(args::parse(args.clone(), &mut Diag::default()).krate.as_ref());
    let moved =
        if args.is_empty() { parse_quote!(#[#krate::test]) } else { parse_quote!(#[#krate::test(#args)]) };
    function.attrs.insert(last + 1, moved);
    for input in &mut function.sig.inputs {
        if let FnArg::Typed(input) = input
            && input.attrs.iter().all(|attr| attr.path().is_ident("cfg"))
            && is_injected(&input.ty)
        {
            input.attrs.push(parse_quote!(#[ignore]));
        }
    }
    Some(function.into_token_stream())
}

/// `case`, or `case::description`.
fn is_case(path: &Path) -> bool {
    path.segments.first().is_some_and(|first| first.ident == "case")
}

fn is_injected(ty: &Type) -> bool {
    match bare(ty) {
        Type::Array(array) => is_named(&array.elem, "Node"),
        ty => INJECTED.iter().any(|name| is_named(ty, name)),
    }
}
