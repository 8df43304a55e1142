//! What a failed test shows of its network.
//!
//! Three parts that know little of each other: when and what to collect (here), collecting (`collect`), and writing, which
//! is pure: `data` → `signs`, `drawing` → `text`. A panic is looked at where it happens, before unwinding closes the body's
//! sockets; other failures at the end of the body or at the timeout, before tear-down. What fails only then is shown as it
//! was left. A test that passes pays for none of it, but for panics that it catches.

mod asked;
mod collect;
mod data;
mod drawing;
mod hops;
mod packet_lines;
mod packets;
mod page;
mod routes;
mod signs;
mod suspects;
mod text;
mod threads;

use std::collections::HashMap;
use std::env;
use std::io::{IsTerminal as _, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nix::unistd::gettid;

use self::data::{Failure, Report, Snapshot};
pub(crate) use self::packets::write_packets;
use self::text::Style;
pub(crate) use self::threads::{Named, keep_name};
use crate::network::Net;
use crate::panics::{self, Record};
use crate::plan::Plan;
use crate::{knob, sys};

/// How many panics of one test are looked at. A test that catches more than these (a property test that shrinks) is not to
/// be slowed down.
const MOST_PANICS: usize = 4;

/// When a report is wanted: `NETNS_TEST_REPORT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    Never,
    #[default]
    OnFailure,
    Always,
}

impl Wanted {
    pub(crate) fn read() -> Result<Self, String> {
        match knob::value("NETNS_TEST_REPORT") {
            None => Ok(Self::OnFailure),
            Some(value) if value == "always" => Ok(Self::Always),
            Some(value) if value == "never" => Ok(Self::Never),
            Some(value) => Err(format!(
                "NETNS_TEST_REPORT is `{}`: expected `always` or `never` (without it, a test reports when it fails)",
                value.display()
            )),
        }
    }
}

/// How a test ended, as far as the report is concerned.
#[derive(Debug)]
pub(crate) enum How {
    Passed,
    /// The body panicked: the panic's number, where it is known, and its message.
    Panicked(Option<usize>, String),
    ReturnedError,
    /// It should have.
    DidNotPanic,
    /// This crate failed.
    Failed,
    TimedOut,
}

/// When a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Panic(usize),
    BodyEnd,
    Timeout,
    Late,
}

/// What has been collected for a test's report.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    setting: OnceLock<Setting>,
    taken: Mutex<Vec<Taken>>,
    /// The names of interfaces, where nothing else was to be looked at.
    names: OnceLock<Result<Names, String>>,
    /// When the body ended.
    ended: OnceLock<Instant>,
    busy: AtomicBool,
}

/// The names of interfaces, by the node's name and the interface's index.
type Names = HashMap<(String, u32), String>;

#[derive(Clone, Copy, Debug)]
struct Setting {
    wanted: Wanted,
    /// Whether a panic of the body is what the test is to do.
    expects_panic: bool,
    /// The body's thread.
    body: i32,
    /// When the body starts, by the clock of the packets.
    started: u64,
}

#[derive(Clone, Debug)]
struct Taken {
    moment: Moment,
    at: Instant,
    /// The same, by the clock of the packets.
    time: u64,
    /// When all had been collected: what was on its way at that time had until then to come.
    collected: u64,
    /// What was planned of it then, and what was there; or why that is not known.
    seen: Result<(Plan, Snapshot), String>,
}

impl Notes {
    /// Called on the body's thread before the body starts.
    pub(crate) fn begin(&self, expects_panic: bool) {
        // A value that is none has failed the test already.
        let wanted = Wanted::read().unwrap_or_default();
        self.setting.get_or_init(|| Setting {
            wanted,
            expects_panic,
            body: gettid().as_raw(),
            started: sys::packets::now(),
        });
    }

    /// When the body started, by the clock of the packets; 0 before it has.
    pub(crate) fn started(&self) -> u64 {
        self.setting.get().map_or(0, |setting| setting.started)
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, is_wanted: impl Fn(Moment) -> bool) -> Option<Taken> {
        self.taken().iter().rev().find(|taken| is_wanted(taken.moment)).cloned()
    }
}

