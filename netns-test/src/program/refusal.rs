//! Why a program could not be started, in words that say what to do.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;

/// What is known about a failed execve(2), beyond the kernel's own words; none where they say it all.
pub(super) fn explain(
    program: &OsStr,
    directory: Option<&Path>,
    search: &[PathBuf],
    error: &io::Error,
) -> Option<String> {
    if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
        return Some(format!("its working directory `{}` does not exist", directory.display()));
    }
    let shown = Path::new(program).display();
    let is_name = !program.as_encoded_bytes().contains(&b'/');
    let found = match is_name {
        true => search.iter().map(|directory| directory.join(program)).find(|path| path.is_file()),
        false => Some(directory.unwrap_or(Path::new("")).join(program)).filter(|path| path.exists()),
    };
    match (error.raw_os_error()?, found) {
        // execvp(3) answers EACCES where it may not look into one of the directories.
        (libc::ENOENT | libc::EACCES, None) if is_name => {
            let directories: Vec<String> =
                search.iter().map(|directory| directory.display().to_string()).collect();
            Some(format!(
                "no program of that name is installed (searched: {})\nto mend it: install it, or give its path",
                directories.join(", ")
            ))
        }
        (libc::ENOENT, None) => Some(format!("there is no file `{shown}`")),
        (libc::ENOENT, Some(path)) => Some(format!(
            "`{}` is there, but the interpreter that its first line or header names is not",
            path.display()
        )),
        (libc::EACCES, Some(path)) => {
            let mode = path.metadata().map_or(0, |data| data.permissions().mode() & 0o7777);
            Some(match path.is_dir() {
                true => format!("`{}` is a directory", path.display()),
                false => format!(
                    "`{0}` has mode {mode:03o}, or a directory above it is closed to this user\nto mend it: `chmod +x {0}`",
                    path.display()
                ),
            })
        }
        _ => None,
    }
}
