//! Tables, in Markdown.

use std::collections::HashMap;

use crate::{Error, SIDES};

/// What became of one piece of work on one side.
pub(crate) enum Cell {
    /// What it took, in nanoseconds.
    Took(Vec<u64>),
    /// The side has no such thing.
    Unable,
    /// It did not succeed: why.
    Failed(String),
}

impl Default for Cell {
    fn default() -> Self {
        Self::Took(Vec::new())
    }
}

impl Cell {
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Took(_))
    }

    /// Adds lines with a number each.
    pub(crate) fn add(&mut self, lines: &str) -> Result<(), Error> {
        if let Self::Took(all) = self {
            for line in lines.lines() {
                all.push(line.parse()?);
            }
        }
        Ok(())
    }

    pub(crate) fn failed(stderr: &[u8]) -> Self {
        Self::Failed(String::from_utf8_lossy(stderr).lines().last().unwrap_or("no word").to_owned())
    }

    /// The value below which so many of a hundred lie.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let Self::Took(all) = self else { return None };
        let mut all = all.clone();
        all.sort_unstable();
        let position = (all.len() * percent).div_ceil(100).saturating_sub(1);
        all.get(position).map(|nanos| *nanos as f64 / 1e6)
    }
}

pub(crate) fn heading(title: &str) {
    println!("\n{title}\n");
    println!("| | {} |", SIDES.join(" | "));
    println!("|---|{}", "---|".repeat(SIDES.len()));
}

pub(crate) fn row(name: &str, samples: &HashMap<&str, Cell>) {
    let base = samples.get("bare").and_then(|cell| cell.percentile(50));
    let mut remarks = Vec::new();
    let cells: Vec<String> = SIDES
        .iter()
        .map(|side| match samples.get(side) {
            None | Some(Cell::Unable) => "–".to_owned(),
            Some(Cell::Failed(why)) => {
                remarks.push(format!("{side} failed: {why}"));
                "failed".to_owned()
            }
            Some(cell) => match (cell.percentile(50), cell.percentile(90), base) {
                (Some(median), Some(high), Some(base)) if *side != "bare" => {
                    format!("{median:.1} ({high:.1}) {:.2} ×", median / base)
                }
                (Some(median), Some(high), _) => format!("{median:.1} ({high:.1})"),
                _ => "–".to_owned(),
            },
        })
        .collect();
    println!("| {name} | {} |", cells.join(" | "));
    remarks.iter().for_each(|remark| eprintln!("{name}: {remark}"));
}
