//! Why the system refused, and the command that mends it.

use std::fs;

use nix::errno::Errno;

use crate::bootstrap::{Refused, State, Step};

/// Why netns tests cannot run in this process; `None` where they can.
pub(crate) fn refusal() -> Option<String> {
    match crate::bootstrap::state() {
        Some(State::Privileged | State::UserNamespace) => None,
        Some(State::Refused(refused)) => Some(explain(refused, &Machine::read())),
        Some(State::OptedOut) => Some(
            "`NETNS_TEST_USERNS=0` is set, and the process lacks the capabilities to do without a user namespace\n\
             to mend it: unset NETNS_TEST_USERNS, or run the tests as root"
                .to_owned(),
        ),
        Some(State::Listing) => Some("the process was started with `--list`, which lists tests and runs none".to_owned()),
        None => Some(
            "nothing ran before `main`: the binary was linked without its constructors\n\
             to mend it: do not strip the section `.init_array`"
                .to_owned(),
        ),
    }
}

/// What the machine says about itself; plain data, so that every cause can be tested anywhere.
#[derive(Clone, Debug, Default)]
struct Machine {
    has_user_namespaces: bool,
    max_user_namespaces: Option<u64>,
    max_net_namespaces: Option<u64>,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restricts: Option<u64>,
    seccomp_filter: bool,
    threads: Option<u64>,
    chrooted: bool,
}

impl Machine {
    fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ids = |path: &str| fs::metadata(path).map(|data| std::os::unix::fs::MetadataExt::ino(&data));
        Self {
            has_user_namespaces: fs::symlink_metadata("/proc/self/ns/user").is_ok(),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            max_net_namespaces: number("/proc/sys/user/max_net_namespaces"),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp_filter: status
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")),
            threads: crate::sys::env::threads(),
            // Readable as root only; where it cannot be told, it is not claimed.
            chrooted: matches!((ids("/"), ids("/proc/1/root/.")), (Ok(own), Ok(init)) if own != init),
        }
    }
}

const SEE_ROOT: &str = "or run the tests as root (`CARGO_TARGET_<TRIPLE>_RUNNER=\"sudo -E\" cargo test`)";

fn explain(refused: Refused, machine: &Machine) -> String {
    let Refused { step, errno } = refused;
    let what = match step {
        Step::Trial => "starting a child process to try a user namespace",
        Step::Unshare => "unshare(CLONE_NEWUSER)",
        Step::Map => "writing the user namespace's id maps",
        Step::Use => "using the capabilities of a new user namespace",
        Step::Clear => "clearing the effective capabilities",
        Step::Janitor => "forking a process that cleans up",
    };
    let (cause, mend) = cause(step, errno, machine);
    format!("{cause}\nto mend it: {mend}\nrefused: {what}: {errno}")
}

fn cause(step: Step, errno: Errno, machine: &Machine) -> (String, String) {
    let seccomp = || {
        (
            "a seccomp filter forbids user namespaces (Docker's and Podman's default profile does)"
                .to_owned(),
            "start the container with `--privileged`".to_owned(),
        )
    };
    match (step, errno) {
        (_, Errno::ENOSYS | Errno::EINVAL) | (Step::Unshare, Errno::EPERM)
            if !machine.has_user_namespaces =>
        {
            (
                "the kernel has no user namespaces".to_owned(),
                format!("boot a kernel with CONFIG_USER_NS=y, {SEE_ROOT}"),
            )
        }
        (Step::Unshare, Errno::EINVAL) if machine.threads != Some(1) || errno == Errno::EINVAL => (
            "a thread was already running before `main`, so the process can no longer enter a user namespace"
                .to_owned(),
            format!(
                "start no threads in constructors (`#[ctor]`, LD_PRELOAD libraries, sanitizers, profilers), {SEE_ROOT}"
            ),
        ),
        (_, Errno::ENOSPC | Errno::EUSERS) => {
            let limit =
                machine.max_user_namespaces.map_or_else(|| "unknown".to_owned(), |limit| limit.to_string());
            (
                format!("the limit of user namespaces is exhausted (user.max_user_namespaces is {limit})"),
                format!("`sudo sysctl -w user.max_user_namespaces=15000`, {SEE_ROOT}"),
            )
        }
        (Step::Unshare | Step::Trial, Errno::EPERM) if machine.unprivileged_userns_clone == Some(0) => (
            "the kernel refuses user namespaces to ordinary users (kernel.unprivileged_userns_clone is 0)"
                .to_owned(),
            format!("`sudo sysctl -w kernel.unprivileged_userns_clone=1`, {SEE_ROOT}"),
        ),
        (_, Errno::EPERM | Errno::EACCES) if machine.apparmor_restricts == Some(1) => (
            "AppArmor restricts user namespaces of ordinary users (Ubuntu 23.10 and newer)".to_owned(),
            format!(
                "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` (until the next boot), \
                 an AppArmor profile with `userns,` for the test binaries, {SEE_ROOT}"
            ),
        ),
        (Step::Unshare | Step::Trial, Errno::EPERM | Errno::ENOSYS | Errno::EACCES)
            if machine.seccomp_filter =>
        {
            seccomp()
        }
        (Step::Unshare, Errno::EPERM) if machine.chrooted => (
            "the process is in a chroot(2), where the kernel refuses user namespaces".to_owned(),
            "use pivot_root(2) or a container instead of the chroot".to_owned(),
        ),
        (_, Errno::EMFILE | Errno::ENFILE) => (
            "the process has no file descriptor left".to_owned(),
            "raise the limit: `ulimit -n 4096`".to_owned(),
        ),
        _ => (
            format!("the system refuses user namespaces: {}", errno.desc()),
            format!("look for a security module or container setting that forbids unshare(2), {SEE_ROOT}"),
        ),
    }
}

