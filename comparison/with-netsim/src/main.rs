//! The work with netsim.

use std::process::ExitCode;

use measure::Side;
use with_netsim::{connected, echo, isolated};

fn main() -> ExitCode {
    measure::main(&Side { isolated, echo, connected: |nodes| Some(connected(nodes)) })
}
