//! What of the host's files a node sees changed.
//!
//! Files are the host's, except where a path leads out of the network: the resolver's configuration, sockets of daemons
//! and of the system bus, /sys (interfaces) and /proc/net. One mount namespace, the base, is made for each process; tests
//! copy it, nodes copy their test's.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{OFlag, open, openat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::Mode;

use crate::error::{Doing, Error};

/// Where the base keeps its own files: a directory of sysfs that every kernel has, and that each node covers with a
/// sysfs of its own.
const SCRATCH: &str = "/sys/class";

/// Resolver configuration: the names of the network come from /etc/hosts, and where no DNS server is declared, a
/// question over DNS is refused at once by the node's own loopback.
const FILES: [(&str, &str); 4] = [
    ("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
    ("/etc/host.conf", "multi on\n"),
    ("/etc/gai.conf", "# RFC 6724's table\n"),
    ("/run/xtables.lock", ""),
];

/// Directories of daemons that answer for the host's network.
const DIRECTORIES: [&str; 10] = [
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
    /// File systems that the host has mounted below /sys, to be put back onto a node's own.
    below_sys: Vec<PathBuf>,
}

/// The process's base; the first caller makes it, on its own thread, which moves into it.
pub(crate) fn base() -> Result<&'static Base, Error> {
    static BASE: OnceLock<Result<Base, (String, i32)>> = OnceLock::new();
    let made = BASE.get_or_init(|| {
        Base::make().map_err(|error| {
            (error.to_string(), error.io().and_then(io::Error::raw_os_error).unwrap_or_default())
        })
    });
    made.as_ref().map_err(|(text, errno)| match errno {
        0 => Error::because("prepare the mounts of the tests", text.clone()),
        _ => Error::new(
            format!("prepare the mounts of the tests ({text})"),
            io::Error::from_raw_os_error(*errno),
        ),
    })
}

impl Base {
    fn make() -> Result<Self, Error> {
        unshare(CloneFlags::CLONE_NEWNS).doing(|| "create a mount namespace")?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .doing(|| "make the mounts of the new namespace private")?;
        let below_sys = below_sys().doing(|| "read /proc/thread-self/mountinfo")?;
        mount(
            Some("netns-test"),
            SCRATCH,
            Some("tmpfs"),
            MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
            Some("mode=755"),
        )
        .doing(|| format!("mount a tmpfs on `{SCRATCH}`"))?;
        let scratch = open(SCRATCH, OFlag::O_DIRECTORY | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .doing(|| format!("open `{SCRATCH}`"))?;
        let base = Self {
            mount: fs::File::open("/proc/thread-self/ns/mnt")
                .doing(|| "open the new mount namespace")?
                .into(),
            scratch,
            below_sys,
        };
        base.cover()?;
        Ok(base)
    }

    fn cover(&self) -> Result<(), Error> {
        for (index, (path, text)) in FILES.iter().enumerate() {
            self.cover_file(path, &format!("file{index}"), text)?;
        }
        let services = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
        self.cover_file("/etc/nsswitch.conf", "nsswitch", &name_services(&services))?;
        let mut done = BTreeSet::new();
        for (index, path) in DIRECTORIES.iter().enumerate() {
            // /var/run is /run on most machines: once is enough.
            if let Ok(real) = fs::canonicalize(path)
                && done.insert(real.clone())
            {
                let name = format!("{SCRATCH}/directory{index}");
                fs::create_dir(&name).doing(|| format!("create a directory to cover `{path}`"))?;
                bind(name.as_ref(), &real)?;
            }
        }
        let user = nix::unistd::getuid();
        let own = ["bus", "systemd/private", "docker.sock", "podman/podman.sock"];
        let own = own.map(|socket| format!("/run/user/{user}/{socket}"));
        for path in SOCKETS.into_iter().chain(own.iter().map(String::as_str)) {
            if Path::new(path).exists() {
                self.cover_file(path, "socket", "")?;
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
        bind(format!("{SCRATCH}/{name}").as_ref(), path.as_ref())
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC;
        let file = openat(self.scratch.as_fd(), name, flags, Mode::from_bits_truncate(0o644))?;
        fs::File::from(file).write_all(text.as_bytes())
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
        bind(format!("{SCRATCH}/{name}").as_ref(), path.as_ref())?;
        nix::unistd::unlinkat(self.scratch.as_fd(), name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)
            .doing(|| format!("remove the name of the network's `{path}`"))
    }

    /// Mounts a sysfs that shows the interfaces of the calling thread's network namespace and no others.
    pub(crate) fn mount_sys(&self) -> Result<(), Error> {
        let kept = self
            .below_sys
            .iter()
            .map(|path| {
                let directory =
                    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
                Ok((path, directory))
            })
            .collect::<nix::Result<Vec<_>>>()
            .doing(|| "open the mounts below `/sys`")?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>)
            .doing(|| "mount a sysfs of its own on `/sys`")?;
        for (path, directory) in kept {
            let source = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
            mount(
                Some(source.as_str()),
                path,
                None::<&str>,
                MsFlags::MS_BIND | MsFlags::MS_REC,
                None::<&str>,
            )
            .doing(|| format!("put `{}` back", path.display()))?;
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

fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .doing(|| format!("cover `{}` by a bind mount", target.display()))
}

/// The outermost mounts below /sys, from mountinfo (proc_pid_mountinfo(5)).
fn below_sys() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let mut paths: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|path| path.starts_with("/sys/") && Path::new(path).is_dir())
        .map(PathBuf::from)
        .collect();
    paths.sort();
    paths.dedup();
    let mut outermost: Vec<PathBuf> = Vec::new();
    for path in paths {
        if !outermost.iter().any(|outer| path.starts_with(outer)) {
            outermost.push(path);
        }
    }
    Ok(outermost)
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
    use super::name_services;

    #[test]
    fn hosts_come_from_files_then_dns_and_the_rest_stays() {
        let text =
            name_services("passwd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files\n");
        assert_eq!(text, "passwd: files systemd\nhosts: files dns\n");
    }
}
