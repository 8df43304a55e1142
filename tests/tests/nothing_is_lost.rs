//! Promise 6: nothing is lost. What fails anywhere fails the test, with its own message and place.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use netns_test::{Argument, Error, FromNetwork, Network, Node, netns_test};
use netns_test_tests::{Rerun, rerun};

// Tests that fail, each in its own way.

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_body(_a: Node) {
    panic!("lost in the body")
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_task_of_body(_a: Node) {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let _told_when_dropped = tell;
        panic!("lost in a task");
    });
    told.await.expect_err("the task drops it");
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_beside_a_task_that_is_joined(_a: Node) {
    tokio::spawn(async { panic!("lost beside another") });
    tokio::spawn(async {}).await.expect("it does not panic");
}

/// The dead task's thread runs one that is awaited: what is told then is not the panic.
#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_blocking_task_beside_one_that_is_joined(_a: Node) {
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::task::spawn_blocking(|| {
        tell.send(std::thread::current().id()).expect("the body waits");
        panic!("lost before another")
    });
    let dead = told.await.expect("it tells");
    let again = || std::thread::current().id();
    while tokio::task::spawn_blocking(again).await.expect("it does not panic") != dead {}
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_task_that_was_spawned_last(_a: Node) {
    tokio::spawn(async { panic!("lost at the end") });
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_task_of_node(a: Node) {
    a.run(async || {
        tokio::spawn(async { panic!("lost in a task of a node") });
    })
    .await;
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_spawn(a: Node) {
    drop(a.spawn(async || panic!("lost in spawn")));
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_run(a: Node) {
    a.run(async || panic!("lost in run")).await
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_spawn_blocking(a: Node) {
    a.run(async || {
        tokio::task::spawn_blocking(|| panic!("lost in spawn_blocking"));
    })
    .await;
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_thread_of_std(a: Node) {
    a.run(async || {
        std::thread::spawn(|| panic!("lost in a thread"));
    })
    .await;
}

#[netns_test]
#[ignore = "fails on purpose"]
fn panic_in_thread_of_body(_a: Node) {
    std::thread::spawn(|| panic!("lost in a thread of the body"));
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_blocking_task_of_body(_a: Node) {
    tokio::task::spawn_blocking(|| panic!("lost in a blocking task"));
}

#[netns_test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fails on purpose"]
async fn panic_on_many_threads(a: Node) {
    a.run(async || {
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let _told_when_dropped = tell;
            panic!("lost on a worker");
        });
        told.await.expect_err("the task drops it");
    })
    .await;
}

#[netns_test(run_in = a)]
#[ignore = "fails on purpose"]
async fn panic_in_body_in_node(a: Node) {
    assert_eq!(a.name(), "a");
    tokio::spawn(async { panic!("lost beside a body in a node") });
}

#[netns_test]
#[ignore = "fails on purpose"]
fn panic_in_enter(a: Node) {
    a.enter(|| panic!("lost in enter"))
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_drop_of_task(a: Node) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("lost when a task is dropped");
        }
    }
    a.run(async || {
        tokio::spawn(async {
            let _bomb = Bomb;
            std::future::pending::<()>().await;
        });
    })
    .await;
}

#[netns_test]
#[ignore = "fails on purpose"]
fn panic_in_spawn_thread(a: Node) {
    drop(a.spawn_thread("worker", || panic!("lost in spawn_thread")));
}

/// `run` hands the panic on to a task that nobody reads.
#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_of_run_in_task(a: Node) {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let _told_when_dropped = tell;
        a.run(async || panic!("lost on its way")).await
    });
    told.await.expect_err("the task drops it");
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_of_run_in_spawn(a: Node, b: Node) {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    drop(a.spawn(async move || {
        let _told_when_dropped = tell;
        b.run(async || panic!("lost between nodes")).await
    }));
    told.await.expect_err("the work drops it");
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_that_no_hook_hears(a: Node) {
    drop(a.spawn(async || std::panic::resume_unwind(Box::new("lost without a hook"))));
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_in_drop(_a: Node) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("lost in drop");
        }
    }
    let _bomb = Bomb;
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn error(_a: Node) -> std::io::Result<()> {
    Err(std::io::Error::other("lost as an error"))
}

#[netns_test]
#[ignore = "fails on purpose"]
fn boxed_error(_a: Node) -> Result<(), Box<dyn std::error::Error>> {
    Err("lost in a box".into())
}

