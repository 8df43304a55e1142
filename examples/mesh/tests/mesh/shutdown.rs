//! Servers and proxies that end while connections are open.

use std::io;

use netns_test::state::SocketState;
use netns_test::{Node, netns_test};
use netns_test_mesh::workloads::HBONE;

use crate::harness::{By, Conversation, Mesh, closed, is_refused, serve};

async fn nothing_listens(node: &Node) -> io::Result<()> {
    let waited = node.wait_until("no listener of the proxy", |node| {
        let listens = |port| {
            move |socket: &netns_test::state::Socket| {
                socket.state == SocketState::Listen && socket.local.port() == port
            }
        };
        Ok(!node.sockets()?.iter().any(listens(HBONE)))
    });
    Ok(waited.await?)
}

#[netns_test(kubernetes(nodes = 2))]
async fn a_server_ends(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    let client = mesh.pod("client", 0).captured().await?;
    let mut serving = serve(&server).await?;
    let mut conversation = Conversation::start(&client, "server:8080").await?;
    conversation.say("hello").await?;

    serving.abort();
    conversation.ended().await;
    for node in [server.node(), client.node()] {
        closed(&node, &[], 1).await?;
    }
    is_refused(&client, "server:8080").await;
    serve(&server).await?;
    Conversation::start(&client, "server:8080").await?.say("hello again").await
}

/// The proxy of the node ends what it does for a pod that goes, and goes on for the others.
#[netns_test(kubernetes(nodes = 2))]
async fn a_server_s_pod_is_deleted(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    let other = mesh.pod("other", 1).captured().await?;
    let client = mesh.pod("client", 0).captured().await?;
    for pod in [&server, &other] {
        serve(pod).await?;
    }
    let conversation = Conversation::start(&client, "server:8080").await?;
    let mut beside = Conversation::start(&client, "other:8080").await?;
    mesh.remove(&server).await?;
    conversation.ended().await;
    server.delete()?;
    beside.say("still here").await?;

    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    Conversation::start(&client, (&*server, 8080)).await?.say("hello again").await
}

/// A proxy that is told to end takes nothing new, and waits for what there is.
#[netns_test(kubernetes(nodes = 2))]
async fn a_proxy_drains(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    let client = mesh.pod("client", 0).captured().await?;
    serve(&server).await?;
    let mut conversation = Conversation::start(&client, "server:8080").await?;

    mesh.proxy(&server.node()).drain();
    nothing_listens(&server).await?;
    is_refused(&client, "server:8080").await;
    conversation.say("still here").await?;
    drop(conversation);
    mesh.proxy_has_ended(&server.node()).await;

    mesh.replace_proxy(1, &[&server]).await?;
    Conversation::start(&client, "server:8080").await?.say("hello again").await
}

/// A proxy that ends at once takes its connections along, and another takes its place.
#[netns_test(kubernetes(nodes = 2))]
async fn a_proxy_is_killed(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    let client = mesh.pod("client", 0).captured().await?;
    serve(&server).await?;
    for (node, pod) in [(1, &server), (0, &client)] {
        let conversation = Conversation::start(&client, "server:8080").await?;
        mesh.proxy(&pod.node()).kill();
        conversation.ended().await;
        mesh.proxy_has_ended(&pod.node()).await;
        // Nobody goes past a proxy that is not there.
        let error = Conversation::start(&client, "server:8080").await.err().expect("it is refused");
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset),
            "{error}"
        );
        mesh.replace_proxy(node, &[pod]).await?;
        Conversation::start(&client, "server:8080").await?.say("hello again").await?;
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn a_dedicated_proxy_drains(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    let client = mesh.pod("client", 0).by(By::Dedicated).await?;
    serve(&server).await?;
    let mut conversation = Conversation::start(&client, "server:8080").await?;
    mesh.proxy(&client).drain();
    nothing_listens(&client).await?;
    let error = Conversation::start(&client, "server:8080").await.err().expect("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    conversation.say("still here").await?;
    drop(conversation);
    mesh.proxy_has_ended(&client).await;
    Ok(())
}
