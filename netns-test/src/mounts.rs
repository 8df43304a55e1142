//! What of the host's files a node sees changed.
//!
//! Files are the host's, except where a path leads out of the network: the resolver's configuration, sockets of daemons
//! and of the system bus, /sys (interfaces) and /proc/net. One mount namespace, the base, is made for each process; tests
//! copy it, nodes copy their test's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::error::{Doing, Error};

/// Where the base keeps its own files, the first that is there: a directory of sysfs that every kernel has, and that each
/// node covers with a sysfs of its own; on a host that has no sysfs its place, or a directory of procfs.
const SCRATCH: [&str; 3] = ["/sys/class", "/sys", "/proc/driver"];

/// The files of /etc that are a network's own.
pub(crate) const FILES_OF_ETC: [&str; 5] = ["hosts", "nsswitch.conf", "resolv.conf", "host.conf", "gai.conf"];

/// Files of /etc without which names do not resolve as they should. Some hosts lack them, small containers above all.
///
/// Without `multi on` in host.conf(5), the GNU C library reads one address of each host in /etc/hosts.
const RESOLVER: [&str; 4] = ["hosts", "nsswitch.conf", "resolv.conf", "host.conf"];

/// The variables that name sockets of daemons, as D-Bus addresses or URLs.
const VARIABLES: [&str; 4] =
    ["DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS", "DOCKER_HOST", "CONTAINER_HOST"];

/// Resolver configuration: the names of the network come from /etc/hosts, and where no DNS server is declared, a
/// question over DNS is refused at once by the node's own loopback.
const FILES: [(&str, &str); 4] = [
    ("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/gai.conf", "# RFC 6724's table\n"),
    ("/run/xtables.lock", ""),
];

/// Directories of daemons that answer for the host's network, or that clients reach by default on a socket there.
const DIRECTORIES: [&str; 21] = [
    "/run/netns",
    "/run/nscd",
    "/var/run/nscd",
    "/run/dbus",
    "/run/avahi-daemon",
    "/run/containerd",
    "/run/docker",
    "/run/NetworkManager",
    "/run/openvswitch",
    "/run/rpcbind",
    "/run/frr",
    "/run/bird",
    "/run/named",
    "/run/lldpd",
    "/run/libvirt",
    "/run/crio",
    "/run/tailscale",
    "/run/wpa_supplicant",
    "/run/postgresql",
    "/run/mysqld",
    "/run/redis",
];

/// Sockets of such daemons in directories that hold other things, too.
const SOCKETS: [&str; 12] = [
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/rpcbind.sock",
    "/run/snapd.socket",
    "/run/systemd/private",
    "/run/systemd/notify",
    "/run/systemd/io.systemd.NamespaceResource",
    "/run/systemd/netif/io.systemd.Network",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
    "/run/systemd/userdb/io.systemd.DynamicUser",
    "/run/cups/cups.sock",
];

/// The mount namespace that tests start from.
#[derive(Debug)]
pub(crate) struct Base {
    mount: OwnedFd,
    scratch: OwnedFd,
    scratch_path: &'static str,
    sys: Sys,
}

/// What the host has mounted on /sys and below it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sys {
    /// Whether there is a sysfs, also in parts: a node has one of its own if the host has one.
    is_there: bool,
    /// The other file systems, to be put back onto a node's own.
    below: Vec<PathBuf>,
}

/// The process's base; the first caller makes it, on its own thread, which moves into it.
///
/// A failure is not kept: what the system refused to one test it may grant to the next.
pub(crate) fn base() -> Result<&'static Base, Error> {
    static BASE: OnceLock<Base> = OnceLock::new();
    static MAKING: Mutex<()> = Mutex::new(());
    if let Some(base) = BASE.get() {
        return Ok(base);
    }
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    match BASE.get() {
        Some(base) => Ok(base),
        None => Base::make().map(|made| BASE.get_or_init(|| made)),
    }
}

