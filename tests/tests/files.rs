//! Files of a node: what it writes, mounts or replaces is its own, and the host's stays as it is.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io};

use netns_test::{Node, netns_test};
use netns_test_tests::rerun;

async fn says(node: &Node, script: &str) -> io::Result<String> {
    let output = node.command("sh").args(["-c", script]).output().await?;
    assert!(output.status.success(), "{script}: {output:?}");
    Ok(String::from_utf8(output.stdout).expect("text").trim_end().to_owned())
}

#[netns_test(nodes = 2)]
async fn a_written_file_is_the_nodes_alone(client: Node, server: Node) -> io::Result<()> {
    let path = "/etc/netns-test-proof/server.conf";
    server.write(path, "port = 80\n")?;
    assert_eq!(server.read(path)?, "port = 80\n");
    assert_eq!(says(&server, &format!("cat {path}")).await?, "port = 80");
    server.run(async move || assert!(Path::new(path).exists())).await;
    assert!(!Path::new(path).exists());
    client.run(async move || assert!(!Path::new(path).exists())).await;
    assert!(client.read(path).expect_err("not there").to_string().contains(path));
    Ok(())
}

#[netns_test]
async fn files_of_the_host_can_be_replaced_in_every_directory(a: Node) -> io::Result<()> {
    // The host's file, in a directory of root's, one in a directory that is missing, and one in a directory below.
    for path in [
        "/etc/passwd",
        "/usr/share/netns-test-proof/x/y",
        "/var/lib/dpkg/status",
        "/etc/init.d/netns-test-proof",
    ] {
        let before = fs::read(path).ok();
        a.write(path, "replaced\n")?;
        assert_eq!(a.read(path)?, "replaced\n", "{path}");
        assert_eq!(says(&a, &format!("cat {path}")).await?, "replaced", "{path}");
        assert_eq!(fs::read(path).ok(), before, "{path}");
    }
    // What stands beside them is still there.
    assert_eq!(says(&a, "test -d /usr/share/doc -a -e /etc/hosts && echo there").await?, "there");
    Ok(())
}

// Directories of daemons (/run/frr, /run/postgresql), which these write to unasked.
#[netns_test]
async fn what_programs_write_to_run_stays_in_the_node(a: Node) -> io::Result<()> {
    let device = std::os::unix::fs::MetadataExt::dev;
    let run = fs::metadata("/run")?;
    for entry in fs::read_dir("/run")? {
        let directory = entry?.path();
        let data = fs::symlink_metadata(&directory)?;
        // A file system of its own stays what it is.
        if data.is_dir() && device(&data) == device(&run) {
            let proof = directory.join("netns-test-proof");
            // An ordinary user may not write everywhere.
            a.command("touch").arg(&proof).status().await?;
            assert!(!proof.exists(), "{}", proof.display());
        }
    }
    // What leads out of the network stays covered.
    let covered = |path: &str| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if covered("/run/dbus") {
        assert_eq!(says(&a, "ls -A /run/dbus").await?, "");
    }
    Ok(())
}

#[netns_test]
async fn files_that_are_written_while_programs_run_reach_them(a: Node) -> io::Result<()> {
    let script =
        "until test -e /usr/share/netns-test-late; do sleep 0.01; done; cat /usr/share/netns-test-late";
    let child = a.command("sh").args(["-c", script]).spawn().await?;
    a.write("/usr/share/netns-test-late", "late\n")?;
    child.wait_line("late").await?;
    Ok(())
}

#[netns_test(nodes = 2)]
async fn tools_may_rename_over_the_resolvers_files(client: Node, server: Node) -> io::Result<()> {
    for file in ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"] {
        let host = fs::read(file).ok();
        says(&client, &format!("cp {file} /etc/new && echo '# mine' >> /etc/new && mv /etc/new {file}"))
            .await?;
        assert!(client.read(file)?.contains("# mine"), "{file}");
        assert!(!server.read(file)?.contains("# mine"), "{file}");
        assert_eq!(fs::read(file).ok(), host, "{file}");
    }
    assert!(says(&client, "getent hosts server").await?.contains("server"));
    Ok(())
}

