//! A target without libtest shows what was skipped as ignored, with the reason, and is a test target all the same.
//!
//! Its `main` is the proof, which runs the target's tests again, as a user whose `main` is `netns_test::harness!()` runs them.

use std::process::ExitCode;

use netns_test::{Node, netns_test};
use netns_test_tests::{Outcome, Rerun, is_root};

/// Set where the tests are to be run, and not the proof.
const TESTS: &str = "NETNS_PROOF_TESTS";

#[netns_test(nodes = 2)]
async fn passes(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    let _out = client.connect_tcp("server:7").await?;
    listener.accept().await.map(drop)
}

#[netns_test]
fn fails() {
    panic!("the body's own words");
}

#[netns_test]
#[should_panic(expected = "own words")]
fn panics_as_it_should() {
    panic!("the body's own words");
}

#[netns_test]
#[ignore = "it is slow"]
fn slow() {}

#[netns_test]
#[cfg_attr(all(), ignore = "it is not for this target")]
fn ignored_here() {}

#[netns_test]
#[cfg_attr(any(), ignore = "never")]
fn not_ignored_here() {}

#[netns_test(require = [root])]
fn wants_root() {}

mod inner {
    use super::{Node, netns_test};

    #[netns_test(matrix(family = [v4, v6]))]
    fn cells(a: Node, b: Node) {
        assert_eq!(a.ip().is_ipv4(), b.ip().is_ipv4());
    }

    #[rstest::rstest]
    #[case(1)]
    #[case(2)]
    #[netns_test::test]
    async fn cases(#[case] number: u32, #[ignore] a: Node) {
        assert!(number < 3 && a.name() == "a");
    }

    #[test_log::test]
    #[netns_test]
    fn logs() {}
}

fn main() -> ExitCode {
    if std::env::var_os(TESTS).is_some() {
        return netns_test::run_tests();
    }
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--list") {
        // As cargo-nextest wants it of a binary without libtest.
        if !has("--ignored") {
            println!("shows_what_was_skipped: test");
        }
        return ExitCode::SUCCESS;
    }
    runs_tests();
    is_told_by_its_arguments();
    shows_skips();
    refuses_without_being_asked();
    ExitCode::SUCCESS
}

fn tests(arguments: &[&str]) -> Rerun {
    Rerun::with(arguments).env(TESTS, "1")
}

#[track_caller]
fn succeeded(outcome: &Outcome) {
    assert!(outcome.status.success(), "the tests were to pass: {outcome}");
}

#[track_caller]
fn has_line(outcome: &Outcome, text: &str) {
    let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(outcome.stdout.lines().any(|line| squeezed(line) == text), "no line `{text}`: {outcome}");
}

fn runs_tests() {
    for outcome in [tests(&[]).run(), tests(&["--test-threads", "1"]).as_ordinary_user().run()] {
        assert_eq!(outcome.status.code(), Some(101), "{outcome}");
        for line in [
            "running 12 tests",
            "test passes ... ok",
            "test fails ... FAILED",
            "test panics_as_it_should ... ok",
            "test slow ... ignored (it is slow)",
            "test ignored_here ... ignored (it is not for this target)",
            "test not_ignored_here ... ok",
            "test inner::cells::family_v4 ... ok",
            "test inner::cells::family_v6 ... ok",
            "test inner::cases::case_1 ... ok",
            "test inner::cases::case_2 ... ok",
            "test inner::logs ... ok",
        ] {
            has_line(&outcome, line);
        }
        outcome.says(&["the body's own words"]);
    }
}

fn is_told_by_its_arguments() {
    let listed = tests(&["--list", "--format", "terse"]).as_ordinary_user().run();
    assert_eq!(listed.stdout.lines().count(), 12, "{listed}");
    assert!(listed.stdout.lines().all(|line| line.ends_with(": test")), "{listed}");
    let listed = tests(&["--list", "--format", "terse", "--ignored"]).run();
    assert_eq!(listed.stdout, "ignored_here: test\nslow: test\n");
    let drawn = tests(&["--list"]).env("NETNS_TEST_LIST", "1").run();
    drawn.says(&["passes  tests/tests/own_harness.rs:", "client"]);

    let one = tests(&["--exact", "passes", "--nocapture"]).run();
    succeeded(&one);
    has_line(&one, "running 1 test");
    let ignored = tests(&["--ignored"]).run();
    succeeded(&ignored);
    has_line(&ignored, "test slow ... ok");
    let cells = tests(&["cells", "--skip", "v6"]).run();
    succeeded(&cells);
    has_line(&cells, "running 1 test");
}

/// Where nothing can be made: no user namespace is wanted, and the process has no capability.
fn cannot_run(arguments: &[&str]) -> Rerun {
    tests(arguments).env("NETNS_TEST_USERNS", "0").as_ordinary_user()
}

fn shows_skips() {
    let skipped = |arguments: &[&str]| cannot_run(arguments).env("NETNS_TEST_UNSUPPORTED", "skip");
    let run = skipped(&[]).run();
    succeeded(&run);
    let reason = "ignored (`NETNS_TEST_USERNS=0` is set, and the process lacks the capabilities";
    for name in ["passes", "fails", "inner::cases::case_1"] {
        let start = format!("test {name} ... {reason}");
        let squeezed = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(run.stdout.lines().any(|line| squeezed(line).starts_with(&start)), "no `{start}`: {run}");
    }
    run.says(&["0 passed; 0 failed; 12 ignored", "to mend it: unset NETNS_TEST_USERNS"]);
    let listed = skipped(&["--list", "--ignored"]).run();
    assert_eq!(listed.stdout.lines().count(), 12, "{listed}");
    // What can run is not skipped.
    let one = || tests(&["--exact", "wants_root"]).env("NETNS_TEST_UNSUPPORTED", "skip");
    one().as_ordinary_user().run().says(&["ignored (the test requires root"]);
    if is_root() {
        has_line(&one().run(), "test wants_root ... ok");
    }
}

fn refuses_without_being_asked() {
    let refused = cannot_run(&["--exact", "passes"]).run();
    assert_eq!(refused.status.code(), Some(101), "{refused}");
    refused.says(&["this test cannot run here: `NETNS_TEST_USERNS=0` is set", "to mend it:"]);
    has_line(&refused, "test passes ... FAILED");
}
