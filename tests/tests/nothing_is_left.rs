//! Promise 7: nothing is left. What a test made ends with it, and with the process, however that ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use netns_test::{Node, netns_test};
use netns_test_tests::{Rerun, rerun};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

/// The inode of the calling thread's network namespace.
fn own_netns() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("it is there").ino()
}

/// Whether some thread of this process is in a network namespace.
fn is_inhabited(inode: u64) -> bool {
    let tasks = fs::read_dir("/proc/self/task").expect("it is there").flatten();
    tasks
        .map(|task| task.path().join("ns/net"))
        .any(|link| fs::metadata(link).is_ok_and(|data| data.ino() == inode))
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
fn passes_and_leaves_threads_behind(a: Node) {
    let (tell, told) = std::sync::mpsc::channel();
    let parks = move || {
        tell.send(()).expect("the body waits");
        loop {
            std::thread::park();
        }
    };
    a.spawn_thread("parks", parks.clone());
    std::thread::Builder::new().name("parks".to_owned()).spawn(parks).expect("it starts");
    told.iter().take(2).for_each(drop);
}

#[netns_test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by its proof"]
async fn passes_and_leaves_no_thread_behind(a: Node) {
    let everything = async || {
        tokio::spawn(std::future::pending::<()>());
        tokio::task::spawn_blocking(|| {}).await.expect("it does not panic");
        let listener = std::net::TcpListener::bind("[::]:80").expect("nobody else listens");
        std::thread::spawn(move || listener.accept());
    };
    everything().await;
    a.run(everything).await;
}

#[test]
fn threads_that_a_passing_test_leaves_behind_are_told() {
    let outcome = rerun("passes_and_leaves_threads_behind").arg("--show-output").run();
    outcome.passed();
    // The kernel keeps 15 characters of a name.
    outcome.says(&["2 threads were left behind", "`passes_and_leav`, which blocks", "`parks`, which blocks"]);
    let outcome = rerun("passes_and_leaves_threads_behind").run();
    outcome.passed();
    assert!(!format!("{outcome}").contains("left behind:"), "it is told to who asks for output: {outcome}");
    let outcome = rerun("passes_and_leaves_no_thread_behind").arg("--show-output").run();
    outcome.passed();
    assert!(!format!("{outcome}").contains("left behind:"), "{outcome}");
}

/// Receives from a socket until the call says that this is the end.
fn receive_to_the_end(socket: &OwnedFd) -> String {
    let mut buffer = [0; 2048];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) => return "nothing more".to_owned(),
            // A packet that came by.
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[netns_test]
#[ignore = "fails on purpose, in the company of its proof"]
fn leaves_threads_on_other_sockets_behind(server: Node) -> std::io::Result<()> {
    let group = nix::unistd::getegid();
    server.set_sysctl("net.ipv4.ping_group_range", format!("{group} {group}"))?;
    let open = |family, kind, protocol| socket(family, kind, SockFlag::SOCK_CLOEXEC, protocol);
    let name = |name: &str| UnixAddr::from_abstract_name(name);
    let (received, others) = server.enter(|| {
        let datagrams = UnixDatagram::bind_addr(&name("datagrams")?)?;
        let listener = UnixListener::bind_addr(&name("listener")?)?;
        let client = UnixStream::connect_addr(&name("listener")?)?;
        let received = [
            ("raw", open(AddressFamily::Inet, SockType::Raw, SockProtocol::Icmp)?),
            ("raw6", open(AddressFamily::Inet6, SockType::Raw, SockProtocol::IcmpV6)?),
            ("ping", open(AddressFamily::Inet, SockType::Datagram, SockProtocol::Icmp)?),
            ("packet", open(AddressFamily::Packet, SockType::Raw, SockProtocol::EthAll)?),
            ("datagrams", datagrams.into()),
            ("client", client.into()),
            ("accepted", listener.accept()?.0.into()),
        ];
        std::io::Result::Ok((received, (listener, UnixStream::pair()?)))
    })?;
    let say = |text: String| {
        // Past libtest's capture, since the test has ended.
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())
            .expect("there is a standard error");
    };
    for (name, socket) in received {
        let _blocked = server.spawn_thread(name, move || {
            say(format!("{name} returned: {}\n", receive_to_the_end(&socket)));
        });
    }
    let (listener, (one, other)) = others;
    let _blocked = server.spawn_thread("listener", move || {
        say(format!("listener returned: {}\n", listener.accept().expect_err("nobody connects")));
    });
    // A pair has no address, so it may be a library's: it is left alone.
    let _blocked = server.spawn_thread("pair", move || {
        let _held = other;
        receive_to_the_end(&one.into())
    });
    panic!("the test fails");
}

