//! Services: the client's proxy balances.

use std::collections::BTreeMap;
use std::io;

use netns_test::netns_test;

use crate::harness::{Conversation, Mesh, is_refused, serve};

#[netns_test(kubernetes(nodes = 2))]
async fn connections_are_balanced(mesh: Mesh) -> io::Result<()> {
    let mut servers = Vec::new();
    for (name, node) in [("server-0", 0), ("server-1", 1)] {
        let server = mesh.pod(name, node).app("echo").captured().await?;
        serve(&server).await?;
        servers.push(server);
    }
    // One that is not captured serves as well.
    let server = mesh.pod("server-2", 1).app("echo").uncaptured()?;
    serve(&server).await?;
    let client = mesh.pod("client", 0).captured().await?;
    mesh.service("echo", (80, 8080), None)?;

    let mut answers = BTreeMap::new();
    for _ in 0..6 {
        let mut conversation = Conversation::start(&client, "echo.default.svc.cluster.local:80").await?;
        conversation.say("hello").await?;
        assert_eq!(conversation.client, client.ip());
        *answers.entry(conversation.server).or_insert(0) += 1;
    }
    let expected = [("server-0", 2), ("server-1", 2), ("server-2", 2)];
    assert_eq!(answers, expected.map(|(name, count)| (name.to_owned(), count)).into());

    // A port that it does not have, and pods that are gone.
    is_refused(&client, "echo:81").await;
    for name in ["server-0", "server-2"] {
        mesh.directory.remove_workload(name);
    }
    for _ in 0..2 {
        assert_eq!(Conversation::start(&client, "echo:80").await?.server, "server-1");
    }
    mesh.directory.remove_workload("server-1");
    is_refused(&client, "echo:80").await;
    Ok(())
}
