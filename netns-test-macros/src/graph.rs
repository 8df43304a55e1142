//! A graph in the attribute: `nodes(..)`, `routers(..)`, `switches(..)` and `links(..)`, judged by the model.

use netns_test_model::graph::{
    Addresses, Direction, End, Graph, Kind, Link, Member, OwnAddress, Place, Routes, Wire,
};
use netns_test_model::{Family, closest, host_name};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::spanned::Spanned as _;
use syn::{Error, LitInt, LitStr, Result, Token, braced, bracketed, token};

use crate::args::Args;
use crate::arguments::{Argument, Nodes};
use crate::conditions;
use crate::diag::{Diag, unknown};
use crate::function::is_named;
use crate::hosts::Host;
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

/// `client -- r1 { mtu = 1400 }`, or `client -> r1 { loss = 1% }`
fn link(input: ParseStream<'_>) -> Result<Entry> {
    let (left, left_span, left_interface) = end(input)?;
    if input.peek(Token![->]) {
        return direction(input, left, left_span);
    }
    if !(input.peek(Token![-]) && input.peek2(Token![-])) {
        let span = if input.is_empty() { left_span } else { input.span() };
        let message = format!("expected `--` and the other end, as in `{} -- r1`", left.member);
        return Err(Error::new(span, message));
    }
    input.parse::<Token![-]>()?;
    let dash = input.parse::<Token![-]>()?;
    if input.is_empty() {
        return Err(Error::new(dash.span, format!("expected the other end, as in `{} -- r1`", left.member)));
    }
    let (right, right_span, right_interface) = end(input)?;
    if input.peek(Token![-]) {
        let message =
            format!("a link has two ends: write `{} -- ..` behind a comma, as one more link", right.member);
        return Err(input.error(message));
    }
    let mut link = Link { ends: [left, right], ..Link::default() };
    let mut spans = LinkSpans {
        link: left_span.join(right_span).unwrap_or(left_span),
        ends: [left_span, right_span],
        interfaces: [left_interface, right_interface],
        mtu: None,
        vlan: None,
        prefixes: Vec::new(),
        owners: Vec::new(),
        addresses: Vec::new(),
        conditions: Vec::new(),
    };
    if input.peek(token::Brace) {
        let content;
        braced!(content in input);
        let mut diag = Diag::default();
        let mut seen: Vec<String> = Vec::new();
        for part in parts(content.parse()?, &mut diag) {
            let say = |input: ParseStream<'_>| say(input, &mut link, &mut spans, &mut seen);
            diag.take(say.parse2(part));
        }
        diag.finish(())?;
    }
    if input.is_empty() {
        Ok(Entry::Link(link, spans))
    } else {
        Err(input.error("expected `,`, or `{ .. }` about the link"))
    }
}

/// `-> r1 { loss = 1% }`
fn direction(input: ParseStream<'_>, from: End, from_span: Span) -> Result<Entry> {
    let arrow: Token![->] = input.parse()?;
    if input.is_empty() {
        let message = format!("expected the other end, as in `{} -> r1 {{ loss = 1% }}`", from.member);
        return Err(Error::new(arrow.spans[1], message));
    }
    let (to, to_span, _) = end(input)?;
    let ends = [from_span, to_span];
    let whole = from_span.join(to_span).unwrap_or(from_span);
    let mut direction = Direction { ends: [from, to], ..Direction::default() };
    let mut said: Vec<(String, Span)> = Vec::new();
    if !input.peek(token::Brace) {
        let message = format!(
            "`{direction}` says what one direction of a link does to packets: write it, as in `{direction} {{ loss = 1% }}`"
        );
        return Err(Error::new(whole, message));
    }
    let content;
    braced!(content in input);
    let mut diag = Diag::default();
    for part in parts(content.parse()?, &mut diag) {
        let say = |input: ParseStream<'_>| {
            let key = input
                .call(Ident::parse_any)
                .map_err(|error| Error::new(error.span(), "expected a key, as in `loss = 1%`"))?;
            let name = key.unraw().to_string();
            let ends = direction.ends.each_ref().map(|end| end.member.as_str());
            if LINK_KEYS.contains(&name.as_str()) || ends.contains(&host_name(&name).as_str()) {
                let [from, to] = &direction.ends;
                let message =
                    format!("`{name}` is the link's, in both directions: write it to `{from} -- {to}`");
                return Err(Error::new(key.span(), message));
            }
            condition(&key, &name, input, &mut direction.conditions, &mut said)
        };
        diag.take(say.parse2(part));
    }
    diag.finish(())?;
    if !input.is_empty() {
        return Err(input.error("expected `,`"));
    }
    if said.is_empty() {
        return Err(Error::new(whole, format!("`{direction} {{}}` says nothing: remove it")));
    }
    Ok(Entry::Direction(direction, DirectionSpans { direction: whole, ends, conditions: said }))
}

