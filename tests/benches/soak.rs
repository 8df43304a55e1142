//! Whether anything grows: thousands of networks in one process, thousands of processes, many at once, some of them killed.
//!
//! `cargo bench -p netns-test-tests --bench soak` makes 10,000 networks of two nodes in one process, each with a TCP echo across it, under
//! a limit of 1,024 open files and 4 GiB of addresses, and prints what the process holds as it goes on: memory, descriptors, threads, mounts, child processes.
//! Then it runs 2,000 processes with one such network each, 256 at once, and kills a tenth of them at any moment of their lives. What is
//! left of them at the end, processes and network namespaces, is waited for and told.
//!
//! - `-- --networks N`, `-- --processes N`, `-- --at-once N` set the numbers.
//! - `-- --quick`, and a run without `--bench`: little of each, to prove that it runs.
//!
//! It fails if a network does, if a process ends in another way than it should, or if something grew.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use netns_test::{Network, Topology};

/// How much is done.
#[derive(Clone, Copy, Debug)]
struct Load {
    networks: usize,
    processes: usize,
    at_once: usize,
}

const WHOLE: Load = Load { networks: 10_000, processes: 2_000, at_once: 256 };
const QUICK: Load = Load { networks: 20, processes: 10, at_once: 5 };

/// Of so many processes, one is killed.
const KILLED: usize = 10;

/// How long what was killed may take to be gone.
const SETTLES: Duration = Duration::from_secs(120);

/// What the first argument says in a process that this one starts.
const NETWORKS: &str = "make-networks";
const ONE: &str = "make-one";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let ran = match arguments.first().map(String::as_str) {
        Some("--list") => Ok(()),
        Some(NETWORKS) => load(&arguments[1..]).and_then(|load| many_networks(load.networks)),
        Some(ONE) => echo(),
        _ => load(&arguments).and_then(soak),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(arguments: &[String]) -> io::Result<Load> {
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let mut load = if has("--quick") || !has("--bench") && arguments.len() < 2 { QUICK } else { WHOLE };
    for pair in arguments.windows(2) {
        let count = match pair[0].as_str() {
            "--networks" => &mut load.networks,
            "--processes" => &mut load.processes,
            "--at-once" => &mut load.at_once,
            _ => continue,
        };
        *count =
            pair[1].parse().map_err(|error| io::Error::other(format!("{} {}: {error}", pair[0], pair[1])))?;
    }
    Ok(load)
}

fn soak(load: Load) -> io::Result<()> {
    println!("{} networks in one process, at most 1,024 open files and 4 GiB of addresses", load.networks);
    let mut one = again(NETWORKS)?;
    one.args(["--networks", &load.networks.to_string()]);
    // Of the shell, since a limit is inherited.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 1024 && ulimit -v 4194304 && exec \"$@\"", "sh"])
        .arg(one.get_program())
        .args(one.get_args());
    let status = limited.status()?;
    if !status.success() {
        return Err(io::Error::other(format!("the process with many networks ended with {status}")));
    }
    println!(
        "{} processes with a network each, {} at once, one of {KILLED} killed",
        load.processes, load.at_once
    );
    many_processes(load)
}

/// This program, with a task of its own.
fn again(task: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(task).stdin(Stdio::null());
    Ok(command)
}

/// Two nodes, a connection, and there and back.
fn echo() -> io::Result<()> {
    let mut topology = Topology::new();
    topology.node("client").node("server").link("client", "server");
    let across = |network: &Network| -> io::Result<()> {
        let (client, server) = (network.node("client")?, network.node("server")?);
        let listener = server.blocking_listen_tcp(7)?;
        let mut out = client.blocking_connect_tcp("server:7")?;
        let (mut inc, peer) = listener.accept()?;
        if peer.ip() != client.ip() {
            return Err(io::Error::other(format!("the peer is {peer}, and not {}", client.ip())));
        }
        out.write_all(b"hi")?;
        let mut read = [0; 2];
        inc.read_exact(&mut read)
    };
    topology.run(across).map_err(io::Error::other)?
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    kib: usize,
    descriptors: usize,
    threads: usize,
    mounts: usize,
    children: usize,
}

impl Held {
    fn now() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        Ok(Self {
            kib: field("VmRSS:"),
            threads: field("Threads:"),
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            mounts: fs::read_to_string("/proc/self/mountinfo")?.lines().count(),
            children: fs::read_to_string("/proc/thread-self/children")?.split_whitespace().count(),
        })
    }
}

