//! NAT: every kind of router translates as it was declared, which a classifier in the way of RFC 5780 finds out from outside,
//! and holes are punched through exactly those pairs of routers that theory says.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use netns_test::state::Protocol;
use netns_test::{Family, Firewall, Nat, NatBehavior, Node, Router, Topology, netns_test};
use nix::mount::{MsFlags, mount, umount};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use NatBehavior::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

/// After so long a datagram counts as lost. One that is not lost arrives within milliseconds.
const LOST: Duration = Duration::from_secs(15);

/// The next datagram, as text, and its sender.
async fn receive(socket: &UdpSocket) -> io::Result<(String, SocketAddr)> {
    let mut buffer = [0; 64];
    let (len, from) = timeout(LOST, socket.recv_from(&mut buffer)).await??;
    Ok((String::from_utf8_lossy(&buffer[..len]).into_owned(), from))
}

/// A server that says where a question came from: two addresses, two ports of each, as RFC 5780 wants it.
struct Stun {
    /// By address and port: `sockets[address][port]`.
    sockets: [[UdpSocket; 2]; 2],
}

const STUN: [Ipv4Addr; 2] = [Ipv4Addr::new(203, 0, 113, 2), Ipv4Addr::new(203, 0, 113, 3)];
const PORTS: [u16; 2] = [3478, 3479];

impl Stun {
    async fn new(node: &Node) -> io::Result<Self> {
        let bind = async |ip: usize, port: usize| node.bind_udp((STUN[ip], PORTS[port])).await;
        let sockets = [[bind(0, 0).await?, bind(0, 1).await?], [bind(1, 0).await?, bind(1, 1).await?]];
        Ok(Self { sockets })
    }

    /// How the server sees a socket that asks it at one of its addresses and ports.
    async fn sees(&self, socket: &UdpSocket, ip: usize, port: usize) -> io::Result<SocketAddr> {
        socket.send_to(b"who am I", (STUN[ip], PORTS[port])).await?;
        Ok(receive(&self.sockets[ip][port]).await?.1)
    }

    /// What a socket receives before the answer to a question that it asks now. Behind it, nothing can be on its way.
    async fn received_before_answer(&self, socket: &UdpSocket) -> io::Result<Vec<(String, SocketAddr)>> {
        let mut received = Vec::new();
        for question in ["first", "second"] {
            let seen = self.sees(socket, 0, 0).await?;
            self.sockets[0][0].send_to(question.as_bytes(), seen).await?;
            loop {
                let (text, from) = receive(socket).await?;
                if text == question {
                    break;
                }
                received.push((text, from));
            }
        }
        Ok(received)
    }
}

/// What is found out about the router in front of a socket.
#[derive(Debug, PartialEq)]
struct Found {
    mapping: NatBehavior,
    filtering: NatBehavior,
    port_preservation: bool,
    hairpinning: bool,
}

/// RFC 5780 sections 4.3, 4.4 and 4.5 with datagrams of our own: what STUN's say, in fewer words.
async fn classify(stun: &Stun, host: &Node, neighbour: &Node) -> io::Result<Found> {
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let first = stun.sees(&socket, 0, 0).await?;
    let other_address = stun.sees(&socket, 1, 0).await?;
    let other_port = stun.sees(&socket, 1, 1).await?;
    let mapping = match (first == other_address, other_address == other_port) {
        (true, true) => EndpointIndependent,
        (false, true) => AddressDependent,
        (false, false) => AddressAndPortDependent,
        (true, false) => {
            panic!("one port for two addresses, and two for one: {first} {other_address} {other_port}")
        }
    };

    // A socket that has spoken to one address and port alone.
    let socket = host.bind_udp("0.0.0.0:5001").await?;
    let seen = stun.sees(&socket, 0, 0).await?;
    stun.sockets[1][1].send_to(b"other address", seen).await?;
    stun.sockets[0][1].send_to(b"other port", seen).await?;
    let received = stun.received_before_answer(&socket).await?;
    let texts: Vec<&str> = received.iter().map(|(text, _)| text.as_str()).collect();
    let filtering = match texts[..] {
        ["other address", "other port"] => EndpointIndependent,
        ["other port"] => AddressDependent,
        [] => AddressAndPortDependent,
        _ => panic!("{texts:?}"),
    };

    // Two behind the same router: the one sends to the outer address of the other.
    let own = neighbour.bind_udp("0.0.0.0:5002").await?;
    let own_seen = stun.sees(&own, 0, 0).await?;
    own.send_to(b"hairpin", seen).await?;
    let received = stun.received_before_answer(&socket).await?;
    if let Some((_, from)) = received.first() {
        // RFC 4787 REQ-9 a: from its outer address.
        assert_eq!(from.ip(), own_seen.ip());
    }
    Ok(Found {
        mapping,
        filtering,
        port_preservation: first.port() == 5000,
        hairpinning: !received.is_empty(),
    })
}