/// The value of one condition, behind its key.
fn condition(
    key: &Ident,
    name: &str,
    input: ParseStream<'_>,
    to: &mut netns_test_model::graph::Conditions,
    said: &mut Vec<(String, Span)>,
) -> Result<()> {
    let Some((known, example)) = conditions::key(name) else {
        return Err(Error::new(key.span(), unknown("key", name, &conditions::KEYS.map(|(key, _)| key))));
    };
    if said.iter().any(|(other, _)| other == name) {
        return Err(Error::new(key.span(), format!("`{name}` is written twice: remove one")));
    }
    behind_equals(key, name, example, input)?;
    let span = conditions::set(known, example, input, to)?;
    said.push((name.to_owned(), span));
    if input.is_empty() { Ok(()) } else { Err(input.error("expected `,`")) }
}

/// Goes on behind `=`, where something has to be.
fn behind_equals(key: &Ident, name: &str, example: &str, input: ParseStream<'_>) -> Result<()> {
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("expected `=` after `{name}`, as in `{example}`")));
    }
    input.parse::<Token![=]>()?;
    match input.is_empty() {
        true => Err(Error::new(key.span(), format!("`{name}` needs a value, as in `{example}`"))),
        false => Ok(()),
    }
}

/// `r1` or `r1.swp1`
fn end(input: ParseStream<'_>) -> Result<(End, Span, Option<Span>)> {
    let ident = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), "expected an end of a link, as in `client -- r1`"))?;
    let mut end = End { member: host_name(&ident.unraw().to_string()), interface: None };
    if !input.peek(Token![.]) {
        return Ok((end, ident.span(), None));
    }
    let dot = input.parse::<Token![.]>()?;
    let place = if input.is_empty() { dot.span } else { input.span() };
    let (name, span) = if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        (text.value(), text.span())
    } else {
        let name = input.call(Ident::parse_any).map_err(|_| {
            let message =
                format!("expected the name of an interface, as in `{ident}.eth1` or `{ident}.\"eth0.5\"`");
            Error::new(place, message)
        })?;
        (name.unraw().to_string(), name.span())
    };
    end.interface = Some(name);
    Ok((end, ident.span(), Some(span)))
}