#[test]
fn calls_that_block_on_raw_packet_and_unix_sockets_return_when_the_test_ends() {
    let outcome = rerun("leaves_threads_on_other_sockets_behind").arg("--nocapture").run();
    let names = ["raw", "raw6", "ping", "packet", "datagrams", "client", "accepted", "listener"];
    let told = names.map(|name| format!("{name} returned: "));
    outcome.says(&told.each_ref().map(String::as_str));
    // The pair's thread blocks on.
    outcome.says(&["the test fails", "1 thread was left behind: ", ", which blocks"]);
}

/// Starts four processes in a node, and prints their numbers.
async fn start_processes(a: &Node) -> std::io::Result<()> {
    let line = a.run(async || {
        // A child, a child of a child that outlives its parent, and one in a session of its own.
        let direct = Command::new("sleep").arg("1000").spawn()?;
        let script = "sleep 1000 & first=$!; setsid sleep 1000 & echo $first $!; exec sleep 1000";
        let mut shell = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn()?;
        let mut line = format!("{} {} ", direct.id(), shell.id());
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line)?;
        std::io::Result::Ok(line)
    });
    println!("processes {}", line.await?);
    Ok(())
}

#[netns_test]
#[ignore = "run by its proof"]
async fn starts_processes(a: Node) -> std::io::Result<()> {
    start_processes(&a).await
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn starts_processes_and_panics(a: Node) {
    start_processes(&a).await.expect("they start");
    panic!("the test fails");
}

// Long enough to start them on a busy machine.
#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
async fn starts_processes_and_waits(a: Node) {
    start_processes(&a).await.expect("they start");
    std::future::pending().await
}

#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
fn starts_processes_and_loops(a: Node) {
    let same = a.clone();
    a.blocking_run(async move || start_processes(&same).await).expect("they start");
    loop {
        std::hint::spin_loop();
    }
}

/// A daemon: its parent has ended and been reaped.
#[netns_test]
#[ignore = "run by its proof"]
fn starts_a_daemon(a: Node) {
    let script = "setsid sleep 1000 > /dev/null 2>&1 & echo $!";
    let output = a.enter(|| Command::new("sh").args(["-c", script]).output()).expect("it starts");
    println!("processes {}", String::from_utf8(output.stdout).expect("a number"));
}

#[test]
fn processes_that_a_tests_code_started_die_with_the_test() {
    let ways = [
        ("starts_processes", 4),
        ("starts_processes_and_panics", 4),
        ("starts_processes_and_waits", 4),
        ("starts_processes_and_loops", 4),
        ("starts_a_daemon", 1),
    ];
    for (way, count) in ways {
        let outcome = rerun(way).arg("--show-output").run();
        assert_eq!(outcome.status.success(), !way.contains("_and_"), "{outcome}");
        let line =
            outcome.stdout.lines().find_map(|line| line.strip_prefix("processes ")).expect("it prints them");
        let processes: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(processes.len(), count, "{outcome}");
        for process in processes {
            // An orphan that nobody reaps keeps its number, and has no command line.
            let command = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
            assert!(!command.contains("sleep"), "process {process} lives: {outcome}");
        }
    }
}

/// The process that a thread started when its test had ended.
static LATE: OnceLock<u32> = OnceLock::new();

#[netns_test]
#[ignore = "run by its proof"]
fn has_a_thread_that_starts_a_process_late(a: Node) {
    let node = a.clone();
    a.spawn_thread("late", move || {
        while node.links().is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let child = Command::new("sleep").arg("1000").stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        LATE.get_or_init(|| child.expect("it starts").id());
        loop {
            std::thread::park();
        }
    });
}

#[test]
#[ignore = "run by its proof"]
fn lets_a_thread_start_a_process_late() {
    eventually("a process of an ended test", || LATE.get().is_some());
    println!("process {}", LATE.get().expect("it was started"));
}

#[test]
fn processes_that_a_thread_starts_after_its_test_die_with_the_test_process() {
    let names = ["has_a_thread_that_starts_a_process_late", "lets_a_thread_start_a_process_late"];
    let outcome =
        Rerun::with(&["--ignored", "--test-threads=1", "--show-output"]).arg(names[0]).arg(names[1]).run();
    assert!(outcome.status.success(), "{outcome}");
    let process =
        outcome.stdout.lines().find_map(|line| line.strip_prefix("process ")).expect("it is printed");
    let command = || fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    eventually("the end of the late process", || !command().contains("sleep"));
}

/// What an ended test leaves to look at: its node, and the node's namespace.
static ENDED: OnceLock<(Node, u64)> = OnceLock::new();

/// How many futures were dropped.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct CountsItsDrop;

impl Drop for CountsItsDrop {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

async fn waits_for_ever() {
    let _told = CountsItsDrop;
    std::future::pending().await
}

#[netns_test]
#[ignore = "run by its proof"]
async fn ends_first(a: Node) {
    tokio::spawn(waits_for_ever());
    drop(a.spawn(waits_for_ever));
    a.run(async || {
        tokio::spawn(waits_for_ever());
        tokio::task::spawn_blocking(|| {}).await.expect("it does not panic");
    })
    .await;
    let inode = a.run(async || own_netns()).await;
    assert!(is_inhabited(inode));
    ENDED.set((a, inode)).expect("once");
}

#[test]
#[ignore = "run by its proof"]
fn ends_second_and_looks_around() {
    let (node, inode) = ENDED.get().expect("libtest runs tests in the order of their names");
    eventually("the threads of an ended test", || !is_inhabited(*inode));
    assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
    // A handle that outlived its test says so.
    let ended = "the node `a` belongs to the test `ends_first`, which has ended";
    assert_eq!(node.name(), "a");
    for error in [
        node.blocking_listen_tcp(80).unwrap_err(),
        node.blocking_connect_tcp("a:80").unwrap_err(),
        node.blocking_bind_udp(0).unwrap_err(),
        node.links().unwrap_err(),
        node.sockets().unwrap_err(),
        node.sysctl("net.ipv4.ip_forward").unwrap_err(),
        node.network().unwrap_err(),
        node.blocking_wait_listening(80).unwrap_err().into(),
    ] {
        assert!(error.to_string().contains(ended), "{error}");
    }
    let panics: [fn(&Node); 4] = [
        |node| node.enter(|| ()),
        |node| node.blocking_run(async || ()),
        |node| drop(node.spawn(async || ())),
        |node| drop(node.spawn_thread("late", || ())),
    ];
    for late in panics {
        let payload = catch_unwind(AssertUnwindSafe(|| late(node))).expect_err("the test has ended");
        let text = payload.downcast_ref::<String>().expect("a message");
        assert!(text.contains(ended), "{text}");
    }
}

#[test]
fn no_thread_task_or_working_handle_stays_after_a_test() {
    let outcome = Rerun::with(&["--ignored", "ends_", "--test-threads=1"]).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["2 passed; 0 failed"]);
}

/// The namespaces of nodes that a thread left behind has asked, one after another, until the test's end.
static ASKED: OnceLock<Vec<u64>> = OnceLock::new();

#[netns_test]
#[ignore = "run by its proof"]
fn lets_its_nodes_be_asked_at_the_end(node: [Node; 20]) {
    let inodes = node.iter().map(|node| fs::File::from(node.netns_fd().try_clone_to_owned().unwrap()));
    ASKED.set(inodes.map(|netns| netns.metadata().unwrap().ino()).collect()).expect("once");
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for node in node {
            // The last ones come too late.
            let asked = catch_unwind(AssertUnwindSafe(|| drop(node.spawn(std::future::pending::<()>))));
            let _ended = tell.send(());
            if asked.is_err() {
                return;
            }
        }
    });
    for _ in 0..5 {
        told.recv().expect("it asks");
    }
}

