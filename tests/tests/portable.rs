//! What a user's file of tests may have, for `.ci/elsewhere`: it is compiled as on another system than Linux, where plain tests
//! run and netns tests are ignored. Run on Linux, with the feature `elsewhere`, all of them run.

use std::io;
use std::time::Duration;

use netns_test::dns::Server;
use netns_test::kubernetes::{Cluster, ClusterLayout, Pod};
use netns_test::packet::Packet;
use netns_test::{
    Argument, Conditions, Error, FromNetwork, Network, Node, Percent, Router, Signal, Topology, netns_test,
};
use rstest::rstest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

// What does not need a network works everywhere.

#[test]
fn plain() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(listener.local_addr().unwrap().port() > 0);
}

#[test]
fn plain_topologies_are_checked() {
    two_sites().check().unwrap();
    ClusterLayout::new(2).topology().check().unwrap();
    let mut wrong = Topology::new();
    wrong.node("client").link("client", "cleint");
    let error = wrong.check().unwrap_err();
    assert!(error.to_string().contains("did you mean `client`?"), "{error}");
}

#[test]
fn plain_packets_are_decoded() {
    assert_eq!(Packet::decode([0; 14]).length(), 14);
}

// Helpers name the handles, and call their methods.

fn two_sites() -> Topology {
    let mut sites = Topology::new();
    sites.node("paris").node("oslo").router("r");
    sites.link("paris", "r");
    sites.link("r", "oslo").mtu(1400);
    sites
}

async fn connect(client: &Node, listener: &TcpListener, to: &str) -> io::Result<(TcpStream, TcpStream)> {
    let out = client.connect_tcp(to).await?;
    Ok((out, listener.accept().await?.0))
}

fn prints(node: &Node, text: &str) -> String {
    let output =
        node.command("echo").arg(text).env("LANG", "C").blocking_output().expect("echo is everywhere");
    String::from_utf8(output.stdout).unwrap()
}

#[netns_test(nodes = 2)]
async fn async_body(client: Node, server: Node) -> io::Result<()> {
    let listener = server.listen_tcp(7).await?;
    let (mut out, mut inc) = connect(&client, &listener, "server:7").await?;
    out.write_all(b"hi").await?;
    let mut buf = [0; 2];
    inc.read_exact(&mut buf).await?;
    assert_eq!(inc.peer_addr()?.ip(), client.ip());
    let local = client.run(async || TcpStream::connect("server:7").await?.local_addr()).await?;
    assert_eq!(local.ip(), client.ip());
    let task = server.spawn(async || 7);
    assert_eq!(task.await.unwrap(), 7);
    Ok(())
}

#[netns_test]
fn plain_body(node: Node) {
    assert_eq!(prints(&node, "hello"), "hello\n");
    let mut child = node.command("cat").stdin(std::process::Stdio::piped()).blocking_spawn().unwrap();
    drop(child.stdin.take());
    child.signal(Signal::TERM).unwrap();
    child.blocking_wait().unwrap();
    #[cfg(unix)]
    std::os::fd::AsRawFd::as_raw_fd(&node.netns_fd());
}

#[netns_test]
async fn array(nodes: [Node; 3], network: Network) -> Result<(), Error> {
    let cut = network.partition(&nodes[..1], &nodes[1..])?;
    assert!(network.deadline().is_some());
    cut.repair()
}

#[netns_test(
    nodes(client, server),
    routers(r),
    links(client -- r { delay = 1ms }, r -- server),
    timeout = 30s,
)]
async fn graph(client: Node, server: Node, r: Router, network: Network) -> io::Result<()> {
    let traffic = network.capture()?;
    let listener = server.listen_tcp(80).await?;
    let (_out, _inc) = connect(&client, &listener, "server:80").await?;
    traffic.until("a SYN", |packet| packet.tcp().is_some_and(|tcp| tcp.flags.syn)).await?;
    let tunnel = network.link(&client, &r)?.set_conditions(Conditions::new().loss(Percent(100.0)))?;
    tunnel.repair()?;
    assert_eq!(client.route_to(server.ip4())?.gateway, Some(r.ip4().into()));
    Ok(())
}

#[derive(FromNetwork)]
#[network(nodes(client, server), routers(r), links(client -- r, r -- server))]
struct Lab {
    client: Node,
    server: Node,
    r: Router,
}

#[netns_test]
async fn structure(lab: Lab) {
    assert!(lab.r.is_router());
    assert_ne!(lab.client.ip(), lab.server.ip());
}

struct Pair(Node, Node);

impl FromNetwork for Pair {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        Ok(Self(argument.node("node-0")?, argument.node("node-1")?))
    }
}

#[netns_test(nodes = 2)]
fn own_type(pair: Pair) {
    assert_ne!(pair.0.ip(), pair.1.ip());
}

#[netns_test(topology = two_sites())]
fn value(paris: Node, oslo: Node) -> io::Result<()> {
    let interface = paris.interface("eth0")?;
    assert_eq!((interface.link()?.mtu, oslo.name()), (1500, "oslo"));
    Ok(())
}

#[netns_test(nodes = 2, matrix(family = [v4, v6]))]
fn matrix(a: Node, b: Node) {
    assert_ne!(a.ip(), b.ip());
}

#[netns_test]
#[should_panic(expected = "as it should")]
fn panics(a: Node) {
    assert_eq!(a.name(), "b", "as it should");
}

#[rstest]
#[case(1400)]
#[case(1280)]
#[netns_test::test]
fn cases(#[case] mtu: u32, #[ignore] a: Node, #[ignore] b: Node) -> io::Result<()> {
    a.interface("eth0")?.set_mtu(mtu)?;
    assert!(b.interface("eth0")?.link()?.mtu >= mtu);
    Ok(())
}

#[netns_test(nodes = 2, dns = b)]
async fn names(a: Node, b: Node) -> io::Result<()> {
    let server = Server::start(&b)?;
    server.add("db.test", a.ip())?;
    let asked = a.run(async || tokio::net::lookup_host("db.test:1").await.map(|found| found.count()));
    let (asked, ()) = tokio::join!(asked, tokio::time::sleep(Duration::ZERO));
    assert!(asked? > 0);
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn cluster(cluster: Cluster, client: Pod) -> io::Result<()> {
    let server = cluster.node(1).pod("server").label("app", "echo").start()?;
    cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    let listener = server.listen_tcp(8080).await?;
    connect(&client, &listener, "echo.default.svc.cluster.local:80").await?;
    let nodes: [Node; 2] = [client.into(), cluster.node(0).into()];
    assert_eq!(nodes[0].name(), "client");
    Ok(())
}

#[netns_test]
#[ignore = "a reason of its own"]
fn ignored_anyway(a: Node) {
    drop(a);
}

mod program {
    use netns_test::Node;

    #[netns_test::main]
    async fn main(a: Node) {
        println!("{}", a.ip());
    }
}
