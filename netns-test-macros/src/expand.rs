//! The test to tokens: one `#[test]` function with one call, and nothing that a lint of the user's could mind.

use std::env;
use std::fmt::Debug;

use netns_test_model::ELSEWHERE;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Path, ReturnType, Type};

use crate::attributes::{ShouldPanic, without_ignore};
use crate::check::{Network, Runtime, Test};
use crate::function::bare;
use crate::handles::Handles;
use crate::{graph, kubernetes};

/// The crate by which an expansion reaches the run time.
pub(crate) fn krate(given: Option<&Path>) -> TokenStream {
    given.map_or_else(|| quote!(::netns_test), |path| path.to_token_stream())
}

/// What the function becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Test,
    /// A test of a binary without libtest, in which rustc drops what is marked `#[test]`.
    Trial,
    /// A program's `main`.
    Main,
}

impl Kind {
    /// Of a test, from how rustc was called: cargo passes `--cfg test` in place of `--test` where a target has `harness = false`.
    pub(crate) fn of_test() -> Self {
        let args: Vec<_> = env::args_os().collect();
        let without_libtest = args.windows(2).any(|pair| pair[0] == "--cfg" && pair[1] == "test");
        if without_libtest && !args.iter().any(|arg| arg == "--test") { Self::Trial } else { Self::Test }
    }
}

pub(crate) fn expand(test: Test, kind: Kind) -> TokenStream {
    let private = {
        let krate = krate(test.krate.as_ref());
        quote!(#krate::__private)
    };
    let case = case(&test, kind, &private);
    let call = call(&test, kind, &private);
    let ignore = (!test.ignored).then(ignored_elsewhere);
    let Test { attrs, vis, sig, body, .. } = test;
    let (fn_token, ident) = (sig.fn_token, &sig.ident);
    match kind {
        Kind::Main => quote! {
            #(#attrs)*
            #vis #fn_token #ident() -> ::std::process::ExitCode {
                #sig #body

                {
                    static __NETNS_TEST: #private::TestCase = #case;
                    #private::prepare!();
                    #call
                }
            }
        },
        Kind::Trial => {
            let (attrs, ignored) = without_ignore(attrs);
            quote! {
                #(#attrs)*
                #vis #fn_token #ident() {
                    #sig #body

                    {
                        static __NETNS_TEST: #private::TestCase = #case;
                        // The function around this, which the one within it hides.
                        #private::register!(__NETNS_TEST, self::#ident, #ignored);
                        #call;
                    }
                }
            }
        }
        Kind::Test => quote! {
            #(#attrs)*
            #ignore
            #[::core::prelude::v1::test]
            #vis #fn_token #ident() {
                #sig #body

                // In a block of its own, so that the body does not see it.
                {
                    static __NETNS_TEST: #private::TestCase = #case;
                    #private::register!(__NETNS_TEST);
                    #call;
                }
            }
        },
    }
}