/// Two hosts behind a router, whose uplink is on a link with the server.
fn behind(nat: Nat) -> Topology {
    let mut network = Topology::new();
    network.family(Family::V4).node("host").node("neighbour").node("stun").switch("lan");
    network.router("gateway").nat(nat).uplink("stun");
    network.link("host", "lan").prefix("192.168.1.0/24");
    network.link("neighbour", "lan");
    network.link("gateway", "lan");
    network
        .link("gateway", "stun")
        .prefix("203.0.113.0/24")
        .address("gateway", "203.0.113.1")
        .address("stun", STUN[0].to_string())
        .address("stun", STUN[1].to_string());
    network
}

macro_rules! kinds {
    ($($name:ident: $nat:expr;)*) => {
        mod kinds {
            use super::*;
            $(
                #[netns_test(topology = behind($nat))]
                async fn $name(host: Node, neighbour: Node, stun: Node, gateway: Router) -> io::Result<()> {
                    let declared: Nat = $nat;
                    assert_eq!(gateway.nat().as_ref(), Some(&declared));
                    let found = classify(&Stun::new(&stun).await?, &host, &neighbour).await?;
                    let Nat { mapping, filtering, port_preservation, hairpinning, .. } = declared;
                    assert_eq!(found, Found { mapping, filtering, port_preservation, hairpinning });
                    Ok(())
                }
            )*
        }
    };
}

/// All of the behaviours together, from a kind that has none of the others.
const fn of(mapping: NatBehavior, filtering: NatBehavior) -> Nat {
    Nat::home().mapping(mapping).filtering(filtering)
}

kinds! {
    home: Nat::home();
    corporate: Nat::corporate();
    cgnat: Nat::cgnat();
    cloud: Nat::cloud();
    independent_mapping_and_filter: of(EndpointIndependent, EndpointIndependent);
    filter_by_address: of(EndpointIndependent, AddressDependent);
    mapping_by_address: of(AddressDependent, EndpointIndependent);
    mapping_and_filter_by_address: of(AddressDependent, AddressDependent);
    mapping_by_address_and_filter_by_port: of(AddressDependent, AddressAndPortDependent);
    mapping_by_port: of(AddressAndPortDependent, EndpointIndependent);
    mapping_by_port_and_filter_by_address: of(AddressAndPortDependent, AddressDependent);
    mapping_and_filter_by_port: of(AddressAndPortDependent, AddressAndPortDependent);
    no_port_preservation: Nat::home().port_preservation(false);
    no_hairpinning: Nat::home().hairpinning(false);
}

/// Two sites with the same inner addresses behind two routers, and the server between them.
fn sites(left: Nat, right: Nat) -> Topology {
    let mut network = Topology::new();
    network.family(Family::V4).node("alice").node("bob").node("stun").switch("outside");
    network.router("left").nat(left).uplink("outside");
    network.router("right").nat(right).uplink("outside");
    network.link("alice", "left").prefix("192.168.1.0/24");
    network.link("bob", "right").prefix("192.168.1.0/24");
    network
        .link("stun", "outside")
        .prefix("203.0.113.0/24")
        .address("stun", STUN[0].to_string())
        .address("stun", STUN[1].to_string());
    network.link("left", "outside");
    network.link("right", "outside");
    network
}

