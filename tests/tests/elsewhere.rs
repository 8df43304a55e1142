//! Elsewhere than on Linux everything compiles: the handles have the signatures there that they have on Linux. That it does
//! compile, and that the tests are ignored, `.ci/elsewhere` proves.
//!
//! Where they are meant to differ, `NETNS_TEST_SNAPSHOTS=overwrite cargo test -p netns-test-tests --test elsewhere` writes them anew.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Expr, FnArg, GenericParam, Ident, ImplItem, ImplItemFn, Item, ItemFn, ItemImpl, ItemStruct,
    Meta, Pat, ReturnType, Signature, Type, Visibility, parse_quote,
};

/// What is compiled everywhere as it is.
const SHARED: [&str; 14] = [
    "__private",
    "__private.rs",
    "elsewhere",
    "error.rs",
    "inject.rs",
    "kubernetes/layout.rs",
    "lib.rs",
    "netlink/state.rs",
    "node/endpoint.rs",
    "packet",
    "place.rs",
    "sys/subscriber.rs",
    "topology.rs",
    "trials.rs",
];

/// A generated file, the sources that it is made of, and what it names.
struct Part {
    file: &'static str,
    sources: &'static str,
    names: &'static str,
}

const PARTS: [Part; 3] = [
    Part {
        file: "handles.rs",
        sources: "",
        names: "use std::any::Any;
            use std::ffi::OsStr;
            use std::fmt;
            use std::future::Future;
            use std::io;
            use std::marker::PhantomData;
            use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
            use std::ops::Deref;
            #[cfg(unix)]
            use std::os::fd::BorrowedFd;
            use std::path::{Path, PathBuf};
            use std::pin::Pin;
            use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output, Stdio};
            use std::task::{Context, Poll};
            use std::time::{Duration, Instant};
            use netns_test_model::graph::{Conditions, Firewall, Nat, Wire};
            use super::endpoint::ToEndpoint;
            use super::state::{Address, Link, Neighbour, Protocol, Route, Socket};
            use super::{Opaque, refused, unavailable};
            use crate::packet::Packet;
            use crate::{Argument, Error, FromNetwork, ToPlace, Topology};",
    },
    Part {
        file: "dns.rs",
        sources: "dns",
        names: "use std::fmt;
            use std::marker::PhantomData;
            use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
            use std::time::Duration;
            use super::handles::Node;
            use super::{Opaque, refused, unavailable};
            use crate::Error;",
    },
    Part {
        file: "kubernetes.rs",
        sources: "kubernetes",
        names: "use std::collections::BTreeMap;
            use std::fmt;
            use std::io;
            use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
            use std::ops::{Deref, RangeInclusive};
            #[cfg(unix)]
            use std::os::fd::AsFd;
            use std::time::Duration;
            use tokio::net::UdpSocket;
            use super::dns::Server;
            use super::handles::{Network, Node};
            pub use super::layout::ClusterLayout;
            use super::{Opaque, refused, unavailable};
            use crate::{Argument, Error, FromNetwork};",
    },
];

#[test]
fn the_handles_have_the_signatures_of_linux() {
    let package = env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let sources = package.join("../netns-test/src");
    let overwrite = env::var_os("NETNS_TEST_SNAPSHOTS").is_some_and(|value| value == "overwrite");
    for part in PARTS {
        let path = sources.join("elsewhere").join(part.file);
        let made = part.make(&sources);
        if overwrite {
            fs::write(&path, made).expect("the directory is writable");
        } else {
            let there = fs::read_to_string(&path).expect("the file is there");
            assert!(
                code(&there) == code(&made),
                "{} differs from Linux's: write it anew, as this file says",
                path.display()
            );
        }
    }
}

/// The lines without documentation, which may be older.
fn code(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.trim_start().starts_with("///")).collect()
}

impl Part {
    fn make(&self, sources: &Path) -> String {
        let read = |part: &Self| part.files(sources).iter().flat_map(|path| items(path)).collect::<Vec<_>>();
        let public = |item: &Item| match item {
            Item::Struct(item) if is_pub(&item.vis) => Some(item.ident.to_string()),
            Item::Enum(item) if is_pub(&item.vis) => Some(item.ident.to_string()),
            _ => None,
        };
        // A part may implement something for the types of another: a pod becomes a node.
        let own: BTreeSet<String> = PARTS.iter().flat_map(read).filter_map(|item| public(&item)).collect();
        let made = read(self).into_iter().filter_map(|item| elsewhere(item, &own)).collect();
        let made = in_order(made);
        let names: TokenStream = self.names.parse().expect("tokens of Rust");
        let file = syn::parse2(quote!(#names #(#made)*)).expect("a file of Rust");
        format!(
            "//! Made by `tests/tests/elsewhere.rs` of the sources for Linux, which have the whole documentation.\n\
             #![allow(unused_variables, dead_code, reason = \"nothing in here runs\")]\n\n{}",
            prettyplease::unparse(&file)
        )
    }

    /// The sources of this part, and of no other, by their names.
    fn files(&self, sources: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![sources.join(self.sources)];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).expect("a directory of sources") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(sources).expect("a path below").to_str().expect("a name");
                let is_other = PARTS.iter().any(|part| part.sources == name && name != self.sources);
                match path.is_dir() {
                    _ if SHARED.contains(&name) || is_other => {}
                    true => pending.push(path),
                    false if name.ends_with(".rs") => found.push(path),
                    false => {}
                }
            }
        }
        found.sort();
        found
    }
}