/// One `key = value` in the braces of a link.
fn say(input: ParseStream<'_>, link: &mut Link, spans: &mut LinkSpans, seen: &mut Vec<String>) -> Result<()> {
    let key = input.call(Ident::parse_any).map_err(|error| {
        Error::new(error.span(), "expected `mtu`, `prefix` or an end of the link, as in `mtu = 1400`")
    })?;
    let name = key.unraw().to_string();
    let ends = link.ends.each_ref().map(|end| end.member.as_str());
    let is_end = ends.contains(&host_name(&name).as_str());
    if conditions::key(&name).is_some() && !is_end {
        return condition(&key, &name, input, &mut link.conditions, &mut spans.conditions);
    }
    let known = || {
        let of_conditions = conditions::KEYS.map(|(key, _)| key);
        LINK_KEYS.into_iter().chain(of_conditions).chain(ends).collect::<Vec<_>>()
    };
    if seen.contains(&name) {
        return Err(Error::new(key.span(), format!("`{name}` is written twice: remove one")));
    }
    if !LINK_KEYS.contains(&name.as_str()) && !is_end && !input.peek2(LitStr) && !input.peek2(token::Bracket)
    {
        return Err(Error::new(key.span(), unknown("key", &name, &known())));
    }
    let written = match name.as_str() {
        "mtu" => "mtu = 1400".to_owned(),
        "prefix" => "prefix = \"10.1.0.0/24\"".to_owned(),
        "vlan" => "vlan = 10".to_owned(),
        "wire" => "wire = user".to_owned(),
        _ => format!("{name} = \"10.1.0.5/24\""),
    };
    if name == "private" && !is_end {
        link.private = true;
        seen.push(name);
        return if input.is_empty() {
            Ok(())
        } else {
            Err(input.error("`private` has no value: expected `,`"))
        };
    }
    behind_equals(&key, &name, &written, input)?;
    if name == "wire" {
        spans.conditions.push((name.clone(), input.span()));
        link.wire = Some(conditions::wire(input)?);
    } else if name == "mtu" {
        let (mtu, span) = mtu(input)?;
        (link.mtu, spans.mtu) = (Some(mtu), Some(span));
    } else if name == "vlan" {
        let (vlan, span) = vlan(input)?;
        (link.vlan, spans.vlan) = (Some(vlan), Some(span));
    } else {
        let texts = texts(input, &written)?;
        for text in texts {
            if name == "prefix" {
                link.prefixes.push(text.value());
                spans.prefixes.push(text.span());
            } else {
                link.addresses.push(OwnAddress { member: host_name(&name), address: text.value() });
                spans.owners.push(key.span());
                spans.addresses.push(text.span());
            }
        }
    }
    seen.push(name);
    if input.is_empty() { Ok(()) } else { Err(input.error("expected `,`")) }
}

fn mtu(input: ParseStream<'_>) -> Result<(u32, Span)> {
    let value: LitInt = input
        .parse()
        .map_err(|error| Error::new(error.span(), "expected a number of bytes, as in `mtu = 1400`"))?;
    if !value.suffix().is_empty() {
        let message = format!("expected a number without a unit: write `mtu = {}`", value.base10_digits());
        return Err(Error::new(value.span(), message));
    }
    let number = value.base10_parse().map_err(|_| {
        Error::new(
            value.span(),
            format!("`mtu = {}` is too large: a link has at most 65535", value.base10_digits()),
        )
    })?;
    Ok((number, value.span()))
}

fn vlan(input: ParseStream<'_>) -> Result<(u16, Span)> {
    let value: LitInt = input
        .parse()
        .map_err(|error| Error::new(error.span(), "expected the number of a VLAN, as in `vlan = 10`"))?;
    let number = value.base10_parse().map_err(|_| {
        let message = format!("`vlan = {value}` is none: a VLAN has a number from 1 to 4094 (IEEE 802.1Q)");
        Error::new(value.span(), message)
    })?;
    Ok((number, value.span()))
}

/// A text, or a list of them.
pub(crate) fn texts(input: ParseStream<'_>, example: &str) -> Result<Vec<LitStr>> {
    let text = |input: ParseStream<'_>| {
        if !input.peek(LitStr) {
            return Err(input.error(format!("expected an address in quotes, as in `{example}`")));
        }
        input.parse::<LitStr>()
    };
    if !input.peek(token::Bracket) {
        return Ok(vec![text(input)?]);
    }
    let content;
    let bracket = bracketed!(content in input);
    let mut all = Vec::new();
    while !content.is_empty() {
        all.push(text(&content)?);
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    if all.is_empty() {
        let message = format!("an empty list says nothing: write an address, as in `{example}`");
        return Err(Error::new(bracket.span.join(), message));
    }
    Ok(all)
}

