//! Variables of the environment that change how tests run (`NETNS_TEST_…`).

use std::env;
use std::ffi::OsString;

/// What a variable is set to. One that is set to nothing is not set: so a CI's configuration leaves one out.
pub(crate) fn value(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The same as text, for those whose values are words.
pub(crate) fn text(name: &str) -> Option<String> {
    value(name).map(|value| value.to_string_lossy().into_owned())
}
