//! Before `main`: a user namespace, while the process still has one thread.
//!
//! `unshare(CLONE_NEWUSER)` fails with EINVAL in a process with more threads than one (user_namespaces(7)), so it has to
//! happen before libtest starts any. The user is mapped to itself, the effective capabilities are cleared and the
//! permitted ones kept: plain tests can do what they could before, and the threads of netns tests raise what they need.
//!
//! Code here runs in a constructor: it makes system calls and little else, never prints, never fails. It records what
//! happened, and the first netns test reports it.

use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::read;

use crate::limits::Limits;
use crate::sys::caps::{CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_SYS_CHROOT, Sets};
use crate::sys::userns::As;
use crate::{janitor, listing, probe, sys};

/// What the process may do, as the constructor found or made it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State {
    /// The process had every capability that is needed, and was left as it is.
    Privileged,
    /// The process is in a user namespace of its own.
    UserNamespace,
    /// It asked for a list of its tests: nothing was done.
    Listing,
    /// `NETNS_TEST_USERNS=0`, and the process has not the capabilities: nothing was done.
    OptedOut,
    /// The process had threads already when it was to be prepared, in its `main`: nothing was done.
    HasThreads,
    /// A step was refused.
    Refused(Refused),
}

/// The step that the kernel refused, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) step: Step,
    pub(crate) errno: Errno,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Making a child process to try it in.
    Trial,
    /// `unshare(CLONE_NEWUSER)`.
    Unshare,
    /// Writing /proc/self/setgroups, uid_map or gid_map.
    Map,
    /// Using a capability in the new namespace.
    Use,
    /// Clearing the effective capabilities.
    Clear,
    /// Forking the janitor.
    Janitor,
}

impl Step {
    fn refused(self, errno: Errno) -> Refused {
        Refused { step: self, errno }
    }
}

/// What netns tests do: make namespaces and interfaces, open raw sockets, enter mount namespaces (setns(2)).
const NEEDED: [u32; 4] = [CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN, CAP_SYS_CHROOT];

/// The variables by which clients find a proxy of the host's network.
pub(crate) const PROXIES: [&CStr; 12] = [
    c"http_proxy",
    c"https_proxy",
    c"ftp_proxy",
    c"all_proxy",
    c"no_proxy",
    c"socks_proxy",
    c"HTTP_PROXY",
    c"HTTPS_PROXY",
    c"FTP_PROXY",
    c"ALL_PROXY",
    c"NO_PROXY",
    c"SOCKS_PROXY",
];

/// What the process had before anything here changed it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    /// How many threads there were: libtest has some of its own by the time that a refusal is explained.
    pub(crate) threads: Option<u64>,
    /// The limits of the user namespace that it came from. In the one that it is in now they read as if there were none.
    pub(crate) limits: Limits,
    /// The soft and the hard limit of open files, where the soft one was raised.
    open_files: Option<(u64, u64)>,
}

static STATE: OnceLock<State> = OnceLock::new();

static BEFORE: OnceLock<Before> = OnceLock::new();

/// What the process had before the constructor ran; nothing is known where it did nothing.
pub(crate) fn before() -> Before {
    BEFORE.get().copied().unwrap_or_default()
}

/// The soft and the hard limit of open files that the process came with, for its children: programs that use select(2), or
/// close every descriptor that there may be, do not expect a high one. `None` where it was not changed.
pub(crate) fn old_open_files() -> Option<(u64, u64)> {
    before().open_files
}

/// What the constructor left behind; `None` in a process in which it did not run.
pub(crate) fn state() -> Option<State> {
    STATE.get().copied()
}

/// The constructor's work. Every expanded attribute registers it; the first call does it.
pub(crate) fn before_main() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    if !CALLED.swap(true, Ordering::Relaxed) {
        STATE.get_or_init(|| {
            let lists = lists_tests();
            if lists {
                listing::at_exit_where_wanted();
            }
            // What is to be skipped is listed as ignored, where the harness can: that is found out by trying.
            if lists && !probe::may_skip() { State::Listing } else { prepare() }
        });
    }
}