/// Each learns its outer address from the server, tells it to the other, and sends to the other's until it hears something,
/// which it answers where it came from (RFC 5128 section 3.3). Whether both have heard the other.
async fn punch(stun: &Stun, alice: &Node, bob: &Node) -> io::Result<bool> {
    let ends = [alice.bind_udp("0.0.0.0:6000").await?, bob.bind_udp("0.0.0.0:7000").await?];
    let seen = [stun.sees(&ends[0], 0, 0).await?, stun.sees(&ends[1], 0, 0).await?];
    let mut to = [seen[1], seen[0]];
    let mut heard = [false; 2];
    // A packet, an answer to it, and an answer to that is the longest way to success.
    for _round in 0..4 {
        for side in [0, 1] {
            ends[side].send_to(b"punch", to[side]).await?;
        }
        for side in [0, 1] {
            if let Some((_, from)) = stun.received_before_answer(&ends[side]).await?.pop() {
                heard[side] = true;
                to[side] = from;
            }
        }
    }
    Ok(heard == [true, true])
}

macro_rules! pairs {
    ($($name:ident: $left:expr, $right:expr, $succeeds:expr;)*) => {
        mod holes {
            use super::*;
            $(
                #[netns_test(topology = sites($left, $right))]
                async fn $name(alice: Node, bob: Node, stun: Node) -> io::Result<()> {
                    // The same addresses behind both.
                    assert_eq!(alice.ip4(), bob.ip4());
                    let stun = Stun::new(&stun).await?;
                    assert_eq!(punch(&stun, &alice, &bob).await?, $succeeds);
                    Ok(())
                }
            )*
        }
    };
}

/// "Full cone", "address restricted cone", "port restricted cone" and "symmetric" in the words of RFC 3489.
const FULL: Nat = of(EndpointIndependent, EndpointIndependent);
const ADDRESS: Nat = of(EndpointIndependent, AddressDependent);
const PORT: Nat = of(EndpointIndependent, AddressAndPortDependent);
const SYMMETRIC: Nat = of(AddressAndPortDependent, AddressAndPortDependent);

pairs! {
    full_full: FULL, FULL, true;
    full_address: FULL, ADDRESS, true;
    full_port: FULL, PORT, true;
    full_symmetric: FULL, SYMMETRIC, true;
    address_address: ADDRESS, ADDRESS, true;
    address_port: ADDRESS, PORT, true;
    address_symmetric: ADDRESS, SYMMETRIC, true;
    port_port: PORT, PORT, true;
    port_symmetric: PORT, SYMMETRIC, false;
    symmetric_full: SYMMETRIC, FULL, true;
    symmetric_address: SYMMETRIC, ADDRESS, true;
    symmetric_port: SYMMETRIC, PORT, false;
    symmetric_symmetric: SYMMETRIC, SYMMETRIC, false;
    home_home: Nat::home(), Nat::home(), true;
    home_cgnat: Nat::home(), Nat::cgnat(), true;
    home_cloud: Nat::home(), Nat::cloud(), false;
    cgnat_cloud: Nat::cgnat(), Nat::cloud(), true;
    cloud_cloud: Nat::cloud(), Nat::cloud(), false;
}

