//! The attribute's tokens to values, each with the span that an error about it points to.

use std::time::Duration;

use netns_test_model::graph::{Addresses, Routes, Wire};
use netns_test_model::{Capture, Family, Shape, parse_duration};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Lit, LitInt, LitStr, Path, Result, Token, bracketed, parenthesized, token};

use crate::aliases::{self, Aliases};
use crate::diag::{Diag, list, unknown};
use crate::graph;
use crate::kubernetes;

/// What the attribute says; a key that it does not have is `None` or empty.
#[derive(Default)]
pub(crate) struct Args {
    pub(crate) nodes: Option<Spanned<usize>>,
    /// `nodes` is there, and could not be read: nothing follows from its absence.
    pub(crate) nodes_unread: bool,
    pub(crate) topology: Option<Spanned<Shape>>,
    /// An expression that makes a `Topology`, in place of a shape.
    pub(crate) value: Option<TokenStream>,
    pub(crate) topology_span: Option<Span>,
    pub(crate) graph: graph::Declared,
    pub(crate) kubernetes: Option<kubernetes::Declared>,
    pub(crate) family: Option<Family>,
    pub(crate) family_span: Option<Span>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) run_in: Option<Spanned<String>>,
    pub(crate) aliases: Vec<Aliases>,
    pub(crate) dns: Option<Spanned<String>>,
    pub(crate) flavor: Option<Spanned<Flavor>>,
    pub(crate) worker_threads: Option<Spanned<usize>>,
    pub(crate) require: Vec<Ident>,
    /// Why the test is known to fail.
    pub(crate) fails: Option<LitStr>,
    pub(crate) capture: Option<Capture>,
    pub(crate) krate: Option<Path>,
    /// Every key that is there.
    pub(crate) keys: Vec<(String, Span)>,
}

/// A value, and where it is written.
#[derive(Clone, Copy)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Tokio's name for the kind of runtime.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    CurrentThread,
    MultiThread,
}

/// Every key, and how it is written.
const KEYS: [(&str, &str); 22] = [
    ("nodes", "nodes = 2"),
    ("topology", "topology = ring"),
    ("routers", "routers(r1, r2)"),
    ("switches", "switches(s)"),
    ("links", "links(client -- r1, r1 -- server)"),
    ("routes", "routes = connected"),
    ("addresses", "addresses = none"),
    KUBERNETES,
    ("wire", "wire = user"),
    ("seed", "seed = 42"),
    ("family", "family = v6"),
    ("timeout", "timeout = 10s"),
    ("run_in", "run_in = client"),
    ("aliases", "aliases(server = [\"relay.test\"])"),
    ("dns", "dns = server"),
    ("flavor", "flavor = \"multi_thread\""),
    ("worker_threads", "worker_threads = 2"),
    ("require", "require = [root]"),
    ("fails", "fails = \"why\""),
    ("matrix", "matrix(family = [v4, v6])"),
    ("capture", "capture = always"),
    ("crate", "crate = ::netns_test"),
];

/// The key of a cluster, which is written with parentheses.
const KUBERNETES: (&str, &str) = ("kubernetes", "kubernetes(nodes = 2)");

/// What a test can require, and the variant of `__private::Require` that stands for it.
const REQUIREMENTS: [(&str, &str); 2] = [("root", "Root"), ("bpf", "Bpf")];

/// The keys and values; every mistake goes to `diag`, and no mistake hides the next.
pub(crate) fn parse(tokens: TokenStream, diag: &mut Diag) -> Args {
    let mut args = Args::default();
    for entry in entries(tokens, diag) {
        let key = entry.key.to_string();
        if args.keys.iter().any(|(seen, _)| *seen == key) {
            diag.at(entry.key.span(), format!("`{key}` is written twice: remove one"));
            continue;
        }
        args.nodes_unread |= key == "nodes" && !entry.in_parentheses && entry.number().is_err();
        match (key.as_str(), entry.in_parentheses) {
            ("kubernetes", true) => {
                let declared = kubernetes::parse(&entry.key, entry.value.clone().unwrap_or_default(), diag);
                args.kubernetes = Some(declared);
            }
            _ => drop(diag.take(args.set(&key, &entry))),
        }
        args.keys.push((key, entry.key.span()));
    }
    args
}

/// One `key = value` or `key(value)`.
struct Entry {
    key: Ident,
    value: Option<TokenStream>,
    in_parentheses: bool,
}

