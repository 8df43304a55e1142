//! Secrets of TLS, with which a test's capture can be read.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::{Doing, Error};
use crate::network::Net;

/// The variable that names the file in which a program is to leave its secrets.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// The file's name, among the files of the test.
const FILE: &str = "keys.log";

/// The most that a capture has of secrets: some thousand connections.
const MOST: u64 = 4 << 20;

/// Where a test leaves the secrets of its TLS connections: [`Network::key_log`](crate::Network::key_log).
///
/// It is a file of lines, as Wireshark, curl, browsers, OpenSSL and rustls know it
/// (<https://datatracker.ietf.org/doc/draft-ietf-tls-keylogfile/>).
#[derive(Clone, Debug)]
pub struct KeyLog {
    file: PathBuf,
}

impl KeyLog {
    /// The file, in which each program appends lines of its own.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Appends a secret, as TLS libraries hand it to what implements their own trait or callback (rustls' `KeyLog`).
    ///
    /// # Errors
    /// The kernel's own, writing the file.
    pub fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) -> Result<(), Error> {
        let line = format!("{label} {} {}\n", digits(client_random), digits(secret));
        // In one call, so that lines of others stay whole.
        let write = || OpenOptions::new().append(true).open(&self.file)?.write_all(line.as_bytes());
        write().doing(|| format!("append to `{}`", self.file.display()))
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(digits, "{byte:02x}");
        digits
    })
}

impl AsRef<Path> for KeyLog {
    fn as_ref(&self) -> &Path {
        &self.file
    }
}

impl AsRef<OsStr> for KeyLog {
    fn as_ref(&self) -> &OsStr {
        self.file.as_os_str()
    }
}

/// Where secrets of a test may be.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// The file of the whole process, if its environment names one, and how long it was when the test began.
    of_process: Option<(PathBuf, u64)>,
}

impl Secrets {
    pub(crate) fn begin() -> Self {
        let file = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        // One that is not there yet is empty.
        let length = |file: &PathBuf| fs::metadata(file).map_or(0, |data| data.len());
        Self { of_process: file.map(|file| (file.clone(), length(&file))) }
    }

    /// What has been written since, to the test's own file and to that of the process; and why there is no more.
    pub(crate) fn read(&self, net: &Net) -> (Vec<u8>, Option<Error>) {
        let own = net.artifacts.kept().map(|directory| (directory.join(FILE), 0));
        let (mut secrets, mut refused) = (Vec::new(), None);
        for (file, from) in own.iter().chain(&self.of_process) {
            let operation = || format!("read the secrets of TLS in `{}`", file.display());
            if let Err(error) = append(&mut secrets, file, *from).doing(operation) {
                refused.get_or_insert(error);
            }
        }
        (secrets, refused)
    }
}

/// Appends what a file has from an offset on, in whole lines. What is no file keeps nothing: a terminal, or a pipe to another program.
fn append(secrets: &mut Vec<u8>, file: &Path, from: u64) -> io::Result<()> {
    let data = match fs::metadata(file) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !data.is_file() && !data.is_dir() {
        return Ok(());
    }
    // If it is a pipe after all: who opens one waits for its other end.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    // One that is shorter now has been written anew.
    if data.len() >= from {
        file.seek(SeekFrom::Start(from))?;
    }
    let mut new = Vec::new();
    file.take(MOST).read_to_end(&mut new)?;
    new.truncate(new.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    secrets.append(&mut new);
    Ok(())
}

/// The test's own file, made when it is first asked for.
pub(crate) fn of(net: &Net) -> Result<KeyLog, Error> {
    let file = net.artifacts.directory(net.test)?.join(FILE);
    let make = || {
        if OpenOptions::new().append(true).create_new(true).open(&file).is_ok() {
            // Programs may be other users, who append to it. They are not to read it.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o622))?;
        }
        fs::metadata(&file).map(drop)
    };
    make().doing(|| format!("create `{}`", file.display()))?;
    Ok(KeyLog { file })
}
