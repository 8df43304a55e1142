//! A process beside the test's: it makes PID namespaces, and ends what a killed test process leaves behind.
//!
//! It is forked before `main`, while there is one thread and little memory to copy. It waits for the end of the test
//! process, however that comes, and kills what is still in the networks of its tests then. For tests that start programs
//! it makes the first process of a PID namespace: a fork of the test process itself would cost more and, with its many
//! threads, be dangerous.

use std::collections::HashMap;
use std::ffi::CStr;
use std::num::NonZero;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{fs, io};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, getpid, getppid, pipe2, read, setsid, write};

use crate::error::{Doing, Error};
use crate::processes::{self, Among, Children, Ticks};
use crate::sys::fork::{self, Death};

/// How many namespaces can be in use at once; 8 bytes of address space each, and no memory before they are.
const MOST: NonZero<usize> = NonZero::new(1 << 18).unwrap();

/// How long the janitor may take to answer, in seconds. Well under a millisecond is usual; one that was stopped never does.
const PATIENCE: i64 = 10;

const NAME: &CStr = c"netns-janitor";
const NAME_OF_INIT: &CStr = c"netns-init";

/// The janitor of this process.
struct Janitor {
    process: Pid,
    /// The process that it looks after: a child of it inherits the handle and must not use it.
    master: Pid,
    socket: Mutex<OwnedFd>,
    table: Table,
}

static JANITOR: OnceLock<Janitor> = OnceLock::new();

fn own() -> Option<&'static Janitor> {
    JANITOR.get().filter(|janitor| janitor.master == getpid())
}

/// Forks the janitor. Called before `main`.
pub(crate) fn start() -> io::Result<()> {
    let table = Table::new()?;
    let (master, parent) = (getpid(), getppid());
    let watched = fork::pidfd(master)?;
    let (here, there) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    // Where the process came without standard streams, the numbers of these are free, and what it prints would arrive here.
    let here = here.try_clone()?;
    setsockopt(&here, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
    let slots = table.slots;
    let process =
        fork::fork(CloneFlags::empty(), Death::Silent, move || match serve(watched, there, slots, parent) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(1),
        })?;
    let janitor = Janitor { process, master, socket: Mutex::new(here), table };
    // Nobody else starts one: there is one constructor.
    JANITOR.get_or_init(|| janitor);
    crate::sys::process::at_exit(dismiss)
}

/// With the test process at its regular end there is nothing to clean up, and a janitor that nobody waits for would stay a
/// zombie where the first process of a container reaps nobody.
extern "C" fn dismiss() {
    if !IS_NEEDED.load(Ordering::Acquire)
        && let Some(janitor) = own()
        && kill(janitor.process, Signal::SIGKILL).is_ok()
    {
        // Reaped by somebody who waits for every child: then it is gone, too.
        let _gone = waitpid(janitor.process, Some(WaitPidFlag::__WALL));
    }
}

/// Whether a test has left something behind that may start processes to the very end.
static IS_NEEDED: AtomicBool = AtomicBool::new(false);

/// Says that threads of a test go on after it: then there may be processes to end also after a regular end.
pub(crate) fn stay() {
    IS_NEEDED.store(true, Ordering::Release);
}

/// The inode numbers of the namespaces of tests, in memory that the janitor sees.
struct Table {
    /// The first number is how many of the others were ever used.
    slots: &'static [AtomicU64],
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    positions: HashMap<u64, usize>,
    free: Vec<usize>,
}

impl Table {
    fn new() -> io::Result<Self> {
        Ok(Self { slots: crate::sys::shared::numbers(MOST)?, used: Mutex::default() })
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, inode: u64) -> io::Result<()> {
        let mut used = self.used();
        let position = match used.free.pop() {
            Some(position) => position,
            None => {
                let position = self.slots[0].load(Ordering::Acquire) as usize + 1;
                let slot = self.slots.get(position).ok_or(Errno::ENOSPC)?;
                slot.store(inode, Ordering::Release);
                self.slots[0].store(position as u64, Ordering::Release);
                position
            }
        };
        self.slots[position].store(inode, Ordering::Release);
        used.positions.insert(inode, position);
        Ok(())
    }

    fn remove(&self, inode: u64) {
        let mut used = self.used();
        if let Some(position) = used.positions.remove(&inode) {
            self.slots[position].store(0, Ordering::Release);
            used.free.push(position);
        }
    }
}

/// Says that a namespace is a test's: what is in it when the test process ends is killed.
pub(crate) fn watch(inode: u64) -> Result<(), Error> {
    match own() {
        Some(janitor) => janitor.table.add(inode).doing(|| "note a namespace of a test"),
        None => Err(missing("note a namespace of a test")),
    }
}

/// Says that a namespace is about to be released: its number may be another one's then.
pub(crate) fn forget(inode: u64) {
    if let Some(janitor) = own() {
        janitor.table.remove(inode);
    }
}

fn missing(operation: &str) -> Error {
    Error::because(operation, "this process has no janitor: it was forked off the test process")
}

/// The steps to a PID namespace, for errors; they cross the socket as their numbers.
const STEPS: [&str; 4] = [
    "create a PID namespace",
    "make the mounts of a PID namespace private",
    "mount the /proc of a PID namespace",
    "start the first process of a PID namespace",
];

/// The step that mounts.
const PROC: usize = 2;

