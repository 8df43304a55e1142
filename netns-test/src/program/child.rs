//! A program that runs, and what it has written.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus, Output};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, thread};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use tokio::sync::watch;

use super::signal::Signal;
use crate::error::{Doing, Error};
use crate::node::Node;
use crate::queue::Waiting;
use crate::sys;

/// How many of a program's last lines an error shows.
const LAST_LINES: usize = 20;

/// How long a killed program may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that was started in a node.
///
/// It lives until it ends by itself, is killed, or the test ends: then it is killed, with all that it has started. Dropping the
/// handle changes nothing.
///
/// What it writes is printed line by line as `node/program: …` with the test's own output, which libtest shows when the test
/// fails, and can be read here.
pub struct Child {
    /// Its standard input, where [`Command::stdin`](super::Command::stdin) was given `Stdio::piped()`.
    pub stdin: Option<ChildStdin>,
    /// Its standard output, where [`Command::stdout`](super::Command::stdout) was given `Stdio::piped()`: then it is not captured.
    pub stdout: Option<ChildStdout>,
    /// Its standard error, likewise.
    pub stderr: Option<ChildStderr>,
    node: Node,
    running: Arc<Running>,
    /// How many of its lines `wait_line` has passed.
    seen: Mutex<usize>,
}

/// A child process that is killed and reaped when nobody watches it any more: a zombie would keep its PID namespace from ending.
pub(super) struct Leash(pub(super) std::process::Child);

impl Drop for Leash {
    fn drop(&mut self) {
        // For one that has been reaped neither does anything; for others neither fails (kill(2), wait(2)).
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// What the thread that watches a program shares with its handles.
#[derive(Debug)]
pub(crate) struct Running {
    /// `node/program`.
    name: String,
    id: u32,
    state: Mutex<State>,
    changed: Condvar,
    /// The same for async code: counts the changes.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    status: Option<ExitStatus>,
    /// Whether its number may be another process's by now.
    is_reaped: bool,
    streams: [Stream; 2],
    lines: Vec<String>,
    /// When each was read, by the clock of the packets.
    times: Vec<u64>,
    /// Why it cannot be watched any more.
    broken: Option<String>,
    /// Whether the test knows of its end, or has brought it about.
    expected: bool,
}

/// Standard output or error.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    /// How many of them have been cut into lines.
    cut: usize,
    /// How many of them have been searched for the end of a line: what a program writes without any is looked at once.
    searched: usize,
    is_open: bool,
}

impl Running {
    /// The last lines that it has written: when, by the clock of the packets; its name; the line.
    pub(crate) fn log(&self, most: usize) -> Vec<(u64, String, String)> {
        let state = self.state();
        let first = state.lines.len().saturating_sub(most);
        let lines = state.times.iter().copied().zip(&state.lines).skip(first);
        // The node stands in the name, and is told elsewhere.
        let name = self.name.split_once('/').map_or(&*self.name, |(_, program)| program);
        lines.map(|(time, line)| (time, name.to_owned(), line.clone())).collect()
    }

    /// Watches a program that has just been started, on a thread of its own.
    pub(super) fn watch(name: String, mut child: Leash, pipes: Pipes) -> Result<Arc<Self>, Error> {
        let id = child.0.id();
        let ended = sys::fork::pidfd(Pid::from_raw(id.cast_signed()))
            .doing(|| format!("watch the program `{name}`"))?;
        let mut state = State::default();
        for (stream, pipe) in state.streams.iter_mut().zip(&pipes) {
            stream.is_open = pipe.is_some();
            if let Some(pipe) = pipe {
                fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                    .doing(|| format!("read the output of `{name}`"))?;
            }
        }
        let running = Arc::new(Self {
            name,
            id,
            state: Mutex::new(state),
            changed: Condvar::new(),
            version: watch::Sender::new(0),
        });
        let watched = Arc::clone(&running);
        thread::Builder::new()
            .name(running.name.clone())
            .spawn(move || {
                if let Err(error) = watched.follow(&mut child.0, &ended, pipes) {
                    watched.update(|state| {
                        state.broken = Some(error.to_string());
                        // The leash reaps it now: its number is not to be used any more.
                        state.is_reaped = true;
                    });
                }
            })
            .doing(|| format!("start the thread that watches `{}`", running.name))?;
        Ok(running)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
        self.version.send_modify(|version| *version += 1);
    }

