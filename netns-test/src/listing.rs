//! What a test binary has: its netns tests, each with its network drawn, for `NETNS_TEST_LIST=1 cargo test -- --list`.
//!
//! The registry of tests is empty while constructors run, and libtest leaves no room behind its own list: so it is told as the process
//! ends. It goes to stderr, since tools read the list of names from stdout.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use netns_test_model::Topology;

use crate::__private::{Registered, TestCase, inventory};
use crate::{knob, plan, report, sys};

/// Has the list told when the process ends, if that is wanted; called before `main` in a process that lists its tests.
pub(crate) fn at_exit_where_wanted() {
    match knob::value("NETNS_TEST_LIST") {
        Some(value) if value == "1" => {
            // Refused only where there is no memory, in which case the names alone are listed.
            let _refused = sys::process::at_exit(tell);
        }
        Some(value) if value != "0" => {
            let text = format!("netns-test: NETNS_TEST_LIST is `{}`: expected `1` or `0`\n", value.display());
            sys::process::write_raw(2, text.as_bytes());
        }
        _ => {}
    }
}

extern "C" fn tell() {
    let mut tests: Vec<&TestCase> = inventory::iter::<Registered>().map(|registered| registered.0).collect();
    tests.sort_by_key(|test| (test.file, test.line));
    let mut text = String::new();
    for test in tests {
        // A topology that is made by an expression is the user's code, and may panic.
        let drawn = catch_unwind(AssertUnwindSafe(|| draw(test)));
        let lines =
            drawn.unwrap_or_else(|_| vec!["its topology cannot be told: making it panicked".to_owned()]);
        // Writing to a string does not fail.
        let _written = writeln!(text, "{}  {}:{}", test.path(), test.file, test.line);
        for line in lines {
            let _written = writeln!(text, "  {line}");
        }
    }
    sys::process::write_raw(2, text.as_bytes());
}

fn draw(test: &TestCase) -> Vec<String> {
    let topology = test.topology();
    match topology.check() {
        Ok(()) if topology.nodes.is_empty() => vec!["no node: it is alone with its loopback".to_owned()],
        Ok(()) => {
            let mut lines = report::draw_plan(plan::plan(&topology));
            lines.extend(pods(&topology));
            lines
        }
        Err(problems) => problems.iter().map(|problem| format!("cannot be built: {problem}")).collect(),
    }
}

/// The pods that a cluster has from the start: those of each node in a line.
fn pods(topology: &Topology) -> Vec<String> {
    let Some(cluster) = &topology.kubernetes else { return Vec::new() };
    let of_node = |node: usize| {
        let numbered = (0..cluster.pods_per_node).map(move |pod| format!("pod-{node}-{pod}"));
        let named = cluster.pods.iter().filter(move |pod| pod.node == node).map(|pod| pod.name.clone());
        let pods: Vec<String> = numbered.chain(named).collect();
        (!pods.is_empty()).then(|| format!("pods on node-{node}: {}", pods.join(", ")))
    };
    (0..cluster.nodes).filter_map(of_node).collect()
}
