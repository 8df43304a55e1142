//! Files that only a node has.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::mount::{MsFlags, mount};

use super::Node;
use crate::error::{Doing, Error};
use crate::layers::{self, Layers};
use crate::mounts;
use crate::namespace::Depth;

/// Where `ip netns` looks for the names of namespaces (ip-netns(8)).
const NETNS: &str = "/run/netns";

/// The directory of a node's own data.
const DATA: &str = "/run/netns-test";

impl Node {
    /// Writes a file that only this node has; directories on the way are made.
    ///
    /// Its threads and programs see it, other nodes and the host do not, and what the host has at that path stays as it is. The
    /// directory that it stands in becomes private: the node sees there what the host has, and all that it changes stays its own.
    ///
    /// # Errors
    /// The path is not absolute, or cannot be covered or written: the error says why. The test has ended, or the calling thread is
    /// none of the test's.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn configured(server: Node) -> std::io::Result<()> {
    ///     server.write("/etc/my-server/my-server.conf", "port = 80\n")?;
    ///     let output = server.command("cat").arg("/etc/my-server/my-server.conf").output().await?;
    ///     assert_eq!(output.stdout, b"port = 80\n");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = path.as_ref();
        self.in_files(&format!("write `{}`", path.display()), |layers| {
            let path = layers.ready(path)?;
            // A link may lead out of what is private.
            if path.is_symlink() {
                fs::remove_file(&path).doing(|| format!("replace the link `{}`", path.display()))?;
            }
            let write = || fs::write(&path, text.as_ref());
            let written = match write() {
                // A file of another user's makes room for one of this user's: the directory is private.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    fs::remove_file(&path).and_then(|()| write())
                }
                written => written,
            };
            written.doing(|| format!("write `{}`", path.display()))
        })
    }

    /// Reads a file as this node sees it.
    ///
    /// # Errors
    /// The kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let path = path.as_ref();
        self.in_files(&format!("read `{}`", path.display()), |_layers| {
            fs::read_to_string(path).doing(|| format!("read `{}`", path.display()))
        })
    }

    /// Gives the node an empty directory in memory at a path, which is made if it is not there. Everybody may write to it.
    ///
    /// # Errors
    /// As for [`write`](Node::write).
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn has_room(server: Node) -> std::io::Result<()> {
    ///     server.tmpfs("/var/lib/my-server")?;
    ///     assert!(server.command("touch").arg("/var/lib/my-server/data").unprivileged().status().await?.success());
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn tmpfs(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        self.in_files(&format!("mount a tmpfs on `{}`", path.display()), |layers| {
            let path = layers.ready_directory(path)?;
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("netns-test"), &path, Some("tmpfs"), flags, Some("mode=1777"))
                .doing(|| format!("mount a tmpfs on `{}`", path.display()))?;
            layers.add(&path);
            Ok(())
        })
    }

    /// Shows the node a file or directory of the host's at another path, which is made if it is not there.
    ///
    /// What the node's threads and programs write there, the host sees; but not below a directory that [`write`](Node::write) has
    /// made private since.
    ///
    /// # Errors
    /// As for [`write`](Node::write); the source does not exist.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn serves_these_sources(server: Node) -> std::io::Result<()> {
    ///     server.bind(env!("CARGO_MANIFEST_DIR"), "/run/www")?;
    ///     assert!(server.read("/run/www/Cargo.toml")?.contains("[package]"));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn bind(&self, source: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), Error> {
        let (source, path) = (source.as_ref(), path.as_ref());
        let operation = format!("bind `{}` to `{}`", source.display(), path.display());
        self.in_files(&operation, |layers| {
            let is_directory =
                fs::metadata(source).doing(|| format!("find `{}`", source.display()))?.is_dir();
            let path = match is_directory {
                true => layers.ready_directory(path)?,
                false => layers.ready_file(path)?,
            };
            layers::bind(source, &path, MsFlags::MS_REC).doing(|| operation.clone())
        })
    }

    /// A directory for the node's own data, empty at first, to which everybody in it may write. It lies in memory, and ends with
    /// the test. Its path is the same in every node, and leads there from inside alone: the body uses [`read`](Node::read),
    /// [`write`](Node::write) and [`enter`](Node::enter).
    ///
    /// # Errors
    /// As for [`write`](Node::write).
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn keeps_data(server: Node) -> std::io::Result<()> {
    ///     let log = server.data_dir()?.join("log");
    ///     assert!(server.command("sh").args(["-c", "echo started >$0"]).arg(&log).status().await?.success());
    ///     assert_eq!(server.read(log)?, "started\n");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn data_dir(&self) -> Result<PathBuf, Error> {
        self.in_files("make a directory for data", |layers| layers.ready_directory(Path::new(DATA)))?;
        Ok(PathBuf::from(DATA))
    }

    /// Makes `/etc` and `/run` the node's own: it sees there what the host has, and all that it changes stays in the node.
    ///
    /// It is what the node's first program does, and its first [`write`](Node::write), [`tmpfs`](Node::tmpfs) and their like; about a
    /// millisecond, once. Code that [`enter`](Node::enter), [`run`](Node::run) and `spawn` bring into the node needs it where it replaces files
    /// there, such as `resolv.conf`, or makes directories such as `/run/netns`: without it, root would change the host's, and an
    /// ordinary user would be refused.
    ///
    /// # Errors
    /// As for [`write`](Node::write).
    ///
    /// ```
    /// # use std::fs;
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// fn replaces_the_resolvers_file(host: Node) -> std::io::Result<()> {
    ///     host.private_files()?;
    ///     host.enter(|| {
    ///         fs::write("/etc/resolv.conf.new", "nameserver 10.0.0.1\n")?;
    ///         fs::rename("/etc/resolv.conf.new", "/etc/resolv.conf")
    ///     })?;
    ///     assert_eq!(host.read("/etc/resolv.conf")?, "nameserver 10.0.0.1\n");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn private_files(&self) -> Result<(), Error> {
        self.in_files("make `/etc` and `/run` private", |_layers| Ok(()))
    }

    /// The path of a file that is kept when the test fails: logs, dumps, captures that the node's programs write.
    ///
    /// It lies on the host, in `target/netns-test/BINARY/TEST/ATTEMPT/NODE/`, or below `NETNS_TEST_DIR` in place of
    /// `target/netns-test`. The directory is made, the file is not. When the test passes all of it is removed; when it fails the
    /// report names the directory.
    ///
    /// # Errors
    /// The name has a `/` or is `..`; the directory cannot be made; the test has ended.
    pub fn artifact(&self, name: &str) -> Result<PathBuf, Error> {
        let operation = || format!("name the artifact `{name}` of `{}`", self.name());
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
            return Err(Error::because(operation(), "it is no plain file name"));
        }
        let net = self.net().doing(operation)?;
        Ok(net.artifacts.of_node(net.test, self.name())?.join(name))
    }

    /// The path of the node's network namespace, valid in every program of the test: `/run/netns/` and its name, where `ip netns
    /// exec` looks for it.
    ///
    /// # Errors
    /// As for [`write`](Node::write).
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn names(client: Node, server: Node) -> std::io::Result<()> {
    ///     let mut nsenter = client.command("nsenter");
    ///     nsenter.arg(format!("--net={}", server.netns_path()?.display())).args(["ip", "address"]);
    ///     let output = String::from_utf8_lossy(&nsenter.output().await?.stdout).into_owned();
    ///     assert!(output.contains(&server.ip().to_string()));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn netns_path(&self) -> Result<PathBuf, Error> {
        self.in_files("name the network namespaces", |_layers| Ok(()))?;
        Ok(Path::new(NETNS).join(self.name()))
    }

    /// Replaces a file of the system's by one that only this node has. Who reads it meanwhile sees the old one or the new one,
    /// never a part; a link that leads elsewhere is replaced, not followed.
    pub(super) fn replace(
        &self,
        operation: &str,
        path: &Path,
        edit: impl FnOnce(String) -> String,
    ) -> Result<(), Error> {
        self.in_files(operation, |layers| {
            let path = layers.ready(path)?;
            let old = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
                read => read.doing(|| format!("read `{}`", path.display()))?,
            };
            let new = path.with_extension("netns-test");
            let write = || {
                fs::write(&new, edit(old))?;
                let file = fs::File::open(&new)?;
                file.set_permissions(fs::Permissions::from_mode(0o644))?;
                // glibc tells by inode, size and times whether it has read a file before, in whatever node that was. In two
                // nodes all of these may be the same, but for a time that is not rounded to the kernel's ticks.
                file.set_modified(SystemTime::now())?;
                fs::rename(&new, &path)
            };
            write().doing(|| format!("replace `{}`", path.display()))
        })
    }

    /// Does something with the files of the node, on the calling thread inside it.
    fn in_files<R>(
        &self,
        operation: &str,
        work: impl FnOnce(&mut Layers) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let failed = |error: io::Error| Error::new(format!("{operation} in `{}`", self.name()), error);
        // The node's own thread first: /proc/net of the node is its.
        self.with_workers(|_net, _workers| Ok(()))?;
        let _inside = self.enter_depth(Depth::Whole).map_err(failed)?;
        let mut layers: MutexGuard<'_, Layers> = self.0.layers.lock().unwrap_or_else(PoisonError::into_inner);
        self.prepare_files(&mut layers)?;
        work(&mut layers)
    }

    fn prepare_files(&self, layers: &mut Layers) -> Result<(), Error> {
        if layers.has_system_directories {
            return Ok(());
        }
        for directory in ["/etc", "/run"].map(Path::new) {
            if directory.is_dir() {
                layers.make_private(directory)?;
            }
        }
        layers::replace_links(Path::new("/etc"), &mounts::FILES_OF_ETC)?;
        self.name_namespaces(layers)?;
        // What is mounted from here on shows up in the mounts of the node's programs, too (mount_namespaces(7)).
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SHARED, None::<&str>)
            .doing(|| format!("share the mounts of `{}` with its programs", self.name()))?;
        layers.has_system_directories = true;
        Ok(())
    }

    /// Gives every node's network namespace a name in this one, as `ip netns` has it.
    fn name_namespaces(&self, layers: &mut Layers) -> Result<(), Error> {
        let net = self.net().doing(|| "name the network namespaces")?;
        let directory = PathBuf::from(NETNS);
        if !directory.is_dir() {
            fs::create_dir(&directory).doing(|| format!("create `{NETNS}`"))?;
        }
        mount(Some("netns-test"), &directory, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .doing(|| format!("mount a tmpfs on `{NETNS}`"))?;
        layers.add(&directory);
        for node in net.nodes() {
            let name = directory.join(node.name());
            let source = format!("/proc/thread-self/fd/{}", node.namespaces.net().as_raw_fd());
            fs::File::create(&name)
                .and_then(|_file| layers::bind(source.as_ref(), &name, MsFlags::empty()))
                .doing(|| format!("name the network namespace of `{}`", node.name()))?;
        }
        Ok(())
    }
}