/// The same for a process that is in its `main`; what has been done already stays.
pub(crate) fn late() {
    STATE.get_or_init(|| match sys::env::threads() {
        Some(1) => prepare(),
        _ => State::HasThreads,
    });
}

fn prepare() -> State {
    let (threads, limits) = (sys::env::threads(), Limits::read());
    sys::env::remove_while_alone(&PROXIES);
    let open_files = raise_open_files();
    BEFORE.get_or_init(|| Before { threads, limits, open_files });
    grow_table_of_files();
    if Sets::current().is_ok_and(|sets| sets.can(&NEEDED))
        && matches!(sys::in_trial_child(use_it), Ok(Ok(())))
    {
        return start_janitor().map_or_else(State::Refused, |()| State::Privileged);
    }
    if std::env::var_os("NETNS_TEST_USERNS").is_some_and(|value| value == "0") {
        return State::OptedOut;
    }
    let tried = match sys::in_trial_child(try_user_namespace) {
        Ok(outcome) => outcome,
        Err(error) => Err(Step::Trial.refused(Errno::from_raw(error.raw_os_error().unwrap_or(0)))),
    };
    match tried
        .and_then(|()| enter_user_namespace())
        .and_then(|()| clear_effective())
        .and_then(|()| start_janitor())
    {
        Ok(()) => State::UserNamespace,
        Err(refused) => State::Refused(refused),
    }
}

/// The whole sequence: AppArmor lets a user namespace be made and then denies every capability in it, so the proof is
/// to use one.
fn try_user_namespace() -> Result<(), Refused> {
    enter_user_namespace()?;
    use_it()
}

fn use_it() -> Result<(), Refused> {
    unshare(CloneFlags::CLONE_NEWUTS).map_err(|errno| Step::Use.refused(errno))
}

fn enter_user_namespace() -> Result<(), Refused> {
    sys::userns::enter(As::Itself).map_err(|refused| match refused {
        sys::userns::Refused::Unshare(errno) => Step::Unshare.refused(errno),
        sys::userns::Refused::Map(errno) => Step::Map.refused(errno),
    })
}

fn clear_effective() -> Result<(), Refused> {
    let clear = || Sets { effective: 0, inheritable: 0, ..Sets::current()? }.apply();
    clear().map_err(|error: std::io::Error| {
        Step::Clear.refused(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    })
}

fn start_janitor() -> Result<(), Refused> {
    janitor::start()
        .map_err(|error| Step::Janitor.refused(Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}

/// Raises the soft limit of open files to the hard one: a test needs about 20, and many run at once. Returns what it was.
fn raise_open_files() -> Option<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // A refusal leaves the old limit, and the gate in front of the tests reads what is in force.
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    raised.then_some((soft, hard))
}

/// Makes room in the table of open files for what the tests will hold.
///
/// The kernel doubles the table when it is full, and in a process with threads it waits for an RCU grace period then
/// (`expand_fdtable` in fs/file.c): a stall of 10 ms in the middle of a test. With one thread it does not wait.
fn grow_table_of_files() {
    const ROOM: u64 = 4095;
    let last = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft.saturating_sub(1).min(ROOM));
    // Where there is no standard input the table stays small, and some tests are a little slower.
    if let Ok(copy) = fcntl(std::io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(last as i32)) {
        sys::env::close(copy);
    }
}

/// Whether the command line holds `--list`. `std::env::args` is not filled yet on every C library.
fn lists_tests() -> bool {
    let mut line = [0_u8; 16 * 1024];
    let read = || {
        let file = open(c"/proc/self/cmdline", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        read(&file, &mut line)
    };
    let length = { read }().unwrap_or(0);
    line[..length].split(|&byte| byte == 0).skip(1).any(|argument| argument == b"--list")
}
