//! Whom proxies believe, and what nobody can make them do.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netns_test::kubernetes::Pod;
use netns_test::netns_test;
use netns_test_mesh::hbone::{Tunnel, connect};
use netns_test_mesh::proxy::{INBOUND, OUTBOUND};
use netns_test_mesh::refusal::Refusal;
use netns_test_mesh::tasks::Tasks;
use netns_test_mesh::tls::Credentials;
use netns_test_mesh::workloads::HBONE;
use netns_test_mesh::{Authority, Identity, Workload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{By, Conversation, Counted, Mesh, app_at, is_refused, serve};

/// Asks the server's proxy for a tunnel, as another proxy would, with whatever credentials one has.
async fn ask(from: &Pod, with: &Credentials, server: &Pod, to: SocketAddr) -> Result<Tunnel, Refusal> {
    let stream = from.connect_tcp((server.ip(), HBONE)).await?;
    connect(with, &Identity::of("server"), stream, to, &Tasks::default()).await
}

fn status(result: Result<Tunnel, Refusal>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Refusal::Peer(status)) => status.as_u16(),
        Err(other) => panic!("{other:?}"),
    }
}

#[netns_test(kubernetes(nodes = 2))]
async fn an_address_that_does_not_match_the_identity(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    let _client = mesh.pod("client", 0).captured().await?;
    let thief = mesh.pod("thief", 0).uncaptured()?;
    let stolen = mesh.authority.issue(&Identity::of("client"))?;
    assert_eq!(status(ask(&thief, &stolen, &server, app_at(server.ip())).await), 401);
    assert_eq!(Counted::at(&server.node()).await?.refused("spoofed"), 1);

    // With its own it may, and hears what the server says.
    let own = mesh.authority.issue(&Identity::of("thief"))?;
    let mut tunnel = ask(&thief, &own, &server, app_at(server.ip())).await.expect("a tunnel");
    let mut greeting = [0; 7];
    tunnel.read_exact(&mut greeting).await?;
    assert_eq!(&greeting, b"server ");

    // A proxy leads to its own pod, and nowhere else.
    let outside: IpAddr = mesh.cluster.outside()?.ip();
    for to in [app_at(thief.ip()), app_at(server.node().ip()), app_at(outside)] {
        assert_eq!(status(ask(&thief, &own, &server, to).await), 421);
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn a_server_that_is_another(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    let client = mesh.pod("client", 0).captured().await?;
    Conversation::start(&client, "server:8080").await?;
    let workload = mesh.directory.workload("server").expect("it has been added");
    mesh.directory.set_workload(Workload { identity: Identity::of("vault"), ..Workload::clone(&workload) });
    is_refused(&client, app_at(server.ip())).await;
    assert_eq!(Counted::at(&client.node()).await?.refused("handshake"), 1);
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn a_trust_domain_that_does_not_match(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    let client = mesh.pod("client", 0).captured().await?;
    let foreign = Identity::within("other.test", "client");
    let stranger = mesh.pod("stranger", 0).identity(foreign).captured().await?;
    Conversation::start(&client, "server:8080").await?;
    // Its certificate is of the same authority.
    is_refused(&stranger, app_at(server.ip())).await;
    let counted = Counted::at(&server.node()).await?;
    assert_eq!((counted.refused("handshake"), counted.opened(&["other.test"])), (1, 0));
    Ok(())
}

/// A workload's certificate says who it is, and is of an authority that the others do not know.
#[netns_test(kubernetes(nodes = 2))]
async fn a_foreign_authority(mesh: Mesh) -> io::Result<()> {
    let server = mesh.pod("server", 1).captured().await?;
    serve(&server).await?;
    let client = mesh.pod("client", 0).captured().await?;
    let stranger = mesh.pod("stranger", 0).uncaptured()?;
    // One that believes in nobody else, and one that believes in the server's: then it is the server that refuses.
    let foreign = [Authority::new()?, Authority::beside(&[&*mesh.authority])?];
    for (authority, refused) in foreign.iter().zip(1..) {
        let with = authority.issue(&Identity::of("stranger"))?;
        assert!(ask(&stranger, &with, &server, app_at(server.ip())).await.is_err());
        // Of the first it is told by nobody but the one who has gone away.
        while Counted::at(&server.node()).await?.refused("handshake") < refused {}
        assert_eq!(Counted::at(&server.node()).await?.opened(&[]), 0);
    }
    let with = mesh.authority.issue(&Identity::of("stranger"))?;
    ask(&stranger, &with, &server, app_at(server.ip())).await.expect("a tunnel");

    // A server of the foreign authority, by its proxy: nobody of the mesh believes it.
    let vault = mesh.pod("vault", 1).certified_by(&foreign[1]).by(By::Dedicated).await?;
    serve(&vault).await?;
    is_refused(&client, app_at(vault.ip())).await;
    assert_eq!(Counted::at(&client.node()).await?.refused("handshake"), 1);
    assert_eq!(Counted::at(&vault).await?.opened(&[]), 0);
    Conversation::start(&client, "server:8080").await?.say("hello").await
}

/// Sends something to a port, as whoever has got into a pod may, and waits for the end of it. What comes back is no application's.
async fn call(from: &Pod, to: (IpAddr, u16)) -> io::Result<()> {
    let mut stream = match from.connect_tcp(to).await {
        // It was begun, and ended before anything could be sent.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
        connected => connected?,
    };
    let mut heard = Vec::new();
    // Either may find that it has been reset.
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let _ = stream.read_to_end(&mut heard).await;
    let heard = String::from_utf8_lossy(&heard);
    assert!(!heard.contains("server"), "{to:?} answered: {heard}");
    Ok(())
}

#[netns_test(kubernetes(nodes = 2))]
async fn malicious_calls_to_the_proxy_s_ports(mesh: Mesh) -> io::Result<()> {
    for by in [By::InPod, By::Dedicated] {
        let name =
            |name: &str| format!("{name}-{}", if matches!(by, By::InPod) { "in-pod" } else { "dedicated" });
        let server = mesh.pod(&name("server"), 1).by(by).await?;
        let client = mesh.pod(&name("client"), 0).by(by).await?;
        let outsider = mesh.pod(&name("outsider"), 0).uncaptured()?;
        serve(&server).await?;
        let at = |pod: &Pod| {
            if matches!(by, By::InPod) { pod.node().node().clone() } else { pod.as_node().clone() }
        };

        // From inside its own pod: over the loopback, and to its own addresses.
        let own: [IpAddr; 4] =
            ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap(), client.ip4().into(), client.ip6().into()];
        for ip in own {
            for port in [OUTBOUND, INBOUND, HBONE] {
                call(&client, (ip, port)).await?;
            }
        }
        let counted = Counted::at(&at(&client)).await?;
        assert_eq!((counted.refused("proxy_port"), counted.refused("handshake")), (8, 4), "{counted:?}");
        assert_eq!(counted.opened(&[]), 0, "{counted:?}");

        // To another's, from a pod that is captured, and from one that is not.
        for ip in [IpAddr::from(server.ip4()), server.ip6().into()] {
            for port in [OUTBOUND, INBOUND, HBONE] {
                call(&client, (ip, port)).await?;
                call(&outsider, (ip, port)).await?;
            }
        }
        let counted = Counted::at(&at(&server)).await?;
        assert_eq!((counted.refused("proxy_port"), counted.refused("handshake")), (10, 2), "{counted:?}");
        assert_eq!(counted.opened(&[]), 0, "{counted:?}");

        // And all is well with it.
        Conversation::start(&client, (&*server, 8080)).await?.say("hello").await?;
    }
    Ok(())
}
