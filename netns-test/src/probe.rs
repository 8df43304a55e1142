//! Why the system refused, and the command that mends it.

use std::{env, fs};

use nix::errno::Errno;

use crate::bootstrap::{self, Refused, State, Step};
use crate::limits::Limits;

/// Why netns tests cannot run in this process; `None` where they can.
pub(crate) fn refusal() -> Option<String> {
    match bootstrap::state() {
        Some(State::Privileged | State::UserNamespace) => None,
        Some(State::Refused(refused)) => Some(explain(refused, &Machine::read())),
        Some(State::OptedOut) => Some(format!(
            "`NETNS_TEST_USERNS=0` is set, and the process lacks the capabilities to do without a user namespace\n\
             to mend it: unset NETNS_TEST_USERNS, {}",
            as_root()
        )),
        Some(State::Listing) => {
            Some("the process was started with `--list`, which lists tests and runs none".to_owned())
        }
        Some(State::HasThreads) => Some(
            "the process has threads already, so it can no longer enter a user namespace\n\
             to mend it: call `netns_test::init()` first in `main`, before anything that starts threads (in tests, \
             use `#[netns_test]`)"
                .to_owned(),
        ),
        None => Some(
            "nothing ran before `main`: the binary was linked without its constructors\n\
             to mend it: do not strip the section `.init_array`"
                .to_owned(),
        ),
    }
}

/// Whether a test that cannot run here is to be skipped, and not to fail.
pub(crate) fn may_skip() -> bool {
    env::var_os("NETNS_TEST_UNSUPPORTED").is_some_and(|value| value == "skip")
}

/// What Docker and Podman forbid by default and the tests need, for those who do not want a privileged container.
const UNCONFINED: &str = "--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined";

/// What the machine says about itself; plain data, so that every cause can be tested anywhere.
#[derive(Clone, Debug, Default)]
struct Machine {
    has_user_namespaces: bool,
    limits: Limits,
    unprivileged_userns_clone: Option<u64>,
    apparmor_restricts: Option<u64>,
    seccomp_filter: bool,
    /// Before `main`.
    threads: Option<u64>,
    chrooted: bool,
    root: bool,
}

impl Machine {
    fn read() -> Self {
        // A kernel without the setting has no such file; what cannot be read is not claimed to be a cause.
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ids = |path: &str| fs::metadata(path).map(|data| std::os::unix::fs::MetadataExt::ino(&data));
        Self {
            has_user_namespaces: fs::symlink_metadata("/proc/self/ns/user").is_ok(),
            limits: Limits::read().within(bootstrap::before().limits),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp_filter: status
                .lines()
                .any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2")),
            threads: bootstrap::before().threads,
            root: nix::unistd::geteuid().is_root(),
            // Readable as root only; where it cannot be told, it is not claimed.
            chrooted: matches!((ids("/"), ids("/proc/1/root/.")), (Ok(own), Ok(init)) if own != init),
        }
    }
}

/// The way out that is left to those who may become root, with the variable that cargo knows for this target.
pub(crate) fn run_as_root() -> String {
    let environment = if cfg!(target_env = "musl") { "MUSL" } else { "GNU" };
    let triple = match env::consts::ARCH {
        known @ ("x86_64" | "aarch64") => format!("{}_UNKNOWN_LINUX_{environment}", known.to_uppercase()),
        _ => "<TRIPLE>".to_owned(),
    };
    format!("run the tests as root (`CARGO_TARGET_{triple}_RUNNER=\"sudo -E\" cargo test`)")
}

fn as_root() -> String {
    format!("or {}", run_as_root())
}

