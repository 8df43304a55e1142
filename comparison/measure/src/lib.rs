//! What all sides of the comparison share: the pieces of work, and how a side is asked to do them.
//!
//! A side is a program: `SIDE WORK ROUNDS` does the work so often and prints what each took, in nanoseconds. What it cannot do it refuses with
//! the exit code 2.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The error of a side.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The port that is listened on.
pub const PORT: u16 = 7;

/// How many tests run at once in [`Work::AtOnce`].
pub const AT_ONCE: usize = 8;

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A test that is alone in its network, and binds a port: from its call to its return.
    Isolated,
    /// So many nodes: from the call to the moment at which the last one has accepted a TCP connection of the first.
    Connected(u16),
    /// A TCP echo between two nodes: from the call to its return, all that it made gone or let go of.
    Echo,
    /// Eight of these at once, on a thread each, as libtest runs tests.
    AtOnce,
}

impl Work {
    /// By its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "isolated" => Some(Self::Isolated),
            "echo" => Some(Self::Echo),
            "at-once" => Some(Self::AtOnce),
            nodes => nodes.parse().ok().map(Self::Connected),
        }
    }
}

/// What a side can do. What it cannot do is `None`.
pub struct Side {
    /// A test that is alone in its network.
    pub isolated: fn() -> Result<(), Error>,
    /// A TCP echo between two nodes.
    pub echo: fn() -> Result<(), Error>,
    /// Makes so many nodes, connects from the first to the last, and says when that was done.
    pub connected: fn(u16) -> Option<Result<Instant, Error>>,
}

/// The `main` of a side.
pub fn main(side: &Side) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match &arguments[..] {
        [work, rounds] => Work::named(work).zip(rounds.parse().ok()),
        _ => None,
    };
    let Some((work, rounds)) = asked else {
        eprintln!("usage: (isolated | echo | at-once | NODES) ROUNDS");
        return ExitCode::FAILURE;
    };
    // One more, which warms up and is not counted.
    for round in 0..=rounds {
        match side.perform(work) {
            None => return ExitCode::from(2),
            Some(Err(error)) => {
                eprintln!("round {round} of {work:?}: {error}");
                return ExitCode::FAILURE;
            }
            Some(Ok(took)) if round > 0 => println!("{}", took.as_nanos()),
            Some(Ok(_)) => {}
        }
    }
    ExitCode::SUCCESS
}

impl Side {
    fn perform(&self, work: Work) -> Option<Result<Duration, Error>> {
        let start = Instant::now();
        let done = match work {
            Work::Isolated => (self.isolated)(),
            Work::Echo => (self.echo)(),
            Work::AtOnce => std::thread::scope(|scope| {
                let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(self.echo)).collect();
                let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
                joined.fold(Ok(()), Result::and)
            }),
            Work::Connected(nodes) => {
                let connected = (self.connected)(nodes)?;
                return Some(connected.map(|connected| connected - start));
            }
        };
        Some(done.map(|()| start.elapsed()))
    }
}

/// Sends two bytes one way and back.
pub fn echo(mut out: impl Read + Write, mut inside: impl Read + Write) -> io::Result<()> {
    let mut buffer = [0; 2];
    out.write_all(b"hi")?;
    inside.read_exact(&mut buffer)?;
    inside.write_all(&buffer)?;
    out.read_exact(&mut buffer)?;
    assert_eq!(&buffer, b"hi");
    Ok(())
}

/// The 21 tests of a suite, each of which calls a function.
#[macro_export]
macro_rules! suite {
    ($test:path) => {
        $crate::suite!(@ $test; t01 t02 t03 t04 t05 t06 t07 t08 t09 t10 t11 t12 t13 t14 t15 t16 t17 t18 t19 t20 t21);
    };
    (@ $test:path; $($name:ident)*) => {$(
        #[test]
        fn $name() {
            $test().unwrap();
        }
    )*};
}
