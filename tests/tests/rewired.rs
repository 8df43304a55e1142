//! A network changes while its test runs: what routers translate and let through, and where interfaces are plugged in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use netns_test::{Conditions, Firewall, Nat, NatBehavior, Network, Node, Router, Topology, netns_test};
use netns_test_tests::rerun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// After so long a datagram counts as lost. One that is not lost arrives within milliseconds.
const LOST: Duration = Duration::from_secs(15);

/// The next datagram's sender.
async fn sender(socket: &UdpSocket) -> io::Result<SocketAddr> {
    Ok(timeout(LOST, socket.recv_from(&mut [0; 64])).await??.1)
}

/// A host behind a gateway, and two servers outside.
fn behind(nat: Option<Nat>) -> Topology {
    let mut network = Topology::new();
    network.family(netns_test::Family::V4);
    network.node("host").node("server").node("other");
    let gateway = network.router("gateway").firewall(Firewall::Open).uplink("outside");
    if let Some(nat) = nat {
        gateway.nat(nat);
    }
    network.switch("outside");
    network.link("host", "gateway");
    for node in ["gateway", "server", "other"] {
        network.link(node, "outside");
    }
    network
}

#[netns_test(topology = behind(Some(Nat::home())))]
async fn a_nat_is_another_until_its_guard_ends(
    host: Node,
    server: Node,
    other: Node,
    gateway: Router,
) -> io::Result<()> {
    let (far, further) = (server.bind_udp(7).await?, other.bind_udp(7).await?);
    let near = host.bind_udp(5000).await?;
    let seen = async || {
        near.send_to(b"out", (server.ip(), 7)).await?;
        near.send_to(b"out", (other.ip(), 7)).await?;
        io::Result::Ok([sender(&far).await?, sender(&further).await?])
    };
    let outer = gateway.interface("eth1")?.addresses()?[0].ip;
    let kept = [SocketAddr::new(outer, 5000); 2];
    assert_eq!(seen().await?, kept);

    let symmetric = gateway.set_nat(Nat::corporate())?;
    assert_eq!(gateway.nat().map(|nat| nat.mapping), Some(NatBehavior::AddressAndPortDependent));
    assert!(gateway.mappings()?.is_empty());
    let [first, second] = seen().await?;
    assert!(first != second && first.port() != 5000, "{first} {second}");
    assert_eq!(gateway.mappings()?.len(), 2);

    // The latest holds, and another one may end before it.
    let open = gateway.set_nat(Nat::cgnat())?;
    symmetric.repair()?;
    let [first, second] = seen().await?;
    assert!(first == second && first.port() != 5000, "{first} {second}");
    drop(open);
    assert_eq!(gateway.nat(), Some(Nat::home()));
    assert_eq!(seen().await?, kept);

    let none = gateway.set_nat(None)?;
    assert!(gateway.nat().is_none() && gateway.mappings().is_err());
    // Outside has no way back, but what is sent arrives as it was sent.
    assert_eq!(seen().await?, [SocketAddr::new(host.ip(), 5000); 2]);
    none.repair()?;
    assert_eq!(seen().await?, kept);
    Ok(())
}

#[netns_test(topology = behind(None))]
async fn a_router_begins_to_translate_and_to_filter(
    host: Node,
    server: Node,
    gateway: Router,
) -> io::Result<()> {
    let far = server.bind_udp(7).await?;
    let near = host.bind_udp(5000).await?;
    let inwards = async |far: &UdpSocket| {
        far.send_to(b"in", (host.ip(), 5000)).await?;
        sender(&near).await
    };
    assert_eq!(inwards(&far).await?, (server.ip(), 7).into());

    let translated = gateway.set_nat(Nat::home())?;
    near.send_to(b"out", (server.ip(), 7)).await?;
    let seen = sender(&far).await?;
    assert_eq!(seen.ip(), gateway.interface("eth1")?.addresses()?[0].ip);
    drop(translated);
    assert!(gateway.nat().is_none());

    let closed = gateway.set_firewall(Firewall::Stateful)?;
    assert_eq!(gateway.firewall(), Firewall::Stateful);
    // What begins outside is stopped; the answer, which is sent later, is not.
    let unknown = server.bind_udp(9).await?;
    unknown.send_to(b"early", (host.ip(), 5000)).await?;
    near.send_to(b"question", (server.ip(), 7)).await?;
    assert_eq!(sender(&far).await?, (host.ip(), 5000).into());
    assert_eq!(inwards(&far).await?, (server.ip(), 7).into());
    closed.repair()?;
    assert_eq!(inwards(&unknown).await?, (server.ip(), 9).into());
    Ok(())
}

