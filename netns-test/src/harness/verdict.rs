//! What becomes of a test that has ended, and what is shown and kept of it.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::__private::{ShouldPanic, TestCase};
use crate::error::Error;
use crate::network::Net;
use crate::panics::{Caught, Record};
use crate::teardown::Leftover;
use crate::{probe, report};

/// How a test ended.
pub(super) enum Ending {
    /// The body ran.
    Ran(Result<ExitCode, Caught>),
    /// This crate failed; the body did not run, or not to its end.
    Failed(Error),
    /// The timeout passed.
    TimedOut(Duration),
}

pub(super) enum Verdict {
    Pass,
    Fail(String),
    Unsupported(String),
    /// The body's own panic, which has printed its message already.
    Panicked(Box<dyn std::any::Any + Send>),
}

impl Verdict {
    /// Says one more thing, after what has been said and is to be said.
    pub(super) fn say(self, more: &str) -> Self {
        match self {
            Self::Fail(text) => Self::Fail(format!("{text}\nnetns-test: {more}")),
            said => {
                eprintln!("netns-test: {more}");
                said
            }
        }
    }
}

impl Verdict {
    /// The verdict on a test that is known to fail: that it still does.
    pub(super) fn known_to_fail(self, reason: &str) -> Self {
        let text = match self {
            Self::Unsupported(_) => return self,
            Self::Pass => {
                return Self::Fail(format!(
                    "the test is marked as known to fail (`fails = {reason:?}`), and it passed: remove the mark"
                ));
            }
            Self::Fail(text) => text,
            Self::Panicked(_) => "it panicked".to_owned(),
        };
        eprintln!("netns-test: {text}\nnetns-test: the test fails as it is known to: {reason}");
        Self::Pass
    }
}

pub(super) fn verdict(
    test: &TestCase,
    net: Option<&Net>,
    ending: Ending,
    leftovers: Result<Vec<Leftover>, Error>,
) -> Verdict {
    let mut texts = Vec::new();
    let mut payload = None;
    let mut own = None;
    match ending {
        Ending::Ran(Err(caught)) => {
            own = caught.index();
            let failure = net.and_then(|net| net.own_failure.get());
            if let (Some(failure), ShouldPanic::Yes | ShouldPanic::With(_)) = (failure, test.should_panic) {
                texts.push(format!("the panic came from {failure}, not from the test"));
            }
            match (test.should_panic, caught.message()) {
                (ShouldPanic::Yes, _) => {}
                (ShouldPanic::With(expected), message) if message.contains(expected) => {}
                (ShouldPanic::With(expected), message) => texts.push(format!(
                    "the panic did not contain the expected string\n      panic message: {message:?}\n \
                     expected substring: {expected:?}"
                )),
                (ShouldPanic::No, _) => payload = Some(caught.observed()),
            }
        }
        Ending::Ran(Ok(_)) if test.should_panic != ShouldPanic::No => {
            texts.push("the test did not panic as expected".to_owned());
        }
        // The standard library has printed the error.
        Ending::Ran(Ok(code)) if code != ExitCode::SUCCESS => texts.push("the test returned an error".to_owned()),
        Ending::Ran(Ok(_)) => {}
        Ending::Failed(error) => {
            match probe::advice(error.io().and_then(std::io::Error::raw_os_error), error.operation()) {
                Some(advice) => return Verdict::Unsupported(format!("{advice}\nrefused: {error}")),
                None => texts.push(error.to_string()),
            }
        }
        Ending::TimedOut(limit) => texts.push(format!(
            "the test timed out after {limit:?} (`timeout = …` in the attribute or NETNS_TEST_TIMEOUT changes that)"
        )),
    }
    let uncaught = net.map(|net| net.witness.uncaught()).unwrap_or_default();
    texts
        .extend(uncaught.iter().filter(|(index, _)| Some(*index) != own).map(|(_, record)| describe(record)));
    let failed = !texts.is_empty() || payload.is_some();
    match leftovers {
        Ok(threads) if threads.is_empty() => {}
        Ok(threads) => {
            let names: Vec<String> = threads.iter().map(Leftover::to_string).collect();
            let text = format!(
                "{} left behind: {}",
                plural(threads.len(), "thread was", "threads were"),
                names.join(", ")
            );
            match failed {
                true => texts.push(text),
                // No reason to fail, but it is told: within libtest's capture, so that whoever asks for output sees it.
                false => eprintln!("netns-test: {text}"),
            }
        }
        Err(error) => texts.push(error.to_string()),
    }
    texts.extend(net.map(|net| net.faults.failures()).unwrap_or_default());
    match payload {
        Some(payload) => {
            texts.iter().for_each(|text| eprintln!("netns-test: {text}"));
            Verdict::Panicked(payload)
        }
        None if texts.is_empty() => Verdict::Pass,
        None => Verdict::Fail(texts.join("\nnetns-test: ")),
    }
}