fn many_networks(count: usize) -> io::Result<()> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    println!("  networks   memory  descriptors  threads  mounts  children");
    for number in 1..=count {
        echo().map_err(|error| io::Error::other(format!("network {number}: {error}")))?;
        if number % count.div_ceil(10) == 0 || number == count {
            let held = Held::now()?;
            let Held { kib, descriptors, threads, mounts, children } = held;
            println!(
                "  {number:8}  {:5.1} M  {descriptors:11}  {threads:7}  {mounts:6}  {children:8}",
                kib as f64 / 1024.0
            );
            samples.push(held);
        }
    }
    println!("  {:.1} ms each", begun.elapsed().as_secs_f64() * 1000.0 / count as f64);
    // What is held for later is bounded, and full by then.
    let (Some(early), Some(last)) = (samples.get(samples.len() / 2), samples.last()) else { return Ok(()) };
    let grew = last.threads > early.threads
        || last.mounts > early.mounts
        || last.children > early.children
        || last.descriptors > early.descriptors + early.descriptors / 10
        || last.kib > early.kib + early.kib / 10;
    if grew && count >= 1000 {
        return Err(io::Error::other(format!("what the process holds grew: {early:?}, {last:?}")));
    }
    Ok(())
}

fn many_processes(load: Load) -> io::Result<()> {
    let before = Left::now()?;
    let begun = Instant::now();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..load.at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= load.processes {
                        return;
                    }
                    let is_killed = number % KILLED == KILLED - 1;
                    let ended = one_process(is_killed.then(|| moment(number)));
                    if let Some(problem) = problem(ended, is_killed) {
                        wrong.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(problem);
                    }
                }
            });
        }
    });
    let took = begun.elapsed();
    let wrong = wrong.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    println!(
        "  {:.1} s, {} of {} ended in another way than they should",
        took.as_secs_f64(),
        wrong.len(),
        load.processes
    );
    let settling = Instant::now();
    let left = loop {
        let left = Left::now()?.beyond(&before);
        if left.is_nothing() || settling.elapsed() > SETTLES {
            break left;
        }
        thread::sleep(Duration::from_millis(20));
    };
    println!(
        "  left after {:.1} s: {} processes, {} network namespaces",
        settling.elapsed().as_secs_f64(),
        left.processes.len(),
        left.namespaces.len()
    );
    match wrong.first() {
        Some(problem) => Err(io::Error::other(problem.clone())),
        None if left.is_nothing() => Ok(()),
        None => Err(io::Error::other(format!("something is left: {left:?}"))),
    }
}

/// When a process is killed: spread over the life of one, in an order that has nothing to do with it.
fn moment(number: usize) -> Duration {
    Duration::from_micros((number as u64).wrapping_mul(2_654_435_761) % 300_000)
}

/// Runs a process; kills it after a time, where one is given.
fn one_process(kill_after: Option<Duration>) -> io::Result<(ExitStatus, String)> {
    let mut child: Child = again(ONE)?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(moment) = kill_after {
        thread::sleep(moment);
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    Ok((output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn problem(ended: io::Result<(ExitStatus, String)>, is_killed: bool) -> Option<String> {
    match ended {
        Err(error) => Some(format!("a process could not be run: {error}")),
        // It may have ended before.
        Ok((status, _)) if status.success() || is_killed && status.code().is_none() => None,
        Ok((status, text)) => Some(format!("a process ended with {status}: {text}")),
    }
}

/// What there is of this program on the machine, and all network namespaces that a process or a descriptor is in.
#[derive(Clone, Debug, Default)]
struct Left {
    processes: HashSet<String>,
    namespaces: HashSet<String>,
}

impl Left {
    fn now() -> io::Result<Self> {
        let own = env::current_exe()?;
        let mut left = Self::default();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) =
                path.file_name().and_then(|name| name.to_str()).filter(|name| name.parse::<u32>().is_ok())
            else {
                continue;
            };
            // What has ended since, or is another user's, is none of this program's.
            if fs::read_link(path.join("exe")).is_ok_and(|exe| exe == own) {
                left.processes.insert(pid.to_owned());
                left.namespaces.extend(
                    fs::read_link(path.join("ns/net")).map(|link| link.to_string_lossy().into_owned()),
                );
            }
        }
        Ok(left)
    }

    fn beyond(&self, before: &Self) -> Self {
        Self {
            processes: &self.processes - &before.processes,
            namespaces: &self.namespaces - &before.namespaces,
        }
    }

    fn is_nothing(&self) -> bool {
        self.processes.is_empty() && self.namespaces.is_empty()
    }
}