/// The command that gives the test binaries, which lie beside this one, an AppArmor profile that allows user namespaces.
fn apparmor_profile() -> String {
    let own = env::current_exe().ok().and_then(|path| Some(path.parent()?.display().to_string()));
    let directory = own.unwrap_or_else(|| "DIRECTORY".to_owned());
    format!(
        "`printf 'abi <abi/4.0>,\\nprofile netns-tests \"{directory}/*\" flags=(unconfined) {{ userns, }}\\n' \
         | sudo tee /etc/apparmor.d/netns-tests && sudo apparmor_parser -r /etc/apparmor.d/netns-tests`"
    )
}

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
    let root = as_root();
    match (step, errno) {
        (_, Errno::ENOSYS | Errno::EINVAL) | (Step::Unshare, Errno::EPERM)
            if !machine.has_user_namespaces =>
        {
            (
                "the kernel has no user namespaces".to_owned(),
                format!("boot a kernel with CONFIG_USER_NS=y, {root}"),
            )
        }
        // unshare(2): a process with threads cannot enter one. Where their number is not known, it is what EINVAL means.
        (Step::Unshare, Errno::EINVAL) if machine.threads != Some(1) => (
            "a thread was already running before `main`, so the process can no longer enter a user namespace"
                .to_owned(),
            format!(
                "start no threads in constructors (`#[ctor]`, LD_PRELOAD libraries, sanitizers, profilers), {root}"
            ),
        ),
        (_, Errno::ENOSPC | Errno::EUSERS) => {
            let limit = machine.limits.user.map_or_else(|| "unknown".to_owned(), |limit| limit.to_string());
            (
                format!("the limit of user namespaces is exhausted (user.max_user_namespaces is {limit})"),
                format!("`sudo sysctl -w user.max_user_namespaces=15000`, {root}"),
            )
        }
        (Step::Unshare | Step::Trial, Errno::EPERM) if machine.unprivileged_userns_clone == Some(0) => (
            "the kernel refuses user namespaces to ordinary users (kernel.unprivileged_userns_clone is 0)"
                .to_owned(),
            format!("`sudo sysctl -w kernel.unprivileged_userns_clone=1`, {root}"),
        ),
        // Before AppArmor's: that one lets the namespace be made, and then denies its capabilities.
        (Step::Unshare | Step::Trial, Errno::EPERM | Errno::ENOSYS | Errno::EACCES)
            if machine.seccomp_filter =>
        {
            (
                "a seccomp filter forbids user namespaces (Docker's and Podman's default profile does)"
                    .to_owned(),
                format!("start the container with `--privileged`, or with `{UNCONFINED}`"),
            )
        }
        (_, Errno::EPERM | Errno::EACCES) if machine.apparmor_restricts == Some(1) => (
            "AppArmor restricts user namespaces of ordinary users (Ubuntu 23.10 and newer)".to_owned(),
            format!(
                "`sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0` (until the next boot), \
                 or an AppArmor profile for the test binaries ({}), {root}",
                apparmor_profile()
            ),
        ),
        // user_namespaces(7), "Defining user and group ID mappings", since Linux 5.12.
        (Step::Map, Errno::EPERM) if machine.root => (
            "root lacks CAP_SETFCAP, without which it cannot take its user id along into a user namespace".to_owned(),
            "start the container with `--cap-add SETFCAP` or `--privileged`, or run the tests as an ordinary user"
                .to_owned(),
        ),
        (Step::Unshare, Errno::EPERM) if machine.chrooted => (
            "the process is in a chroot(2), where the kernel refuses user namespaces".to_owned(),
            "use pivot_root(2) or a container instead of the chroot".to_owned(),
        ),
        (_, Errno::EMFILE | Errno::ENFILE) => (
            "the process has no file descriptor left".to_owned(),
            "raise the limit: `ulimit -n 4096`".to_owned(),
        ),
        // clone(2): RLIMIT_NPROC, or the pids controller of a control group.
        (_, Errno::EAGAIN) => (
            "the user, or the container, may start no more processes and threads".to_owned(),
            "raise the limit: `ulimit -u`, or a container's `--pids-limit`".to_owned(),
        ),
        _ => (
            format!("the system refuses user namespaces: {}", errno.desc()),
            format!("look for a security module or container setting that forbids unshare(2), {root}"),
        ),
    }
}

/// What mends the refusal of an operation, by what it says; in addition to the kernel's own words.
pub(crate) fn advice(errno: Option<i32>, operation: &str) -> Option<String> {
    let limits = || Limits::read().within(bootstrap::before().limits);
    advise(Errno::from_raw(errno?), operation, limits)
}

