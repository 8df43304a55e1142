//! The network of a failed test waits for a person, with a way into each node, and nothing of it is left afterwards.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStderr, Command};

use netns_test::{Node, netns_test};
use netns_test_tests::{NOBODY, Rerun, Running, is_root, rerun};

#[netns_test]
#[ignore = "fails on purpose"]
async fn fails(client: Node, web_server: Node) {
    let held = client.listen_tcp(7).await.expect("a port");
    // A page needs a packet, and the kernel's own may come later.
    let _greeted = web_server.connect_tcp("client:7").await.expect("a connection");
    web_server.write("/etc/only-here", "found\n").expect("a file");
    web_server.spawn_thread("waits", std::thread::park);
    let sleeping = web_server.command("sleep").arg("1000").spawn().await.expect("a program");
    assert_eq!(held.local_addr().expect("an address").port(), 8, "beside {}", sleeping.id());
}

#[netns_test(timeout = 200ms)]
#[ignore = "fails on purpose"]
async fn hangs(client: Node) {
    client.run(async || std::future::pending::<()>().await).await;
}

#[netns_test]
#[ignore = "run by its proof"]
async fn passes(_client: Node) {}

/// A test that waits, and what it has said so far.
struct Waiting {
    running: Running,
    said: Vec<String>,
    stderr: BufReader<ChildStderr>,
}

impl Waiting {
    fn start(name: &str, ordinary: bool) -> Self {
        Self::run(rerun(name), ordinary)
    }

    fn run(test: Rerun, ordinary: bool) -> Self {
        let test = test.env("NETNS_TEST_PAUSE", "1").interactive();
        let mut running = if ordinary { test.as_ordinary_user().spawn() } else { test.spawn() };
        let mut stderr = BufReader::new(running.child.stderr.take().expect("piped"));
        let mut said: Vec<String> = Vec::new();
        while !said.last().is_some_and(|line| line.starts_with("press Enter")) {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).expect("its output is text"), 0, "it ended: {said:#?}");
            said.push(line.trim_end().to_owned());
        }
        Self { running, said, stderr }
    }

    /// The command that enters a node.
    fn way_into(&self, node: &str) -> String {
        let line = self.said.iter().find(|line| {
            line.starts_with("  ") && line.contains(" nsenter ") && line.trim_start().starts_with(node)
        });
        let line = line.unwrap_or_else(|| panic!("no way into {node}: {:#?}", self.said));
        line[line.find("nsenter").expect("it was found")..].to_owned()
    }

    /// Ends it, and tells whether it still said how the test had ended.
    fn ended(mut self) -> String {
        self.running.child.stderr = Some(self.stderr.into_inner());
        let outcome = self.running.wait();
        assert!(!outcome.status.success(), "{outcome}");
        outcome.stdout
    }
}

/// Runs a command in a node as the user who runs the test, as a person would.
fn inside(way: &str, ordinary: bool, command: &str) -> Result<String, String> {
    let line = format!("{way} {command}");
    let mut shell = match ordinary && is_root() {
        true => {
            let id = NOBODY.to_string();
            let mut shell = Command::new("setpriv");
            shell.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--inh-caps=-all", "sh"]);
            shell
        }
        false => Command::new("sh"),
    };
    let output = shell.args(["-c", &line]).output().expect("a shell");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(format!("`{line}`: {}", text(output.stderr))),
    }
}

fn shows_the_network_and_lets_in(ordinary: bool) {
    let mut waiting = Waiting::start("fails", ordinary);
    let said = waiting.said.join("\n");
    for text in ["`fails` failed, and its network waits", "10.0.0.2/16", "left == right"] {
        assert!(said.contains(text), "`{text}` is missing: {said}");
    }
    let (client, server) = (waiting.way_into("client"), waiting.way_into("web-server"));
    let see = |way: &str, command: &str| inside(way, ordinary, command).expect("the command succeeds");
    assert_eq!(see(&client, "uname -n").trim(), "client");
    assert_eq!(see(&server, "uname -n").trim(), "web-server");
    assert_eq!(see(&server, "cat /etc/only-here"), "found\n");
    // Its user.
    let own = if ordinary && is_root() { NOBODY } else { nix::unistd::geteuid().as_raw() };
    assert_eq!(see(&server, "id -u").trim(), own.to_string());
    assert!(see(&server, "ls /sys/class/net").contains("eth0"));
    let process = waiting.running.child.id();
    waiting.running.child.stdin.take().expect("piped").write_all(b"\n").expect("it reads");
    let told = waiting.ended();
    assert!(told.contains("left: 7"), "{told}");
    assert!(!Path::new(&format!("/proc/{process}")).exists());
    inside(&client, ordinary, "true").expect_err("the network is gone");
}