/// The hosts of a graph, and whether arguments and keys go with it.
pub(crate) fn check(
    args: &Args,
    arguments: &[Argument],
    family: Family,
    diag: &mut Diag,
) -> Option<Vec<Host>> {
    let declared = &args.graph;
    if let Some(topology) = args.topology_span {
        diag.at(topology, "`topology` and a graph both wire the nodes: remove one");
    }
    if declared.unread {
        return None;
    }
    for problem in declared.graph.resolve(family).err().unwrap_or_default() {
        diag.at(declared.span(problem.place), problem.message);
    }
    for argument in arguments {
        check_argument(argument, &declared.graph, diag);
    }
    let hosts = declared.graph.members.iter().filter(|member| member.kind != Kind::Switch);
    Some(hosts.map(|host| Host::declared(host.name.clone())).collect())
}

fn check_argument(argument: &Argument, graph: &Graph, diag: &mut Diag) {
    let is_router = is_named(&argument.ty, "Router");
    match argument.nodes {
        Nodes::Array(length) => return check_array(argument, length, graph, diag),
        Nodes::None if !is_router => return,
        Nodes::None | Nodes::One => {}
    }
    let (ident, host) = (&argument.ident, argument.host.as_str());
    let Some(member) = graph.members.iter().find(|member| member.name == host) else {
        let key = if is_router { "routers" } else { "nodes" };
        let wanted =
            |member: &&Member| member.kind != Kind::Switch && (!is_router || member.kind == Kind::Router);
        let names = graph.members.iter().filter(wanted).map(|member| member.name.as_str());
        let what = if is_router { "router" } else { "node" };
        let message = match closest(host, names) {
            Some(near) => format!("there is no {what} `{host}`: did you mean `{}`?", near.replace('-', "_")),
            None => format!("there is no {what} `{host}`: declare it, as in `{key}({ident})`"),
        };
        return diag.on(ident, message);
    };
    match member.kind {
        Kind::Switch => diag.on(ident, format!("`{host}` is a switch, and no node: remove the argument")),
        Kind::Node if is_router => diag.on(
            &argument.ty,
            format!("`{host}` is declared as a node: take it as `Node`, or move it to `routers(..)`"),
        ),
        Kind::Node | Kind::Router => {}
    }
}

/// `spokes: [Node; 2]` takes the nodes `spokes-0` and `spokes-1`.
fn check_array(argument: &Argument, length: usize, graph: &Graph, diag: &mut Diag) {
    let kind = |name: &str| graph.members.iter().find(|member| member.name == name).map(|member| member.kind);
    let name = |number: usize| format!("{}-{number}", argument.host);
    let is_missing = |number: &usize| matches!(kind(&name(*number)), None | Some(Kind::Switch));
    // Before the names of a billion nodes are made: more than are declared cannot all be there.
    let Some(first) = (0..length.min(graph.members.len() + 1)).find(is_missing) else { return };
    let (missing, ident) = (name(first), &argument.ident);
    let message = match (kind(&missing), first) {
        (Some(_), _) => format!("`{missing}` is a switch, and no node: rename it"),
        (None, 0) => format!(
            "there is no node `{missing}`: a graph names its nodes one by one, as in `nodes({ident}_0, {ident}_1)`, and \
             `{ident}: [Node; 2]` takes these"
        ),
        (None, _) => {
            format!(
                "there is no node `{missing}`: declare it, as in `nodes({ident}_{first})`, or write `[Node; {first}]`"
            )
        }
    };
    diag.on(ident, message);
}

/// The nodes of a `Topology` value that the keys name. Whether they are there is known when the test runs.
pub(crate) fn named(args: &Args, diag: &mut Diag) -> Option<Vec<Host>> {
    let mut names: Vec<String> = Vec::new();
    for aliases in &args.aliases {
        match aliases.owner() {
            Ok(node) => names.push(host_name(node)),
            Err(place) => {
                let message = "a `Topology` value has nodes of its own: say whose names these are, as in \
                               `aliases(server = [\"relay.test\"])`";
                diag.at(place, message);
                return None;
            }
        }
    }
    names.extend(args.run_in.iter().chain(&args.dns).map(|node| host_name(&node.value)));
    names.sort();
    names.dedup();
    Some(names.into_iter().map(Host::declared).collect())
}

