//! Snapshots of the expansion: `snapshots/NAME.in.rs` is what a user writes, `snapshots/NAME.out.rs` what becomes of it; those whose
//! names start with `trial` are of a target with `harness = false`.
//!
//! Where they are meant to differ, `NETNS_TEST_SNAPSHOTS=overwrite cargo test -p netns-test-macros` writes the latter anew.

use std::path::{Path, PathBuf};
use std::{env, fs};

use proc_macro2::{TokenStream, TokenTree};

use crate::expand::Kind;

#[test]
fn expansions_are_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    let overwrite = env::var_os("NETNS_TEST_SNAPSHOTS").is_some_and(|value| value == "overwrite");
    let mut differing = Vec::new();
    for input in inputs(&dir) {
        let without_libtest =
            input.file_name().is_some_and(|name| name.to_string_lossy().starts_with("trial"));
        let kind = if without_libtest { Kind::Trial } else { Kind::Test };
        let expanded = expand(&fs::read_to_string(&input).expect("a file that was just listed"), kind);
        let output = input.with_extension("").with_extension("out.rs");
        if overwrite {
            fs::write(&output, expanded).expect("the directory is writable");
        } else if fs::read_to_string(&output).ok().as_deref() != Some(&expanded) {
            differing.push(format!("{} should be:\n{expanded}", output.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

fn inputs(dir: &Path) -> Vec<PathBuf> {
    let mut inputs: Vec<_> = fs::read_dir(dir)
        .expect("the snapshots are there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".in.rs")))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    inputs
}

/// The expansion of the first attribute, formatted.
fn expand(source: &str, kind: Kind) -> String {
    let mut tokens = source.parse::<TokenStream>().expect("a file of Rust tokens").into_iter();
    let (Some(TokenTree::Punct(_)), Some(TokenTree::Group(attribute))) = (tokens.next(), tokens.next())
    else {
        panic!("a snapshot starts with the attribute");
    };
    let args = match attribute.stream().into_iter().last() {
        Some(TokenTree::Group(args)) => args.stream(),
        _ => TokenStream::new(),
    };
    let expanded = crate::attribute(args, tokens.collect(), kind);
    let file = syn::parse2(expanded.clone());
    file.map_or_else(
        |error| panic!("{error} in the expansion of {source}: {expanded}"),
        |file| prettyplease::unparse(&file),
    )
}
