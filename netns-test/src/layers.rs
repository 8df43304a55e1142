//! Directories that a node has to itself: what it writes there, the host never sees.
//!
//! A private directory shows what the host has in it, and takes changes into memory. Where the kernel lets us, it is an overlay;
//! elsewhere (an ordinary user below Linux 5.11, an overlay upon two others) it is a tmpfs in which the host's entries are bound
//! one by one: small files are copied, so that they can be replaced.

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Doing, Error};
use crate::{mounts, sys};

/// Files up to this size are copied rather than bound.
const SMALL: u64 = 64 * 1024;

/// The private directories of one node.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    private: BTreeSet<PathBuf>,
    /// Whether /etc and /run are among them.
    pub(crate) has_system_directories: bool,
}

impl Layers {
    /// Makes a directory private. The calling thread is in the node's mount namespace.
    pub(crate) fn make_private(&mut self, directory: &Path) -> Result<(), Error> {
        let directory = fs::canonicalize(directory).doing(|| format!("find `{}`", directory.display()))?;
        cover(&directory, &mounts_below(&directory)?)?;
        self.private.insert(directory);
        Ok(())
    }

    /// Notes a mount point whose content belongs to the node.
    pub(crate) fn add(&mut self, directory: &Path) {
        self.private.insert(directory.to_owned());
    }

    /// Whether what is written below an existing directory stays in the node.
    pub(crate) fn is_private(&self, directory: &Path) -> Result<bool, Error> {
        let mount = mount_points()?.into_iter().filter(|point| directory.starts_with(point)).max();
        Ok(mount.is_some_and(|mount| self.private.contains(&mount)))
    }
}

