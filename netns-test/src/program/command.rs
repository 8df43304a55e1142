//! What is to be started in a node, and how.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io, thread};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::sync::oneshot;

use super::child::{Child, Leash, Pipes, Running};
use super::refusal;
use crate::bootstrap;
use crate::error::{Doing, Error};
use crate::job;
use crate::node::Node;
use crate::sys::exec::{Identity, Setup};

/// Directories of daemons and network tools, which an ordinary user's PATH often lacks.
const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A program that is to be started in a node, in the shape of [`std::process::Command`].
///
/// It runs in the node's network, mount and UTS namespaces and in the PID namespace of the test, with a /proc that shows the test's
/// programs. It dies with the test, with all that it starts, daemons included. It is the caller's own user, with the capabilities
/// that the node's owner has over its network: `iptables`, `ping`, and servers on port 80 work without root.
///
/// [`guide::programs`](crate::guide::programs) lists the flags that known daemons need.
///
/// Its standard input is empty unless said otherwise; its output is captured (see [`Child`]). The environment is the test
/// process's, without proxy variables, and with the directories of daemons (`/usr/sbin` …) at the end of PATH.
///
/// ```
/// # use netns_test::{netns_test, Node};
/// #[netns_test(nodes = 2)]
/// async fn resolves(client: Node, server: Node) -> std::io::Result<()> {
///     let output = client.command("getent").args(["hosts", server.name()]).output().await?;
///     assert!(output.status.success());
///     assert!(String::from_utf8_lossy(&output.stdout).contains("server"));
///     Ok(())
/// }
/// # fn main() {}
/// ```
pub struct Command {
    node: Node,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    command: std::process::Command,
    identity: Identity,
    input: Option<Vec<u8>>,
    /// Whether the directories of daemons are added to its PATH.
    extends_path: bool,
    /// Which standard streams the test has said something about.
    given: [bool; 3],
    /// Whom its children are set up for already.
    prepared_for: Option<Identity>,
}

impl Command {
    pub(crate) fn new(node: Node, command: std::process::Command, extends_path: bool) -> Self {
        let inner = Inner {
            command,
            identity: Identity::Own,
            input: None,
            given: [false; 3],
            prepared_for: None,
            extends_path,
        };
        Self { node, inner: Arc::new(Mutex::new(inner)) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&mut self, change: impl FnOnce(&mut Inner)) -> &mut Self {
        change(&mut self.inner());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.with(|inner| {
            inner.command.arg(argument);
        })
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.with(|inner| {
            inner.command.args(arguments);
        })
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.with(|inner| {
            inner.command.env(name, value);
        })
    }

    /// Sets variables of its environment.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Self {
        self.with(|inner| {
            inner.command.envs(variables);
        })
    }

