//! The attributes of the function: which stay, which are taken over, which do not belong.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, Lit, LitStr, Meta, Path, Result, Token, parse_quote};

use crate::diag::Diag;
use crate::function::{bare_expr, ends_with};

/// What the function's `#[should_panic]` says.
pub(crate) enum ShouldPanic {
    No,
    Yes,
    With(LitStr),
}

/// The function's attributes.
pub(crate) struct Attributes {
    pub(crate) kept: Vec<Attribute>,
    pub(crate) should_panic: ShouldPanic,
    pub(crate) ignored: bool,
}

/// The attributes that stay on the test; the others are taken over, or do not belong here.
pub(crate) fn attributes(attrs: &[Attribute], diag: &mut Diag) -> Attributes {
    let mut kept = Vec::new();
    let mut should_panic = None;
    for attr in attrs {
        let path = attr.path();
        if path.is_ident("should_panic") {
            match (&should_panic, diag.take(expected(attr))) {
                (None, found) => should_panic = Some(found.unwrap_or(ShouldPanic::Yes)),
                (Some(_), _) => diag.on(attr, "`#[should_panic]` is written twice: remove one"),
            }
        } else if is_builtin_test(path) {
            // What test-log leaves behind when it stands above: it knows no test attribute but rustc's.
        } else if is_other_test(path) {
            let name =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::");
            diag.on(attr, {
                let hint = match name.as_str() {
                    "test" => {
                        " (where it is rstest's, write `#[netns_test::test]`, not `#[netns_test]`, below it)"
                    }
                    _ => "",
                };
                format!("`#[netns_test]` makes the function a test already: remove `#[{name}]`{hint}")
            });
        } else if ends_with(path, &["netns_test"]) || ends_with(path, &["netns_test", "test"]) {
            diag.on(attr, "`#[netns_test]` is written twice: remove one");
        } else {
            kept.push(attr.clone());
        }
    }
    Attributes {
        ignored: kept.iter().any(|attr| attr.path().is_ident("ignore")),
        should_panic: should_panic.unwrap_or(ShouldPanic::No),
        kept,
    }
}

/// Takes `#[ignore]` out, for a function that rustc does not take for a test; and why the test is ignored, as an expression.
pub(crate) fn without_ignore(attrs: Vec<Attribute>) -> (Vec<Attribute>, TokenStream) {
    let mut kept = Vec::new();
    let mut ignored = quote!(::core::option::Option::None);
    for attr in attrs {
        if let Some(reason) = reason(&attr.meta) {
            ignored = quote!(::core::option::Option::Some(#reason));
        } else if let Some((predicate, metas)) = conditional(&attr)
            && let Some(reason) = metas.iter().find_map(reason)
        {
            ignored = quote! {
                if ::core::cfg!(#predicate) { ::core::option::Option::Some(#reason) } else { #ignored }
            };
            let others: Vec<_> = metas.iter().filter(|meta| !meta.path().is_ident("ignore")).collect();
            if !others.is_empty() {
                kept.push(parse_quote!(#[cfg_attr(#predicate, #(#others),*)]));
            }
        } else {
            kept.push(attr);
        }
    }
    (kept, ignored)
}

/// The reason of `ignore` or `ignore = "reason"`.
fn reason(meta: &Meta) -> Option<TokenStream> {
    meta.path().is_ident("ignore").then(|| match meta {
        Meta::NameValue(meta) => meta.value.to_token_stream(),
        _ => quote!(""),
    })
}

/// The two sides of `#[cfg_attr(predicate, attribute, ..)]`.
fn conditional(attr: &Attribute) -> Option<(Meta, Vec<Meta>)> {
    if !attr.path().is_ident("cfg_attr") {
        return None;
    }
    let parts = attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut parts = parts.into_iter();
    Some((parts.next()?, parts.collect()))
}

/// What a `#[should_panic]` expects.
fn expected(attr: &Attribute) -> Result<ShouldPanic> {
    let text = |expr: &Expr| match bare_expr(expr) {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(ShouldPanic::With(text.clone())),
            _ => None,
        },
        _ => None,
    };
    let found = match &attr.meta {
        Meta::Path(_) => Some(ShouldPanic::Yes),
        Meta::NameValue(meta) => text(&meta.value),
        Meta::List(meta) => match meta.parse_args() {
            Ok(Meta::NameValue(meta)) if meta.path.is_ident("expected") => text(&meta.value),
            _ => None,
        },
    };
    found.ok_or_else(|| {
        Error::new_spanned(attr, "expected `#[should_panic]` or `#[should_panic(expected = \"text\")]`")
    })
}

/// `::core::prelude::v1::test`, which only a macro writes.
fn is_builtin_test(path: &Path) -> bool {
    path.leading_colon.is_some() && is_prelude_test(path)
}

fn is_prelude_test(path: &Path) -> bool {
    let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    matches!(names.iter().map(String::as_str).collect::<Vec<_>>()[..], ["core" | "std", "prelude", _, "test"])
}

/// Attributes that make a test of the function, as this one does.
fn is_other_test(path: &Path) -> bool {
    path.is_ident("test")
        || path.is_ident("bench")
        || is_prelude_test(path)
        || ["tokio", "async_std", "smol_potat", "actix_rt"]
            .iter()
            .any(|krate| ends_with(path, &[krate, "test"]))
}
