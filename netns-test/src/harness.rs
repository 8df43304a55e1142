//! The whole life of one test.
//!
//! libtest's thread waits; the body's thread provisions, runs the body and tears down. When the timeout passes first, a
//! thread of its own tears down in the body's place.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use netns_test_model::{Topology, parse_duration};
use tokio::sync::Notify;

use crate::__private::{Require, ShouldPanic, TestCase};
use crate::error::{Doing, Error};
use crate::held::hold;
use crate::namespace::prepare_thread;
use crate::network::{Net, Network};
use crate::panics::{Caught, Record};
use crate::teardown::{Leftover, tear_down};
use crate::{
    bootstrap, capture, gate, janitor, knob, log, panics, pause, plan, probe, provision, registry, report,
    sys, worker,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a body may take beyond its timeout that has been told why a wait gave up: it is about to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What the body is, from the expansion: it makes the arguments, runs, and tells how it ended.
pub(crate) type Body = Box<dyn FnOnce(&Network, &Stop) -> Result<Result<ExitCode, Caught>, Error> + Send>;

/// Asks an async body to drop its future at the next await.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<Notify>);

impl Stop {
    pub(crate) async fn wanted(&self) {
        self.0.notified().await;
    }
}

/// How a test ended.
enum Ending {
    /// The body ran.
    Ran(Result<ExitCode, Caught>),
    /// This crate failed; the body did not run, or not to its end.
    Failed(Error),
    /// The timeout passed.
    TimedOut(Duration),
}

/// What the body's thread tells libtest's.
enum Progress {
    Started(Arc<Net>),
    BodyEnded,
    Ended(Ending, Result<Vec<Leftover>, Error>),
}

/// Runs one test, on libtest's thread. Returning passes it, unwinding fails it.
pub(crate) fn run(test: &'static TestCase, body: Body) {
    // What replaced it has been told by the test that did so, or is none of this crate's tests.
    panics::ensure_hook();
    if let Some(cause) = probe::refusal().or_else(|| unmet(test)) {
        return refuse(test, &cause);
    }
    let _running = Running::start();
    match live(test, body) {
        Verdict::Pass => {}
        Verdict::Unsupported(cause) => refuse(test, &cause),
        Verdict::Fail(text) => {
            eprintln!("netns-test: {text}");
            fail()
        }
        Verdict::Panicked(payload) => panic::resume_unwind(payload),
    }
}

/// Runs a program's `main`, and keeps its network up when it has returned.
pub(crate) fn run_program(program: &'static TestCase, body: Body) -> ExitCode {
    panics::ensure_hook();
    if let Some(cause) = probe::refusal().or_else(|| unmet(program)) {
        eprintln!("netns-test: this program cannot run here: {cause}");
        return ExitCode::FAILURE;
    }
    match live(program, body) {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Unsupported(cause) => {
            eprintln!("netns-test: this program cannot run here: {cause}");
            ExitCode::FAILURE
        }
        Verdict::Fail(text) => {
            eprintln!("netns-test: {text}");
            ExitCode::FAILURE
        }
        Verdict::Panicked(payload) => panic::resume_unwind(payload),
    }
}

enum Verdict {
    Pass,
    Fail(String),
    Unsupported(String),
    /// The body's own panic, which has printed its message already.
    Panicked(Box<dyn std::any::Any + Send>),
}

impl Verdict {
    /// Says one more thing, after what has been said and is to be said.
    fn say(self, more: &str) -> Self {
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
    fn known_to_fail(self, reason: &str) -> Self {
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

/// Fails the test without one more message of the panic hook.
fn fail() -> ! {
    panic::resume_unwind(Box::new("the netns test failed"))
}

fn live(test: &'static TestCase, body: Body) -> Verdict {
    let topology = test.topology();
    if let Err(problems) = topology.check() {
        let texts: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        return Verdict::Fail(format!("the topology cannot be built: {}", texts.join("; ")));
    }
    let limit = match limit(test) {
        Ok(limit) => limit,
        Err(text) => return Verdict::Fail(text),
    };
    if let Err(text) = report::Wanted::read().and_then(|_| pause::is_wanted()).and_then(|_| log::wanted()) {
        return Verdict::Fail(text);
    }
    let mut packets = match capture::Wanted::read(test.capture, topology.nodes.len()) {
        Ok(wanted) => wanted,
        Err(text) => return Verdict::Fail(text),
    };
    if let Err(error) = packets.start() {
        return Verdict::Fail(error.to_string());
    }
    let _share = match gate::enter(gate::nodes(&topology)) {
        Ok(share) => share,
        Err(cause) => return Verdict::Unsupported(cause),
    };
    let stop = Stop::default();
    let (tell, progress) = mpsc::channel();
    let claimed = Arc::new(AtomicBool::new(false));
    let started = {
        let (stop, claimed) = (stop.clone(), Arc::clone(&claimed));
        // Named as libtest names its own threads, so that panic messages read as usual.
        thread::Builder::new().name(test.path().to_owned()).spawn(move || {
            let ended = body_thread(test, Terms { topology, limit, packets }, body, &stop, &tell, &claimed);
            if let Some((ending, leftovers)) = ended {
                // libtest's thread waits for this, unless the timeout passed.
                let _timed_out = tell.send(Progress::Ended(ending, leftovers));
            }
        })
    };
    let (net, ending, leftovers) = match started {
        Ok(_detached) => wait(test, &progress, &stop, &claimed),
        Err(error) => {
            (None, Ending::Failed(Error::new("start the thread of the test", error)), Ok(Vec::new()))
        }
    };
    if !matches!(&leftovers, Ok(threads) if threads.is_empty()) {
        janitor::stay();
    }
    let how = how(test, &ending);
    let is_own = matches!(&ending, Ending::Failed(_)) || leftovers.is_err();
    let mut verdict = verdict(test, net.as_deref(), ending, leftovers);
    if let (Some(reason), false) = (test.fails, is_own) {
        verdict = verdict.known_to_fail(reason);
    }
    if panics::ensure_hook() {
        eprintln!(
            "netns-test: the panic hook was replaced while the test ran, by this test or one beside it: a panic of a task or \
             thread that nobody reads may have been missed (let the new hook call the old one)"
        );
    }
    if let Some(net) = net {
        verdict = keep_packets(&net, verdict);
        net.packets.close();
        verdict = show_network(&net, &how, verdict);
        verdict = keep_artifacts(&net, verdict);
        hold(&net);
    }
    verdict
}

/// What a test's network is made by.
struct Terms {
    topology: Topology,
    limit: Option<Duration>,
    packets: capture::Wanted,
}

/// The life of the body's thread; `None` when libtest's thread has taken over.
fn body_thread(
    test: &'static TestCase,
    terms: Terms,
    body: Body,
    stop: &Stop,
    tell: &mpsc::Sender<Progress>,
    claimed: &AtomicBool,
) -> Option<(Ending, Result<Vec<Leftover>, Error>)> {
    let Terms { topology, limit, packets } = terms;
    let plan = plan::plan(&topology);
    let made =
        prepare_thread().and_then(|()| provision::provision(test.path(), plan, test.runtime, limit, packets));
    let net = match made {
        Ok(net) => net,
        Err(error) => return Some((Ending::Failed(error), Ok(Vec::new()))),
    };
    net.report.begin(test.should_panic != ShouldPanic::No);
    let _listening = log::listen();
    let begun = net.begin();
    // Nobody else has set it: the body starts once.
    net.clock.started.get_or_init(Instant::now);
    let network = Network(Arc::clone(&net));
    // The receiver lives until this thread or the timeout ends the test.
    tell.send(Progress::Started(Arc::clone(&net))).ok()?;
    // Watched once more: what a body leaves in its runtime may panic while it is dropped.
    let ending = match begun.map(|()| panics::watched(|| body(&network, stop))) {
        Ok(Ok(Ok(ran))) => Ending::Ran(ran),
        Ok(Ok(Err(error))) | Err(error) => Ending::Failed(error),
        Ok(Err(caught)) => Ending::Ran(Err(caught)),
    };
    drop(network);
    if !matches!(&ending, Ending::Ran(Ok(code)) if *code == ExitCode::SUCCESS) {
        hint_at_forgotten_handles(test, &net);
    }
    if claimed.swap(true, Ordering::AcqRel) {
        return None;
    }
    report::at_body_end(&net, &how(test, &ending));
    let _waiting = tell.send(Progress::BodyEnded);
    if let Err(error) = linger(test, &net, &how(test, &ending)) {
        let error = Error::new("wait with the network", error);
        if test.program {
            return Some((Ending::Failed(error), tear_down_here(&net)));
        }
        // Beside what the test itself failed with.
        eprintln!("netns-test: {error}");
    }
    let leftovers = tear_down_here(&net);
    Some((ending, leftovers))
}

fn tear_down_here(net: &Arc<Net>) -> Result<Vec<Leftover>, Error> {
    net.body.settle().doing(|| "return to the body's namespaces").and_then(|()| tear_down(net))
}

/// Keeps the network up where somebody is to look at it: that of a program, and on request that of a test that failed.
fn linger(test: &TestCase, net: &Arc<Net>, how: &report::How) -> std::io::Result<()> {
    let passed = matches!(how, report::How::Passed) && net.witness.uncaught().is_empty();
    match (test.program, passed) {
        (true, true) => pause::explore(net),
        // A value that is none has failed the test already.
        (_, false) if pause::is_wanted() == Ok(true) && test.fails.is_none() => {
            // What passes while somebody looks around is no part of the test.
            net.packets.end();
            pause::after_failure(net, how)
        }
        _ => Ok(()),
    }
}

type Ended = (Option<Arc<Net>>, Ending, Result<Vec<Leftover>, Error>);

/// Waits on libtest's thread for the end of a test, or for its timeout.
fn wait(test: &TestCase, progress: &mpsc::Receiver<Progress>, stop: &Stop, claimed: &AtomicBool) -> Ended {
    let mut net: Option<Arc<Net>> = None;
    let mut body_ended = false;
    // How long a body may take to end that has panicked in time, or has been told that a wait gave up.
    let mut ends_until = None;
    // Whether the body had not ended when its time was over.
    let mut is_late = false;
    loop {
        let deadline = net.as_ref().filter(|_| !body_ended).and_then(|net| net.clock.deadline());
        let deadline = ends_until.filter(|_| !body_ended).or(deadline);
        let received = match deadline {
            Some(deadline) => progress.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            None => progress.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(Progress::Started(started)) => net = Some(started),
            Ok(Progress::BodyEnded) => body_ended = true,
            // The time that it got was for the words of a failure.
            Ok(Progress::Ended(Ending::Ran(Ok(code)), leftovers)) if is_late && code == ExitCode::SUCCESS => {
                let limit = net.as_ref().and_then(|net| net.clock.limit).unwrap_or_default();
                return (net, Ending::TimedOut(limit), leftovers);
            }
            Ok(Progress::Ended(ending, leftovers)) => return (net, ending, leftovers),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(more) = net.as_ref().filter(|_| ends_until.is_none()).and_then(more_time) {
                    ends_until = Some(Instant::now() + more);
                    is_late = !claimed.load(Ordering::Acquire);
                    continue;
                }
                if let (false, Some(net)) = (claimed.swap(true, Ordering::AcqRel), &net) {
                    let leftovers = time_out(test, net, stop);
                    let limit = net.clock.limit.unwrap_or_default();
                    return (Some(Arc::clone(net)), Ending::TimedOut(limit), leftovers);
                }
                // The body ended in this very moment, and its thread tells how.
                body_ended = true;
            }
            Err(RecvTimeoutError::Disconnected) => {
                let error = Error::because("run the test", "its thread ended without a result");
                return (net, Ending::Failed(error), Ok(Vec::new()));
            }
        }
    }
}

/// The time that a body gets once, beyond its timeout, to tell how it failed before that.
fn more_time(net: &Arc<Net>) -> Option<Duration> {
    // What looks at a panic takes its time, and that is not the body's.
    if net.witness.let_panics_be_seen() {
        return Some(panics::UNWINDING);
    }
    // On a machine that stalls the time between the two may be over before the body has its turn.
    net.own_failure.get().map(|_| LAST_WORDS)
}

/// Tears a network down in place of a body that did not end.
fn time_out(test: &TestCase, net: &Arc<Net>, stop: &Stop) -> Result<Vec<Leftover>, Error> {
    report::at_timeout(net);
    // What could not wait is torn down all the same.
    let lingered = linger(test, net, &report::How::TimedOut).doing(|| "wait with the network");
    // A body that waits is dropped; one that runs or blocks cannot be.
    net.ended.store(true, Ordering::Release);
    stop.0.notify_one();
    let (tell, told) = mpsc::channel();
    let inside = Arc::clone(net);
    worker::spawn_in("netns-test".to_owned(), Arc::clone(&net.body), move |settled| {
        // The receiver waits for this.
        let _waiting = tell.send(settled.and_then(|()| tear_down(&inside)));
    })?;
    let torn_down = told
        .recv()
        .unwrap_or_else(|_| Err(Error::because("tear down the network", "the thread that does it panicked")));
    lingered.and(torn_down)
}

fn verdict(
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
fn how(test: &TestCase, ending: &Ending) -> report::How {
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
fn show_network(net: &Arc<Net>, how: &report::How, verdict: Verdict) -> Verdict {
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
fn keep_packets(net: &Net, verdict: Verdict) -> Verdict {
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
fn keep_artifacts(net: &Net, verdict: Verdict) -> Verdict {
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

fn plural(count: usize, one: &str, many: &str) -> String {
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

/// Fails a test that cannot run here, or skips it where the user asked for that.
fn refuse(test: &TestCase, cause: &str) {
    if probe::may_skip() {
        #[cfg(feature = "harness")]
        SKIPPED.replace(Some(one_line(cause)));
        // Past libtest's capture: it has no run-time skip, and counts the test as ok.
        let text = format!("netns-test: skipped {}: {}\n", test.path(), one_line(cause));
        return sys::process::write_raw(2, text.as_bytes());
    }
    eprintln!("netns-test: this test cannot run here: {cause}");
    fail()
}

fn one_line(cause: &str) -> String {
    cause.replace('\n', "; ")
}

#[cfg(feature = "harness")]
thread_local! {
    /// Why the test that this thread ran was skipped.
    static SKIPPED: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Why the test that this thread ran was skipped while it ran, if it was; told once.
#[cfg(feature = "harness")]
pub(crate) fn take_skipped() -> Option<String> {
    SKIPPED.take()
}

/// Why the test would be skipped.
#[cfg(feature = "harness")]
pub(crate) fn would_skip(test: &TestCase) -> Option<String> {
    let cause = probe::may_skip().then(|| probe::refusal().or_else(|| unmet(test)));
    cause.flatten().map(|cause| one_line(&cause))
}

/// What the test requires and the process is not, with the mending.
fn unmet(test: &TestCase) -> Option<String> {
    let is_root = || {
        matches!(bootstrap::state(), Some(bootstrap::State::Privileged)) && nix::unistd::geteuid().is_root()
    };
    test.require.iter().find_map(|requirement| match requirement {
        Require::Root if !is_root() => {
            Some(format!("the test requires root (`require = [root]`)\nto mend it: {}", probe::run_as_root()))
        }
        Require::Root => None,
    })
}

/// How long the body may take; `None` is without end.
fn limit(test: &TestCase) -> Result<Option<Duration>, String> {
    if is_debugged() || test.program && test.timeout.is_none() {
        return Ok(None);
    }
    match knob::text("NETNS_TEST_TIMEOUT").as_deref() {
        None => Ok(Some(test.timeout.unwrap_or(DEFAULT_TIMEOUT))),
        Some("none") => Ok(None),
        Some(value) => match parse_duration(value) {
            Ok(limit) => Ok(Some(limit)),
            Err(problem) => Err(format!("NETNS_TEST_TIMEOUT is `{value}`: {problem} (or `none`)")),
        },
    }
}

/// Whether a debugger holds the process (`TracerPid` of proc_pid_status(5)).
fn is_debugged() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter_map(|line| line.strip_prefix("TracerPid:")).any(|tracer| tracer.trim() != "0")
}

/// The process that runs tests.
static PROCESS: OnceLock<u32> = OnceLock::new();

/// The tests that run right now: a process that exits meanwhile has been ended by one of them.
static RUNNING: AtomicUsize = AtomicUsize::new(0);

struct Running;

impl Running {
    fn start() -> Self {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            if let Err(error) = sys::process::at_exit(at_exit) {
                eprintln!("netns-test: failed to watch for `exit` in tests: {error}");
                fail();
            }
        });
        PROCESS.get_or_init(std::process::id);
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A body that calls `exit(0)` would end the process as if all were well, and so would a thread that a test left behind.
extern "C" fn at_exit() {
    // A child of fork(2) inherits the handler, and may exit as it likes.
    if PROCESS.get() != Some(&std::process::id()) {
        return;
    }
    let left_by = registry::left_by().map(|test| format!("a thread that the test `{test}` left behind"));
    let text = match (RUNNING.load(Ordering::Acquire), left_by) {
        // libtest has come to its end, and has counted.
        (0, None) => return,
        (0, Some(who)) => format!("netns-test: {who} called `exit`: the run has failed\n"),
        (_, left_by) => {
            let net = registry::here().ok().flatten().and_then(|place| place.net.upgrade());
            let running = net.map(|net| format!("the test `{}`", net.test));
            let who = running.or(left_by).unwrap_or_else(|| "a thread".to_owned());
            format!("netns-test: {who} called `exit` while netns tests were running: they have failed\n")
        }
    };
    sys::process::write_raw(2, text.as_bytes());
    sys::process::exit_now(101)
}

/// Says so where the body tried to reach something from its own namespace, which has the loopback only.
fn hint_at_forgotten_handles(test: &TestCase, net: &Net) {
    // In a node it stands in the network, and what found no route there was sent on purpose.
    if test.run_in.is_some() || net.is_cluster() {
        return;
    }
    let unrouted = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
        counter(&text, name)
    };
    let count = unrouted("snmp", "OutNoRoutes") + unrouted("snmp6", "Ip6OutNoRoutes");
    if count > 0 && !net.nodes().is_empty() {
        eprintln!(
            "netns-test: {} from the body found no route: the body stands outside the network, in a namespace with \
             the loopback only\n(use `node.connect_tcp`, `node.run` or `node.enter`, or `run_in = NODE` in the attribute)",
            plural(count as usize, "packet or connection", "packets or connections"),
        );
    }
}

/// A counter of /proc/net/snmp (a line of names, a line of values) or snmp6 (a name and a value in each line).
fn counter(text: &str, name: &str) -> u64 {
    let mut names: Vec<&str> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let position = names.iter().position(|&word| word == name);
        match (&words[..], position) {
            ([first, value], _) if *first == name => return value.parse().unwrap_or(0),
            (_, Some(position)) => {
                return words.get(position).and_then(|value| value.parse().ok()).unwrap_or(0);
            }
            _ => names = words,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_read_from_both_forms() {
        assert_eq!(
            counter("Ip: InReceives OutNoRoutes\nIp: 12 3\nIcmp: InMsgs\nIcmp: 0\n", "OutNoRoutes"),
            3
        );
        assert_eq!(counter("Ip6InReceives 4\nIp6OutNoRoutes 5\n", "Ip6OutNoRoutes"), 5);
        assert_eq!(counter("", "OutNoRoutes"), 0);
    }
}
