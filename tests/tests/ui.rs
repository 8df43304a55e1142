//! A mistake is reported at its token, with the fix, and all of them at once.
//!
//! `ui/fail` holds mistakes that the attribute itself finds, one file for a rule; `ui/types` those that rustc finds in the
//! expansion; `ui/pass` what has to work. Where messages are meant to change, `TRYBUILD=overwrite` writes the expected
//! ones anew.

#[path = "../ui/pass/mod.rs"]
mod pass;

#[path = "../ui/types.rs"]
mod types;

#[test]
fn mistakes_are_reported_with_the_fix() {
    trybuild::TestCases::new().compile_fail("ui/fail/*.rs");
}