impl Layers {
    /// Sees to it that a file at this path is the node's own, and its directory there.
    fn ready(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let Some((parent, name)) = path.parent().zip(path.file_name()) else {
            return Err(Error::because(format!("use `{}`", path.display()), "it names no file"));
        };
        Ok(self.ready_directory(parent)?.join(name))
    }

    /// The same, with a file there.
    fn ready_file(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let path = self.ready(path)?;
        if !path.exists() {
            fs::File::create(&path).doing(|| format!("create `{}`", path.display()))?;
        }
        Ok(path)
    }

    /// Sees to it that a directory is there, and that what is written to it stays in the node. Returns its real path.
    fn ready_directory(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let shown = path.display();
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::because(format!("use `{shown}`"), "it is not absolute, or has `..` in it"));
        }
        // The part that exists, and what is missing.
        let existing = path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let missing = path.strip_prefix(existing).unwrap_or(Path::new(""));
        let real = fs::canonicalize(existing).doing(|| format!("find `{}`", existing.display()))?;
        if real == Path::new("/") {
            return match missing.components().count() {
                0 => Err(Error::because("make `/` private", "it holds everything")),
                _ => Err(Error::because(
                    format!("create `{shown}`"),
                    "the host has no such directory, and the root directory cannot be made private",
                )),
            };
        }
        let wanted = real.join(missing);
        if !self.is_private(&real)? {
            self.make_private(&real)?;
        }
        let create = || fs::create_dir_all(&wanted).and_then(|()| is_writable(&wanted));
        match create() {
            // A directory of the host's below a private one keeps its owner: it gets a layer of its own.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.make_private(&real)?;
                create().doing(|| format!("create `{shown}`"))?;
            }
            created => created.doing(|| format!("create `{shown}`"))?,
        }
        if path == Path::new(DATA) {
            fs::set_permissions(&wanted, fs::Permissions::from_mode(0o1777))
                .doing(|| format!("open `{shown}` to everybody"))?;
        }
        Ok(wanted)
    }
}

/// Whether the calling thread may make files in a directory, access(2).
fn is_writable(directory: &Path) -> io::Result<()> {
    let wanted = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
    Ok(nix::unistd::access(directory, wanted)?)
}
