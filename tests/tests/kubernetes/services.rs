//! Names and services.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use netns_test::dns::RecordType;
use netns_test::kubernetes::{Cluster, Pod, Service};
use netns_test::{Error, JoinHandle, Node, netns_test};
use nix::sched::{CloneFlags, unshare};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Starts a pod that tells its name, and who it sees, to whoever connects to port 8080, or sends a datagram there.
async fn teller(cluster: &Cluster, node: usize, name: &str, app: &str) -> Result<Pod, Error> {
    let pod = cluster.node(node).pod(name).label("app", app).start()?;
    tells(&pod).await?;
    Ok(pod)
}

async fn tells(pod: &Pod) -> Result<(), Error> {
    let name = pod.name().to_owned();
    let own = name.clone();
    pod.spawn(async move || {
        let listener = TcpListener::bind("[::]:8080").await.expect("a port");
        loop {
            let (mut stream, peer) = listener.accept().await.expect("a connection");
            let text = format!("{own} {}", peer.ip().to_canonical());
            // A client that has gone is none of its business.
            let _gone = stream.write_all(text.as_bytes()).await;
        }
    });
    pod.spawn(async move || {
        let socket = UdpSocket::bind("[::]:8080").await.expect("a port");
        loop {
            let (_, peer) = socket.recv_from(&mut [0; 9]).await.expect("a datagram");
            let text = format!("{name} {}", peer.ip().to_canonical());
            let _gone = socket.send_to(text.as_bytes(), peer).await;
        }
    });
    pod.wait_listening(8080).await?;
    pod.wait_bound_udp(8080).await
}

/// Who answers a connection, and whom it saw.
async fn ask(from: &Node, to: (IpAddr, u16)) -> io::Result<(String, IpAddr)> {
    let mut text = String::new();
    from.connect_tcp(to).await?.read_to_string(&mut text).await?;
    let (name, peer) = text.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
    Ok((name.to_owned(), peer.parse().map_err(io::Error::other)?))
}

async fn ask_udp(from: &Node, to: (IpAddr, u16)) -> io::Result<String> {
    let own: SocketAddr = if to.0.is_ipv4() { (from.ip4(), 0).into() } else { (from.ip6(), 0).into() };
    let socket = from.bind_udp(own).await?;
    socket.connect(to).await?;
    socket.send(b"who?").await?;
    let mut buffer = [0; 99];
    let length = socket.recv(&mut buffer).await?;
    Ok(String::from_utf8_lossy(&buffer[..length]).split(' ').next().unwrap_or_default().to_owned())
}

/// Asks until each of these has answered, and fails if another does.
async fn all_answer(from: &Node, to: (IpAddr, u16), expected: &[&str]) -> io::Result<()> {
    let expected: BTreeSet<String> = expected.iter().map(ToString::to_string).collect();
    let mut answered = BTreeSet::new();
    // With three, one of them stays silent so long in one of 10^17 tests.
    for _ in 0..100 {
        answered.insert(ask(from, to).await?.0);
        assert!(answered.is_subset(&expected), "{answered:?} of {expected:?}");
        if answered == expected {
            return Ok(());
        }
    }
    panic!("{answered:?} of {expected:?} answered");
}

fn addresses(service: &Service) -> [IpAddr; 2] {
    [service.ip4().into(), service.ip6().into()]
}

fn run<R: Send + 'static>(node: &Node, work: impl FnOnce() -> R + Send + 'static) -> JoinHandle<R> {
    node.spawn(async move || tokio::task::spawn_blocking(work).await.expect("no panic"))
}

/// What the system's resolver makes of a name.
async fn resolve(node: &Node, name: &'static str) -> io::Result<BTreeSet<IpAddr>> {
    let looked_up =
        run(node, move || (name, 0).to_socket_addrs().map(|found| found.map(|to| to.ip()).collect()));
    looked_up.await.expect("no panic")
}

