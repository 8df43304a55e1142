//! What a link carries: a bare veth, the kernel's wire without conditions and with a rate that nothing reaches, and the wire in user space;
//! how exact a delay is (the kernel's where it has netem), and how much of a rate one TCP stream takes.
//!
//! `cargo bench -p netns-test-tests --bench links` prints, of 5 rounds in turn, the medians: bytes of one TCP stream, datagrams of 64 bytes
//! (64 at a time), by how much a datagram comes later than the declared delay says, and the share of a rate that a stream's frames take. `-- --quick`, and a run without `--bench`,
//! measure once and little, to prove that it runs.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use netns_test::{Conditions, Network, Node, Queue, Rate, Topology, Wire};
use netns_test_tests::figures::median;

/// How much is sent.
#[derive(Clone, Copy)]
struct Load {
    rounds: usize,
    bytes: usize,
    bursts: u32,
    delayed: u32,
    /// How long a stream at a rate lasts.
    at_rate: Duration,
}

const WHOLE: Load =
    Load { rounds: 5, bytes: 256 << 20, bursts: 2000, delayed: 200, at_rate: Duration::from_secs(2) };
const QUICK: Load =
    Load { rounds: 1, bytes: 1 << 20, bursts: 10, delayed: 5, at_rate: Duration::from_millis(50) };

/// Datagrams that are on their way at once.
const BURST: u32 = 64;

/// One of a row's links: its name, wire and conditions.
type Kind = (&'static str, Option<Wire>, Conditions);

fn kinds() -> [Kind; 4] {
    let fast = Conditions::new().rate(Rate::gbit(100));
    [
        ("bare veth", None, Conditions::new()),
        ("in the kernel", Some(Wire::Kernel), Conditions::new()),
        ("rate = 100gbit", Some(Wire::Kernel), fast),
        ("in user space", Some(Wire::User), Conditions::new()),
    ]
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let is_quick = !arguments.iter().any(|argument| argument == "--bench")
        || arguments.iter().any(|argument| argument == "--quick");
    match bench(if is_quick { QUICK } else { WHOLE }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(load: Load) -> io::Result<()> {
    netns_test::init()?;
    let kinds = kinds();
    let mut streams = vec![Vec::new(); kinds.len()];
    let mut datagrams = vec![Vec::new(); kinds.len()];
    for _ in 0..load.rounds {
        for (index, kind) in kinds.iter().enumerate() {
            let (stream, datagram) =
                on(kind.1, &kind.2, |a, b| Ok((stream(a, b, load)?, bursts(a, b, load)?)))?;
            streams[index].push(load.bytes as f64 * 8.0 / stream.as_secs_f64() / 1e9);
            datagrams[index].push(f64::from(BURST * load.bursts) / datagram.as_secs_f64() / 1e3);
        }
    }
    println!("{:<28} {:<14} {:>10} {:>8}", "", "", "median", "x veth");
    for (name, all) in [("TCP, Gbit/s", streams), ("datagrams, 1000/s", datagrams)] {
        let medians: Vec<f64> = all.into_iter().map(median).collect();
        for (index, median) in medians.iter().enumerate() {
            let name = if index == 0 { name } else { "" };
            println!("{name:<28} {:<14} {median:>10.2} {:>8.2}", kinds[index].0, median / medians[0]);
        }
    }
    println!("\n{:<28} {:<14} {:>10} {:>8}", "too late, ms", "", "median", "p99");
    let has_netem = has_netem();
    for delay in [1, 10, 50].map(Duration::from_millis) {
        let late = Conditions::new().delay(delay);
        for (name, wire) in [("in the kernel", Wire::Kernel), ("in user space", Wire::User)] {
            if wire == Wire::Kernel && !has_netem {
                continue;
            }
            let mut late = on(Some(wire), &late, |a, b| delayed(a, b, delay, load))?;
            late.sort_by(f64::total_cmp);
            let p99 = late[(late.len() * 99).div_ceil(100) - 1];
            println!("{:<28} {:<14} {:>10.3} {p99:>8.3}", format!("delay = {delay:?}"), name, median(late));
        }
    }
    println!("\n{:<28} {:<14} {:>10} {:>8} {:>8}", "TCP, % of the rate", "", "median", "least", "most");
    for rate in [8, 20, 100] {
        // As long as a stream: nothing is lost.
        let slow = Conditions::new().rate(Rate::mbit(rate)).queue(Queue::Time(load.at_rate));
        for (name, wire) in [("in the kernel", Wire::Kernel), ("in user space", Wire::User)] {
            let shares = (0..load.rounds).map(|_| on(Some(wire), &slow, |a, b| share(a, b, rate, load)));
            let mut shares = shares.collect::<io::Result<Vec<f64>>>()?;
            shares.sort_by(f64::total_cmp);
            let [least, most] = [shares[0], shares[shares.len() - 1]];
            let name_of_rate = format!("rate = {rate}mbit");
            println!("{name_of_rate:<28} {name:<14} {:>10.2} {least:>8.2} {most:>8.2}", median(shares));
        }
    }
    Ok(())
}

fn has_netem() -> bool {
    on(Some(Wire::Kernel), &Conditions::new().delay(Duration::from_millis(1)), |_, _| Ok(())).is_ok()
}

/// Does something with two nodes on a link.
fn on<R: Send>(
    wire: Option<Wire>,
    conditions: &Conditions,
    work: impl FnOnce(&Node, &Node) -> io::Result<R> + Send,
) -> io::Result<R> {
    let mut topology = Topology::new();
    topology.node("a").node("b");
    let link = topology.link("a", "b").conditions(conditions.clone());
    if let Some(wire) = wire {
        link.wire(wire);
    }
    topology.run(|network: &Network| work(&network.node("a")?, &network.node("b")?))?
}

/// How much of a rate one TCP stream takes, with all headers, in percent.
fn share(a: &Node, b: &Node, mbit: u64, load: Load) -> io::Result<f64> {
    // Full frames of 1514 bytes; Ethernet has 14 of them, IPv4 20, and TCP with its timestamps 32.
    const FRAME: f64 = 1514.0;
    const DATA: f64 = FRAME - 66.0;
    let bytes = (mbit as f64 * 1e6 / 8.0 * load.at_rate.as_secs_f64() * DATA / FRAME) as usize;
    let took = stream_to(a, b, (b.ip4(), 7).into(), bytes)?;
    Ok(bytes as f64 * FRAME / DATA * 8.0 / took.as_secs_f64() / (mbit as f64 * 1e6) * 100.0)
}

/// How long one TCP stream takes.
fn stream(a: &Node, b: &Node, load: Load) -> io::Result<Duration> {
    stream_to(a, b, (b.ip(), 7).into(), load.bytes)
}

fn stream_to(a: &Node, b: &Node, address: SocketAddr, bytes: usize) -> io::Result<Duration> {
    let listener = b.blocking_listen_tcp(address)?;
    let mut out = a.blocking_connect_tcp(address)?;
    let (mut inc, _) = listener.accept()?;
    let started = Instant::now();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let chunk = vec![7; 256 << 10];
            (0..bytes)
                .step_by(chunk.len())
                .try_for_each(|at| out.write_all(&chunk[..chunk.len().min(bytes - at)]))
        });
        let mut chunk = vec![0; 256 << 10];
        while inc.read(&mut chunk)? > 0 {}
        sending.join().expect("it does not panic")
    })?;
    Ok(started.elapsed())
}

