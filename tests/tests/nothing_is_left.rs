//! Promise 7: nothing is left. What a test made ends with it, and with the process, however that ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

use netns_test::{Network, Node, netns_test};
use netns_test_tests::{Rerun, rerun};

/// The inode of the calling thread's network namespace.
fn own_netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("it is there").ino()
}

/// Whether some thread of this process is in a network namespace.
fn is_inhabited(inode: u64) -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("it is there").flatten();
    tasks.map(|task| task.path().join("ns/net")).any(|link| fs::metadata(link).is_ok_and(|data| data.ino() == inode))
}

/// Waits for a condition that holds soon; libtest's own end bounds it.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..5000 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("waited for {what}");
}

// Within one process.

#[netns_test]
#[ignore = "fails on purpose, in the company of its proof"]
async fn leaves_threads_behind(server: Node) {
    let (tell, told) = std::sync::mpsc::channel();
    let inside = server.clone();
    let _blocked = server.spawn_thread("blocked", move || {
        let listener = inside.blocking_listen_tcp(80).expect("nobody else listens");
        tell.send(()).expect("the body waits");
        let error = listener.accept().expect_err("nobody connects");
        // Past libtest's capture, since the test has ended.
        std::io::Write::write_all(&mut std::io::stderr(), format!("accept returned: {error}\n").as_bytes())
            .expect("there is a standard error");
    });
    told.recv().expect("the thread listens");
    panic!("the test fails");
}

#[test]
fn a_call_that_blocks_on_a_socket_returns_when_the_test_ends() {
    let outcome = rerun("leaves_threads_behind").arg("--nocapture").run();
    outcome.says(&["the test fails", "accept returned: "]);
    assert!(!outcome.stderr.contains("left behind"), "{outcome}");
}

#[netns_test]
#[ignore = "run by its proof"]
async fn starts_processes(a: Node, network: Network) {
    println!("netns {}", a.run(async || own_netns()).await);
    let spawned = a.run(async || {
        // A child, a child of a child that outlives its parent, and one in a session of its own.
        let direct = Command::new("sleep").arg("1000").spawn().expect("sleep is there");
        let script = "sleep 1000 & setsid sleep 1000 & echo started; exec sleep 1000";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line)?;
        std::io::Result::Ok((direct.id(), shell.id(), line))
    });
    let (direct, shell, line) = spawned.await.expect("they start");
    assert_eq!((line.trim(), network.nodes().len()), ("started", 1));
    println!("children {direct} {shell}");
}

/// The processes in a network namespace.
fn inhabitants(inode: u64) -> BTreeSet<u32> {
    let processes = fs::read_dir("/proc").expect("it is there").flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| fs::metadata(format!("/proc/{process}/ns/net")).is_ok_and(|data| data.ino() == inode))
        .collect()
}

#[test]
fn processes_that_a_tests_code_started_die_with_the_test() {
    let outcome = rerun("starts_processes").arg("--show-output").run();
    outcome.passed();
    let inode = outcome.stdout.split("netns ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let inode: u64 = inode.expect("the test names it").parse().expect("a number");
    assert!(inhabitants(inode).is_empty(), "{outcome}");
}

static ENDED: std::sync::OnceLock<u64> = std::sync::OnceLock::new();

#[netns_test]
#[ignore = "run by its proof"]
async fn ends_first(network: Network, a: Node) {
    a.run(async || {
        tokio::spawn(std::future::pending::<()>());
        tokio::task::spawn_blocking(|| {}).await.expect("it does not panic");
    })
    .await;
    assert_eq!(network.nodes().len(), 1);
    let inode = a.run(async || own_netns()).await;
    ENDED.set(inode).expect("once");
}

#[test]
#[ignore = "run by its proof"]
fn ends_second_and_looks_around() {
    let inode = *ENDED.get().expect("libtest runs tests in the order of their names");
    eventually("the threads of an ended test", || !is_inhabited(inode));
}

#[test]
fn no_thread_stays_in_the_namespaces_of_an_ended_test() {
    let outcome = Rerun::with(&["--ignored", "ends_", "--test-threads=1"]).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["2 passed; 0 failed"]);
}

#[netns_test]
#[ignore = "run by its proof"]
async fn keeps_a_handle(a: Node) {
    static KEPT: std::sync::Mutex<Option<Node>> = std::sync::Mutex::new(None);
    let earlier = KEPT.lock().expect("no panic").replace(a);
    assert!(earlier.is_none());
}

// The end of the process.

#[netns_test]
#[ignore = "killed by its proof"]
async fn waits_to_be_killed(a: Node, b: Node) {
    let inodes = [own_netns(), a.run(async || own_netns()).await, b.run(async || own_netns()).await];
    let text: Vec<String> = inodes.iter().map(ToString::to_string).collect();
    println!("namespaces {}", text.join(" "));
    std::future::pending().await
}

/// The network namespaces that this user can see a process in.
fn visible_namespaces() -> BTreeSet<u64> {
    let processes = fs::read_dir("/proc").expect("it is there").flatten().map(|entry| entry.path());
    let tasks = processes.filter_map(|process| fs::read_dir(process.join("task")).ok()).flatten().flatten();
    tasks.filter_map(|task| Some(fs::metadata(task.path().join("ns/net")).ok()?.ino())).collect()
}

fn files_of(process: u32) -> Vec<PathBuf> {
    let temporary = fs::read_dir(std::env::temp_dir()).expect("it is there").flatten().map(|entry| entry.path());
    temporary.filter(|path| path.to_string_lossy().contains(&format!("-{process}"))).collect()
}

#[test]
fn a_killed_process_leaves_no_namespace_mount_or_file() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let before = mounts();
    let mut running = rerun("waits_to_be_killed").arg("--nocapture").spawn();
    let mut output = BufReader::new(running.child.stdout.take().expect("piped"));
    let mut line = String::new();
    while !line.starts_with("namespaces ") {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended early");
    }
    let inodes: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().expect("a number")).collect();
    assert_eq!(inodes.len(), 3, "{line}");
    assert!(inodes.iter().all(|inode| visible_namespaces().contains(inode)), "{line}");
    running.child.kill().expect("it is ours");
    running.child.wait().expect("it is ours");
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("text");
    assert!(inodes.iter().all(|inode| !visible_namespaces().contains(inode)), "{line}");
    assert_eq!(mounts(), before);
    assert_eq!(files_of(running.child.id()), Vec::<PathBuf>::new());
}

#[test]
fn a_handle_that_outlives_its_test_keeps_nothing_else_from_ending() {
    rerun("keeps_a_handle").run().passed();
}
