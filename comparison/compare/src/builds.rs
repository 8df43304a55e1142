//! What each side costs to build: the crates that it brings, and how long they take from nothing.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{Error, SIDES, workspace};

pub(crate) fn run() -> Result<(), Error> {
    println!("\na clean build of a crate that depends on it, without optimisation\n");
    println!("| | crates | seconds |\n|---|---|---|");
    for side in SIDES.into_iter().filter(|side| *side != "bare") {
        let package = format!("with-{side}");
        let tree = Command::new("cargo")
            .args(["tree", "-p", &package, "-e", "normal,build", "--prefix", "none", "--format", "{p}"])
            .current_dir(workspace())
            .stdin(Stdio::null())
            .output()?;
        if !tree.status.success() {
            return Err(String::from_utf8_lossy(&tree.stderr).into());
        }
        let tree = String::from_utf8(tree.stdout)?;
        // Less the package itself and what all share. Crates that a line mentions again are marked.
        let crates: BTreeSet<&str> = tree
            .lines()
            .map(|line| line.trim_end_matches(" (*)").trim_end_matches(" (proc-macro)"))
            .filter(|line| !line.is_empty() && !line.starts_with("measure ") && !line.starts_with(&package))
            .collect();
        let target = std::env::temp_dir().join(format!("comparison-{}-{side}", std::process::id()));
        let start = Instant::now();
        let built = Command::new("cargo")
            .args(["build", "--quiet", "-p", &package])
            .arg("--target-dir")
            .arg(&target)
            .env("CARGO_INCREMENTAL", "0")
            .current_dir(workspace())
            .stdin(Stdio::null())
            .status();
        let took = start.elapsed();
        std::fs::remove_dir_all(&target)?;
        if !built?.success() {
            return Err(format!("`{package}` cannot be built").into());
        }
        println!("| {side} | {} | {:.0} |", crates.len(), took.as_secs_f64());
    }
    Ok(())
}
