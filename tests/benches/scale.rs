//! Whether the cost stays flat: per node as networks grow, per network as more of them are made at once.
//!
//! `cargo bench -p netns-test-tests --bench scale` makes nodes on switches (250 on each, which are joined), a line of routers, and networks of
//! two nodes on as many threads. Each network is in a process of its own, which begins when the kernel has cleaned up after the one before.
//! What is measured goes from the call to the moment at which the last body runs. After that the network has to answer, which is not measured:
//! the first and the last node of the switches connect; of a line, a node at its middle reaches both ends.
//!
//! - `NETNS_BENCH_ROUNDS` sets the rounds (10); the larger networks do a share of them.
//! - `-- TEXT` measures the rows whose names contain the text.
//! - `-- --quick`, and a run without `--bench`: two rounds of the smallest, to prove that it runs.

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use netns_test::{Network, Node, Topology};
use netns_test_tests::figures::{percentile, wait_for_quiet};

/// The rounds of small networks, unless `NETNS_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 10;

/// The ports of a switch.
const PORTS: usize = 250;

/// How long to wait at most until the kernel has cleaned up.
const QUIET: Duration = Duration::from_secs(60);

/// What the first argument says in a process that makes one network.
const ONE: &str = "make-one";

#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    /// What it counts.
    unit: &'static str,
    counts: &'static [usize],
    /// Whose cost the others are compared with.
    base: usize,
    make: fn(usize) -> io::Result<Duration>,
}

const ROWS: [Row; 3] = [
    Row { name: "switches", unit: "nodes", counts: &[2, 10, 30, 100, 300, 1000], base: 10, make: switches },
    Row { name: "line", unit: "routers", counts: &[3, 10, 30, 100, 300], base: 10, make: line },
    Row { name: "at once", unit: "networks", counts: &[1, 2, 4, 8, 16, 32, 64], base: 1, make: at_once },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let ran = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list", ..] => Ok(()),
        [ONE, row, count] => one(row, count),
        arguments => all(arguments),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scale: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all(arguments: &[&str]) -> io::Result<()> {
    let is_quick = arguments.contains(&"--quick") || !arguments.contains(&"--bench");
    let rounds = match env::var("NETNS_BENCH_ROUNDS") {
        _ if is_quick => 2,
        Ok(text) => text.parse().map_err(|error| io::Error::other(format!("NETNS_BENCH_ROUNDS: {error}")))?,
        Err(_) => ROUNDS,
    };
    let wanted: Vec<&str> = arguments.iter().copied().filter(|text| !text.starts_with('-')).collect();
    for row in
        ROWS.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|text| row.name.contains(text)))
    {
        println!(
            "{:<16} {:>6} {:>11} {:>12} {:>12} {:>8}",
            row.name,
            "rounds",
            "median ms",
            "ms for each",
            "p90 of that",
            format!("x {}", row.base)
        );
        let counts = if is_quick { &row.counts[..2] } else { row.counts };
        let measured = counts.iter().map(|&count| {
            let samples =
                (0..share(rounds, count)).map(|_| process(row, count)).collect::<io::Result<Vec<_>>>()?;
            Ok((count, samples))
        });
        show(row, &measured.collect::<io::Result<Vec<_>>>()?);
    }
    Ok(())
}

/// Large networks do fewer rounds.
fn share(rounds: usize, count: usize) -> usize {
    if count >= 100 { rounds.div_ceil(2) } else { rounds }
}

/// The rows of a table, and the cost of each as a bar.
fn show(row: &Row, measured: &[(usize, Vec<Duration>)]) {
    let each = |count: usize, duration: Duration| duration.as_secs_f64() * 1e3 / count as f64;
    let medians: Vec<f64> =
        measured.iter().map(|(count, samples)| each(*count, percentile(samples, 50))).collect();
    let base =
        measured.iter().position(|(count, _)| *count == row.base).map_or(f64::NAN, |index| medians[index]);
    let most = medians.iter().copied().fold(0.0, f64::max);
    for ((count, samples), median) in measured.iter().zip(&medians) {
        println!(
            "{:<16} {:>6} {:>11.1} {median:>12.3} {:>12.3} {:>8.2}  {}",
            format!("{count:>4} {}", row.unit),
            samples.len(),
            percentile(samples, 50).as_secs_f64() * 1e3,
            each(*count, percentile(samples, 90)),
            median / base,
            "█".repeat((median / most * 40.0).round() as usize),
        );
    }
}