fn sockets(a: &Node, b: &Node) -> io::Result<(UdpSocket, UdpSocket)> {
    let (out, inc) = (a.blocking_bind_udp(7)?, b.blocking_bind_udp(7)?);
    out.connect((b.ip(), 7))?;
    // The first asks who the other is.
    out.send(&[0; 64])?;
    inc.recv(&mut [0; 64])?;
    Ok((out, inc))
}

/// How long the datagrams take, some at a time.
fn bursts(a: &Node, b: &Node, load: Load) -> io::Result<Duration> {
    let (out, inc) = sockets(a, b)?;
    let mut buffer = [0; 64];
    let started = Instant::now();
    for _ in 0..load.bursts {
        (0..BURST).try_for_each(|_| out.send(&[7; 64]).map(drop))?;
        (0..BURST).try_for_each(|_| inc.recv(&mut buffer).map(drop))?;
    }
    Ok(started.elapsed())
}

/// By how many milliseconds datagrams come later than declared.
fn delayed(a: &Node, b: &Node, delay: Duration, load: Load) -> io::Result<Vec<f64>> {
    let (out, inc) = sockets(a, b)?;
    let one = |_| {
        let started = Instant::now();
        out.send(&[7; 64])?;
        inc.recv(&mut [0; 64])?;
        Ok((started.elapsed().as_secs_f64() - delay.as_secs_f64()) * 1e3)
    };
    (0..load.delayed).map(one).collect()
}