fn cover(directory: &Path, below: &[PathBuf]) -> Result<(), Error> {
    let shown = directory.display();
    // The layer is built there before it is put in place.
    let workshop = Path::new(mounts::base()?.workshop());
    mount(
        Some("netns-test"),
        workshop,
        Some("tmpfs"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
        Some("mode=755"),
    )
    .doing(|| format!("mount a tmpfs for a private `{shown}`"))?;
    let covered =
        overlay(directory, below, workshop).or_else(|_not_here| copy_by_entries(directory, workshop));
    // What was put in place holds on to it.
    let left = umount2(workshop, MntFlags::MNT_DETACH).doing(|| format!("detach the tmpfs of `{shown}`"));
    covered.and(left)
}

/// Puts an overlay over a directory. What is mounted below it goes along, since an overlay shows what lies beneath mounts: files
/// in the directory itself are copied, so that they can be replaced.
fn overlay(directory: &Path, below: &[PathBuf], workshop: &Path) -> Result<(), Error> {
    let shown = directory.display();
    // They separate options and directories in the text that is the mount's.
    if directory.as_os_str().as_bytes().iter().any(|byte| b",:\\".contains(byte)) {
        return Err(Error::because(
            format!("put an overlay over `{shown}`"),
            "its name would be read as several",
        ));
    }
    let (files, others): (Vec<&PathBuf>, Vec<&PathBuf>) =
        below.iter().partition(|path| path.parent() == Some(directory) && path.is_file());
    let mut carried: Vec<(&PathBuf, CString, OwnedFd)> = Vec::new();
    for point in others {
        // Sorted: a mount comes before those below it, which it takes along.
        if carried.last().is_some_and(|(above, ..)| point.starts_with(above)) {
            continue;
        }
        let operation = || format!("copy the mount of `{}`", point.display());
        let path = CString::new(point.as_os_str().as_bytes()).map_err(io::Error::from).doing(operation)?;
        let mount = sys::mount::copy_of(&path).doing(operation)?;
        carried.push((point, path, mount));
    }
    let [upper, work] = ["upper", "work"].map(|name| workshop.join(name));
    for new in [&upper, &work] {
        fs::create_dir(new).doing(|| format!("create a directory for a private `{shown}`"))?;
    }
    let mode = fs::metadata(directory).doing(|| format!("look at `{shown}`"))?.permissions();
    fs::set_permissions(&upper, mode).doing(|| format!("set the mode of a private `{shown}`"))?;
    for file in files {
        copy(file, &upper.join(file.file_name().unwrap_or_default()))
            .doing(|| format!("copy `{}`", file.display()))?;
    }
    // Without privileges in the first user namespace, an overlay keeps its notes in attributes of users (Linux 5.11).
    let options =
        format!("lowerdir={shown},upperdir={},workdir={},userxattr", upper.display(), work.display());
    mount(Some("netns-test"), directory, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .doing(|| format!("put an overlay over `{shown}`"))?;
    for (point, path, mount) in carried {
        let put_back = sys::mount::attach(mount.as_fd(), &path);
        if let Err(error) = put_back {
            // What was covered must not come to light.
            umount2(directory, MntFlags::MNT_DETACH).doing(|| format!("detach the overlay of `{shown}`"))?;
            return Err(Error::new(format!("put the mount of `{}` back", point.display()), error));
        }
    }
    Ok(())
}

/// Builds a copy of a directory in a tmpfs, entry by entry, and puts it in the directory's place.
fn copy_by_entries(directory: &Path, workshop: &Path) -> Result<(), Error> {
    let shown = directory.display();
    // An overlay that failed may have left its directories.
    let new = workshop.join("entries");
    fs::create_dir(&new).doing(|| format!("create a directory for a private `{shown}`"))?;
    let mode = fs::metadata(directory).doing(|| format!("look at `{shown}`"))?.permissions();
    fs::set_permissions(&new, mode).doing(|| format!("set the mode of a private `{shown}`"))?;
    for entry in fs::read_dir(directory).doing(|| format!("list `{shown}`"))? {
        let entry = entry.doing(|| format!("list `{shown}`"))?;
        let target = new.join(entry.file_name());
        take_over(&entry.path(), &target)
            .doing(|| format!("take `{}` into a private `{shown}`", entry.path().display()))?;
    }
    mount(Some(&new), directory, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .doing(|| format!("mount a private `{shown}`"))
}

/// Has an entry of the host's under a new path, too. Sockets are left out: they lead to programs of the host.
fn take_over(from: &Path, to: &Path) -> io::Result<()> {
    let data = fs::symlink_metadata(from)?;
    let kind = data.file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)
    } else if kind.is_dir() {
        fs::create_dir(to)?;
        bind(from, to, MsFlags::MS_REC)
    } else if kind.is_file() {
        match data.len() <= SMALL && copy(from, to).is_ok() {
            true => Ok(()),
            // Too large, or not to be read by this user: it stays what it is.
            false => {
                fs::File::create(to)?;
                bind(from, to, MsFlags::empty())
            }
        }
    } else if kind.is_char_device() || kind.is_block_device() {
        fs::File::create(to)?;
        bind(from, to, MsFlags::empty())
    } else {
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let text = fs::read(from)?;
    fs::write(to, text)?;
    fs::set_permissions(to, fs::Permissions::from_mode(fs::metadata(from)?.permissions().mode() & 0o777))
}

/// Makes files of their own out of links in a private directory: what is written to them must not end where they lead.
pub(crate) fn replace_links(directory: &Path, names: &[&str]) -> Result<(), Error> {
    names
        .iter()
        .map(|name| directory.join(name))
        .filter(|path| path.is_symlink() && path.exists())
        .try_for_each(|path| {
            let replace = || {
                let text = fs::read(&path)?;
                fs::remove_file(&path)?;
                fs::write(&path, text)
            };
            replace().doing(|| format!("replace the link `{}` by a file", path.display()))
        })
}

/// Binds a file or directory of the calling thread's view to a place in it, mount(2).
pub(crate) fn bind(from: &Path, to: &Path, more: MsFlags) -> io::Result<()> {
    Ok(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND | more, None::<&str>)?)
}

/// Where the calling thread's mount namespace has mounts, in the order in which they were made.
fn mount_points() -> Result<Vec<PathBuf>, Error> {
    let path = "/proc/thread-self/mountinfo";
    let text = fs::read(path).doing(|| format!("read {path}"))?;
    // proc_pid_mountinfo(5): the fifth field, with white space and backslashes in octal.
    Ok(text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        .collect())
}

fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut points = mount_points()?;
    points.retain(|point| point != directory && point.starts_with(directory));
    points.sort();
    points.dedup();
    Ok(points)
}

/// A name as it is: not every one is UTF-8.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal =
            after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        plain.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape(b"/mnt/a\\040b\\134c"), b"/mnt/a b\\c");
        assert_eq!(unescape(b"/mnt/\xe9\\134040\\0"), b"/mnt/\xe9\\040\\0");
    }
}
