//! What routers do beside passing packets on: the braces in `routers(home { nat = home, uplink = isp })`.

use std::time::Duration;

use netns_test_model::graph::{Firewall, Nat, NatBehavior, RouterOptions};
use netns_test_model::{closest, host_name, parse_duration};
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, LitBool, LitStr, Result, Token};

use crate::diag::{Diag, list, unknown};
use crate::graph::parts;

/// Every key, and how it is written.
const KEYS: [(&str, &str); 9] = [
    ("nat", "nat = home"),
    ("uplink", "uplink = isp"),
    ("firewall", "firewall = stateful"),
    ("mapping", "mapping = endpoint_independent"),
    ("filtering", "filtering = address_dependent"),
    ("port_preservation", "port_preservation = false"),
    ("hairpinning", "hairpinning = true"),
    ("udp_timeout", "udp_timeout = 30s"),
    ("tcp_timeout", "tcp_timeout = 2h"),
];

/// The keys that say more about a NAT.
const OF_NAT: [&str; 6] =
    ["mapping", "filtering", "port_preservation", "hairpinning", "udp_timeout", "tcp_timeout"];

/// Where the keys of one router are written.
pub(crate) struct Spans(Vec<(String, Span)>);

impl Spans {
    pub(crate) fn of(&self, key: &str) -> Option<Span> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, span)| *span)
    }
}

/// What one key says.
enum Value {
    Nat(Option<(String, Nat)>),
    Uplink(String),
    Firewall(Firewall),
    Behavior(NatBehavior),
    Flag(bool),
    Timeout(Duration),
}

/// What stands in the braces behind the router `member`.
pub(crate) fn options(member: &Ident, tokens: TokenStream) -> Result<(RouterOptions, Spans)> {
    let mut diag = Diag::default();
    let mut said: Vec<(String, Span, Value)> = Vec::new();
    for part in parts(tokens, &mut diag) {
        if let Some((key, span, value)) = diag.take(key_and_value.parse2(part)) {
            match said.iter().any(|(name, ..)| key == *name) {
                true => diag.at(span, format!("`{key}` is written twice: remove one")),
                false => said.push((key.to_string(), span, value)),
            }
        }
    }
    let mut options =
        RouterOptions { member: host_name(&member.unraw().to_string()), ..RouterOptions::default() };
    for (_, _, value) in &said {
        match value {
            Value::Nat(Some((kind, nat))) => {
                options.nat = Some(nat.clone());
                options.firewall.get_or_insert(Nat::firewall_of(kind));
            }
            Value::Nat(None) => {
                options.firewall.get_or_insert(Firewall::Open);
            }
            Value::Firewall(firewall) => options.firewall = Some(*firewall),
            Value::Uplink(uplink) => options.uplink = Some(uplink.clone()),
            _ => {}
        }
    }
    let mut spans = Vec::new();
    for (key, span, value) in said {
        spans.push((key.clone(), span));
        if !OF_NAT.contains(&key.as_str()) {
            continue;
        }
        let Some(nat) = &mut options.nat else {
            let message = format!(
                "`{key}` is about a NAT: write the kind that it changes, as in `nat = home, {key} = ..`"
            );
            diag.at(span, message);
            continue;
        };
        match (key.as_str(), value) {
            ("mapping", Value::Behavior(mapping)) => nat.mapping = mapping,
            ("filtering", Value::Behavior(filtering)) => nat.filtering = filtering,
            ("port_preservation", Value::Flag(flag)) => nat.port_preservation = flag,
            ("hairpinning", Value::Flag(flag)) => nat.hairpinning = flag,
            ("udp_timeout", Value::Timeout(timeout)) => nat.udp_timeout = timeout,
            ("tcp_timeout", Value::Timeout(timeout)) => nat.tcp_timeout = timeout,
            _ => {}
        }
    }
    diag.finish((options, Spans(spans)))
}

