//! Promise 8: a test never hangs. When its timeout passes it fails, whatever it is at.

use std::io;
use std::time::{Duration, Instant};

use netns_test::state::OperState;
use netns_test::{Error, Network, Node, netns_test};
use netns_test_tests::{Outcome, Rerun, rerun};

// Long enough that the body is where it is to be found when the timeout passes, on a busy machine as well.
#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn pending(_a: Node) {
    struct Told;
    impl Drop for Told {
        fn drop(&mut self) {
            println!("the body's future was dropped");
        }
    }
    let _told = Told;
    std::future::pending().await
}

#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
fn endless_loop(_a: Node) {
    loop {
        std::hint::spin_loop();
    }
}

#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn endless_loop_in_async(_a: Node) {
    loop {
        std::hint::spin_loop();
    }
}

#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn blocks_in_a_node(a: Node) {
    a.run(async || std::thread::park()).await
}

#[netns_test(timeout = 300ms)]
#[ignore = "fails on purpose"]
fn blocks_on_a_socket(a: Node) -> std::io::Result<()> {
    a.blocking_listen_tcp(80)?.accept()?;
    Ok(())
}

#[netns_test(timeout = 300ms, flavor = "multi_thread", worker_threads = 2)]
#[ignore = "fails on purpose"]
async fn pending_on_many_threads(a: Node) {
    a.run(std::future::pending::<()>).await
}

/// Sets the link mode (`IFLA_LINKMODE`, 17) of an interface to dormant by RTM_SETLINK (19), rtnetlink(7). Perl is a part of every
/// Debian; `ip` is not.
const MAKE_DORMANT: &str = r#"
    socket(my $kernel, 16, 3, 0) or die "socket: $!";
    send($kernel, pack("LSSLL CCSlLL SSCx3", 40, 19, 5, 1, 0, 0, 0, 0, $ARGV[0], 0, 0, 5, 17, 1), 0) or die "send: $!";
    recv($kernel, my $answer, 4096, 0);
    exit(unpack("x16 l", $answer) != 0);
"#;

/// An interface that is told to be dormant has a carrier and yet carries nothing (RFC 2863).
#[netns_test(timeout = 5s)]
fn an_interface_that_does_not_come_up_is_an_error(client: Node, server: Node) -> std::io::Result<()> {
    let eth0 = client.interface("eth0")?;
    let index = eth0.index().to_string();
    let status = client.command("perl").args(["-e", MAKE_DORMANT, &index]).blocking_status()?;
    assert!(status.success(), "{status}");
    // Of an interface that is on the kernel tells what it has taken note of, which it does a little later; of one that is off, that it is down.
    let other = server.interface("eth0")?;
    other.down()?;
    client.blocking_wait_until("its end", |_| Ok(eth0.link()?.operstate != OperState::Up))?;
    eth0.down()?;
    other.up()?;
    let text = eth0.up().expect_err("it is dormant").to_string();
    for part in [
        "failed to wait for `client/eth0` to carry packets in `client`: ",
        "the test's timeout is about to pass; there was",
        "state dormant",
    ] {
        assert!(text.contains(part), "`{part}` is missing: {text}");
    }
    Ok(())
}

#[test]
fn a_test_that_does_not_end_fails_when_its_timeout_passes() {
    let timed_out = "the test timed out after ";
    rerun("pending").run().failed_with(&[timed_out, "the body's future was dropped"]);
    rerun("endless_loop")
        .run()
        .failed_with(&[timed_out, "1 thread was left behind: `endless_loop`, which runs"]);
    rerun("endless_loop_in_async").run().failed_with(&[timed_out, "left behind", "which runs"]);
    rerun("blocks_in_a_node").run().failed_with(&[timed_out, "left behind", "which blocks"]);
    rerun("blocks_on_a_socket").run().failed_with(&[timed_out]);
    rerun("pending_on_many_threads").run().failed_with(&[timed_out]);
}

/// libtest goes on after a test that cannot be ended.
#[test]
fn other_tests_run_beside_one_that_does_not_end() {
    let outcome = Rerun::with(&["--ignored", "--test-threads=1", "pending", "loop", "blocks", "tells"]).run();
    outcome.says(&["1 passed; 6 failed"]);
}

// A wait ends half a second before so long a timeout: what it says comes first on a busy machine, too.

