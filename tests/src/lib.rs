//! What the proofs share: running a test binary again, as a user does, and reading what it says.
//!
//! Tests that must fail, be killed or be refused are `#[ignore]`d and stand beside their proof, which re-runs its own
//! binary with the one test that it is about.

pub mod datagrams;
pub mod figures;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The README, whose code is compiled here, with all features.
#[doc = include_str!("../../netns-test/README.md")]
pub mod readme {}

/// The documentation of the attribute, whose examples are compiled here, where rstest and test-log are at hand.
#[doc = include_str!("../../netns-test-macros/docs/attribute.md")]
pub mod attribute {}

/// A test of this binary that is to be run again.
#[derive(Debug)]
pub struct Rerun {
    wrapper: Vec<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    ordinary: bool,
    interactive: bool,
}

/// Runs the ignored test `name` of this binary again, alone.
pub fn rerun(name: &str) -> Rerun {
    Rerun::with(&["--exact", name, "--ignored"])
}

impl Rerun {
    /// Runs this binary with arguments of libtest's.
    pub fn with(arguments: &[&str]) -> Self {
        Self {
            wrapper: Vec::new(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            // Frames would hide the messages that proofs look for.
            variables: vec![("RUST_BACKTRACE".to_owned(), "0".to_owned())],
            ordinary: false,
            interactive: false,
        }
    }

    /// One more argument of libtest's.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it by a shell script, in which `"$@"` is the test binary with its arguments.
    #[must_use]
    pub fn in_shell(mut self, script: &str) -> Self {
        self.wrapper = ["sh", "-c", script, "sh"].map(str::to_owned).to_vec();
        self
    }

    /// Runs it without any privilege, also where the proof is run by root.
    #[must_use]
    pub fn as_ordinary_user(mut self) -> Self {
        self.ordinary = true;
        self
    }

    /// Gives it a standard input that the proof holds the other end of.
    #[must_use]
    pub fn interactive(mut self) -> Self {
        self.interactive = true;
        self
    }

    /// Starts it, with its output captured.
    ///
    /// # Panics
    /// In a binary that is itself run again: a proof that picks itself would go on for ever.
    #[track_caller]
    pub fn spawn(self) -> Running {
        assert!(std::env::var_os(AGAIN).is_none(), "a test that is run again must not run tests again");
        let me = std::env::current_exe().expect("this binary has a path");
        let copy = (self.ordinary && is_root()).then(|| readable_copy(&me));
        let binary = copy.as_ref().map_or_else(|| me.clone(), |copy| copy.join("test"));
        let mut line: Vec<&OsStr> = self.wrapper.iter().map(OsStr::new).collect();
        line.push(binary.as_os_str());
        line.extend(self.arguments.iter().map(OsStr::new));
        let mut command = Command::new(line[0]);
        // A runner that set these for this process did not mean them for the next one.
        let is_ours = |name: &str| name.starts_with("NEXTEST") || name.starts_with("NETNS_TEST_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
            command.env_remove(name);
        }
        command.args(&line[1..]).envs(self.variables).env(AGAIN, "1");
        command.stdin(if self.interactive { Stdio::piped() } else { Stdio::null() });
        if copy.is_some() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        Running { child, copy }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.spawn().wait()
    }
}

/// Set in the environment of tests that are run again.
const AGAIN: &str = "NETNS_PROOF_AGAIN";

/// The user that has no privilege on any Linux (`overflowuid`).
pub const NOBODY: u32 = 65534;

/// Whether this process is root in the machine's first user namespace.
pub fn is_root() -> bool {
    let mapped = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    // The owner of /proc/self is the effective user.
    let own = fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
    own.is_ok_and(|uid| uid == 0) && mapped.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Copies a program that is to be run.
///
/// A process of its own does it: if this one held the copy open for writing while another of its threads starts a
/// process, that process would hold it, too, and the kernel runs no program that somebody may still write (ETXTBSY,
/// execve(2)).
pub fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().expect("cp starts");
    assert!(status.success(), "failed to copy `{}` to `{}`", from.display(), to.display());
}

/// A copy of a binary in a directory that everybody can read.
fn readable_copy(binary: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("netns-test-proof-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let directory = std::env::temp_dir().join(name);
    fs::create_dir(&directory).expect("a directory for the copy");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("its mode");
    copy_program(binary, &directory.join("test"));
    fs::set_permissions(directory.join("test"), fs::Permissions::from_mode(0o755)).expect("its mode");
    directory
}

/// A test binary that runs.
#[derive(Debug)]
pub struct Running {
    /// The process.
    pub child: Child,
    copy: Option<PathBuf>,
}

impl Running {
    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        drop(self.child.stdin.take());
        let (mut out, mut err) =
            (self.child.stdout.take().expect("piped"), self.child.stderr.take().expect("piped"));
        let reader = std::thread::spawn(move || io::read_to_string(&mut err));
        let stdout = io::read_to_string(&mut out).expect("its output is text");
        let stderr = reader.join().expect("the reader does not panic").expect("its output is text");
        let status = self.child.wait().expect("it can be waited for");
        if let Some(copy) = self.copy {
            fs::remove_dir_all(copy).expect("the copy goes");
        }
        Outcome { status, stdout, stderr }
    }
}

/// How a re-run test ended.
#[derive(Debug)]
pub struct Outcome {
    /// The process's status.
    pub status: ExitStatus,
    /// What it wrote, libtest's report with the captured output of failed tests included.
    pub stdout: String,
    /// What it wrote past the capture.
    pub stderr: String,
}

impl Outcome {
    /// Asserts that the one test failed, and that the report says all of these.
    #[track_caller]
    pub fn failed_with(&self, texts: &[&str]) {
        assert!(!self.status.success(), "the test was to fail: {self}");
        assert!(self.stdout.contains("0 passed; 1 failed"), "libtest was to report one failed test: {self}");
        self.says(texts);
    }

    /// Asserts that one test ran and passed.
    #[track_caller]
    pub fn passed(&self) {
        assert!(
            self.status.success() && self.stdout.contains("1 passed; 0 failed"),
            "the test was to pass: {self}"
        );
    }

    /// Asserts that the output holds all of these.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stdout.contains(text) || self.stderr.contains(text), "`{text}` is missing: {self}");
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n--- stdout\n{}\n--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Every `file::test` and `file` that the list of promises names.
    #[test]
    fn tests_that_prove_promises_exist() {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map_or(package.to_owned(), Into::into);
        let list = fs::read_to_string(package.join("PROMISES.md")).expect("the list of promises");
        let cells = list.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
        let mut found = 0;
        for name in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let (file, test) = name.split_once("::").map_or((name, None), |(file, test)| (file, Some(test)));
            let places = [format!("tests/{file}.rs"), format!("benches/{file}.rs"), format!("../{file}")];
            let text = places.iter().find_map(|place| fs::read_to_string(package.join(place)).ok());
            let text = text.unwrap_or_else(|| panic!("`{name}`: there is no such file"));
            if let Some(test) = test {
                assert!(text.contains(&format!("fn {test}(")), "`{name}`: there is no such test");
            }
            found += 1;
        }
        assert!(found > 50, "{found}");
    }
}
