//! A structure of handles, `#[derive(FromNetwork)]`: its fields are what arguments are to a test, and `#[network(..)]` takes the
//! attribute's keys about the network.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{Attribute, Data, DeriveInput, Error, Fields, Meta, Path, Result};

use crate::arguments::{Argument, Nodes, fields};
use crate::check::{Network, network};
use crate::diag::Diag;
use crate::{args, expand};

/// All that the expansion needs to know.
pub(crate) struct Handles {
    pub(crate) ident: Ident,
    pub(crate) fields: Vec<Argument>,
    /// The network that it declares; `None` for a structure that takes what there is.
    pub(crate) network: Option<Network>,
    pub(crate) krate: Option<Path>,
}

/// The keys that are about a test, and not about its network.
const OF_TESTS: [&str; 7] = ["timeout", "run_in", "flavor", "worker_threads", "require", "fails", "matrix"];

/// The implementation; or all mistakes, and one that does nothing, so that they do not make others.
pub(crate) fn derive(input: &DeriveInput) -> TokenStream {
    match check(input) {
        Ok(handles) => expand::handles(handles),
        Err(error) => {
            let (errors, ident) = (error.to_compile_error(), &input.ident);
            let (impl_generics, generics, bounds) = input.generics.split_for_impl();
            quote! {
                #errors
                impl #impl_generics ::netns_test::FromNetwork for #ident #generics #bounds {
                    fn from_network(_: &::netns_test::Argument<'_>) -> ::core::result::Result<Self, ::netns_test::Error> {
                        ::core::unreachable!()
                    }
                }
            }
        }
    }
}

fn check(input: &DeriveInput) -> Result<Handles> {
    let mut diag = Diag::default();
    let named = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => named,
            Fields::Unnamed(_) | Fields::Unit => {
                let message = "a field's name is its node's host name: write a structure with named fields, as in \
                               `struct Lab { client: Node, server: Node }`";
                return Err(Error::new(input.ident.span(), message));
            }
        },
        Data::Enum(_) | Data::Union(_) => {
            let message = "`FromNetwork` is derived for a structure with named fields: `struct Lab { client: Node, server: Node }`";
            return Err(Error::new(input.ident.span(), message));
        }
    };
    if !input.generics.params.is_empty() {
        diag.on(&input.generics, "nothing says what to put here: write the types themselves");
    }
    let (fields, whole) = fields(named, &mut diag);
    let keys = keys(&input.attrs, &mut diag);
    let args = args::parse(keys.clone().unwrap_or_default(), &mut diag);
    for (key, span) in &args.keys {
        if OF_TESTS.contains(&key.as_str()) {
            diag.at(
                *span,
                format!("`{key}` is about a test, not about a network: write it in `#[netns_test(..)]`"),
            );
        }
    }
    // One without a word about its network, and without nodes, takes what there is.
    let declares = keys.is_some() || fields.iter().any(|field| !matches!(field.nodes, Nodes::None));
    let (network, _) = network(&args, &fields, whole, Vec::new(), input.ident.span(), &mut diag);
    diag.finish(Handles {
        ident: input.ident.clone(),
        fields,
        network: declares.then_some(network),
        krate: args.krate,
    })
}

/// What the `#[network(..)]` says, if there is one.
fn keys(attrs: &[Attribute], diag: &mut Diag) -> Option<TokenStream> {
    let mut found = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("network")) {
        if found.is_some() {
            diag.on(attr, "`#[network(..)]` is written twice: put its keys into one");
            continue;
        }
        found = match &attr.meta {
            Meta::List(list) => Some(list.tokens.clone()),
            Meta::Path(_) | Meta::NameValue(_) => {
                diag.on(
                    attr.meta.to_token_stream(),
                    "expected `#[network(..)]`, as in `#[network(nodes = 2)]`",
                );
                Some(TokenStream::new())
            }
        };
    }
    found
}