fn set(ips: impl IntoIterator<Item = IpAddr>) -> BTreeSet<IpAddr> {
    ips.into_iter().collect()
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
async fn names_resolve_as_in_a_cluster(cluster: Cluster, client: Pod, server: Pod) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    for name in [
        "echo",
        "echo.default",
        "echo.default.svc",
        "echo.default.svc.cluster.local",
        "Echo.default.svc.cluster.local.",
    ] {
        assert_eq!(resolve(&client, name).await?, set(addresses(&echo)), "{name}");
    }
    let of_server = set([server.ip4().into(), server.ip6().into()]);
    assert_eq!(resolve(&client, "server").await?, of_server);
    assert_eq!(resolve(&client, "10-244-1-2.default.pod.cluster.local").await?, set([server.ip4().into()]));
    assert_eq!(
        resolve(&client, "2001-db8-244-1--2.default.pod.cluster.local").await?,
        set([server.ip6().into()])
    );
    // In the nodes and in the body as well.
    assert_eq!(resolve(&cluster.node(1), "echo").await?, set(addresses(&echo)));
    assert_eq!(set(tokio::net::lookup_host("server:0").await?.map(|to| to.ip())), of_server);
    assert!(resolve(&client, "nobody").await.is_err());

    // They come and go with what they stand for.
    server.delete()?;
    assert!(resolve(&client, "server").await.is_err());
    echo.delete()?;
    assert!(resolve(&client, "echo").await.is_err());

    let asked: Vec<String> = cluster.dns()?.queries().iter().map(|query| query.name.clone()).collect();
    assert!(asked.contains(&"nobody.svc.cluster.local".to_owned()), "{asked:?}");
    let text = client.read("/etc/resolv.conf")?;
    assert_eq!(
        text,
        "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
    );
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, pods(client = 0)))]
async fn the_test_has_names_and_faults_of_its_own(cluster: Cluster, client: Pod) -> io::Result<()> {
    let dns = cluster.dns()?;
    dns.add("db.example.com", IpAddr::from([192, 0, 2, 1]))?;
    // A change of the cluster leaves them alone.
    cluster.node(0).pod("other").start()?;
    assert_eq!(resolve(&client, "db.example.com").await?, set([IpAddr::from([192, 0, 2, 1])]));
    let asked = dns.wait_query("db.example.com").await?;
    assert_eq!(asked.node.as_deref(), Some("client"));
    assert!(matches!(asked.record_type, RecordType::A | RecordType::Aaaa));
    let refused = dns.answer_with(netns_test::dns::Rcode::Refused);
    assert!(resolve(&client, "db.example.com").await.is_err());
    drop(refused);
    resolve(&client, "db.example.com").await.map(drop)
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn a_headless_service_is_all_its_pods(cluster: Cluster, client: Pod) -> io::Result<()> {
    let db = cluster.service("db").headless().selector("app", "db").create()?;
    // The name is there, and stands for nobody yet.
    assert!(resolve(&client, "db.default.svc.cluster.local").await.is_err());
    let pods = [0, 1].map(|node| cluster.node(node).pod(format!("db-{node}")).label("app", "db"));
    let [first, second] = pods.map(|pod| pod.start());
    let (first, second) = (first?, second?);
    let all = [&first, &second].into_iter().flat_map(|pod| [IpAddr::from(pod.ip4()), pod.ip6().into()]);
    assert_eq!(resolve(&client, "db").await?, set(all));
    first.set_ready(false)?;
    assert_eq!(resolve(&client, "db").await?, set([second.ip4().into(), second.ip6().into()]));
    let panic = std::panic::catch_unwind(|| db.ip()).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "the service `db` is headless");
    Ok(())
}

#[netns_test(kubernetes(nodes = 1))]
fn names_of_ports_are_checked(cluster: Cluster) {
    for (service, cause) in [
        (cluster.service("a").port(80, 80).port_name("HTTP"), "`HTTP` is no name of a port"),
        (
            cluster.service("a").port_name("http").port(80, 80),
            "`http` names no port: write `.port(80, 8080)` before `.port_name(\"http\")`",
        ),
        (
            cluster.service("a").port(80, 80).port_name("http").port(81, 80).port_name("http"),
            "two ports are called `http`: choose another name for one",
        ),
        (
            cluster.service("a").port(80, 80).port_name("http").port_name("web"),
            "one port has two names, `http` and `web`: remove one",
        ),
    ] {
        let message = service.selector("app", "a").create().unwrap_err().to_string();
        assert!(message.contains(cause), "{message}");
    }
}

