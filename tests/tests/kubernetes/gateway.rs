//! Redirection to a gateway that traffic is routed through.

use std::io;
use std::net::IpAddr;

use netns_test::kubernetes::{Cluster, Pod, Redirect, set_transparent};
use netns_test::netns_test;

use crate::redirect::{INBOUND, OUTBOUND, addresses, goes_on, of_family, proxy_at, takes, takes_services};

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, uncaptured = 0, gateway = 0, server = 1)))]
async fn traffic_is_routed_through_a_gateway(
    cluster: Cluster,
    captured: Pod,
    uncaptured: Pod,
    gateway: Pod,
    server: Pod,
) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    let own_app = captured.listen_tcp("[::]:8080").await?;
    let [proxy, inbound] = proxy_at(&gateway).await?;
    captured
        .redirect(Redirect::by_way_of(&gateway).outbound(OUTBOUND).inbound(INBOUND).unless_port(15021))?;
    let health = captured.listen_tcp("[::]:15021").await?;
    for ip in addresses(&server) {
        let own = of_family(&captured, ip);
        let mut client = captured.connect_tcp((ip, 80)).await?;
        takes(&proxy, &mut client, own, (ip, 80).into()).await?;
        goes_on(&gateway, (ip, 80).into(), &app, own).await?;
        uncaptured.connect_tcp((ip, 80)).await?;
        app.accept().await?;

        // And into the pod, from another node and from its own.
        for from in [&server, &uncaptured] {
            let peer = of_family(from, ip);
            let mut out = from.connect_tcp((own, 8080)).await?;
            takes(&inbound, &mut out, peer, (own, 8080).into()).await?;
            goes_on(&gateway, (own, 8080).into(), &own_app, peer).await?;
        }
        server.connect_tcp((own, 15021)).await?;
        health.accept().await?;
        // To the gateway itself.
        let port = gateway.listen_tcp("[::]:9090").await?;
        captured.connect_tcp((of_family(&gateway, ip), 9090)).await?;
        assert_eq!(port.accept().await?.1.ip().to_canonical(), own);
    }
    takes_services(&cluster, &captured, &proxy).await
}

/// What was to go through a gateway that is gone goes nowhere, until that is ended.
#[netns_test(kubernetes(nodes = 2, pods(captured = 0, gateway = 0, server = 1)))]
async fn a_gateway_that_is_gone_is_not_passed_by(
    cluster: Cluster,
    captured: Pod,
    gateway: Pod,
    server: Pod,
) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    let redirect_by = async |gateway: &Pod| -> io::Result<tokio::net::TcpListener> {
        let proxy = gateway.listen_tcp(("::".parse::<IpAddr>().unwrap(), OUTBOUND)).await?;
        set_transparent(&proxy)?;
        captured.redirect(Redirect::by_way_of(gateway).outbound(OUTBOUND))?;
        Ok(proxy)
    };
    let _proxy = redirect_by(&gateway).await?;
    gateway.delete()?;
    for ip in addresses(&server) {
        let error = captured.connect_tcp((ip, 80)).await.unwrap_err();
        assert!(
            matches!(error.kind(), io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable),
            "{error}"
        );
    }
    // Another in its place, with its address and its link.
    let second = cluster.node(0).pod("gateway").ip(gateway.ip4()).start()?;
    let proxy = redirect_by(&second).await?;
    captured.connect_tcp((server.ip(), 80)).await?;
    proxy.accept().await?;
    captured.end_redirection()?;
    captured.connect_tcp((server.ip(), 80)).await?;
    app.accept().await?;

    // Two pods by one gateway, and each has its own way: one ends, the other stays.
    let other = cluster.node(0).pod("other").start()?;
    captured.redirect(Redirect::by_way_of(&second).outbound(OUTBOUND))?;
    other.redirect(Redirect::by_way_of(&second).outbound(OUTBOUND))?;
    captured.delete()?;
    other.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(proxy.accept().await?.1.ip(), other.ip());
    // With the address and the link of the one that is gone, and captured by nobody.
    let next = cluster.node(0).pod("next").ip(captured.ip4()).start()?;
    next.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(app.accept().await?.1.ip(), next.ip());
    Ok(())
}
