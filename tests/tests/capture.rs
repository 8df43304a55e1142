//! Packets: a failed test leaves them as a file that Wireshark reads, bounded, its interfaces named by their nodes.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use netns_test::packet::Packet;
use netns_test::{Network, Node, netns_test};
use netns_test_tests::{Outcome, Rerun, rerun};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A directory for the files of failed tests, which every user can write to, gone in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("netns-test-capture-{}-{name}", process::id()));
        fs::create_dir(&path).expect("a directory for files");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).expect("its mode");
        Self(path)
    }

    fn of(&self, rerun: Rerun) -> Rerun {
        rerun.env("NETNS_TEST_DIR", self.0.to_str().expect("text"))
    }

    /// The files of captures, wherever they are below it.
    fn captures(&self) -> Vec<PathBuf> {
        self.files("packets.pcapng")
    }

    fn files(&self, name: &str) -> Vec<PathBuf> {
        fn find(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).expect("it is there") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => find(&path, name, found),
                    false if path.ends_with(name) => found.push(path),
                    false => {}
                }
            }
        }
        let mut found = Vec::new();
        find(&self.0, name, &mut found);
        found
    }

    fn capture(&self) -> Capture {
        match &self.captures()[..] {
            [file] => Capture::read(file),
            files => panic!("expected one capture, not {files:?}"),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// A pcapng file, as far as these proofs read it.
#[derive(Debug, Default)]
struct Capture {
    size: usize,
    comment: String,
    interfaces: Vec<String>,
    /// The interface, the flags, and the bytes of each packet.
    packets: Vec<(usize, u32, Packet)>,
    dropped: u64,
    /// Lines of TLS secrets.
    secrets: String,
}

impl Capture {
    fn read(file: &Path) -> Self {
        let bytes = fs::read(file).expect("it can be read");
        let mut capture = Self { size: bytes.len(), ..Self::default() };
        let number = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let mut at = 0;
        while at < bytes.len() {
            let (kind, length) = (number(at), number(at + 4) as usize);
            assert_eq!(number(at + length - 4) as usize, length, "a block ends with its length");
            let body = at + 8;
            let options = |from: usize| options(&bytes[from..at + length - 4]);
            match kind {
                0x0a0d_0d0a => {
                    let (_, comment) = options(body + 16).remove(0);
                    capture.comment = String::from_utf8(comment).expect("text");
                }
                1 => {
                    let (_, name) = options(body + 8).remove(0);
                    capture.interfaces.push(String::from_utf8(name).expect("text"));
                }
                5 => {
                    let (_, dropped) = options(body + 12).remove(0);
                    capture.dropped += u64::from_ne_bytes(dropped.try_into().expect("eight bytes"));
                }
                6 => {
                    let kept = number(body + 12) as usize;
                    let frame = &bytes[body + 20..body + 20 + kept];
                    let (_, flags) = options(body + 20 + kept.next_multiple_of(4)).remove(0);
                    let flags = u32::from_ne_bytes(flags.try_into().expect("four bytes"));
                    capture.packets.push((number(body) as usize, flags, Packet::decode(frame)));
                }
                10 => {
                    assert_eq!(number(body), 0x544c_534b);
                    assert!(capture.packets.is_empty(), "secrets stand before packets");
                    let lines = bytes[body + 8..][..number(body + 4) as usize].to_vec();
                    capture.secrets = String::from_utf8(lines).expect("text");
                }
                other => panic!("an unexpected block {other:#x}"),
            }
            at += length;
        }
        capture
    }
}

fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while let [a, b, c, d, rest @ ..] = bytes {
        let (code, length) = (u16::from_ne_bytes([*a, *b]), usize::from(u16::from_ne_bytes([*c, *d])));
        if code == 0 {
            break;
        }
        options.push((code, rest[..length].to_vec()));
        bytes = &rest[length.next_multiple_of(4)..];
    }
    options
}

/// As the user who runs the proof and without any privilege.
fn both(run: impl Fn() -> Rerun) -> [Outcome; 2] {
    [run().run(), run().as_ordinary_user().run()]
}

async fn talk(client: &Node, server: &Node) -> io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    let mut out = client.connect_tcp("server:7").await?;
    let (mut inside, _) = listener.accept().await?;
    out.write_all(b"hello").await?;
    let mut buffer = [0; 5];
    inside.read_exact(&mut buffer).await.map(drop)
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn talks_and_fails(client: Node, server: Node) {
    talk(&client, &server).await.expect("they talk");
    panic!("on purpose");
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "is run again"]
async fn talks(client: Node, server: Node) -> io::Result<()> {
    talk(&client, &server).await
}

#[netns_test(nodes = 2, family = v4, capture = always)]
#[ignore = "is run again"]
async fn talks_and_keeps(client: Node, server: Node) -> io::Result<()> {
    talk(&client, &server).await
}

#[netns_test(nodes = 2, family = v4, capture = never)]
#[ignore = "fails on purpose"]
async fn fails_unseen(client: Node, server: Node) {
    talk(&client, &server).await.expect("they talk");
    panic!("on purpose");
}

#[test]
fn a_failed_test_leaves_its_packets() {
    for (index, ordinary) in [false, true].into_iter().enumerate() {
        let directory = Directory::new(&format!("failed{index}"));
        let run = directory.of(rerun("talks_and_fails"));
        let outcome = if ordinary { run.as_ordinary_user() } else { run }.run();
        outcome.failed_with(&["on purpose", "netns-test: files of the test are in "]);
        let capture = directory.capture();
        assert_eq!(capture.comment, "the test `talks_and_fails`");
        assert_eq!(capture.interfaces, ["client/eth0", "server/eth0"]);
        let data: Vec<(usize, u32)> = capture
            .packets
            .iter()
            .filter(|(_, _, packet)| packet.payload() == b"hello")
            .map(|(interface, flags, _)| (*interface, *flags))
            .collect();
        // Outbound of the client; inbound of the server, and to it alone.
        assert_eq!(data, [(0, 2), (1, 1 | 1 << 2)]);
        let is_syn = |packet: &Packet| packet.tcp().is_some_and(|tcp| tcp.flags.syn && !tcp.flags.ack);
        assert_eq!(capture.packets.iter().filter(|(_, _, packet)| is_syn(packet)).count(), 2);
        assert_eq!(capture.dropped, 0);
    }
}

#[test]
fn a_test_that_passes_leaves_packets_where_that_is_wanted() {
    let directory = Directory::new("passed");
    for outcome in both(|| directory.of(rerun("talks"))) {
        outcome.passed();
    }
    assert_eq!(directory.captures(), [""; 0].map(PathBuf::from));
    let outcome = directory.of(rerun("talks_and_keeps")).run();
    outcome.passed();
    assert!(!directory.capture().packets.is_empty());
    directory.of(rerun("talks")).env("NETNS_TEST_CAPTURE", "always").run().passed();
    assert_eq!(directory.captures().len(), 2);
}

#[test]
fn nothing_is_recorded_where_that_is_not_wanted() {
    let directory = Directory::new("never");
    for outcome in both(|| directory.of(rerun("fails_unseen"))) {
        outcome.failed_with(&["on purpose", "netns-test: the network of `fails_unseen`"]);
    }
    for outcome in both(|| directory.of(rerun("talks_and_fails")).env("NETNS_TEST_CAPTURE", "never")) {
        outcome.failed_with(&["on purpose"]);
    }
    assert_eq!(directory.captures(), [""; 0].map(PathBuf::from));
    // The environment has the last word.
    directory
        .of(rerun("fails_unseen"))
        .env("NETNS_TEST_CAPTURE", "failure")
        .run()
        .failed_with(&["on purpose"]);
    assert_eq!(directory.captures().len(), 1);
}

#[test]
fn another_value_is_an_error() {
    let outcome = rerun("talks").env("NETNS_TEST_CAPTURE", "on").run();
    outcome.failed_with(&["NETNS_TEST_CAPTURE is `on`: expected `failure`, `always` or `never`"]);
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn floods(client: Node, server: Node) {
    let (from, to) = (client.bind_udp(1).await.expect("free"), server.bind_udp(2).await.expect("free"));
    let mut buffer = [0; 1400];
    // Each waits for its answer, so that they are not faster than whoever reads them.
    for number in 0..20_000_u32 {
        buffer[..4].copy_from_slice(&number.to_be_bytes());
        from.send_to(&buffer, (server.ip(), 2)).await.expect("sent");
        let (_, peer) = to.recv_from(&mut buffer).await.expect("received");
        to.send_to(&buffer[..4], peer).await.expect("sent");
        from.recv_from(&mut buffer).await.expect("received");
    }
    panic!("on purpose");
}

#[test]
fn what_is_kept_is_bounded_and_has_the_first_and_the_last_packets() {
    let directory = Directory::new("flood");
    directory.of(rerun("floods")).run().failed_with(&["on purpose"]);
    let capture = directory.capture();
    // Many times as much went over the link.
    assert!(capture.size < 4 << 20, "{}", capture.size);
    let to_the_server = capture.packets.iter().filter(|(interface, _, packet)| {
        *interface == 0 && packet.udp().is_some_and(|udp| udp.destination_port == 2)
    });
    let sizes: Vec<usize> = to_the_server.map(|(_, _, packet)| packet.payload().len()).collect();
    assert_eq!(sizes.first(), Some(&1400));
    // Headers, and the beginning.
    assert_eq!(sizes.last(), Some(&(256 - 42)));
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn says_and_talks(client: Node, server: Node) {
    client.command("sh").args(["-c", "echo about to ask"]).status().await.expect("sh is there");
    talk(&client, &server).await.expect("they talk");
    panic!("on purpose");
}

#[test]
fn the_page_has_what_programs_wrote() {
    let directory = Directory::new("log");
    directory.of(rerun("says_and_talks")).run().failed_with(&["on purpose"]);
    let page = fs::read_to_string(&directory.files("packets.html")[0]).expect("a page");
    let log = between(&page, "\"logs\":[", "]]");
    assert!(log.ends_with(",0,\"sh: about to ask\""), "{log}");
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no `{before}`"));
    rest.split_once(after).unwrap_or_else(|| panic!("no `{after}`")).0
}

#[test]
fn a_failed_test_leaves_a_page_that_needs_nothing_else() {
    let directory = Directory::new("page");
    directory.of(rerun("talks_and_fails")).run().failed_with(&["on purpose"]);
    let page = fs::read_to_string(&directory.files("packets.html")[0]).expect("a page");
    for elsewhere in ["http:", "https:", "src=", "href=", "@import", "url(", "fetch(", "{{"] {
        assert!(!page.contains(elsewhere), "`{elsewhere}` in the page");
    }
    let data = between(&page, "<script id=\"data\" type=\"application/json\">", "</script>");
    let said = [
        "\"test\":\"talks_and_fails\"",
        "{\"name\":\"client\",\"router\":false,\"addresses\":[\"10.0.0.1\"]}",
        "\"links\":[[0,1]]",
        // From the client to the server, unremarkable.
        ",0,[1],0,0,\"TCP\",\"IP client:",
        // `hello`, in hexadecimal digits.
        "68656c6c6f",
    ];
    for text in said {
        assert!(data.contains(text), "`{text}` is missing: {data}");
    }
}

#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn has_secrets(client: Node, server: Node, network: Network) {
    talk(&client, &server).await.expect("they talk");
    let keys = network.key_log().expect("a file");
    keys.log("CLIENT_RANDOM", &[0xab; 4], &[0xcd; 2]).expect("it can be written");
    // As what a program of a node does, and what code does that only knows the environment of the process.
    let mut shell = client.command("sh");
    shell.args(["-c", "echo of a program >>$SSLKEYLOGFILE"]).env("SSLKEYLOGFILE", keys);
    assert!(shell.status().await.expect("sh is there").success());
    let shared = env::var_os("SSLKEYLOGFILE").expect("it is set");
    let mut shared = fs::OpenOptions::new().append(true).open(shared).expect("it is there");
    shared.write_all(b"of the process\nin the mid").expect("it can be written");
    panic!("on purpose");
}

#[test]
fn secrets_of_tls_stand_in_the_file() {
    let directory = Directory::new("secrets");
    let shared = directory.0.join("shared");
    let lines = ["CLIENT_RANDOM abababab cdcd\n", "of a program\n", "of the process\n"].concat();
    for ordinary in [false, true] {
        fs::write(&shared, "of another test\n").expect("a file");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o666)).expect("its mode");
        let run = directory.of(rerun("has_secrets")).env("SSLKEYLOGFILE", shared.to_str().expect("text"));
        let run = if ordinary { run.as_ordinary_user() } else { run };
        run.run().failed_with(&["on purpose"]);
        let file = directory.captures().pop().expect("a capture");
        assert_eq!(Capture::read(&file).secrets, lines);
        fs::remove_dir_all(file.parent().expect("its directory")).expect("it can be removed");
    }
}

