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

/// Pods reach their router by a route of its own, which has to be there before those by way of it.
#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
async fn a_pod_is_unplugged_and_plugged_in(cluster: Cluster, client: Pod, server: Pod) -> io::Result<()> {
    let listener = server.listen_tcp("[::]:80").await?;
    let own = client.interface("eth0")?;
    for far in [own.clone(), cluster.node(0).interface("veth2")?] {
        far.unplug()?.repair()?;
        far.down()?;
        far.up()?;
        for ip in [std::net::IpAddr::from(server.ip4()), server.ip6().into()] {
            client.connect_tcp((ip, 80)).await?;
            listener.accept().await?;
        }
    }
    Ok(())
}

/// Ended while the pod is deleted, they are as good as ended before or after.
#[netns_test(kubernetes(nodes = 1))]
fn guards_end_while_their_pod_does(cluster: Cluster) -> io::Result<()> {
    let host = cluster.node(0);
    for _ in 0..10 {
        let pod = host.pod("server").start()?;
        let far =
            host.interfaces()?.into_iter().find(|interface| interface.name().starts_with("veth")).unwrap();
        let guards = (far.cut()?, far.unplug()?, pod.isolate()?, pod.interface("eth0")?.unplug()?);
        let begin = std::sync::Arc::new(std::sync::Barrier::new(2));
        let begins = std::sync::Arc::clone(&begin);
        let repaired = host.spawn_thread("repairs", move || {
            begins.wait();
            let (cut, unplugged, isolated, own) = guards;
            cut.repair().and(unplugged.repair()).and(isolated.repair()).and(own.repair())
        });
        begin.wait();
        pod.delete()?;
        repaired.join().expect("no panic")?;
    }
    Ok(())
}

/// Whoever deletes a pod, it is gone when that returns, and its name is free.
#[netns_test(kubernetes(nodes = 1, pods(idle = 0)))]
async fn two_delete_one_pod(cluster: Cluster, idle: Pod) -> io::Result<()> {
    for _ in 0..5 {
        let pod = cluster.node(0).pod("server").start()?;
        pod.spawn(std::future::pending::<()>);
        let (other, of_other) = (pod.clone(), cluster.clone());
        let elsewhere = idle.spawn_thread("deletes", move || {
            other.delete()?;
            Ok::<_, netns_test::Error>(of_other.pod("server").is_err())
        });
        pod.delete()?;
        assert!(cluster.pod("server").is_err());
        assert!(elsewhere.join().expect("no panic")?);
        assert!(!cluster.node(0).links()?.iter().any(|link| link.name == "veth3"));
    }
    Ok(())
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
