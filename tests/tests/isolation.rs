//! Isolation: tests do not meet, a node sees nothing of the host's network, and the host nothing of a node's.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Barrier, OnceLock};
use std::{env, fs, thread};

use netns_test::{Node, netns_test};
use netns_test_tests::rerun;
use nix::mount::{MsFlags, mount};

/// Tunnel devices that some kernels put into every new namespace.
const FALLBACK_TUNNELS: [&str; 9] =
    ["tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"];

/// The variables by which clients find a proxy.
const PROXIES: [&str; 8] = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
];

/// Directories of daemons that answer for the host's network.
const DAEMONS: [&str; 6] =
    ["/run/netns", "/run/nscd", "/run/dbus", "/run/avahi-daemon", "/run/docker", "/run/containerd"];

static ALL_LISTEN: OnceLock<Barrier> = OnceLock::new();

#[netns_test(nodes = 2)]
#[ignore = "a part of `tests_may_use_the_same_address_at_the_same_moment`"]
fn listens_on_port_80(server: Node, client: Node) -> std::io::Result<()> {
    let listener = server.blocking_listen_tcp("10.0.0.1:80")?;
    if let Some(barrier) = ALL_LISTEN.get() {
        barrier.wait();
    }
    let out = client.blocking_connect_tcp("10.0.0.1:80")?;
    let (_inc, peer) = listener.accept()?;
    assert_eq!(peer, out.local_addr()?);
    if let Some(barrier) = ALL_LISTEN.get() {
        barrier.wait();
    }
    Ok(())
}

#[test]
fn tests_may_use_the_same_address_at_the_same_moment() {
    const TESTS: usize = 6;
    ALL_LISTEN.get_or_init(|| Barrier::new(TESTS));
    thread::scope(|scope| {
        for _ in 0..TESTS {
            scope.spawn(listens_on_port_80);
        }
    });
}

fn is_declared(name: &str) -> bool {
    !FALLBACK_TUNNELS.contains(&name)
}

/// The interfaces as three places of the file system tell them; they have to agree.
fn interfaces_in_files() -> Vec<String> {
    let entries = fs::read_dir("/sys/class/net").expect("/sys/class/net");
    let mut in_sys: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| is_declared(name))
        .collect();
    in_sys.sort();
    assert_eq!(in_proc(&fs::read_to_string("/proc/net/dev").expect("/proc/net/dev")), in_sys);
    assert_eq!(
        in_proc(&fs::read_to_string("/proc/thread-self/net/dev").expect("the thread's net/dev")),
        in_sys
    );
    in_sys
}

fn in_proc(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    let mut names: Vec<String> = names.filter(|name| is_declared(name)).collect();
    names.sort();
    names
}