/// A pod that is killed and comes back, with the address that it had or another, serves again.
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn a_pod_comes_back(cluster: Cluster, client: Pod) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    let first = teller(&cluster, 1, "server", "echo").await?;
    ask(&client, (echo.ip(), 80)).await?;
    // Its processes are killed, and it is started again where it is.
    let crashed = first.crash().await?;
    crashed.restart()?;
    assert_eq!(
        client.connect_tcp((echo.ip(), 80)).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    for ip in [Some(first.ip()), None] {
        for pod in echo.endpoints() {
            pod.delete()?;
        }
        let mut again = cluster.node(1).pod("server").label("app", "echo");
        if let Some(ip) = ip {
            again = again.ip(ip);
        }
        let again = again.start()?;
        assert_eq!(again.ip() == first.ip(), ip.is_some());
        let listener = again.listen_tcp("[::]:8080").await?;
        client.connect_tcp((echo.ip(), 80)).await?;
        assert_eq!(listener.accept().await?.1.ip(), client.ip());
        assert_eq!(resolve(&client, "server").await?, set([again.ip4().into(), again.ip6().into()]));
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn connections_are_balanced_over_the_ready_pods(cluster: Cluster, client: Pod) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).udp_port(53, 8080).selector("app", "echo").create()?;
    let a = teller(&cluster, 0, "a", "echo").await?;
    let _b = teller(&cluster, 1, "b", "echo").await?;
    let c = teller(&cluster, 1, "c", "echo").await?;
    let _other = teller(&cluster, 1, "other", "other").await?;
    let names =
        |service: &Service| service.endpoints().iter().map(|pod| pod.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&echo), ["a", "b", "c"]);
    for ip in addresses(&echo) {
        all_answer(&client, (ip, 80), &["a", "b", "c"]).await?;
        // Across nodes as well, the sender's address is kept.
        let own = if ip.is_ipv4() { IpAddr::from(client.ip4()) } else { client.ip6().into() };
        assert_eq!(ask(&client, (ip, 80)).await?.1, own);
        let mut answered = BTreeSet::new();
        while answered.len() < 3 {
            answered.insert(ask_udp(&client, (ip, 53)).await?);
        }
    }

    c.set_ready(false)?;
    assert_eq!(names(&echo), ["a", "b"]);
    for ip in addresses(&echo) {
        all_answer(&client, (ip, 80), &["a", "b"]).await?;
    }
    a.delete()?;
    c.set_ready(true)?;
    all_answer(&client, (echo.ip(), 80), &["b", "c"]).await?;
    assert!(a.set_ready(true).unwrap_err().to_string().contains("has been deleted"));
    Ok(())
}