fn items(path: &Path) -> Vec<Item> {
    let text = fs::read_to_string(path).expect("a file that was just listed");
    // Most have nothing for others, and need not be parsed.
    if !["pub fn ", "pub async fn ", "pub const fn ", "pub struct ", "pub enum "]
        .iter()
        .any(|item| text.contains(item))
    {
        return Vec::new();
    }
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())).items
}

/// The items by name, with all methods of a type together: in which file they stand is of no account.
fn in_order(items: Vec<Item>) -> Vec<Item> {
    let mut ordered = BTreeMap::new();
    for item in items {
        let key = match &item {
            Item::Enum(item) => (item.ident.to_string(), 0, String::new()),
            Item::Fn(item) => (item.sig.ident.to_string(), 0, String::new()),
            Item::Struct(item) => (item.ident.to_string(), 0, String::new()),
            Item::Impl(item) => {
                let name = named(&item.self_ty).expect("the name of a type").to_string();
                let head = ItemImpl { items: Vec::new(), ..item.clone() }.to_token_stream().to_string();
                (name, if item.trait_.is_some() { 2 } else { 1 }, head)
            }
            _ => unreachable!("no other is made"),
        };
        match (ordered.entry(key), item) {
            (Entry::Vacant(place), item) => {
                place.insert(item);
            }
            (Entry::Occupied(mut place), Item::Impl(more)) => {
                if let Item::Impl(there) = place.get_mut() {
                    there.items.extend(more.items);
                }
            }
            (Entry::Occupied(place), _) => panic!("two items are called `{}`", place.key().0),
        }
    }
    for item in ordered.values_mut() {
        if let Item::Impl(item) = item {
            item.items.sort_by_key(|member| match member {
                ImplItem::Fn(member) => member.sig.ident.to_string(),
                _ => String::new(),
            });
        }
    }
    ordered.into_values().collect()
}

