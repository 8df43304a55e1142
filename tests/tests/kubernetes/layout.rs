//! Nodes and pods, and every packet from everywhere to everywhere.

use std::io;
use std::net::IpAddr;

use netns_test::kubernetes::{Cluster, Pod};
use netns_test::{Error, Network, Node, netns_test, state};
use netns_test_tests::rerun;

/// Connects a node to another, at each of its addresses and by name.
async fn reaches(from: &Node, to: &Node) -> io::Result<()> {
    let listener = to.listen_tcp("[::]:80").await?;
    for ip in [IpAddr::V4(to.ip4()), to.ip6().into()] {
        let failed =
            |error: io::Error| io::Error::other(format!("{} to {} at {ip}: {error}", from.name(), to.name()));
        from.connect_tcp((ip, 80)).await.map_err(failed)?;
        let (_, peer) = listener.accept().await?;
        assert!(
            [IpAddr::V4(from.ip4()), from.ip6().into()].contains(&peer.ip().to_canonical()),
            "{from:?} came as {peer}"
        );
    }
    from.connect_tcp((to.name(), 80)).await?;
    listener.accept().await.map(drop)
}

#[netns_test(kubernetes(nodes = 3, pods_per_node = 2))]
async fn everything_reaches_everything(network: Network, pods: [Pod; 6]) -> io::Result<()> {
    assert_eq!(pods[3].name(), "pod-1-1");
    let nodes = network.nodes();
    assert_eq!(nodes.len(), 3 + 1 + 6);
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.name() != from.name()) {
            reaches(from, to).await?;
        }
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 1, web_server = 0)))]
async fn addresses_follow_from_the_declaration(
    cluster: Cluster,
    web_server: Pod,
    client: Pod,
    node_1: Node,
    outside: Node,
) {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(
        (IpAddr::from(web_server.ip4()), IpAddr::from(web_server.ip6())),
        (ip("10.244.0.2"), ip("2001:db8:244::2"))
    );
    assert_eq!(
        (IpAddr::from(client.ip4()), IpAddr::from(client.ip6())),
        (ip("10.244.1.2"), ip("2001:db8:244:1::2"))
    );
    assert_eq!((node_1.ip4(), node_1.ip6()), ("10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()));
    assert_eq!((outside.ip4(), outside.name()), ("10.0.0.3".parse().unwrap(), "outside"));
    assert_eq!(cluster.node(1).pod_cidrs(), [(ip("10.244.1.0"), 24), (ip("2001:db8:244:1::"), 64)]);
    assert_eq!(web_server.name(), "web-server");
    assert_eq!((web_server.node().name(), client.node_number()), ("node-0", 1));
    let names: Vec<String> = cluster.node(0).pods().iter().map(|pod| pod.name().to_owned()).collect();
    assert_eq!(names, ["web-server"]);
    let far = cluster.node(0).interface("veth2").unwrap().link().unwrap();
    assert_eq!(far.mac, Some([2, b'n', b'v', 0, 0, 2]));
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)), family = v6)]
async fn one_family_is_enough(cluster: Cluster, client: Pod) -> io::Result<()> {
    let server = cluster.node(1).pod("server").start()?;
    let listener = server.listen_tcp(80).await?;
    client.connect_tcp("server:80").await?;
    assert_eq!(listener.accept().await?.1.ip(), client.ip6());
    let is_own = |route: &&state::Route| route.table == state::Route::MAIN_TABLE;
    assert!(client.routes()?.iter().filter(is_own).all(|route| route.destination.is_ipv6()));
    Ok(())
}

#[netns_test(kubernetes(nodes = 1))]
async fn the_body_stands_on_the_underlay(cluster: Cluster) -> io::Result<()> {
    let server = cluster.node(0).pod("server").start()?;
    let listener = server.listen_tcp(80).await?;
    // No handle: this is the body's own network.
    let out = tokio::net::TcpStream::connect((server.ip(), 80)).await?;
    let (_in, peer) = listener.accept().await?;
    assert_eq!(peer, out.local_addr()?);
    assert_eq!(peer.ip(), cluster.outside()?.ip());
    let back = tokio::net::TcpListener::bind("[::]:7000").await?;
    server.connect_tcp("outside:7000").await?;
    assert_eq!(back.accept().await?.1.ip(), server.ip());
    Ok(())
}

