//! Policies: the server's proxy says who may connect.

use std::io;

use netns_test::netns_test;
use netns_test_mesh::Identity;
use netns_test_mesh::policy::{Action, Policy};

use crate::harness::{Conversation, Counted, Mesh, app_at, is_refused, serve, serve_on};

#[netns_test(kubernetes(nodes = 2))]
async fn policies_say_who_may_connect(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    serve_on(&server, 8081).await?;
    let client = mesh.pod("client", 0).captured().await?;
    let other = mesh.pod("other", 0).captured().await?;
    let plain = mesh.pod("plain", 0).uncaptured()?;
    // By address: who is refused by name tries the next one.
    let app = app_at(server.ip());
    let allow = || Policy::new(Action::Allow, "server");

    // Without a policy all may.
    for pod in [&client, &other, &plain] {
        Conversation::start(pod, "server:8080").await?.say("hello").await?;
    }
    // By identity: who has none shown is nobody.
    mesh.directory.add_policy(allow().identity(Identity::of("client")));
    let mut earlier = Conversation::start(&client, "server:8080").await?;
    for pod in [&other, &plain] {
        is_refused(pod, app).await;
    }
    // By address, and port.
    mesh.directory.add_policy(allow().address(plain.ip()).port(8081));
    Conversation::start(&plain, "server:8081").await?;
    for (pod, to) in [(&plain, app), (&other, (server.ip(), 8081).into())] {
        is_refused(pod, to).await;
    }
    // What denies is stronger, and is for new connections.
    mesh.directory.add_policy(Policy::new(Action::Deny, "server").port(8080));
    is_refused(&client, app).await;
    earlier.say("still here").await?;
    Conversation::start(&client, "server:8081").await?;

    assert_eq!(Counted::at(&server.node()).await?.refused("policy"), 5);
    assert_eq!(Counted::at(&client.node()).await?.refused("peer"), 3);
    Ok(())
}