#[test]
fn every_panic_and_error_fails_its_test_with_its_message_and_place() {
    let here = "tests/nothing_is_lost.rs:";
    for (name, texts) in [
        ("panic_in_body", [here, "lost in the body"]),
        ("panic_in_task_of_body", [here, "lost in a task"]),
        ("panic_beside_a_task_that_is_joined", [here, "lost beside another"]),
        ("panic_in_blocking_task_beside_one_that_is_joined", [here, "lost before another"]),
        ("panic_in_task_that_was_spawned_last", [here, "lost at the end"]),
        ("panic_in_task_of_node", ["the node `a`", "lost in a task of a node"]),
        ("panic_in_spawn", ["the node `a`", "lost in spawn"]),
        ("panic_in_run", ["panic_in_run@a", "lost in run"]),
        ("panic_in_spawn_blocking", ["the node `a`", "lost in spawn_blocking"]),
        ("panic_in_thread_of_std", ["the node `a`", "lost in a thread"]),
        ("panic_in_thread_of_body", ["a panic in the body", "lost in a thread of the body"]),
        ("panic_in_blocking_task_of_body", ["a panic in the body", "lost in a blocking task"]),
        ("panic_on_many_threads", ["the node `a`", "lost on a worker"]),
        ("panic_while_the_body_blocks", [here, "lost while the body blocks"]),
        ("panic_while_the_body_spins", [here, "lost while the body spins"]),
        ("panic_in_body_in_node", ["the node `a`", "lost beside a body in a node"]),
        ("panic_in_enter", [here, "lost in enter"]),
        ("panic_in_drop_of_task", ["the node `a`", "lost when a task is dropped"]),
        ("panic_in_spawn_thread", ["panic_in_spawn_thread@a/worker", "lost in spawn_thread"]),
        ("panic_of_run_in_task", [here, "lost on its way"]),
        ("panic_of_run_in_spawn", [here, "lost between nodes"]),
        ("panic_that_no_hook_hears", ["the node `a`", "lost without a hook"]),
        ("panic_in_drop", [here, "lost in drop"]),
        ("error", ["Error:", "lost as an error"]),
        ("boxed_error", ["Error:", "lost in a box"]),
    ] {
        rerun(name).run().failed_with(&texts);
    }
}

// Ends of the process.

