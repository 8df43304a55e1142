//! More names for nodes: `aliases(server = ["relay.test"])`, and `aliases = ["relay.test"]` where there is one node.

use netns_test_model::{About, Alias, Family, Shape, Topology, check_alias};
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Lit, LitStr, Result, Token, bracketed, token};

use crate::args::{Args, Spanned};
use crate::diag::Diag;
use crate::hosts::{Host, find};

/// The names that one node gets.
pub(crate) struct Aliases {
    /// The node, as it is written; `None` for the only one.
    node: Option<Spanned<String>>,
    /// What says whose names they are, or that nothing does.
    span: Span,
    names: Vec<Spanned<String>>,
}

impl Aliases {
    /// The node, as it is written; `Err` is the place that does not say it.
    pub(crate) fn owner(&self) -> std::result::Result<&str, Span> {
        self.node.as_ref().map(|node| node.value.as_str()).ok_or(self.span)
    }
}

/// `server = ["relay.test"], client = ["a.test"]`
pub(crate) fn of_nodes(input: ParseStream<'_>) -> Result<Vec<Aliases>> {
    let mut diag = Diag::default();
    let mut all: Vec<Aliases> = Vec::new();
    while !input.is_empty() {
        let node = node(input)?;
        if !input.peek(Token![=]) {
            let message = match node.value.contains('.') {
                // No node is called so.
                true => format!("say whose name it is, as in `server = [\"{}\"]`", node.value),
                false => format!("expected `=` and its names, as in `{} = [\"relay.test\"]`", node.value),
            };
            return Err(Error::new(if input.is_empty() { node.span } else { input.span() }, message));
        }
        input.parse::<Token![=]>()?;
        let names = names(input, &node.value)?;
        if all.iter().any(|other| other.node.as_ref().is_some_and(|other| other.value == node.value)) {
            diag.at(node.span, format!("`{}` is written twice: put its names into one list", node.value));
        }
        all.push(Aliases { span: node.span, node: Some(node), names });
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    diag.finish(all)
}

/// `["relay.test"]`, the names of the only node.
pub(crate) fn of_the_node(input: ParseStream<'_>, key: &Ident) -> Result<Vec<Aliases>> {
    Ok(vec![Aliases { node: None, span: key.span(), names: names(input, "aliases")? }])
}

fn node(input: ParseStream<'_>) -> Result<Spanned<String>> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        return Ok(Spanned { value: text.value(), span: text.span() });
    }
    let word = input.call(Ident::parse_any).map_err(|error| {
        Error::new(error.span(), "expected the name of a node, as in `aliases(server = [\"relay.test\"])`")
    })?;
    Ok(Spanned { value: word.unraw().to_string(), span: word.span() })
}

/// A list of names in quotes: they may have dots and hyphens.
fn names(input: ParseStream<'_>, left: &str) -> Result<Vec<Spanned<String>>> {
    if !input.peek(token::Bracket) {
        let span = input.span();
        let example = match input.parse::<Lit>() {
            Ok(Lit::Str(text)) => text.value(),
            _ => "relay.test".to_owned(),
        };
        return Err(Error::new(span, format!("expected a list: `{left} = [\"{example}\"]`")));
    }
    let content;
    bracketed!(content in input);
    let mut names = Vec::new();
    while !content.is_empty() {
        if !content.peek(LitStr) {
            return Err(content.error("expected a name in quotes, as in `\"relay.test\"`"));
        }
        let name: LitStr = content.parse()?;
        names.push(Spanned { value: name.value(), span: name.span() });
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(names)
}

/// The aliases, each with the index of its node: several where a `cfg` chooses between arguments of one name.
pub(crate) fn check(args: &Args, hosts: Option<&[Host]>, diag: &mut Diag) -> Vec<(usize, String)> {
    let Some(hosts) = hosts else {
        for name in args.aliases.iter().flat_map(|aliases| &aliases.names) {
            if let Err(message) = check_alias(&name.value) {
                diag.at(name.span, message);
            }
        }
        return Vec::new();
    };
    let mut found: Vec<(Alias, Span)> = Vec::new();
    for aliases in &args.aliases {
        let node = match &aliases.node {
            Some(node) => find(node, |name| format!("{name} = [..]"), hosts, diag),
            None => diag.take(only_node(aliases, hosts)),
        };
        if let Some(node) = node {
            let named =
                |name: &Spanned<String>| (Alias { node: node.clone(), name: name.value.clone() }, name.span);
            found.extend(aliases.names.iter().map(named));
        }
    }
    let mut names: Vec<String> = Vec::new();
    for host in hosts {
        if !names.contains(&host.name) {
            names.push(host.name.clone());
        }
    }
    let (aliases, spans): (Vec<Alias>, Vec<Span>) = found.into_iter().unzip();
    let topology = Topology::new(names, Shape::Star, Family::Dual).with_aliases(aliases.clone());
    for problem in topology.check().err().unwrap_or_default() {
        // What is wrong with the nodes has been reported.
        if let About::Alias(index) = problem.about {
            diag.at(spans[index], problem.message);
        }
    }
    let of_every_host = aliases.iter().flat_map(|alias| {
        let owners = hosts.iter().enumerate().filter(|(_, host)| host.name == alias.node);
        owners.map(|(index, _)| (index, alias.name.clone()))
    });
    of_every_host.collect()
}

/// The host name of the only node, for names that do not say whose they are.
fn only_node(aliases: &Aliases, hosts: &[Host]) -> Result<String> {
    let Some(first) = hosts.first() else {
        let message = "there is no node to name: the test is alone; add an argument `server: Node`";
        return Err(Error::new(aliases.span, message));
    };
    if hosts.iter().all(|host| host.name == first.name) {
        return Ok(first.name.clone());
    }
    let names: Vec<String> = aliases.names.iter().map(|name| format!("{:?}", name.value)).collect();
    let (node, names) = (first.name.replace('-', "_"), names.join(", "));
    let message =
        format!("there are several nodes: say whose names these are: `aliases({node} = [{names}])`");
    Err(Error::new(aliases.span, message))
}
