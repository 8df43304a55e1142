//! Promise 9: where the system refuses, the test fails with one message that names the cause and the command that mends
//! it. And promise 10: it never pretends.

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use netns_test::{Firewall, Node, Router, netns_test};
use netns_test_tests::{Rerun, is_root, rerun};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

#[netns_test]
#[ignore = "run by its proof"]
async fn two_nodes(client: Node, server: Node) -> std::io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    client.connect_tcp("server:7").await?;
    listener.accept().await?;
    Ok(())
}

#[netns_test(nodes = 3)]
#[ignore = "run by its proof"]
async fn three_nodes(nodes: [Node; 3]) {
    assert_eq!(nodes.len(), 3);
}

#[netns_test(require = [root])]
#[ignore = "run by its proof"]
async fn requires_root(_a: Node) {}

#[netns_test(require = [bpf])]
#[ignore = "run by its proof"]
async fn requires_bpf(_a: Node) {}

#[netns_test(
    nodes(phone, server),
    routers(home { nat = home, uplink = server }),
    links(phone -- home, home -- server),
)]
#[ignore = "run by its proof"]
fn behind_a_nat() {}

/// A user namespace without user namespaces in it, and without the privileges of its first process.
const NO_USER_NAMESPACES: &str = "exec unshare --user --map-root-user sh -c \
    'echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"' sh \"$@\"";

/// A user namespace that may hold as many network namespaces as it is told.
fn with_net_namespaces(count: u32) -> String {
    format!(
        "exec unshare --user --map-root-user sh -c 'echo {count} > /proc/sys/user/max_net_namespaces; exec \"$@\"' sh \"$@\""
    )
}

fn says_what_to_do(rerun: Rerun, cause: &str, command: &str) {
    let outcome = rerun.as_ordinary_user().run();
    outcome.failed_with(&["cannot run here", cause, "to mend it: ", command]);
}

#[test]
fn no_user_namespace_left() {
    let cause = "the limit of user namespaces is exhausted (user.max_user_namespaces is 0)";
    says_what_to_do(
        rerun("two_nodes").in_shell(NO_USER_NAMESPACES),
        cause,
        "sysctl -w user.max_user_namespaces=",
    );
}

#[test]
fn root_that_cannot_map_itself() {
    let script = "exec unshare --user --map-root-user setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
    says_what_to_do(rerun("two_nodes").in_shell(script), "root lacks CAP_SETFCAP", "--cap-add SETFCAP");
}

#[test]
fn no_network_namespace_left() {
    for count in [0, 2] {
        let cause =
            format!("the limit of network namespaces is exhausted (user.max_net_namespaces is {count})");
        let again = rerun("two_nodes").in_shell(&with_net_namespaces(count));
        says_what_to_do(again, &cause, "sysctl -w user.max_net_namespaces=");
        // In the user namespace that the process makes, the setting reads as if there were no limit.
        let script = with_net_namespaces(count)
            .replace("exec \"$@\"'", "exec setpriv --bounding-set=-all,+setfcap --inh-caps=-all \"$@\"'");
        says_what_to_do(rerun("two_nodes").in_shell(&script), &cause, "sysctl -w user.max_net_namespaces=");
    }
}

#[test]
fn no_file_descriptor_left() {
    let with_limit = |limit: u32| rerun("two_nodes").in_shell(&format!("ulimit -n {limit}; exec \"$@\""));
    for limit in [24, 32, 140] {
        let cause = format!(
            "too few files: the limit is {limit}, and this test needs one of 141 \
             (42 for itself, 64 for the program, 35 for the namespaces of ended tests)"
        );
        says_what_to_do(with_limit(limit), &cause, "`ulimit -n 4096`");
    }
    // The limit that is named suffices.
    with_limit(141).as_ordinary_user().run().passed();
}

#[test]
fn opted_out() {
    says_what_to_do(
        rerun("two_nodes").env("NETNS_TEST_USERNS", "0"),
        "`NETNS_TEST_USERNS=0` is set",
        "unset",
    );
}

