//! What a test network costs, against the same work by bare system calls.
//!
//! `cargo bench -p netns-test-tests` measures in one run, interleaved: `least` (namespaces, interfaces, one address each),
//! `floor` (all that netns-test does, by bare system calls), `ip` (the same topology by `ip` commands, where that program
//! is) and `netns-test`. It prints the median, the 90th and the 99th percentile, and the ratio of medians to the floor.
//!
//! The rows on programs have one of these as their floor: the same program, started outside of any network by the standard library.
//!
//! - `-- --load` measures two nodes once more while two other processes make and destroy namespaces at full speed.
//! - `-- --quick`, and a run without `--bench` (as `cargo test --benches` does it): two rounds, to prove that it runs.
//! - `-- TEXT` measures the rows whose names contain the text.
//! - `NETNS_BENCH_ROUNDS` sets the rounds of the small rows (200); larger rows do a share of them.
//!
//! All variants tear down alike. What they made is emptied when a measurement ends and held until the process ends; no
//! process makes more than 512 network namespaces by any one variant, as netns-test holds no more. So the rounds of a row
//! are spread over several processes, and each begins when the kernel has cleaned up after the one before it.

mod addresses;
mod cluster;
mod floor;
mod identity;
mod ip;
mod least;
mod library;
mod load;
mod measure;
mod netlink;
mod options;
mod sys;
mod table;
mod variant;

use std::io;
use std::process::ExitCode;

use options::{Command, Options};

fn main() -> ExitCode {
    let result = match options::command() {
        Ok(Command::List) => Ok(()),
        Ok(Command::Bench(options)) => bench(&options),
        Ok(Command::Measure { row, rounds }) => measure::rounds_here(row, rounds),
        Ok(Command::MakeLoad) => load::make(),
        Err(message) => Err(io::Error::other(message)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> io::Result<()> {
    table::print_heading(options.rounds);
    let wanted =
        |row: &&measure::Row| options.filter.as_ref().is_none_or(|text| row.name.contains(text.as_str()));
    for row in measure::ROWS.iter().filter(wanted) {
        let samples = measure::row(row, row.rounds(options.rounds), false)?;
        table::print_row(row.name, &samples);
    }
    if options.load {
        let load = load::Load::start()?;
        for row in measure::ROWS.iter().filter(|row| row.under_load).filter(wanted) {
            let samples = measure::row(row, row.rounds(options.rounds), true)?;
            table::print_row(&format!("{}, under load", row.name), &samples);
        }
        load.stop()?;
    }
    Ok(())
}