/// Whether keys and arguments that need a graph are there without one.
pub(crate) fn check_absent(args: &Args, arguments: &[Argument], diag: &mut Diag) {
    for key in &args.graph.more {
        let message = match args.value {
            Some(_) => {
                format!("the `Topology` value says that itself: call `.{key}(..)` on it, and remove `{key}`")
            }
            None => format!("`{key}` goes with a graph, `nodes(..)` and `links(..)`: remove it"),
        };
        diag.on(key, message);
    }
    if args.value.is_some() {
        let only_one = "the `Topology` value has its own";
        if let Some(nodes) = args.nodes {
            diag.at(nodes.span, format!("{only_one} nodes: remove `nodes`"));
        }
        if let Some(family) = args.family_span {
            diag.at(family, format!("{only_one} family: call `.family(..)` on it, and remove `family`"));
        }
        return;
    }
    for argument in arguments.iter().filter(|argument| is_named(&argument.ty, "Router")) {
        let ident = &argument.ident;
        let message = format!("no router is declared: write `routers({ident})`, and its `links(..)`");
        diag.at(argument.ty.span(), message);
    }
}

/// The graph as a value that the run time builds.
pub(crate) fn value(graph: &Graph, family: &Ident, private: &TokenStream) -> TokenStream {
    let members = graph.members.iter().map(|Member { name, kind }| match kind {
        Kind::Node => quote!(topology.node(#name);),
        Kind::Router => {
            let options = graph.routers.iter().find(|options| options.member == *name);
            let options = options.map(|options| routers::value(options, private));
            quote!(topology.router(#name) #options;)
        }
        Kind::Switch => quote!(topology.switch(#name);),
    });
    let links = graph.links.iter().map(|link| {
        let [left, right] = link.ends.each_ref().map(ToString::to_string);
        let mtu = link.mtu.map(|mtu| quote!(.mtu(#mtu)));
        let vlan = link.vlan.map(|vlan| quote!(.vlan(#vlan)));
        let prefixes = &link.prefixes;
        let addresses =
            link.addresses.iter().map(|OwnAddress { member, address }| quote!(.address(#member, #address)));
        let marked = link.private.then(|| quote!(.private()));
        let conditions =
            conditions::value(&link.conditions, private).map(|value| quote!(.conditions(#value)));
        let wire = link.wire.map(|wire| wire_value(wire, private)).map(|wire| quote!(.wire(#wire)));
        quote!(topology.link(#left, #right) #mtu #vlan #(.prefix(#prefixes))* #(#addresses)* #marked #conditions #wire;)
    });
    let directions = graph.directions.iter().map(|direction| {
        let [from, to] = direction.ends.each_ref().map(ToString::to_string);
        let conditions = conditions::value(&direction.conditions, private);
        quote!(topology.direction(#from, #to, #conditions);)
    });
    let wire = graph.wire.map(|wire| wire_value(wire, private)).map(|wire| quote!(topology.wire(#wire);));
    let seed = graph.seed.map(|seed| quote!(topology.seed(#seed);));
    let routes = match graph.routes {
        Routes::Connected => quote!(topology.routes(#private::Routes::Connected);),
        Routes::None => quote!(topology.routes(#private::Routes::None);),
        _ => quote!(),
    };
    let addresses = match graph.addresses {
        Addresses::None => quote!(topology.addresses(#private::Addresses::None);),
        _ => quote!(),
    };
    quote! {
        let mut topology = #private::Topology::new();
        topology.family(#private::Family::#family);
        #(#members)*
        #(#links)*
        #(#directions)*
        #wire
        #seed
        #routes
        #addresses
        topology
    }
}

fn wire_value(wire: Wire, private: &TokenStream) -> TokenStream {
    match wire {
        Wire::Kernel => quote!(#private::Wire::Kernel),
        _ => quote!(#private::Wire::User),
    }
}
