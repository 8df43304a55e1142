//! One test over many networks: `matrix(family = [v4, v6], ha.nat = [none, home])`.
//!
//! The function stays as it is. Beside it stands a module of its name with a test for each cell, whose attribute is the one that was
//! written, with the cell's values in it. So a cell is a test as any other, and mistakes in it are reported as anywhere.

use proc_macro2::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, quote};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, FnArg, LitStr, Pat, Result, Token, bracketed, parenthesized, token};

use crate::diag::{Diag, list};
use crate::expand::krate;
use crate::fallback;
use crate::function::Function;

/// More than these are hardly meant: every cell is a test with a network.
const MAX_CELLS: usize = 1024;

/// What differs between the cells.
struct Axis {
    /// As it is written, without spaces: `family`, `ha.nat`, `(a--b).loss`.
    name: String,
    span: Span,
    target: Target,
    values: Vec<TokenStream>,
}

/// Where the value goes.
enum Target {
    /// A key of the attribute.
    Key(Ident),
    /// A key in the braces of a node, router or switch.
    Member(Ident, Ident),
    /// A key in the braces of a link.
    Link(TokenStream, Ident),
}

/// Cells that are left out, or known to fail.
struct Rule {
    fails: bool,
    span: Span,
    /// The axis' name, and its value as text.
    conditions: Vec<(String, String, Span)>,
    reason: Option<LitStr>,
}

/// The tests of a matrix, if the attribute has one.
pub(crate) fn expand(args: &TokenStream, function: &Function) -> Option<TokenStream> {
    let (matrix, rest) = take(args)?;
    let tests = read(&matrix).and_then(|(axes, rules)| tests(&axes, &rules, &rest, function));
    Some(tests.unwrap_or_else(|error| fallback::expand(function.clone(), &error)))
}

/// The group of `matrix(..)`, and the arguments without it.
fn take(args: &TokenStream) -> Option<(Group, TokenStream)> {
    let mut parts = split(args.clone());
    let is_matrix = |part: &Vec<TokenTree>| match &part[..] {
        [TokenTree::Ident(key), TokenTree::Group(group)] if key == "matrix" => {
            (group.delimiter() == Delimiter::Parenthesis).then(|| group.clone())
        }
        _ => None,
    };
    let index = parts.iter().position(|part| is_matrix(part).is_some())?;
    let group = is_matrix(&parts.remove(index))?;
    Some((group, join(parts)))
}

/// The parts between the commas.
fn split(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.split(is_comma).filter(|part| !part.is_empty()).map(<[TokenTree]>::to_vec).collect()
}

fn join(parts: Vec<Vec<TokenTree>>) -> TokenStream {
    let comma = || TokenTree::from(Punct::new(',', Spacing::Alone));
    parts.into_iter().flat_map(|part| part.into_iter().chain([comma()])).collect()
}

/// The tokens as text, without spaces.
fn text(tokens: &TokenStream) -> String {
    tokens.to_string().split_whitespace().collect()
}

fn read(matrix: &Group) -> Result<(Vec<Axis>, Vec<Rule>)> {
    let mut diag = Diag::default();
    let (mut axes, mut rules): (Vec<Axis>, Vec<Rule>) = (Vec::new(), Vec::new());
    for part in split(matrix.stream()) {
        match &part[..] {
            [TokenTree::Ident(key), TokenTree::Group(group)] if key == "fails" || key == "skip" => {
                rules.extend(diag.take(rule(key, group)));
            }
            _ => axes.extend(diag.take(axis.parse2(part.into_iter().collect()))),
        }
    }
    for (index, axis) in axes.iter().enumerate() {
        if axes[..index].iter().any(|other| other.name == axis.name) {
            diag.at(axis.span, format!("`{}` is written twice: put its values into one list", axis.name));
        }
    }
    if axes.is_empty() && diag.is_empty() {
        diag.at(matrix.span(), "a matrix needs values to go through, as in `matrix(family = [v4, v6])`");
    }
    for (name, value, span) in rules.iter().flat_map(|rule| &rule.conditions) {
        match axes.iter().find(|axis| axis.name == *name) {
            None => {
                let known = list(axes.iter().map(|axis| &axis.name));
                diag.at(*span, format!("the matrix does not go through `{name}`: expected {known}"));
            }
            Some(axis) if !axis.values.iter().any(|known| text(known) == *value) => {
                let known = list(axis.values.iter().map(text));
                diag.at(*span, format!("`{name}` is never `{value}` in this matrix: expected {known}"));
            }
            Some(_) => {}
        }
    }
    let cells = axes.iter().map(|axis| axis.values.len()).fold(1, usize::saturating_mul);
    if cells > MAX_CELLS {
        diag.at(
            matrix.span(),
            format!("a matrix of {cells} cells: at most {MAX_CELLS} are tests of their own"),
        );
    }
    diag.finish((axes, rules))
}

