//! Mistakes that rustc finds in the expansion are at the user's tokens.
//!
//! Trybuild compiles programs, in which a `#[test]` function is left out; so these are checked as tests, in a package made
//! for them. A comment `//~ ERROR text` says that its line has an error that starts so; there must be no others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Errors and warnings by line, as the messages of a run of cargo have them.
type Found = Vec<(usize, String)>;

#[test]
fn what_cannot_be_injected_or_returned_is_underlined() {
    let package = package();
    let mut cases: Vec<_> = fs::read_dir("ui/types").unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    for case in &cases {
        fs::copy(case, package.join("tests").join(case.file_name().unwrap())).unwrap();
    }
    for case in &cases {
        let source = fs::read_to_string(case).unwrap();
        let (expected, (found, messages)) = (expected(&source), check(&package, case));
        let matches = |(expected, found): (&(usize, String), &(usize, String))| {
            expected.0 == found.0 && found.1.starts_with(&expected.1)
        };
        let same = expected.len() == found.len() && expected.iter().zip(&found).all(matches);
        assert!(same, "{}: expected {expected:#?}, found {found:#?}\n{messages}", case.display());
    }
}

fn expected(source: &str) -> Found {
    let line = |(index, line): (usize, &str)| {
        line.split_once("//~ ERROR ").map(|(_, text)| (index + 1, text.trim().to_owned()))
    };
    source.lines().enumerate().filter_map(line).collect()
}

/// An empty package that depends on the crate.
fn package() -> PathBuf {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ui-types");
    let netns_test = Path::new(env!("CARGO_MANIFEST_DIR")).join("../netns-test").canonicalize().unwrap();
    let _absent = fs::remove_dir_all(package.join("tests"));
    fs::create_dir_all(package.join("tests")).unwrap();
    fs::create_dir_all(package.join("src")).unwrap();
    fs::write(package.join("src/lib.rs"), "").unwrap();
    let manifest = format!(
        "[package]\nname = \"ui-types\"\nedition = \"2024\"\n\
         [dependencies]\nnetns-test = {{ path = {netns_test:?} }}\n\
         [workspace]\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace has, which are there without a network.
    fs::copy(netns_test.join("../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    package
}

/// Errors and warnings of one case, and the whole of what cargo printed.
fn check(package: &Path, case: &Path) -> (Found, String) {
    let name = case.file_stem().unwrap().to_str().unwrap();
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--quiet", "--offline", "--message-format=short", "--color=never", "--test", name])
        .env("CARGO_TARGET_DIR", package.join("target"))
        .current_dir(package)
        .output()
        .unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    let start = format!("tests/{name}.rs:");
    let found = |message: &str| {
        let (line, rest) = message.strip_prefix(&start)?.split_once(':')?;
        let (_column, rest) = rest.split_once(": ")?;
        // `error[E0277]: text`
        let (_level, text) = rest.split_once(": ")?;
        Some((line.parse().ok()?, text.to_owned()))
    };
    (messages.lines().filter_map(found).collect(), messages)
}