/// The parts between the commas. What is none is reported, and left out.
fn entries(tokens: TokenStream, diag: &mut Diag) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut part = Vec::new();
    // Between two commas, there must be something; after the last, there may.
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => {
                if part.is_empty() {
                    diag.at(comma.span(), "expected a key before `,`, as in `nodes = 2,`");
                } else {
                    entries.extend(diag.take(entry(std::mem::take(&mut part))));
                }
            }
            _ => part.push(token),
        }
    }
    if !part.is_empty() {
        entries.extend(diag.take(entry(part)));
    }
    entries
}

fn entry(part: Vec<TokenTree>) -> Result<Entry> {
    let parse = |input: ParseStream<'_>| {
        let key = match input.call(Ident::parse_any) {
            Ok(key) => key,
            Err(error) => {
                return Err(Error::new(
                    error.span(),
                    format!("expected a key: {}", list(KEYS.map(|(key, _)| key))),
                ));
            }
        };
        let name = key.to_string();
        let of_graph = graph::GROUPS.iter().chain(&[KUBERNETES]).find(|(group, _)| *group == name);
        if input.is_empty() && (of_graph.is_none() || name == "nodes") {
            return Ok(Entry { key, value: None, in_parentheses: false });
        }
        if (of_graph.is_some() || ["aliases", "matrix"].contains(&name.as_str())) && input.peek(token::Paren)
        {
            let content;
            parenthesized!(content in input);
            let value: TokenStream = content.parse()?;
            return match input.is_empty() {
                true => Ok(Entry { key, value: (!value.is_empty()).then_some(value), in_parentheses: true }),
                false => Err(input.error("expected `,`")),
            };
        }
        let group = input.peek(token::Paren) || input.peek(token::Brace) || input.peek(token::Bracket);
        if let Some((_, example)) = of_graph
            && (group || name != "nodes")
        {
            return Err(Error::new(key.span(), format!("`{name}` is written with parentheses: `{example}`")));
        }
        if !input.peek(Token![=]) {
            let message = match KEYS.iter().find(|(key, _)| *key == name) {
                Some((key, example)) => {
                    let next = if *key == "aliases" { '(' } else { '=' };
                    format!("expected `{next}` after `{name}`, as in `{example}`")
                }
                None => unknown_key(&name),
            };
            return Err(Error::new(
                if group || KEYS.iter().all(|(key, _)| *key != name) { key.span() } else { input.span() },
                message,
            ));
        }
        input.parse::<Token![=]>()?;
        let value: TokenStream = input.parse()?;
        Ok(Entry { key, value: (!value.is_empty()).then_some(value), in_parentheses: false })
    };
    parse.parse2(part.into_iter().collect())
}

fn unknown_key(key: &str) -> String {
    if key == "start_paused" {
        "time is real here: packets take the kernel's time, which no runtime can pause or skip; remove `start_paused`"
            .to_owned()
    } else {
        unknown("key", key, &KEYS.map(|(key, _)| key))
    }
}

