//! Addresses that pods have beside their own, and the routes that lead there.

use std::io;
use std::net::IpAddr;

use netns_test::kubernetes::{Cluster, Pod};
use netns_test::{Node, netns_test};
use netns_test_tests::rerun;

use crate::redirect::of_family;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Nobody knows a pod's second address, until its node, the client's and the host beside them have a route.
#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1, beside = 1)))]
async fn an_address_more_is_reached_over_routes(
    cluster: Cluster,
    client: Pod,
    server: Pod,
    beside: Pod,
) -> io::Result<()> {
    let (near, far, outside) = (cluster.node(0), cluster.node(1), cluster.outside()?);
    let listener = server.listen_tcp("[::]:80").await?;
    let to_pod = far.interface("veth2")?;
    for (to, len) in [(ip("192.168.50.1"), 32), (ip("fd00:50::1"), 128)] {
        server.interface("eth0")?.add_address(to, len)?;
        let unreachable = async |from: &Node| {
            let error = from.connect_tcp((to, 80)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable, "{}: {error}", from.name());
        };
        unreachable(&client).await;

        to_pod.add_route(to, len)?;
        for from in [&near, &outside] {
            from.add_route(to, len, of_family(&far, to))?;
        }
        for from in [client.as_node(), beside.as_node(), near.node(), far.node(), &outside] {
            from.connect_tcp((to, 80)).await?;
            let peer = listener.accept().await?.1.ip().to_canonical();
            assert_eq!(peer, of_family(from, to), "{}", from.name());
        }
        // Back to the address that was asked; and the pod's own is as it was.
        client.connect_tcp((server.ip(), 80)).await?;
        listener.accept().await?;

        // What was switched off comes back with its routes.
        to_pod.down()?;
        to_pod.up()?;
        client.connect_tcp((to, 80)).await?;
        listener.accept().await?;

        // Without its own, the client's node has the default route, by way of the host beside the nodes.
        near.remove_route(to, len, of_family(&far, to))?;
        client.connect_tcp((to, 80)).await?;
        listener.accept().await?;
        outside.remove_route(to, len, of_family(&far, to))?;
        unreachable(&client).await;
        beside.connect_tcp((to, 80)).await?;
        listener.accept().await?;
        to_pod.remove_route(to, len)?;
        server.interface("eth0")?.remove_address(to, len)?;
    }
    Ok(())
}

/// A pod takes another way than its default route: by another pod on the same second network, which passes it on.
#[netns_test(kubernetes(nodes = 2, pods(client = 0, gateway = 1, server = 1)))]
async fn a_pod_has_routes_of_its_own(client: Pod, gateway: Pod, server: Pod) -> io::Result<()> {
    let network = client.network()?;
    for (end, number) in network.vxlan(7, [&client, &gateway])?.iter().zip(1..) {
        end.add_address([192, 168, 7, number], 24)?;
    }
    gateway.set_sysctl("net.ipv4.ip_forward", 1)?;
    let listener = server.listen_tcp((server.ip4(), 80)).await?;
    client.add_route(server.ip4(), 32, [192, 168, 7, 2])?;
    server.node().add_route([192, 168, 7, 1], 32, gateway.ip4())?;
    assert_eq!(client.route_to(server.ip4())?.gateway, Some(ip("192.168.7.2")));
    let passed = gateway.capture()?;
    client.connect_tcp((server.ip4(), 80)).await?;
    assert_eq!(listener.accept().await?.1.ip(), IpAddr::from([192, 168, 7, 1]));
    assert!(!passed.packets()?.received().to(server.ip4()).is_empty());
    Ok(())
}

/// A server of one family behind a service of both: the client takes the next address.
#[netns_test(kubernetes(nodes = 2))]
async fn a_server_of_one_family_stands_behind_a_service(
    cluster: Cluster,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let server = cluster.node(0).pod("server").label("app", "echo").start()?;
    let client = cluster.node(1).pod("client").start()?;
    cluster.service("echo").port(80, 8080).selector("app", "echo").create()?;
    server.spawn(async || {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await.expect("a port");
        loop {
            drop(listener.accept().await.expect("a connection"));
        }
    });
    server.wait_listening(8080).await?;
    client.connect_tcp("echo.default.svc.cluster.local:80").await?;
    Ok(())
}

#[netns_test(kubernetes(nodes = 3, pods(server = 1)))]
#[ignore = "a part of the test below"]
async fn beside_its_node(cluster: Cluster, server: Pod) -> io::Result<()> {
    let eth0 = cluster.node(1).interface("eth0")?;
    let own = eth0.add_macvlan(&server, "net1", netns_test::MacvlanMode::Bridge)?;
    own.add_address([10, 0, 200, 1], 16)?;
    let listener = server.listen_tcp("10.0.200.1:80").await?;
    for from in [cluster.node(0).node(), cluster.node(2).node(), &cluster.outside()?] {
        from.connect_tcp("10.0.200.1:80").await?;
        assert_eq!(listener.accept().await?.1.ip(), from.ip4());
    }
    Ok(())
}

/// Nodes of a larger cluster are on a switch: of macvlans, which carry no others, and the refusal says how it is made a bridge.
#[test]
fn a_pod_stands_on_the_network_of_many_nodes() {
    let of = |switch: &str| rerun("routes::beside_its_node").env("NETNS_TEST_SWITCH", switch).run();
    of("bridge").passed();
    of("macvlan").failed_with(&[
        "failed to add macvlan `server/net1` on `node-1/eth0`",
        "set NETNS_TEST_SWITCH=bridge, and they are veths",
    ]);
}