/// A connection that is known goes on when a firewall is closed around it.
#[netns_test(topology = behind(None))]
async fn connections_go_on_behind_a_firewall_that_is_closed(
    host: Node,
    server: Node,
    gateway: Router,
) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    // Conntrack knows connections from the moment that there are rules.
    let _known = gateway.set_firewall(Firewall::Stateful)?;
    let listener = server.listen_tcp(22).await?;
    let mut out = host.connect_tcp((server.ip(), 22)).await?;
    let (mut inc, _) = listener.accept().await?;
    let _closed = gateway.set_firewall(Firewall::Corporate)?;
    inc.write_all(b"still here").await?;
    let mut buffer = [0; 10];
    out.read_exact(&mut buffer).await?;
    assert!(host.connect_tcp((server.ip(), 22)).await.is_err());
    Ok(())
}

#[netns_test(
    nodes(host, server),
    routers(plain, six { firewall = stateful, uplink = server }),
    links(host -- plain, plain -- server, host -- six, six -- server),
    family = v6,
)]
async fn a_router_says_why_it_cannot_change(plain: Router, six: Router) -> io::Result<()> {
    for refused in [plain.set_nat(Nat::home()), plain.set_firewall(Firewall::Stateful)] {
        let error = refused.expect_err("it has no uplink").to_string();
        assert!(error.contains("no uplink of it was declared"), "{error}");
    }
    let error = six.set_nat(Nat::home()).expect_err("IPv6 alone").to_string();
    assert!(error.contains("`eth1` has no IPv4 address"), "{error}");
    Ok(())
}

#[netns_test(topology = behind(None))]
async fn a_nat_says_what_is_wrong_with_it(gateway: Router) -> io::Result<()> {
    let error =
        gateway.set_nat(Nat::home().udp_timeout(Duration::from_millis(1500))).expect_err("half a second");
    assert!(error.to_string().contains("`udp_timeout` is in whole seconds"), "{error}");
    assert!(gateway.nat().is_none());
    Ok(())
}

/// A phone that is at home; the cafe's network is beside it, and a server is behind both.
fn town() -> Topology {
    let mut town = Topology::new();
    town.node("phone").node("server").router("home").router("cafe").router("isp");
    for [left, right] in [["phone", "home"], ["home", "isp"], ["cafe", "isp"], ["isp", "server"]] {
        town.link(left, right);
    }
    town
}

/// A new connection from one to the other: who the listener sees.
async fn connects(from: &Node, to: &Node) -> io::Result<std::net::IpAddr> {
    let listener = to.listen_tcp(80).await?;
    let _out = from.connect_tcp(&*format!("{}:80", to.name())).await?;
    Ok(listener.accept().await?.1.ip())
}

