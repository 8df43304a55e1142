//! Captured and uncaptured clients and servers, on one node and across nodes: who is carried through mutual TLS, and who plainly.

use std::io;
use std::net::IpAddr;

use netns_test::netns_test;

use crate::harness::{By, Conversation, Counted, Mesh, app_at, serve};

/// What is said, and is not to be read on the way.
const SECRET: &str = "the cake is in the oven";

/// A client and a server, each on the node of that number, talk, over both families.
async fn talks(
    mesh: &Mesh,
    (client_by, client_on): (By, usize),
    (server_by, server_on): (By, usize),
) -> io::Result<()> {
    let server = mesh.pod("server", server_on).by(server_by).await?;
    let client = mesh.pod("client", client_on).by(client_by).await?;
    serve(&server).await?;
    // All packets between the two pass their nodes.
    let wire = client.node().capture()?;
    for (to, from) in
        [(IpAddr::from(server.ip4()), IpAddr::from(client.ip4())), (server.ip6().into(), client.ip6().into())]
    {
        let mut conversation = Conversation::start(&client, app_at(to)).await?;
        assert_eq!(conversation.server, "server");
        assert_eq!(conversation.client, from, "the application sees its client, and no proxy");
        conversation.say(SECRET).await?;
    }
    let is_secure = !matches!((client_by, server_by), (By::Nobody, _) | (_, By::Nobody));
    assert_eq!(wire.packets()?.containing(SECRET).is_empty(), is_secure);

    let security = if is_secure { "security=\"mutual_tls\"" } else { "security=\"none\"" };
    let who = if is_secure {
        "source=\"spiffe://cluster.local/ns/default/sa/client\""
    } else {
        "source=\"unknown\""
    };
    for (reporter, by, pod, who) in [
        ("reporter=\"source\"", client_by, &client, "sa/client"),
        ("reporter=\"destination\"", server_by, &server, who),
    ] {
        let counted = match by {
            By::InPod => Counted::at(&pod.node()).await?,
            By::Dedicated => Counted::at(pod).await?,
            By::Nobody => continue,
        };
        assert_eq!(counted.opened(&[reporter, security, who]), 2, "{counted:?}");
        assert_eq!(counted.opened(&[reporter]), 2, "{counted:?}");
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn in_pod_on_one_node(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::InPod, 0), (By::InPod, 0)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn in_pod_across_nodes(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::InPod, 0), (By::InPod, 1)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn dedicated_on_one_node(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Dedicated, 0), (By::Dedicated, 0)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn dedicated_across_nodes(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Dedicated, 0), (By::Dedicated, 1)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn in_pod_to_dedicated(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::InPod, 0), (By::Dedicated, 1)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn uncaptured_client_on_one_node(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Nobody, 0), (By::InPod, 0)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn uncaptured_client_across_nodes(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Nobody, 0), (By::Dedicated, 1)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn uncaptured_server_on_one_node(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::InPod, 0), (By::Nobody, 0)).await
}

#[netns_test(kubernetes(nodes = 2))]
async fn uncaptured_server_across_nodes(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Dedicated, 0), (By::Nobody, 1)).await
}

/// Nobody is captured: what the other tests see is the proxies' doing.
#[netns_test(kubernetes(nodes = 2))]
async fn without_a_proxy(mesh: Mesh) -> io::Result<()> {
    talks(&mesh, (By::Nobody, 0), (By::Nobody, 1)).await
}
