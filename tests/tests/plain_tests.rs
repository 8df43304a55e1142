//! Plain tests stay plain: in a binary that holds netns tests, too, an ordinary test has what it had before.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::{env, fs};

use netns_test::{Node, netns_test};

/// What makes this a binary with both kinds.
#[netns_test(nodes = 2)]
fn a_netns_test(one: Node, other: Node) {
    assert_ne!(one.ip(), other.ip());
}

/// This binary once more, asked for one of its tests.
fn again(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the test binary"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command
}

fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// What follows `name:` in /proc/self/status.
fn status(name: &str) -> String {
    let text = fs::read_to_string("/proc/thread-self/status").expect("the status of the thread");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no `{name}` in {text}")).trim().to_owned()
}

/// The namespaces of the calling thread that are not the user namespace.
fn namespaces() -> Vec<String> {
    let link = |kind: &&str| fs::read_link(format!("/proc/thread-self/ns/{kind}")).expect("a namespace");
    ["net", "mnt", "uts", "ipc", "pid", "cgroup"]
        .iter()
        .map(|kind| link(kind).display().to_string())
        .collect()
}

fn is_ordinary_user() -> bool {
    !status("Uid").starts_with("0\t")
}

#[test]
#[ignore = "a part of `a_process_without_standard_streams_gets_none_of_this_crates`"]
fn looks_at_its_standard_streams() {
    for number in 0..2 {
        assert_eq!(
            fs::read_link(format!("/proc/self/fd/{number}")).expect("it is open"),
            PathBuf::from("/dev/null")
        );
    }
}

#[test]
fn a_process_without_standard_streams_gets_none_of_this_crates() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&-", "sh"]).arg(env::current_exe().expect("the test binary"));
    let output =
        shell.args(["--exact", "looks_at_its_standard_streams", "--nocapture", "--ignored"]).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{output:?}");
}

#[test]
#[ignore = "a part of `a_plain_test_has_the_namespaces_of_its_caller`"]
fn prints_where_it_is() {
    let directory = env::current_dir().expect("a working directory");
    println!("namespaces {}", namespaces().join(" "));
    println!("directory {}", directory.display());
    println!("user {}", status("Uid"));
    println!("group {}", status("Gid"));
}

/// The one who calls this binary here is a plain test of the same binary: what a start of it changed would differ.
#[test]
fn a_plain_test_has_the_namespaces_of_its_caller() {
    let directory = fs::canonicalize(env::temp_dir()).expect("a directory");
    let output = again("prints_where_it_is").current_dir(&directory).output().expect("the same binary");
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{out}{err}");
    for wanted in [
        format!("namespaces {}", namespaces().join(" ")),
        format!("directory {}", directory.display()),
        format!("user {}", status("Uid")),
        format!("group {}", status("Gid")),
    ] {
        assert!(out.lines().any(|line| line.ends_with(&wanted)), "`{wanted}` is not in\n{out}");
    }
}

#[test]
fn a_plain_thread_is_where_the_process_is() {
    let of_process = fs::read_link("/proc/self/ns/net").expect("the process's namespace");
    assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), of_process);
    let child = Command::new("readlink").arg("/proc/self/ns/net").output().expect("readlink");
    assert_eq!(String::from_utf8_lossy(&child.stdout).trim(), of_process.to_string_lossy());
}

#[test]
fn an_ordinary_user_has_no_capabilities() {
    if is_ordinary_user() {
        assert_eq!(u64::from_str_radix(&status("CapEff"), 16), Ok(0));
        assert_eq!(u64::from_str_radix(&status("CapAmb"), 16), Ok(0));
        assert_eq!(u64::from_str_radix(&status("CapInh"), 16), Ok(0));
        let child = Command::new("grep").args(["CapPrm", "/proc/self/status"]).output().expect("grep");
        assert!(String::from_utf8_lossy(&child.stdout).trim().ends_with("\t0000000000000000"), "{child:?}");
    }
}