#[netns_test]
async fn a_tmpfs_is_empty_and_open_to_all(a: Node, b: Node) -> io::Result<()> {
    for path in ["/var/log", "/usr/share/netns-test-proof/deep"] {
        a.tmpfs(path)?;
        assert_eq!(says(&a, &format!("ls {path} | wc -l")).await?, "0");
        let touched = a.command("touch").arg(format!("{path}/x")).unprivileged().status().await?;
        assert!(touched.success());
        assert!(a.read(format!("{path}/x")).is_ok());
        assert!(b.read(format!("{path}/x")).is_err());
        assert!(!Path::new(path).join("x").exists());
    }
    Ok(())
}

#[netns_test]
async fn the_data_directory_is_the_nodes(a: Node, b: Node) -> io::Result<()> {
    let data = a.data_dir()?;
    assert_eq!(data, b.data_dir()?);
    a.write(data.join("x"), "a's")?;
    assert_eq!(says(&a, &format!("cat {}/x", data.display())).await?, "a's");
    assert!(b.read(data.join("x")).is_err());
    assert!(a.command("mkdir").arg(data.join("theirs")).unprivileged().status().await?.success());
    assert!(!data.exists());
    Ok(())
}

#[netns_test]
async fn a_bind_shows_the_hosts_file_elsewhere(a: Node) -> io::Result<()> {
    let source = std::env::current_dir()?.join("Cargo.toml");
    a.bind(&source, "/etc/netns-test-proof/manifest")?;
    assert_eq!(a.read("/etc/netns-test-proof/manifest")?, fs::read_to_string(&source)?);
    a.bind(std::env::current_dir()?, "/opt/netns-test-proof")?;
    assert_eq!(
        says(&a, "cat /opt/netns-test-proof/Cargo.toml").await?.trim(),
        fs::read_to_string(&source)?.trim()
    );
    let error = a.bind("/no/such/file", "/etc/x").expect_err("no source").to_string();
    assert!(error.contains("`/no/such/file`"), "{error}");
    Ok(())
}

#[netns_test(nodes = 2)]
async fn namespaces_have_names(client: Node, server: Node) -> io::Result<()> {
    assert_eq!(server.netns_path()?, Path::new("/run/netns/server"));
    assert_eq!(says(&client, "ls /run/netns").await?, "client\nserver");
    let there = fs::File::from(server.netns_fd().try_clone_to_owned()?).metadata()?.ino();
    for script in
        ["stat -Lc %i /run/netns/server", "nsenter --net=/run/netns/server stat -Lc %i /proc/self/ns/net"]
    {
        assert_eq!(says(&client, script).await?, there.to_string(), "{script}");
    }
    Ok(())
}

#[netns_test]
async fn what_cannot_be_covered_is_an_error_with_its_cause(a: Node) -> io::Result<()> {
    let relative = a.write("etc/x", "").expect_err("not absolute").to_string();
    assert!(relative.contains("it is not absolute"), "{relative}");
    let up = a.write("/etc/../x", "").expect_err("up").to_string();
    assert!(up.contains("`..`"), "{up}");
    let root = a.write("/netns-test-proof/x", "").expect_err("below the root directory").to_string();
    assert!(root.contains("the root directory cannot be made private"), "{root}");
    let directory = a.write("/etc", "").expect_err("a directory").to_string();
    assert!(directory.contains("failed to"), "{directory}");
    Ok(())
}

/// The host's mounts and the directories that nodes make private.
fn host() -> (String, Vec<String>) {
    let mut names = Vec::new();
    for directory in ["/etc", "/run", "/run/netns", "/usr/share", "/var/lib/dpkg", "/opt"] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        names.extend(entries.map(|entry| entry.path().display().to_string()));
    }
    names.sort();
    (fs::read_to_string("/proc/self/mountinfo").expect("it is there"), names)
}