#[netns_test(
    nodes(host, neighbour, stun),
    routers(home { nat = home, uplink = cgnat }, cgnat { nat = cgnat, uplink = stun }),
    switches(lan),
    links(
        host -- lan { prefix = "192.168.1.0/24" },
        neighbour -- lan,
        home -- lan,
        home -- cgnat { prefix = "100.64.0.0/24" },
        cgnat -- stun { prefix = "203.0.113.0/24", cgnat = "203.0.113.1", stun = ["203.0.113.2", "203.0.113.3"] },
    ),
    family = v4,
)]
async fn a_cgnat_in_front_of_a_nat(
    host: Node,
    neighbour: Node,
    stun: Node,
    home: Router,
    cgnat: Router,
) -> io::Result<()> {
    let found = classify(&Stun::new(&stun).await?, &host, &neighbour).await?;
    let expected = Found {
        mapping: EndpointIndependent,
        // The stricter of the two.
        filtering: AddressAndPortDependent,
        port_preservation: false,
        // The outer one does, and the inner one has not spoken to that outer address.
        hairpinning: false,
    };
    assert_eq!(found, expected);
    let inner = home.mappings()?;
    for outer in cgnat.mappings()? {
        assert_eq!(outer.outside.ip(), &Ipv4Addr::new(203, 0, 113, 1));
        let leads_to = inner.iter().find(|mapping| mapping.outside == outer.inside);
        assert!(leads_to.is_some(), "{outer} leads to none of {inner:?}");
    }
    Ok(())
}

#[netns_test(topology = behind(Nat::home()))]
async fn two_that_use_one_port_have_one_each_outside(
    host: Node,
    neighbour: Node,
    stun: Node,
    gateway: Router,
) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let sockets = [host.bind_udp("0.0.0.0:5000").await?, neighbour.bind_udp("0.0.0.0:5000").await?];
    // To different addresses, where conntrack would see nothing in the way.
    let first = stun.sees(&sockets[0], 0, 0).await?;
    let second = stun.sees(&sockets[1], 1, 1).await?;
    assert_eq!(first, "203.0.113.1:5000".parse().unwrap());
    assert_eq!(second, "203.0.113.1:1024".parse().unwrap());
    assert_eq!(stun.sees(&sockets[1], 0, 0).await?, second);
    let mappings = gateway.mappings()?;
    let texts: Vec<String> = mappings.iter().map(ToString::to_string).collect();
    let expected = [(&host, 5000), (&neighbour, 1024)]
        .map(|(node, port)| format!("udp {}:5000 -> 203.0.113.1:{port}", node.ip4()));
    assert_eq!(texts, expected);
    Ok(())
}

#[netns_test(topology = behind(Nat::cloud()))]
async fn tcp_is_translated_and_answers(host: Node, stun: Node, gateway: Router) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = stun.listen_tcp("0.0.0.0:80").await?;
    let mut ports = Vec::new();
    for ip in STUN {
        let mut out = host.connect_tcp((ip, 80)).await?;
        let (mut inc, peer) = listener.accept().await?;
        assert_eq!(peer.ip(), Ipv4Addr::new(203, 0, 113, 1));
        ports.push(peer.port());
        inc.write_all(b"hello").await?;
        let mut buffer = [0; 5];
        out.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"hello");
        let mapping = gateway.mappings()?.into_iter().find(|one| one.outside.port() == peer.port()).unwrap();
        assert_eq!(
            (mapping.protocol, mapping.inside),
            (
                Protocol::Tcp,
                match out.local_addr()? {
                    SocketAddr::V4(inside) => inside,
                    other => panic!("{other}"),
                }
            )
        );
        assert_eq!((mapping.peer, mapping.peer_port), (Some(ip), Some(80)));
    }
    assert_eq!(ports, [1024, 1025]);
    Ok(())
}

#[netns_test(topology = behind(Nat::cgnat().udp_timeout(Duration::from_secs(3))))]
async fn a_mapping_without_packets_is_forgotten(host: Node, stun: Node, gateway: Router) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let seen = stun.sees(&socket, 0, 0).await?;
    stun.sockets[1][1].send_to(b"hello", seen).await?;
    assert_eq!(receive(&socket).await?.0, "hello");
    let routed = gateway.clone();
    gateway.wait_until("no mapping", |_| Ok(routed.mappings()?.is_empty())).await?;
    stun.sockets[0][0].send_to(b"too late", seen).await?;
    stun.sockets[1][1].send_to(b"too late", seen).await?;
    assert_eq!(stun.received_before_answer(&socket).await?, []);
    assert_ne!(stun.sees(&socket, 0, 0).await?, seen);
    Ok(())
}