/// From wherever there is somebody: a pod of the service itself, nodes, and the body on the underlay.
#[netns_test(kubernetes(nodes = 2))]
async fn services_are_reached_from_everywhere(cluster: Cluster) -> io::Result<()> {
    let server = teller(&cluster, 1, "server", "echo").await?;
    let echo = cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    for ip in addresses(&echo) {
        for node in [&cluster.node(0), &cluster.node(1)].map(|node| node.node().clone()) {
            assert_eq!(ask(&node, (ip, 80)).await?.0, "server");
        }
        let outside = cluster.outside()?;
        assert_eq!(ask(&outside, (ip, 80)).await?.0, "server");
        let (name, peer) = ask(&server, (ip, 80)).await?;
        assert_eq!(name, "server");
        // It would have taken its own address for a forged one.
        assert_ne!(peer, if ip.is_ipv4() { IpAddr::from(server.ip4()) } else { server.ip6().into() });
    }
    // The body's own network.
    let mut text = String::new();
    TcpStream::connect("echo:80").await?.read_to_string(&mut text).await?;
    assert!(text.starts_with("server "), "{text}");
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn a_service_without_endpoints_refuses(cluster: Cluster, client: Pod) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).udp_port(53, 8080).selector("app", "echo").create()?;
    let server = teller(&cluster, 1, "server", "echo").await?;
    server.set_ready(false)?;
    let from = [client.as_node().clone(), cluster.node(0).node().clone(), cluster.outside()?];
    for (node, ip) in from.iter().flat_map(|node| addresses(&echo).map(|ip| (node, ip))) {
        for port in [80, 81] {
            let error = node.connect_tcp((ip, port)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{} to {ip}", node.name());
        }
    }
    let refused = ask_udp(&client, (echo.ip(), 53)).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    // An address of nobody.
    let error = client.connect_tcp((IpAddr::from([10, 96, 0, 200]), 80)).await.unwrap_err();
    assert!(
        matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable),
        "{error}"
    );

    server.set_ready(true)?;
    assert_eq!(ask(&client, (echo.ip(), 80)).await?.0, "server");
    // Of a service that is gone, nothing is left.
    echo.delete()?;
    assert!(client.connect_tcp((echo.ip(), 80)).await.is_err());
    let again =
        cluster.service("echo").port(80, 8080).cluster_ip(echo.ip4()).selector("app", "echo").create()?;
    assert_eq!((again.ip4(), again.ip6()), (echo.ip4(), echo.ip6()));
    ask(&client, (again.ip(), 80)).await.map(drop)
}

/// What a thread gets that has left the test's network.
fn elsewhere<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let moved = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("the test has the capability");
        work()
    };
    std::thread::scope(|scope| scope.spawn(moved).join().expect("no panic"))
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn what_could_not_be_told_is_told_by_the_next_call(cluster: Cluster, client: Pod) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    let server = teller(&cluster, 1, "server", "echo").await?;
    ask(&client, (echo.ip(), 80)).await?;

    elsewhere(|| server.set_ready(false)).unwrap_err();
    server.set_ready(false)?;
    assert!(client.connect_tcp((echo.ip(), 80)).await.is_err());
    server.set_ready(true)?;

    // Nothing is changed by one who may not delete it.
    elsewhere(|| server.delete()).unwrap_err();
    assert_eq!(ask(&client, (echo.ip(), 80)).await?.0, "server");

    elsewhere(|| echo.delete()).unwrap_err();
    echo.delete()?;
    assert!(client.connect_tcp((echo.ip(), 80)).await.is_err());
    let failed = cluster.service("web").port(80, 8080).cluster_ip(echo.ip()).selector("app", "echo");
    elsewhere(|| failed.clone().create()).unwrap_err();
    let web = failed.create()?;
    assert_eq!(ask(&client, (web.ip(), 80)).await?.0, "server");

    // A pod that the nodes could not be told of is none.
    let late = || cluster.node(1).pod("late").label("app", "echo");
    elsewhere(|| late().start().map(drop)).unwrap_err();
    assert!(
        cluster.pod("late").is_err() && !cluster.node(1).links()?.iter().any(|link| link.name == "veth3")
    );
    let late = late().start()?;
    assert_eq!(resolve(&client, "late").await?, set([late.ip4().into(), late.ip6().into()]));
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods_per_node = 4))]
async fn with_affinity_a_client_stays(cluster: Cluster, pods: [Pod; 8]) -> io::Result<()> {
    let echo = cluster.service("echo").port(80, 8080).session_affinity().selector("app", "echo").create()?;
    for name in ["a", "b", "c"] {
        teller(&cluster, 1, name, "echo").await?;
    }
    let mut stays: BTreeMap<(String, IpAddr), String> = BTreeMap::new();
    for _ in 0..5 {
        for (client, ip) in pods.iter().flat_map(|pod| addresses(&echo).map(|ip| (pod, ip))) {
            let answered = ask(client, (ip, 80)).await?.0;
            let first = stays.entry((client.name().to_owned(), ip)).or_insert_with(|| answered.clone());
            assert_eq!(*first, answered, "{}", client.name());
        }
        // What others do changes nothing for it.
        let passing = teller(&cluster, 0, "passing", "other").await?;
        cluster.service("other").port(80, 8080).selector("app", "other").create()?.delete()?;
        passing.delete()?;
    }
    let used: BTreeSet<&String> = stays.values().collect();
    assert!(used.len() > 1, "16 clients at one of three: one of 10^7 tests");
    // The one that it stayed with is gone.
    let of = stays[&("pod-0-0".to_owned(), echo.ip())].clone();
    cluster.pod(&of)?.set_ready(false)?;
    assert_ne!(ask(&pods[0], (echo.ip(), 80)).await?.0, of);
    Ok(())
}