/// Makes a PID namespace, with a /proc of its own in the mount namespace of its first process, which ends with the test
/// process or when it is killed, and everything in it with it (pid_namespaces(7)). Returns that process.
pub(crate) fn make_pid_namespace() -> Result<Pid, Error> {
    let janitor = own().ok_or_else(|| missing(STEPS[0]))?;
    let socket = janitor.socket.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = || {
        send(socket.as_raw_fd(), b"?", MsgFlags::MSG_NOSIGNAL)?;
        let mut answer = [0_u8; size_of::<Answer>()];
        loop {
            match recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()) {
                Ok(length) if length == answer.len() => return Ok(answer),
                // The janitor was killed.
                Ok(_) => return Err(Errno::ECONNRESET),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    };
    let [a, b, c, d, step] = asked().doing(|| "ask the janitor process for a PID namespace")?;
    match i32::from_ne_bytes([a, b, c, d]) {
        process if process > 0 => Ok(Pid::from_raw(process)),
        errno if -errno == nix::libc::ENOSPC && step == 0 => {
            // One that cannot be read is not named.
            let limit = fs::read_to_string(MAX_PID_NAMESPACES).unwrap_or_default();
            let cause = format!(
                "the limit of PID namespaces is exhausted (user.max_pid_namespaces is {})\n\
                 to mend it: `sudo sysctl -w user.max_pid_namespaces=15000`",
                limit.trim()
            );
            Err(Error::because(STEPS[0], cause))
        }
        errno if -errno == nix::libc::EPERM && usize::from(step) == PROC => Err(Error::because(
            STEPS[PROC],
            "parts of /proc are covered or read-only, as containers have it, and the kernel gives a user namespace no \
             /proc that shows more\n\
             to mend it: start the container with `--security-opt systempaths=unconfined` or `--privileged`",
        )),
        errno => Err(Error::new(STEPS[usize::from(step)], io::Error::from_raw_os_error(-errno))),
    }
}

const MAX_PID_NAMESPACES: &str = "/proc/sys/user/max_pid_namespaces";

/// A process, or a negative error number and the number of the step.
type Answer = [u8; 5];

fn refused(step: u8, errno: Errno) -> Answer {
    let [a, b, c, d] = (-(errno as i32)).to_ne_bytes();
    [a, b, c, d, step]
}

/// The janitor's life. It has no output, no directory and no descriptor of the test process's.
fn serve(watched: OwnedFd, socket: OwnedFd, slots: &[AtomicU64], parent_of_master: Pid) -> io::Result<()> {
    // Out of reach of Ctrl-C and of runners that kill the test's process group.
    setsid()?;
    fork::set_name(NAME)?;
    fork::reap_children_unseen();
    crate::sys::caps::raise()?;
    std::env::set_current_dir("/")?;
    // Whoever reads the test's output waits for the end of all that could still write to it.
    let [watched, socket] = fork::keep_only([watched, socket])?;
    let mut is_asked = true;
    loop {
        let mut events =
            [PollFd::new(watched.as_fd(), PollFlags::POLLIN), PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        let events = if is_asked { &mut events[..] } else { &mut events[..1] };
        match poll(events, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let happened: Vec<bool> = events.iter().map(|event| event.any() == Some(true)).collect();
        if happened[0] {
            break;
        }
        if happened.get(1) == Some(&true) {
            let mut question = [0];
            is_asked =
                recv(socket.as_raw_fd(), &mut question, MsgFlags::empty()).is_ok_and(|length| length > 0);
            if is_asked {
                let answer = first_process(&watched);
                // The test process may have ended meanwhile; the next poll tells.
                let _ended = send(socket.as_raw_fd(), &answer, MsgFlags::MSG_NOSIGNAL);
            }
        }
    }
    let end = Ticks::now()?;
    let used = slots[0].load(Ordering::Acquire) as usize;
    let own: Vec<u64> = slots[1..=used].iter().map(|slot| slot.load(Ordering::Acquire)).collect();
    let is_ours = |inode: u64| inode != 0 && own.contains(&inode);
    // What the test process leaves is adopted by who adopts this one. First processes of PID namespaces are this one's own children.
    let adopted_by = [getpid().as_raw(), getppid().as_raw(), parent_of_master.as_raw()];
    let among = Among::Orphans { until: end, adopted_by: &adopted_by };
    processes::end_all(is_ours, among, Children::Reaped).map_err(io::Error::from)
}

/// Starts the first process of a new PID namespace.
fn first_process(watched: &OwnedFd) -> Answer {
    let (told, tell) = match pipe2(OFlag::O_CLOEXEC) {
        Ok(ends) => ends,
        Err(errno) => return refused(3, errno),
    };
    let flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let process = match fork::fork(flags, Death::Told, || live_first(watched.as_fd(), tell.as_fd())) {
        Ok(process) => process,
        Err(error) => return refused(0, Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    };
    drop(tell);
    let mut answer = [0; 5];
    match read(&told, &mut answer) {
        Ok(5) if answer == [0; 5] => {
            let [a, b, c, d] = process.as_raw().to_ne_bytes();
            [a, b, c, d, 0]
        }
        Ok(5) => answer,
        Ok(_) => refused(3, Errno::ECHILD),
        Err(errno) => refused(3, errno),
    }
}

/// The life of the first process of a PID namespace. It inherits what the janitor ignores, so orphans are reaped by the
/// kernel.
fn live_first(watched: BorrowedFd<'_>, tell: BorrowedFd<'_>) -> i32 {
    // A name is for tools alone, and here /proc is still the one of another PID namespace.
    let _unnamed = fork::set_name(NAME_OF_INIT);
    let private = mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let made = private
        .map_err(|errno| refused(1, errno))
        .and_then(|()| {
            mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).map_err(|errno| refused(2, errno))
        })
        .map_or_else(|refusal| refusal, |()| [0; 5]);
    if write(tell, &made).is_err() || made != [0; 5] {
        return 1;
    }
    loop {
        let mut events = [PollFd::new(watched, PollFlags::POLLIN)];
        match poll(&mut events, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            _ => return 0,
        }
    }
}
