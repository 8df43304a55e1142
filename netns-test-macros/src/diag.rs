//! Collects every mistake, so that they are reported together.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Error, Result};

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Diag {
    found: Option<Error>,
}

impl Diag {
    /// A mistake that underlines the given tokens.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    /// A mistake at the given place.
    pub(crate) fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(Error::new(span, message));
    }

    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.found {
            None => self.found = Some(error),
            Some(found) => found.combine(error),
        }
    }

    /// The value, or what is wrong with it for the user to read.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_none()
    }

    /// The one exit: the value, if nothing is wrong.
    pub(crate) fn finish<T>(self, value: T) -> Result<T> {
        match self.found {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }
}

/// `a`, `b` or `c`
pub(crate) fn list<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let mut words: Vec<_> = words.into_iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match words.pop() {
        None => "nothing".to_owned(),
        Some(last) if words.is_empty() => last,
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}

/// What to say about a word that is none of the known ones.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let list = list(known);
    match netns_test_model::closest(word, known) {
        Some(near) => format!("unknown {what} `{word}`: did you mean `{near}`? (expected {list})"),
        None => format!("unknown {what} `{word}`: expected {list}"),
    }
}
