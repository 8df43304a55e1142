//! Logs: events of `tracing` and what programs write carry node and time, and stand in the report of a failed test, whatever subscriber it has.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread;

use netns_test::{Logged, Node, netns_test};
use netns_test_tests::{Outcome, rerun};
use tracing::span;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

/// As the user who runs the proof and without any privilege.
fn both(name: &str) -> [Outcome; 2] {
    [rerun(name).run(), rerun(name).as_ordinary_user().run()]
}

/// The lines of the report's log, without their times.
fn log(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.stdout.lines().skip_while(|line| *line != "Log").skip(1);
    let log: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    let untimed = |line: &&str| {
        let (time, rest) = line.trim().split_once(" ms  ").expect("a time");
        time.parse::<f64>().expect("a number");
        rest.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    log.iter().map(untimed).collect()
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn says_and_fails(client: Node, server: Node) {
    tracing::info!("the body begins");
    server.run(async || tracing::warn!(port = 80, peer = %"client", "asked")).await;
    server.spawn_thread("worker", || tracing::error!("from a thread")).await.expect("it ends");
    client.enter(|| tracing::info!(target: "elsewhere", name = "a b"));
    tracing::debug!("nobody wanted this");
    client.command("sh").args(["-c", "echo a program"]).status().await.expect("it runs");
    panic!("on purpose");
}

#[test]
fn events_and_output_stand_in_the_report_in_their_order() {
    for outcome in both("says_and_fails") {
        outcome.failed_with(&["on purpose"]);
        assert_eq!(
            log(&outcome),
            [
                "the body INFO logs: the body begins",
                "server WARN logs: asked port=80 peer=client",
                "server ERROR logs: from a thread",
                "client INFO elsewhere: name=\"a b\"",
                "client sh: a program",
            ],
            "{outcome}"
        );
    }
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn prints_in_red(client: Node) {
    client.command("printf").arg("\\033[31mred\\033[0m\\n").status().await.expect("it runs");
    panic!("on purpose");
}

#[test]
fn what_a_terminal_would_act_on_is_written_out() {
    for outcome in both("prints_in_red") {
        assert_eq!(log(&outcome), [r"client printf: \u{1b}[31mred\u{1b}[0m"], "{outcome}");
    }
}

#[test]
fn the_environment_says_how_much() {
    let level = |level| {
        let outcome = rerun("says_and_fails").env("NETNS_TEST_LOG", level).run();
        outcome.failed_with(&["on purpose"]);
        log(&outcome).len()
    };
    assert_eq!(["off", "error", "warn", "info", "debug"].map(level), [1, 2, 3, 5, 6]);
    let outcome = rerun("says_and_fails").env("NETNS_TEST_LOG", "loud").run();
    outcome.failed_with(&["NETNS_TEST_LOG is `loud`: expected `error`, "]);
}

/// A layer that counts what it hears, and can be found in its subscriber.
struct Counting(Mutex<Sender<String>>);

impl<S: tracing::Subscriber> Layer<S> for Counting {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let _nobody_counts = self.0.lock().expect("not poisoned").send(event.metadata().level().to_string());
    }
}

fn can_be_found() -> bool {
    tracing::dispatcher::get_default(|dispatch| dispatch.downcast_ref::<Counting>().is_some())
}

/// What this thread says under its subscriber, in a node as well.
fn says(node: &Node) {
    let span = tracing::info_span!("a span", number = 1);
    let _inside = span.enter();
    tracing::debug!("fine");
    node.blocking_run(async || tracing::info!("coarse"));
}

#[netns_test]
#[ignore = "fails on purpose"]
fn has_its_own(node: Node) {
    let (tell, told) = mpsc::channel();
    let filter = tracing_subscriber::filter::LevelFilter::DEBUG;
    let own = Registry::default().with(Counting(Mutex::new(tell.clone())).with_filter(filter));
    tracing::subscriber::with_default(own, || says(&node));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["DEBUG", "INFO"]);

    let own = Registry::default().with(Counting(Mutex::new(tell)));
    tracing::subscriber::with_default(Logged::new(own), || {
        assert!(can_be_found());
        says(&node);
    });
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["DEBUG", "INFO"]);
    panic!("on purpose");
}

#[test]
fn a_subscriber_of_the_test_hears_all_and_is_recorded_where_it_is_wrapped() {
    for outcome in both("has_its_own") {
        outcome.failed_with(&["on purpose"]);
        assert_eq!(log(&outcome), ["node INFO logs: coarse"], "{outcome}");
    }
}

/// A layer that tells what becomes of spans.
struct Spans(Mutex<Sender<&'static str>>);

impl Spans {
    fn tell(&self, what: &'static str) {
        self.0.lock().expect("not poisoned").send(what).expect("somebody reads it");
    }
}

impl<S: tracing::Subscriber> Layer<S> for Spans {
    fn on_record(&self, _: &span::Id, _: &span::Record<'_>, _: Context<'_, S>) {
        self.tell("has one more value");
    }

    fn on_follows_from(&self, _: &span::Id, _: &span::Id, _: Context<'_, S>) {
        self.tell("follows");
    }

    fn on_close(&self, _: span::Id, _: Context<'_, S>) {
        self.tell("ends");
    }
}

#[netns_test]
fn spans_are_those_of_the_subscriber_that_is_wrapped() {
    let (tell, told) = mpsc::channel();
    let own = Registry::default().with(Spans(Mutex::new(tell)));
    tracing::subscriber::with_default(Logged::new(own), || {
        let first = tracing::info_span!("first", late = tracing::field::Empty);
        first.record("late", 1);
        let second = tracing::info_span!("second");
        second.follows_from(&first);
        second.in_scope(|| assert_eq!(tracing::Span::current(), second));
        let same = first.clone();
        drop(first);
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["has one more value", "follows"]);
        drop((same, second));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["ends", "ends"]);
    });
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn sets_a_global_one(node: Node) {
    tracing::info!("before");
    let (tell, told) = mpsc::channel();
    tracing::subscriber::set_global_default(Registry::default().with(Counting(Mutex::new(tell))))
        .expect("there is none");
    tracing::trace!("now");
    let span = tracing::info_span!("a span");
    node.run(async move || span.in_scope(|| tracing::info!("in a node"))).await;
    thread::spawn(|| tracing::info!("outside")).join().expect("it ends");
    assert_eq!(told.try_iter().collect::<Vec<_>>(), ["TRACE", "INFO", "INFO"]);
    panic!("on purpose");
}

#[test]
fn a_global_one_that_is_set_later_hears_all_as_well() {
    for outcome in both("sets_a_global_one") {
        outcome.failed_with(&["on purpose"]);
        assert_eq!(log(&outcome), ["the body INFO logs: before", "node INFO logs: in a node"], "{outcome}");
    }
}

#[test_log::test(netns_test)]
#[ignore = "fails on purpose"]
async fn logs_with_test_log(node: Node) {
    node.run(async || tracing::info!("to both")).await;
    panic!("on purpose");
}

#[test]
fn beside_test_log_events_are_recorded_on_request() {
    for (value, recorded) in [("off", &[][..]), ("info", &["node INFO logs: to both"])] {
        let run = rerun("logs_with_test_log").env("RUST_LOG", "info").env("NETNS_TEST_LOG", value);
        let outcome = run.run();
        // Its own output, in any case.
        let (_, printed) = outcome.stdout.split_once("stdout ----").expect("output of the test");
        assert!(printed.split("netns-test:").next().is_some_and(|own| own.contains("to both")), "{outcome}");
        assert_eq!(log(&outcome), recorded, "{outcome}");
    }
}