/// The item as it is elsewhere, if it is seen outside of the crate.
fn elsewhere(item: Item, own: &BTreeSet<String>) -> Option<Item> {
    match item {
        Item::Struct(mut item) if is_pub(&item.vis) => {
            item.attrs = kept(item.attrs);
            Some(Item::Struct(opaque(item)))
        }
        Item::Enum(mut item) if is_pub(&item.vis) => {
            item.attrs = kept(item.attrs);
            for variant in &mut item.variants {
                variant.attrs = kept(std::mem::take(&mut variant.attrs));
                for field in &mut variant.fields {
                    field.attrs = kept(std::mem::take(&mut field.attrs));
                }
            }
            Some(Item::Enum(item))
        }
        Item::Fn(ItemFn { attrs, vis, sig, .. }) if is_pub(&vis) => {
            let (attrs, sig, body) = function(attrs, sig);
            Some(parse_quote!(#(#attrs)* #vis #sig { #body }))
        }
        Item::Impl(item) => implementation(item, own),
        Item::Trait(item) if is_pub(&item.vis) => panic!("the trait `{}` is to be shared", item.ident),
        _ => None,
    }
}

/// The structure without what is private.
fn opaque(item: ItemStruct) -> ItemStruct {
    let is_opaque = item.fields.iter().any(|field| !is_pub(&field.vis));
    let parameters = item.generics.params.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(parameter) => {
            let lifetime = &parameter.lifetime;
            quote!(PhantomData<&#lifetime ()>)
        }
        GenericParam::Type(parameter) => {
            let ident = &parameter.ident;
            quote!(PhantomData<fn() -> #ident>)
        }
        GenericParam::Const(_) => TokenStream::new(),
    });
    let parameters: Vec<_> = parameters.collect();
    let public = item.fields.into_iter().filter(|field| is_pub(&field.vis)).map(|mut field| {
        field.attrs = kept(field.attrs);
        field
    });
    let public: Vec<_> = public.collect();
    let is_named = public.iter().any(|field| field.ident.is_some());
    let fields = match (is_opaque, is_named) {
        (false, true) => quote!({ #(#public),* }),
        (true, true) => quote!({ #(#public,)* opaque: (Opaque, #(#parameters)*) }),
        (false, false) => quote!((#(#public),*);),
        (true, false) => quote!((#(#public,)* Opaque, #(#parameters),*);),
    };
    let ItemStruct { attrs, vis, ident, generics, .. } = item;
    parse_quote!(#(#attrs)* #vis struct #ident #generics #fields)
}

/// What others see of an implementation.
fn implementation(mut item: ItemImpl, own: &BTreeSet<String>) -> Option<Item> {
    let of_own = named(&item.self_ty).is_some_and(|ident| own.contains(&ident.to_string()));
    let is_test = item
        .attrs
        .iter()
        .any(|attr| attr.path().is_ident("cfg") && attr.meta.to_token_stream().to_string().contains("test"));
    let of = item.trait_.as_ref().map(|(_, path, _)| path.segments.last().expect("a name").ident.to_string());
    match of.as_deref() {
        _ if is_test => return None,
        // What happens when it is dropped, and how it is sealed, is nobody's business.
        Some("Drop" | "Sealed") => return None,
        Some(_) if !of_own => return None,
        _ => {}
    }
    let is_trait = of.is_some();
    let items = std::mem::take(&mut item.items);
    item.attrs = kept(item.attrs);
    item.items = items
        .into_iter()
        .filter_map(|member| match member {
            ImplItem::Fn(ImplItemFn { attrs, vis, sig, .. }) if is_trait || is_pub(&vis) => {
                let (attrs, sig, body) = function(attrs, sig);
                Some(parse_quote!(#(#attrs)* #vis #sig { #body }))
            }
            ImplItem::Const(mut member) if is_pub(&member.vis) => {
                member.attrs = kept(member.attrs);
                if member.ty.to_token_stream().to_string() == "Self" {
                    member.expr = parse_quote!(Self(Opaque));
                }
                Some(ImplItem::Const(member))
            }
            ImplItem::Type(member) => Some(ImplItem::Type(member)),
            _ => None,
        })
        .collect();
    (!item.items.is_empty() || is_trait).then_some(Item::Impl(item))
}

/// The name of a type, an array's or a reference's as well.
fn named(ty: &Type) -> Option<&Ident> {
    match ty {
        Type::Path(path) if path.path.segments.len() == 1 => Some(&path.path.segments[0].ident),
        Type::Array(array) => named(&array.elem),
        Type::Reference(reference) => named(&reference.elem),
        _ => None,
    }
}

/// The signature alone, and a body for it.
fn function(attrs: Vec<Attribute>, mut sig: Signature) -> (Vec<Attribute>, Signature, Expr) {
    let mut attrs = kept(attrs);
    // File descriptors are Unix's.
    if names(sig.to_token_stream()).iter().any(|name| name.ends_with("Fd")) {
        attrs.push(parse_quote!(#[cfg(unix)]));
    }
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) if receiver.reference.is_none() => receiver.mutability = None,
            FnArg::Receiver(_) => {}
            FnArg::Typed(input) => {
                if let Pat::Ident(pattern) = &mut *input.pat {
                    pattern.mutability = None;
                }
            }
        }
    }
    let output = match &sig.output {
        ReturnType::Type(_, ty) => ty.to_token_stream().to_string(),
        ReturnType::Default => String::new(),
    };
    let body = match &*output {
        // It may be called when a constant is made.
        "Self" if sig.constness.is_some() => parse_quote!(Self(Opaque)),
        output if output.starts_with("Result <") && output.ends_with(", Error >") => {
            parse_quote!(Err(refused()))
        }
        output if output.starts_with("impl Future") => parse_quote!(async { unavailable() }),
        _ => parse_quote!(unavailable()),
    };
    (attrs, sig, body)
}

/// The attributes that others see, and the first paragraph of the documentation.
fn kept(mut attrs: Vec<Attribute>) -> Vec<Attribute> {
    let mut is_first = true;
    let is_kept = |attr: &Attribute| match &attr.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => {
            is_first &= doc.value.to_token_stream().to_string() != "\"\"";
            is_first
        }
        meta => ["cfg", "default", "derive", "doc", "must_use", "non_exhaustive", "track_caller"]
            .iter()
            .any(|name| meta.path().is_ident(name)),
    };
    attrs.retain(is_kept);
    attrs
}

fn names(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push(ident.to_string()),
            TokenTree::Group(group) => found.extend(names(group.stream())),
            _ => {}
        }
    }
    found
}

fn is_pub(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}
