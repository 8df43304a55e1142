//! Routers that advertise: hosts configure themselves by them, and by nothing else.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use netns_test::{Advertisement, Node, Router, netns_test};

fn addresses_of_link(node: &Node) -> io::Result<Vec<IpAddr>> {
    Ok(node.interface("eth0")?.addresses()?.into_iter().map(|address| address.ip).collect())
}

#[netns_test(
    nodes(client, other, server), routers(r), switches(lan),
    links(
        client -- lan, other -- lan, r -- lan { r = "2001:db8:7::1/64" },
        r -- server { r = "2001:db8:8::1/64", server = "2001:db8:8::2/64" },
    ),
    addresses = none, family = v6,
)]
async fn a_host_configures_itself(client: Node, other: Node, server: Node, r: Router) -> io::Result<()> {
    assert!(client.route_to(server.ip6()).is_err());
    let advertisement = Advertisement::new()
        .prefix("2001:db8:7::/64")
        .mtu(1400)
        .dns("2001:db8::53".parse().expect("an address"));
    let advertising = r.interface("eth0")?.advertise(advertisement)?;
    let eth0 = client.interface("eth0")?;
    let own = eth0.autoconfigure().await?;
    // EUI-64 of the MAC address (RFC 4291 appendix A).
    let [a, b, c, d, e, f] = eth0.link()?.mac.expect("it has one");
    let [a, b, c, d, e, f] = [a ^ 2, b, c, d, e, f].map(u16::from);
    let expected = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, a << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f);
    assert_eq!(own, expected);
    let way = client.route_to(server.ip6())?;
    assert!(
        way.gateway
            .is_some_and(|gateway| addresses_of_link(r.node()).is_ok_and(|all| all.contains(&gateway)))
    );
    assert_eq!(client.sysctl("net.ipv6.conf.eth0.mtu")?, "1400");
    let listener = server.listen_tcp(80).await?;
    let _out = client.connect_tcp("server:80").await?;
    assert_eq!(listener.accept().await?.1.ip(), own);
    // Who was not told to listen has not listened.
    assert!(
        addresses_of_link(&other)?
            .iter()
            .all(|ip| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()))
    );
    // A router that says goodbye is no default router any more.
    advertising.withdraw()?;
    client
        .wait_until("the default route to be gone", |client| Ok(client.route_to(server.ip6()).is_err()))
        .await?;
    Ok(())
}

#[netns_test(nodes(client), routers(r), links(client -- r), addresses = none, family = v6)]
fn a_host_configures_itself_without_a_runtime(client: Node, r: Router) -> io::Result<()> {
    let _advertising = r.interface("eth0")?.advertise(Advertisement::new().prefix("2001:db8:7::/64"))?;
    let own = client.interface("eth0")?.blocking_autoconfigure()?;
    assert_eq!(own.segments()[..4], [0x2001, 0xdb8, 7, 0]);
    assert!(addresses_of_link(&client)?.contains(&own.into()));
    Ok(())
}

#[netns_test(nodes(client), routers(r), links(client -- r), addresses = none)]
async fn two_prefixes_and_a_change_reach_who_listens(client: Node, r: Router) -> io::Result<()> {
    let eth0 = client.interface("eth0")?;
    let has = |prefix: u16| {
        move |client: &Node| {
            let all = addresses_of_link(client)?;
            Ok(all
                .iter()
                .any(|ip| matches!(ip, IpAddr::V6(ip) if ip.segments()[..3] == [0x2001, 0xdb8, prefix])))
        }
    };
    let first = r
        .interface("eth0")?
        .advertise(Advertisement::new().prefix("2001:db8:1::/64").prefix("2001:db8:2::/64"))?;
    eth0.autoconfigure().await?;
    client.wait_until("an address of the second prefix", has(2)).await?;
    drop(first);
    // It listens on, and needs not solicit again.
    let _second = r.interface("eth0")?.advertise(Advertisement::new().prefix("2001:db8:3::/64"))?;
    client.wait_until("an address of the new prefix", has(3)).await?;
    Ok(())
}

#[netns_test(nodes(client), routers(r), links(client -- r))]
fn what_cannot_be_advertised_is_refused(client: Node, r: Router) -> io::Result<()> {
    let refused = |node: &Node, advertisement| -> io::Result<String> {
        Ok(node.interface("eth0")?.advertise(advertisement).expect_err("it cannot be").to_string())
    };
    let new = Advertisement::new;
    let error = refused(&client, new())?;
    assert!(error.contains("`client` is no router: declare it in `routers(..)`"), "{error}");
    let error = refused(r.node(), new().prefix("2001:db8::/48"))?;
    assert!(error.contains("`2001:db8::/48` is no /64"), "{error}");
    Ok(())
}
