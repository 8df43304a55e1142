//! The work with patchbay.

use std::process::ExitCode;

use measure::Side;
use with_patchbay::{connected, echo, isolated};

fn main() -> ExitCode {
    if let Err(error) = patchbay::init_userns() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    measure::main(&Side { isolated, echo, connected: |nodes| Some(connected(nodes)) })
}
