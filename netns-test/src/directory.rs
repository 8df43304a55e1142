//! The working directory of a thread that enters mount namespaces, each of which moves it to the root directory.

use std::env;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::fchdir;

/// Where a thread was, by name and by descriptor.
#[derive(Debug)]
pub(crate) struct WorkingDirectory {
    path: Option<PathBuf>,
    descriptor: Option<OwnedFd>,
}

impl WorkingDirectory {
    /// That of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        // By its link, since opening `.` asks for the permission to search it.
        let open = || {
            open(
                "/proc/thread-self/cwd",
                OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
                Mode::empty(),
            )
        };
        // A directory that has been removed, or stands outside the root directory, has no name.
        Self { path: env::current_dir().ok(), descriptor: open().ok() }
    }

    /// Moves the calling thread there: to the directory of that name in the mount namespace that it is in.
    ///
    /// A directory that has no name, or whose name leads through a directory that this user may not search, is reached by its
    /// descriptor. Its mount is then that of the namespace where the thread was before, so it is the second choice. Where the
    /// user may not search the directory itself no name relative to it means anything, and the thread stays in the root
    /// directory.
    pub(crate) fn return_to(&self) {
        let by_name = self.path.as_ref().is_some_and(|path| env::set_current_dir(path).is_ok());
        if let (false, Some(descriptor)) = (by_name, &self.descriptor) {
            let _the_root_directory = fchdir(descriptor);
        }
    }
}
