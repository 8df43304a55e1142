//! Tests that cannot run here: they fail, or are skipped.

use std::io;

use nix::libc;
use nix::unistd::geteuid;

use super::fail;
use crate::__private::{Require, TestCase};
use crate::{bootstrap, probe, sys};

/// Fails a test that cannot run here, or skips it where the user asked for that.
pub(super) fn refuse(test: &TestCase, cause: &str) {
    if probe::may_skip() {
        #[cfg(feature = "harness")]
        SKIPPED.replace(Some(one_line(cause)));
        // Past libtest's capture: it has no run-time skip, and counts the test as ok.
        let text = format!("netns-test: skipped {}: {}\n", test.path(), one_line(cause));
        return sys::process::write_raw(2, text.as_bytes());
    }
    eprintln!("netns-test: this test cannot run here: {cause}");
    fail()
}

fn one_line(cause: &str) -> String {
    cause.replace('\n', "; ")
}

#[cfg(feature = "harness")]
thread_local! {
    /// Why the test that this thread ran was skipped.
    static SKIPPED: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Why the test that this thread ran was skipped while it ran, if it was; told once.
#[cfg(feature = "harness")]
pub(crate) fn take_skipped() -> Option<String> {
    SKIPPED.take()
}

/// Why the test would be skipped.
#[cfg(feature = "harness")]
pub(crate) fn would_skip(test: &TestCase) -> Option<String> {
    let cause = probe::may_skip().then(|| probe::refusal().or_else(|| unmet(test)));
    cause.flatten().map(|cause| one_line(&cause))
}

/// What the test requires and the process is not, with the mending.
pub(super) fn unmet(test: &TestCase) -> Option<String> {
    test.require.iter().find_map(|requirement| match requirement {
        Require::Root => no_root(),
        Require::Bpf => sys::bpf::try_to_load().err().map(|error| no_bpf(&error, geteuid().is_root())),
    })
}

fn no_root() -> Option<String> {
    let is_root = matches!(bootstrap::state(), Some(bootstrap::State::Privileged)) && geteuid().is_root();
    let text =
        || format!("the test requires root (`require = [root]`)\nto mend it: {}", probe::run_as_root());
    (!is_root).then(text)
}

/// bpf(2): what a user namespace allows counts for nothing.
fn no_bpf(error: &io::Error, is_root: bool) -> String {
    let mend = match error.raw_os_error() {
        Some(libc::ENOSYS) => "boot a kernel with CONFIG_BPF_SYSCALL=y".to_owned(),
        Some(libc::EPERM | libc::EACCES) if is_root => {
            "start the container with `--privileged`, or with `--cap-add SYS_ADMIN --cap-add NET_ADMIN`"
                .to_owned()
        }
        Some(libc::EPERM | libc::EACCES) => probe::run_as_root(),
        _ => "look for what forbids `bpftool prog load`".to_owned(),
    };
    format!(
        "the test requires eBPF (`require = [bpf]`)\nto mend it: {mend}\nrefused: bpf(BPF_PROG_LOAD): {error}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_a_mending_of_its_own() {
        let told = |errno, is_root| no_bpf(&io::Error::from_raw_os_error(errno), is_root);
        assert!(told(libc::ENOSYS, true).contains("CONFIG_BPF_SYSCALL"));
        assert!(told(libc::EPERM, true).contains("--cap-add SYS_ADMIN"));
        assert!(told(libc::EPERM, false).contains("sudo -E"));
        assert!(told(libc::EINVAL, true).contains("bpftool"));
    }
}
