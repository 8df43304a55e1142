//! A graph in the attribute: `nodes(..)`, `routers(..)`, `switches(..)` and `links(..)`, judged by the model.

mod check;
mod links;
mod value;

use netns_test_model::graph::{Addresses, Direction, Graph, Kind, Link, Member, Place, Routes, Wire};
use netns_test_model::host_name;
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, LitStr, Result, braced, token};

pub(crate) use self::check::{check, check_absent, named};
use self::links::link;
pub(crate) use self::links::texts;
pub(crate) use self::value::value;
use crate::diag::Diag;
use crate::routers;

/// The keys that are written with parentheses, and an example of each.
pub(crate) const GROUPS: [(&str, &str); 4] = [
    ("nodes", "nodes(client, server)"),
    ("routers", "routers(r1, r2)"),
    ("switches", "switches(s)"),
    ("links", "links(client -- r1, r1 -- server)"),
];

/// What can be said of a link, beside its conditions and addresses of its ends.
const LINK_KEYS: [&str; 5] = ["mtu", "prefix", "vlan", "private", "wire"];

/// A graph, and where each part of it is written.
#[derive(Default)]
pub(crate) struct Declared {
    pub(crate) graph: Graph,
    /// The first of the keys with parentheses.
    first: Option<Ident>,
    /// The keys that say more about a graph.
    more: Vec<Ident>,
    members: Vec<Span>,
    /// Where the keys of each of [`Graph::routers`] are.
    routers: Vec<routers::Spans>,
    links: Vec<LinkSpans>,
    directions: Vec<DirectionSpans>,
    /// A member could not be read: who is there is not known.
    unread: bool,
}

/// Where the parts of a link are.
struct LinkSpans {
    link: Span,
    ends: [Span; 2],
    interfaces: [Option<Span>; 2],
    mtu: Option<Span>,
    vlan: Option<Span>,
    prefixes: Vec<Span>,
    owners: Vec<Span>,
    addresses: Vec<Span>,
    conditions: Vec<(String, Span)>,
}

/// Where the parts of a direction are.
struct DirectionSpans {
    direction: Span,
    ends: [Span; 2],
    conditions: Vec<(String, Span)>,
}

/// What stands between two commas of `links(..)`.
enum Entry {
    Link(Link, LinkSpans),
    Direction(Direction, DirectionSpans),
}

/// Where something is said under a key.
fn under(key: &str, all: &[(String, Span)], whole: Span) -> Span {
    all.iter().find(|(said, _)| said == key).map_or(whole, |(_, span)| *span)
}

impl Declared {
    /// Whether the network is a graph.
    pub(crate) fn is_there(&self) -> bool {
        self.first.is_some()
    }

