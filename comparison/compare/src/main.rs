//! Measures all sides in turn, in one run, and prints tables.
//!
//! `cargo run --release -p compare` in this directory. Options: `--rounds N` (of each piece of work and side, 40), `--no-builds` (leaves
//! out what each side costs to build, which takes minutes), `--only TEXT` (the rows whose names contain the text, and nothing else; what they cost to build is called "a clean build").

mod builds;
mod suites;
mod table;

use std::collections::HashMap;
use std::process::{Command, ExitCode, Stdio};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The sides, by the names of their packages less `with-`.
pub(crate) const SIDES: [&str; 5] = ["bare", "netns-test", "patchbay", "netsim", "gateflow"];

/// The pieces of work, by their names on a side's command line.
const ROWS: [(&str, &str); 6] = [
    ("an isolated test", "isolated"),
    ("a TCP echo test", "echo"),
    ("two nodes, connected", "2"),
    ("10 nodes, connected", "10"),
    ("50 nodes, connected", "50"),
    ("8 echo tests at once", "at-once"),
];

/// How many rounds a process does before it is the next one's turn.
const AT_A_TIME: usize = 5;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let (mut rounds, mut with_builds, mut only) = (40_usize, true, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("`--rounds` wants a number")?.parse()?,
            "--no-builds" => with_builds = false,
            "--only" => only = Some(arguments.next().ok_or("`--only` wants a text")?),
            other => return Err(format!("there is no option `{other}`").into()),
        }
    }
    let built = cargo(&["build", "--release", "--workspace", "--bins"])?;
    if !built.success() {
        return Err("the sides cannot be built".into());
    }
    let directory = std::env::current_exe()?;
    let directory = directory.parent().ok_or("this program lies in no directory")?;

    let is_wanted = |name: &str| only.as_ref().is_none_or(|text| name.contains(text.as_str()));
    if ROWS.iter().any(|(name, _)| is_wanted(name)) {
        table::heading("milliseconds: the median (the 90th percentile), and the median as a multiple of `bare`");
    }
    for (name, work) in ROWS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let mut samples: HashMap<&str, table::Cell> = HashMap::new();
        for turn in 0..rounds.div_ceil(AT_A_TIME) {
            for place in 0..SIDES.len() {
                // Each turn begins with another side.
                let side = SIDES[(turn + place) % SIDES.len()];
                let cell = samples.entry(side).or_default();
                if !cell.goes_on() {
                    continue;
                }
                let output = Command::new(directory.join(format!("with-{side}")))
                    .args([work, &AT_A_TIME.to_string()])
                    .stdin(Stdio::null())
                    .output()?;
                match output.status.code() {
                    Some(0) => cell.add(&String::from_utf8(output.stdout)?)?,
                    Some(2) => *cell = table::Cell::Unable,
                    _ => *cell = table::Cell::failed(&output.stderr),
                }
            }
        }
        table::row(name, &samples);
    }
    suites::run(rounds, is_wanted)?;
    if with_builds && is_wanted("a clean build") { builds::run() } else { Ok(()) }
}

/// Runs cargo in the workspace of the comparison.
pub(crate) fn cargo(arguments: &[&str]) -> Result<std::process::ExitStatus, Error> {
    Ok(Command::new("cargo").args(arguments).current_dir(workspace()).stdin(Stdio::null()).status()?)
}

/// The directory of the workspace.
pub(crate) fn workspace() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..")
}
