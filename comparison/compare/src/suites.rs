//! The suites of 21 echo tests, as `cargo test` and `cargo nextest` run them, less what cargo itself does before.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::table::Cell;
use crate::{Error, SIDES, table, workspace};

const ROWS: [(&str, bool); 2] = [("21 echo tests under libtest", false), ("21 echo tests under nextest", true)];

pub(crate) fn run(rounds: usize, is_wanted: impl Fn(&str) -> bool) -> Result<(), Error> {
    if !ROWS.iter().any(|(name, _)| is_wanted(name)) {
        return Ok(());
    }
    let suites = built()?;
    let has_nextest = Command::new("cargo-nextest").arg("--version").stdout(Stdio::null()).status().is_ok();
    table::heading("a suite, in milliseconds: the whole process, from its start to its end");
    for (name, nextest) in ROWS.into_iter().filter(|(name, _)| is_wanted(name)) {
        if nextest && !has_nextest {
            eprintln!("cargo-nextest is not installed");
            continue;
        }
        let mut samples: HashMap<&str, Cell> = HashMap::new();
        for turn in 0..rounds.div_ceil(2) {
            for place in 0..SIDES.len() {
                let side = SIDES[(turn + place) % SIDES.len()];
                let cell = samples.entry(side).or_insert_with(|| match suites.get(side) {
                    Some(_) => Cell::default(),
                    None => Cell::Unable,
                });
                let (true, Some(suite)) = (cell.goes_on(), suites.get(side)) else { continue };
                let mut command = if nextest {
                    let mut command = Command::new("cargo");
                    let package = format!("with-{side}");
                    command.args([
                        "nextest",
                        "run",
                        "--release",
                        "--offline",
                        "-p",
                        &package,
                        "--test",
                        "suite",
                    ]);
                    command
                } else {
                    Command::new(suite)
                };
                let start = Instant::now();
                let output = command.current_dir(workspace()).stdin(Stdio::null()).output()?;
                let took = start.elapsed();
                match output.status.success() {
                    // Cargo's own start, which finds that nothing has to be built, is not the suite's.
                    true if nextest => cell.add(&summed_up(&output.stderr)?)?,
                    true => cell.add(&took.as_nanos().to_string())?,
                    false if nextest => *cell = Cell::failed(&output.stderr),
                    false => *cell = Cell::failed(&output.stdout),
                }
            }
        }
        table::row(name, &samples);
    }
    Ok(())
}

/// What nextest says that its tests took, in nanoseconds: `Summary [   0.123s] 21 tests run`.
fn summed_up(stderr: &[u8]) -> Result<String, Error> {
    let text = String::from_utf8_lossy(stderr);
    let seconds = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("Summary [")?;
        rest.split_once("s]")?.0.trim().parse::<f64>().ok()
    });
    let seconds = seconds.ok_or_else(|| format!("nextest did not sum up: {text}"))?;
    Ok(format!("{:.0}", seconds * 1e9))
}

/// The test binaries of the sides that have a suite.
fn built() -> Result<HashMap<&'static str, PathBuf>, Error> {
    let mut suites = HashMap::new();
    for side in SIDES.into_iter().filter(|side| *side != "bare") {
        let output = Command::new("cargo")
            .args(["test", "--release", "-p", &format!("with-{side}"), "--test", "suite", "--no-run"])
            .current_dir(workspace())
            .stdin(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let path = text.lines().find_map(|line| {
            let (_, rest) = line.split_once("Executable tests/suite.rs (")?;
            rest.strip_suffix(')')
        });
        let path = path.ok_or_else(|| format!("the suite of `{side}` cannot be built: {text}"))?;
        suites.insert(side, PathBuf::from(workspace()).join(path));
    }
    Ok(suites)
}
