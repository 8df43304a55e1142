//! Programs in nodes: child processes that live in the test's PID namespace, in their node's network, files and host name, and die
//! with the test.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::{fs, io};

use netns_test::{Node, Signal, netns_test};
use netns_test_tests::rerun;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// What a shell script writes when it runs in a node.
async fn says(node: &Node, script: &str) -> io::Result<String> {
    let output = node.command("sh").args(["-c", script]).output().await?;
    assert!(output.status.success(), "{script}: {output:?}");
    Ok(text(&output.stdout).trim_end().to_owned())
}

#[netns_test(nodes = 2)]
async fn a_program_is_in_its_nodes_network_files_and_host_name(client: Node, server: Node) -> io::Result<()> {
    for node in [&client, &server] {
        assert_eq!(says(node, "cat /proc/sys/kernel/hostname").await?, node.name());
        assert_eq!(says(node, "ls /sys/class/net").await?, "eth0\nlo");
        let socket = node.bind_udp(7).await?;
        let ports = says(node, "cat /proc/net/udp /proc/net/udp6").await?;
        assert!(ports.contains(":0007 "), "{ports}");
        drop(socket);
    }
    let names = says(&client, "getent hosts server").await?;
    assert!(names.starts_with(&server.ip().to_string()), "{names}");
    Ok(())
}

#[netns_test]
async fn programs_see_their_own_processes_alone(a: Node, b: Node) -> io::Result<()> {
    let sleeper = a.command("sleep").arg("1000").spawn().await?;
    let inside = sleeper.id_inside()?;
    assert_ne!(inside, sleeper.id());
    assert_eq!(says(&a, &format!("cat /proc/{inside}/comm")).await?, "sleep");
    // Nodes of one test share it, as they share the machine.
    assert_eq!(says(&b, &format!("cat /proc/{inside}/comm")).await?, "sleep");
    // The first process is the namespace's own, not the host's.
    assert_eq!(says(&a, "cat /proc/1/comm").await?, "netns-init");
    assert_eq!(says(&a, "echo $$; cat /proc/self/comm").await?.lines().nth(1), Some("cat"));
    // The node's own threads see the host's /proc, where they are.
    a.run(async || assert!(std::env::current_exe().is_ok())).await;
    Ok(())
}

#[netns_test]
async fn a_program_has_the_environment_that_it_was_given(a: Node) -> io::Result<()> {
    let own = says(&a, "env").await?;
    assert!(own.lines().any(|line| line.starts_with("PATH=")), "{own}");
    let mut command = a.command("/usr/bin/env");
    command
        .env("KEPT", "no")
        .env_clear()
        .envs([("ONE", "1"), ("TWO", "2")])
        .env("THREE", "3")
        .env_remove("TWO");
    let output = command.output().await?;
    assert_eq!(text(&output.stdout), "ONE=1\nTHREE=3\n");
    Ok(())
}

#[netns_test]
async fn a_stream_that_was_given_is_not_captured(a: Node) -> io::Result<()> {
    let mut command = a.command("sh");
    command.args(["-c", "echo shown; echo hidden >&2"]).stderr(Stdio::null());
    let child = command.spawn().await?;
    let output = child.wait_with_output().await?;
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("shown\n".to_owned(), String::new()));
    Ok(())
}

#[netns_test]
async fn output_is_captured_line_by_line(a: Node) -> io::Result<()> {
    let script = "echo one; echo two >&2; printf three";
    let child = a.command("sh").args(["-c", script]).spawn().await?;
    let output = child.wait_with_output().await?;
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("one\nthree".to_owned(), "two\n".to_owned()));
    let mut lines = child.lines();
    lines.sort();
    assert_eq!(lines, ["one", "three", "two"]);
    Ok(())
}

#[netns_test]
async fn output_without_lines_is_captured_as_fast_as_any(a: Node) -> io::Result<()> {
    // Searching all of it again with each part would take minutes.
    let output = a.command("head").args(["-c", "20000000", "/dev/zero"]).output().await?;
    assert_eq!(output.stdout.len(), 20_000_000);
    Ok(())
}