#[netns_test]
#[ignore = "fails on purpose"]
async fn exit_zero(_a: Node) {
    std::process::exit(0)
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn exit_zero_in_node(a: Node) {
    a.run(async || std::process::exit(0)).await
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn abort(_a: Node) {
    std::process::abort()
}

#[netns_test]
#[ignore = "fails on purpose"]
fn exit_zero_in_thread(_a: Node) {
    std::thread::spawn(|| std::process::exit(0)).join().expect("it does not return");
}

#[test]
fn exit_and_abort_fail_the_process() {
    for name in ["exit_zero", "exit_zero_in_node", "exit_zero_in_thread"] {
        let outcome = rerun(name).run();
        assert_eq!(outcome.status.code(), Some(101), "{outcome}");
        outcome.says(&[&format!("the test `{name}` called `exit`")]);
    }
    let outcome = rerun("abort").run();
    assert!(!outcome.status.success(), "{outcome}");
}

/// What ends the process after its test has ended.
static EXITS_LATER: OnceLock<std::sync::mpsc::Sender<()>> = OnceLock::new();

#[netns_test]
#[ignore = "fails on purpose"]
fn late_exit_a_is_prepared(a: Node) {
    let (tell, told) = std::sync::mpsc::channel();
    a.enter(|| {
        std::thread::spawn(move || {
            told.recv().expect("the other test tells");
            std::process::exit(0)
        })
    });
    EXITS_LATER.set(tell).expect("once");
}

#[test]
#[ignore = "fails on purpose"]
fn late_exit_by_a_thread_left_behind() {
    EXITS_LATER.get().expect("libtest runs tests in the order of their names").send(()).expect("it waits");
    std::thread::park();
}

#[test]
fn exit_after_the_end_of_a_test_fails_the_process() {
    // In the order of their names.
    let outcome = Rerun::with(&["--ignored", "late_exit_", "--test-threads=1"]);
    let outcome = outcome.in_shell("exec \"$@\" --skip late_exit_by").run();
    assert!(outcome.status.success(), "the first alone is no failure: {outcome}");
    let outcome = Rerun::with(&["--ignored", "late_exit_", "--test-threads=1"]).run();
    assert_eq!(outcome.status.code(), Some(101), "{outcome}");
    outcome.says(&["a thread that the test `late_exit_a_is_prepared` left behind called `exit`"]);
}

// What a test catches is its own business: these pass.

#[netns_test]
async fn caught_in_body(_a: Node) {
    std::panic::catch_unwind(|| panic!("caught")).expect_err("it panics");
}

#[netns_test]
async fn caught_in_task(a: Node) {
    a.run(async || {
        let task = tokio::spawn(async { std::panic::catch_unwind(|| panic!("caught")).is_err() });
        assert!(task.await.expect("it was caught inside"));
    })
    .await;
}

#[netns_test]
async fn caught_in_thread(a: Node) {
    let caught = || std::panic::catch_unwind(|| panic!("caught")).is_err();
    assert!(std::thread::spawn(caught).join().expect("it was caught inside"));
    assert!(a.spawn_thread("catches", caught).join().expect("it was caught inside"));
    assert!(a.enter(caught));
    a.run(async move || {
        assert!(std::thread::spawn(caught).join().expect("it was caught inside"));
        assert!(tokio::task::spawn_blocking(caught).await.expect("it was caught inside"));
    })
    .await;
}

#[netns_test]
async fn joined_task_of_tokio(a: Node) {
    assert!(tokio::spawn(async { panic!("read") }).await.expect_err("it panics").is_panic());
    assert!(tokio::task::spawn_blocking(|| panic!("read")).await.expect_err("it panics").is_panic());
    let mut set = tokio::task::JoinSet::new();
    set.spawn(async { panic!("read") });
    assert!(set.join_next().await.expect("there is one").is_err());
    a.run(async || assert!(tokio::spawn(async { panic!("read") }).await.is_err())).await;
}

/// A task on another thread may panic before its handle is awaited for the first time.
async fn joined_at_once() {
    for _ in 0..20 {
        assert!(tokio::task::spawn_blocking(|| panic!("read")).await.expect_err("it panics").is_panic());
        assert!(tokio::spawn(async { panic!("read") }).await.expect_err("it panics").is_panic());
        // Other tasks come and go meanwhile.
        let (dead, alive) = tokio::join!(
            tokio::task::spawn_blocking(|| panic!("read")),
            tokio::spawn(tokio::task::yield_now())
        );
        assert!(dead.expect_err("it panics").is_panic() && alive.is_ok());
    }
}

#[netns_test]
async fn joined_tasks_on_other_threads(a: Node) {
    joined_at_once().await;
    a.run(joined_at_once).await;
}

#[netns_test(flavor = "multi_thread", worker_threads = 2)]
async fn joined_tasks_on_many_threads(a: Node) {
    joined_at_once().await;
    a.run(joined_at_once).await;
}

/// What panics is waited for by other means than its handle, which must not be held up for ever.
#[netns_test]
async fn allowed_while_the_body_blocks(network: Network) {
    let _guard = network.allow_panics();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let handle = tokio::task::spawn_blocking(move || {
        let _told_when_dropped = tell;
        panic!("allowed")
    });
    told.recv().expect_err("the task drops it");
    assert!(handle.await.expect_err("it panics").is_panic());
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn panic_while_the_body_blocks(_a: Node) {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || {
        let _told_when_dropped = tell;
        panic!("lost while the body blocks")
    });
    told.recv().expect_err("the task drops it");
}

#[netns_test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fails on purpose"]
async fn panic_while_the_body_spins(_a: Node) {
    let handle = tokio::spawn(async { panic!("lost while the body spins") });
    while !handle.is_finished() {
        std::hint::spin_loop();
    }
}

#[netns_test]
async fn joined_work_of_a_node(a: Node) {
    let error = a.spawn(async || panic!("read")).await.expect_err("it panics");
    assert!(error.is_panic() && error.to_string().contains("read"), "{error}");
    // Read late, too: the handle is ours.
    let handle = a.spawn(async || panic!("read"));
    a.run(async || {}).await;
    assert!(handle.await.expect_err("it panics").is_panic());
    assert!(a.spawn_thread("worker", || panic!("read")).join().expect_err("it panics").is_panic());
}

#[netns_test]
async fn a_panic_of_run_resumes_in_the_caller(a: Node) {
    let caller = tokio::task::spawn_local(async move { a.run(async || panic!("resumed")).await });
    let payload = caller.await.expect_err("it panics").into_panic();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"resumed"));
}