impl Args {
    /// The value goes to its place.
    fn set(&mut self, key: &str, entry: &Entry) -> Result<()> {
        match key {
            // Where it may stand, it has been taken out before.
            "matrix" if entry.in_parentheses => {}
            _ if entry.in_parentheses && key != "aliases" => {
                self.graph.group(&entry.key, entry.value.clone().unwrap_or_default())?;
            }
            "nodes" => self.nodes = Some(entry.number()?),
            "topology" => {
                self.topology_span = Some(entry.key.span());
                if entry.is_expression() {
                    self.value.clone_from(&entry.value);
                    return Ok(());
                }
                let word = entry.word()?;
                let shape = word.one_of("topology", Shape::ALL, |shape| shape.name())?;
                self.topology = Some(Spanned { value: shape, span: word.span });
            }
            "family" => {
                let word = entry.word()?;
                self.family_span = Some(word.span);
                self.family = Some(word.one_of("family", Family::ALL, |family| family.name())?);
            }
            "routes" => {
                let routes = entry.word()?.one_of("routes", Routes::ALL, |routes| routes.name())?;
                self.graph.set_routes(&entry.key, routes);
            }
            "addresses" => {
                let word = entry.word()?;
                let addresses = word.one_of("addresses", Addresses::ALL, |addresses| addresses.name())?;
                self.graph.set_addresses(&entry.key, addresses);
            }
            "wire" => {
                let wire = entry.word()?.one_of("wire", Wire::ALL, |wire| wire.name())?;
                self.graph.set_wire(&entry.key, wire);
            }
            "seed" => self.graph.set_seed(&entry.key, entry.number()?.value as u64),
            "timeout" => self.timeout = Some(entry.duration()?),
            "run_in" => {
                let word = entry.word_or_string()?;
                self.run_in = Some(Spanned { value: word.text, span: word.span });
            }
            "aliases" if entry.in_parentheses => self.aliases = entry.value(aliases::of_nodes)?,
            "aliases" => {
                self.aliases = entry.value(|input| aliases::of_the_node(input, &entry.key))?;
            }
            "dns" => {
                let word = entry.word_or_string()?;
                self.dns = Some(Spanned { value: word.text, span: word.span });
            }
            "flavor" => {
                let word = entry.word_or_string()?;
                let flavor =
                    word.one_of("flavor", &[Flavor::CurrentThread, Flavor::MultiThread], |f| match f {
                        Flavor::CurrentThread => "current_thread",
                        Flavor::MultiThread => "multi_thread",
                    })?;
                self.flavor = Some(Spanned { value: flavor, span: word.span });
            }
            "worker_threads" => {
                let number = entry.number()?;
                if number.value == 0 {
                    return Err(Error::new(
                        number.span,
                        "a runtime needs a worker: write `worker_threads = 1` or more",
                    ));
                }
                self.worker_threads = Some(number);
            }
            "require" => self.require = entry.requirements()?,
            "fails" => self.fails = Some(entry.reason()?),
            "matrix" => {
                let message = format!("`matrix` is written with parentheses: `{}`", entry.example());
                return Err(Error::new(entry.key.span(), message));
            }
            "capture" => {
                let when = entry.word()?.one_of("capture", Capture::ALL, |when| when.name())?;
                self.capture = Some(when);
            }
            "crate" => self.krate = Some(entry.path()?),
            _ => return Err(Error::new(entry.key.span(), unknown_key(key))),
        }
        Ok(())
    }
}

/// A word, as an identifier or in quotes.
struct Word {
    text: String,
    span: Span,
}

impl Word {
    fn one_of<T: Copy>(&self, what: &str, known: &[T], name: impl Fn(T) -> &'static str) -> Result<T> {
        let word = meant(&self.text);
        known.iter().copied().find(|value| name(*value) == self.text).ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|value| name(*value)).collect();
            let message = match names.iter().find(|name| **name == word) {
                Some(name) => format!(
                    "unknown {what} `{}`: did you mean `{name}`? (expected {})",
                    self.text,
                    list(&names)
                ),
                None => unknown(what, &self.text, &names),
            };
            Error::new(self.span, message)
        })
    }
}

/// Other people's words for ours.
fn meant(word: &str) -> &str {
    match word {
        "ipv4" | "ip4" | "inet" | "inet4" => "v4",
        "ipv6" | "ip6" | "inet6" => "v6",
        "both" | "any" | "dual_stack" => "dual",
        "single_thread" | "basic_scheduler" | "local" => "current_thread",
        "multi_threaded" | "threaded_scheduler" => "multi_thread",
        "switch" | "bridge" | "lan" => "star",
        "chain" => "line",
        "circle" => "ring",
        "full_mesh" | "full" | "complete" => "mesh",
        "on_failure" | "failed" | "fail" => "failure",
        "off" | "no" | "none" => "never",
        "on" | "yes" | "all" => "always",
        _ => word,
    }
}

impl Entry {
    /// The value, read by `parse` to its end.
    fn value<T>(&self, parse: impl FnOnce(ParseStream<'_>) -> Result<T>) -> Result<T> {
        let Some(value) = &self.value else {
            return Err(Error::new(
                self.key.span(),
                format!("`{}` needs a value, as in `{}`", self.key, self.example()),
            ));
        };
        let whole = |input: ParseStream<'_>| {
            let value = parse(input)?;
            if input.is_empty() { Ok(value) } else { Err(input.error("expected `,`")) }
        };
        whole.parse2(value.clone())
    }

    /// Whether the value is more than a word or a literal: `my_topology()`, `shared::TOPOLOGY`.
    fn is_expression(&self) -> bool {
        let mut tokens = self.value.clone().unwrap_or_default().into_iter();
        let first = tokens.next();
        match tokens.next() {
            Some(_) => true,
            None => matches!(first, Some(TokenTree::Group(_))),
        }
    }

