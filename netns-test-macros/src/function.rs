//! The function under the attribute, its body kept as raw tokens.
//!
//! What is wrong inside the body is rustc's to say, at the very token; and an editor keeps its completions in a body that
//! does not parse yet.

use proc_macro2::{Delimiter, Group, Span, TokenStream};
use quote::{ToTokens, TokenStreamExt as _};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, Path, Result, Signature, Token, Type, Visibility, token};

#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: Group,
    /// The semicolon that stands for the body.
    pub(crate) bodiless: Option<Span>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !starts_function(input) {
            return Err(input.error(
                "`#[netns_test]` goes on a function: `async fn name(client: Node, server: Node) { .. }`",
            ));
        }
        let sig = input.parse()?;
        if input.peek(Token![;]) {
            let missing = input.parse::<Token![;]>()?.span;
            let mut body = Group::new(Delimiter::Brace, TokenStream::new());
            body.set_span(missing);
            return Ok(Self { attrs, vis, sig, body, bodiless: Some(missing) });
        }
        if !input.peek(token::Brace) {
            return Err(input.error("expected the body of the function, `{ .. }`"));
        }
        Ok(Self { attrs, vis, sig, body: input.parse()?, bodiless: None })
    }
}

fn starts_function(input: ParseStream<'_>) -> bool {
    input.peek(Token![fn])
        || input.peek(Token![async])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern]) && !input.peek2(Token![crate])
        || input.peek(Token![const])
            && (input.peek2(Token![fn])
                || input.peek2(Token![unsafe])
                || input.peek2(Token![async])
                || input.peek2(Token![extern]))
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.append_all(&self.attrs);
        self.vis.to_tokens(tokens);
        self.sig.to_tokens(tokens);
        self.body.to_tokens(tokens);
    }
}

/// Without the parentheses and invisible groups that a macro puts around what is passed through it.
pub(crate) fn bare(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

/// Without invisible groups.
pub(crate) fn bare_expr(mut expr: &Expr) -> &Expr {
    while let Expr::Group(group) = expr {
        expr = &group.expr;
    }
    expr
}

/// Whether the type is a path that ends in the name.
pub(crate) fn is_named(ty: &Type, name: &str) -> bool {
    match bare(ty) {
        Type::Path(ty) => ty.path.segments.last().is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// Whether the path ends in these names.
pub(crate) fn ends_with(path: &Path, names: &[&str]) -> bool {
    path.segments.len() >= names.len()
        && path.segments.iter().rev().zip(names.iter().rev()).all(|(segment, name)| segment.ident == name)
}