/// What a child process of the calling thread prints.
fn child(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[netns_test(nodes = 2)]
async fn only_the_declared_interfaces_are_there(client: Node, server: Node) {
    let wanted = ["eth0", "lo"];
    for node in [client, server] {
        let mut names: Vec<String> = node.links().unwrap().into_iter().map(|link| link.name).collect();
        names.retain(|name| is_declared(name));
        names.sort();
        assert_eq!(names, wanted);
        assert_eq!(node.run(async || interfaces_in_files()).await, wanted, "in `run`");
        assert_eq!(
            node.spawn_thread("files", interfaces_in_files).await.unwrap(),
            wanted,
            "in `spawn_thread`"
        );
        assert_eq!(node.enter(interfaces_in_files), wanted, "in `enter`");
        let own =
            node.run(async || (child("ls", &["/sys/class/net"]), child("cat", &["/proc/net/dev"]))).await;
        let mut listed: Vec<String> =
            own.0.lines().map(str::to_owned).filter(|name| is_declared(name)).collect();
        listed.sort();
        assert_eq!(
            (listed, in_proc(&own.1)),
            (wanted.map(str::to_owned).into(), wanted.map(str::to_owned).into())
        );
    }
}

#[netns_test]
fn the_body_has_the_loopback_alone() {
    assert_eq!(interfaces_in_files(), ["lo"]);
    let listener = TcpListener::bind("127.0.0.1:80").expect("the loopback is up");
    TcpStream::connect(listener.local_addr().unwrap()).expect("the loopback works");
    let v6 = TcpListener::bind("[::1]:80").expect("the loopback has ::1");
    TcpStream::connect(v6.local_addr().unwrap()).expect("the loopback works for IPv6");
}

#[netns_test(nodes = 3)]
fn a_node_has_no_route_out(nodes: [Node; 3]) {
    for node in nodes {
        let routes = node.routes().unwrap();
        assert!(routes.iter().all(|route| route.prefix_len > 0), "a default route: {routes:?}");
        let error = node.route_to(Ipv4Addr::new(192, 0, 2, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
        let error = node.blocking_connect_tcp("[2001:db8:ffff::1]:80").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    }
}

/// What the host listens on while `reaches_nothing_of_the_host` runs.
static OF_THE_HOST: OnceLock<(SocketAddr, Vec<u8>)> = OnceLock::new();

#[netns_test(nodes = 1)]
#[ignore = "a part of `sockets_of_the_host_and_of_nodes_do_not_meet`"]
fn reaches_nothing_of_the_host(node: Node) -> std::io::Result<()> {
    let (tcp, name) =
        OF_THE_HOST.get().cloned().unwrap_or_else(|| (([127, 0, 0, 1], 9).into(), b"nobody".to_vec()));
    let abstract_address = UnixAddr::from_abstract_name(name)?;
    node.enter(|| {
        let error = TcpStream::connect(tcp).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = UnixStream::connect_addr(&abstract_address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // The same names are free in the node.
        let listener = TcpListener::bind(tcp)?;
        TcpStream::connect(tcp)?;
        listener.accept()?;
        let listener = UnixListener::bind_addr(&abstract_address)?;
        UnixStream::connect_addr(&abstract_address)?;
        listener.accept()?;
        Ok(())
    })
}

#[test]
fn sockets_of_the_host_and_of_nodes_do_not_meet() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a listener of the host");
    let name = format!("netns-test-isolation-{}", std::process::id()).into_bytes();
    let unix =
        UnixListener::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).expect("an abstract socket");
    OF_THE_HOST.get_or_init(|| (tcp.local_addr().unwrap(), name));
    reaches_nothing_of_the_host();
    tcp.set_nonblocking(true).unwrap();
    unix.set_nonblocking(true).unwrap();
    assert_eq!(tcp.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "a node reached the host over TCP");
    assert_eq!(
        unix.accept().unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "a node reached the host's abstract socket"
    );
}

#[netns_test(nodes = 1)]
async fn no_proxy_is_named(node: Node) {
    for name in PROXIES {
        assert_eq!(env::var_os(name), None, "{name}");
    }
    let variables = node.run(async || child("env", &[])).await;
    let left: Vec<&str> =
        variables.lines().filter(|line| PROXIES.contains(&line.split('=').next().unwrap())).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn proxy_variables_of_the_caller_are_removed() {
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "no_proxy_is_named", "--nocapture"]);
    for name in PROXIES {
        again.env(name, "http://192.0.2.1:3128");
    }
    let output = again.output().expect("the same binary once more");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// /etc/hosts, /etc/resolv.conf and the line of /etc/nsswitch.conf that tells where host names come from.
fn resolver_files() -> [String; 3] {
    let services = fs::read_to_string("/etc/nsswitch.conf").expect("/etc/nsswitch.conf");
    let of_hosts: Vec<&str> = services.lines().filter(|line| line.starts_with("hosts:")).collect();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    [read("/etc/hosts"), read("/etc/resolv.conf"), of_hosts.join("\n")]
}

#[netns_test(nodes = 2)]
async fn the_resolvers_files_are_the_networks(client: Node, web_server: Node) {
    let hosts = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n\
        2001:db8::1 client\n10.0.0.1 client\n\
        2001:db8::2 web-server web_server\n10.0.0.2 web-server web_server\n";
    let check = |files: [String; 3], place: &str| {
        let [found, dns, services] = files;
        assert_eq!(found, hosts, "{place}");
        let servers: Vec<&str> = dns.lines().filter(|line| line.starts_with("nameserver")).collect();
        assert_eq!(servers, ["nameserver 127.0.0.1"], "{place}");
        assert_eq!(services, "hosts: files dns", "{place}");
    };
    for node in [client, web_server] {
        check(node.run(async || resolver_files()).await, "run");
        check(node.enter(resolver_files), "enter");
        assert_eq!(node.run(async || child("cat", &["/etc/hosts"])).await, hosts, "a child");
    }
    assert_eq!(resolver_files()[0], hosts, "the body");
}

#[netns_test(nodes = 1)]
async fn daemons_of_the_host_are_out_of_reach(node: Node) {
    let found = node
        .run(async || {
            let entries = DAEMONS.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
            entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        })
        .await;
    assert!(found.is_empty(), "{found:?}");
}

#[netns_test(nodes = 1)]
#[ignore = "run by its proof"]
fn a_named_bus_is_out_of_reach(node: Node) {
    let path = env::var("PROOF_BUS").expect("the proof sets it");
    let error = node.enter(|| UnixStream::connect(&path)).expect_err("it is the host's");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn buses_and_daemons_that_variables_name_are_out_of_reach() {
    let path = env::temp_dir().join(format!("netns-test-bus-{}", std::process::id()));
    let bus = UnixListener::bind(&path).expect("a socket of the host");
    let name = path.to_str().expect("UTF-8");
    let addresses = [
        ("DBUS_SESSION_BUS_ADDRESS", format!("unix:abstract=nobody;unix:path={name},guid=1")),
        ("DOCKER_HOST", format!("unix://{name}")),
    ];
    for (variable, address) in addresses {
        rerun("a_named_bus_is_out_of_reach").env("PROOF_BUS", name).env(variable, &address).run().passed();
    }
    // The host's own socket is as it was.
    UnixStream::connect(&path).expect("plain code reaches it");
    bus.accept().expect("the connection");
    fs::remove_file(path).expect("it is ours");
}

/// The mount points of the process's main thread, the host's, that netns-test or a test here could have made.
fn mounts_of_the_host() -> Vec<String> {
    let ours = ["/sys", "/sys/class", "/proc/net", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"];
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc/self/mountinfo");
    let is_ours = |line: &&str| {
        let point = line.split(' ').nth(4).unwrap_or_default();
        ours.contains(&point)
            || point.ends_with("/net")
            || line.contains("netns-test")
            || point.contains(MARK)
    };
    text.lines().filter(is_ours).map(str::to_owned).collect()
}

const MARK: &str = "mounted-in-a-node";

#[netns_test(nodes = 2)]
#[ignore = "a part of `mounts_do_not_reach_the_host`"]
async fn mounts_something(one: Node, other: Node) -> std::io::Result<()> {
    let directory = env::temp_dir().join(format!("{MARK}-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let file = directory.join("file");
    let (target, made) = (directory.clone(), file.clone());
    one.run(async move || {
        mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        fs::write(made, "in the node")
    })
    .await?;
    assert_eq!(one.enter(|| fs::read_to_string(&file))?, "in the node");
    assert!(!other.enter(|| file.exists()), "the other node sees the mount");
    assert!(!file.exists(), "the body sees the mount");
    // `/proc/self` is the main thread's: what the host sees while the test runs.
    let seen = mounts_of_the_host();
    assert!(!seen.iter().any(|line| line.contains(MARK)), "{seen:?}");
    fs::remove_dir(directory)
}

#[test]
fn mounts_do_not_reach_the_host() {
    let before = mounts_of_the_host();
    mounts_something();
    assert_eq!(mounts_of_the_host(), before);
}

#[netns_test(nodes = 1)]
async fn other_files_are_the_hosts(node: Node) -> std::io::Result<()> {
    let path = env::temp_dir().join(format!("netns-test-isolation-{}", std::process::id()));
    let written = path.clone();
    node.run(async move || fs::write(written, "from the node")).await?;
    let mut text = String::new();
    fs::File::open(&path)?.read_to_string(&mut text)?;
    assert_eq!(text, "from the node");
    fs::remove_file(path)
}

#[netns_test(nodes = 1)]
async fn a_host_name_stays_in_its_node(node: Node) {
    let name = || fs::read_to_string("/proc/sys/kernel/hostname").map(|text| text.trim().to_owned());
    assert_eq!(node.run(async move || name()).await.unwrap(), "node");
    assert_eq!(node.run(async || child("hostname", &[])).await.trim(), "node");
    assert_eq!(node.enter(name).unwrap(), "node");
}