    fn example(&self) -> &'static str {
        let key = self.key.to_string();
        KEYS.iter().find(|(known, _)| *known == key).map_or("", |(_, example)| example)
    }

    /// An error about the whole of the value.
    fn expected(&self, what: &str) -> Error {
        Error::new_spanned(&self.value, format!("expected {what}, as in `{}`", self.example()))
    }

    fn number(&self) -> Result<Spanned<usize>> {
        self.value(|input| {
            if !input.peek(LitInt) {
                return Err(self.expected("a number"));
            }
            let literal: LitInt = input.parse()?;
            if literal.base10_digits().starts_with('-') {
                return Err(self.expected("a number"));
            }
            if !literal.suffix().is_empty() {
                let message = format!(
                    "expected a number without a unit: write `{} = {}`",
                    self.key,
                    literal.base10_digits()
                );
                return Err(Error::new(literal.span(), message));
            }
            let value = literal.base10_parse().map_err(|_| {
                Error::new(literal.span(), format!("`{}` is too large a number", literal.base10_digits()))
            })?;
            Ok(Spanned { value, span: literal.span() })
        })
    }

    fn word(&self) -> Result<Word> {
        self.value(|input| {
            if input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                let message = format!("write it without quotes: `{} = {}`", self.key, text.value());
                return Err(Error::new(text.span(), message));
            }
            let word = input.call(Ident::parse_any).map_err(|_| self.expected("a word"))?;
            Ok(Word { text: word.to_string(), span: word.span() })
        })
    }

    fn word_or_string(&self) -> Result<Word> {
        self.value(|input| {
            if input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                return Ok(Word { text: text.value(), span: text.span() });
            }
            let word = input.call(Ident::parse_any).map_err(|_| self.expected("a name"))?;
            Ok(Word { text: word.unraw().to_string(), span: word.span() })
        })
    }

    fn duration(&self) -> Result<Duration> {
        self.value(|input| {
            let Ok(literal) = input.parse::<Lit>() else {
                return Err(self.expected("a number with a unit"));
            };
            match &literal {
                Lit::Int(_) | Lit::Float(_) => parse_duration(&literal.to_token_stream().to_string())
                    .map_err(|message| Error::new(literal.span(), message)),
                Lit::Str(text) => Err(Error::new(
                    text.span(),
                    match parse_duration(text.value().trim()) {
                        Ok(_) => format!("write it without quotes: `timeout = {}`", text.value().trim()),
                        Err(message) => format!("write it without quotes, as in `timeout = 10s`; {message}"),
                    },
                )),
                _ => Err(self.expected("a number with a unit")),
            }
        })
    }

    fn reason(&self) -> Result<LitStr> {
        self.value(|input| {
            let reason: LitStr = input.parse().map_err(|_| self.expected("the reason, in quotes"))?;
            match reason.value().trim().is_empty() {
                true => Err(Error::new(reason.span(), "say why the test is known to fail")),
                false => Ok(reason),
            }
        })
    }

    fn requirements(&self) -> Result<Vec<Ident>> {
        self.value(|input| {
            if !input.peek(token::Bracket) {
                let example = match input.call(Ident::parse_any) {
                    Ok(word) if input.is_empty() => format!("require = [{word}]"),
                    _ => self.example().to_owned(),
                };
                return Err(Error::new_spanned(&self.value, format!("expected a list: `{example}`")));
            }
            let content;
            bracketed!(content in input);
            let mut diag = Diag::default();
            let mut required: Vec<Ident> = Vec::new();
            for word in content.parse_terminated(Ident::parse_any, Token![,])? {
                let known = REQUIREMENTS.iter().find(|(name, _)| word == name);
                match known.map(|(_, variant)| format_ident!("{variant}", span = Span::mixed_site())) {
                    None => diag.at(
                        word.span(),
                        unknown("requirement", &word.to_string(), &REQUIREMENTS.map(|(name, _)| name)),
                    ),
                    Some(variant) if required.contains(&variant) => {
                        diag.at(word.span(), format!("`{word}` is written twice: remove one"));
                    }
                    Some(variant) => required.push(variant),
                }
            }
            diag.finish(required)
        })
    }

    fn path(&self) -> Result<Path> {
        self.value(|input| {
            if input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                return text.parse_with(Path::parse_mod_style).map_err(|_| self.expected("a path"));
            }
            input.call(Path::parse_mod_style).map_err(|_| self.expected("a path"))
        })
    }
}
