//! Where it runs: hosts that lack a file or a file system, containers that cover parts of them, working directories that
//! cannot be reached. The tests run all the same, or say what to do (promise 9).

use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::Command;

use netns_test::{Node, netns_test};
use netns_test_tests::{Rerun, is_root, rerun};

/// What a program prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[netns_test]
#[ignore = "run by its proof"]
async fn names_resolve(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    client.connect_tcp("server:7").await?;
    listener.accept().await?;
    let ip = server.ip().to_string();
    let both: Vec<IpAddr> = vec![server.ip6().into(), server.ip4().into()];
    client
        .run(async move || {
            let found = ("server", 7).to_socket_addrs().expect("a name of the network");
            assert_eq!(found.map(|address| address.ip()).collect::<Vec<_>>(), both);
            assert!(output("getent", &["hosts", "server"]).contains(&ip));
            let read =
                |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(
                read("/etc/hosts").contains("server")
                    && read("/etc/nsswitch.conf").contains("hosts: files dns")
            );
            assert_eq!(read("/etc/resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
            // What else is in /etc is the host's.
            assert!(read("/etc/passwd").contains("root") && Path::new("/etc/ld.so.conf.d").is_dir());
        })
        .await;
    Ok(())
}

#[netns_test]
#[ignore = "run by its proof"]
async fn interfaces_are_its_own(client: Node, _server: Node) {
    let names = client.run(async || {
        let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
        names.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect::<Vec<_>>()
    });
    for name in names.await {
        println!("interface {name}");
    }
}

/// A script that changes its mounts as root of a user namespace, and then runs its arguments: as that root, or without
/// any privilege, so that they find mounts that they cannot change.
fn after(mounts: &str, privileged: bool) -> String {
    let drop = if privileged { "" } else { "setpriv --bounding-set=-all,+setfcap --inh-caps=-all" };
    format!(
        "exec unshare --user --map-root-user --mount sh -c 'set -e; {mounts}; exec {drop} \"$@\"' sh \"$@\""
    )
}

/// Mounts a copy of /etc, changed as told.
fn with_etc(change: &str) -> String {
    format!(
        "mount -t tmpfs none /mnt; mkdir /mnt/etc; cp -a /etc/. /mnt/etc 2>/dev/null || true; cd /mnt/etc; {change}; cd /; \
         mount --bind /mnt/etc /etc"
    )
}

#[test]
fn files_of_the_resolver_that_the_host_lacks_are_there() {
    let changes = [
        "rm hosts",
        "rm nsswitch.conf",
        "rm resolv.conf",
        "rm host.conf",
        "ln -sf ../run/nowhere/resolv.conf resolv.conf",
        "rm hosts host.conf nsswitch.conf resolv.conf",
    ];
    for change in changes {
        for privileged in [true, false] {
            let script = after(&with_etc(change), privileged);
            let outcome = rerun("names_resolve").in_shell(&script).as_ordinary_user().run();
            assert!(outcome.status.success(), "{change}, {privileged}: {outcome}");
            outcome.passed();
        }
    }
}

#[test]
fn a_host_without_run_is_enough() {
    for privileged in [true, false] {
        let script = after("mount -t tmpfs none /run", privileged);
        rerun("names_resolve").in_shell(&script).as_ordinary_user().run().passed();
    }
}

#[netns_test]
#[ignore = "run by its proof"]
async fn has_files_and_programs(server: Node) -> std::io::Result<()> {
    server.write("/etc/netns-test-proof", "x")?;
    assert!(server.command("cat").arg("/etc/netns-test-proof").status().await?.success());
    Ok(())
}

#[netns_test]
#[ignore = "run by its proof"]
async fn finds_no_daemon(server: Node) -> std::io::Result<()> {
    for directory in ["/run/frr", "/run/postgresql"] {
        let find = format!("ls -A {directory}; touch {directory}/own");
        for (place, output) in [
            ("program", server.command("sh").args(["-c", &find]).output().await?),
            ("thread", server.enter(|| Command::new("ls").arg(directory).output())?),
        ] {
            let found = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && !found.contains("host"), "{place}, {directory}: {output:?}");
        }
    }
    Ok(())
}

#[test]
fn daemons_of_the_host_are_not_found_below_run() {
    let mounts =
        "mount -t tmpfs none /run; mkdir /run/frr /run/postgresql; touch /run/frr/host /run/postgresql/host";
    for privileged in [true, false] {
        rerun("finds_no_daemon").in_shell(&after(mounts, privileged)).as_ordinary_user().run().passed();
    }
}

#[test]
fn a_mount_whose_name_is_not_utf_8_is_no_obstacle() {
    // In a shell, so that no name of this crate's has to be it.
    let mounts = r#"mount -t tmpfs none /mnt; name=/mnt/$(printf "caf\\351"); mkdir "$name"; mount -t tmpfs none "$name""#;
    for privileged in [true, false] {
        let script = after(mounts, privileged);
        rerun("has_files_and_programs").in_shell(&script).as_ordinary_user().run().passed();
    }
}

#[test]
fn a_host_that_takes_no_more_overlays_is_enough() {
    // At most two stand on each other (`FILESYSTEM_MAX_STACK_DEPTH` of linux/fs.h). A node's /etc is built entry by entry then, as it
    // is for an ordinary user below Linux 5.11.
    let mounts = "mount -t tmpfs none /mnt; for n in 1 2 3; do mkdir -p /mnt/$n/upper /mnt/$n/work; mount -t overlay none \
        -o lowerdir=/etc,upperdir=/mnt/$n/upper,workdir=/mnt/$n/work,userxattr /etc 2>/dev/null || break; done";
    for privileged in [true, false] {
        let script = after(mounts, privileged);
        rerun("has_files_and_programs").in_shell(&script).as_ordinary_user().run().passed();
        rerun("names_resolve").in_shell(&script).as_ordinary_user().run().passed();
    }
}

#[test]
fn a_host_without_sysfs_is_enough() {
    for privileged in [true, false] {
        let script = after("mount -t tmpfs none /sys", privileged);
        rerun("names_resolve").in_shell(&script).as_ordinary_user().run().passed();
        let outcome =
            rerun("interfaces_are_its_own").arg("--nocapture").in_shell(&script).as_ordinary_user().run();
        outcome.passed();
        assert!(!outcome.stdout.contains("interface "), "{outcome}");
    }
}

/// A sandbox that shows parts of /sys.
const PARTS_OF_SYS: &str = "mount -t tmpfs none /mnt; mkdir /mnt/sys; for part in class devices; do mkdir /mnt/sys/$part; \
     mount --rbind /sys/$part /mnt/sys/$part; done; mount --rbind /mnt/sys /sys; umount -R /mnt";

#[test]
fn a_sandbox_with_parts_of_sys_shows_nothing_of_the_host() {
    let script = after(PARTS_OF_SYS, true);
    let outcome =
        rerun("interfaces_are_its_own").arg("--nocapture").in_shell(&script).as_ordinary_user().run();
    outcome.passed();
    let mut found: Vec<&str> =
        outcome.stdout.lines().filter_map(|line| line.split("interface ").nth(1)).collect();
    found.retain(|name| ["eth0", "lo"].contains(name) || Path::new("/sys/class/net").join(name).exists());
    found.sort_unstable();
    assert_eq!(found, ["eth0", "lo"], "{outcome}");
}

#[test]
fn a_sys_that_is_partly_covered_is_told_with_its_mending() {
    for mounts in ["mount -t tmpfs none /sys/kernel", PARTS_OF_SYS] {
        let outcome = rerun("names_resolve").in_shell(&after(mounts, false)).as_ordinary_user().run();
        outcome.failed_with(&[
            "cannot run here",
            "parts of /sys are covered",
            "to mend it: start the container with `--privileged`",
            "systempaths=unconfined",
            "refused: failed to mount a sysfs of its own on `/sys`",
        ]);
    }
}

#[test]
fn a_proc_that_is_partly_covered_is_told_with_its_mending_when_a_program_is_started() {
    let script = after("mount --bind /dev/null /proc/version", false);
    rerun("names_resolve").in_shell(&script).as_ordinary_user().run().passed();
    let outcome = rerun("has_files_and_programs").in_shell(&script).as_ordinary_user().run();
    outcome.failed_with(&[
        "failed to mount the /proc of a PID namespace",
        "parts of /proc are covered",
        "to mend it: start the container with `--security-opt systempaths=unconfined`",
    ]);
    rerun("has_files_and_programs")
        .in_shell(&after("mount --bind /dev/null /proc/version", true))
        .as_ordinary_user()
        .run()
        .passed();
}

/// As containers have it.
const READ_ONLY_SETTINGS: &str =
    "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro,nosuid,nodev,noexec /proc/sys";

#[test]
fn settings_that_are_read_only_are_made_writable_where_that_is_allowed() {
    rerun("names_resolve").in_shell(&after(READ_ONLY_SETTINGS, true)).as_ordinary_user().run().passed();
}

#[test]
fn settings_that_are_read_only_are_told_with_their_mending() {
    let script = after(READ_ONLY_SETTINGS, false);
    let outcome = rerun("names_resolve").in_shell(&script).as_ordinary_user().run();
    outcome.failed_with(&[
        "cannot run here",
        "/proc/sys is mounted read-only",
        "to mend it: start the container with `--privileged`",
        "mount -o remount,rw /proc/sys",
        "refused: failed to set `net/",
    ]);
}

// The working directory.

#[netns_test]
#[ignore = "run by its proof"]
async fn runs_where_it_was_started(client: Node) {
    let expected = std::env::var("PROOF_TEXT").ok();
    let check = move |place: &str| {
        assert_eq!(fs::read_to_string("file").ok(), expected, "{place}");
        let of_child = Command::new("cat").arg("file").output().expect("it starts");
        assert_eq!(
            String::from_utf8(of_child.stdout).expect("UTF-8"),
            expected.clone().unwrap_or_default(),
            "{place}"
        );
    };
    check("the body");
    client.enter(|| check("enter"));
    check("the body again");
    client.run(async move || check("run")).await;
}

#[test]
fn a_working_directory_that_has_been_removed_is_no_obstacle() {
    let script = "directory=$(mktemp -d); cd $directory; rmdir $directory; exec \"$@\"";
    rerun("runs_where_it_was_started").in_shell(script).as_ordinary_user().run().passed();
}

/// A script that runs its arguments as an ordinary user in a directory of root's.
fn in_directory_of_root(make: &str) -> String {
    format!(
        "set -e; outer=$(mktemp -d); binary=$(mktemp -d); chmod 755 $binary; cp \"$1\" $binary/test; chmod 755 $binary/test; \
         shift; cd $outer; {make}; code=0; \
         setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all $binary/test \"$@\" || code=$?; \
         cd /; rm -r $outer $binary; exit $code"
    )
}

#[test]
fn a_working_directory_behind_one_that_cannot_be_searched_stays() {
    if !is_root() {
        // Only root can put an ordinary user there.
        return;
    }
    let make = "mkdir -m 755 inner; cd inner; printf text > file; chmod 644 file";
    let rerun = rerun("runs_where_it_was_started").env("PROOF_TEXT", "text");
    rerun.in_shell(&in_directory_of_root(make)).run().passed();
}

#[test]
fn a_working_directory_that_cannot_be_searched_is_no_obstacle() {
    if is_root() {
        rerun("runs_where_it_was_started")
            .in_shell(&in_directory_of_root("printf text > file"))
            .run()
            .passed();
    }
}

// What the system refuses once, it may grant later.

#[netns_test]
#[ignore = "fails on purpose"]
async fn in_turn_1_is_refused(_a: Node) {}

#[test]
#[ignore = "run by its proof"]
fn in_turn_2_allows_it() {
    fs::write("/proc/sys/user/max_mnt_namespaces", "1000").expect("it is root of its user namespace");
}

#[netns_test]
#[ignore = "run by its proof"]
async fn in_turn_3_passes(_a: Node) {}

#[test]
fn a_refusal_is_not_kept() {
    let script = "exec unshare --user --map-root-user sh -c \
        'echo 0 > /proc/sys/user/max_mnt_namespaces; exec \"$@\"' sh \"$@\"";
    let rerun = Rerun::with(&["in_turn", "--ignored", "--test-threads=1"]).in_shell(script);
    let outcome = rerun.as_ordinary_user().run();
    outcome.says(&[
        "in_turn_1_is_refused ... FAILED",
        "the limit of mount namespaces is exhausted (user.max_mnt_namespaces is 0)",
        "refused: failed to create a mount namespace: No space left on device",
        "2 passed; 1 failed",
    ]);
}
