//! Clusters that are declared elsewhere than in a test's own attribute: in code, and by a structure.

use std::io;

use netns_test::kubernetes::{Cluster, ClusterLayout, Pod};
use netns_test::{Family, FromNetwork, Topology, netns_test};

fn ring(pods: usize) -> Topology {
    let mut layout =
        ClusterLayout::new(2).pods_per_node(1).pod_cidr("10.9.0.0/20").service_cidr("10.8.0.0/24");
    for number in 0..pods {
        layout = layout.pod(format!("member_{number}"), number % 2);
    }
    layout.family(Family::V4).topology()
}

#[netns_test(topology = ring(3))]
async fn in_code(cluster: Cluster, member_2: Pod, pod_1_0: Pod, pods: [Pod; 5]) -> io::Result<()> {
    assert_eq!((member_2.name(), member_2.node_number(), pod_1_0.node_number()), ("member-2", 0, 1));
    assert_eq!(pods.len(), cluster.pods().len());
    assert_eq!(pod_1_0.ip().to_string(), "10.9.1.2");
    let web = cluster.service("web").port(80, 8080).selector("app", "web").create()?;
    assert_eq!(web.ip().to_string(), "10.8.0.11");
    let listener = member_2.listen_tcp(80).await?;
    // The body stands on the underlay here, too.
    let out = tokio::net::TcpStream::connect("member-2:80").await?;
    assert_eq!(listener.accept().await?.1, out.local_addr()?);
    Ok(())
}

#[test]
fn what_cannot_be_built_is_told_in_the_words_of_the_attribute() {
    for (layout, cause) in [
        (ClusterLayout::new(0), "a cluster needs a node: write `nodes = 1` or more"),
        (ClusterLayout::new(1).pod("a", 0).pod("A", 0), "there is a pod `A` already"),
        (ClusterLayout::new(2).pod("a", 2), "there is no node 2: the cluster has 2, numbers 0 to 1"),
        (
            ClusterLayout::new(8).pods_per_node(60).pod_cidr("10.9.0.0/24"),
            "`10.9.0.0/24` is too small for 8 nodes with up to 60 pods each: write `10.9.0.0/23`",
        ),
        (ClusterLayout::new(1).service_cidr("10.96.0.0/29"), "`10.96.0.0/29` is too small for services"),
    ] {
        let message = layout.topology().check().unwrap_err().to_string();
        assert!(message.contains(cause), "{message}");
    }
    let panic = std::panic::catch_unwind(|| _ = ClusterLayout::new(1).topology().node("a").check());
    let panic = panic.unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("say them by its `ClusterLayout`"));
}

#[derive(FromNetwork)]
#[network(kubernetes(nodes = 2, pods(client = 0, web_server = 1)))]
struct Mesh {
    cluster: Cluster,
    client: Pod,
    web_server: Pod,
}

#[netns_test]
async fn by_a_structure(mesh: Mesh) -> io::Result<()> {
    assert_eq!(mesh.cluster.nodes().len(), 2);
    let listener = mesh.web_server.listen_tcp(80).await?;
    mesh.client.connect_tcp("web-server:80").await?;
    assert_eq!(listener.accept().await?.1.ip(), mesh.client.ip());
    Ok(())
}

#[netns_test(timeout = 30s)]
fn by_a_structure_beside_other_keys(mesh: Mesh) {
    assert_eq!(mesh.client.node().name(), "node-0");
}