#[netns_test(topology = behind(Nat::home()))]
async fn packets_of_both_directions_keep_a_mapping(
    host: Node,
    stun: Node,
    gateway: Router,
) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let seen = stun.sees(&socket, 0, 0).await?;
    let left = || io::Result::Ok(gateway.mappings()?[0].expires);
    assert!(left()? > Duration::from_secs(200), "{:?}", left()?);
    for outwards in [true, false] {
        let mut before = left()?;
        gateway
            .wait_until("time that passes", |_| {
                let now = left()?;
                let passed = now + Duration::from_secs(1) < before;
                before = if passed { now } else { before };
                Ok(passed)
            })
            .await?;
        match outwards {
            true => drop(stun.sees(&socket, 0, 0).await?),
            false => {
                stun.sockets[0][0].send_to(b"in", seen).await?;
                receive(&socket).await?;
            }
        }
        assert!(left()? > before, "{:?} {before:?}", left()?);
    }
    Ok(())
}

#[netns_test(topology = behind(Nat::cgnat()))]
async fn a_router_that_is_flushed_knows_nobody(host: Node, stun: Node, gateway: Router) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let seen = stun.sees(&socket, 0, 0).await?;
    gateway.flush_nat()?;
    assert_eq!(gateway.mappings()?, []);
    stun.sockets[0][0].send_to(b"unknown", seen).await?;
    assert_eq!(stun.received_before_answer(&socket).await?, []);
    // Nothing is kept but the count of what was given out.
    assert_ne!(stun.sees(&socket, 0, 0).await?, seen);
    Ok(())
}

#[netns_test(topology = behind(Nat::home()))]
fn what_is_behind_a_nat_is_not_routed(host: Node, stun: Node, gateway: Router) -> io::Result<()> {
    // The names of both resolve everywhere; there is no way to the inner address.
    let error = stun.blocking_connect_tcp("host:80").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    let default = |node: &Node| -> io::Result<Vec<_>> {
        let routes = node.routes()?.into_iter().filter(|route| route.prefix_len == 0);
        Ok(routes.filter_map(|route| route.gateway).collect())
    };
    assert_eq!(default(&host)?, [gateway.interface("eth0")?.addresses()?[0].ip]);
    assert!(default(&stun)?.is_empty() && default(&gateway)?.is_empty());
    Ok(())
}

#[netns_test(topology = behind(Nat::home()))]
async fn two_that_send_at_once_need_no_luck(host: Node, stun: Node) -> io::Result<()> {
    // What comes in first is dropped before it can take the place of what goes out.
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let outer = "203.0.113.1:5000".parse::<SocketAddr>().unwrap();
    stun.sockets[1][1].send_to(b"early", outer).await?;
    // On its way once an answer to something sent later is there.
    assert_eq!(stun.received_before_answer(&socket).await?, []);
    assert_eq!(stun.sees(&socket, 1, 1).await?, outer);
    Ok(())
}

#[netns_test(nodes(a, b), routers(r), links(a -- r, r -- b))]
fn a_router_without_nat_has_no_mappings(r: Router) {
    let text = r.mappings().unwrap_err().to_string();
    assert!(text.starts_with("failed to list the mappings of `r`: it has no NAT"), "{text}");
    assert!(r.flush_nat().is_err() && r.nat().is_none());
}

#[netns_test(
    nodes(host, server),
    routers(gateway { uplink = server }),
    links(host -- gateway, gateway -- server),
    matrix(family = [v4, dual], gateway.nat = [none, home, corporate, cgnat, cloud]),
)]
async fn every_kind_lets_the_web_out(host: Node, server: Node, gateway: Router) -> io::Result<()> {
    let listener = server.listen_tcp((server.ip4(), 443)).await?;
    let _out = host.connect_tcp((server.ip4(), 443)).await?;
    let (_, peer) = listener.accept().await?;
    match gateway.nat() {
        Some(_) => assert_eq!(peer, gateway.mappings()?[0].outside.into()),
        None => assert_eq!(peer.ip(), host.ip4()),
    }
    Ok(())
}