fn take(net: &Arc<Net>, moment: Moment) {
    let Some(setting) = net.report.setting.get().filter(|setting| setting.wanted != Wanted::Never) else {
        return;
    };
    // A panic of the collecting thread must not be collected for.
    if net.report.busy.swap(true, Ordering::AcqRel) {
        return;
    }
    net.packets.read();
    let (at, time) = (Instant::now(), sys::packets::now());
    let body = (moment == Moment::Timeout).then_some(setting.body);
    let seen = collect::collect(net, body).map_err(|error| error.to_string());
    net.report.taken().push(Taken { moment, at, time, collected: sys::packets::now(), seen });
    net.report.busy.store(false, Ordering::Release);
}

/// A panic that may fail the test has been noted; the calling thread is about to unwind.
pub(crate) fn at_panic(net: &Arc<Net>, panic: usize) {
    let expected = net.report.setting.get().is_none_or(|setting| setting.expects_panic);
    if !expected && !net.has_ended() && net.report.taken().len() < MOST_PANICS {
        take(net, Moment::Panic(panic));
    }
}

/// The body has ended, and nothing is torn down yet.
pub(crate) fn at_body_end(net: &Arc<Net>, how: &How) {
    net.report.ended.get_or_init(Instant::now);
    let is_always = net.report.setting.get().is_some_and(|setting| setting.wanted == Wanted::Always);
    let may_fail = !matches!(how, How::Passed) || !net.witness.uncaught().is_empty();
    // What was seen at the panic is closer to the cause.
    if (may_fail || is_always) && chosen(net, how).is_none() {
        take(net, Moment::BodyEnd);
    }
    look_up_names(net, may_fail);
}

/// Looks up what the file of packets calls interfaces, if there is to be one and no report has looked at them.
fn look_up_names(net: &Arc<Net>, may_fail: bool) {
    if (may_fail || net.packets.are_kept_always())
        && net.packets.are_recorded()
        && net.report.taken().is_empty()
    {
        net.report.names.get_or_init(|| collect::names(net).map_err(|error| error.to_string()));
    }
}

/// The timeout has passed, and nothing is torn down yet.
pub(crate) fn at_timeout(net: &Arc<Net>) {
    take(net, Moment::Timeout);
    look_up_names(net, true);
}

/// The snapshot that shows a failure best.
fn chosen(net: &Net, how: &How) -> Option<Taken> {
    let of_panic = match how {
        // Panics have been looked at by then; where one is looked at even so, what was seen for it has to do.
        How::TimedOut => {
            let at_timeout = net.report.find(|moment| moment == Moment::Timeout);
            return at_timeout.or_else(|| net.report.find(|moment| moment != Moment::Late));
        }
        How::Panicked(own, message) => origin(&net.witness.all(), *own, message),
        _ => net.witness.uncaught().first().map(|(index, _)| *index),
    };
    let at_panic = of_panic.and_then(|index| net.report.find(|moment| moment == Moment::Panic(index)));
    at_panic.or_else(|| net.report.find(|moment| moment == Moment::BodyEnd))
}

/// Where the body's panic began: one that came from a node's thread was noted there, and once more when it was resumed.
fn origin(records: &[Record], own: Option<usize>, message: &str) -> Option<usize> {
    let is_same = |record: &Record| {
        record.message == message && own.is_none_or(|own| records[own].location == record.location)
    };
    records.iter().position(is_same).or(own)
}

/// The drawing of a network that is not there, line by line.
pub(crate) fn draw_plan(plan: Plan) -> Vec<String> {
    drawing::draw(&data::Report::of_plan(plan), &[])
}

/// The report on a test that has ended, where one is wanted.
///
/// It never panics and never fails: where a report cannot be made, one line says why.
pub(crate) fn report(net: &Arc<Net>, how: &How, passed: bool) -> Option<String> {
    let wanted = net.report.setting.get().map(|setting| setting.wanted)?;
    if wanted == Wanted::Never || passed && wanted != Wanted::Always {
        return None;
    }
    let made = unless_panicked(|| made(net, how, passed));
    Some(made.unwrap_or_else(|why_not| format!("there is no report on the network: {why_not}")))
}