/// Why a network namespace or an interface could not be made, in addition to the kernel's own words.
pub(crate) fn advice(errno: Option<i32>, operation: &str) -> Option<String> {
    let machine = Machine::read();
    match Errno::from_raw(errno?) {
        Errno::ENOSPC if operation.contains("namespace") => {
            let limit =
                machine.max_net_namespaces.map_or_else(|| "unknown".to_owned(), |limit| limit.to_string());
            Some(format!(
                "the limit of network namespaces is exhausted (user.max_net_namespaces is {limit})\n\
                 to mend it: `sudo sysctl -w user.max_net_namespaces=15000`"
            ))
        }
        Errno::EINVAL
            if operation.contains("namespace") && fs::symlink_metadata("/proc/self/ns/net").is_err() =>
        {
            Some(
                "the kernel has no network namespaces\nto mend it: boot a kernel with CONFIG_NET_NS=y"
                    .to_owned(),
            )
        }
        Errno::EOPNOTSUPP if operation.contains("create ") => {
            let kind = ["veth", "macvlan", "bridge"].into_iter().find(|kind| operation.contains(kind))?;
            Some(format!(
                "the kernel has no {kind} devices\nto mend it: `sudo modprobe {kind}`, or a kernel with CONFIG_{}",
                kind.to_uppercase()
            ))
        }
        Errno::EMFILE | Errno::ENFILE => Some(
            "the process has no file descriptor left; a small test needs about 20\n\
             to mend it: `ulimit -n 4096`, or fewer tests at once (`--test-threads`)"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: Step, errno: Errno, machine: Machine) -> String {
        explain(Refused { step, errno }, &Machine { has_user_namespaces: true, threads: Some(1), ..machine })
    }

    #[test]
    fn every_cause_has_a_message_and_a_command_of_its_own() {
        let other = Machine::default;
        let texts = [
            explain(Refused { step: Step::Unshare, errno: Errno::EINVAL }, &Machine::default()),
            told(Step::Unshare, Errno::ENOSPC, Machine { max_user_namespaces: Some(0), ..other() }),
            told(Step::Unshare, Errno::EPERM, Machine { unprivileged_userns_clone: Some(0), ..other() }),
            told(Step::Use, Errno::EPERM, Machine { apparmor_restricts: Some(1), ..other() }),
            told(Step::Unshare, Errno::EPERM, Machine { seccomp_filter: true, ..other() }),
            told(Step::Unshare, Errno::EPERM, Machine { chrooted: true, ..other() }),
            told(Step::Unshare, Errno::EINVAL, Machine { threads: Some(2), ..other() }),
            told(Step::Unshare, Errno::EPERM, other()),
        ];
        for (index, text) in texts.iter().enumerate() {
            assert!(text.contains("to mend it: "), "{text}");
            assert!(
                !texts[..index].iter().any(|earlier| earlier.lines().next() == text.lines().next()),
                "{text}"
            );
        }
        assert!(texts[1].contains("user.max_user_namespaces is 0"), "{}", texts[1]);
        assert!(texts[2].contains("sysctl -w kernel.unprivileged_userns_clone=1"), "{}", texts[2]);
        assert!(texts[3].contains("kernel.apparmor_restrict_unprivileged_userns=0"), "{}", texts[3]);
    }
}