/// From plain code, and with the least and the most of what a pod can do: all that a node can.
#[netns_test(kubernetes(nodes = 2))]
fn pods_come_and_go(cluster: Cluster) -> Result<(), Error> {
    let server = cluster.node(0).pod("server").label("app", "echo").start()?;
    let client = cluster.node(1).pod("client").start()?;
    assert_eq!(server.labels()["app"], "echo");
    let listener = server.blocking_listen_tcp(80).unwrap();
    let mut stream = client.blocking_connect_tcp("server:80").unwrap();
    listener.accept().unwrap();
    let routes_before = cluster.node(0).routes().unwrap().len();
    server.delete()?;
    server.delete()?;
    assert!(cluster.node(0).routes().unwrap().len() < routes_before);
    assert!(cluster.node(0).interface("veth2").is_err());
    assert_eq!(cluster.pods().len(), 1);

    // Who was connected is told, and the handle says what has become of the pod.
    let _reset_or_end = io::Read::read(&mut stream, &mut [0]);
    let error = server.blocking_listen_tcp(81).unwrap_err();
    assert!(error.to_string().contains("the node `server` has been deleted"), "{error}");
    let error = client.blocking_connect_tcp((server.ip(), 80)).unwrap_err();
    assert!(
        matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable),
        "{error}"
    );

    // An address rests before it comes again, unless it is asked for.
    let another = cluster.node(0).pod("server").start()?;
    assert_eq!(another.ip4(), "10.244.0.3".parse::<std::net::Ipv4Addr>().unwrap());
    another.delete()?;
    let same = cluster.node(0).pod("server").ip(server.ip4()).start()?;
    assert_eq!((same.ip4(), same.ip6()), (server.ip4(), server.ip6()));
    let _listener = same.blocking_listen_tcp(80).unwrap();
    client.blocking_connect_tcp("server:80").unwrap();
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, pods(server = 0, client = 0)))]
async fn what_runs_in_a_deleted_pod_ends(server: Pod, client: Pod) -> io::Result<()> {
    let served = server.spawn(async || {
        let listener = tokio::net::TcpListener::bind("[::]:80").await?;
        loop {
            std::mem::forget(listener.accept().await?);
        }
        #[expect(unreachable_code, reason = "it says the type")]
        io::Result::Ok(())
    });
    server.wait_listening(80).await?;
    let mut stream = client.connect_tcp("server:80").await?;
    let sleeper = server.command("sleep").arg("1000").spawn().await?;
    server.delete()?;
    assert!(served.await.is_err_and(|error| error.is_cancelled()));
    assert!(!sleeper.wait().await?.success());
    let end = tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await;
    assert!(matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(server = 0)))]
async fn pods_crash_and_hosts_do_not(cluster: Cluster, server: Pod) -> io::Result<()> {
    let outside = cluster.outside()?;
    for host in [cluster.node(0).node(), cluster.node(1).node(), &outside] {
        let message = host.crash().await.unwrap_err().to_string();
        assert!(
            message.contains("carry its services and its name server: crash its pods, or cut this one off"),
            "{message}"
        );
    }
    server.crash().await?.restart()?;
    let _listener = server.listen_tcp("[::]:80").await?;
    outside.connect_tcp("server:80").await.map(drop)
}