#[test]
fn a_requirement_that_is_not_met() {
    says_what_to_do(rerun("requires_root"), "the test requires root (`require = [root]`)", "sudo -E");
    says_what_to_do(rerun("requires_bpf"), "the test requires eBPF (`require = [bpf]`)", "sudo -E");
    if is_root() {
        rerun("requires_root").run().passed();
        rerun("requires_bpf").run().passed();
        // As containers have it: a root whose user namespace is its own.
        let outcome = rerun("requires_bpf")
            .in_shell("exec setpriv --bounding-set=-sys_admin,-bpf --inh-caps=-all \"$@\"")
            .run();
        outcome.failed_with(&[
            "the test requires eBPF",
            "--cap-add SYS_ADMIN",
            "refused: bpf(BPF_PROG_LOAD)",
        ]);
    }
}

#[test]
fn a_list_needs_nothing() {
    let list = || Rerun::with(&["--list", "--ignored"]).as_ordinary_user();
    let net_namespaces = with_net_namespaces(0);
    let scripts = [NO_USER_NAMESPACES, &net_namespaces, "ulimit -n 24; exec \"$@\"", "exec \"$@\""];
    for script in scripts {
        let outcome = list().in_shell(script).run();
        assert!(outcome.status.success(), "{outcome}");
        outcome.says(&["two_nodes: test", "requires_root: test"]);
        assert!(!outcome.stderr.contains("netns-test"), "{outcome}");
    }
}

#[test]
fn a_skip_is_asked_for_and_said_past_the_capture() {
    let skipped = rerun("two_nodes").in_shell(NO_USER_NAMESPACES).env("NETNS_TEST_UNSUPPORTED", "skip");
    let outcome = skipped.as_ordinary_user().run();
    outcome.passed();
    assert!(
        outcome.stderr.contains("netns-test: skipped two_nodes: the limit of user namespaces"),
        "{outcome}"
    );
}

#[test]
fn a_refusal_half_way_names_operation_and_object() {
    // Enough namespaces for the body and the first nodes, not for the last.
    let outcome = rerun("three_nodes").in_shell(&with_net_namespaces(4)).as_ordinary_user().run();
    outcome.failed_with(&["refused: failed to create namespaces: No space left on device"]);
    // All that was made is gone: the same limit suffices for another test.
    let both = Rerun::with(&["--ignored", "--test-threads=1", "two_nodes", "three_nodes"]);
    let outcome = both.in_shell(&with_net_namespaces(5)).as_ordinary_user().run();
    assert!(outcome.status.success(), "{outcome}");
    outcome.says(&["2 passed; 0 failed"]);
}

#[test]
fn a_switch_that_is_unknown_is_refused() {
    let outcome = rerun("three_nodes").env("NETNS_TEST_SWITCH", "hub").run();
    outcome.failed_with(&["NETNS_TEST_SWITCH is `hub`: expected `macvlan` or `bridge`"]);
}

#[test]
fn a_bridge_is_a_switch_too() {
    rerun("three_nodes").env("NETNS_TEST_SWITCH", "bridge").run().passed();
}

/// Removes all tables of nf_tables, as `nft flush ruleset` does.
fn remove_tables() {
    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkNetFilter)
            .expect("everybody has it");
    let mut batch = Vec::new();
    // NFNL_MSG_BATCH_BEGIN, NFT_MSG_DELTABLE of nf_tables (10), which asks for an acknowledgement, and NFNL_MSG_BATCH_END.
    for (kind, flags, subsystem) in [(0x10_u16, 1_u16, 10_u16), (10 << 8 | 2, 5, 0), (0x11, 1, 10)] {
        // nlmsghdr: length, kind, flags, sequence, port; nfgenmsg: no family, version, subsystem.
        batch.extend(20_u32.to_ne_bytes());
        batch.extend(kind.to_ne_bytes());
        batch.extend(flags.to_ne_bytes());
        batch.extend([0; 10]);
        batch.extend(subsystem.to_be_bytes());
    }
    send(netlink.as_raw_fd(), &batch, MsgFlags::empty()).expect("the kernel takes it");
    let mut answer = [0; 128];
    recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("the kernel answers");
    assert_eq!(answer[16..20], [0; 4], "the kernel refuses");
}

#[netns_test(
    nodes(phone, server),
    routers(home { firewall = corporate, uplink = server }),
    links(phone -- home, home -- server),
)]
fn rules_that_a_test_has_removed_are_told(home: Router) {
    home.enter(remove_tables);
    let error = home.set_firewall(Firewall::Open).expect_err("its rules are gone").to_string();
    assert!(error.contains("it has been removed meanwhile"), "{error}");
    assert!(!error.contains("modprobe"), "{error}");
}

/// Finds no route, and fails.
fn finds_no_route() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.send_to(b"x", "192.0.2.1:9").expect("there is a route");
}

