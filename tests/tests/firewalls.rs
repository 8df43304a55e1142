//! Firewalls: what begins outside stays outside, and what begins inside gets as far as was declared, in IPv4 and IPv6.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Duration;

use netns_test::{Firewall, Nat, Node, Router, Topology, netns_test};
use netns_test_tests::rerun;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// After so long a datagram counts as lost. One that is not lost arrives within milliseconds.
const LOST: Duration = Duration::from_secs(15);

async fn receive(socket: &UdpSocket) -> io::Result<String> {
    let mut buffer = [0; 64];
    let len = timeout(LOST, socket.recv(&mut buffer)).await??;
    Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

fn guarded(firewall: Firewall) -> Topology {
    let mut network = Topology::new();
    network.node("inside").node("outside");
    network.router("gate").firewall(firewall).uplink("outside");
    network.link("inside", "gate");
    network.link("gate", "outside");
    network
}

/// Both addresses of a node.
fn both(node: &Node) -> [IpAddr; 2] {
    [node.ip4().into(), node.ip6().into()]
}

async fn tcp_passes(from: &Node, to: &Node, port: u16) -> io::Result<()> {
    for ip in both(to) {
        let listener = to.listen_tcp((ip, port)).await?;
        let _out = from.connect_tcp((ip, port)).await?;
        let (_, peer) = listener.accept().await?;
        assert!(both(from).contains(&peer.ip()), "{peer}");
    }
    Ok(())
}

async fn udp_passes(from: &Node, to: &Node, port: u16) -> io::Result<()> {
    for (ip, own) in both(to).into_iter().zip(both(from)) {
        let far = to.bind_udp((ip, port)).await?;
        let near = from.bind_udp((own, 0)).await?;
        near.send_to(b"question", (ip, port)).await?;
        assert_eq!(receive(&far).await?, "question");
        far.send_to(b"answer", near.local_addr()?).await?;
        assert_eq!(receive(&near).await?, "answer");
    }
    Ok(())
}

/// What a packet meets that may not go out: ICMP's "administratively prohibited", as Linux tells it to a socket.
const PROHIBITED: [ErrorKind; 2] = [ErrorKind::HostUnreachable, ErrorKind::PermissionDenied];

async fn tcp_is_refused(from: &Node, to: &Node, port: u16) -> io::Result<()> {
    for (ip, refusal) in both(to).into_iter().zip(PROHIBITED) {
        let _listener = to.listen_tcp((ip, port)).await?;
        let error = from.connect_tcp((ip, port)).await.expect_err("a refusal");
        assert_eq!(error.kind(), refusal, "{ip}: {error}");
    }
    Ok(())
}

async fn udp_is_refused(from: &Node, to: &Node, port: u16) -> io::Result<()> {
    for ((ip, own), refusal) in both(to).into_iter().zip(both(from)).zip(PROHIBITED) {
        let near = from.bind_udp((own, 0)).await?;
        near.connect((ip, port)).await?;
        near.send(b"question").await?;
        let error = receive(&near).await.expect_err("a refusal");
        assert_eq!(error.kind(), refusal, "{ip}: {error}");
    }
    Ok(())
}

/// A datagram from outside does not come in, until somebody inside has sent there.
async fn nothing_begins_outside(inside: &Node, outside: &Node) -> io::Result<()> {
    for (ip, own) in both(outside).into_iter().zip(both(inside)) {
        // A port that all firewalls let out to.
        let far = outside.bind_udp((ip, 53)).await?;
        let near = inside.bind_udp((own, 4000)).await?;
        far.send_to(b"early", (own, 4000)).await?;
        near.send_to(b"question", (ip, 53)).await?;
        assert_eq!(receive(&far).await?, "question");
        far.send_to(b"answer", (own, 4000)).await?;
        assert_eq!(receive(&near).await?, "answer");
    }
    Ok(())
}

#[netns_test(topology = guarded(Firewall::Stateful))]
async fn a_stateful_firewall_lets_everything_out_and_answers_in(
    inside: Node,
    outside: Node,
    gate: Router,
) -> io::Result<()> {
    assert_eq!(gate.firewall(), Firewall::Stateful);
    nothing_begins_outside(&inside, &outside).await?;
    for port in [22, 80] {
        tcp_passes(&inside, &outside, port).await?;
        udp_passes(&inside, &outside, port).await?;
    }
    Ok(())
}

#[netns_test(topology = guarded(Firewall::Corporate))]
async fn a_corporate_firewall_lets_the_web_and_dns_out(inside: Node, outside: Node) -> io::Result<()> {
    nothing_begins_outside(&inside, &outside).await?;
    for port in [53, 80, 443] {
        tcp_passes(&inside, &outside, port).await?;
    }
    udp_passes(&inside, &outside, 53).await?;
    tcp_is_refused(&inside, &outside, 22).await?;
    for port in [80, 443, 4000] {
        udp_is_refused(&inside, &outside, port).await?;
    }
    Ok(())
}

#[netns_test(topology = guarded(Firewall::NoUdp))]
async fn a_firewall_against_udp_lets_dns_out(inside: Node, outside: Node) -> io::Result<()> {
    nothing_begins_outside(&inside, &outside).await?;
    for port in [22, 443] {
        tcp_passes(&inside, &outside, port).await?;
        udp_is_refused(&inside, &outside, port).await?;
    }
    udp_passes(&inside, &outside, 53).await
}

#[netns_test(topology = guarded(Firewall::Open))]
async fn an_open_router_is_none(inside: Node, outside: Node) -> io::Result<()> {
    tcp_passes(&outside, &inside, 22).await?;
    udp_passes(&outside, &inside, 22).await
}

#[netns_test(
    nodes(inside, outside),
    routers(
        home { nat = home, uplink = outside },
        office { nat = corporate, uplink = outside },
        open { nat = home, firewall = open, uplink = outside },
    ),
    switches(lan),
    links(inside -- lan, home -- lan, office -- lan, open -- lan, home -- outside, office -- outside, open -- outside),
)]
fn every_kind_of_nat_has_its_firewall(inside: Node, home: Router, office: Router, open: Router) {
    let kinds = [&home, &office, &open].map(|router| (router.firewall(), router.nat()));
    assert_eq!(kinds[0], (Firewall::Stateful, Some(Nat::home())));
    assert_eq!(kinds[1], (Firewall::Corporate, Some(Nat::corporate())));
    assert_eq!(kinds[2], (Firewall::Open, Some(Nat::home())));
    assert!(inside.routes().is_ok());
}