/// Several servers in one pod, each on a thread of its own: one that never awaits holds up no other.
#[netns_test(kubernetes(nodes = 1, pods(server = 0)))]
async fn several_things_run_in_one_pod(server: Pod) -> io::Result<()> {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let blocks = server.spawn_runtime("blocks", async move || stopped.recv().is_err());
    let names = ["app", "sidecar"].map(|name| {
        server.spawn_runtime(name, async move || (name, std::thread::current().name().map(str::to_owned)))
    });
    for name in names {
        let (name, thread) = name.await.unwrap();
        assert_eq!(thread, Some(format!("several_things_run_in_one_pod@server/{name}")));
    }
    drop(stop);
    assert!(blocks.await.unwrap());
    let mut aborted = server.spawn_runtime("aborted", async || std::future::pending::<()>().await);
    aborted.abort();
    assert!(aborted.await.unwrap_err().is_cancelled());
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn virtual_addresses_are_routed_while_nobody_has_them(client: Pod) -> io::Result<()> {
    for ip in ["10.96.0.77", "2001:db8:96::77"] {
        let ip: IpAddr = ip.parse().unwrap();
        assert!(client.route_to(ip)?.gateway.is_some());
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pod_cidr = ["10.9.0.0/28", "2001:db8:9::/60"], service_cidr = "10.8.0.0/24"))]
fn mistakes_are_told_in_the_words_of_the_attribute(cluster: Cluster) {
    let message = |pod: netns_test::kubernetes::PodBuilder| pod.start().unwrap_err().to_string();
    let node = cluster.node(1);
    assert_eq!(node.pod_cidrs()[0], ("10.9.0.8".parse().unwrap(), 29));
    node.pod("a").start().unwrap();
    for (name, cause) in [
        ("A", "there is a pod `A` already: choose another name, or delete that one first"),
        ("node-1", "`node-1` is the name of a node: choose another for the pod"),
        ("outside", "`outside` is the name of the host beside the nodes"),
        ("a.b", "`a.b` is no host name"),
    ] {
        let message = message(node.pod(name));
        assert!(message.starts_with("failed to start the pod") && message.contains(cause), "{message}");
    }
    for (ip, cause) in [
        (
            "10.9.0.2",
            "is no host's address of its node's part of the pods' range, `10.9.0.8/29` and `2001:db8:9:1::/64`",
        ),
        ("10.9.0.9", "is the node's own"),
        ("10.9.0.10", "is an address of the pod `a`"),
        ("10.9.0.15", "is no host's address"),
    ] {
        let message = message(node.pod("b").ip(ip.parse::<IpAddr>().unwrap()));
        assert!(message.contains(cause), "{message}");
    }
    for name in ["b", "c", "d", "e"] {
        node.pod(name).start().unwrap();
    }
    let full = message(node.pod("f"));
    assert!(
        full.contains(
            "`node-1` has no address left: its part of the pods' range, `10.9.0.8/29`, is enough for 5 pods"
        ),
        "{full}"
    );
    cluster.pod("c").unwrap().delete().unwrap();
    assert_eq!(node.pod("f").start().unwrap().ip4().to_string(), "10.9.0.12");
    assert!(cluster.pod("nobody").unwrap_err().to_string().contains("there are `a`, `b`"));
    let panic = std::panic::catch_unwind(|| cluster.node(2)).unwrap_err();
    assert_eq!(
        panic.downcast_ref::<String>().unwrap(),
        "there is no node 2: the cluster has 2, numbers 0 to 1"
    );
}

/// Neighbours are written down: so many learnt ones the kernel would not keep.
#[netns_test(kubernetes(nodes = 10, pods_per_node = 30))]
async fn hundreds_of_pods_reach_each_other(cluster: Cluster, pods: [Pod; 300]) -> io::Result<()> {
    let step = pods.len() / 2 + 1;
    for (index, from) in pods.iter().enumerate() {
        let to = &pods[(index + step) % pods.len()];
        let listener = to.listen_tcp("[::]:80").await?;
        for ip in [IpAddr::from(to.ip4()), to.ip6().into()] {
            from.connect_tcp((ip, 80)).await?;
            listener.accept().await?;
        }
    }
    let started = cluster.node(9).pod("late").start()?;
    assert_eq!(started.ip4().to_string(), "10.244.9.32");
    Ok(())
}

/// On one node, everybody is reached, from near and far, and has a way to everybody.
#[netns_test(kubernetes(nodes = 1, pods_per_node = 300))]
fn hundreds_of_pods_stand_on_one_node(cluster: Cluster, pods: [Pod; 300]) -> io::Result<()> {
    let sockets = pods.iter().map(|pod| pod.enter(|| std::net::UdpSocket::bind("[::]:7")));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    for socket in &sockets {
        // Loopback and veths lose nothing: it is for what would.
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
    }
    let count = pods.len();
    let steps = [1, 2, 17, 150, count - 1];
    for (step, v4) in steps.into_iter().flat_map(|step| [(step, true), (step, false)]) {
        let to = |index: usize| (index + step) % count;
        for (index, socket) in sockets.iter().enumerate() {
            let pod = &pods[to(index)];
            let ip = if v4 { pod.ip4().to_ipv6_mapped() } else { pod.ip6() };
            socket.send_to(&(index as u32).to_ne_bytes(), (ip, 7))?;
        }
        for (index, pod) in pods.iter().enumerate() {
            let mut from = [0; 4];
            let (_, peer) = sockets[to(index)].recv_from(&mut from)?;
            assert_eq!(u32::from_ne_bytes(from) as usize, index);
            assert!([IpAddr::from(pod.ip4()), pod.ip6().into()].contains(&peer.ip().to_canonical()));
        }
    }
    // And by name.
    for (index, pod) in pods.iter().enumerate().step_by(10) {
        let name = pods[(index + 1) % count].name().to_owned();
        let expected =
            [IpAddr::from(pods[(index + 1) % count].ip4()), pods[(index + 1) % count].ip6().into()];
        let found = pod.blocking_run(async move || {
            tokio::net::lookup_host((name, 0)).await.map(|found| found.map(|to| to.ip()).collect::<Vec<_>>())
        })?;
        assert!(found.len() == 2 && expected.iter().all(|ip| found.contains(ip)), "{found:?}");
    }
    // One more, and one in the place of another.
    let message = |number: usize| format!("pod {number}");
    for number in 0..5 {
        let pod = cluster.node(0).pod(format!("late-{number}")).start()?;
        let socket = pod.enter(|| std::net::UdpSocket::bind("[::]:0"))?;
        socket.send_to(message(number).as_bytes(), (pods[number].ip6(), 7))?;
        let mut buffer = [0; 9];
        let (length, peer) = sockets[number].recv_from(&mut buffer)?;
        assert_eq!((&buffer[..length], peer.ip()), (message(number).as_bytes(), pod.ip6().into()));
        pods[count - 1 - number].delete()?;
    }
    Ok(())
}

