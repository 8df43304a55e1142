//! What a link does to packets, in its braces: `delay = 20ms, loss = 1%`.

use std::time::Duration;

use netns_test_model::graph::{
    Burst, Conditions, Ecn, Icmp, Loss, Percent, Queue, Rate, Trace, Wire, parse_queue, parse_rate,
};
use netns_test_model::parse_duration;
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::{Error, Lit, LitStr, Result, Token, bracketed, parenthesized, token};

use crate::diag::{Diag, list, unknown};

/// The keys of conditions, and how each is written.
pub(crate) const KEYS: [(&str, &str); 11] = [
    ("delay", "delay = 20ms"),
    ("jitter", "jitter = 2ms"),
    ("loss", "loss = 1%"),
    ("duplicate", "duplicate = 1%"),
    ("reorder", "reorder = 1%"),
    ("corrupt", "corrupt = 1%"),
    ("rate", "rate = 10mbit"),
    ("trace", TRACE),
    ("queue", "queue = 50ms"),
    ("ecn", "ecn = mark"),
    ("icmp", "icmp = drop"),
];

/// The key of this name, and how it is written.
pub(crate) fn key(name: &str) -> Option<(&'static str, &'static str)> {
    KEYS.into_iter().find(|(key, _)| *key == name)
}

/// Reads the value behind `key =`.
pub(crate) fn set(key: &str, example: &str, input: ParseStream<'_>, to: &mut Conditions) -> Result<Span> {
    let span = input.span();
    match key {
        "delay" => to.delay = Some(duration(input, example)?),
        "jitter" => to.jitter = Some(duration(input, example)?),
        "loss" => to.loss = Some(loss(input)?),
        "duplicate" => to.duplicate = Some(percent(input, example)?),
        "reorder" => to.reorder = Some(percent(input, example)?),
        "corrupt" => to.corrupt = Some(percent(input, example)?),
        "rate" => to.rate = Some(literal(input, "a rate", example, parse_rate)?),
        "trace" => to.trace = Some(trace(input)?),
        "queue" => to.queue = Some(literal(input, "a time or a size", example, parse_queue)?),
        "ecn" => to.ecn = Some(word(input, "ecn", Ecn::ALL, |ecn| ecn.name())?),
        "icmp" => to.icmp = Some(word(input, "icmp", Icmp::ALL, |icmp| icmp.name())?),
        _ => unreachable!("the caller has found the key among `KEYS`"),
    }
    Ok(span)
}

/// Reads the value behind `wire =`.
pub(crate) fn wire(input: ParseStream<'_>) -> Result<Wire> {
    word(input, "wire", Wire::ALL, |wire| wire.name())
}

fn word<T: Copy>(
    input: ParseStream<'_>,
    key: &str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T> {
    let names: Vec<&str> = all.iter().map(|value| name(*value)).collect();
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        let message = format!("write it without quotes: `{key} = {}`", text.value());
        return Err(Error::new(text.span(), message));
    }
    let word = input
        .call(Ident::parse_any)
        .map_err(|error| Error::new(error.span(), format!("expected {}", list(&names))))?;
    let found = all.iter().copied().find(|value| word == name(*value));
    found.ok_or_else(|| Error::new(word.span(), unknown(key, &word.to_string(), &names)))
}

/// A number with a unit, read by `parse`.
fn literal<T>(
    input: ParseStream<'_>,
    what: &str,
    example: &str,
    parse: impl Fn(&str) -> std::result::Result<T, String>,
) -> Result<T> {
    let span = input.span();
    let expected = || Error::new(span, format!("expected {what}, as in `{example}`"));
    match input.parse::<Lit>().map_err(|_| expected())? {
        Lit::Str(text) => {
            let written = text.value();
            let key = example.split(' ').next().unwrap_or_default();
            Err(Error::new(
                span,
                match parse(written.trim()) {
                    Ok(_) => format!("write it without quotes: `{key} = {}`", written.trim()),
                    Err(message) => format!("write it without quotes, as in `{example}`; {message}"),
                },
            ))
        }
        literal @ (Lit::Int(_) | Lit::Float(_)) => {
            parse(&literal.to_token_stream().to_string()).map_err(|message| Error::new(span, message))
        }
        _ => Err(expected()),
    }
}

fn duration(input: ParseStream<'_>, example: &str) -> Result<Duration> {
    literal(input, "a time", example, |text| {
        // Of a number without a unit, seconds are hardly meant.
        let bare = text.ends_with(|c: char| c.is_ascii_digit());
        let in_seconds = if bare { format!("`{text}s`") } else { "`30s`".to_owned() };
        let in_milliseconds = if bare { format!("`{text}ms`") } else { "`20ms`".to_owned() };
        let say = |message: String| message.replace(&in_seconds, &in_milliseconds);
        parse_duration(text).map_err(say)
    })
}

/// `1%`
fn percent(input: ParseStream<'_>, example: &str) -> Result<Percent> {
    let key = example.split(' ').next().unwrap_or_default();
    let span = input.span();
    let number = literal(input, "a share of packets", example, |text| {
        text.replace('_', "")
            .parse::<f64>()
            .map_err(|_| format!("`{text}` is no share of packets: write it as in `{example}`"))
    })?;
    if !input.peek(Token![%]) {
        return Err(Error::new(span, format!("a share of packets is written with `%`: `{key} = {number}%`")));
    }
    input.parse::<Token![%]>()?;
    Ok(Percent(number))
}

const BURST: &str = "loss = burst(enter = 1%, leave = 25%)";