#[netns_test(nodes = 1)]
#[ignore = "fails on purpose"]
fn forgets_the_handle(_a: Node) {
    finds_no_route();
}

#[netns_test(nodes = 1, run_in = a)]
#[ignore = "fails on purpose"]
fn finds_no_route_in_a_node(_a: Node) {
    finds_no_route();
}

#[test]
fn a_forgotten_handle_is_hinted_at_where_the_body_is_outside_the_network() {
    let hint = "the body stands outside the network";
    rerun("forgets_the_handle").run().failed_with(&[hint, "NetworkUnreachable"]);
    let outcome = rerun("finds_no_route_in_a_node").run();
    outcome.failed_with(&["NetworkUnreachable"]);
    assert!(!outcome.stdout.contains(hint), "{outcome}");
}

// On a machine of its own, as root: `.ci/debian-kernel` runs these, one after the other. They change what all of the machine has.

#[test]
#[ignore = "for a machine of its own"]
fn machine_that_keeps_user_namespaces_from_users() {
    let setting = "/proc/sys/kernel/unprivileged_userns_clone";
    fs::write(setting, "0").expect("a kernel of Debian's, and root");
    let cause =
        "the kernel refuses user namespaces to ordinary users (kernel.unprivileged_userns_clone is 0)";
    says_what_to_do(rerun("two_nodes"), cause, "sudo sysctl -w kernel.unprivileged_userns_clone=1");
    fs::write(setting, "1").expect("as before");
    rerun("two_nodes").as_ordinary_user().run().passed();
}

#[test]
#[ignore = "for a machine of its own"]
fn machine_without_modules() {
    let loader = "/proc/sys/kernel/modprobe";
    let before = fs::read_to_string(loader).expect("a kernel with modules");
    let bridges = || rerun("three_nodes").env("NETNS_TEST_SWITCH", "bridge");
    let cases: [(&str, &dyn Fn() -> Rerun, &str); 4] = [
        ("bridge", &bridges, "the kernel has no bridge devices"),
        ("nft_ct", &|| rerun("behind_a_nat"), "the kernel lacks a part of nf_tables"),
        ("nf_tables", &|| rerun("behind_a_nat"), "the kernel has no nf_tables"),
        ("veth", &|| rerun("two_nodes"), "the kernel has no veth devices"),
    ];
    for (module, rerun, cause) in cases {
        rerun().as_ordinary_user().run().passed();
        fs::write(loader, "/bin/false").expect("root");
        unload(module);
        let refused = rerun().as_ordinary_user().run();
        fs::write(loader, before.trim()).expect("root");
        let loaded = Command::new("modprobe").arg(module).status().expect("modprobe");
        let option = if module == "nft_ct" { "-a " } else { "" };
        refused.failed_with(&[cause, &format!("sudo modprobe {option}{module}")]);
        assert!(loaded.success(), "{module} is there again");
    }
    // Without macvlan a switch is a bridge, and without tun there is no /dev/net/tun, which nothing opens.
    for module in ["macvlan", "tun"] {
        let loaded = Command::new("modprobe").arg(module).status().expect("modprobe");
        assert!(loaded.success(), "the kernel has {module}");
        fs::write(loader, "/bin/false").expect("root");
        unload(module);
        rerun("three_nodes").as_ordinary_user().run().passed();
        let modules = fs::read_to_string("/proc/modules").expect("a kernel with modules");
        fs::write(loader, before.trim()).expect("root");
        let is_there = modules.lines().any(|line| line.split(' ').next() == Some(module));
        assert!(!is_there, "{module} is not there: {modules}");
    }
    assert!(!Path::new("/dev/net/tun").exists(), "it is gone with its module");
}

/// Unloads a module and those that use it, once the kernel has cleaned up after the tests that did.
fn unload(module: &str) {
    let begun = Instant::now();
    loop {
        let modules = fs::read_to_string("/proc/modules").expect("a kernel with modules");
        let Some(line) = modules.lines().find(|line| line.split(' ').next() == Some(module)) else { return };
        let users = line.split(' ').nth(3).unwrap_or_default();
        let users = users.split(',').filter(|user| !user.is_empty() && *user != "-");
        for module in users.chain([module]) {
            Command::new("rmmod").arg(module).output().expect("rmmod");
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{module} is still in use: {line}");
        thread::sleep(Duration::from_millis(50));
    }
}