/// A second interface beside that of the cluster: across nodes by a tunnel between pods, and on a node's own network by a macvlan.
#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
async fn pods_have_second_interfaces(network: Network, client: Pod, server: Pod) -> io::Result<()> {
    let listener = server.listen_tcp("[::]:80").await?;
    let ends = network.vxlan(7, [&client, &server])?;
    for (end, number) in ends.iter().zip(1..) {
        end.add_address([192, 168, 7, number], 24)?;
    }
    client.connect_tcp("192.168.7.2:80").await?;
    assert_eq!(listener.accept().await?.1.ip().to_canonical(), IpAddr::from([192, 168, 7, 1]));
    // The cluster's is as it was, and an address more is for those who have a route to it.
    client.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(listener.accept().await?.1.ip(), client.ip());
    for end in ends {
        end.delete()?;
    }
    assert!(client.connect_tcp("192.168.7.2:80").await.is_err());
    assert!(client.interface("vxlan7").is_err());
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, pods(server = 0)))]
async fn a_pod_stands_on_its_node_s_network(cluster: Cluster, server: Pod) -> io::Result<()> {
    let on_underlay =
        cluster.node(0).interface("eth0")?.add_macvlan(&server, "net1", netns_test::MacvlanMode::Bridge)?;
    on_underlay.add_address([10, 0, 200, 1], 16)?;
    let listener = server.listen_tcp("10.0.200.1:80").await?;
    let outside = cluster.outside()?;
    outside.connect_tcp("10.0.200.1:80").await?;
    assert_eq!(listener.accept().await?.1.ip(), outside.ip4());
    on_underlay.delete()?;
    assert!(server.interface("net1").is_err());
    // A pod that is deleted takes its interfaces with it.
    let node = cluster.node(0);
    let more = node.interface("eth0")?.add_macvlan(&server, "net2", netns_test::MacvlanMode::Bridge)?;
    server.delete()?;
    assert!(more.link().is_err());
    let again = node.pod("server").ip(server.ip()).start()?;
    assert!(again.interface("net2").is_err());
    outside.connect_tcp((again.ip(), 80)).await.unwrap_err();
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods_per_node = 10))]
async fn twenty_pods(cluster: Cluster) {
    assert_eq!(cluster.pods().len(), 20);
}

#[netns_test(nodes = 1)]
fn other_networks_are_no_clusters(server: Node) {
    let message = server.network().unwrap().cluster().unwrap_err().to_string();
    assert!(message.contains("declare it, as in `#[netns_test(kubernetes(nodes = 2))]`"), "{message}");
}

#[ignore = "fails on purpose"]
#[netns_test(kubernetes(nodes = 2, pods(client = 0)))]
async fn fails(cluster: Cluster, client: Pod) -> io::Result<()> {
    let server = cluster.node(1).pod("server").start()?;
    cluster.node(1).pod("deleted").start()?.delete()?;
    client.connect_tcp((server.ip(), 80)).await?;
    Ok(())
}

#[test]
fn a_failed_test_shows_its_pods() {
    let outcome = rerun("layout::fails").spawn().wait();
    outcome.failed_with(&[
        "1 connection attempt was refused here",
        "10.244.1.2",
        "node-1/veth2",
        "10.244.0.2",
        "outside",
    ]);
    let text = format!("{outcome}");
    assert!(!text.contains("was added") && !text.contains("deleted"), "{text}");
}
