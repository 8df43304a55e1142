//! The whole life of one test.
//!
//! libtest's thread waits; the body's thread provisions, runs the body and tears down. When the timeout passes first, a
//! thread of its own tears down in the body's place.

mod outside;
mod refusal;
mod running;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fs, panic, thread};

use netns_test_model::{Topology, parse_duration};
use tokio::sync::Notify;

use self::outside::hint_at_forgotten_handles;
use self::refusal::{refuse, unmet};
#[cfg(feature = "harness")]
pub(crate) use self::refusal::{take_skipped, would_skip};
use self::running::Running;
pub(crate) use self::verdict::describe;
use self::verdict::{Ending, Verdict, how, keep_artifacts, keep_packets, show_network, verdict};
use crate::__private::{ShouldPanic, TestCase};
use crate::error::{Doing, Error};
use crate::held::hold;
use crate::namespace::prepare_thread;
use crate::network::{Net, Network};
use crate::panics::Caught;
use crate::teardown::{Leftover, tear_down};
use crate::{capture, gate, janitor, knob, log, panics, pause, plan, probe, provision, report, worker};

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
