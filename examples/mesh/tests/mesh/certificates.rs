//! Certificates: fetched before they are needed, and forgotten with the last pod that needs them.

use std::io;

use netns_test::netns_test;
use netns_test_mesh::Identity;

use crate::harness::{Conversation, Mesh, serve};

#[netns_test(kubernetes(nodes = 2))]
async fn certificates_are_fetched_ahead_and_forgotten(mesh: Mesh) -> io::Result<()> {
    let shared = Identity::of("backend");
    let server = mesh.pod("server", 1).identity(shared.clone()).captured().await?;
    let client = mesh.pod("client", 0).captured().await?;
    let proxy = mesh.proxy(&server.node());
    assert_eq!(proxy.certificates().held(), std::slice::from_ref(&shared));
    assert_eq!(mesh.authority.issued(&shared), 1, "before the first connection");

    serve(&server).await?;
    for _ in 0..3 {
        Conversation::start(&client, "server:8080").await?.say("hello").await?;
    }
    // A pod with the same service account, on the same node.
    let second = mesh.pod("second", 1).identity(shared.clone()).captured().await?;
    assert_eq!(mesh.authority.issued(&shared), 1);
    mesh.remove(&server).await?;
    assert_eq!(proxy.certificates().held(), std::slice::from_ref(&shared));
    mesh.remove(&second).await?;
    assert_eq!(proxy.certificates().held(), []);
    assert_eq!(mesh.proxy(&client.node()).certificates().held(), [Identity::of("client")]);

    mesh.add(&server).await?;
    assert_eq!(mesh.authority.issued(&shared), 2);
    Conversation::start(&client, "server:8080").await?.say("hello again").await?;

    // A pod that the mesh does not know has no identity.
    let unknown = mesh.cluster.node(1).pod("unknown").start()?;
    assert_eq!(mesh.add(&unknown).await.unwrap_err().to_string(), "the mesh has no workload `unknown`");
    Ok(())
}