/// How a test ended, before it is known whether something else failed it.
pub(super) fn how(test: &TestCase, ending: &Ending) -> report::How {
    match ending {
        Ending::Ran(Err(caught)) => match (test.should_panic, caught.message()) {
            (ShouldPanic::Yes, _) => report::How::Passed,
            (ShouldPanic::With(expected), message) if message.contains(expected) => report::How::Passed,
            (_, message) => report::How::Panicked(caught.index(), message.to_owned()),
        },
        Ending::Ran(Ok(_)) if test.should_panic != ShouldPanic::No => report::How::DidNotPanic,
        Ending::Ran(Ok(code)) if *code != ExitCode::SUCCESS => report::How::ReturnedError,
        Ending::Ran(Ok(_)) => report::How::Passed,
        Ending::Failed(_) => report::How::Failed,
        Ending::TimedOut(_) => report::How::TimedOut,
    }
}

/// Shows the network of a test that failed.
pub(super) fn show_network(net: &Arc<Net>, how: &report::How, verdict: Verdict) -> Verdict {
    let passed = match verdict {
        Verdict::Unsupported(_) => return verdict,
        Verdict::Pass => true,
        Verdict::Fail(_) | Verdict::Panicked(_) => false,
    };
    match report::report(net, how, passed) {
        Some(report) => verdict.say(&report),
        None => verdict,
    }
}

/// Writes the packets of a test that failed to a file.
pub(super) fn keep_packets(net: &Net, verdict: Verdict) -> Verdict {
    let is_wanted = match verdict {
        Verdict::Unsupported(_) => false,
        Verdict::Pass => net.packets.are_kept_always(),
        Verdict::Fail(_) | Verdict::Panicked(_) => true,
    };
    let written = if is_wanted { report::write_packets(net) } else { Ok(None) };
    match (written, verdict) {
        (Ok(None), verdict) => verdict,
        (Ok(Some(lacks)), verdict) => verdict.say(&lacks.to_string()),
        (Err(error), Verdict::Pass) => Verdict::Fail(error.to_string()),
        (Err(error), failed) => failed.say(&error.to_string()),
    }
}

/// Keeps the files of a failed test, and says where they are; removes those of one that passed.
pub(super) fn keep_artifacts(net: &Net, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Pass if !net.packets.are_kept_always() => {
            net.artifacts.discard().map_or_else(|error| Verdict::Fail(error.to_string()), |()| Verdict::Pass)
        }
        failed => match net.artifacts.kept() {
            Some(directory) => failed.say(&format!("files of the test are in {}", directory.display())),
            None => failed,
        },
    }
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(crate) fn describe(record: &Record) -> String {
    let Record { thread, node, location, message, .. } = record;
    let place = node.as_ref().map_or_else(|| "the body".to_owned(), |node| format!("the node `{node}`"));
    format!(
        "a panic in {place}, on the thread `{thread}`, was not caught\n{location}: {message}\n\
         (if it is expected: read it from its handle, or hold `Network::allow_panics`)"
    )
}
