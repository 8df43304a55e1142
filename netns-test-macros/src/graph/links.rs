//! What stands between two commas of `links(..)`: a link, or what holds for one of its directions.

use netns_test_model::graph::{Direction, End, Link, OwnAddress};
use netns_test_model::host_name;
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, LitInt, LitStr, Result, Token, braced, bracketed, token};

use super::{DirectionSpans, Entry, LINK_KEYS, LinkSpans, parts};
use crate::conditions;
use crate::diag::{Diag, unknown};

/// `client -- r1 { mtu = 1400 }`, or `client -> r1 { loss = 1% }`
pub(super) fn link(input: ParseStream<'_>) -> Result<Entry> {
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