#[netns_test]
async fn allowed(network: Network) {
    let _guard = network.allow_panics();
    let handle = tokio::spawn(async { panic!("allowed") });
    while !handle.is_finished() {
        tokio::task::yield_now().await;
    }
}

// The panic hook belongs to the process, and a test may replace it.

#[netns_test]
#[ignore = "run by its proof"]
async fn the_hook_1_is_replaced(_a: Node) {
    std::panic::set_hook(Box::new(|_info| {}));
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn the_hook_2_lost_in_a_task(_a: Node) {
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let _told_when_dropped = tell;
        panic!("lost after another test");
    });
    told.await.expect_err("the task drops it");
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn the_hook_3_is_replaced_and_work_is_lost(a: Node) {
    std::panic::set_hook(Box::new(|_info| {}));
    drop(a.spawn(async || panic!("lost behind the hook")));
}

#[netns_test]
#[ignore = "run by its proof"]
async fn the_hook_4_is_chained(_a: Node) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        println!("the chained hook hears {info}");
        previous(info);
    }));
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn the_hook_5_lost_in_a_thread(a: Node) {
    a.enter(|| drop(std::thread::spawn(|| panic!("lost in a chain"))));
}

#[test]
fn a_test_that_replaces_the_panic_hook_hides_no_panic_of_later_ones() {
    let outcome = Rerun::with(&["--ignored", "the_hook_", "--test-threads=1", "--show-output"]).run();
    outcome.says(&["2 passed; 3 failed"]);
    outcome.says(&["lost after another test", "lost behind the hook", "lost in a chain"]);
    outcome.says(&["the chained hook hears", "the panic hook was replaced while the test ran"]);
    // Whether it is there is asked once where another comes first, and not again.
    let asked = outcome.stdout.matches("the chained hook hears panicked at netns-test").count();
    assert!(asked <= 1, "{outcome}");
}

/// When the test that panics in time times out.
static TIMES_OUT: OnceLock<Instant> = OnceLock::new();

#[netns_test]
#[ignore = "run by its proof"]
fn in_time_1_makes_panics_slow(_a: Node) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // As one does that prints a long backtrace on a busy machine.
        while TIMES_OUT.get().is_some_and(|at| Instant::now() < *at + Duration::from_millis(100)) {
            std::thread::yield_now();
        }
        previous(info);
    }));
}

#[netns_test(timeout = 2s)]
#[ignore = "fails on purpose"]
fn in_time_2_panics(network: Network) {
    TIMES_OUT.get_or_init(|| network.deadline().expect("there is one"));
    panic!("lost in the time that its hook takes");
}

