//! Guards of faults may outlive their pod, and have no part in what comes after it.

use std::io;

use netns_test::kubernetes::{Cluster, Pod};
use netns_test::{Network, netns_test};
use netns_test_tests::rerun;

#[netns_test(kubernetes(nodes = 1, pods(client = 0)))]
async fn guards_outlive_their_pod(cluster: Cluster, network: Network, client: Pod) -> io::Result<()> {
    let host = cluster.node(0);
    let first = host.pod("server").start()?;
    let (ip, far) = (first.ip4(), host.interface("veth3")?);
    let (held, held_far) = (network.hold([&client], [&first])?, far.hold()?);
    let (cut, isolated) = (far.cut()?, first.isolate()?);
    let (unplugged, unplugged_far) = (first.interface("eth0")?.unplug()?, far.unplug()?);
    let crashed = first.crash().await?;
    first.delete()?;
    assert!(!host.links()?.iter().any(|link| link.name.starts_with("hold")), "{:?}", host.links()?);

    let second = host.pod("server").ip(ip).start()?;
    let same = host.interface("veth3")?;
    assert_eq!(same.index(), far.index());
    let (new_cut, new_unplugged) = (same.cut()?, same.unplug()?);
    unplugged_far.repair()?;
    assert!(!same.link()?.up);
    cut.repair()?;
    new_unplugged.repair()?;
    assert!(same.link()?.up);
    new_cut.repair()?;

    let (sends, receives) = (client.bind_udp((client.ip4(), 0)).await?, second.bind_udp((ip, 7)).await?);
    let hold = same.hold()?;
    held_far.release()?;
    held.release()?;
    for number in 0..50 {
        sends.send_to(&[number], (ip, 7)).await?;
    }
    client.wait_until("50 packets that wait", |_| Ok(hold.held() >= 50)).await?;
    assert_eq!(receives.try_recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    hold.release()?;
    for number in 0..50 {
        let mut buf = [0];
        receives.recv(&mut buf).await?;
        assert_eq!(buf, [number]);
    }
    // Dropped or ended, they are of no consequence.
    drop((isolated, unplugged));
    Ok(crashed.restart()?)
}

#[netns_test(kubernetes(nodes = 1, pods(server = 0, client = 0)))]
#[ignore = "fails on purpose"]
async fn panics_over_a_deleted_pod(server: Pod, client: Pod) -> io::Result<()> {
    let served = server.spawn(std::future::pending::<()>);
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    client.spawn(async move || {
        // Dropped as it panics.
        let _tell = tell;
        served.await.expect("the server still serves");
    });
    server.delete()?;
    let _dropped = told.await;
    Ok(())
}

/// Those of the node that is emptied are no failures, those of others are.
#[test]
fn a_panic_elsewhere_counts_while_a_pod_is_deleted() {
    rerun("faults::panics_over_a_deleted_pod").run().failed_with(&["the server still serves"]);
}