#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
async fn waits_for_a_listener(a: Node) -> Result<(), Error> {
    let _other = a.listen_tcp(81).await.expect("it is free");
    a.wait_listening(80).await
}

#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
fn waits_for_a_condition(a: Node) -> Result<(), Error> {
    a.blocking_wait_until("a default route", |a| {
        Ok(a.routes()?.iter().any(|route| route.prefix_len == 0 && route.table == 254))
    })
}

/// As on a machine that stalls just then.
#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn is_late_with_what_a_wait_said(a: Node, network: Network) -> Result<(), Error> {
    is_late(&a, &network).await
}

async fn is_late(a: &Node, network: &Network) -> Result<(), Error> {
    let waited = a.wait_listening(80).await;
    let over = network.deadline().expect("there is one") + Duration::from_millis(100);
    while Instant::now() < over {
        std::thread::yield_now();
    }
    waited
}

#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn goes_on_after_a_wait_in_vain(a: Node) {
    a.wait_listening(80).await.expect_err("nobody listens");
    std::future::pending().await
}

#[netns_test(timeout = 1s)]
#[ignore = "fails on purpose"]
async fn passes_late_after_a_wait_in_vain(a: Node, network: Network) {
    let _in_vain = is_late(&a, &network).await;
}

#[test]
fn a_wait_that_gave_up_is_told_also_by_a_body_that_is_late() {
    let outcome = rerun("is_late_with_what_a_wait_said").run();
    outcome.failed_with(&["a listener on tcp port 80 in `a`"]);
    assert!(!outcome.stdout.contains("timed out after"), "{outcome}");
    // No reason to go on for ever, nor to pass.
    rerun("passes_late_after_a_wait_in_vain").run().failed_with(&["the test timed out after 1s"]);
    rerun("goes_on_after_a_wait_in_vain").run().failed_with(&["the test timed out after 1s"]);
}

#[test]
fn waits_end_before_the_timeout_and_say_what_was_there_instead() {
    let (listener, condition) =
        (rerun("waits_for_a_listener").spawn(), rerun("waits_for_a_condition").spawn());
    let outcome = listener.wait();
    outcome.failed_with(&["a listener on tcp port 80 in `a`", ":81"]);
    assert!(!outcome.stdout.contains("timed out after"), "{outcome}");
    let outcome = condition.wait();
    outcome.failed_with(&["a default route in `a`", "10.0.0.0/16 dev eth0"]);
    assert!(!outcome.stdout.contains("timed out after"), "{outcome}");
}

#[netns_test]
#[ignore = "run by its proof"]
async fn tells_its_limit(network: Network) {
    match network.deadline() {
        None => println!("no limit"),
        // Begun minutes: how long ago the body started does not matter.
        Some(deadline) => {
            let left = deadline.duration_since(Instant::now());
            println!("limit {} min", left.as_secs() / 60 + 1)
        }
    }
}

#[test]
fn the_environment_overrides_the_timeout() {
    let told =
        |value: &str| rerun("tells_its_limit").arg("--nocapture").env("NETNS_TEST_TIMEOUT", value).run();
    rerun("tells_its_limit").arg("--nocapture").run().says(&["limit 1 min"]);
    told("420s").says(&["limit 7 min"]);
    told("none").says(&["no limit"]);
    let outcome = told("soon");
    assert!(!outcome.status.success(), "{outcome}");
    outcome.says(&["NETNS_TEST_TIMEOUT is `soon`"]);
}

/// Under a debugger (here: one that only traces) there is no timeout.
#[test]
fn a_debugger_stops_the_clock() {
    let debugger = format!("exec {} \"$@\"", env!("CARGO_BIN_EXE_traced"));
    let traced = rerun("tells_its_limit").arg("--nocapture").in_shell(&debugger);
    traced.run().says(&["no limit"]);
}

// What is waited for does not come any more where the code that was to bring it about has panicked.

