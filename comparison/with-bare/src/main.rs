//! The work by bare system calls: the floor of netns-test's own benchmark. What it made is let go of, and gone when the process ends.

#![allow(dead_code)]

#[path = "../../../tests/benches/floor/addresses.rs"]
mod addresses;
#[path = "../../../tests/benches/floor/cluster.rs"]
mod cluster;
#[path = "../../../tests/benches/floor/floor.rs"]
mod floor;
#[path = "../../../tests/benches/floor/identity.rs"]
mod identity;
#[path = "../../../tests/benches/floor/least.rs"]
mod least;
#[path = "../../../tests/benches/floor/netlink.rs"]
mod netlink;
#[path = "../../../tests/benches/floor/sys.rs"]
mod sys;
#[path = "../../../tests/benches/floor/variant.rs"]
mod variant;

use std::process::ExitCode;
use std::time::Instant;

use measure::{Error, Side};
use variant::{Variant as _, Work};

fn main() -> ExitCode {
    let prepared = identity::prepare().and_then(|()| sys::raise_open_files());
    if let Err(error) = prepared {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    measure::main(&Side { isolated, echo, connected: |nodes| Some(connected(nodes)) })
}

fn isolated() -> Result<(), Error> {
    floor::Floor.perform(Work::Isolated)?;
    Ok(())
}

fn echo() -> Result<(), Error> {
    floor::Floor.perform(Work::Echo)?;
    Ok(())
}

/// It waits for the kernel to say that packets pass, and does not send one.
fn connected(nodes: u16) -> Result<Instant, Error> {
    let start = Instant::now();
    Ok(start + floor::Floor.perform(Work::Ready(nodes))?)
}