/// A router whose settings turn out to be read-only, as in some containers, keeps its rules and says what they are.
#[netns_test(topology = behind(Nat::home()))]
async fn a_change_that_is_refused_half_way_changes_nothing(
    host: Node,
    stun: Node,
    gateway: Router,
) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let kept = stun.sees(&socket, 0, 0).await?;
    let before = gateway.mappings()?;
    // Hosts have mounts of their own elsewhere below /proc/sys.
    let settings = "/proc/sys/net";
    mount(Some(settings), settings, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    // Flags that are not repeated would be cleared, which a user namespace may not do.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(None::<&str>, settings, None::<&str>, read_only, None::<&str>)?;
    for refused in [gateway.set_nat(Nat::cgnat()), gateway.set_firewall(Firewall::Corporate)] {
        let error = refused.expect_err("a setting is refused").to_string();
        assert!(error.contains("of `gateway`") && error.contains("Read-only file system"), "{error}");
        assert_eq!((gateway.nat(), gateway.firewall()), (Some(Nat::home()), Firewall::Open));
        assert_eq!(stun.sees(&socket, 0, 0).await?, kept);
        let now = gateway.mappings()?;
        assert_eq!((now.len(), now[0].outside), (before.len(), before[0].outside));
    }
    umount(settings)?;
    let changed = gateway.set_nat(Nat::cgnat())?;
    assert_eq!(stun.sees(&socket, 0, 0).await?.port(), 1024);
    changed.repair()?;
    assert_eq!(stun.sees(&socket, 0, 0).await?, kept);
    Ok(())
}

/// The settings of a router that concern translation, which are the kernel's own where it does not translate.
fn settings(router: &Router) -> io::Result<Vec<String>> {
    let names = [
        "net/ipv4/conf/all/send_redirects",
        "net/ipv4/conf/default/send_redirects",
        "net/ipv4/conf/eth0/send_redirects",
        "net/ipv4/conf/eth1/send_redirects",
        "net/netfilter/nf_conntrack_udp_timeout",
        "net/netfilter/nf_conntrack_udp_timeout_stream",
        "net/netfilter/nf_conntrack_tcp_timeout_established",
    ];
    names.map(|name| router.sysctl(name)).into_iter().collect()
}