/// IPv6 is not translated: it goes as far as the firewall lets it.
#[netns_test(
    nodes(inside, outside),
    routers(gate { nat = home, firewall = open, uplink = outside }),
    links(inside -- gate, gate -- outside),
)]
async fn ipv6_is_not_translated(inside: Node, outside: Node) -> io::Result<()> {
    let listener = outside.listen_tcp("[::]:80").await?;
    let _v6 = inside.connect_tcp((inside_to(&outside, 1), 80)).await?;
    assert_eq!(listener.accept().await?.1.ip(), IpAddr::from(inside.ip6()));
    let _v4 = inside.connect_tcp((inside_to(&outside, 0), 80)).await?;
    let peer = listener.accept().await?.1.ip().to_canonical();
    assert!(peer.is_ipv4() && peer != IpAddr::from(inside.ip4()), "{peer}");
    let listener = inside.listen_tcp((inside.ip6(), 80)).await?;
    let _back = outside.connect_tcp((inside.ip6(), 80)).await?;
    listener.accept().await?;
    Ok(())
}

fn inside_to(node: &Node, family: usize) -> IpAddr {
    both(node)[family]
}

#[netns_test(
    nodes(app, db, user),
    routers(edge),
    links(user -- edge, edge -- app, app.db -- db { private }, edge -- db { private }),
)]
async fn a_private_link_is_known_to_those_on_it(app: Node, db: Node, user: Node) -> io::Result<()> {
    tcp_passes(&user, &app, 80).await?;
    let private = db.interface("eth0")?.addresses()?;
    for address in private.iter().filter(|address| !address.ip.to_string().starts_with("fe80")) {
        let listener = db.listen_tcp((address.ip, 5432)).await?;
        let _out = app.connect_tcp((address.ip, 5432)).await?;
        listener.accept().await?;
        let error = user.connect_tcp((address.ip, 5432)).await.expect_err("no way");
        assert!(
            matches!(error.kind(), ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable),
            "{error}"
        );
    }
    assert!(db.routes()?.iter().all(|route| route.gateway.is_none()));
    Ok(())
}

#[netns_test(
    nodes(inside, outside),
    routers(gate { nat = home, uplink = outside }),
    links(inside -- gate, gate -- outside),
)]
#[ignore = "fails on purpose"]
async fn a_closed_gate(inside: Node, outside: Node, gate: Router) -> io::Result<()> {
    let far = outside.bind_udp((outside.ip6(), 4000)).await?;
    far.send_to(b"in", (inside.ip6(), 4000)).await?;
    let far = outside.bind_udp((outside.ip4(), 4000)).await?;
    let uplink = gate.interface("eth1")?.addresses()?;
    let outer = uplink.iter().map(|address| address.ip).find(IpAddr::is_ipv4).expect("an address");
    far.send_to(b"in", (outer, 4000)).await?;
    // Behind the answers to what is sent later, nothing is on its way.
    for (ip, own) in both(&outside).into_iter().zip(both(&inside)) {
        let (near, far) = (inside.bind_udp((own, 0)).await?, outside.bind_udp((ip, 53)).await?);
        near.send_to(b"question", (ip, 53)).await?;
        let (_, seen) = far.recv_from(&mut [0; 8]).await?;
        far.send_to(b"answer", seen).await?;
        assert_eq!(receive(&near).await?, "answer");
    }
    panic!("nothing came");
}

#[test]
fn a_report_tells_what_a_router_has_stopped() {
    for outcome in [rerun("a_closed_gate").run(), rerun("a_closed_gate").as_ordinary_user().run()] {
        outcome.failed_with(&[
            "gate  1 packet was stopped by its firewall: begins outside\n",
            "1 packet was stopped by its NAT: not mapped\n",
        ]);
    }
}