fn advise(errno: Errno, operation: &str, limits: impl FnOnce() -> Limits) -> Option<String> {
    match errno {
        Errno::ENOSPC if operation.contains("namespace") => {
            let (kind, setting, limit) = match limits().lowest() {
                Some(((kind, setting), limit)) => (kind, setting, limit.to_string()),
                None => ("network", "user.max_net_namespaces", "unknown".to_owned()),
            };
            Some(format!(
                "the limit of {kind} namespaces is exhausted ({setting} is {limit})\n\
                 to mend it: `sudo sysctl -w {setting}=15000`"
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
        // pthread_create(3): RLIMIT_NPROC, or the pids controller of a control group.
        Errno::EAGAIN if operation.starts_with("start ") => Some(
            "the user, or the container, may start no more processes and threads\n\
             to mend it: raise the limit (`ulimit -u`, or a container's `--pids-limit`), or run fewer tests at once \
             (`--test-threads`)"
                .to_owned(),
        ),
        Errno::EROFS | Errno::EACCES if operation.starts_with("set `net/") => Some(
            "/proc/sys is mounted read-only, as containers have it, so a network's settings cannot be made\n\
             to mend it: start the container with `--privileged` or `--security-opt systempaths=unconfined`, or with \
             `--cap-add SYS_ADMIN --cap-add NET_ADMIN --security-opt apparmor=unconfined` and run the tests as its root, \
             or run `mount -o remount,rw /proc/sys` in it first"
                .to_owned(),
        ),
        Errno::EPERM if operation.contains("mount a sysfs") => Some(
            "parts of /sys are covered, as containers have it, and the kernel gives a user namespace no \
             /sys that shows more\n\
             to mend it: start the container with `--privileged`, or with `--security-opt systempaths=unconfined`, \
             or run the tests as its root"
                .to_owned(),
        ),
        Errno::EPERM | Errno::EACCES if operation.contains("mount") => Some(
            "a security module or a seccomp filter forbids mounts (Docker's default profile does)\n\
             to mend it: start the container with `--privileged`"
                .to_owned(),
        ),
        _ if operation.contains("/etc`") || operation.contains("/etc/") => Some(
            "the host lacks files of the resolver, and they cannot be put there for the tests alone\n\
             to mend it: `sudo mkdir -p /etc && sudo touch /etc/hosts /etc/nsswitch.conf /etc/resolv.conf`"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(step: Step, errno: Errno, machine: Machine) -> String {
        explain(Refused { step, errno }, &Machine { has_user_namespaces: true, ..machine })
    }

    #[test]
    fn every_cause_has_a_message_and_a_command_of_its_own() {
        let other = || Machine { threads: Some(1), ..Machine::default() };
        let texts = [
            explain(Refused { step: Step::Unshare, errno: Errno::EINVAL }, &Machine::default()),
            told(
                Step::Unshare,
                Errno::ENOSPC,
                Machine { limits: Limits { user: Some(0), ..Limits::default() }, ..other() },
            ),
            told(Step::Unshare, Errno::EPERM, Machine { unprivileged_userns_clone: Some(0), ..other() }),
            told(Step::Use, Errno::EPERM, Machine { apparmor_restricts: Some(1), ..other() }),
            told(Step::Unshare, Errno::EPERM, Machine { seccomp_filter: true, ..other() }),
            told(Step::Unshare, Errno::EPERM, Machine { chrooted: true, ..other() }),
            told(Step::Unshare, Errno::EINVAL, Machine { threads: Some(2), ..other() }),
            told(Step::Unshare, Errno::EPERM, other()),
            told(Step::Trial, Errno::EMFILE, other()),
            told(Step::Janitor, Errno::EAGAIN, other()),
            told(Step::Map, Errno::EPERM, Machine { root: true, ..other() }),
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

    #[test]
    fn apparmor_has_three_ways_out() {
        let text =
            told(Step::Use, Errno::EPERM, Machine { apparmor_restricts: Some(1), ..Machine::default() });
        for way in
            ["sudo sysctl -w", "until the next boot", "userns,", "apparmor_parser -r", "_RUNNER=\"sudo -E\""]
        {
            assert!(text.contains(way), "`{way}` is missing: {text}");
        }
        // Both at once, as in a container on such a machine: the filter comes first, since AppArmor lets the namespace be made.
        let both = Machine { apparmor_restricts: Some(1), seccomp_filter: true, ..Machine::default() };
        assert!(told(Step::Unshare, Errno::EPERM, both.clone()).contains("seccomp"));
        assert!(told(Step::Use, Errno::EPERM, both).contains("AppArmor"));
    }

    #[test]
    fn einval_is_blamed_on_threads_only_where_there_were_some() {
        let with = |threads| told(Step::Unshare, Errno::EINVAL, Machine { threads, ..Machine::default() });
        assert!(with(Some(2)).contains("before `main`") && with(None).contains("before `main`"));
        assert!(!with(Some(1)).contains("before `main`"), "{}", with(Some(1)));
    }

    #[test]
    #[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
    fn the_variable_of_this_target_is_named() {
        assert!(as_root().contains("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="));
    }

    #[test]
    fn every_refused_operation_has_advice_of_its_own() {
        let limits = || Limits { net: Some(9), mount: Some(3), ..Limits::default() };
        let cases = [
            (Errno::ENOSPC, "create namespaces", "sysctl -w user.max_mnt_namespaces=15000"),
            (Errno::EOPNOTSUPP, "create veth `a/eth0` – `b/eth0`", "modprobe veth"),
            (Errno::EOPNOTSUPP, "create bridge `switch/bridge`", "modprobe bridge"),
            (Errno::EMFILE, "open a netlink socket", "ulimit -n"),
            (Errno::EAGAIN, "start the thread of the test", "ulimit -u"),
            (Errno::EROFS, "set `net/ipv4/ip_forward` to 1", "mount -o remount,rw /proc/sys"),
            (Errno::EPERM, "mount a sysfs of its own on `/sys`", "systempaths=unconfined"),
            (Errno::EACCES, "make the mounts of the new mount namespace private", "--privileged"),
            (Errno::ENOENT, "mount a tmpfs on `/etc`", "touch /etc/hosts"),
        ];
        for (errno, operation, command) in cases {
            let text = advise(errno, operation, limits).unwrap_or_default();
            assert!(text.contains(command) && text.contains("to mend it: "), "{operation}: {text}");
        }
        assert_eq!(advise(Errno::ENOENT, "open a netlink socket", limits), None);
    }
}