#[netns_test(topology = town())]
async fn a_phone_goes_to_the_cafe_and_home_again(
    phone: Node,
    server: Node,
    home: Router,
    cafe: Router,
    network: Network,
) -> io::Result<()> {
    let eth0 = phone.interface("eth0")?;
    let at_home = (phone.ip4(), phone.ip6());
    let (mac, index) = (eth0.link()?.mac, eth0.index());
    let old = network.link(&phone, &home)?;
    assert_eq!(connects(&phone, &server).await?, phone.ip());

    let link = eth0.replug(&cafe)?;
    assert_eq!(link.to_string(), "phone/eth0 – cafe/eth1");
    assert!(phone.ip4() != at_home.0 && phone.ip6() != at_home.1);
    let now = phone.interface("eth0")?;
    assert_eq!((now.link()?.mac, now.index(), now.link()?.carrier), (mac, index, true));
    assert_eq!(phone.route_to(server.ip4())?.gateway, Some(cafe.interface("eth1")?.addresses()?[0].ip));
    // Both ways, by name, in the test and in the files of the nodes.
    assert_eq!(connects(&phone, &server).await?, phone.ip());
    assert_eq!(connects(&server, &phone).await?, server.ip());
    let looked_up = server.run(async || tokio::net::lookup_host("phone:1").await.map(Vec::from_iter)).await?;
    assert_eq!(looked_up[0].ip(), phone.ip());
    // At home the port is there, and nothing in it.
    let port = home.interface("eth0")?;
    assert!(port.link()?.up && !port.link()?.carrier && !port.addresses()?.is_empty());

    for error in [
        old.cut().err().map(|e| e.to_string()),
        old.set_conditions(Conditions::new()).err().map(|e| e.to_string()),
    ] {
        let error = error.expect("there is no such link any more");
        assert!(error.contains("`phone/eth0 – home/eth0` is no link any more"), "{error}");
    }
    assert_eq!(network.link(&phone, &cafe)?.to_string(), link.to_string());
    assert!(network.link(&phone, &home).is_err());
    let cut = link.cut()?;
    assert!(eth0.replug(&home).expect_err("a fault").to_string().contains("a fault concerns `phone/eth0`"));
    cut.repair()?;

    eth0.replug(&home)?;
    assert_eq!((phone.ip4(), phone.ip6()), at_home);
    assert_eq!(connects(&server, &phone).await?, server.ip());
    assert_eq!(connects(&phone, &server).await?, phone.ip());
    assert!(port.link()?.carrier && !cafe.interface("eth1")?.link()?.carrier);
    assert_eq!(network.link(&phone, &home)?.to_string(), old.to_string());
    old.cut()?.repair()?;
    for _ in 0..3 {
        eth0.replug(&cafe)?;
        assert_eq!(connects(&phone, &server).await?, phone.ip());
        eth0.replug(&home)?;
        assert_eq!(connects(&phone, &server).await?, phone.ip());
    }
    assert_eq!(cafe.interfaces()?.len(), 2);
    Ok(())
}

/// Two sites with a switch each, and a third one behind whose links do something to packets.
fn sites() -> Topology {
    let mut sites = Topology::new();
    sites.node("roamer").router("middle").switch("slow");
    for site in ["left", "right"] {
        sites.switch(site).link(site, "middle");
        for number in [1, 2] {
            sites.node(format!("{site}{number}")).link(format!("{site}{number}"), site);
        }
    }
    sites.node("far").node("further");
    sites.link("slow", "middle");
    sites.link("far", "slow").delay(Duration::from_millis(1));
    sites.link("further", "slow");
    sites.link("roamer", "left");
    sites
}

#[netns_test(topology = sites())]
async fn an_interface_goes_from_switch_to_switch(
    roamer: Node,
    left1: Node,
    left2: Node,
    right1: Node,
    far: Node,
    network: Network,
) -> io::Result<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let eth0 = roamer.interface("eth0")?;
    let (declared, listener) = (roamer.ip(), roamer.listen_tcp("[::]:22").await?);
    let lasting = left2.listen_tcp(9).await?;
    let mut out = left1.connect_tcp((left2.ip(), 9)).await?;
    let (mut inc, _) = lasting.accept().await?;
    for (switch, neighbour) in
        [("right", &right1), ("slow", &far), ("left", &left1), ("right", &right1), ("left", &left1)]
    {
        let link = eth0.replug(switch)?;
        assert_eq!(link.to_string(), "roamer/eth0 – switch");
        assert!(eth0.link()?.carrier);
        // A listener of the wildcard address is reached at every place, by neighbours and over the router.
        for peer in [neighbour, &right1, &far] {
            let _out = peer.connect_tcp("roamer:22").await?;
            listener.accept().await?;
            assert_eq!(connects(&roamer, peer).await?, roamer.ip());
        }
        assert!(roamer.route_to(neighbour.ip())?.gateway.is_none());
        link.cut()?.repair()?;
    }
    assert_eq!(roamer.ip(), declared);
    // Nobody else has noticed.
    out.write_all(b"hi").await?;
    inc.read_exact(&mut [0; 2]).await?;
    assert_eq!(network.links().iter().filter(|link| link.to_string().contains("roamer")).count(), 1);
    Ok(())
}