#[test]
#[ignore = "run by its proof"]
fn looks_for_threads_of_nodes_that_were_asked() {
    let inodes = ASKED.get().expect("libtest runs tests in the order of their names");
    eventually("the threads of nodes", || !inodes.iter().any(|inode| is_inhabited(*inode)));
}

#[test]
fn no_thread_of_a_node_begins_after_the_end() {
    let outcome = Rerun::with(&["--ignored", "asked", "--test-threads=1"]).run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["2 passed; 0 failed"]);
}

// The end of the process.

#[netns_test]
#[ignore = "ended by its proof"]
async fn waits_for_the_end(a: Node, b: Node) {
    let inodes = [own_netns(), a.run(async || own_netns()).await, b.run(async || own_netns()).await];
    let text: Vec<String> = inodes.iter().map(ToString::to_string).collect();
    // On one processor, libtest has begun the line.
    println!("\nnamespaces {}", text.join(" "));
    // The proof has looked when it closes this.
    let looked = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    looked.await.expect("it does not panic").expect("a line or the end");
    match std::env::var("PROOF_END").expect("the proof sets it").as_str() {
        "success" => {}
        "panic" => panic!("the test fails"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        _killed => std::future::pending().await,
    }
}

/// The network namespaces that this user can see a process in, or held open by one.
fn visible_namespaces() -> BTreeSet<u64> {
    let mut inodes = BTreeSet::new();
    let list = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    for process in list("/proc".into()) {
        let inhabited = list(process.join("task")).map(|task| task.join("ns/net"));
        let held = list(process.join("fd"));
        for link in inhabited.chain(held) {
            let name = fs::read_link(link).unwrap_or_default();
            let inode: Option<u64> =
                name.to_str().and_then(|name| name.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok());
            inodes.extend(inode);
        }
    }
    inodes
}

/// The interfaces of the host that have a name that this crate gives.
fn interfaces() -> BTreeSet<String> {
    let all = fs::read_dir("/sys/class/net").expect("it is there").flatten();
    let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| ["eth", "port", "trunk", "switch"].iter().any(|own| name.starts_with(own))).collect()
}