impl Base {
    fn make() -> Result<Self, Error> {
        unshare(CloneFlags::CLONE_NEWNS).doing(|| "create a mount namespace")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .doing(|| "make the mounts of the new mount namespace private")?;
        let mountinfo = "/proc/thread-self/mountinfo";
        let text = fs::read(mountinfo).doing(|| format!("read `{mountinfo}`"))?;
        // Somewhere else there may be a mount point whose name is no UTF-8.
        let sys = Sys::of(&String::from_utf8_lossy(&text));
        let scratch_path = SCRATCH.into_iter().find(|path| Path::new(path).is_dir()).unwrap_or(SCRATCH[0]);
        mount_tmpfs(scratch_path)?;
        let base = Self {
            mount: fs::File::open("/proc/thread-self/ns/mnt")
                .doing(|| "open the new mount namespace")?
                .into(),
            scratch: open_directory(scratch_path.as_ref())?,
            scratch_path,
            sys,
        };
        complete_etc()?;
        base.cover()?;
        allow_settings();
        Ok(base)
    }

    fn cover(&self) -> Result<(), Error> {
        for (index, (path, text)) in FILES.iter().enumerate() {
            self.cover_file(path, &format!("file{index}"), text)?;
        }
        let services = fs::read_to_string("/etc/nsswitch.conf").doing(|| "read `/etc/nsswitch.conf`")?;
        self.cover_file("/etc/nsswitch.conf", "nsswitch", &name_services(&services))?;
        let mut done = BTreeSet::new();
        for (index, path) in DIRECTORIES.iter().enumerate() {
            // /var/run is /run on most machines: once is enough.
            if let Ok(real) = fs::canonicalize(path)
                && done.insert(real.clone())
            {
                let name = format!("{}/directory{index}", self.scratch_path);
                fs::create_dir(&name).doing(|| format!("create a directory to cover `{path}`"))?;
                bind(name.as_ref(), &real)?;
            }
        }
        let user = nix::unistd::getuid();
        let own = ["bus", "systemd/private", "docker.sock", "podman/podman.sock"];
        let own = own.map(|socket| format!("/run/user/{user}/{socket}"));
        for path in SOCKETS.into_iter().chain(own.iter().map(String::as_str)) {
            self.cover_file(path, "socket", "")?;
        }
        for path in VARIABLES.into_iter().filter_map(|name| std::env::var(name).ok()).flat_map(named_sockets)
        {
            if fs::metadata(&path).is_ok_and(|data| data.file_type().is_socket()) {
                self.cover_file(&path, "socket", "")?;
            }
        }
        Ok(())
    }

    /// Puts a file of ours over the host's. A path that the host does not have needs no cover.
    fn cover_file(&self, path: &str, name: &str, text: &str) -> Result<(), Error> {
        if !Path::new(path).exists() {
            return Ok(());
        }
        self.write(name, text).doing(|| format!("write a file to cover `{path}`"))?;
        bind(format!("{}/{name}", self.scratch_path).as_ref(), path.as_ref())
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let file = openat(self.scratch.as_fd(), name, flags, Mode::from_bits_truncate(0o644))?;
        fs::File::from(file).write_all(text.as_bytes())
    }

    /// A directory of every node's where something can be built for a moment, while threads and programs of the node look
    /// around: they would miss /sys/class.
    pub(crate) fn workshop(&self) -> &'static str {
        let [.., quiet] = SCRATCH;
        if Path::new(quiet).is_dir() { quiet } else { self.scratch_path }
    }

    /// Moves the calling thread into the base; its working directory becomes the root directory.
    pub(crate) fn settle(&self) -> Result<(), Error> {
        setns(self.mount.as_fd(), CloneFlags::CLONE_NEWNS)
            .doing(|| "enter the mount namespace that tests start from")
    }

    /// Gives the calling thread's mount namespace, a fresh copy of the base, this /etc/hosts.
    pub(crate) fn set_hosts(&self, text: &str) -> Result<(), Error> {
        self.set_file("/etc/hosts", "hosts", text)
    }

    /// Gives the calling thread's mount namespace this /etc/resolv.conf in place of the base's.
    pub(crate) fn set_resolver(&self, text: &str) -> Result<(), Error> {
        self.set_file("/etc/resolv.conf", "resolver", text)
    }

    /// Covers a file for one network; the base's scratch directory has a name for it no longer than needed.
    fn set_file(&self, path: &str, kind: &str, text: &str) -> Result<(), Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{kind}{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.write(&name, text).doing(|| format!("write the network's `{path}`"))?;
        bind(format!("{}/{name}", self.scratch_path).as_ref(), path.as_ref())?;
        nix::unistd::unlinkat(self.scratch.as_fd(), name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)
            .doing(|| format!("remove the name of the network's `{path}`"))
    }

    /// Mounts a sysfs that shows the interfaces of the calling thread's network namespace and no others.
    ///
    /// On a host without a sysfs there is none to hide, and a user namespace is not given one.
    pub(crate) fn mount_sys(&self) -> Result<(), Error> {
        if !self.sys.is_there {
            return Ok(());
        }
        let kept = self.sys.below.iter().map(|path| Ok((path, open_directory(path)?)));
        let kept = kept.collect::<Result<Vec<_>, Error>>()?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let mount = |flags| mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>);
        // Where a container has it read-only, a user namespace is given no other (mount_namespaces(7)).
        match mount(flags) {
            Err(Errno::EPERM) => mount(flags | MsFlags::MS_RDONLY),
            mounted => mounted,
        }
        .doing(|| "mount a sysfs of its own on `/sys`")?;
        for (path, directory) in kept {
            match bind_tree(&behind(&directory), path) {
                // A directory that the host has made there, beside its sysfs, has no place in a whole one.
                Err(Errno::ENOENT) => {}
                result => result.doing(|| format!("put `{}` back", path.display()))?,
            }
        }
        Ok(())
    }
}