#[test]
fn secrets_that_cannot_be_read_cost_no_capture() {
    let directory = Directory::new("no-secrets");
    let pipe = directory.0.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("a pipe");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let refused = "netns-test: failed to read the secrets of TLS in `";
    // What keeps nothing is no mistake.
    for (file, is_told) in
        [(text(&pipe), false), ("/dev/stderr".to_owned(), false), (text(&directory.0), true)]
    {
        for run in [rerun("talks_and_fails"), rerun("talks_and_fails").as_ordinary_user()] {
            let outcome = directory.of(run).env("SSLKEYLOGFILE", &file).run();
            outcome.failed_with(&["on purpose"]);
            assert_eq!(outcome.stdout.contains(refused), is_told, "{file}: {outcome}");
            assert_eq!(directory.capture().secrets, "");
            let files = directory.captures().pop().expect("a capture");
            fs::remove_dir_all(files.parent().expect("its directory")).expect("it can be removed");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_says_why() {
    let directory = Directory::new("nowhere");
    std::os::unix::fs::symlink("nowhere", directory.0.join("link")).expect("a link");
    for (place, cause) in [("link", "File exists"), ("file/below", "Not a directory")] {
        fs::write(directory.0.join("file"), "").expect("a file");
        let place = directory.0.join(place);
        let run = rerun("talks_and_fails").env("NETNS_TEST_DIR", place.to_str().expect("text"));
        run.run().failed_with(&["on purpose", cause, "to mend it: set NETNS_TEST_DIR to a directory"]);
    }
}

#[test]
fn of_earlier_attempts_the_last_ones_are_kept() {
    let directory = Directory::new("attempts");
    directory.of(rerun("talks_and_fails")).run().failed_with(&["on purpose"]);
    let first = directory.captures().pop().expect("a capture");
    let of_test = first.ancestors().nth(2).expect("the test's directory");
    for number in 2..=15 {
        fs::create_dir(of_test.join(number.to_string())).expect("an attempt");
        fs::write(of_test.join(number.to_string()).join("file"), "").expect("a file of it");
    }
    fs::create_dir(of_test.join("my notes")).expect("a directory");
    // This process is still at the third.
    let third = fs::File::open(of_test.join("3")).expect("it is there");
    let lock = nix::fcntl::Flock::lock(third, nix::fcntl::FlockArg::LockShared).expect("nobody else is");
    let left = || {
        let entries = fs::read_dir(of_test).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort_by_key(|name| (name.len(), name.clone()));
        names.join(" ")
    };
    directory.of(rerun("talks_and_fails")).run().failed_with(&["on purpose"]);
    assert_eq!(left(), "3 7 8 9 10 11 12 13 14 15 16 my notes");
    drop(lock);
    directory.of(rerun("talks_and_fails")).run().failed_with(&["on purpose"]);
    assert_eq!(left(), "8 9 10 11 12 13 14 15 16 17 my notes");
}

#[cfg(feature = "programs")]
#[netns_test(nodes = 2, family = v4)]
#[ignore = "fails on purpose"]
async fn talks_in_secret(client: Node, server: Node, network: Network) -> io::Result<()> {
    let directory = server.data_dir()?;
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| directory.join(name));
    let mut request = server.command("openssl");
    request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    request.args(["-subj", "/CN=server", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    assert!(request.status().await?.success());
    let mut openssl = server.command("openssl");
    openssl.args(["s_server", "-www", "-accept", "443", "-key"]).arg(&key).arg("-cert").arg(&certificate);
    openssl.spawn().await?;
    server.wait_listening(443).await?;
    let keys = network.key_log()?;
    // The first leaves its secrets itself; those of the second come from elsewhere, as from a library's callback.
    let elsewhere = client.data_dir()?.join("keys");
    for (page, file) in [("by-itself", keys.path()), ("by-hand", elsewhere.as_path())] {
        let mut curl = client.command("curl");
        curl.args(["-sk", &format!("https://server/{page}")]).env("SSLKEYLOGFILE", file);
        assert!(curl.status().await?.success());
    }
    let bytes = |digits: &str| -> Vec<u8> {
        let pairs = (0..digits.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal")).collect()
    };
    for line in client.read(&elsewhere)?.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        keys.log(words[0], &bytes(words[1]), &bytes(words[2]))?;
    }
    Err(io::Error::other("on purpose"))
}

#[cfg(feature = "programs")]
#[test]
fn tshark_shows_what_was_said_over_tls() {
    let directory = Directory::new("tls");
    directory.of(rerun("talks_in_secret")).run().failed_with(&["on purpose"]);
    let shown = tshark(&directory, &["-Y", "http.request", "-T", "fields", "-e", "http.request.uri"]);
    // What the other end saw of the same packets it takes for retransmissions.
    assert_eq!(shown, "/by-itself\n/by-hand\n");
}

#[cfg(feature = "programs")]
#[test]
fn tshark_reads_the_file() {
    let directory = Directory::new("tshark");
    directory.of(rerun("talks_and_fails")).run().failed_with(&["on purpose"]);
    let fields =
        ["-T", "fields", "-e", "frame.interface_name", "-e", "frame.packet_flags_direction", "-e", "tcp.len"];
    let text = tshark(&directory, &[&["-Y", "tcp.len == 5"], &fields[..]].concat());
    assert_eq!(text, "client/eth0\t0x00000002\t5\nserver/eth0\t0x00000001\t5\n");
}

/// What tshark says of the capture, without complaint.
#[cfg(feature = "programs")]
fn tshark(directory: &Directory, arguments: &[&str]) -> String {
    let mut tshark = process::Command::new("tshark");
    tshark.args(["-n", "-r"]).arg(&directory.captures()[0]).args(arguments);
    let output = tshark.env("HOME", &directory.0).output().expect("tshark is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    let complaints: Vec<&str> =
        complaints.lines().filter(|line| !line.starts_with("Running as user")).collect();
    assert!(output.status.success() && complaints.is_empty(), "{complaints:?}");
    String::from_utf8(output.stdout).expect("text")
}