fn temporary_files() -> BTreeSet<PathBuf> {
    fs::read_dir(std::env::temp_dir()).expect("it is there").flatten().map(|entry| entry.path()).collect()
}

/// Whether a file is named for a process.
fn is_of(path: &Path, process: u32) -> bool {
    let name = path.to_string_lossy();
    name.split(|character: char| !character.is_ascii_digit()).any(|number| number == process.to_string())
}

#[test]
fn an_ended_process_leaves_no_namespace_interface_mount_or_file() {
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    let before = (mounts(), interfaces());
    for end in ["success", "panic", "exit", "abort", "kill"] {
        let old_files = temporary_files();
        let mut running =
            rerun("waits_for_the_end").arg("--nocapture").env("PROOF_END", end).interactive().spawn();
        let mut output = BufReader::new(running.child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.starts_with("namespaces ") {
            line.clear();
            assert_ne!(output.read_line(&mut line).expect("text"), 0, "{end}: it ended early");
        }
        let inodes: BTreeSet<u64> =
            line.split_whitespace().skip(1).map(|word| word.parse().expect("a number")).collect();
        assert_eq!(inodes.len(), 3, "{end}: {line}");
        assert!(visible_namespaces().is_superset(&inodes), "{end}: {line}");
        if end == "kill" {
            running.child.kill().expect("it is ours");
        }
        drop(running.child.stdin.take());
        std::io::copy(&mut output, &mut std::io::sink()).expect("the rest of its output");
        let status = running.child.wait().expect("it is ours");
        assert_eq!(status.success(), end == "success", "{end}: {status}");
        // The kernel gives their numbers to new namespaces, of other processes for instance. Those pass; what is left stays.
        eventually("the end of the namespaces", || visible_namespaces().is_disjoint(&inodes));
        let new_files = &temporary_files() - &old_files;
        let left: Vec<_> = new_files.iter().filter(|path| is_of(path, running.child.id())).collect();
        assert!(left.is_empty(), "{end}: {left:?}");
        assert_eq!((mounts(), interfaces()), before, "{end}");
    }
}

#[netns_test]
#[ignore = "ended by its proof"]
async fn has_a_program_that_stays(a: Node) -> std::io::Result<()> {
    let program = a.command("sleep").arg("1000").spawn().await?;
    println!("\nprogram {}", program.id());
    // The proof closes this when it is over.
    let over = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    over.await.expect("it does not panic")?;
    assert_eq!(program.try_wait(), None, "somebody has ended it");
    Ok(())
}

/// Waits for a line of a test that runs, and returns what follows the word that it begins with.
fn line_of(output: &mut impl std::io::BufRead, word: &str) -> String {
    let mut line = String::new();
    while !line.starts_with(word) {
        line.clear();
        assert_ne!(output.read_line(&mut line).expect("text"), 0, "it ended before it said `{word}`");
    }
    line[word.len()..].trim().to_owned()
}

/// The numbers of the namespaces that the threads of a process are in, but those that this process is in, too.
fn namespaces_of(process: u32) -> BTreeSet<u64> {
    let of = |directory: PathBuf| {
        let kinds = ["net", "mnt", "uts"].map(|kind| directory.join("ns").join(kind));
        kinds
            .into_iter()
            .filter_map(|link| fs::metadata(link).ok())
            .map(|data| data.ino())
            .collect::<Vec<_>>()
    };
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let all: BTreeSet<u64> = tasks.flat_map(|task| of(task.path())).collect();
    &all - &of("/proc/self".into()).into_iter().collect()
}

/// The process that cleans up after a test process.
fn janitor_of(process: u32) -> Option<u32> {
    let all = fs::read_dir("/proc").expect("it is there").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|candidate: &u32| {
        let stat = fs::read_to_string(format!("/proc/{candidate}/stat")).unwrap_or_default();
        stat.split_once("(netns-janitor) ")
            .is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&process.to_string()))
    })
}

