//! Two processes that make and destroy namespaces at full speed while others are measured.

use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::{process, thread};

use crate::variant::on_own_thread;
use crate::{identity, least, sys};

const PROCESSES: usize = 2;

/// The processes; they end when their standard input does, so also when this process is killed.
pub(crate) struct Load(Vec<Child>);

impl Load {
    /// Starts them.
    pub(crate) fn start() -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let start = |_| Command::new(&program).arg("--make-load").stdin(Stdio::piped()).spawn();
        (0..PROCESSES).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Ends them; one that had failed by then is an error, for nothing was measured under its load.
    pub(crate) fn stop(self) -> io::Result<()> {
        for mut child in self.0 {
            drop(child.stdin.take());
            if !child.wait()?.success() {
                return Err(io::Error::other("a process that was to make load failed"));
            }
        }
        Ok(())
    }
}

/// Makes and destroys networks of two nodes until standard input ends.
pub(crate) fn make() -> io::Result<()> {
    identity::prepare()?;
    sys::raise_open_files()?;
    thread::spawn(|| {
        let _ended = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    });
    loop {
        on_own_thread(|| least::network(2).map(drop))?;
    }
}