#[netns_test(
    nodes(phone, server),
    routers(home, cafe, isp),
    links(phone -- home { delay = 40ms, wire = user }, home -- isp, cafe -- isp, isp -- server),
)]
async fn conditions_stay_with_the_link(
    phone: Node,
    server: Node,
    home: Router,
    cafe: Router,
    network: Network,
) -> io::Result<()> {
    let slow = network.link(&phone, &home)?;
    let changed = slow.set_conditions(Conditions::new().delay(Duration::from_millis(60)))?;
    let link = phone.interface("eth0")?.replug(&cafe)?;
    assert_eq!((link.wire(), slow.wire()), (None, None));
    assert!(link.from(&phone)?.conditions().delay.is_none());
    assert_eq!(connects(&phone, &server).await?, phone.ip());
    home.wait_until("the port at home without a carrier", |home| {
        Ok(!home.interface("eth0")?.link()?.carrier)
    })
    .await?;
    changed.repair()?;
    let error = slow.from(&phone)?.tally().expect_err("no link").to_string();
    assert!(error.contains("is no link any more"), "{error}");
    let error = phone.interface("eth0")?.replug(&home).expect_err("it had conditions").to_string();
    assert!(error.contains("its link to `home` was declared with conditions"), "{error}");
    assert_eq!(connects(&server, &phone).await?, server.ip());
    Ok(())
}

#[netns_test(
    nodes(phone, server),
    routers(home { nat = home, uplink = isp }, office { nat = corporate, uplink = isp }, isp, other),
    links(phone -- home, home.wan -- isp, office -- isp, isp -- server, other -- server, isp -- other),
    family = v4,
)]
async fn a_nat_translates_for_who_comes_and_by_another_provider(
    phone: Node,
    server: Node,
    home: Router,
    office: Router,
    other: Router,
) -> io::Result<()> {
    let outer = |router: &Router, name: &str| io::Result::Ok(router.interface(name)?.addresses()?[0].ip);
    assert_eq!(connects(&phone, &server).await?, outer(&home, "wan")?);
    let eth0 = phone.interface("eth0")?;
    eth0.replug(&office)?;
    assert_eq!(connects(&phone, &server).await?, outer(&office, "eth0")?);
    assert_eq!(office.mappings()?.len(), 1);
    eth0.replug(&home)?;
    assert_eq!(connects(&phone, &server).await?, outer(&home, "wan")?);
    // The house gets another provider: another outer address.
    let before = outer(&home, "wan")?;
    let symmetric = home.set_nat(Nat::corporate())?;
    home.interface("wan")?.replug(&other)?;
    assert_ne!(outer(&home, "wan")?, before);
    assert_eq!(connects(&phone, &server).await?, outer(&home, "wan")?);
    assert_eq!(home.nat(), Some(Nat::corporate()));
    symmetric.repair()?;
    assert_eq!(connects(&phone, &server).await?, outer(&home, "wan")?);
    assert_eq!(home.nat(), Some(Nat::home()));
    Ok(())
}

/// The flag of interfaces that have a carrier, and types of messages (netdevice(7), rtnetlink(7)).
const IFF_LOWER_UP: u32 = 1 << 16;

