//! The report: a test that fails shows its network, and the line that names the cause is in it.
//!
//! Each fault is planted in a test that fails over it; the proof reads what a person would.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use netns_test::{Node, netns_test};
use netns_test_tests::{Outcome, Rerun, rerun};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The test `name`, as the user who runs the proof and without any privilege.
fn both(name: &str) -> [Outcome; 2] {
    [rerun(name).run(), rerun(name).as_ordinary_user().run()]
}

/// Asserts that the report of `name` says all of these, for every user.
#[track_caller]
fn reports(name: &str, texts: &[&str]) {
    for outcome in both(name) {
        outcome.failed_with(&[&format!("netns-test: the network of `{name}`")]);
        outcome.failed_with(texts);
    }
}

/// Asserts that one line holds all of these.
#[track_caller]
fn has_line(outcome: &Outcome, words: &[&str]) {
    let is_it = |line: &str| words.iter().all(|word| line.contains(word));
    assert!(outcome.stdout.lines().any(is_it), "no line with {words:?}: {outcome}");
}

// Planted faults.

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn refused_port(client: Node, server: Node) {
    let _other = server.listen_tcp(81).await.expect("it is free");
    client.connect_tcp("server:80").await.expect("the server listens");
}

#[test]
fn a_refused_port() {
    reports(
        "refused_port",
        &[
            ": its body panicked\nPanics\n  the body  tests/tests/report.rs:",
            "server  1 connection attempt was refused here: nothing listened on that address and port\n",
            "  now there is a listener on 10.0.0.2:81\n",
            "\n  client                 server\n  eth0 ───────────────── eth0\n  10.0.0.1/16            10.0.0.2/16\n",
        ],
    );
    for outcome in both("refused_port") {
        has_line(&outcome, &["server", "tcp LISTEN", "10.0.0.2:81", "this test"]);
        has_line(&outcome, &["client/eth0", "packet", "B)"]);
    }
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn loopback_only(client: Node, server: Node) -> io::Result<()> {
    server.spawn(async || TcpListener::bind("127.0.0.1:80").await.expect("it is free").accept().await);
    server.wait_listening(80).await?;
    client.run(async || TcpStream::connect("server:80").await).await?;
    Ok(())
}

#[test]
fn a_listener_on_the_loopback_alone() {
    reports(
        "loopback_only",
        &[
            ": its body returned an error (which closed the sockets that it held)\n",
            "a listener on 127.0.0.1:80, which only this node itself can reach",
        ],
    );
}

#[netns_test(nodes = 3, topology = line, family = v4)]
#[ignore = "fails on purpose"]
async fn missing_route(client: Node, _router: Node, server: Node) {
    // Its routes go with the address that they give packets as their source.
    client.interface("lo").expect("it is there").remove_address(client.ip4(), 32).expect("it has it");
    client.connect_tcp((server.ip(), 80)).await.expect("there is a route");
}

#[test]
fn a_missing_route() {
    reports(
        "missing_route",
        &[
            "the address 10.0.0.1 of lo was removed",
            "the planned route to 10.0.0.3 (`server`) via 10.1.0.2 is gone",
        ],
    );
}

#[netns_test(nodes = 3, topology = line, family = v4, timeout = 3s)]
#[ignore = "fails on purpose"]
async fn router_that_does_not_forward(client: Node, router: Node, server: Node) {
    router.set_sysctl("net.ipv4.ip_forward", 0).expect("it is the node's own");
    let _listener = server.listen_tcp(80).await.expect("it is free");
    client.connect_tcp((server.ip(), 80)).await.expect("it answers");
}

#[test]
fn a_peer_that_never_answers_behind_a_router_that_does_not_forward() {
    reports(
        "router_that_does_not_forward",
        &[
            ": it timed out",
            "it does not forward IPv4 any more",
            "a connection to 10.0.0.3:80 is being tried: `server` does not answer",
            "tcp SYN-SENT",
            "for other hosts came and went no further",
        ],
    );
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn address_of_nobody(client: Node, _server: Node) {
    client.connect_tcp("10.0.9.9:80").await.expect("somebody answers");
}

#[test]
fn an_address_that_nobody_has() {
    reports(
        "address_of_nobody",
        &["client  the neighbour 10.0.9.9 on eth0 did not answer: no node has that address"],
    );
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn interface_down(client: Node, server: Node) {
    server.interface("eth0").expect("it is there").down().expect("it can be switched off");
    client
        .wait_until("the loss of the carrier", |client| Ok(!client.interface("eth0")?.link()?.carrier))
        .await
        .expect("the kernel says so");
    panic!("the server is not reachable");
}

#[test]
fn an_interface_that_is_down() {
    reports(
        "interface_down",
        &[
            "server  the interface eth0 is down: it was switched off",
            "client  the interface eth0 has no carrier: its other end, server/eth0, is down",
            "eth0 (no carrier) ────────── eth0 (down)",
        ],
    );
}

#[netns_test(nodes = 2, family = v4, timeout = 3s)]
#[ignore = "fails on purpose"]
async fn full_backlog(client: Node, server: Node) -> io::Result<()> {
    let socket = server.enter(TcpSocket::new_v4)?;
    socket.bind(SocketAddr::from((server.ip4(), 80)))?;
    let _listener = socket.listen(1)?;
    let mut connections = Vec::new();
    loop {
        connections.push(client.connect_tcp("server:80").await?);
    }
}

#[test]
fn a_full_backlog() {
    reports(
        "full_backlog",
        &[
            ": it timed out",
            "server  the backlog of the listener on 10.0.0.2:80 is full: 2 connections wait to be accepted",
            "client  a connection to 10.0.0.2:80 is being tried: the backlog of `server` is full",
            "met a listener whose backlog was full",
            "2 to accept, backlog 1",
        ],
    );
}

#[netns_test(nodes = 1, timeout = 4s)]
#[ignore = "fails on purpose"]
async fn dead_program(server: Node) -> Result<(), netns_test::Error> {
    let _child =
        server.command("sh").args(["-c", "echo cannot read its settings >&2; exit 3"]).spawn().await?;
    server.wait_listening(80).await
}

#[test]
fn a_program_that_died() {
    reports(
        "dead_program",
        &["server  the program `server/sh` ended with exit status: 3", "  cannot read its settings\n"],
    );
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn added_route(client: Node, server: Node) {
    let _listener = server.listen_tcp(80).await.expect("it is free");
    let add = ["route", "add", "unreachable", "10.0.0.2"];
    assert!(client.command("ip").args(add).output().await.expect("it is installed").status.success());
    client.connect_tcp("server:80").await.expect("it is reachable");
}

/// netns-test itself adds no routes for users yet, so `ip` has to.
#[test]
fn a_route_that_refuses() {
    if std::process::Command::new("ip").arg("-V").output().is_err() {
        return println!("not run: ip is not installed");
    }
    reports(
        "added_route",
        &[
            "client  a route refuses what is sent to 10.0.0.2 (`server`): unreachable",
            "Routes\n  client  unreachable 10.0.0.2 ",
        ],
    );
    for outcome in both("added_route") {
        has_line(&outcome, &["client  unreachable 10.0.0.2 ", "  added"]);
    }
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn unbound_port(client: Node, server: Node) -> io::Result<()> {
    let socket = client.bind_udp(53).await?;
    socket.connect((server.ip4(), 53)).await?;
    socket.send(b"anybody?").await?;
    socket.recv(&mut [0; 9]).await?;
    Ok(())
}

#[test]
fn a_udp_port_that_nobody_has_bound() {
    reports("unbound_port", &["server  1 datagram came for a UDP port that no socket had bound"]);
}

// Who failed, and who still ran.

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn panic_in_a_node(_client: Node, server: Node) {
    let listener = server.listen_tcp(7).await.expect("it is free");
    let port = listener.local_addr().expect("it has one").port();
    server.run(async move || panic!("the server broke on port {port}")).await;
}

/// The state is the one of the moment of the panic, when the body's sockets were still open.
#[test]
fn a_panic_is_shown_with_its_node_and_the_sockets_of_that_moment() {
    reports(
        "panic_in_a_node",
        &["Panics\n  server  thread `panic_in_a_node@server`, tests/tests/report.rs:"],
    );
    for outcome in both("panic_in_a_node") {
        has_line(&outcome, &["server", "tcp LISTEN", "[2001:db8::2]:7", "this test"]);
    }
}

#[netns_test(nodes = 1)]
#[ignore = "fails on purpose"]
async fn lost_panic(a: Node) {
    drop(a.spawn(async || panic!("lost")));
}

#[test]
fn a_lost_panic_is_shown_with_the_network_too() {
    reports("lost_panic", &["was not caught\n", "thread `lost_panic@a`", "Panics\n  a  "]);
}

/// Panics as it is dropped, which is when the test has ended.
struct Late;

impl Drop for Late {
    fn drop(&mut self) {
        panic!("in the end");
    }
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn late_panic(client: Node, server: Node) {
    let _sleeping = server.command("sleep").arg("1000").spawn().await.expect("a program");
    let (begins, begun) = tokio::sync::oneshot::channel();
    client.spawn(async || {
        let _late = Late;
        begins.send(()).expect("somebody waits");
        std::future::pending::<()>().await
    });
    begun.await.expect("it begins");
}

#[test]
fn what_the_end_of_the_test_ends_is_blamed_for_nothing() {
    for outcome in both("late_panic") {
        outcome.failed_with(&["in the end", "the network of `late_panic`"]);
        assert!(!outcome.stdout.contains("ended with signal"), "{outcome}");
    }
}

#[netns_test(nodes = 2, family = v4, timeout = 3s)]
#[ignore = "fails on purpose"]
async fn everybody_waits(client: Node, server: Node) -> io::Result<()> {
    let listener = server.enter(|| std::net::TcpListener::bind("10.0.0.2:80"))?;
    server.spawn_thread("accepts", move || listener.accept().map(|_| ()));
    let _program = client.command("sleep").arg("1000").spawn().await?;
    server.run(async || tokio::task::yield_now().await).await;
    client.spawn(async || tokio::task::spawn_blocking(|| std::thread::sleep(std::time::Duration::MAX)).await);
    server.run(async || std::future::pending().await).await
}

#[test]
fn a_timeout_shows_what_still_ran() {
    for outcome in both("everybody_waits") {
        outcome.failed_with(&["Still running\n  the body"]);
        has_line(&outcome, &["the body", "waits for I/O or a timer"]);
        has_line(&outcome, &["client", "thread `everybody_waits@client`", "sleeps"]);
        let lines = outcome.stdout.lines().filter(|line| line.contains("task of tests/tests/report.rs:"));
        let tasks: Vec<&str> = lines.collect();
        assert_eq!(tasks.len(), 2, "what is done is not told: {outcome}");
        has_line(&outcome, &["client", "task of tests/tests/report.rs:", "is not done after "]);
        has_line(&outcome, &["server", "task of tests/tests/report.rs:", "is not done after "]);
        has_line(
            &outcome,
            &["server", "thread `accepts`", "waits for a connection on tcp 10.0.0.2:80 (accept"],
        );
        assert!(!outcome.stdout.contains("client/sleep"), "the crate's own threads are noise: {outcome}");
        has_line(&outcome, &["client", "program `sleep`"]);
    }
}

#[test]
#[ignore = "run as a program by `socket_of_a_program`"]
fn listens_as_a_program() {
    let listener = std::net::TcpListener::bind("0.0.0.0:80").expect("it is free");
    listener.accept().expect("somebody comes");
}

#[netns_test(nodes = 1)]
#[ignore = "fails on purpose"]
async fn socket_of_a_program(server: Node) -> io::Result<()> {
    let arguments = ["--exact", "listens_as_a_program", "--ignored"];
    let _program = server.command(std::env::current_exe()?).args(arguments).spawn().await?;
    server.wait_listening(80).await?;
    panic!("it listens");
}

#[test]
fn a_socket_is_shown_with_the_program_that_holds_it() {
    for outcome in both("socket_of_a_program") {
        outcome.failed_with(&["it listens"]);
        has_line(&outcome, &["server", "tcp LISTEN", "0.0.0.0:80", "program `"]);
    }
}

// When there is a report, and that it never gets into the way.

#[netns_test(nodes = 2)]
#[ignore = "run by its proof"]
async fn passes(client: Node, server: Node) -> io::Result<()> {
    // In the background, so that it is still there when the body has returned.
    server.spawn(async || {
        let listener = TcpListener::bind("[::]:81").await.expect("it is free");
        while listener.accept().await.is_ok() {}
    });
    server.wait_listening(81).await?;
    client.connect_tcp("server:81").await?;
    Ok(())
}

#[test]
fn the_environment_says_when_there_is_a_report() {
    let with = |name: &str, value: &str| rerun(name).arg("--nocapture").env("NETNS_TEST_REPORT", value).run();
    let report = "netns-test: the network of";
    let outcome = rerun("passes").arg("--nocapture").run();
    outcome.passed();
    assert!(!outcome.stderr.contains(report), "{outcome}");
    let outcome = with("passes", "always");
    outcome.passed();
    outcome.says(&[report, ": the test passed", "tcp LISTEN"]);
    let outcome = with("refused_port", "never");
    assert!(!outcome.status.success() && !outcome.stderr.contains(report), "{outcome}");
    outcome.says(&["the server listens"]);
    let outcome = with("passes", "sometimes");
    assert!(!outcome.status.success(), "{outcome}");
    outcome.says(&["NETNS_TEST_REPORT is `sometimes`: expected `always` or `never`"]);
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let names = ["CAPTURE", "DIR", "LIST", "LOG", "PAUSE", "REPORT", "SEED", "SWITCH", "TIMEOUT", "WIRE"];
    let run = names.iter().fold(rerun("passes"), |run, name| run.env(&format!("NETNS_TEST_{name}"), ""));
    run.run().passed();
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn alone() {
    TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).await.expect("somebody listens");
}

#[test]
fn a_test_without_nodes_has_a_report_of_its_body() {
    reports("alone", &["the body  1 connection attempt was refused here", "the body/lo"]);
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    // script(1) gives it a terminal.
    let on_terminal = |no_color: &str, argument: &str| {
        let run = rerun("alone").arg(argument).env("NO_COLOR", no_color);
        run.in_shell("exec script -qec \"$*\" /dev/null").run().stdout
    };
    let (coloured, plain) = ("\u{1b}[1mthe network of `alone`", "netns-test: the network of `alone`");
    let told = on_terminal("", "--nocapture");
    assert!(told.contains(coloured), "{told}");
    for (no_color, argument) in [("1", "--nocapture"), ("", "--quiet")] {
        let told = on_terminal(no_color, argument);
        assert!(told.contains(plain) && !told.contains(coloured), "{told}");
    }
    let outcome = rerun("alone").arg("--nocapture").env("NO_COLOR", "").run();
    outcome.says(&[plain]);
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn out_of_files(_client: Node, _server: Node) {
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    panic!("the test's own failure");
}

#[test]
fn what_cannot_be_collected_is_said_and_hides_nothing() {
    let outcome = rerun("out_of_files").in_shell("ulimit -n 300; exec \"$@\"").run();
    outcome.failed_with(&["the test's own failure", "Not known\n", "the state of client: "]);
}

/// No thread can be started while it lives.
struct NoThreads(libc::rlimit);

impl NoThreads {
    fn begin() -> Self {
        let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one `rlimit`, which lives on this stack.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut before) }, 0);
        Self::set(libc::rlimit { rlim_cur: 1, ..before });
        Self(before)
    }

    fn set(limit: libc::rlimit) {
        // SAFETY: the kernel reads one `rlimit`, which lives on this stack.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for NoThreads {
    fn drop(&mut self) {
        Self::set(self.0);
    }
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn out_of_threads(_client: Node, _server: Node) {
    // Until the panic has been looked at, which takes a thread.
    let _none = NoThreads::begin();
    panic!("the test's own failure");
}

#[test]
fn a_report_that_cannot_be_made_is_one_line_that_says_why() {
    // For root there is no such limit.
    let outcome = rerun("out_of_threads").as_ordinary_user().run();
    outcome.failed_with(&[
        "the test's own failure",
        "netns-test: there is no report on the network: failed to ",
    ]);
    let lines = outcome.stdout.lines().filter(|line| line.contains("report on the network"));
    assert_eq!(lines.count(), 1, "{outcome}");
    assert!(
        !outcome.stdout.contains("What stands out") && !outcome.stdout.contains("\nTraffic "),
        "{outcome}"
    );
}

#[netns_test(nodes = 100, timeout = 20s)]
#[ignore = "fails on purpose"]
async fn large(nodes: [Node; 100]) {
    panic!("{} nodes", nodes.len());
}

#[test]
fn a_large_network_is_abbreviated() {
    let outcome = rerun("large").run();
    outcome.failed_with(&["100 nodes on a switch\n", "… and 89 more nodes\n"]);
    assert!(outcome.stdout.lines().count() < 60, "{outcome}");
}

#[test]
fn a_test_that_is_to_panic_has_no_report() {
    let outcome = Rerun::with(&["--exact", "panics_as_it_should", "--nocapture"]).run();
    outcome.passed();
    assert!(!outcome.stderr.contains("the network of"), "{outcome}");
}

#[netns_test]
#[should_panic(expected = "as it should")]
async fn panics_as_it_should(_a: Node) {
    panic!("as it should")
}