#[netns_test]
async fn of_two_inputs_the_last_one_counts(a: Node) -> io::Result<()> {
    let mut cat = a.command("cat");
    assert_eq!(cat.stdin(Stdio::null()).input("text").output().await?.stdout, b"text");
    assert_eq!(cat.stdin(Stdio::null()).output().await?.stdout, b"");
    // A program that does not read its input leaves no thread that writes it.
    a.command("true").stdin(Stdio::null()).input(vec![0; 1 << 20]).output().await?;
    let names = || fs::read_dir("/proc/self/task").expect("it is there").flatten();
    a.wait_until("the end of the threads that write input", |_a| {
        let is_input = |task: fs::DirEntry| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "input\n")
        };
        Ok(!names().any(is_input))
    })
    .await?;
    Ok(())
}

#[netns_test]
async fn input_environment_and_directory_are_as_given(a: Node) -> io::Result<()> {
    let large = vec![b'x'; 1 << 20];
    let output = a.command("wc").arg("-c").input(large).output().await?;
    assert_eq!(text(&output.stdout).trim(), "1048576");
    let mut command = a.command("sh");
    command.args(["-c", "echo $GREETING; pwd; cat"]).env("GREETING", "hello").current_dir("/usr");
    assert_eq!(text(&command.output().await?.stdout), "hello\n/usr\n");
    // It can be started again.
    assert_eq!(text(&command.output().await?.stdout), "hello\n/usr\n");
    let here = std::env::current_dir()?;
    assert_eq!(says(&a, "pwd -P").await?, here.to_str().expect("text"));
    // The old limit of open files, which this crate has raised for the test process.
    let limit = std::process::Command::new("sh").args(["-c", "ulimit -n"]).output()?;
    let own: u64 = says(&a, "ulimit -n").await?.parse().expect("a number");
    assert!(own <= text(&limit.stdout).trim().parse().expect("a number"));
    Ok(())
}

#[netns_test]
async fn streams_can_be_the_tests(a: Node) -> io::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut child = a.command("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().await?;
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"there and back")?;
    drop(input);
    let mut back = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut back)?;
    assert_eq!(back, "there and back");
    assert!(child.wait().await?.success());
    assert!(child.lines().is_empty());
    Ok(())
}

#[netns_test]
async fn lines_can_be_waited_for_and_signals_sent(a: Node) -> io::Result<()> {
    // A shell may lose a signal that comes as it starts a program.
    let script = r#"$| = 1; $SIG{HUP} = sub { print "again\n" }; $SIG{TERM} = sub { print "bye\n"; exit 3 };
        print "ready\n"; select(undef, undef, undef, 0.01) while 1"#;
    let child = a.command("perl").args(["-e", script]).spawn().await?;
    assert_eq!(child.wait_line("ready").await?, "ready");
    for _ in 0..2 {
        child.signal(Signal::HUP)?;
        child.wait_line("again").await?;
    }
    assert!(child.try_wait().is_none());
    child.signal(Signal::TERM)?;
    assert_eq!(child.wait().await?.code(), Some(3));
    assert_eq!(child.try_wait().and_then(|status| status.code()), Some(3));
    let error = child.signal(Signal::TERM).expect_err("it has ended").to_string();
    assert!(error.contains("failed to send SIGTERM to `a/perl`"), "{error}");
    let other = a.command("sleep").arg("1000").spawn().await?;
    assert_eq!(other.kill().await?.signal(), Some(9));
    assert_eq!(other.kill().await?.signal(), Some(9));
    Ok(())
}

#[netns_test]
fn plain_functions_have_it_all(a: Node) -> io::Result<()> {
    let output = a.command("echo").arg("plain").blocking_output()?;
    assert_eq!(output.stdout, b"plain\n");
    assert!(a.command("true").blocking_status()?.success());
    let child = a.command("sh").args(["-c", "echo ready; sleep 1000"]).blocking_spawn()?;
    child.blocking_wait_line("ready")?;
    assert_eq!(child.blocking_kill()?.signal(), Some(9));
    assert!(a.command("false").blocking_spawn()?.blocking_wait_with_output()?.status.code() == Some(1));
    Ok(())
}