/// Makes /proc/net of the calling thread's mount namespace show the calling thread's network, as long as it lives.
///
/// /proc/net is /proc/self/net: the main thread's, so the host's (proc(5)).
pub(crate) fn bind_proc_net() -> Result<(), Error> {
    bind("/proc/thread-self/net".as_ref(), "/proc/self/net".as_ref())
}

/// Takes back what [`bind_proc_net`] did in the calling thread's mount namespace: of a thread that is gone, nothing can be
/// mounted over it.
pub(crate) fn unbind_proc_net() -> Result<(), Error> {
    umount2("/proc/self/net", MntFlags::MNT_DETACH).doing(|| "uncover `/proc/self/net`")
}

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .doing(|| format!("cover `{}` by a bind mount", target.display()))
}

fn bind_tree(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
}

fn mount_tmpfs(path: &str) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("netns-test"), path, Some("tmpfs"), flags, Some("mode=755"))
        .doing(|| format!("mount a tmpfs on `{path}`"))
}

fn open_directory(path: &Path) -> Result<OwnedFd, Error> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .doing(|| format!("open `{}`", path.display()))
}

/// The path of an open directory, also when something has been mounted over it.
fn behind(directory: &OwnedFd) -> PathBuf {
    format!("/proc/thread-self/fd/{}", directory.as_raw_fd()).into()
}

/// Sees to it that the files of the resolver are there to be covered.
///
/// A file can be mounted over a file only, so where one is missing, or is a link to nowhere, /etc becomes a directory of
/// ours, with all the host's files and directories mounted in it.
fn complete_etc() -> Result<(), Error> {
    let etc = Path::new("/etc");
    let missing: Vec<&str> =
        RESOLVER.into_iter().filter(|name| fs::metadata(etc.join(name)).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = || {
        let entries = fs::read_dir(etc)?
            .map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
        entries.collect::<io::Result<Vec<_>>>()
    };
    let entries = list().doing(|| "list `/etc`, which lacks files of the resolver")?;
    let host = open_directory(etc)?;
    mount_tmpfs("/etc")?;
    for (name, kind) in entries.iter().filter(|(name, _)| !missing.iter().any(|missing| name == missing)) {
        let (source, target) = (behind(&host).join(name), etc.join(name));
        let put = || {
            if kind.is_symlink() {
                return symlink(fs::read_link(&source)?, &target);
            }
            match kind.is_dir() {
                true => fs::create_dir(&target)?,
                false => drop(fs::File::create(&target)?),
            }
            Ok(bind_tree(&source, &target)?)
        };
        put().doing(|| format!("put `{}` back", target.display()))?;
    }
    missing.iter().try_for_each(|name| {
        let path = etc.join(name);
        fs::File::create(&path).map(drop).doing(|| format!("create `{}`", path.display()))
    })
}

/// Lets a network's settings be written where a container has /proc/sys read-only: below net they are the network's own.
///
/// A user namespace may not change what was mounted outside it. Then the refusal comes with the first setting that has to be
/// written.
fn allow_settings() {
    let path = "/proc/sys/net";
    let Ok(found) = statvfs(path) else { return };
    if !found.flags().contains(FsFlags::ST_RDONLY) {
        return;
    }
    // Flags that are not repeated would be cleared, which a user namespace may not do either.
    let flags = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = flags.into_iter().filter(|(has, _)| found.flags().contains(*has)).map(|(_, flag)| flag);
    let flags = kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND, MsFlags::union);
    if bind_tree(path.as_ref(), path.as_ref()).is_ok() {
        let _told_later = mount(None::<&str>, path, None::<&str>, flags, None::<&str>);
    }
}

