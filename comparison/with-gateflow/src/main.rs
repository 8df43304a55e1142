//! The work with gateflow.

use std::process::ExitCode;

use measure::Side;
use with_gateflow::{connected, echo, isolated};

fn main() -> ExitCode {
    // Two are the most that it connects.
    measure::main(&Side { isolated, echo, connected: |nodes| (nodes == 2).then(connected) })
}