#[test]
fn a_failed_test_waits_with_a_way_in() {
    shows_the_network_and_lets_in(false);
}

#[test]
fn an_ordinary_user_gets_in() {
    shows_the_network_and_lets_in(true);
}

#[test]
fn a_test_that_timed_out_waits_too_until_a_signal() {
    let waiting = Waiting::start("hangs", true);
    let last = waiting.said.last().expect("lines");
    let (_, kill) = last.split_once("or: ").expect("a command");
    inside(&waiting.way_into("client"), true, "true").expect("the node is there");
    assert!(Command::new("sh").args(["-c", kill]).status().expect("a shell").success());
    let told = waiting.ended();
    assert!(told.contains("timed out"), "{told}");
}

#[test]
fn without_anybody_who_could_type_it_waits_for_the_signal() {
    let mut waiting = Waiting::start("fails", false);
    drop(waiting.running.child.stdin.take());
    // It has read the end of its input when it waits for one descriptor alone, and it is still there.
    inside(&waiting.way_into("client"), false, "true").expect("the node is there");
    let kill = waiting.said.last().expect("lines").split_once("or: ").expect("a command").1.to_owned();
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success());
    waiting.ended();
}

#[test]
fn what_passes_meanwhile_is_not_the_tests() {
    let directory = std::env::temp_dir().join(format!("netns-test-pause-{}", std::process::id()));
    fs::create_dir(&directory).expect("a directory for files");
    let test = rerun("fails").env("NETNS_TEST_DIR", directory.to_str().expect("text"));
    let mut waiting = Waiting::run(test.env("NETNS_TEST_CAPTURE", "failure"), false);
    let say = "bash -c 'echo a-later-word >/dev/udp/web-server/9'";
    inside(&waiting.way_into("client"), false, say).expect("it can be sent");
    waiting.running.child.stdin.take().expect("piped").write_all(b"\n").expect("it reads");
    let told = waiting.ended();
    let (_, of_test) = told.rsplit_once("files of the test are in ").expect("they are there");
    let of_test = Path::new(of_test.lines().next().expect("a line"));
    for file in ["packets.pcapng", "packets.html"] {
        let bytes = fs::read(of_test.join(file)).expect("it can be read");
        assert!(!bytes.windows(12).any(|part| part == b"a-later-word"), "{file}");
    }
    fs::remove_dir_all(&directory).expect("it can be removed");
}

#[test]
fn a_wait_that_fails_stands_beside_the_failure() {
    let outcome = rerun("fails").env("NETNS_TEST_PAUSE", "1").in_shell(r#"exec "$@" </"#).run();
    outcome.failed_with(&["left: 7", "failed to wait with the network: Is a directory"]);
}

#[test]
fn nothing_is_left_of_one_that_is_killed() {
    let mut waiting = Waiting::start("fails", true);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    let way = waiting.way_into("client");
    waiting.running.child.kill().expect("it can be killed");
    waiting.ended();
    inside(&way, true, "true").expect_err("the network is gone");
    assert_eq!(fs::read_to_string("/proc/self/mounts").expect("the mounts"), mounts);
}

#[test]
fn a_test_that_passes_does_not_wait() {
    rerun("passes").env("NETNS_TEST_PAUSE", "1").run().passed();
}

#[test]
fn a_value_that_says_neither_is_refused() {
    rerun("passes")
        .env("NETNS_TEST_PAUSE", "yes")
        .run()
        .failed_with(&["NETNS_TEST_PAUSE is `yes`: expected `1` or `0`"]);
    rerun("fails").env("NETNS_TEST_PAUSE", "0").run().failed_with(&["left: 7"]);
}
