//! A harness in libtest's place, for targets with `harness = false`: it shows what was skipped as ignored, with the reason.

use std::io::Write as _;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed};

use crate::__private::{TestCase, inventory};
use crate::harness;

/// A registered test that libtest does not run.
#[derive(Debug)]
pub struct Trial {
    /// Its description.
    pub test: &'static TestCase,
    /// Runs it; it fails by unwinding.
    pub run: fn(),
    /// Why it is ignored, if it is.
    pub ignored: Option<&'static str>,
}

inventory::collect!(Trial);

/// The `main` of a target with `harness = false` that runs the target's netns tests.
///
/// It is [`run_tests`] and nothing else.
///
/// ```
/// # mod main_of_its_own {
/// netns_test::harness!();
/// # }
/// ```
#[macro_export]
macro_rules! harness {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::run_tests()
        }
    };
}

/// Runs the netns tests of a target with `harness = false`, for targets whose `main` does something before.
///
/// The command line is libtest's, as far as [libtest-mimic](https://docs.rs/libtest-mimic) reads it: filters, `--exact`, `--skip`,
/// `--list`, `--ignored`, `--test-threads`; cargo-nextest and editors find and run the tests by it. What differs:
///
/// - A test that cannot run here, skipped by `NETNS_TEST_UNSUPPORTED=skip`, is `ignored` with the reason, where libtest counts it as ok.
///   In a list, too, so that cargo-nextest counts it as skipped.
/// - Output is not captured: what tests that run at the same time print is mixed, unless `--test-threads 1` or cargo-nextest runs them.
/// - rustc drops plain `#[test]` functions in such a target without a word: they belong into another one.
///
/// The status is 0 if no test failed, and 101 otherwise; a target without a netns test fails.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     println!("made for {}", std::env::consts::ARCH);
///     netns_test::run_tests()
/// }
/// ```
pub fn run_tests() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<&'static Trial> = inventory::iter::<Trial>().collect();
    if trials.is_empty() {
        let text = "netns-test: there is no netns test in this target: is `harness = false` written to it in Cargo.toml?";
        // There is nobody to tell that standard error is closed.
        let _closed = writeln!(std::io::stderr(), "{text}");
        return ExitCode::FAILURE;
    }
    trials.sort_by_key(|trial| trial.test.path());
    let trials = trials.into_iter().map(|trial| of(trial, &arguments)).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn of(trial: &'static Trial, arguments: &Arguments) -> libtest_mimic::Trial {
    let Trial { test, run, ignored } = *trial;
    let wanted = arguments.ignored || arguments.include_ignored;
    let name = test.path();
    if arguments.list {
        // Tools read from the list what is ignored.
        let is_ignored = ignored.is_some() || harness::would_skip(test).is_some();
        return libtest_mimic::Trial::test(name, || Ok(())).with_ignored_flag(is_ignored);
    }
    match ignored {
        // Told by the run: a reason has no other way to the output.
        Some(reason) if !wanted => libtest_mimic::Trial::ignorable_test(name, move || Ok(because(reason))),
        _ => libtest_mimic::Trial::ignorable_test(name, move || run_one(test, run))
            .with_ignored_flag(ignored.is_some()),
    }
}

fn because(reason: &str) -> Completion {
    if reason.is_empty() { Completion::ignored() } else { Completion::ignored_with(reason) }
}

fn run_one(test: &TestCase, run: fn()) -> Result<Completion, Failed> {
    if let Some(cause) = harness::would_skip(test) {
        return Ok(because(&cause));
    }
    run();
    Ok(harness::take_skipped().map_or(Completion::Completed, |cause| because(&cause)))
}
