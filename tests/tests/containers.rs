//! Containers: tests run in them, or say which option of the container mends it (promise 9).
//!
//! No engine is needed: `containers.sh` makes what Docker documents, by namespaces, mounts and capabilities, and the program
//! `in-container` installs the filter. Ordinary users make rootless ones; root makes both kinds.

use std::path::{Path, PathBuf};

use netns_test::{Node, netns_test};
use netns_test_tests::{Outcome, Rerun, copy_program, is_root, rerun};

#[netns_test]
#[ignore = "run by its proof"]
async fn works(client: Node, server: Node) -> std::io::Result<()> {
    assert!(!Path::new("/dev/net/tun").exists(), "a container has none");
    let listener = server.listen_tcp(7).await?;
    client.connect_tcp("server:7").await?;
    listener.accept().await?;
    server.write("/etc/netns-test-proof", "x")?;
    assert!(server.command("cat").arg("/etc/netns-test-proof").status().await?.success());
    let found = client.command("getent").args(["ahostsv4", "server"]).output().await?;
    assert!(found.stdout.starts_with(server.ip4().to_string().as_bytes()), "{found:?}");
    Ok(())
}

#[netns_test]
#[ignore = "fails on purpose"]
async fn fails(_client: Node, _server: Node) {
    panic!("on purpose");
}

/// Who runs the tests in it.
#[derive(Clone, Copy, Debug)]
enum User {
    Root,
    Ordinary,
}

/// What options of an engine decide.
#[derive(Clone, Copy, Debug)]
struct Container {
    capabilities: &'static str,
    has_filter: bool,
    covers_paths: bool,
    sys_is_read_only: bool,
    root_is_read_only: bool,
}

/// `docker run`.
const DEFAULT: Container = Container {
    capabilities: "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,\
        +net_bind_service,+sys_chroot,+kill,+audit_write",
    has_filter: true,
    covers_paths: true,
    sys_is_read_only: true,
    root_is_read_only: false,
};

/// `docker run --privileged`.
const PRIVILEGED: Container = Container {
    capabilities: "+all",
    has_filter: false,
    covers_paths: false,
    sys_is_read_only: false,
    root_is_read_only: false,
};

impl Container {
    /// Runs a test in a container of each kind that this user can make.
    #[track_caller]
    fn run(self, user: User, rerun: impl Fn() -> Rerun) -> Vec<Outcome> {
        let program = self.has_filter.then(Program::new);
        let filter = program.as_ref().map_or_else(String::new, |program| program.0.display().to_string());
        let yes = |is: bool| if is { "1" } else { "" };
        let mode = |is_read_only: bool| if is_read_only { "ro" } else { "rw" };
        let make = |rootless: bool| {
            rerun()
                .env("script", SCRIPT)
                .env("rootless", yes(rootless))
                .env("capabilities", self.capabilities)
                .env("user", yes(matches!(user, User::Ordinary)))
                .env("filter", &filter)
                .env("covered", yes(self.covers_paths))
                .env("sys", mode(self.sys_is_read_only))
                .env("root", mode(self.root_is_read_only))
                .in_shell(SCRIPT)
        };
        let mut outcomes = vec![make(true).as_ordinary_user().run()];
        if is_root() {
            outcomes.push(make(false).run());
        }
        outcomes
    }

    #[track_caller]
    fn refuses(self, user: User, cause: &str, mend: &str) {
        for outcome in self.run(user, || rerun("works")) {
            outcome.failed_with(&["cannot run here", cause, "to mend it: start the container with", mend]);
        }
    }

    #[track_caller]
    fn runs_tests(self, user: User) {
        for outcome in self.run(user, || rerun("works")) {
            outcome.passed();
        }
    }
}

const SCRIPT: &str = include_str!("containers.sh");

/// The program that installs the filter, copied to where everybody can read it.
struct Program(PathBuf);

impl Program {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("netns-test-filter-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).expect("a directory for the program");
        let place = directory.join("in-container");
        copy_program(env!("CARGO_BIN_EXE_in-container").as_ref(), &place);
        Self(place)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What stays lies in the directory of temporary files.
        let _kept = self.0.parent().map(std::fs::remove_dir_all);
    }
}

const USERS: [User; 2] = [User::Root, User::Ordinary];

#[test]
fn a_default_container_is_refused_for_its_filter() {
    for user in USERS {
        DEFAULT.refuses(user, "a seccomp filter forbids user namespaces", "`--privileged`");
    }
}

#[test]
fn a_default_container_lists_its_tests() {
    for outcome in DEFAULT.run(User::Ordinary, || Rerun::with(&["--list", "--ignored"])) {
        assert!(outcome.status.success() && !outcome.stderr.contains("netns-test"), "{outcome}");
        outcome.says(&["works: test", "fails: test"]);
    }
}

#[test]
fn a_default_container_skips_where_that_is_asked_for() {
    for outcome in DEFAULT.run(User::Root, || rerun("works").env("NETNS_TEST_UNSUPPORTED", "skip")) {
        outcome.passed();
        assert!(outcome.stderr.contains("netns-test: skipped works: a seccomp filter"), "{outcome}");
    }
}

#[test]
fn without_the_filter_settings_are_read_only() {
    for user in USERS {
        let container = Container { has_filter: false, ..DEFAULT };
        container.refuses(user, "/proc/sys is mounted read-only", "`--security-opt systempaths=unconfined`");
    }
}

#[test]
fn without_filter_and_covered_paths_tests_run() {
    for user in USERS {
        Container { has_filter: false, covers_paths: false, ..DEFAULT }.runs_tests(user);
    }
}

#[test]
fn with_two_capabilities_more_its_root_runs_tests_under_the_filter() {
    let capabilities = format!("{},+sys_admin,+net_admin", DEFAULT.capabilities).leak();
    Container { capabilities, ..DEFAULT }.runs_tests(User::Root);
}

#[test]
fn a_privileged_container_runs_tests() {
    for user in USERS {
        PRIVILEGED.runs_tests(user);
    }
}

#[test]
fn a_root_file_system_that_is_read_only_is_no_obstacle() {
    for user in USERS {
        Container { root_is_read_only: true, ..PRIVILEGED }.runs_tests(user);
    }
}

#[test]
fn a_failed_test_whose_files_cannot_be_written_says_what_to_do() {
    let read_only = Container { root_is_read_only: true, ..PRIVILEGED };
    for outcome in read_only.run(User::Root, || rerun("fails").env("NETNS_TEST_DIR", "/netns-test-proof")) {
        outcome.failed_with(&[
            "on purpose",
            "`/netns-test-proof/",
            "Read-only file system",
            "to mend it: set NETNS_TEST_DIR to a directory",
        ]);
    }
}