impl Sys {
    /// From mountinfo (proc_pid_mountinfo(5)): the mount point is the fifth word, the type comes after a hyphen.
    fn of(mountinfo: &str) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
            let Some((path, kind)) = line.split(' ').nth(4).zip(kind) else { continue };
            match kind {
                // What is mounted later on the same place hides what was there.
                kind if path == "/sys" => found = Self { is_there: kind == "sysfs", below: Vec::new() },
                _ if !path.starts_with("/sys/") => {}
                // Parts, as sandboxes have them. They show the host's interfaces: not to be put back.
                "sysfs" => found.is_there = true,
                _ if Path::new(path).is_dir() => found.below.push(path.into()),
                _ => {}
            }
        }
        // The outermost alone: they bring along what is mounted below them.
        found.below.sort();
        found.below.dedup_by(|path, outer| path.starts_with(outer));
        found
    }
}

/// The sockets in a list of D-Bus addresses (`unix:path=/run/bus,guid=…`) or in a URL (`unix:///run/docker.sock`).
fn named_sockets(value: String) -> Vec<String> {
    let addresses = value.split(';').filter_map(|address| address.strip_prefix("unix:"));
    let path = |address: &str| match address.strip_prefix("//") {
        Some(path) => Some(path.to_owned()),
        None => address.split(',').find_map(|pair| pair.strip_prefix("path=")).map(str::to_owned),
    };
    addresses.filter_map(path).collect()
}

/// The host's nsswitch.conf with host names from /etc/hosts first and DNS second, and from no daemon.
fn name_services(host: &str) -> String {
    let mut text: String = host
        .lines()
        .filter(|line| !line.trim_start().starts_with("hosts:"))
        .flat_map(|line| [line, "\n"])
        .collect();
    text.push_str("hosts: files dns\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_below_sys_is_put_back_but_for_parts_of_a_sysfs() {
        // Directories that are there, so that the order and the nesting can be told.
        let text = "22 1 0:20 / /sys rw - sysfs sysfs rw\n\
                    23 22 0:21 /class /sys/class ro - sysfs sysfs rw\n\
                    24 22 0:22 / /sys/kernel/mm rw - tmpfs none rw\n\
                    25 22 0:23 / /sys/kernel rw shared:9 - tmpfs none rw\n\
                    26 1 0:24 / /proc rw - proc proc rw\n";
        assert_eq!(Sys::of(text), Sys { is_there: true, below: vec!["/sys/kernel".into()] });
        let covered = format!("{text}27 22 0:25 / /sys rw - tmpfs none rw\n");
        assert_eq!(Sys::of(&covered), Sys::default());
        assert_eq!(Sys::of("26 1 0:24 / /proc rw - proc proc rw\n"), Sys::default());
    }

    #[test]
    fn sockets_are_found_in_addresses_and_urls() {
        let bus = "unix:guid=1,path=/run/a;unix:abstract=b;tcp:host=c;unix:path=/run/d";
        assert_eq!(named_sockets(bus.to_owned()), ["/run/a", "/run/d"]);
        assert_eq!(named_sockets("unix:///run/docker.sock".to_owned()), ["/run/docker.sock"]);
        assert_eq!(named_sockets("tcp://10.0.0.1:2375".to_owned()), Vec::<String>::new());
    }

    #[test]
    fn hosts_come_from_files_then_dns_and_the_rest_stays() {
        let text =
            name_services("passwd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files\n");
        assert_eq!(text, "passwd: files systemd\nhosts: files dns\n");
    }
}