fn key_and_value(input: ParseStream<'_>) -> Result<(Ident, Span, Value)> {
    let names = || KEYS.map(|(name, _)| name);
    let key = input.call(Ident::parse_any).map_err(|error| {
        Error::new(error.span(), format!("expected {}, as in `nat = home`", list(names())))
    })?;
    let name = key.unraw().to_string();
    let Some((_, example)) = KEYS.iter().find(|(known, _)| *known == name) else {
        return Err(Error::new(key.span(), unknown("key", &name, &names())));
    };
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("expected `=` after `{name}`, as in `{example}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() {
        return Err(Error::new(key.span(), format!("`{name}` needs a value, as in `{example}`")));
    }
    let span = input.span();
    let value = match name.as_str() {
        "nat" => {
            let (word, span) = word(input, example)?;
            match Nat::kind(&word) {
                Some(nat) => Value::Nat(Some((word, nat))),
                None if word == "none" => Value::Nat(None),
                None => {
                    let known: Vec<&str> = Nat::KINDS.iter().copied().chain(["none"]).collect();
                    return Err(Error::new(span, unknown("nat", &word, &known)));
                }
            }
        }
        "uplink" => Value::Uplink(host_or_interface(input, example)?),
        "firewall" => {
            let (word, span) = word(input, example)?;
            Value::Firewall(one_of("firewall", &word, span, Firewall::ALL, |firewall| firewall.name())?)
        }
        "mapping" | "filtering" => {
            let (word, span) = word(input, example)?;
            Value::Behavior(one_of(&name, &word, span, NatBehavior::ALL, |behavior| behavior.name())?)
        }
        "udp_timeout" | "tcp_timeout" => {
            // A number with a unit, whole or not.
            let literal: Literal = input.parse().map_err(|error| {
                Error::new(error.span(), format!("expected a duration, as in `{example}`"))
            })?;
            let parsed = parse_duration(&literal.to_string());
            Value::Timeout(parsed.map_err(|message| Error::new(literal.span(), message))?)
        }
        _ => {
            let flag: LitBool = input.parse().map_err(|error| {
                Error::new(error.span(), format!("expected `true` or `false`, as in `{example}`"))
            })?;
            Value::Flag(flag.value)
        }
    };
    if input.is_empty() { Ok((key, span, value)) } else { Err(input.error("expected `,`")) }
}

fn word(input: ParseStream<'_>, example: &str) -> Result<(String, Span)> {
    let word = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), format!("expected a word, as in `{example}`")))?;
    Ok((word.unraw().to_string(), word.span()))
}

/// A member's name, or an interface's, which may need quotes.
fn host_or_interface(input: ParseStream<'_>, example: &str) -> Result<String> {
    if input.peek(LitStr) {
        return Ok(input.parse::<LitStr>()?.value());
    }
    word(input, example).map(|(word, _)| host_name(&word))
}

fn one_of<T: Copy>(
    key: &str,
    word: &str,
    span: Span,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T> {
    match all.iter().find(|one| name(**one) == word) {
        Some(found) => Ok(*found),
        None => {
            let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
            // Whose hyphens became underscores, or who writes RFC 4787's capitals.
            let near = closest(&word.to_lowercase(), names.iter().copied()).unwrap_or(word);
            match names.contains(&near) {
                true => Err(Error::new(span, format!("unknown {key} `{word}`: did you mean `{near}`?"))),
                false => Err(Error::new(span, unknown(key, word, &names))),
            }
        }
    }
}

/// The calls that say it to a router of a `Topology`.
pub(crate) fn value(options: &RouterOptions, private: &TokenStream) -> TokenStream {
    let nat = options.nat.as_ref().map(|nat| {
        let [mapping, filtering] = [nat.mapping, nat.filtering].map(|behavior| format_ident!("{behavior:?}"));
        let (preserves, hairpins) = (nat.port_preservation, nat.hairpinning);
        let [udp, tcp] = [nat.udp_timeout, nat.tcp_timeout].map(|timeout| timeout.as_secs());
        quote! {
            .nat(
                #private::Nat::home()
                    .mapping(#private::NatBehavior::#mapping)
                    .filtering(#private::NatBehavior::#filtering)
                    .port_preservation(#preserves)
                    .hairpinning(#hairpins)
                    .udp_timeout(::core::time::Duration::from_secs(#udp))
                    .tcp_timeout(::core::time::Duration::from_secs(#tcp))
            )
        }
    });
    let firewall = options.firewall.map(|firewall| {
        let variant = format_ident!("{firewall:?}");
        quote!(.firewall(#private::Firewall::#variant))
    });
    let uplink = options.uplink.as_ref().map(|uplink| quote!(.uplink(#uplink)));
    quote!(#nat #firewall #uplink)
}