#[netns_test]
#[ignore = "run by its proof"]
async fn changes_files(a: Node) -> io::Result<()> {
    a.write("/etc/netns-test-proof/x", "x")?;
    a.write("/run/netns-test-proof", "x")?;
    a.write("/usr/share/netns-test-proof", "x")?;
    a.tmpfs("/opt/netns-test-proof")?;
    says(&a, "echo x > /run/netns-test-other; rm -f /etc/hosts; touch /etc/netns-test-other").await?;
    Ok(())
}

/// What network managers do, by code of the test's own.
#[netns_test]
#[ignore = "run by its proof"]
fn changes_files_by_code(a: Node, b: Node) -> io::Result<()> {
    a.private_files()?;
    a.enter(|| {
        fs::create_dir_all("/run/netns")?;
        fs::write("/run/netns/netns-test-proof", "")?;
        fs::write("/etc/netns-test-proof", "nameserver 10.9.9.9\n")?;
        fs::rename("/etc/netns-test-proof", "/etc/resolv.conf")
    })?;
    assert_eq!(a.read("/etc/resolv.conf")?, "nameserver 10.9.9.9\n");
    let has = |node: &Node| node.enter(|| fs::exists("/run/netns/netns-test-proof"));
    assert!(has(&a)? && !has(&b)?);
    Ok(())
}

#[test]
fn nothing_reaches_the_host() {
    let before = host();
    rerun("changes_files").run().passed();
    rerun("changes_files_by_code").run().passed();
    let after = host();
    let new: Vec<&String> =
        after.1.iter().filter(|name| !before.1.contains(name) && name.contains("netns-test")).collect();
    assert!(new.is_empty(), "{new:?}");
    assert_eq!(after.0, before.0);
}

#[netns_test]
fn the_interfaces_are_there_while_directories_become_private(a: Node) -> io::Result<()> {
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let looks = a.spawn_thread("looks", move || {
        std::iter::repeat_with(|| fs::metadata("/sys/class/net/lo").is_ok())
            .take_while(|_| !stopped.load(Ordering::Relaxed))
            .filter(|is_there| !is_there)
            .count()
    });
    for directory in
        ["/etc", "/opt", "/srv", "/home", "/media", "/var/lib", "/var/tmp", "/usr/share", "/usr/lib"]
    {
        a.write(format!("{directory}/netns-test-proof"), "x")?;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(looks.join().expect("it counts"), 0);
    Ok(())
}

// What is kept.

#[netns_test]
#[ignore = "run by its proof"]
async fn leaves_artifacts(a: Node) -> io::Result<()> {
    let path = a.artifact("server.log")?;
    says(&a, &format!("echo started > {}", path.display())).await?;
    assert_eq!(path, a.artifact("server.log")?);
    for name in ["", ".", "..", "x/y", "/x"] {
        let error = a.artifact(name).expect_err(name).to_string();
        assert!(error.contains("it is no plain file name"), "{error}");
    }
    match std::env::var_os("PROOF_FAILS") {
        Some(_) => panic!("the test fails"),
        None => Ok(()),
    }
}

#[test]
fn artifacts_are_kept_when_the_test_fails_and_only_then() {
    let directory = std::env::temp_dir().join(format!("netns-test-artifacts-{}", std::process::id()));
    let run = || rerun("leaves_artifacts").env("NETNS_TEST_DIR", directory.to_str().expect("text"));
    run().run().passed();
    assert!(!directory.exists());
    for attempt in ["1", "2"] {
        let kept = directory.join("files/leaves_artifacts").join(attempt);
        let outcome = run().env("PROOF_FAILS", "1").run();
        outcome.failed_with(&["the test fails", &format!("files of the test are in {}", kept.display())]);
        assert_eq!(fs::read_to_string(kept.join("a/server.log")).expect("kept"), "started\n");
    }
    fs::remove_dir_all(&directory).expect("ours");
    // A directory that was there before is the user's: it may be a mount point, and stays.
    fs::create_dir(&directory).expect("ours");
    run().run().passed();
    assert!(directory.read_dir().expect("it is there").next().is_none());
    fs::remove_dir(directory).expect("ours");
}