/// `1%` or `burst(enter = 1%, leave = 25%)`
fn loss(input: ParseStream<'_>) -> Result<Loss> {
    if !input.peek(syn::Ident) {
        return Ok(percent(input, "loss = 1%")?.into());
    }
    let name: Ident = input.parse()?;
    if name != "burst" || !input.peek(token::Paren) {
        return Err(Error::new(
            name.span(),
            format!("expected a share of packets, as in `loss = 1%`, or `{BURST}`"),
        ));
    }
    let content;
    let parentheses = parenthesized!(content in input);
    let mut said: [Option<Percent>; 4] = [None; 4];
    const WORDS: [&str; 4] = ["enter", "leave", "bad", "good"];
    let mut diag = Diag::default();
    while !content.is_empty() {
        let word = content.call(Ident::parse_any).map_err(|error| {
            Error::new(error.span(), format!("expected {}, as in `{BURST}`", list(WORDS)))
        })?;
        let Some(position) = WORDS.iter().position(|known| word == known) else {
            return Err(Error::new(word.span(), unknown("key", &word.to_string(), &WORDS)));
        };
        if !content.peek(Token![=]) {
            return Err(Error::new(word.span(), format!("expected `=` after `{word}`, as in `{BURST}`")));
        }
        content.parse::<Token![=]>()?;
        let share = percent(&content, &format!("{word} = 1%"))?;
        if said[position].replace(share).is_some() {
            diag.at(word.span(), format!("`{word}` is written twice: remove one"));
        }
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    let [enter, leave, bad, good] = said;
    let (Some(enter), Some(leave)) = (enter, leave) else {
        diag.at(parentheses.span.join(), format!("a burst has a beginning and an end: write `{BURST}`"));
        return diag.finish(Percent(0.0).into());
    };
    let burst = Burst::new(enter, leave);
    let burst = burst.bad(bad.unwrap_or(burst.bad)).good(good.unwrap_or(burst.good));
    diag.finish(burst.into())
}

const TRACE: &str = "trace = [10mbit for 2s, 1mbit for 500ms]";

/// `[10mbit for 2s, 1mbit for 500ms]`
fn trace(input: ParseStream<'_>) -> Result<Trace> {
    let span = input.span();
    if !input.peek(token::Bracket) {
        let message = match input.peek(LitStr) {
            true => format!(
                "a file is read in code, by `Trace::mahimahi`; here a trace is a list of rates and times, as in `{TRACE}`"
            ),
            false => format!("expected a list of rates and times, as in `{TRACE}`"),
        };
        return Err(Error::new(span, message));
    }
    let content;
    bracketed!(content in input);
    let mut steps = Vec::new();
    while !content.is_empty() {
        let span = content.span();
        let rate = literal(&content, "a rate", TRACE, parse_rate)?;
        if !content.peek(Token![for]) {
            let message = format!("for how long is not said: write `{rate} for 2s`, as in `{TRACE}`");
            return Err(Error::new(span, message));
        }
        content.parse::<Token![for]>()?;
        steps.push((rate, literal(&content, "a time", TRACE, parse_duration)?));
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    Ok(Trace::new(steps))
}

/// The conditions as a value that the run time makes; `None` where nothing is said.
pub(crate) fn value(conditions: &Conditions, private: &TokenStream) -> Option<TokenStream> {
    if conditions.are_none() {
        return None;
    }
    let Conditions {
        delay, jitter, loss, duplicate, reorder, corrupt, rate, trace, queue, ecn, icmp, ..
    } = conditions;
    let time = |time: Duration| {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        quote!(::core::time::Duration::from_nanos(#nanos))
    };
    let share = |Percent(share): Percent| quote!(#private::Percent(#share));
    let parts = [
        delay.map(|delay| (time(delay), "delay")),
        jitter.map(|jitter| (time(jitter), "jitter")),
        loss.map(|loss| {
            let loss = match loss {
                Loss::Uniform(percent) => share(percent),
                Loss::Burst(burst) => {
                    let [enter, leave, bad, good] =
                        [burst.enter, burst.leave, burst.bad, burst.good].map(share);
                    quote!(#private::Burst::new(#enter, #leave).bad(#bad).good(#good))
                }
                _ => unreachable!("the attribute has no other"),
            };
            (loss, "loss")
        }),
        duplicate.map(|percent| (share(percent), "duplicate")),
        reorder.map(|percent| (share(percent), "reorder")),
        corrupt.map(|percent| (share(percent), "corrupt")),
        rate.map(|rate: Rate| {
            let bits = rate.bits();
            (quote!(#private::Rate::bit(#bits)), "rate")
        }),
        trace.as_ref().map(|trace| {
            let steps = trace.steps().iter().map(|(rate, so_long)| {
                let (bits, so_long) = (rate.bits(), time(*so_long));
                quote!((#private::Rate::bit(#bits), #so_long))
            });
            (quote!(#private::Trace::new([#(#steps),*])), "trace")
        }),
        queue.map(|queue| {
            let queue = match queue {
                Queue::Time(duration) => time(duration),
                Queue::Bytes(bytes) => quote!(#private::Queue::Bytes(#bytes)),
                Queue::Packets(packets) => quote!(#private::Queue::Packets(#packets)),
                _ => unreachable!("the attribute has no other"),
            };
            (queue, "queue")
        }),
        ecn.map(|ecn| {
            let ecn = format_ident!("{ecn:?}", span = Span::mixed_site());
            (quote!(#private::Ecn::#ecn), "ecn")
        }),
        icmp.map(|icmp| {
            let icmp = format_ident!("{icmp:?}", span = Span::mixed_site());
            (quote!(#private::Icmp::#icmp), "icmp")
        }),
    ];
    let calls = parts.into_iter().flatten().map(|(value, name)| {
        let name = Ident::new(name, Span::mixed_site());
        quote!(.#name(#value))
    });
    Some(quote!(#private::Conditions::new()#(#calls)*))
}
