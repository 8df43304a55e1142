//! Waypoints: proxies in pods of their own, before a workload or before a service, found by address or by host name.

use std::io;
use std::net::SocketAddr;

use netns_test::kubernetes::Pod;
use netns_test::netns_test;
use netns_test_mesh::Identity;
use netns_test_mesh::policy::{Action, Policy};
use netns_test_mesh::proxy_protocol::Header;
use netns_test_mesh::workloads::{Gateway, HBONE, HandOver};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::harness::{By, Conversation, Counted, Mesh, app_at, carry, is_refused, serve};

const HOSTNAME: &str = "waypoint.default.svc.cluster.local";

/// The port of a waypoint that does not speak HBONE.
const PLAIN: u16 = 15088;

/// What only the waypoint may connect to, and a client of it; the waypoint is on the client's node, the server on the other one.
async fn server_and_client(mesh: &Mesh, waypoint: Option<Gateway>) -> io::Result<(Pod, Pod)> {
    let server = mesh.pod("server", 1).app("echo");
    let server = match waypoint {
        Some(waypoint) => server.behind(waypoint),
        None => server,
    };
    let server = server.captured().await?;
    serve(&server).await?;
    let client = mesh.pod("client", 0).captured().await?;
    Ok((server, client))
}

fn only_by_waypoint() -> Policy {
    Policy::new(Action::Allow, "server").identity(Identity::of("waypoint"))
}

/// Goes through the waypoint, which decides who may.
async fn is_passed(mesh: &Mesh, waypoint: &Pod, client: &Pod, to: SocketAddr) -> io::Result<()> {
    mesh.directory.add_policy(only_by_waypoint());
    let mut conversation = Conversation::start(client, to).await?;
    assert_eq!((&*conversation.server, conversation.client), ("server", waypoint.ip()));
    conversation.say("hello").await?;
    let counted = Counted::at(waypoint).await?;
    assert_eq!(counted.opened(&["reporter=\"waypoint\"", "mutual_tls", "sa/client"]), 1, "{counted:?}");

    mesh.directory.add_policy(Policy::new(Action::Deny, "waypoint").identity(Identity::of("client")));
    is_refused(client, to).await;
    assert_eq!(Counted::at(waypoint).await?.refused("policy"), 1);
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn workload_waypoint_by_address(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).waypoint().await?;
    let (server, client) = server_and_client(&mesh, Some(Gateway::Address(waypoint.ip()))).await?;
    is_passed(&mesh, &waypoint, &client, app_at(server.ip())).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn workload_waypoint_by_hostname(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).waypoint().await?;
    mesh.service("waypoint", (HBONE, HBONE), None)?;
    let (server, client) = server_and_client(&mesh, Some(Gateway::Hostname(HOSTNAME.to_owned()))).await?;
    is_passed(&mesh, &waypoint, &client, app_at(server.ip())).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn service_waypoint_by_address(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).waypoint().await?;
    let addresses = mesh.service("waypoint", (HBONE, HBONE), None)?;
    let (server, client) = server_and_client(&mesh, None).await?;
    let echo = mesh.service("echo", (80, 8080), Some(Gateway::Address(addresses[0])))?;
    // Before the service, and not before its pod.
    assert_eq!(Conversation::start(&client, (&*server, 8080)).await?.client, client.ip());
    is_passed(&mesh, &waypoint, &client, (echo[1], 80).into()).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn service_waypoint_by_hostname(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).waypoint().await?;
    mesh.service("waypoint", (HBONE, HBONE), None)?;
    let (server, client) = server_and_client(&mesh, None).await?;
    let echo = mesh.service("echo", (80, 8080), Some(Gateway::Hostname(HOSTNAME.to_owned())))?;
    assert_eq!(Conversation::start(&client, (&*server, 8080)).await?.client, client.ip());
    is_passed(&mesh, &waypoint, &client, (echo[1], 80).into()).await
}

/// The waypoint is an application whose node's proxy ends the tunnels for it, and begins those that it goes on by.
async fn is_handed(mesh: &Mesh, waypoint: &Pod, client: &Pod) -> io::Result<()> {
    mesh.directory.add_policy(only_by_waypoint());
    let mut conversation = Conversation::start(client, "echo:80").await?;
    assert_eq!((&*conversation.server, conversation.client), ("server", waypoint.ip()));
    conversation.say("hello").await?;
    let counted = Counted::at(&waypoint.node()).await?;
    for (labels, count) in [
        (["reporter=\"source\"", "mutual_tls", "sa/client"], 1),
        (["reporter=\"destination\"", "mutual_tls", "sa/client"], 1),
        (["reporter=\"source\"", "mutual_tls", "sa/waypoint"], 1),
    ] {
        assert_eq!(counted.opened(&labels), count, "{counted:?}");
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn waypoint_behind_a_proxy_plain(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).handed(HandOver::Plain(PLAIN)).captured().await?;
    let (_server, client) = server_and_client(&mesh, None).await?;
    mesh.service("echo", (80, 8080), Some(Gateway::Address(waypoint.ip())))?;
    carry(&waypoint, PLAIN, async |_| TcpStream::connect("echo:80").await).await?;
    is_handed(&mesh, &waypoint, &client).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn waypoint_behind_a_proxy_with_the_proxy_protocol(mesh: Mesh) -> io::Result<()> {
    let waypoint = mesh.pod("waypoint", 0).handed(HandOver::ProxyProtocol(PLAIN)).captured().await?;
    let (_server, client) = server_and_client(&mesh, None).await?;
    let addresses = mesh.service("echo", (80, 8080), Some(Gateway::Address(waypoint.ip())))?;
    let (headers, mut seen) = mpsc::unbounded_channel();
    let upstream = async move |near: &mut TcpStream| {
        let header = Header::read(near).await?;
        headers.send(header.clone()).map_err(io::Error::other)?;
        TcpStream::connect(header.destination).await
    };
    carry(&waypoint, PLAIN, upstream).await?;
    is_handed(&mesh, &waypoint, &client).await?;
    let header = seen.recv().await.expect("a header");
    assert_eq!(header.source.ip(), client.ip());
    assert_eq!(header.destination, (addresses[1], 80).into());
    assert_eq!(header.identity, Some(Identity::of("client").to_string()));

    // Nobody else may tell it who they are: neither past the tunnels nor through them.
    let stranger = mesh.pod("stranger", 0).by(By::Nobody).await?;
    for from in [&stranger, &client] {
        is_refused(from, (&*waypoint, PLAIN)).await;
    }
    assert!(seen.is_empty());
    Ok(())
}