/// A pod may have a service's name, as in Kubernetes: the name is the service's then.
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn a_service_is_asked_before_a_pod_of_its_name(cluster: Cluster, client: Pod) -> io::Result<()> {
    teller(&cluster, 1, "echo", "echo").await?;
    cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    let mut text = String::new();
    client.connect_tcp("echo:80").await?.read_to_string(&mut text).await?;
    assert!(text.starts_with("echo "), "{text}");
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, service_cidr = "10.7.0.0/28"), family = v4)]
fn mistakes_are_told(cluster: Cluster) {
    let of = |name: &str| cluster.service(name).selector("app", "echo");
    of("echo").port(80, 8080).create().unwrap();
    for (service, cause) in [
        (
            cluster.service("a").port(80, 8080),
            "it has no selector, so it would never have an endpoint: write `.selector(",
        ),
        (of("a"), "it has no port: write `.port(80, 8080)`"),
        (of("a").port(0, 8080), "its TCP port is 0, which is no port"),
        (of("a").udp_port(53, 0), "the pods' UDP port is 0, which is no port"),
        (of("a").port(80, 1).udp_port(80, 1).port(80, 2), "its TCP port 80 is there twice: remove one"),
        (of("Echo").port(80, 8080), "there is a service `Echo` already"),
        (of("a.b").port(80, 8080), "`a.b` is no host name"),
        (
            of("a").port(80, 1).cluster_ip([10, 7, 0, 10]),
            "`10.7.0.10` is the address of the cluster's name server",
        ),
        (of("a").port(80, 1).cluster_ip([10, 7, 0, 11]), "`10.7.0.11` is the address of the service `echo`"),
        (
            of("a").port(80, 1).cluster_ip([10, 8, 0, 11]),
            "`10.8.0.11` is no address of the services' range, `10.7.0.0/28`",
        ),
    ] {
        let message = service.create().unwrap_err().to_string();
        assert!(
            message.starts_with("failed to create the service `") && message.contains(cause),
            "{message}"
        );
    }
    for name in ["b", "c", "d"] {
        of(name).port(80, 8080).create().unwrap();
    }
    let message = of("e").port(80, 8080).create().unwrap_err().to_string();
    assert!(message.contains("the services' range, `10.7.0.0/28`, has no address left"), "{message}");
}

/// What is established goes on when its pod is not ready any more, and ends when the pod is deleted.
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn established_connections_stay_where_they_are(cluster: Cluster, client: Pod) -> io::Result<()> {
    let server = cluster.node(1).pod("server").label("app", "echo").start()?;
    let echo = cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    let listener = server.listen_tcp(8080).await?;
    let mut out = client.connect_tcp((echo.ip(), 80)).await?;
    let (mut inside, _) = listener.accept().await?;
    server.set_ready(false)?;
    out.write_all(b"x").await?;
    inside.read_exact(&mut [0]).await?;
    echo.delete()?;
    inside.write_all(b"y").await?;
    out.read_exact(&mut [0]).await?;
    drop((listener, inside));
    assert_eq!(tokio::time::timeout(Duration::from_secs(30), out.read(&mut [0])).await??, 0);
    Ok(())
}