fn send_signal(signal: &str, process: u32) {
    // The shell's own: not every system has the program.
    let sent =
        Command::new("sh").args(["-c", &format!("kill {signal} {process}")]).status().expect("a shell");
    assert!(sent.success(), "{signal} to {process}");
}

#[test]
fn who_cleans_up_late_spares_tests_whose_namespaces_have_the_same_numbers() {
    let mut first =
        rerun("waits_for_the_end").arg("--nocapture").env("PROOF_END", "kill").interactive().spawn();
    let mut output = BufReader::new(first.child.stdout.take().expect("piped"));
    line_of(&mut output, "namespaces ");
    let numbers = namespaces_of(first.child.id());
    // It is another process, which may not have had its turn.
    eventually("the one who cleans up", || janitor_of(first.child.id()).is_some());
    let janitor = janitor_of(first.child.id()).expect("it has one");
    send_signal("-STOP", janitor);
    first.child.kill().expect("it is ours");
    first.child.wait().expect("it is ours");
    // Other tests begin, until one has a number that was the first one's. On a busy machine others may be given all of them.
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut other = rerun("has_a_program_that_stays").arg("--nocapture").interactive().spawn();
        let mut output = BufReader::new(other.child.stdout.take().expect("piped"));
        let program = line_of(&mut output, "program ").parse().expect("a number");
        let has_one = !namespaces_of(program).is_disjoint(&numbers);
        others.push((other, output));
        if has_one {
            break;
        }
    }
    send_signal("-CONT", janitor);
    eventually("the end of the one who cleans up", || {
        !Path::new(&format!("/proc/{janitor}/ns/net")).exists()
    });
    for (mut other, mut output) in others {
        drop(other.child.stdin.take());
        let text = std::io::read_to_string(&mut output).expect("text");
        assert!(other.child.wait().expect("it is ours").success(), "{text}");
    }
}