#[netns_test(topology = town())]
async fn who_watches_sees_the_carrier_go_and_come(phone: Node, cafe: Router) -> io::Result<()> {
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };
    use std::os::fd::AsRawFd as _;
    const RTMGRP_LINK: u32 = 1;
    let watcher = phone.enter(|| {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK))?;
        io::Result::Ok(socket)
    })?;
    let eth0 = phone.interface("eth0")?;
    eth0.replug(&cafe)?;
    let mut carrier = Vec::new();
    let mut buffer = [0; 8192];
    while let Ok(length) = recv(watcher.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let mut rest = &buffer[..length];
        while rest.len() >= 32 {
            let word = |at: usize| u32::from_ne_bytes(rest[at..at + 4].try_into().expect("four bytes"));
            let (length, index, flags) = (word(0) as usize, word(20), word(24));
            if index == eth0.index() && carrier.last() != Some(&(flags & IFF_LOWER_UP != 0)) {
                carrier.push(flags & IFF_LOWER_UP != 0);
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
    assert!(carrier.ends_with(&[false, true]), "{carrier:?}");
    Ok(())
}

#[netns_test(topology = sites())]
async fn a_replug_that_cannot_be_says_why(roamer: Node, left1: Node) -> io::Result<()> {
    let eth0 = roamer.interface("eth0")?;
    for (place, cause) in [
        ("left", "it is plugged in there already"),
        ("rihgt", "there is no `rihgt`: did you mean `right`?"),
        ("roamer", "it cannot be plugged into its own node"),
    ] {
        let error = eth0.replug(place).expect_err(place).to_string();
        assert!(error.contains(cause) && error.contains("plug `roamer/eth0` into"), "{error}");
    }
    let crashed = left1.crash().await?;
    let error = eth0.replug("right").expect_err("a crash").to_string();
    assert!(error.contains("`left1` has crashed"), "{error}");
    crashed.restart()?;
    eth0.replug("right").map(drop)?;
    Ok(())
}

#[netns_test(nodes(a, b, c), switches(two), links(a -- two, b -- two, c -- a))]
async fn a_wire_takes_no_third(c: Node) -> io::Result<()> {
    let error = c.interface("eth0")?.replug("two").expect_err("two have it").to_string();
    assert!(error.contains("`two` has two links and is no more than a wire"), "{error}");
    assert!(c.interface("eth0")?.link()?.carrier);
    Ok(())
}

#[netns_test(nodes = 3)]
async fn a_star_has_no_other_place(a: Node, b: Node, _c: Node) -> io::Result<()> {
    let error = a.interface("eth0")?.replug(&b).expect_err("no graph").to_string();
    assert!(error.contains("the network is no graph"), "{error}");
    Ok(())
}

#[netns_test(topology = town())]
#[ignore = "fails on purpose"]
async fn a_phone_at_the_cafe_fails(phone: Node, server: Node, cafe: Router) {
    connects(&phone, &server).await.expect("from home");
    phone.interface("eth0").and_then(|eth0| Ok(eth0.replug(&cafe)?)).expect("the cafe");
    connects(&phone, &server).await.expect("from the cafe");
    panic!("on purpose");
}

#[test]
fn a_report_shows_where_it_is_plugged_in_now() {
    let failed = rerun("a_phone_at_the_cafe_fails").run();
    let output = &failed.stdout;
    assert!(!failed.status.success() && output.contains("on purpose"), "{output}");
    // It was sent to the cafe from the cafe's link, and nothing is missed at home.
    assert!(output.contains("phone/eth0 – cafe/eth1") && !output.contains("phone → home"), "{output}");
    assert!(!output.contains("did not arrive"), "{output}");
    assert!(output.contains("the interface eth0 has no carrier"), "{output}");
}

#[netns_test(topology = town())]
async fn sockets_know_their_addresses_and_no_others(
    phone: Node,
    server: Node,
    cafe: Router,
) -> io::Result<()> {
    let far = server.bind_udp("[::]:7").await?;
    let bound4 = phone.bind_udp((phone.ip4(), 5)).await?;
    let bound6 = phone.bind_udp((phone.ip6(), 5)).await?;
    let any = phone.bind_udp("[::]:6").await?;
    let listener = server.listen_tcp(9).await?;
    let out = phone.connect_tcp((server.ip(), 9)).await?;
    let (_inc, _) = listener.accept().await?;
    let old = bound6.local_addr()?;
    phone.interface("eth0")?.replug(&cafe)?;
    let error = bound4.send_to(b"4", (server.ip4(), 7)).await.expect_err("the address is gone");
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable, "{error}");
    // The kernel does not look where a socket of IPv6 is bound: that arrives, and an answer would not.
    bound6.send_to(b"6", (server.ip6(), 7)).await?;
    assert_eq!(sender(&far).await?, old);
    any.send_to(b"any", (server.ip6(), 7)).await?;
    assert_eq!(sender(&far).await?, (phone.ip6(), 6).into());
    out.try_write(b"never acknowledged").map(drop)
}