async fn fails() -> io::Result<()> {
    Err(io::Error::other("no configuration"))
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn waits_for_started_code_that_panics(server: Node) -> io::Result<()> {
    server.start(async || fails().await.expect("the server runs"));
    server.wait_listening(80).await?;
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
fn waits_for_a_task_that_has_panicked(server: Node) -> io::Result<()> {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    server.spawn(async move || {
        let _told_when_dropped = tell;
        fails().await.expect("the server runs")
    });
    told.recv().expect_err("the task drops it");
    server.blocking_wait_bound_udp(53)?;
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn waits_for_a_thread_that_panics(server: Node) -> io::Result<()> {
    let _detached = server.spawn_thread("serves", || panic!("the thread is lost")).is_finished();
    server.wait_until("a sign of life", |_server| Ok(false)).await?;
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn waits_for_a_task_of_tokio_that_panics(server: Node) -> io::Result<()> {
    server
        .run(async || {
            tokio::spawn(async { panic!("the task is lost") });
        })
        .await;
    server.wait_listening(80).await?;
    Ok(())
}

#[netns_test(timeout = 2s)]
#[ignore = "fails on purpose"]
async fn waits_for_a_task_that_returns(server: Node) -> io::Result<()> {
    let _held = server.spawn(async || fails().await);
    server.run(async || ()).await;
    server.wait_listening(80).await?;
    Ok(())
}

#[test]
fn a_wait_ends_when_code_of_its_node_has_panicked() {
    let place = |outcome: &Outcome, what: &str| {
        let text = format!("{what} of {}:", file!());
        assert!(outcome.to_string().contains(&text), "`{text}` is missing: {outcome}");
    };
    let outcome = rerun("waits_for_started_code_that_panics").run();
    place(&outcome, "failed to wait for a listener on tcp port 80 in `server`: the task");
    outcome.failed_with(&[
        r#"has panicked: the server runs: Custom { kind: Other, error: "no configuration" } ("#,
        // The network is shown as it was at the panic.
        " ms after its body started, at a panic: after ",
        " ms its body returned an error",
    ]);
    let outcome = rerun("waits_for_a_task_that_has_panicked").run();
    place(&outcome, "failed to wait for a listener on udp port 53 in `server`: the task");
    outcome.failed_with(&["has panicked: the server runs"]);
    let outcome = rerun("waits_for_a_thread_that_panics").run();
    place(&outcome, "failed to wait for a sign of life in `server`: the thread");
    outcome.failed_with(&[concat!("has panicked: the thread is lost (", file!(), ":")]);
    rerun("waits_for_a_task_of_tokio_that_panics").run().failed_with(&[
        "failed to wait for a listener on tcp port 80 in `server`: code on the thread",
        concat!("has panicked: the task is lost (", file!(), ":"),
    ]);
    let outcome = rerun("waits_for_a_task_that_returns").run();
    place(&outcome, "  the task");
    outcome.failed_with(&["the test's timeout is about to pass; there was", " has ended"]);
    // The call that had its result has ended, too, and is no news.
    assert_eq!(outcome.to_string().matches(" has ended").count(), 1, "{outcome}");
}

/// Waits on after something has happened, for so many checks.
async fn wait_on(node: &Node, most: u32, mut has_happened: impl FnMut() -> bool) -> Result<(), Error> {
    let mut checks = 0;
    node.wait_until("more checks", |_node| {
        checks += u32::from(has_happened());
        Ok(checks > most)
    })
    .await
}

#[netns_test]
async fn a_wait_goes_on_where_a_handle_can_be_read(server: Node) {
    let handle = server.spawn(async || panic!("read later"));
    let thread = server.spawn_thread("panics", || panic!("read later"));
    wait_on(&server, 20, || handle.is_finished() && thread.is_finished()).await.expect("both can be read");
    assert!(handle.await.is_err_and(|error| error.is_panic()));
    assert!(thread.join().is_err_and(|error| error.is_panic()));
    wait_on(&server, 20, || true).await.expect("both were read");
}

#[netns_test]
async fn a_wait_goes_on_where_panics_are_caught(server: Node) {
    server
        .run(async || {
            tokio::spawn(async { panic!("read") }).await.expect_err("it panics");
            tokio::spawn(async { std::panic::catch_unwind(|| panic!("caught")).is_err() }).await
        })
        .await
        .expect("it was caught inside");
    // It takes a while until nobody can have been told any more.
    wait_on(&server, 200, || true).await.expect("all was caught");
}

#[netns_test]
async fn a_wait_goes_on_where_panics_are_allowed(server: Node, network: Network) {
    let _guard = network.allow_panics();
    let (tell, told) = std::sync::mpsc::channel::<()>();
    server.spawn(async move || {
        let _told_when_dropped = tell;
        panic!("allowed")
    });
    let is_over = || told.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected);
    wait_on(&server, 20, is_over).await.expect("it was allowed");
}