#[netns_test]
async fn a_command_of_other_code_is_adopted(a: Node) -> io::Result<()> {
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "echo $0 $X; cat /proc/sys/kernel/hostname"]).env("X", "y").stdin(Stdio::inherit());
    assert_eq!(text(&a.adopt(command).output().await?.stdout), "sh y\na\n");
    Ok(())
}

#[netns_test]
async fn from_a_nodes_own_thread_and_from_tasks(a: Node, b: Node) -> io::Result<()> {
    let there = b.clone();
    let said = a.run(async move || says(&there, "cat /proc/sys/kernel/hostname").await).await?;
    assert_eq!(said, "b");
    let many: Vec<_> = (0..8)
        .map(|number| {
            let node = if number % 2 == 0 { a.clone() } else { b.clone() };
            tokio::spawn(async move { says(&node, &format!("echo {number}")).await })
        })
        .collect();
    for (number, said) in many.into_iter().enumerate() {
        assert_eq!(said.await.expect("no panic")?, number.to_string());
    }
    Ok(())
}

#[netns_test]
async fn shared_memory_of_system_v_is_the_nodes(a: Node, b: Node) -> io::Result<()> {
    let link = async |node: &Node| says(node, "readlink /proc/self/ns/ipc").await;
    let host = fs::read_link("/proc/self/ns/ipc")?.display().to_string();
    assert_ne!(link(&a).await?, host);
    assert_ne!(link(&a).await?, link(&b).await?);
    assert_eq!(link(&a).await?, link(&a).await?);
    Ok(())
}

// Who a program is.

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[netns_test(nodes = 2)]
async fn programs_have_the_nodes_capabilities_without_being_root(
    client: Node,
    server: Node,
) -> io::Result<()> {
    let me = nix::unistd::geteuid().to_string();
    assert_eq!(says(&server, "id -u").await?, me);
    // A setting of the network, and a port below 1024.
    says(&server, "echo 1 > /proc/sys/net/ipv4/ip_forward").await?;
    assert_eq!(server.sysctl("net.ipv4.ip_forward")?, "1");
    let serve = "$s = IO::Socket::INET->new(LocalPort => 80, Listen => 1) or die $!; $| = 1; print qq(ready\n); $s->accept";
    let child = server.command("perl").args(["-MIO::Socket::INET", "-e", serve]).spawn().await?;
    server.wait_listening(80).await?;
    child.wait_line("ready").await?;
    client.connect_tcp((server.ip4(), 80)).await?;
    assert!(child.wait().await?.success());
    Ok(())
}

#[netns_test]
async fn unprivileged_programs_have_no_capability(a: Node) -> io::Result<()> {
    let output =
        a.command("sh").args(["-c", "id -u; grep Cap /proc/self/status"]).unprivileged().output().await?;
    let text = text(&output.stdout);
    let mut lines = text.lines();
    let user = if is_root() { "65534".to_owned() } else { nix::unistd::geteuid().to_string() };
    assert_eq!(lines.next(), Some(&*user));
    for line in lines.filter(|line| !line.starts_with("CapBnd")) {
        assert!(line.ends_with("0000000000000000"), "{text}");
    }
    let change = "echo 1 > /proc/sys/net/ipv4/ip_forward";
    assert!(!a.command("sh").args(["-c", change]).unprivileged().status().await?.success());
    assert_eq!(a.sysctl("net.ipv4.ip_forward")?, "0");
    Ok(())
}

#[netns_test]
async fn programs_that_insist_on_it_are_user_0(a: Node) -> io::Result<()> {
    let output = a.command("sh").args(["-c", "id -u; id -g; ls /sys/class/net"]).as_root().output().await?;
    assert_eq!(text(&output.stdout), "0\n0\neth0\nlo\n");
    Ok(())
}

// What cannot be started, or dies at once.

