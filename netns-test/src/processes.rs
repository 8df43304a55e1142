//! Processes that are in certain namespaces, found and ended.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::error::{Doing, Error};
use crate::sys;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The namespaces that tell where a process belongs. One that made a network of its own (`unshare -n`) still has the
/// mounts and the host name of the node that it came from.
const KINDS: [&str; 3] = ["net", "mnt", "uts"];

/// A moment of the machine's time since boot, in the clock ticks of proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticks(u64);

impl Ticks {
    pub(crate) const LAST: Self = Self(u64::MAX);

    pub(crate) fn now() -> io::Result<Self> {
        // sysconf(3) knows this one on every Linux.
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        // The clock of the start times. /proc/uptime may be a container's own (LXCFS), which they are not.
        let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
        Ok(Self((since_boot.as_secs_f64() * per_second as f64) as u64))
    }
}

/// What becomes of killed children of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Children {
    /// They are reaped: nobody else will.
    Reaped,
    /// Whoever started them waits for them.
    LeftToTheirParents,
}

/// Kills the processes that are in namespaces of these inode numbers, and what they have started, until none is left.
///
/// The kernel gives the number of a namespace that is
/// gone to the next one, so where the namespaces are not held, only processes that were started `until` their end count.
pub(crate) fn end_all(is_ours: impl Fn(u64) -> bool, until: Ticks, children: Children) -> Result<(), Error> {
    let started = Instant::now();
    // A process may start another one before it is killed.
    loop {
        let found = inside(&is_ours, until).doing(|| "list processes")?;
        if found.is_empty() {
            return Ok(());
        }
        for &process in &found {
            end(Pid::from_raw(process), children).doing(|| format!("kill process {process}"))?;
        }
        if started.elapsed() > PATIENCE {
            return Err(Error::because("kill processes", format!("{found:?} do not die")));
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// The processes that are in these namespaces, and their descendants; without the calling one.
fn inside(is_ours: &impl Fn(u64) -> bool, until: Ticks) -> io::Result<HashSet<i32>> {
    let own = nix::unistd::getpid().as_raw();
    let all: Vec<i32> = numbers("/proc")?.filter(|&process| process != own).collect();
    let is_inside = |process: &i32| {
        KINDS.iter().any(|kind| {
            // A process that has ended or cannot be read is not in.
            inode(&format!("/proc/{process}/ns/{kind}")).is_some_and(is_ours)
        }) && birth(*process).is_some_and(|(_, started)| started <= until)
            // What another test process has got under the same number is in that one's user namespace.
            && sys::userns::is_within_own(&format!("/proc/{process}/ns/user"))
    };
    let mut found: HashSet<i32> = all.iter().copied().filter(is_inside).collect();
    if !found.is_empty() {
        let parents: HashMap<i32, i32> =
            all.iter().filter_map(|&process| Some((process, birth(process)?.0))).collect();
        let descends = |mut process: i32| {
            while let Some(&parent) = parents.get(&process) {
                if found.contains(&parent) {
                    return true;
                }
                process = parent;
            }
            false
        };
        let descendants: Vec<i32> = parents
            .keys()
            .copied()
            .filter(|process| !found.contains(process) && descends(*process))
            .collect();
        found.extend(descendants);
    }
    Ok(found)
}

/// The parent of a process that lives, and when it was started; an ended one is nobody's to kill.
fn birth(process: i32) -> Option<(i32, Ticks)> {
    // proc_pid_stat(5): "pid (name) state parent …"; the name may hold parentheses. The 22nd field is the start.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    match *fields.first()? {
        "Z" | "X" => None,
        _ => Some((fields.get(1)?.parse().ok()?, Ticks(fields.get(19)?.parse().ok()?))),
    }
}

/// The inode number of a namespace, by its link in /proc; `None` where the process has ended or cannot be read.
pub(crate) fn inode(link: &str) -> Option<u64> {
    nix::sys::stat::stat(link).ok().map(|found| found.st_ino)
}

/// The numbers among the names in a directory: the processes in /proc, the threads in /proc/PID/task.
pub(crate) fn numbers(directory: &str) -> io::Result<impl Iterator<Item = i32>> {
    Ok(fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()))
}

/// Kills a process, and reaps it if it is a child and that is wanted.
fn end(process: Pid, children: Children) -> nix::Result<()> {
    match kill(process, Signal::SIGKILL) {
        Ok(()) | Err(nix::Error::ESRCH) if children == Children::LeftToTheirParents => return Ok(()),
        Ok(()) | Err(nix::Error::ESRCH) => {}
        Err(error) => return Err(error),
    }
    match waitpid(process, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)) {
        // Somebody else's child, or reaped by the one who started it.
        Ok(_) | Err(nix::Error::ECHILD) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ticks, birth};

    #[test]
    fn the_clock_is_that_of_the_start_times() {
        let before = Ticks::now().expect("the kernel has it");
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("it starts");
        let (_, started) = birth(child.id().cast_signed()).expect("it lives");
        let after = Ticks::now().expect("the kernel has it");
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(before <= started && started <= after, "{before:?}, {started:?}, {after:?}");
    }
}