#[netns_test(timeout = 2s)]
#[ignore = "fails on purpose"]
fn in_time_3_goes_on(_a: Node) {
    loop {
        std::panic::catch_unwind(|| panic!("caught")).expect_err("it panics");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn what_looks_at_a_panic_takes_no_time_from_the_body() {
    let outcome = Rerun::with(&["--ignored", "in_time_1", "in_time_2", "--test-threads=1"]).run();
    outcome.says(&["1 passed; 1 failed", "lost in the time that its hook takes", ": its body panicked"]);
    assert!(!outcome.stdout.contains("timed out after"), "{outcome}");
    // No reason to go on for ever.
    rerun("in_time_3_goes_on").run().failed_with(&["the test timed out after 2s"]);
}

// Output.

#[netns_test]
#[ignore = "fails on purpose"]
async fn output(a: Node, b: Node) {
    println!("said by the body");
    a.run(async || println!("said by a job")).await;
    b.spawn_thread("talker", || println!("said by a thread")).join().expect("it does not panic");
    b.run(async || {
        tokio::task::spawn_blocking(|| println!("said by a blocking thread"))
            .await
            .expect("it does not panic");
    })
    .await;
    panic!("shown with the rest");
}

#[netns_test]
#[ignore = "run by its proof"]
async fn quiet_output(a: Node) {
    a.run(async || println!("nobody reads this")).await;
}

#[test]
fn output_of_nodes_is_shown_with_the_tests_own_and_only_on_failure() {
    let outcome = rerun("output").run();
    outcome.failed_with(&["---- output stdout ----"]);
    let report = outcome.stdout.split("---- output stdout ----").nth(1).expect("the captured output");
    for text in ["said by the body", "said by a job", "said by a thread", "said by a blocking thread"] {
        assert!(report.contains(text), "{text}: {outcome}");
    }
    let outcome = rerun("quiet_output").run();
    outcome.passed();
    assert!(!outcome.stdout.contains("nobody reads this"), "{outcome}");
}

// `#[should_panic]` is satisfied by the test's own panic alone.

#[netns_test]
#[should_panic]
async fn should_panic_below(_a: Node) {
    panic!("as it should")
}

#[should_panic(expected = "as it")]
#[netns_test]
fn should_panic_above(_a: Node) {
    panic!("as it should")
}

#[netns_test]
#[should_panic]
#[ignore = "fails on purpose"]
async fn does_not_panic(_a: Node) {}

#[netns_test]
#[should_panic(expected = "this")]
#[ignore = "fails on purpose"]
async fn panics_otherwise(_a: Node) {
    panic!("something else")
}

#[netns_test(timeout = 500ms)]
#[should_panic]
#[ignore = "fails on purpose"]
async fn times_out(_a: Node) {
    std::future::pending().await
}

// A wait ends half a second before so long a timeout: what it says comes first on a busy machine, too.
#[netns_test(timeout = 5s)]
#[should_panic]
#[ignore = "fails on purpose"]
async fn waits_in_vain(a: Node) {
    a.wait_listening(80).await.unwrap();
}

/// The process has no file descriptor left for the thread of the node.
fn use_up_descriptors() -> Vec<std::fs::File> {
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

#[netns_test]
#[should_panic]
#[ignore = "fails on purpose"]
async fn node_cannot_run_anything(a: Node) {
    let _all = use_up_descriptors();
    a.run(async || {}).await;
}

#[netns_test]
#[should_panic]
#[ignore = "fails on purpose"]
fn node_cannot_start_a_thread(a: Node) {
    let _all = use_up_descriptors();
    drop(a.spawn_thread("worker", || ()));
}

#[netns_test]
#[should_panic(expected = "failed to enter")]
#[ignore = "fails on purpose"]
fn node_cannot_be_entered(a: Node) {
    let _all = use_up_descriptors();
    a.enter(|| ());
}

#[netns_test]
#[should_panic]
#[ignore = "fails on purpose"]
async fn somebody_else_panics(a: Node) {
    drop(a.spawn(async || panic!("not the test")));
}

#[netns_test]
#[should_panic]
#[ignore = "fails on purpose"]
async fn returns_an_error(_a: Node) -> std::io::Result<()> {
    Err(std::io::Error::other("not a panic"))
}

/// An argument that no network has.
struct Refused;

impl FromNetwork for Refused {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        argument.node("nobody").map(|_node| Self)
    }
}

#[netns_test(nodes = 1)]
#[should_panic]
#[ignore = "fails on purpose"]
async fn argument_is_refused(_refused: Refused) {
    panic!("the body must not run")
}

#[test]
fn should_panic_wants_the_tests_own_panic() {
    rerun("does_not_panic").run().failed_with(&["did not panic as expected"]);
    rerun("panics_otherwise").run().failed_with(&["something else", "expected substring: \"this\""]);
    rerun("times_out").run().failed_with(&["timed out after 500ms"]);
    rerun("waits_in_vain").run().failed_with(&["a wait that gave up"]);
    for name in ["node_cannot_run_anything", "node_cannot_start_a_thread", "node_cannot_be_entered"] {
        let outcome = rerun(name).in_shell("ulimit -n 200; exec \"$@\"").run();
        outcome.failed_with(&["the panic came from netns-test", "(os error 24)", "not from the test"]);
    }
    rerun("somebody_else_panics").run().failed_with(&["did not panic as expected", "not the test"]);
    rerun("returns_an_error").run().failed_with(&["did not panic as expected", "not a panic"]);
    rerun("argument_is_refused").run().failed_with(&["failed to find the node `nobody`"]);
    let refused = rerun("does_not_panic").in_shell("ulimit -n 30; exec \"$@\"").run();
    refused.failed_with(&["cannot run here"]);
}

/// A test that passes must not have waited for its own timeout to do so.
#[netns_test(timeout = 30s)]
async fn deadline_is_known(network: Network) {
    let left = network.deadline().expect("there is one") - std::time::Instant::now();
    assert!(left <= Duration::from_secs(30));
}
