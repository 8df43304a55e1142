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
    const LAST: Self = Self(u64::MAX);

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

/// What of the processes in certain namespaces counts.
///
/// The kernel gives the number of a namespace that is gone to the next one. Where the namespaces are not held, somebody else's may have
/// one of these numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Among<'a> {
    /// All of them: the namespaces are held.
    All,
    /// Those that were started until then and whose parents are among these: whoever still has another parent belongs to
    /// that one's test.
    Orphans { until: Ticks, adopted_by: &'a [i32] },
}

/// Kills the processes that are in namespaces of these inode numbers, and what they have started, until none is left.
pub(crate) fn end_all(
    is_ours: impl Fn(u64) -> bool,
    among: Among<'_>,
    children: Children,
) -> Result<(), Error> {
    let started = Instant::now();
    // A process may start another one before it is killed.
    loop {
        let found = inside(&is_ours, among).doing(|| "list processes")?;
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
fn inside(is_ours: &impl Fn(u64) -> bool, among: Among<'_>) -> io::Result<HashSet<i32>> {
    let until = match among {
        Among::All => Ticks::LAST,
        Among::Orphans { until, .. } => until,
    };
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
        if let Among::Orphans { adopted_by, .. } = among {
            found = orphans(&found, &parents, adopted_by);
        }
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

/// Those that have, as the first of their ancestors that is not one of them, one of these adopters.
fn orphans(found: &HashSet<i32>, parents: &HashMap<i32, i32>, adopted_by: &[i32]) -> HashSet<i32> {
    let is_orphan = |process: &i32| {
        let mut parent = parents.get(process);
        while let Some(one_of_them) = parent.filter(|parent| found.contains(parent)) {
            parent = parents.get(one_of_them);
        }
        // One that has ended meanwhile, too: its child has just been adopted. 0 is a parent in another PID namespace.
        parent.is_some_and(|parent| {
            adopted_by.contains(parent) || *parent != 0 && !parents.contains_key(parent)
        })
    };
    found.iter().copied().filter(is_orphan).collect()
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
    use std::collections::{HashMap, HashSet};

    use super::{Ticks, birth, orphans};

    #[test]
    fn who_has_a_parent_elsewhere_is_no_orphan() {
        // 10 and its child were adopted by 1; 20, which has a number of theirs, is the child of another test process.
        // The parent of 30 has ended meanwhile; that of 31 cannot be seen; 32 itself has ended.
        let parents = HashMap::from([(1, 0), (5, 1), (10, 1), (11, 10), (20, 5), (21, 20), (30, 9), (31, 0)]);
        let found = HashSet::from([10, 11, 20, 21, 30, 31, 32]);
        assert_eq!(orphans(&found, &parents, &[7, 1]), HashSet::from([10, 11, 30]));
    }

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