    /// Reads what the program writes and waits for its end, until both are over.
    fn follow(&self, child: &mut std::process::Child, ended: &OwnedFd, mut pipes: Pipes) -> io::Result<()> {
        let mut runs = true;
        while runs || pipes.iter().any(Option::is_some) {
            let descriptors: Vec<BorrowedFd<'_>> = [
                runs.then(|| ended.as_fd()),
                pipes[0].as_ref().map(|pipe| pipe.as_fd()),
                pipes[1].as_ref().map(|pipe| pipe.as_fd()),
            ]
            .into_iter()
            .flatten()
            .collect();
            let mut events: Vec<PollFd<'_>> =
                descriptors.iter().map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut events, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            // Asked before the output is read, and told after: whoever learns of the end finds all that came before it.
            let status = match runs {
                // Reaped under the lock: a signal that is sent under it reaches this process, and no later one of its number.
                true => self.reap(child)?,
                false => None,
            };
            for (index, pipe) in pipes.iter_mut().enumerate() {
                if let Some(source) = pipe
                    && !self.read(index, source)?
                {
                    *pipe = None;
                }
            }
            if status.is_some() {
                runs = false;
                self.update(|state| state.status = status);
            }
        }
        Ok(())
    }

    fn reap(&self, child: &mut std::process::Child) -> io::Result<Option<ExitStatus>> {
        let mut state = self.state();
        let status = child.try_wait()?;
        state.is_reaped = status.is_some();
        Ok(status)
    }

    /// Takes what is there in one stream; `false` at its end.
    fn read(&self, index: usize, source: &mut Pipe) -> io::Result<bool> {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = match source.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut new = Vec::new();
            self.update(|state| {
                let State { streams, lines, times, .. } = state;
                let stream = &mut streams[index];
                stream.bytes.extend_from_slice(&buffer[..read]);
                stream.is_open = read > 0;
                new = stream.cut_lines();
                lines.extend_from_slice(&new);
                times.resize(lines.len(), sys::packets::now());
            });
            for line in new {
                match index {
                    0 => println!("{}: {line}", self.name),
                    _ => eprintln!("{}: {line}", self.name),
                }
            }
            if read == 0 {
                return Ok(false);
            }
        }
    }

    /// Somebody else is about to kill it.
    pub(crate) fn expect_end(&self) {
        let mut state = self.state();
        state.expected |= state.status.is_none();
    }

    /// Waits until its end is known here, after it has been killed.
    pub(crate) fn await_end(&self) -> Result<(), Error> {
        let is_going = |state: &mut State| state.status.is_none() && state.broken.is_none();
        let waited = self.changed.wait_timeout_while(self.state(), PATIENCE, is_going);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        let operation = || format!("wait for the end of `{}`", self.name);
        match &state.broken {
            Some(why) => Err(Error::because(operation(), why.clone())),
            None if waited.timed_out() => Err(Error::because(operation(), "it does not die")),
            None => Ok(()),
        }
    }

    /// Says how it failed, if it did so by itself and nobody has been told.
    pub(crate) fn unexpected_failure(&self) -> Option<String> {
        let state = self.state();
        match state.status {
            Some(status) if !status.success() && !state.expected => Some(self.obituary(&state, status)),
            _ => None,
        }
    }

    fn obituary(&self, state: &State, status: ExitStatus) -> String {
        format!("the program `{}` ended with {status}; {}", self.name, state.last_lines())
    }
}

impl Stream {
    /// The lines that are complete now, or all there is at the end.
    fn cut_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(length) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') {
            let end = self.searched + length;
            lines.push(text(&self.bytes[self.cut..end]));
            self.cut = end + 1;
            self.searched = self.cut;
        }
        self.searched = self.bytes.len();
        if !self.is_open && self.cut < self.bytes.len() {
            lines.push(text(&self.bytes[self.cut..]));
            self.cut = self.bytes.len();
        }
        lines
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\r').to_owned()
}

impl State {
    fn last_lines(&self) -> String {
        let first = self.lines.len().saturating_sub(LAST_LINES);
        match &self.lines[first..] {
            [] => "it wrote nothing".to_owned(),
            lines => format!("the last that it wrote:\n  {}", lines.join("\n  ")),
        }
    }

    fn is_drained(&self) -> bool {
        self.status.is_some() && self.streams.iter().all(|stream| !stream.is_open)
    }
}

/// What is read of a program.
pub(super) type Pipes = [Option<Pipe>; 2];

pub(super) type Pipe = fs::File;