/// Elsewhere than on Linux, the test is compiled and not run.
fn ignored_elsewhere() -> TokenStream {
    // `netns_test_elsewhere` is no `cfg` that the user's crate knows.
    if cfg!(netns_test_elsewhere) {
        quote!(#[ignore = #ELSEWHERE])
    } else {
        quote!(#[cfg_attr(not(target_os = "linux"), ignore = #ELSEWHERE)])
    }
}

/// The test's description.
fn case(test: &Test, kind: Kind, private: &TokenStream) -> TokenStream {
    let name = test.sig.ident.to_string();
    // Where a report says that the test is: at its name, not at its attributes.
    let at = at(test.sig.ident.span());
    let (file, line) =
        (quote_spanned!(at=> ::core::file!()), quote_spanned!(test.sig.ident.span()=> ::core::line!()));
    let network = &test.network;
    // A value has its own.
    let is_value = network.value.is_some() || !network.declaring.is_empty();
    let nodes = network.hosts.iter().filter(|_| !is_value).map(|host| {
        let (cfgs, name) = (&host.cfgs, &host.name);
        quote!(#(#cfgs)* #name)
    });
    let shape = variant(&network.shape);
    let family = variant(&network.family);
    let topology = topology(network, private);
    let timeout = match test.timeout {
        None => quote!(::core::option::Option::None),
        Some(timeout) => {
            let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            quote!(::core::option::Option::Some(::core::time::Duration::from_nanos(#nanos)))
        }
    };
    let run_in = option(test.run_in.as_ref());
    let aliases = network.aliases.iter().map(|(host, alias)| {
        let (cfgs, name) = (&network.hosts[*host].cfgs, &network.hosts[*host].name);
        quote!(#(#cfgs)* (#name, #alias))
    });
    let dns = option(network.dns.as_ref());
    let runtime = match test.runtime {
        Runtime::CurrentThread => quote!(#private::Runtime::CurrentThread),
        Runtime::MultiThread { workers } => {
            let workers = option(workers.as_ref());
            quote!(#private::Runtime::MultiThread { workers: #workers })
        }
    };
    let require = &test.require;
    let fails = option(test.fails.as_ref());
    let capture = match &test.capture {
        None => quote!(::core::option::Option::None),
        Some(when) => {
            let when = variant(when);
            quote!(::core::option::Option::Some(#private::Capture::#when))
        }
    };
    let program = kind == Kind::Main;
    let should_panic = match &test.should_panic {
        ShouldPanic::No => quote!(No),
        ShouldPanic::Yes => quote!(Yes),
        ShouldPanic::With(text) => quote!(With(#text)),
    };
    quote! {
        #private::TestCase {
            name: ::core::concat!(::core::module_path!(), "::", #name),
            file: #file,
            line: #line,
            nodes: &[#(#nodes),*],
            shape: #private::Shape::#shape,
            family: #private::Family::#family,
            topology: #topology,
            timeout: #timeout,
            run_in: #run_in,
            aliases: &[#(#aliases),*],
            dns: #dns,
            runtime: #runtime,
            require: &[#(#private::Require::#require),*],
            capture: #capture,
            should_panic: #private::ShouldPanic::#should_panic,
            fails: #fails,
            program: #program,
        }
    }
}

/// The function that makes the network, where shape and names do not tell it.
fn topology(network: &Network, private: &TokenStream) -> TokenStream {
    let declared =
        network.declaring.iter().map(|ty| quote_spanned!(at(ty.span())=> #private::declared::<#ty>));
    let value = match (&network.kubernetes, &network.graph, &network.value) {
        (Some(kubernetes), ..) => kubernetes::value(kubernetes, &variant(&network.family), private),
        (None, Some(graph), _) => graph::value(graph, &variant(&network.family), private),
        (None, None, Some(value)) => value.clone(),
        (None, None, None) if network.declaring.is_empty() => return quote!(::core::option::Option::None),
        (None, None, None) => quote!(#private::first_declared(&[#(#declared),*])),
    };
    // No name that the value may mean.
    quote! {
        ::core::option::Option::Some({
            fn __netns_topology() -> #private::Topology {
                #value
            }
            __netns_topology
        })
    }
}

/// The implementation of `FromNetwork` for a structure of handles.
pub(crate) fn handles(handles: Handles) -> TokenStream {
    let Handles { ident, fields, network, krate } = handles;
    let krate = self::krate(krate.as_ref());
    let private = quote!(#krate::__private);
    let shape = |network: &Network| {
        let nodes = network.hosts.iter().map(|host| {
            let (cfgs, name) = (&host.cfgs, &host.name);
            quote!(#(#cfgs)* #name)
        });
        let (shape, family) = (variant(&network.shape), variant(&network.family));
        quote! {
            let mut topology = #private::Topology::of_shape(&[#(#nodes),*], #private::Shape::#shape);
            topology.family(#private::Family::#family);
            topology
        }
    };
    let topology = network.map(|network| {
        let value = match (&network.kubernetes, &network.graph, &network.value) {
            (Some(kubernetes), ..) => kubernetes::value(kubernetes, &variant(&network.family), &private),
            (None, Some(graph), _) => graph::value(graph, &variant(&network.family), &private),
            (None, None, Some(value)) => value.clone(),
            (None, None, None) => shape(&network),
        };
        let aliases = network.aliases.iter().map(|(host, alias)| {
            let (cfgs, name) = (&network.hosts[*host].cfgs, &network.hosts[*host].name);
            quote!(#(#cfgs)* topology.alias(#name, #alias);)
        });
        let dns = network.dns.iter().map(|dns| quote!(topology.dns(#dns);));
        quote! {
            fn topology() -> ::core::option::Option<#private::Topology> {
                // No name that the value may mean.
                fn __netns_topology() -> #private::Topology {
                    #value
                }
                #[allow(unused_mut)]
                let mut topology = __netns_topology();
                #(#aliases)*
                #(#dns)*
                ::core::option::Option::Some(topology)
            }
        }
    });
    let argument = Ident::new("argument", Span::mixed_site());
    let values = fields.iter().map(|field| {
        let (cfgs, ident, ty, host) = (&field.cfgs, &field.ident, &field.ty, &field.host);
        let inject = quote_spanned!(at(ty.span())=> #private::field::<#ty>(#argument, #host)?);
        quote!(#(#cfgs)* #ident: #inject)
    });
    quote! {
        #[automatically_derived]
        impl #krate::FromNetwork for #ident {
            #topology

            fn from_network(#argument: &#krate::Argument<'_>) -> ::core::result::Result<Self, #krate::Error> {
                ::core::result::Result::Ok(Self { #(#values),* })
            }
        }
    }
}

/// The call that runs it, each argument injected by its type.
fn call(test: &Test, kind: Kind, private: &TokenStream) -> TokenStream {
    let ident = &test.sig.ident;
    // Nothing may be left to use it: every argument may be under a `cfg`, or there is none.
    let used = test.arguments.iter().any(|argument| argument.cfgs.is_empty());
    let arguments = Ident::new(if used { "arguments" } else { "_arguments" }, Span::mixed_site());
    let injected = test.arguments.iter().map(|argument| {
        let (cfgs, ty, host) = (&argument.cfgs, &argument.ty, &argument.host);
        // A type that cannot be injected is underlined where it is written.
        let inject = quote_spanned!(at(ty.span())=> #private::argument::<#ty>(#arguments, #host)?);
        quote!(#(#cfgs)* #inject)
    });
    let called = quote!(#ident(#(#injected),*));
    let body = if test.sig.asyncness.is_none() && never_returns(&test.sig.output) {
        // An `Ok` around it could not be reached, and rustc would say so.
        quote!(|#arguments| -> ::core::result::Result<(), _> { #called })
    } else {
        quote!(|#arguments| ::core::result::Result::Ok(#called))
    };
    let run = match (kind, test.sig.asyncness.is_some()) {
        (Kind::Test | Kind::Trial, true) => quote!(run_async),
        (Kind::Test | Kind::Trial, false) => quote!(run_sync),
        (Kind::Main, true) => quote!(main_async),
        (Kind::Main, false) => quote!(main_sync),
    };
    let call = quote!(#private::#run(&__NETNS_TEST, #body));
    match &test.sig.output {
        // A type that no test can return likewise.
        ReturnType::Type(_, ty) => moved(call, ty.span()),
        ReturnType::Default => call,
    }
}

fn never_returns(output: &ReturnType) -> bool {
    matches!(output, ReturnType::Type(_, ty) if matches!(bare(ty), Type::Never(_)))
}

/// The tokens, but not those within their groups, at another place, where they mean what they meant.
fn moved(tokens: TokenStream, place: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(place.resolved_at(token.span()));
        token
    };
    tokens.into_iter().map(moved).collect()
}

/// The place of the user's token, for what the expansion writes there: lints take it for the macro's, as it is.
fn at(span: Span) -> Span {
    span.resolved_at(Span::mixed_site())
}

/// The name of an enum's variant.
fn variant(value: &impl Debug) -> Ident {
    Ident::new(&format!("{value:?}"), Span::mixed_site())
}

fn option<T: ToTokens>(value: Option<T>) -> TokenStream {
    match value {
        None => quote!(::core::option::Option::None),
        Some(value) => quote!(::core::option::Option::Some(#value)),
    }
}