/// `family = [v4, v6]`, `ha.nat = [none, home]`, `(a -- b).loss = [0%, 5%]`
fn axis(input: ParseStream<'_>) -> Result<Axis> {
    let span = input.span();
    let example = "as in `family = [v4, v6]`, `r1.nat = [none, home]` or `(a -- b).loss = [1%, 5%]`";
    let key = |input: ParseStream<'_>| {
        input
            .call(Ident::parse_any)
            .map_err(|error| Error::new(error.span(), format!("expected a key, {example}")))
    };
    let (name, target) = if input.peek(token::Paren) {
        let content;
        parenthesized!(content in input);
        let link: TokenStream = content.parse()?;
        input
            .parse::<Token![.]>()
            .map_err(|error| Error::new(error.span(), format!("expected `.` and a key, {example}")))?;
        let of = key(input)?;
        (format!("({}).{of}", text(&link)), Target::Link(link, of))
    } else {
        let first = key(input)?;
        if input.peek(Token![.]) {
            input.parse::<Token![.]>()?;
            let of = key(input)?;
            (format!("{first}.{of}"), Target::Member(first, of))
        } else {
            (first.to_string(), Target::Key(first))
        }
    };
    if input.is_empty() {
        return Err(Error::new(span, format!("expected `=` and a list of values, {example}")));
    }
    input.parse::<Token![=]>()?;
    if !input.peek(token::Bracket) {
        return Err(input.error(format!("expected a list of values, {example}")));
    }
    let content;
    let bracket = bracketed!(content in input);
    let values: Vec<TokenStream> =
        split(content.parse()?).into_iter().map(|value| value.into_iter().collect()).collect();
    if values.is_empty() {
        return Err(Error::new(
            bracket.span.join(),
            format!("an empty list makes no test: write values, {example}"),
        ));
    }
    for (index, value) in values.iter().enumerate() {
        if values[..index].iter().any(|other| text(other) == text(value)) {
            return Err(Error::new_spanned(value, format!("`{}` is written twice: remove one", text(value))));
        }
    }
    if input.is_empty() { Ok(Axis { name, span, target, values }) } else { Err(input.error("expected `,`")) }
}

/// `fails(family = v6, ha.nat = home, "why")`
fn rule(key: &Ident, group: &Group) -> Result<Rule> {
    let mut rule = Rule { fails: key == "fails", span: key.span(), conditions: Vec::new(), reason: None };
    for part in split(group.stream()) {
        if let [TokenTree::Literal(literal)] = &part[..] {
            let reason = syn::parse2::<LitStr>(literal.to_token_stream());
            let reason = reason.map_err(|error| Error::new(error.span(), "expected the reason in quotes"))?;
            if !rule.fails {
                return Err(Error::new(
                    reason.span(),
                    "cells that are left out need no reason: write a comment",
                ));
            }
            rule.reason = Some(reason);
            continue;
        }
        let place = part[0].span();
        let is_equals =
            |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '=');
        let Some(equals) = part.iter().position(is_equals).filter(|at| at + 1 < part.len()) else {
            return Err(Error::new(
                place,
                format!("expected an axis with one of its values, as in `{key}(family = v6)`"),
            ));
        };
        let (name, value) =
            (part[..equals].iter().cloned().collect(), part[equals + 1..].iter().cloned().collect());
        rule.conditions.push((text(&name), text(&value), place));
    }
    match rule.conditions.is_empty() {
        true => Err(Error::new(rule.span, format!("say which cells, as in `{key}(family = v6)`"))),
        false => Ok(rule),
    }
}

/// Which value each axis has in one cell.
type Cell<'a> = Vec<(&'a Axis, &'a TokenStream)>;

fn cells(axes: &[Axis]) -> Vec<Cell<'_>> {
    let mut cells: Vec<Cell<'_>> = vec![Vec::new()];
    for axis in axes {
        let mut longer = Vec::new();
        for cell in cells {
            longer.extend(axis.values.iter().map(|value| [&cell[..], &[(axis, value)]].concat()));
        }
        cells = longer;
    }
    cells
}

impl Rule {
    fn holds(&self, cell: &Cell<'_>) -> bool {
        self.conditions.iter().all(|(name, value, _)| {
            cell.iter().any(|(axis, chosen)| axis.name == *name && text(chosen) == *value)
        })
    }
}

fn tests(axes: &[Axis], rules: &[Rule], rest: &TokenStream, function: &Function) -> Result<TokenStream> {
    let mut diag = Diag::default();
    let mut names: Vec<String> = Vec::new();
    let mut tests = TokenStream::new();
    for cell in cells(axes) {
        if rules.iter().any(|rule| !rule.fails && rule.holds(&cell)) {
            continue;
        }
        let fails = rules.iter().find(|rule| rule.fails && rule.holds(&cell));
        let Some(args) = diag.take(arguments(rest, &cell, fails)) else { continue };
        let name = unique(name(&cell), &mut names);
        tests.extend(test(&name, &args, function));
    }
    if names.is_empty() && diag.is_empty() {
        diag.at(axes[0].span, "every cell is left out: no test is left");
    }
    diag.finish(())?;
    let (vis, sig, body, ident) = (&function.vis, &function.sig, &function.body, &function.sig.ident);
    // What says how a test ends belongs to the cells; the rest, documentation and lints, to both.
    let kept = function.attrs.iter().filter(|attr| fallback::harmless(attr));
    let module: TokenStream = quote! {
        #(#kept)*
        #vis #sig #body

        mod #ident {
            #[allow(unused_imports, clippy::wildcard_imports)]
            use super::*;

            #tests
        }
    };
    Ok(module)
}

