//! Metrics: what proxies tell whoever asks, from outside the cluster.

use std::io;

use netns_test::netns_test;

use crate::harness::{By, Conversation, Counted, Mesh, closed, is_refused, serve};

#[netns_test(kubernetes(nodes = 2))]
async fn metrics_are_read_from_outside(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).by(By::Dedicated).await?;
    let client = mesh.pod("client", 0).captured().await?;
    serve(&server).await?;
    let (at_client, at_server) = (client.node().node().clone(), server.as_node().clone());
    for node in [&at_client, &at_server] {
        assert_eq!(Counted::at(node).await?.opened(&[]), 0);
    }

    let mut conversation = Conversation::start(&client, "server:8080").await?;
    conversation.say("hello").await?;
    let (greeting, destination) =
        (format!("server {}\n", client.ip()), format!("destination=\"[{}]:8080\"", server.ip6()));
    for (node, reporter) in [(&at_client, "reporter=\"source\""), (&at_server, "reporter=\"destination\"")] {
        let labels = [reporter, "security=\"mutual_tls\"", "sa/client\"", &*destination];
        let counted = Counted::at(node).await?;
        assert_eq!(counted.opened(&labels), 1, "{counted:?}");
        assert_eq!(counted.sum("mesh_connections_closed_total", &labels), 0, "{counted:?}");
        assert_eq!(counted.sum("mesh_bytes_sent_total", &labels), 5, "{counted:?}");
        let received = counted.sum("mesh_bytes_received_total", &labels);
        assert_eq!(received, greeting.len() as u64 + 5, "{counted:?}");
    }
    drop(conversation);
    for node in [&at_client, &at_server] {
        closed(node, &[&*destination], 1).await?;
    }
    // Refused by nobody but the application, which does not listen there.
    is_refused(&client, (&*server, 9)).await;
    assert_eq!(Counted::at(&at_server).await?.refused("failed"), 1);
    assert_eq!(Counted::at(&at_client).await?.refused("peer"), 1);
    Ok(())
}