/// A file of the test's own that is removed with it.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let file = Self(env::temp_dir().join(format!("netns-test-plain-{}-{name}", std::process::id())));
        fs::write(&file.0, "secret").expect("a new file");
        file
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

#[test]
fn files_are_as_readable_as_before() {
    let file = File::new("mode-000");
    assert_eq!(fs::metadata(&file.0).unwrap().uid().to_string(), status("Uid").split('\t').next().unwrap());
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o000)).unwrap();
    let read = fs::read_to_string(&file.0);
    // CAP_DAC_OVERRIDE is what root reads by.
    let overrides = u64::from_str_radix(&status("CapEff"), 16).unwrap() & (1 << 1) != 0;
    match (overrides, read) {
        (true, read) => assert_eq!(read.unwrap(), "secret"),
        (false, read) => assert_eq!(read.unwrap_err().kind(), ErrorKind::PermissionDenied),
    }
    if is_ordinary_user() {
        for path in ["/etc/shadow", "/proc/1/environ"] {
            match fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                read => assert_eq!(read.map(drop).unwrap_err().kind(), ErrorKind::PermissionDenied, "{path}"),
            }
        }
    }
}

#[test]
fn listing_names_both_kinds() {
    let mut list = Command::new(env::current_exe().unwrap());
    let output = list.arg("--list").output().expect("the same binary");
    let (out, err) = texts(&output);
    assert!(output.status.success() && err.is_empty(), "{err}");
    assert!(out.contains("a_netns_test: test") && out.contains("listing_names_both_kinds: test"), "{out}");
}

#[test]
fn listing_calls_no_unshare() {
    let traced = Command::new("strace")
        .args(["-f", "-e", "trace=unshare,setns,clone,clone3,mount,capset"])
        .arg(env::current_exe().unwrap())
        .arg("--list")
        .output();
    let output = match traced {
        Ok(output) => output,
        // Not every machine has it.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => panic!("strace: {error}"),
    };
    let (_, trace) = texts(&output);
    for call in ["unshare(", "setns(", "mount(", "capset(", "CLONE_NEW"] {
        assert!(!trace.contains(call), "{call}\n{trace}");
    }
}

#[test]
#[ignore = "a part of `opting_out_leaves_the_process_alone`"]
fn prints_its_user_namespace() {
    println!("user namespace {}", fs::read_link("/proc/self/ns/user").unwrap().display());
    println!("capabilities {} {}", status("CapEff"), status("CapPrm"));
}

#[test]
fn opting_out_leaves_the_process_alone() {
    let output =
        again("prints_its_user_namespace").env("NETNS_TEST_USERNS", "0").output().expect("the same binary");
    let (out, err) = texts(&output);
    let here = fs::read_link("/proc/self/ns/user").unwrap();
    assert!(out.contains(&format!("user namespace {}", here.display())), "{out}{err}");
    // Privileged processes need no user namespace, and run their netns tests all the same.
    let output = again("a_netns_test").env("NETNS_TEST_USERNS", "0").output().expect("the same binary");
    let (out, err) = texts(&output);
    if is_ordinary_user() {
        assert!(!output.status.success() && err.contains("NETNS_TEST_USERNS"), "{out}{err}");
    } else if u64::from_str_radix(&status("CapEff"), 16).unwrap() & (1 << 21) != 0 {
        assert!(output.status.success(), "{out}{err}");
    }
}

/// What this crate keeps beside the process must not confuse code that waits for its children.
#[test]
fn a_plain_test_has_no_child_process() {
    let output = again("waits_for_any_child").output().expect("the test binary runs");
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{stdout}{stderr}");
}

#[test]
#[ignore = "a part of `a_plain_test_has_no_child_process`"]
fn waits_for_any_child() {
    // SAFETY: without a place for the status nothing is written.
    let waited = unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) };
    let error = std::io::Error::last_os_error();
    assert_eq!((waited, error.raw_os_error()), (-1, Some(libc::ECHILD)));
}
