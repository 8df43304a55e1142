//! A network without a test: for programs and benchmarks, in a binary in which nothing is prepared before `main`.
//!
//! The binary has a `main` of its own (`harness = false`), since libtest has threads. It runs itself again as each of the programs.

use std::io::{self, Read as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use netns_test::{Node, Topology};
use netns_test_tests::Rerun;
use tokio::io::AsyncWriteExt as _;

fn two_nodes() -> Topology {
    let mut topology = Topology::new();
    topology.node("client").node("server").alias("server", "relay.test").link("client", "server");
    topology
}

fn children() -> usize {
    let tasks = std::fs::read_to_string("/proc/thread-self/children").expect("the kernel tells children");
    tasks.split_whitespace().count()
}

/// The programs, by name.
const PROGRAMS: [(&str, fn()); 8] = [
    ("blocking", blocking),
    ("asynchronous", asynchronous),
    ("captures", captures),
    ("panics", panics),
    ("loses_a_panic", loses_a_panic),
    ("refuses", refuses),
    ("has_threads", has_threads),
    ("inits", inits),
];

const PROGRAM: &str = "NETNS_PROOF_PROGRAM";

fn program(name: &str) -> Rerun {
    Rerun::with(&[]).env(PROGRAM, name)
}

#[track_caller]
fn succeeds(name: &str) {
    for outcome in [program(name).run(), program(name).as_ordinary_user().run()] {
        assert!(outcome.status.success(), "`{name}` was to succeed: {outcome}");
    }
}

#[track_caller]
fn fails_with(name: &str, texts: &[&str]) {
    for outcome in [program(name).run(), program(name).as_ordinary_user().run()] {
        assert!(!outcome.status.success(), "`{name}` was to fail: {outcome}");
        outcome.says(texts);
    }
}

fn main() {
    let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
    if has("--list") {
        // As cargo-nextest wants it of a binary without libtest.
        if !has("--ignored") {
            println!("programs: test");
        }
        return;
    }
    if let Ok(name) = std::env::var(PROGRAM) {
        let (_, run) = PROGRAMS.iter().find(|(known, _)| *known == name).expect("a program");
        return run();
    }
    // One network after the other, and several at once on any thread.
    ["blocking", "asynchronous", "captures", "inits"].into_iter().for_each(succeeds);
    // What is wrong is told: by an error, or by the body's own panic, with the network.
    ["loses_a_panic", "refuses"].into_iter().for_each(succeeds);
    fails_with("panics", &["the body's own words", "the network of `network`", "eth0"]);
    let advice = "call `netns_test::init()` first in `main`";
    fails_with("has_threads", &["the process has threads already", advice]);
}

fn blocking() {
    let before = children();
    let mut borrowed = Vec::new();
    let network = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    for round in 0..3 {
        let peer = two_nodes().run(|network| -> io::Result<_> {
            let (client, server) = (network.node("client")?, network.node("server")?);
            let listener = server.blocking_listen_tcp(7)?;
            client.blocking_connect_tcp("relay.test:7")?.write_all(b"hi")?;
            let (mut stream, peer) = listener.accept()?;
            stream.read_to_end(&mut borrowed)?;
            // A program that nobody ends.
            server.command("sleep").arg("1000").blocking_spawn()?;
            Ok((peer.ip(), client.ip()))
        });
        let (peer, client) = peer.expect("the network").expect("its sockets");
        assert_eq!(peer, client, "in round {round}");
    }
    assert_eq!(borrowed, b"hihihi");
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace"), network);
    // The janitor stays, and cleans up after the process.
    assert_eq!(children(), before + 1);
}

fn asynchronous() {
    let ran = two_nodes().run_async(async |network| -> io::Result<()> {
        let (client, server) = (network.node("client")?, network.node("server")?);
        let listener = server.listen_tcp(7).await?;
        // On the runtime of the network.
        let out =
            tokio::task::spawn_local(
                async move { client.connect_tcp("server:7").await?.write_all(b"hi").await },
            );
        listener.accept().await?;
        out.await?
    });
    ran.expect("the network").expect("its sockets");
}

/// Descriptors that are open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("the kernel lists them").count()
}

fn captures() {
    let mut open = Vec::new();
    for _ in 0..30 {
        let seen = two_nodes().run(|network| -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
            let capture = network.capture()?;
            let (client, server) = (network.node("client")?, network.node("server")?);
            client.blocking_bind_udp(9)?.send_to(b"hi", (server.ip(), 7))?;
            Ok(capture.blocking_until("the word", |packet| packet.contains("hi"))?.is_sent())
        });
        assert!(seen.expect("the network").expect("the packet"));
        open.push(descriptors());
    }
    // The namespaces of networks that have ended wait to be released, nine of each. Beside them nothing is left: the sockets that
    // packets were read from are closed by another thread, soon.
    let beside = |open: usize, networks: usize| open.saturating_sub(networks * 9);
    let least = open.iter().enumerate().map(|(index, open)| beside(*open, index + 1)).min();
    let deadline = Instant::now() + Duration::from_secs(60);
    while Some(beside(descriptors(), open.len())) > least {
        assert!(Instant::now() < deadline, "{}: {open:?}", descriptors());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn panics() {
    let _ran = two_nodes().run(|network| {
        network.node("server").expect("a node").blocking_listen_tcp(7).expect("a port");
        panic!("the body's own words");
    });
}

fn loses_a_panic() {
    let ran = two_nodes().run(|network| {
        let server: Node = network.node("server").expect("a node");
        // The thread ends before the network does: its channel closes.
        let (alive, gone) = std::sync::mpsc::channel::<()>();
        server.spawn_thread("worker", move || {
            let _alive = alive;
            panic!("in the background");
        });
        gone.recv().expect_err("nothing is sent");
    });
    let error = ran.expect_err("the panic is told").to_string();
    assert!(error.contains("in the background") && error.contains("the node `server`"), "{error}");
}

fn refuses() {
    let mut topology = two_nodes();
    topology.link("client", "sever");
    let error = topology.run(|_| ()).expect_err("there is no such node").to_string();
    assert_eq!(error, "failed to build the topology: there is no `sever`: did you mean `server`?");
}

fn has_threads() {
    let _thread = std::thread::spawn(|| {
        loop {
            std::thread::park();
        }
    });
    two_nodes().run(|_| ()).expect("the network");
}

fn inits() {
    netns_test::init().expect("the process can be prepared");
    // From now on, threads do not matter.
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let ip = two_nodes().run(|network| network.node("server").expect("a node").ip4());
                found.lock().expect("no panic").push(ip.expect("the network"));
            });
        }
    });
    assert_eq!(found.into_inner().expect("no panic").len(), 4);
}