#[netns_test]
async fn a_program_that_cannot_be_started_is_an_error_with_its_cause(a: Node) -> io::Result<()> {
    let error = async |program: &str| a.command(program).spawn().await.expect_err(program).to_string();
    let missing = error("no-such-program").await;
    assert!(
        missing.contains("failed to start the program `no-such-program` in `a`: no program of that name"),
        "{missing}"
    );
    assert!(missing.contains("/usr/sbin") && missing.contains("to mend it: "), "{missing}");
    let missing = error("/no/such/file").await;
    assert!(missing.contains("there is no file `/no/such/file`"), "{missing}");
    let closed = error("/etc/passwd").await;
    assert!(closed.contains("`/etc/passwd` has mode 644"), "{closed}");
    let directory = error("/usr").await;
    assert!(directory.contains("`/usr` is a directory"), "{directory}");
    let data = a.data_dir()?;
    a.write(data.join("script"), "#!/no/such/interpreter\n")?;
    assert!(a.command("chmod").arg("755").arg(data.join("script")).status().await?.success());
    let orphan = error(data.join("script").to_str().expect("text")).await;
    assert!(orphan.contains("interpreter"), "{orphan}");
    let lost = a.command("true").current_dir("/no/such/directory").spawn().await.expect_err("no directory");
    assert!(lost.to_string().contains("its working directory `/no/such/directory` does not exist"), "{lost}");
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn waits_for_a_program_that_dies(a: Node) -> io::Result<()> {
    let script = "echo the configuration is wrong >&2; exit 7";
    let _child = a.command("sh").args(["-c", script]).spawn().await?;
    Ok(a.wait_listening(80).await?)
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn waits_for_a_line_that_never_comes(a: Node) -> io::Result<()> {
    a.command("sh")
        .args(["-c", "echo something else; kill -SEGV $$"])
        .spawn()
        .await?
        .wait_line("ready")
        .await?;
    Ok(())
}

#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
async fn waits_for_a_program_that_stays(a: Node) -> io::Result<()> {
    a.command("sh").args(["-c", "echo I stay; sleep 1000"]).spawn().await?.wait().await?;
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn fails_beside_a_program(server: Node) -> io::Result<()> {
    server.command("sh").args(["-c", "echo on stdout; echo on stderr >&2"]).status().await?;
    panic!("the test fails")
}

#[test]
fn what_dies_or_does_not_come_is_told_with_the_programs_last_words() {
    rerun("waits_for_a_program_that_dies").run().failed_with(&[
        "failed to wait for a listener on tcp port 80 in `a`: the program `a/sh` ended with exit status: 7",
        "the configuration is wrong",
    ]);
    rerun("waits_for_a_line_that_never_comes").run().failed_with(&[
        "failed to wait for a line with `ready` of `a/sh`",
        "signal: 11 (SIGSEGV)",
        "something else",
    ]);
    rerun("waits_for_a_program_that_stays").run().failed_with(&[
        "failed to wait for the end of `a/sh`: the test's timeout is about to pass; it runs",
        "I stay",
    ]);
    let outcome = rerun("fails_beside_a_program").run();
    outcome.failed_with(&["the test fails"]);
    let report = outcome.stdout.split("---- fails_beside_a_program stdout ----").nth(1).expect("captured");
    assert!(
        report.contains("server/sh: on stdout\n") && report.contains("server/sh: on stderr\n"),
        "{outcome}"
    );
}

// Life and death.

/// A program, its child, and a daemon in a session of its own, by their numbers on the host.
async fn start_family(a: &Node) -> io::Result<Vec<u32>> {
    let script = "sleep 1000 & setsid sh -c 'sleep 1000 & echo ready; wait' & wait";
    let child = a.command("sh").args(["-c", script]).spawn().await?;
    child.wait_line("ready").await?;
    Ok(family(child.id()))
}

/// A process and its descendants.
fn family(root: u32) -> Vec<u32> {
    let mut all = vec![root];
    let mut next = 0;
    while next < all.len() {
        let path = format!("/proc/{0}/task/{0}/children", all[next]);
        let children = fs::read_to_string(path).expect("the kernel lists children");
        all.extend(children.split_whitespace().map(|number| number.parse::<u32>().expect("a number")));
        next += 1;
    }
    all
}

#[netns_test]
#[ignore = "run by its proof"]
async fn leaves_programs(a: Node) -> io::Result<()> {
    println!("processes {:?}", start_family(&a).await?);
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn leaves_programs_and_panics(a: Node) {
    println!("processes {:?}", start_family(&a).await.expect("they start"));
    panic!("the test fails");
}

// Long enough to start them on a busy machine.
#[netns_test(timeout = 5s)]
#[ignore = "fails on purpose"]
async fn leaves_programs_and_waits(a: Node) {
    println!("processes {:?}", start_family(&a).await.expect("they start"));
    std::future::pending().await
}

/// Programs by a handle, and one that the test's own code starts, and one in a network of its own.
#[netns_test]
#[ignore = "killed by its proof"]
async fn is_killed_with_programs(a: Node) -> io::Result<()> {
    let mut all = start_family(&a).await?;
    let sleeper = "exec sleep 1000";
    let own = a.enter(|| std::process::Command::new("sh").args(["-c", sleeper]).spawn())?;
    let unshared =
        a.enter(|| std::process::Command::new("unshare").args(["-n", "sh", "-c", sleeper]).spawn())?;
    all.extend([own.id(), unshared.id()]);
    // On one processor, libtest has begun the line.
    println!("\nprocesses {all:?}");
    std::future::pending().await
}

fn numbers(line: &str) -> Vec<u32> {
    let list =
        line.trim().strip_prefix("processes [").and_then(|line| line.strip_suffix(']')).expect("a list");
    list.split(", ").map(|number| number.parse().expect("a number")).collect()
}

/// Whether a process runs that was one of the family; an orphan that nobody reaps has no command line.
fn lives(process: u32) -> bool {
    let line = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    ["sleep", "sh\0", "unshare"].iter().any(|program| line.starts_with(program))
}

#[test]
fn programs_and_their_descendants_die_with_the_test() {
    for way in ["leaves_programs", "leaves_programs_and_panics", "leaves_programs_and_waits"] {
        let outcome = rerun(way).arg("--show-output").run();
        assert_eq!(outcome.status.success(), way == "leaves_programs", "{outcome}");
        let line =
            outcome.stdout.lines().find(|line| line.starts_with("processes ")).expect("it prints them");
        let processes = numbers(line);
        assert!(processes.len() >= 4, "{outcome}");
        for process in processes {
            assert!(!lives(process), "{way}: process {process} lives: {outcome}");
        }
    }
}

#[test]
fn programs_die_with_a_test_process_that_is_killed() {
    use std::io::BufRead as _;
    let mut running = rerun("is_killed_with_programs").arg("--nocapture").spawn();
    let output = io::BufReader::new(running.child.stdout.take().expect("piped"));
    let line = output.lines().map(|line| line.expect("text")).find(|line| line.starts_with("processes ["));
    let processes = numbers(&line.expect("it prints them"));
    assert!(processes.len() >= 6, "{processes:?}");
    // One that is just executing its program has no command line.
    while !processes.iter().all(|&process| lives(process)) {
        std::thread::yield_now();
    }
    running.child.kill().expect("it is ours");
    running.child.wait().expect("it is ours");
    // The janitor needs a moment; the bound is the test runner's.
    while processes.iter().any(|&process| lives(process)) {
        std::thread::yield_now();
    }
}

#[netns_test]
async fn a_start_that_nobody_waits_for_leaves_nothing(a: Node) -> io::Result<()> {
    // Dropped while the program is being started, at whatever point.
    for _ in 0..20 {
        let mut command = a.command("sleep");
        command.arg("1000");
        tokio::select! {
            biased;
            started = command.spawn() => drop(started?),
            () = tokio::task::yield_now() => {}
        }
    }
    Ok(())
}
