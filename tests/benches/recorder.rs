//! What recording packets costs: a test with it and one without, in turn, many times, over a link that is a bare veth.
//!
//! `cargo bench -p netns-test-tests --bench recorder` prints, of pairs of tests, the median of what each carries or takes, and of the ratios of
//! the pairs the median and the quartiles. `-- --quick`, and a run without `--bench`, measure once and little, to prove that it runs.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use netns_test::__private::{self, Capture, Family, Runtime, Shape, ShouldPanic, TestCase};
use netns_test::Node;
use netns_test_tests::figures::median;

static WITH: TestCase = case(Capture::Failure);
static WITHOUT: TestCase = case(Capture::Never);
__private::register!(WITH);

const fn case(capture: Capture) -> TestCase {
    TestCase {
        name: "recorder",
        file: file!(),
        line: line!(),
        nodes: &["a", "b"],
        shape: Shape::Line,
        family: Family::Dual,
        timeout: None,
        run_in: None,
        aliases: &[],
        dns: None,
        topology: None,
        runtime: Runtime::CurrentThread,
        require: &[],
        capture: Some(capture),
        should_panic: ShouldPanic::No,
        fails: None,
        program: false,
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let is = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    if is("--list") {
        return;
    }
    let is_quick = !is("--bench") || is("--quick");
    let (pairs, mebibytes) = if is_quick { (1, 8) } else { (30, 512) };
    println!("{:<34} {:>10} {:>10} {:>24}", "", "with", "without", "ratio, and quartiles");
    let gigabits = |mebibytes: usize, took: Duration| (mebibytes << 23) as f64 / took.as_secs_f64() / 1e9;
    pair("one TCP stream, Gbit/s", pairs, |case| gigabits(mebibytes, in_test(case, mebibytes, 1).0));
    // What others do on the machine changes it less.
    pair("the processors' time of it, s", pairs, |case| {
        let before = used();
        in_test(case, mebibytes, 1);
        used() - before
    });
    pair("one byte there and back, µs", pairs, |case| {
        in_test(case, 1, if is_quick { 10 } else { 20_000 }).1.as_secs_f64() * 1e6
    });
    pair("a whole test, ms", 10 * pairs, |case| {
        let started = Instant::now();
        in_test(case, 1, 1);
        started.elapsed().as_secs_f64() * 1e3
    });
}

/// Measures with and without, in turn, and prints what came of it.
fn pair(name: &str, pairs: usize, measure: impl Fn(&'static TestCase) -> f64) {
    let mut both: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..pairs {
        // None is always the first.
        let (with, without) = match round % 2 {
            0 => {
                let with = measure(&WITH);
                (with, measure(&WITHOUT))
            }
            _ => {
                let without = measure(&WITHOUT);
                (measure(&WITH), without)
            }
        };
        both[0].push(with);
        both[1].push(without);
    }
    let mut ratios: Vec<f64> = both[0].iter().zip(&both[1]).map(|(with, without)| with / without).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
    let [with, without] = both.map(median);
    println!("{name:<34} {with:>10.2} {without:>10.2} {:>8.3} ({:.3} to {:.3})", at(2), at(1), at(3));
}

/// In one test: how long a stream takes, and one of many round trips.
fn in_test(case: &'static TestCase, mebibytes: usize, trips: u32) -> (Duration, Duration) {
    let (tell, told) = mpsc::channel();
    __private::run_sync(case, move |arguments| {
        let nodes: [Node; 2] = [__private::argument(arguments, "a")?, __private::argument(arguments, "b")?];
        let measured = stream(&nodes, mebibytes)
            .and_then(|stream| round_trips(&nodes, trips).map(|all| (stream, all / trips)));
        // The receiver waits for this.
        Ok(measured.and_then(|measured| tell.send(measured).map_err(io::Error::other)))
    });
    told.recv().expect("a test that passed has told")
}

/// The seconds that this process has spent on processors, proc_pid_stat(5): fields 14 and 15, in hundredths.
fn used() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}

fn stream([a, b]: &[Node; 2], mebibytes: usize) -> io::Result<Duration> {
    let listener = b.blocking_listen_tcp(7)?;
    let mut out = a.blocking_connect_tcp((b.ip(), 7))?;
    let (mut inc, _) = listener.accept()?;
    let started = Instant::now();
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let chunk = vec![7; 256 << 10];
            (0..4 * mebibytes).try_for_each(|_| out.write_all(&chunk))
        });
        let mut chunk = vec![0; 256 << 10];
        while inc.read(&mut chunk)? > 0 {}
        sending.join().expect("it does not panic")
    })?;
    Ok(started.elapsed())
}

fn round_trips([a, b]: &[Node; 2], trips: u32) -> io::Result<Duration> {
    let (out, inc) = (a.blocking_bind_udp(7)?, b.blocking_bind_udp(7)?);
    out.connect((b.ip(), 7))?;
    inc.connect((a.ip(), 7))?;
    let mut byte = [0];
    let started = Instant::now();
    for _ in 0..trips {
        out.send(&byte)?;
        inc.recv(&mut byte)?;
        inc.send(&byte)?;
        out.recv(&mut byte)?;
    }
    Ok(started.elapsed())
}