#[netns_test(
    nodes(host, server),
    routers(gateway { firewall = open, uplink = server }),
    links(host -- gateway, gateway -- server),
    family = v4,
)]
fn settings_are_as_before_where_a_router_does_not_translate(gateway: Router) -> io::Result<()> {
    let before = settings(&gateway)?;
    let nat = Nat::cgnat().udp_timeout(Duration::from_secs(77));
    // The settings of conntrack, which come last, turn out to be read-only. Each network has its own, and so its own place to mount on.
    let error = gateway.enter(|| {
        let last = "/proc/sys/net/netfilter";
        mount(Some(last), last, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
        mount(None::<&str>, last, None::<&str>, read_only, None::<&str>)?;
        let refused = gateway.set_nat(nat.clone()).expect_err("a setting is refused");
        umount(last)?;
        io::Result::Ok(refused.to_string())
    })?;
    assert!(error.contains("nf_conntrack_") && error.contains("Read-only file system"), "{error}");
    // What was written before is put back.
    assert!(!error.contains("and then"), "{error}");
    assert_eq!((settings(&gateway)?, gateway.nat()), (before.clone(), None));

    // As they are when a router has translated for a while.
    let changed = gateway.set_nat(nat)?;
    let translates = settings(&gateway)?;
    assert!(translates != before && translates[..5] == ["0", "0", "0", "0", "77"], "{translates:?}");
    let other = gateway.set_nat(Nat::home())?;
    other.repair()?;
    assert_eq!(settings(&gateway)?, translates);
    changed.repair()?;
    assert_eq!(settings(&gateway)?, before);
    Ok(())
}

/// Has the kernel refuse what the calling thread sends with these lengths (seccomp(2)).
fn refuse_to_send(length: u32) {
    let filter = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    // The number of the call is at 0 of `struct seccomp_data`, the lower half of its third argument at 32.
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    let mut program = [
        filter(LOAD, 0, 0, 0),
        filter(IS, 0, 3, libc::SYS_sendto as u32),
        filter(LOAD, 0, 0, 32),
        filter(IS, 0, 1, length),
        filter(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        filter(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads the program, which is there until it returns.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            + libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// The rules are there already when the connections of the other NAT cannot be forgotten.
#[netns_test(topology = behind(Nat::home()))]
async fn a_change_whose_flush_alone_is_refused_is_undone(
    host: Node,
    stun: Node,
    gateway: Router,
) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let kept = stun.sees(&socket, 0, 0).await?;
    let before = settings(&gateway)?;
    let inside = gateway.clone();
    let refused = gateway.spawn_thread("refused", move || {
        // A message that says to forget all connections is a header of netlink(7), and one of netfilter's.
        refuse_to_send(16 + 4);
        let changed = inside.set_nat(Nat::cgnat().udp_timeout(Duration::from_secs(77)));
        changed.expect_err("the flush is refused").to_string()
    });
    let error = refused.await.expect("it does not panic");
    assert!(error.contains("flush the connections of `gateway`"), "{error}");
    assert!(error.contains("Operation not permitted") && !error.contains("and then"), "{error}");
    assert_eq!((gateway.nat(), settings(&gateway)?), (Some(Nat::home()), before));
    // It goes on as it was declared: ports are kept, old ones and new ones.
    assert_eq!(stun.sees(&socket, 0, 0).await?, kept);
    let other = host.bind_udp("0.0.0.0:5001").await?;
    assert_eq!(stun.sees(&other, 1, 1).await?.port(), 5001);
    let changed = gateway.set_nat(Nat::cgnat())?;
    assert_eq!(stun.sees(&socket, 0, 0).await?.port(), 1024);
    changed.repair()?;
    assert_eq!(stun.sees(&socket, 0, 0).await?, kept);
    Ok(())
}

/// The kernel's rules, whatever is declared, as nft(8) understands them.
#[cfg(feature = "programs")]
#[netns_test(topology = behind(Nat::home()))]
async fn nft_lists_what_the_router_does(host: Node, stun: Node, gateway: Router) -> io::Result<()> {
    let stun = Stun::new(&stun).await?;
    let socket = host.bind_udp("0.0.0.0:5000").await?;
    let all = [EndpointIndependent, AddressDependent, AddressAndPortDependent];
    let every = all.into_iter().flat_map(|mapping| all.map(|filtering| (mapping, filtering)));
    for (mapping, filtering) in every {
        let changed = gateway.set_nat(of(mapping, filtering).hairpinning(true))?;
        stun.sees(&socket, 0, 0).await?;
        let output = gateway.command("nft").args(["list", "ruleset"]).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        // What it cannot list, it leaves out of the rule, and says so there.
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{mapping:?}, {filtering:?}: {output:?}"
        );
        for line in [
            "udp . 192.168.1.1 . 5000 ",
            "udp . 5000 ",
            " : 192.168.1.1 . 5000 }",
            "iifname \"eth0\" oifname \"eth1\" jump claim",
            "dnat ip to meta l4proto . th dport map @ports",
            "comment \"not mapped\"",
        ] {
            assert!(text.contains(line), "no {line} in {text}");
        }
        let has_permitted = text.contains("udp . 5000 . 203.0.113.2");
        assert_eq!(has_permitted, filtering == AddressDependent, "{text}");
        changed.repair()?;
    }
    Ok(())
}
