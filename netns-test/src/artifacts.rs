//! Files that a failed test leaves: `target/netns-test/BINARY/TEST/ATTEMPT/`.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{env, fs};

use crate::error::{Doing, Error};

/// What marks cargo's target directory (<https://bford.info/cachedir/>).
const TAG: &str = "CACHEDIR.TAG";

/// The variable that names another root for the files of failed tests.
const ROOT: &str = "NETNS_TEST_DIR";

/// Whether this process may remove the root: it is below cargo's directory, or was not there when the first test wanted it.
static ROOT_IS_OURS: OnceLock<bool> = OnceLock::new();

/// The directory of one run of a test, made when a file is first wanted in it.
#[derive(Debug, Default)]
pub(crate) struct Artifacts(Mutex<Option<PathBuf>>);

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
            Some(made) => Ok(made.clone()),
            None => Ok(attempt.insert(make(test)?).clone()),
        }
    }

    /// Where the files of a failed test are, if it has any.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Removes the files of a test that passed, and the directories that are empty without them; but not a root
    /// that was there before, which may be a mount point, or somebody else's.
    pub(crate) fn discard(&self) -> Result<(), Error> {
        let Some(attempt) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Ok(());
        };
        fs::remove_dir_all(&attempt).doing(|| format!("remove `{}`", attempt.display()))?;
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

fn make(test: &str) -> Result<PathBuf, Error> {
    let operation = || format!("make a directory for the files of `{test}`");
    let binary = env::current_exe().doing(operation)?;
    let root = match env::var_os(ROOT) {
        Some(directory) => {
            let directory = PathBuf::from(directory);
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
    for attempt in 1_u32.. {
        let directory = of_test.join(attempt.to_string());
        // Another process may be just removing the parent, which it found empty.
        match fs::create_dir_all(&of_test).and_then(|()| fs::create_dir(&directory)) {
            Ok(()) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < 100 => {}
            Err(error) => {
                let cause = format!(
                    "`{}`: {error}\nto mend it: set NETNS_TEST_DIR to a directory that this user can write to",
                    directory.display()
                );
                return Err(Error::because(operation(), cause));
            }
        }
    }
    Err(Error::because(operation(), "there are too many"))
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