/// Makes one in a process of its own.
fn process(row: &Row, count: usize) -> io::Result<Duration> {
    wait_for_quiet(QUIET);
    let mut command = Command::new(env::current_exe()?);
    command.args([ONE, row.name, &count.to_string()]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(nanoseconds) if output.status.success() => Ok(Duration::from_nanos(nanoseconds)),
        _ => Err(io::Error::other(format!("{count} {}: {}, which said `{text}`", row.unit, output.status))),
    }
}

fn one(row: &str, count: &str) -> io::Result<()> {
    // Before anything starts threads.
    netns_test::init().map_err(io::Error::other)?;
    let row = ROWS.iter().find(|known| known.name == row).ok_or(io::ErrorKind::InvalidInput)?;
    let took = (row.make)(count.parse().map_err(io::Error::other)?)?;
    println!("{}", took.as_nanos());
    Ok(())
}

/// Runs the check in the network, and tells when that began.
fn ready(topology: &Topology, check: impl FnOnce(&Network) -> io::Result<()> + Send) -> io::Result<Instant> {
    let body = |network: &Network| {
        let ready = Instant::now();
        check(network).map(|()| ready)
    };
    topology.run(body).map_err(io::Error::other)?
}

/// Nodes on switches.
fn switches(nodes: usize) -> io::Result<Duration> {
    let mut topology = Topology::new();
    for node in 0..nodes {
        let switch = format!("s{}", node / PORTS);
        if node % PORTS == 0 {
            topology.switch(&switch);
            if node > 0 {
                topology.link(format!("s{}", node / PORTS - 1), &switch);
            }
        }
        topology.node(format!("n{node}")).link(format!("n{node}"), switch).prefix("10.0.0.0/16");
    }
    let begun = Instant::now();
    let ready = ready(&topology, |network| {
        let (first, last) = (network.node("n0")?, network.node(&format!("n{}", nodes - 1))?);
        answers(&first, &last)
    });
    Ok(ready? - begun)
}

/// A line of routers, with a node at each end, and one at its middle: no packet passes more than 255 of them (RFC 791).
fn line(routers: usize) -> io::Result<Duration> {
    let mut topology = Topology::new();
    for router in 0..routers {
        topology.router(format!("r{router}"));
        if router > 0 {
            topology.link(format!("r{}", router - 1), format!("r{router}"));
        }
    }
    let (middle, last) = (format!("r{}", routers / 2), format!("r{}", routers - 1));
    for (node, router) in [("left", "r0"), ("middle", &middle), ("right", &last)] {
        topology.node(node).link(node, router);
    }
    let begun = Instant::now();
    let ready = ready(&topology, |network| {
        let [left, middle, right] = ["left", "middle", "right"].map(|name| network.node(name));
        let (left, middle, right) = (left?, middle?, right?);
        for node in [&left, &middle, &right] {
            // 64 otherwise.
            node.set_sysctl("net.ipv4.ip_default_ttl", 255)?;
            node.set_sysctl("net.ipv6.conf.all.hop_limit", 255)?;
            node.set_sysctl("net.ipv6.conf.eth0.hop_limit", 255)?;
        }
        answers(&middle, &left)?;
        answers(&middle, &right)
    });
    Ok(ready? - begun)
}

/// So many networks of two nodes, a thread each.
fn at_once(networks: usize) -> io::Result<Duration> {
    let mut topology = Topology::new();
    topology.node("a").node("b").link("a", "b");
    let (barrier, last) = (Barrier::new(networks), Mutex::new(Ok(None)));
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..networks {
            scope.spawn(|| {
                barrier.wait();
                let ready = ready(&topology, |network| answers(&network.node("a")?, &network.node("b")?));
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                match (&mut *last, ready) {
                    (Ok(latest), Ok(ready)) => *latest = (*latest).max(Some(ready)),
                    (Ok(_), Err(error)) => *last = Err(error),
                    (Err(_), _) => {}
                }
            });
        }
    });
    let last = last.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Ok(last.map_or(Duration::ZERO, |last| last - begun))
}

/// Over both families, there and back.
fn answers(client: &Node, server: &Node) -> io::Result<()> {
    for ip in [IpAddr::V4(server.ip4()), IpAddr::V6(server.ip6())] {
        let listener = server.blocking_listen_tcp((ip, 7))?;
        let mut out = client.blocking_connect_tcp((ip, 7))?;
        let (mut inc, _peer) = listener.accept()?;
        out.write_all(b"hi")?;
        inc.read_exact(&mut [0; 2])?;
    }
    Ok(())
}