    /// Removes a variable from its environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.with(|inner| {
            inner.command.env_remove(name);
        })
    }

    /// Removes every variable from its environment, PATH too.
    pub fn env_clear(&mut self) -> &mut Self {
        self.with(|inner| {
            inner.command.env_clear();
            inner.extends_path = false;
        })
    }

    /// Sets its working directory, a path in the node; by default it is the test process's.
    pub fn current_dir(&mut self, directory: impl AsRef<Path>) -> &mut Self {
        self.with(|inner| {
            inner.command.current_dir(directory);
        })
    }

    /// Sets its standard input, empty by default. With `Stdio::piped()` it is [`Child::stdin`].
    pub fn stdin(&mut self, source: impl Into<Stdio>) -> &mut Self {
        self.with(|inner| {
            inner.command.stdin(source);
            inner.given[0] = true;
            inner.input = None;
        })
    }

    /// Gives it these bytes as its standard input, and then the end. The last word counts, this one or
    /// [`stdin`](Command::stdin)'s.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn firewalled(server: Node) -> std::io::Result<()> {
    ///     let rules = "add table inet filter
    ///         add chain inet filter input { type filter hook input priority filter; }
    ///         add rule inet filter input tcp dport 81 reject
    ///     ";
    ///     assert!(server.command("nft").args(["-f", "-"]).input(rules).status().await?.success());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn input(&mut self, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.with(|inner| {
            inner.input = Some(bytes.into());
            inner.given[0] = false;
        })
    }

    /// Sets its standard output, which is not captured then. With `Stdio::piped()` it is [`Child::stdout`].
    pub fn stdout(&mut self, target: impl Into<Stdio>) -> &mut Self {
        self.with(|inner| {
            inner.command.stdout(target);
            inner.given[1] = true;
        })
    }

    /// Sets its standard error, which is not captured then. With `Stdio::piped()` it is [`Child::stderr`].
    pub fn stderr(&mut self, target: impl Into<Stdio>) -> &mut Self {
        self.with(|inner| {
            inner.command.stderr(target);
            inner.given[2] = true;
        })
    }

    /// Runs it without capabilities; where the test is run by root, as the user 65534, nobody, who owns no file.
    ///
    /// For servers that refuse to run as root (PostgreSQL), and for proofs that a program needs no privilege.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn cannot_configure(host: Node) -> std::io::Result<()> {
    ///     let mut down = host.command("ip");
    ///     down.args(["link", "set", "eth0", "down"]).unprivileged();
    ///     assert!(!down.status().await?.success());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn unprivileged(&mut self) -> &mut Self {
        self.with(|inner| inner.identity = Identity::Unprivileged)
    }

    /// Runs it as the user 0, for programs that insist on it.
    ///
    /// Where the test is run by an ordinary user, the program gets a user namespace of its own in which it is user 0, and cannot become
    /// another one: tell a daemon not to drop root. It can use the network but not configure it: CAP_NET_ADMIN and the
    /// like have no power over namespaces that an outer user namespace owns (user_namespaces(7)). Ports below 1024 are
    /// open to it with `net.ipv4.ip_unprivileged_port_start` set to 0 by [`Node::set_sysctl`].
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn is_user_0(host: Node) -> std::io::Result<()> {
    ///     let output = host.command("id").arg("-u").as_root().output().await?;
    ///     assert_eq!(output.stdout, b"0\n");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn as_root(&mut self) -> &mut Self {
        self.with(|inner| inner.identity = Identity::Root)
    }

    /// Starts it.
    ///
    /// # Errors
    /// It does not exist or cannot be executed: the error says why, and what mends it. The test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn serves(client: Node, server: Node) -> std::io::Result<()> {
    ///     let _redis = server.command("redis-server").args(["--protected-mode", "no", "--save", ""]).spawn().await?;
    ///     server.wait_listening(6379).await?;
    ///     client.connect_tcp("server:6379").await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub async fn spawn(&mut self) -> Result<Child, Error> {
        let (tell, told) = oneshot::channel();
        self.submit(move |started| drop(tell.send(started)))?;
        self.child(told.await.unwrap_or_else(|_| Err(ended())))
    }

    /// [`spawn`](Command::spawn) for plain functions.
    ///
    /// # Errors
    /// As for `spawn`.
    pub fn blocking_spawn(&mut self) -> Result<Child, Error> {
        let (tell, told) = oneshot::channel();
        self.submit(move |started| drop(tell.send(started)))?;
        self.child(job::block_on(told).unwrap_or_else(|_| Err(ended())))
    }

    /// Runs it to its end, and returns how it ended and what it wrote.
    ///
    /// # Errors
    /// As for [`spawn`](Command::spawn); the test's timeout is about to pass. A status that is no success is no error.
    pub async fn output(&mut self) -> Result<Output, Error> {
        self.spawn().await?.wait_with_output().await
    }

    /// [`output`](Command::output) for plain functions.
    ///
    /// # Errors
    /// As for `output`.
    pub fn blocking_output(&mut self) -> Result<Output, Error> {
        self.blocking_spawn()?.blocking_wait_with_output()
    }

    /// Runs it to its end, and returns how it ended.
    ///
    /// # Errors
    /// As for [`output`](Command::output).
    pub async fn status(&mut self) -> Result<ExitStatus, Error> {
        self.spawn().await?.wait().await
    }

    /// [`status`](Command::status) for plain functions.
    ///
    /// # Errors
    /// As for `output`.
    pub fn blocking_status(&mut self) -> Result<ExitStatus, Error> {
        self.blocking_spawn()?.blocking_wait()
    }

    /// Has the node's launcher start it, and tell how that went.
    fn submit(&self, tell: impl FnOnce(Result<Started, Error>) + Send + 'static) -> Result<(), Error> {
        let (inner, node) = (Arc::clone(&self.inner), self.node.name().to_owned());
        let launcher = self.node.launcher()?;
        let submitted = launcher.submit(Box::new(move || {
            let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
            tell(inner.start(&node));
        }));
        if submitted { Ok(()) } else { Err(ended()) }
    }

    fn child(&self, started: Result<Started, Error>) -> Result<Child, Error> {
        let Started { mut child, pipes, name, input } = started?;
        if let Some((bytes, pipe)) = input {
            feed(bytes, pipe).doing(|| format!("write the input of `{name}`"))?;
        }
        let own = (child.0.stdin.take(), child.0.stdout.take(), child.0.stderr.take());
        // Made on the calling thread: what the program writes is captured with the caller's own output.
        let running = Running::watch(name, child, pipes)?;
        self.node.keep_running(&running);
        let mut child = Child::new(self.node.clone(), running);
        (child.stdin, child.stdout, child.stderr) = own;
        Ok(child)
    }
}