/// The test of one cell, which calls the function.
fn test(name: &str, args: &TokenStream, function: &Function) -> TokenStream {
    let krate = krate(crate::args::parse(args.clone(), &mut Diag::default()).krate.as_ref());
    let attrs = function.attrs.iter().filter(|attr| !attr.path().is_ident("doc"));
    let mut sig = function.sig.clone();
    let of = sig.ident.clone();
    // A place that an editor finds: the function's own.
    sig.ident = Ident::new(name, of.span());
    let passed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(input) => match &*input.pat {
            Pat::Ident(pat) => {
                let cfgs = input.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
                let ident = &pat.ident;
                Some(quote!(#(#cfgs)* #ident))
            }
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    let call = quote!(super::#of(#(#passed),*));
    let body = if sig.asyncness.is_some() { quote!(#call.await) } else { call };
    // What the user wrote `mut` for is in the function itself.
    let mut plain = sig.clone();
    for input in &mut plain.inputs {
        if let FnArg::Typed(input) = input
            && let Pat::Ident(pat) = &mut *input.pat
        {
            pat.mutability = None;
        }
    }
    quote! {
        #(#attrs)*
        #[#krate::netns_test(#args)]
        #plain {
            #body
        }
    }
}

/// The attribute's arguments, with a cell's values.
fn arguments(rest: &TokenStream, cell: &Cell<'_>, fails: Option<&Rule>) -> Result<TokenStream> {
    let mut parts = split(rest.clone());
    for (axis, value) in cell {
        match &axis.target {
            Target::Key(key) => parts.push(quote!(#key = #value).into_iter().collect()),
            Target::Member(member, key) => {
                let groups = ["nodes", "routers", "switches"];
                let starts = |entry: &[TokenTree]| matches!(&entry[0], TokenTree::Ident(ident) if ident.unraw() == member.unraw());
                if !patch(&mut parts, &groups, starts, key, value) {
                    let message =
                        format!("there is no `{member}` in `nodes(..)`, `routers(..)` or `switches(..)`");
                    return Err(Error::new(member.span(), message));
                }
            }
            Target::Link(link, key) => {
                let wanted = text(link);
                let starts = |entry: &[TokenTree]| {
                    let ends =
                        entry.iter().take_while(|token| !matches!(token, TokenTree::Group(_))).cloned();
                    text(&ends.collect()) == wanted
                };
                if !patch(&mut parts, &["links"], starts, key, value) {
                    let message =
                        format!("there is no `{wanted}` in `links(..)`: write it as it stands there");
                    return Err(Error::new(axis.span, message));
                }
            }
        }
    }
    if let Some(rule) = fails {
        let reason = rule.reason.as_ref().map_or_else(|| String::from("marked in the matrix"), LitStr::value);
        parts.push(quote!(fails = #reason).into_iter().collect());
    }
    Ok(join(parts))
}

/// Writes `key = value` into the braces of an entry of one of the groups; whether there is such an entry.
fn patch(
    parts: &mut [Vec<TokenTree>],
    groups: &[&str],
    is_meant: impl Fn(&[TokenTree]) -> bool,
    key: &Ident,
    value: &TokenStream,
) -> bool {
    for part in parts {
        let [TokenTree::Ident(group), TokenTree::Group(members)] = &part[..] else { continue };
        if !groups.iter().any(|known| group == known) {
            continue;
        }
        let mut entries = split(members.stream());
        let Some(entry) = entries.iter_mut().find(|entry| is_meant(entry)) else { continue };
        let said = match entry.last() {
            Some(TokenTree::Group(said)) if said.delimiter() == Delimiter::Brace => {
                let said = said.stream();
                entry.pop();
                join(split(said))
            }
            _ => TokenStream::new(),
        };
        entry.push(Group::new(Delimiter::Brace, quote!(#said #key = #value)).into());
        let mut patched = Group::new(members.delimiter(), join(entries));
        patched.set_span(members.span());
        part[1] = patched.into();
        return true;
    }
    false
}

/// `family_v4_nat_home`
fn name(cell: &Cell<'_>) -> String {
    let words = cell.iter().flat_map(|(axis, value)| {
        let key = axis.name.rsplit('.').next().unwrap_or(&axis.name).to_owned();
        [key, word(&text(value))]
    });
    words.collect::<Vec<_>>().join("_")
}

/// A value as a part of a name.
fn word(value: &str) -> String {
    let spelled = value.to_lowercase().replace('%', "percent");
    let letters: String = spelled.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    letters.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// The name, told from the ones before it.
fn unique(name: String, names: &mut Vec<String>) -> String {
    let count = names.iter().filter(|other| **other == name).count();
    names.push(name.clone());
    if count == 0 { name } else { format!("{name}_{}", count + 1) }
}