    /// What stands in the parentheses of one of [`GROUPS`].
    pub(crate) fn group(&mut self, key: &Ident, tokens: TokenStream) -> Result<()> {
        self.first.get_or_insert_with(|| key.clone());
        let mut diag = Diag::default();
        let name = key.to_string();
        for part in parts(tokens, &mut diag) {
            let kind = match name.as_str() {
                "nodes" => Kind::Node,
                "routers" => Kind::Router,
                "switches" => Kind::Switch,
                _ => {
                    match diag.take(link.parse2(part)) {
                        Some(Entry::Link(link, spans)) => {
                            self.graph.links.push(link);
                            self.links.push(spans);
                        }
                        Some(Entry::Direction(direction, spans)) => {
                            self.graph.directions.push(direction);
                            self.directions.push(spans);
                        }
                        None => {}
                    }
                    continue;
                }
            };
            match diag.take((|input: ParseStream<'_>| member(input, &name)).parse2(part)) {
                Some((ident, options)) => {
                    if let Some(options) = options
                        && let Some((options, spans)) = diag.take(routers::options(&ident, options))
                    {
                        self.graph.routers.push(options);
                        self.routers.push(spans);
                    }
                    self.graph.members.push(Member { name: host_name(&ident.unraw().to_string()), kind });
                    self.members.push(ident.span());
                }
                None => self.unread = true,
            }
        }
        diag.finish(())
    }

    pub(crate) fn set_routes(&mut self, key: &Ident, routes: Routes) {
        self.more.push(key.clone());
        self.graph.routes = routes;
    }

    pub(crate) fn set_addresses(&mut self, key: &Ident, addresses: Addresses) {
        self.more.push(key.clone());
        self.graph.addresses = addresses;
    }

    /// Says that nothing of a graph can be there.
    pub(crate) fn refuse(&self, why: &str, diag: &mut Diag) {
        for key in self.first.iter().chain(&self.more) {
            diag.on(key, format!("{why}: remove `{key}`"));
        }
    }

    pub(crate) fn set_wire(&mut self, key: &Ident, wire: Wire) {
        self.more.push(key.clone());
        self.graph.wire = Some(wire);
    }

    pub(crate) fn set_seed(&mut self, key: &Ident, seed: u64) {
        self.more.push(key.clone());
        self.graph.seed = Some(seed);
    }

    /// Where a problem of the graph is written.
    fn span(&self, place: Place) -> Span {
        let whole = || self.first.as_ref().map_or_else(Span::call_site, Ident::span);
        match place {
            Place::Graph => whole(),
            Place::Member(member) => self.members[member],
            Place::Link(link) => self.links[link].link,
            Place::End(link, side) => self.links[link].ends[side],
            Place::Interface(link, side) => self.links[link].interfaces[side].unwrap_or_else(whole),
            Place::Mtu(link) => self.links[link].mtu.unwrap_or_else(whole),
            Place::Vlan(link) => self.links[link].vlan.unwrap_or_else(whole),
            Place::Prefix(link, index) => self.links[link].prefixes[index],
            Place::Owner(link, index) => self.links[link].owners[index],
            Place::Address(link, index) => self.links[link].addresses[index],
            Place::Router(router, key) => self.routers[router].of(key).unwrap_or_else(whole),
            Place::Condition(link, key) => under(key, &self.links[link].conditions, self.links[link].link),
            Place::Direction(direction) => self.directions[direction].direction,
            Place::DirectionEnd(direction, side) => self.directions[direction].ends[side],
            Place::DirectionCondition(direction, key) => {
                let spans = &self.directions[direction];
                under(key, &spans.conditions, spans.direction)
            }
        }
    }
}

/// The parts between commas.
pub(crate) fn parts(tokens: TokenStream, diag: &mut Diag) -> Vec<TokenStream> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for token in tokens {
        match &token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => match part.is_empty() {
                true => diag.at(comma.span(), "there is nothing before this `,`: remove it"),
                false => parts.push(std::mem::take(&mut part).into_iter().collect()),
            },
            _ => part.push(token),
        }
    }
    if !part.is_empty() {
        parts.push(part.into_iter().collect());
    }
    parts
}

/// A name in `nodes(..)`, `routers(..)` or `switches(..)`, and what stands in the braces behind that of a router.
fn member(input: ParseStream<'_>, key: &str) -> Result<(Ident, Option<TokenStream>)> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        let word = text.value().replace('-', "_");
        return Err(Error::new(text.span(), format!("write it without quotes: `{key}({word})`")));
    }
    let ident = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), format!("expected a name, as in `{}`", example(key))))?;
    if input.peek(token::Bracket) {
        let group: TokenTree = input.parse()?;
        let message =
            format!("a graph names its nodes one by one: write `{key}({ident}_0, {ident}_1)`, and so on");
        return Err(Error::new(group.span(), message));
    }
    let mut options = None;
    if input.peek(token::Brace) {
        let content;
        let brace = braced!(content in input);
        if key != "routers" {
            let message = format!("`{ident}` is no router, and has nothing to say in braces: remove them");
            return Err(Error::new(brace.span.join(), message));
        }
        options = Some(content.parse()?);
    }
    if input.is_empty() { Ok((ident, options)) } else { Err(input.error("expected `,`")) }
}

fn example(key: &str) -> &'static str {
    GROUPS.iter().find(|(known, _)| *known == key).map_or("", |(_, example)| example)
}