fn ended() -> Error {
    Error::because("start a program", "the test has ended")
}

/// A program that runs, and is not watched yet.
struct Started {
    child: Leash,
    pipes: Pipes,
    name: String,
    input: Option<(Vec<u8>, OwnedFd)>,
}

impl Inner {
    /// Starts it on the calling thread, a node's launcher.
    fn start(&mut self, node: &str) -> Result<Started, Error> {
        self.prepare();
        let name = format!("{node}/{}", self.file_name());
        let as_whom = match self.identity {
            Identity::Own => "",
            Identity::Unprivileged => " without privileges",
            Identity::Root => " as user 0",
        };
        let program = self.command.get_program().to_string_lossy().into_owned();
        let operation = || format!("start the program `{program}`{as_whom} in `{node}`");
        let input = self.feed().doing(operation)?;
        let pipes = [self.capture(1).doing(operation)?, self.capture(2).doing(operation)?];
        let spawned = self.command.spawn();
        // This process's copies of the program's ends: with them open its output would never end.
        for (index, given) in self.given.into_iter().enumerate() {
            match index {
                0 if !given => drop(self.command.stdin(Stdio::null())),
                1 if !given => drop(self.command.stdout(Stdio::null())),
                2 if !given => drop(self.command.stderr(Stdio::null())),
                _ => {}
            }
        }
        match spawned {
            Ok(child) => Ok(Started { child: Leash(child), pipes, name, input }),
            Err(error) => Err(match self.explain(&error) {
                Some(cause) => Error::because(operation(), format!("{cause} ({error})")),
                None => Error::new(operation(), error),
            }),
        }
    }

    /// What is done once, however often it is started.
    fn prepare(&mut self) {
        let was_prepared = self.prepared_for.replace(self.identity);
        if was_prepared != Some(self.identity) {
            // What an earlier start has added stays: no method takes privileges back.
            let setup = Setup { identity: self.identity, open_files: bootstrap::old_open_files() };
            setup.hook(&mut self.command);
        }
        if was_prepared.is_some() {
            return;
        }
        let is_set = |command: &std::process::Command, name: &OsStr| {
            command.get_envs().any(|(known, value)| known == name && value.is_some())
        };
        for name in bootstrap::PROXIES {
            let name = OsStr::new(name.to_str().unwrap_or_default());
            if !is_set(&self.command, name) {
                self.command.env_remove(name);
            }
        }
        let path = OsStr::new("PATH");
        let is_untouched = !self.command.get_envs().any(|(known, _)| known == path);
        if self.extends_path
            && is_untouched
            && let Some(search) = std::env::var_os(path)
        {
            let directories = std::env::split_paths(&search).chain(SYSTEM_DIRECTORIES.map(PathBuf::from));
            // Directories that were joined once can be joined again.
            if let Ok(extended) = std::env::join_paths(directories) {
                self.command.env(path, extended);
            }
        }
    }

    fn file_name(&self) -> String {
        let program = Path::new(self.command.get_program());
        program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
    }

    /// The bytes of its standard input, and the pipe to write them to.
    fn feed(&mut self) -> io::Result<Option<(Vec<u8>, OwnedFd)>> {
        match (&self.input, self.given[0]) {
            (Some(bytes), _) => {
                let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
                let bytes = bytes.clone();
                self.command.stdin(theirs);
                Ok(Some((bytes, ours)))
            }
            (None, true) => Ok(None),
            (None, false) => {
                self.command.stdin(Stdio::null());
                Ok(None)
            }
        }
    }

    /// A pipe for its standard output (1) or error (2), unless the test has said where it goes.
    fn capture(&mut self, stream: usize) -> io::Result<Option<File>> {
        if self.given[stream] {
            return Ok(None);
        }
        let (ours, theirs) = pipe2(OFlag::O_CLOEXEC)?;
        match stream {
            1 => self.command.stdout(theirs),
            _ => self.command.stderr(theirs),
        };
        Ok(Some(ours.into()))
    }

    fn explain(&self, error: &io::Error) -> Option<String> {
        let path = self.command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        let path = path.map(OsStr::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let search: Vec<PathBuf> = std::env::split_paths(&path).collect();
        refusal::explain(self.command.get_program(), self.command.get_current_dir(), &search, error)
    }
}

/// Writes a program's input on a thread of its own: the program reads when it likes.
fn feed(bytes: Vec<u8>, pipe: OwnedFd) -> io::Result<()> {
    let mut pipe = File::from(pipe);
    thread::Builder::new().name("input".to_owned()).spawn(move || {
        // A program that has read enough may close it: that is its right.
        let _closed = pipe.write_all(&bytes);
    })?;
    Ok(())
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("node", &self.node.name())
            .field("command", &self.inner().command)
            .finish_non_exhaustive()
    }
}
