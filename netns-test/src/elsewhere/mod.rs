//! What there is on other systems than Linux: all that tests and their helpers name, so that they compile, and nothing that runs.
//!
//! The tests are ignored. The handles, of which nobody can have one, are made of those of Linux by `tests/tests/elsewhere.rs`, which
//! also finds where they differ.

use netns_test_model::ELSEWHERE;

use crate::Error;

#[cfg(feature = "dns")]
#[rustfmt::skip]
pub mod dns;
#[path = "../node/endpoint.rs"]
pub(crate) mod endpoint;
#[rustfmt::skip]
pub(crate) mod handles;
#[cfg(feature = "kubernetes")]
#[rustfmt::skip]
pub mod kubernetes;
#[cfg(feature = "kubernetes")]
#[path = "../kubernetes/layout.rs"]
mod layout;
pub(crate) mod run;
#[path = "../netlink/state.rs"]
pub mod state;
#[expect(unsafe_code, reason = "the trait's own")]
#[path = "../sys/subscriber.rs"]
pub(crate) mod subscriber;

/// In place of what only Linux has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Opaque;

/// What methods do that have no errors: nobody has a handle to call them on.
#[track_caller]
const fn unavailable() -> ! {
    panic!("{}", ELSEWHERE)
}

/// What the others return, which programs and plain tests may call.
fn refused() -> Error {
    Error::because("make a network", ELSEWHERE)
}

/// The part of Linux's harness that the one in libtest's place asks.
#[cfg(feature = "harness")]
pub(crate) mod harness {
    use crate::__private::TestCase;

    pub(crate) fn would_skip(_test: &TestCase) -> Option<String> {
        Some(super::ELSEWHERE.to_owned())
    }

    pub(crate) fn take_skipped() -> Option<String> {
        None
    }
}

/// Events are recorded for a test's report.
pub(crate) mod log {
    use tracing_core::LevelFilter;

    use super::subscriber::Beside;

    pub(crate) fn beside() -> Beside {
        Beside { level: LevelFilter::OFF, note: |_event| {} }
    }
}