/// What is made; `Err` is why there is none, in one line. What a test failed with is hidden by nothing that happens here.
fn unless_panicked<T>(make: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let made = catch_unwind(AssertUnwindSafe(make));
    let made = made.unwrap_or_else(|payload| Err(format!("making it panicked: {}", panics::text(&*payload))));
    made.map_err(|why_not| why_not.lines().map(str::trim).collect::<Vec<_>>().join("; "))
}

/// The report; `Err` is why there is none.
fn made(net: &Arc<Net>, how: &How, passed: bool) -> Result<String, String> {
    let taken = chosen(net, how).or_else(|| {
        take(net, Moment::Late);
        net.report.find(|moment| moment == Moment::Late)
    });
    let taken = taken.ok_or("its state is still being collected")?;
    let (plan, mut snapshot) = taken.seen?;
    let records = net.witness.all();
    let of_body = match how {
        How::Panicked(own, message) => origin(&records, *own, message),
        _ => None,
    };
    let uncaught = net.witness.uncaught();
    let failures = records
        .iter()
        .enumerate()
        .filter(|(index, _)| of_body == Some(*index) || uncaught.iter().any(|(other, _)| other == index));
    let failures: Vec<Failure> = failures
        .map(|(_, record)| Failure {
            node: record.node.clone(),
            thread: record.thread.clone(),
            location: record.location.clone(),
            message: record.message.clone(),
        })
        .collect();
    // What is shown of these is a panic that came first.
    let is_earlier = matches!(taken.moment, Moment::Panic(_))
        && matches!(how, How::ReturnedError | How::DidNotPanic | How::Failed);
    let how = match how {
        How::Passed if passed => "the test passed",
        How::Passed if failures.is_empty() => "its body returned",
        How::Passed => "a panic was not caught",
        How::Panicked(..) => "its body panicked",
        How::ReturnedError => "its body returned an error",
        How::DidNotPanic => "its body did not panic",
        How::Failed => "it could not be run to its end",
        How::TimedOut => "it timed out",
    };
    let started = net.clock.started.get();
    let (from, until) = (net.report.started(), taken.time);
    let packets = packets::between(net, &plan, &snapshot.directions, from, until, taken.collected);
    let packets = packets.unwrap_or_else(|why_not| {
        snapshot.gaps.push(why_not);
        data::Packets { started: net.report.started(), ..data::Packets::default() }
    });
    let report = Report {
        test: net.test.to_owned(),
        how: how.to_owned(),
        after: started.map(|&started| taken.at.saturating_duration_since(started)),
        ended_after: is_earlier
            .then(|| Some(net.report.ended.get()?.saturating_duration_since(*started?)))
            .flatten(),
        is_late: taken.moment == Moment::Late,
        is_after_body: taken.moment == Moment::BodyEnd,
        failures,
        plan,
        snapshot,
        packets,
    };
    let is_kept = !passed || net.packets.are_kept_always();
    let text = text::write(&report, Style { colours: shows_colours() });
    let page = || match is_kept.then(|| page::page(&report)).flatten() {
        Some(page) => packets::write_page(net, &page).map_err(|error| error.to_string()),
        None => Ok(()),
    };
    Ok(match unless_panicked(page) {
        Err(why_not) => format!("{text}\nnetns-test: there is no page: {why_not}"),
        Ok(()) => text,
    })
}

/// Whether what is printed goes to a terminal: libtest's capture does not.
fn shows_colours() -> bool {
    let is_wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let is_captured = !env::args_os().any(|argument| argument == "--nocapture" || argument == "--no-capture")
        && env::var_os("RUST_TEST_NOCAPTURE").is_none_or(|value| value == "0");
    is_wanted && !is_captured && stderr().is_terminal()
}

#[cfg(test)]
mod tests;