impl Child {
    pub(super) fn new(node: Node, running: Arc<Running>) -> Self {
        Self { stdin: None, stdout: None, stderr: None, node, running, seen: Mutex::new(0) }
    }

    /// Its process id, as the test sees it.
    pub fn id(&self) -> u32 {
        self.running.id
    }

    /// Its process id, as it sees it itself: in the PID namespace of the test's programs.
    ///
    /// # Errors
    /// It has ended. The kernel's own, reading /proc/PID/status.
    pub fn id_inside(&self) -> io::Result<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        // proc_pid_status(5): the ids in each PID namespace, the innermost one last.
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let id = line.and_then(|line| line.split_whitespace().next_back()?.parse().ok());
        id.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("`{}` has ended", self.running.name))
        })
    }

    /// The node that it runs in.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Sends it a signal, kill(2).
    ///
    /// # Errors
    /// It has ended; the kernel's own.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node, Signal};
    /// #[netns_test]
    /// async fn ends(server: Node) -> std::io::Result<()> {
    ///     let child = server.command("sh").args(["-c", "trap 'exit 0' TERM; echo ready; sleep 1000 & wait"]).spawn().await?;
    ///     child.wait_line("ready").await?;
    ///     child.signal(Signal::TERM)?;
    ///     assert!(child.wait().await?.success());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        let operation = || format!("send {signal:?} to `{}`", self.running.name);
        // Under the lock it cannot be reaped, so its number is still its own.
        let mut state = self.running.state();
        if state.is_reaped {
            return Err(Error::because(operation(), "it has ended"));
        }
        let process = Pid::from_raw(self.id().cast_signed());
        // A number that is no signal's the kernel refuses.
        let sent = sys::process::kill(process, signal.as_raw());
        state.expected |= sent.is_ok();
        sent.doing(operation)
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// The kernel's own. That it has ended already is no error.
    pub async fn kill(&self) -> Result<ExitStatus, Error> {
        self.send_kill()?;
        self.wait().await
    }

    /// [`kill`](Child::kill) for plain functions.
    ///
    /// # Errors
    /// As for `kill`.
    pub fn blocking_kill(&self) -> Result<ExitStatus, Error> {
        self.send_kill()?;
        self.blocking_wait()
    }

    fn send_kill(&self) -> Result<(), Error> {
        match self.signal(Signal::KILL) {
            Err(_) if self.running.state().is_reaped => Ok(()),
            sent => sent,
        }
    }

    /// How it ended, if it has.
    pub fn try_wait(&self) -> Option<ExitStatus> {
        let mut state = self.running.state();
        state.expected |= state.status.is_some();
        state.status
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The test's timeout is about to pass; the error shows the last that it wrote.
    pub async fn wait(&self) -> Result<ExitStatus, Error> {
        self.until("the end of", ended).await
    }

    /// [`wait`](Child::wait) for plain functions.
    ///
    /// # Errors
    /// As for `wait`.
    pub fn blocking_wait(&self) -> Result<ExitStatus, Error> {
        self.blocking_until("the end of", ended)
    }

    /// Waits for its end and the end of its output, and returns both.
    ///
    /// Processes that it has left behind may hold its output open; then the end of these is waited for, too.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub async fn wait_with_output(&self) -> Result<Output, Error> {
        self.until("the end of the output of", output).await
    }

    /// [`wait_with_output`](Child::wait_with_output) for plain functions.
    ///
    /// # Errors
    /// As for [`wait`](Child::wait).
    pub fn blocking_wait_with_output(&self) -> Result<Output, Error> {
        self.blocking_until("the end of the output of", output)
    }

    /// Waits until it has written a line that contains `pattern`, on its standard output or error, and returns that line.
    ///
    /// Lines that an earlier call has passed are not looked at again: two calls wait for two lines.
    ///
    /// # Errors
    /// It has ended without such a line: the error says how, and what it wrote last. The test's timeout is about to pass.
    ///
    /// ```no_run
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn starts(server: Node) -> std::io::Result<()> {
    ///     let child = server.command("sh").args(["-c", "echo ready; sleep 100"]).spawn().await?;
    ///     assert_eq!(child.wait_line("ready").await?, "ready");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub async fn wait_line(&self, pattern: &str) -> Result<String, Error> {
        self.until(&waiting_for_line(pattern), |running, state| self.find_line(pattern, running, state)).await
    }

    /// [`wait_line`](Child::wait_line) for plain functions.
    ///
    /// # Errors
    /// As for `wait_line`.
    pub fn blocking_wait_line(&self, pattern: &str) -> Result<String, Error> {
        self.blocking_until(&waiting_for_line(pattern), |running, state| {
            self.find_line(pattern, running, state)
        })
    }

    fn find_line(
        &self,
        pattern: &str,
        running: &Running,
        state: &mut State,
    ) -> Option<Result<String, String>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.lines.iter().enumerate().skip(*seen).find(|(_, line)| line.contains(pattern));
        if let Some((index, line)) = found {
            *seen = index + 1;
            return Some(Ok(line.clone()));
        }
        let status = state.status.filter(|_| state.is_drained())?;
        state.expected = true;
        Some(Err(running.obituary(state, status)))
    }

    /// The lines that it has written up to now, of both streams as they came.
    pub fn lines(&self) -> Vec<String> {
        self.running.state().lines.clone()
    }

    async fn until<T>(
        &self,
        what: &str,
        mut check: impl FnMut(&Running, &mut State) -> Option<Result<T, String>>,
    ) -> Result<T, Error> {
        let operation = || format!("wait for {what} `{}`", self.running.name);
        let deadline = self.node.deadline_of_waits().doing(operation)?;
        let mut versions = self.running.version.subscribe();
        loop {
            versions.borrow_and_update();
            if let Some(result) = self.check(&mut check) {
                return result.map_err(|cause| Error::because(operation(), cause));
            }
            // The sender lives as long as this handle.
            let changed = async { versions.changed().await.is_ok() };
            let in_time = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), changed).await.is_ok(),
                None => changed.await,
            };
            if !in_time {
                return Err(self.gave_up(&operation()));
            }
        }
    }

    fn blocking_until<T>(
        &self,
        what: &str,
        mut check: impl FnMut(&Running, &mut State) -> Option<Result<T, String>>,
    ) -> Result<T, Error> {
        let operation = || format!("wait for {what} `{}`", self.running.name);
        let _waiting = Waiting::start();
        let deadline = self.node.deadline_of_waits().doing(operation)?;
        loop {
            let mut state = self.running.state();
            if let Some(result) = self.running.look(&mut state, &mut check) {
                return result.map_err(|cause| Error::because(operation(), cause));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match left {
                None => drop(self.running.changed.wait(state).unwrap_or_else(PoisonError::into_inner)),
                Some(left) if left.is_zero() => {
                    drop(state);
                    return Err(self.gave_up(&operation()));
                }
                Some(left) => {
                    drop(
                        self.running
                            .changed
                            .wait_timeout(state, left)
                            .unwrap_or_else(PoisonError::into_inner),
                    );
                }
            }
        }
    }

    fn check<T>(
        &self,
        check: &mut impl FnMut(&Running, &mut State) -> Option<Result<T, String>>,
    ) -> Option<Result<T, String>> {
        self.running.look(&mut self.running.state(), check)
    }

    fn gave_up(&self, operation: &str) -> Error {
        if let Ok(network) = self.node.network() {
            network.0.own_failure.get_or_init(|| "a wait that gave up".to_owned());
        }
        let state = self.running.state();
        let how = match state.status {
            Some(status) => format!("it ended with {status}, but another process holds its output"),
            None => "it runs".to_owned(),
        };
        Error::because(
            operation,
            format!("the test's timeout is about to pass; {how}; {}", state.last_lines()),
        )
    }
}

impl Running {
    fn look<T>(
        &self,
        state: &mut State,
        check: &mut impl FnMut(&Self, &mut State) -> Option<Result<T, String>>,
    ) -> Option<Result<T, String>> {
        match &state.broken {
            Some(why) => Some(Err(why.clone())),
            None => check(self, state),
        }
    }
}

fn waiting_for_line(pattern: &str) -> String {
    format!("a line with `{pattern}` of")
}

fn ended(_running: &Running, state: &mut State) -> Option<Result<ExitStatus, String>> {
    state.expected |= state.status.is_some();
    state.status.map(Ok)
}

fn output(_running: &Running, state: &mut State) -> Option<Result<Output, String>> {
    let status = state.status.filter(|_| state.is_drained())?;
    state.expected = true;
    let [stdout, stderr] = state.streams.each_ref().map(|stream| stream.bytes.clone());
    Some(Ok(Output { status, stdout, stderr }))
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.running.state().status;
        f.debug_struct("Child")
            .field("name", &self.running.name)
            .field("id", &self.id())
            .field("status", &status)
            .finish_non_exhaustive()
    }
}
