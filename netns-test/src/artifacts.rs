//! Files that a failed test leaves: `target/netns-test/BINARY/TEST/ATTEMPT/`, and of earlier attempts the last ones.
//!
//! A process holds a lock on the directories of its tests: what is locked by nobody is an attempt that has ended.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{self, Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, fs};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{Doing, Error};
use crate::knob;

/// What marks cargo's target directory (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

/// The variable that names another root for the files of failed tests.
const ROOT: &str = "NETNS_TEST_DIR";

/// How many attempts of a test are kept, the new one among them.
const MOST_ATTEMPTS: usize = 10;

/// Whether this process may remove the root: it is below cargo's directory, or was not there when the first test wanted it.
static ROOT_IS_OURS: OnceLock<bool> = OnceLock::new();

/// The directory of one run of a test, made when a file is first wanted in it.
#[derive(Debug, Default)]
pub(crate) struct Artifacts(Mutex<Option<Attempt>>);

#[derive(Debug)]
struct Attempt {
    directory: PathBuf,
    /// Keeps other processes from removing it; `None` on a file system that has no locks, where nobody can.
    _lock: Option<Flock<fs::File>>,
}

impl Artifacts {
    /// The directory in which a node's programs leave their files.
    pub(crate) fn of_node(&self, test: &str, node: &str) -> Result<PathBuf, Error> {
        let directory = self.directory(test)?.join(node);
        let make = || {
            fs::create_dir_all(&directory)?;
            // Programs may be other users.
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777))
        };
        make().doing(|| format!("create `{}`", directory.display()))?;
        Ok(directory)
    }

    /// The directory of this attempt itself.
    pub(crate) fn directory(&self, test: &str) -> Result<PathBuf, Error> {
        let mut attempt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*attempt {
            Some(made) => Ok(made.directory.clone()),
            None => Ok(attempt.insert(make(test)?).directory.clone()),
        }
    }

    /// Where the files of a failed test are, if it has any.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        let attempt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempt.as_ref().map(|attempt| attempt.directory.clone())
    }

    /// Removes the files of a test that passed, and the directories that are empty without them; but not a root
    /// that was there before, which may be a mount point, or somebody else's.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        let Some(attempt) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        let attempt = &attempt.directory;
        fs::remove_dir_all(attempt).doing(|| format!("remove `{}`", attempt.display()))?;
        // The test's, the binary's, and the root of all.
        let ours = if ROOT_IS_OURS.get() == Some(&false) { 2 } else { 3 };
        for directory in attempt.ancestors().skip(1).take(ours) {
            match fs::remove_dir(directory) {
                Ok(()) => {}
                // Other attempts, tests or binaries have theirs there, or have just removed it, too.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::new(format!("remove `{}`", directory.display()), error)),
            }
        }
        Ok(())
    }
}

fn make(test: &str) -> Result<Attempt, Error> {
    let operation = || format!("make a directory for the files of `{test}`");
    let binary = env::current_exe().doing(operation)?;
    let root = match knob::value(ROOT) {
        Some(directory) => {
            // The body may change its working directory.
            let directory = path::absolute(directory).doing(operation)?;
            ROOT_IS_OURS.get_or_init(|| !directory.exists());
            directory
        }
        None => target(&binary)
            .ok_or_else(|| {
                Error::because(
                    operation(),
                    "the test binary lies in no target directory of cargo's\nto mend it: set NETNS_TEST_DIR",
                )
            })?
            .join("netns-test"),
    };
    let of_test = root.join(name(&binary)).join(test.replace("::", "."));
    let mut last = None;
    for _ in 0..MOST_TRIES {
        // Another process may be just removing the parent, which it found empty, or making the same attempt.
        let made = fs::create_dir_all(&of_test).and_then(|()| {
            let next = attempts(&of_test)?.last().map_or(1, |last| last.saturating_add(1));
            let directory = of_test.join(next.to_string());
            fs::create_dir(&directory)?;
            held(directory)
        });
        match made {
            Ok(Some(attempt)) => {
                remove_oldest(&of_test);
                return Ok(attempt);
            }
            Ok(None) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                last = Some(error);
            }
            Err(error) => {
                last = Some(error);
                break;
            }
        }
    }
    let last = last.map_or_else(|| "others remove it again and again".to_owned(), |error| error.to_string());
    let cause = format!(
        "`{}`: {last}\nto mend it: set NETNS_TEST_DIR to a directory that this user can write to",
        of_test.display()
    );
    Err(Error::because(operation(), cause))
}

/// How often a directory is tried that others make and remove at the same moment.
const MOST_TRIES: usize = 1000;

/// The numbers of a test's attempts.
fn attempts(of_test: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(of_test)? {
        // What is no number is not ours.
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A directory that has just been made, locked; `None` if it was removed before that.
fn held(directory: PathBuf) -> io::Result<Option<Attempt>> {
    let file = fs::File::open(&directory)?;
    let seen = file.metadata()?;
    let lock = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(lock) => Some(lock),
        // Somebody who takes it for an old one has it.
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, _no_locks_here)) => None,
    };
    let is_there =
        fs::metadata(&directory).is_ok_and(|now| (now.dev(), now.ino()) == (seen.dev(), seen.ino()));
    Ok(is_there.then_some(Attempt { directory, _lock: lock }))
}

/// Removes the oldest attempts of a test that nobody is at. What cannot be removed, another user's for instance, stays: it is no
/// reason to fail a test.
fn remove_oldest(of_test: &Path) {
    let numbers = attempts(of_test).unwrap_or_default();
    let old = numbers.len().saturating_sub(MOST_ATTEMPTS);
    for number in &numbers[..old] {
        let directory = of_test.join(number.to_string());
        let Ok(file) = fs::File::open(&directory) else { continue };
        if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            let _kept = fs::remove_dir_all(&directory);
        }
    }
}

/// Cargo's target directory, in which a test binary lies.
fn target(binary: &Path) -> Option<&Path> {
    binary.ancestors().skip(1).find(|directory| directory.join(TAG).exists())
}

/// A test binary's name without the hash that cargo puts behind it.
fn name(binary: &Path) -> String {
    let full = binary.file_name().unwrap_or(binary.as_os_str()).to_string_lossy();
    match full.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => full.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::name;

    #[test]
    fn binaries_are_named_without_their_hash() {
        assert_eq!(name(Path::new("/t/debug/deps/echo-0123456789abcdef")), "echo");
        assert_eq!(name(Path::new("/t/debug/deps/my-echo")), "my-echo");
    }
}
