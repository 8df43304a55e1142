//! Redirection to transparent proxies.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use netns_test::kubernetes::{Cluster, Pod, Redirect, original_destination, set_transparent};
use netns_test::{Node, netns_test};
use netns_test_tests::rerun;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The mark of the proxies here, and the ports that they listen on.
pub(crate) const MARK: u32 = 0x539;
pub(crate) const OUTBOUND: u16 = 15001;
pub(crate) const INBOUND: u16 = 15006;

/// A proxy's own connection from a node: with its mark, and with another's address if that is wanted.
pub(crate) async fn connect(node: &Node, to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = node.enter(|| if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() })?;
    setsockopt(&socket, sockopt::Mark, &MARK)?;
    if let Some(from) = from {
        set_transparent(&socket)?;
        socket.bind((from, 0).into())?;
    }
    socket.connect(to).await
}

/// The two listeners of a proxy on a node, or on a gateway.
pub(crate) async fn proxy_at(node: &Node) -> io::Result<[TcpListener; 2]> {
    let mut listeners = Vec::new();
    for port in [OUTBOUND, INBOUND] {
        let listener = node.listen_tcp(("::".parse::<IpAddr>().unwrap(), port)).await?;
        set_transparent(&listener)?;
        listeners.push(listener);
    }
    Ok(listeners.try_into().expect("two"))
}

/// Takes a connection that was redirected as it was sent: from whom, and to whom.
pub(crate) async fn takes(
    proxy: &TcpListener,
    client: &mut TcpStream,
    from: IpAddr,
    to: SocketAddr,
) -> io::Result<()> {
    let (mut inside, peer) = proxy.accept().await?;
    assert_eq!((peer.ip().to_canonical(), plain(inside.local_addr()?)), (from, to));
    is_carried(client, &mut inside).await
}

/// A proxy's connections on to the application: with the client's address, and with that of where the proxy runs.
pub(crate) async fn goes_on(
    proxy: &Node,
    to: SocketAddr,
    app: &TcpListener,
    client: IpAddr,
) -> io::Result<()> {
    for (from, seen) in [(Some(client), client), (None, of_family(proxy, to.ip()))] {
        let mut on = connect(proxy, to, from).await?;
        let (mut at_app, peer) = app.accept().await?;
        assert_eq!(peer.ip().to_canonical(), seen, "whom the application sees");
        is_carried(&mut on, &mut at_app).await?;
    }
    Ok(())
}

/// Services are redirected before they are balanced.
pub(crate) async fn takes_services(cluster: &Cluster, captured: &Pod, proxy: &TcpListener) -> io::Result<()> {
    let _pod = cluster.node(1).pod("web").label("app", "web").start()?;
    let web = cluster.service("web").port(80, 80).selector("app", "web").create()?;
    let _client = captured.connect_tcp("web:80").await?;
    let (inside, _) = proxy.accept().await?;
    assert_eq!(inside.local_addr()?, SocketAddr::new(web.ip(), 80));
    Ok(())
}

/// Sends through a connection, and through what stands at its other end, to and fro.
pub(crate) async fn is_carried(one: &mut TcpStream, other: &mut TcpStream) -> io::Result<()> {
    one.write_all(b"ping").await?;
    let mut buffer = [0; 4];
    other.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"ping");
    other.write_all(b"pong").await?;
    one.read_exact(&mut buffer).await?;
    assert_eq!(&buffer, b"pong");
    Ok(())
}

/// A descriptor that came over a socket.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: it has just been received, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

pub(crate) fn addresses(node: &Node) -> [IpAddr; 2] {
    [node.ip4().into(), node.ip6().into()]
}

pub(crate) fn of_family(node: &Node, ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { node.ip4().into() } else { node.ip6().into() }
}

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, uncaptured = 0, server = 1)))]
async fn outbound_connections_go_to_the_proxy(
    cluster: Cluster,
    captured: Pod,
    uncaptured: Pod,
    server: Pod,
) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    let proxy = captured.listen_tcp(("::".parse::<IpAddr>().unwrap(), OUTBOUND)).await?;
    captured.redirect(Redirect::in_pod().outbound(OUTBOUND).unless_mark(MARK))?;
    for ip in addresses(&server) {
        let mut client = captured.connect_tcp((ip, 80)).await?;
        let (mut inside, peer) = proxy.accept().await?;
        assert_eq!(peer.ip().to_canonical(), of_family(&captured, ip));
        assert_eq!(original_destination(&inside)?, SocketAddr::new(ip, 80));
        // The proxy's own connection leaves.
        let mut outside = connect(&captured, (ip, 80).into(), None).await?;
        let (mut at_app, peer) = app.accept().await?;
        assert_eq!(peer.ip().to_canonical(), of_family(&captured, ip));
        is_carried(&mut client, &mut inside).await?;
        is_carried(&mut outside, &mut at_app).await?;

        // Beside it, one that is not captured.
        let mut straight = uncaptured.connect_tcp((ip, 80)).await?;
        let (mut at_app, _) = app.accept().await?;
        is_carried(&mut straight, &mut at_app).await?;
    }
    // Also of a service, by its own address.
    let web = cluster.service("web").port(80, 80).selector("app", "web").create()?;
    let _client = captured.connect_tcp("web:80").await?;
    let (inside, _) = proxy.accept().await?;
    assert_eq!(original_destination(&inside)?, SocketAddr::new(web.ip(), 80));
    // What the pod says to itself stays with it.
    let own = captured.listen_tcp(7000).await?;
    captured.connect_tcp(7000).await?;
    own.accept().await?;

    captured.end_redirection()?;
    captured.end_redirection()?;
    captured.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(app.accept().await?.1.ip(), captured.ip());
    Ok(())
}

/// Both ways to take an inbound connection, and the proxy's to the application with the client's own address.
#[netns_test(kubernetes(nodes = 2, pods(client = 0, server = 1)))]
async fn inbound_connections_keep_the_client_s_address(client: Pod, server: Pod) -> io::Result<()> {
    let app = server.listen_tcp("[::]:8080").await?;
    let _health = server.listen_tcp("[::]:15021").await?;
    let proxy = server.listen_tcp(("::".parse::<IpAddr>().unwrap(), INBOUND)).await?;
    set_transparent(&proxy)?;
    let redirect = || Redirect::in_pod().inbound(INBOUND).unless_mark(MARK).unless_port(15021);
    for (redirect, is_transparent) in [(redirect(), false), (redirect().transparent(), true)] {
        server.redirect(redirect)?;
        for ip in addresses(&server) {
            let own = of_family(&client, ip);
            let mut out = client.connect_tcp((ip, 8080)).await?;
            let (mut inside, peer) = proxy.accept().await?;
            assert_eq!(peer.ip().to_canonical(), own);
            match is_transparent {
                true => assert_eq!(plain(inside.local_addr()?), SocketAddr::new(ip, 8080)),
                false => assert_eq!(original_destination(&inside)?, SocketAddr::new(ip, 8080)),
            }
            is_carried(&mut out, &mut inside).await?;
            let mut on = connect(&server, (ip, 8080).into(), Some(own)).await?;
            let (mut at_app, peer) = app.accept().await?;
            assert_eq!(peer.ip().to_canonical(), own, "the application sees the client");
            is_carried(&mut on, &mut at_app).await?;
            // A port of the proxy's own.
            client.connect_tcp((ip, 15021)).await?;
        }
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(captured = 0, uncaptured = 0, server = 1)))]
async fn a_node_is_its_pods_gateway(
    cluster: Cluster,
    captured: Pod,
    uncaptured: Pod,
    server: Pod,
) -> io::Result<()> {
    let node = cluster.node(0);
    let app = server.listen_tcp("[::]:80").await?;
    let [proxy, inbound] = proxy_at(&node).await?;
    captured.redirect(Redirect::at_node().outbound(OUTBOUND).inbound(INBOUND))?;
    for ip in addresses(&server) {
        let own = of_family(&captured, ip);
        let mut client = captured.connect_tcp((ip, 80)).await?;
        takes(&proxy, &mut client, own, (ip, 80).into()).await?;
        goes_on(&node, (ip, 80).into(), &app, own).await?;
        uncaptured.connect_tcp((ip, 80)).await?;
        app.accept().await?;

        // And into the pod.
        let mut out = server.connect_tcp((own, 8080)).await?;
        takes(&inbound, &mut out, of_family(&server, ip), (own, 8080).into()).await?;
    }
    takes_services(&cluster, &captured, &proxy).await?;

    // A pod that comes after it, with its address and its interface, is captured by nobody.
    captured.delete()?;
    let next = node.pod("next").ip(captured.ip4()).start()?;
    next.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(app.accept().await?.1.ip(), next.ip());

    // A handle of the one that is gone has no power over one of its name.
    let again = node.pod("captured").start()?;
    again.redirect(Redirect::at_node().outbound(OUTBOUND))?;
    captured.delete()?;
    assert!(captured.end_redirection().is_err());
    let _client = again.connect_tcp((server.ip(), 80)).await?;
    assert_eq!(proxy.accept().await?.1.ip().to_canonical(), again.ip());
    Ok(())
}

/// The in-pod mode of an ambient mesh: the proxy runs on the node, and is handed the pod's namespace.
#[netns_test(kubernetes(nodes = 2, pods(captured = 0, server = 1)))]
async fn a_pod_s_namespace_is_handed_over(cluster: Cluster, captured: Pod, server: Pod) -> io::Result<()> {
    let (agent, proxy) = std::os::unix::net::UnixStream::pair()?;
    captured.send_netns(&agent, b"captured")?;
    let listening = cluster.node(0).spawn_thread("proxy", move || -> io::Result<std::net::TcpListener> {
        let mut text = [0; 64];
        let mut slices = [io::IoSliceMut::new(&mut text)];
        let mut space = nix::cmsg_space!([i32; 1]);
        let message = recvmsg::<()>(proxy.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
        let Some(ControlMessageOwned::ScmRights(descriptors)) = message.cmsgs()?.next() else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let namespace = owned(descriptors[0]);
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        let listener = std::net::TcpListener::bind(("::", OUTBOUND))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let listener = TcpListener::from_std(listening.join().expect("no panic")?)?;
    captured.wait_listening(OUTBOUND).await?;
    captured.redirect(Redirect::in_pod().outbound(OUTBOUND).unless_mark(MARK))?;
    let mut client = captured.connect_tcp((server.ip(), 80)).await?;
    let (mut inside, _) = listener.accept().await?;
    assert_eq!(original_destination(&inside)?, SocketAddr::new(server.ip(), 80));
    is_carried(&mut client, &mut inside).await?;
    assert!(captured.send_netns(&agent, b"").is_err());
    Ok(())
}

/// A sidecar runs as a user of its own. Where all is one user's, either everything is the proxy's own, or nothing.
#[netns_test(kubernetes(nodes = 1, pods(captured = 0, server = 0)))]
async fn a_proxy_is_told_apart_by_its_user(captured: Pod, server: Pod) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    let proxy = captured.listen_tcp(("::".parse::<IpAddr>().unwrap(), OUTBOUND)).await?;
    let own = nix::unistd::getuid().as_raw();
    captured.redirect(Redirect::in_pod().outbound(OUTBOUND).unless_user(own))?;
    captured.connect_tcp((server.ip(), 80)).await?;
    app.accept().await?;
    captured.redirect(Redirect::in_pod().outbound(OUTBOUND).unless_user(own + 1))?;
    captured.connect_tcp((server.ip(), 80)).await?;
    proxy.accept().await?;
    if own != 0 {
        // An ordinary user has no other's id to give.
        return Ok(());
    }
    let mut sidecar = std::process::Command::new("bash");
    sidecar.args(["-c", &format!("exec 3<>/dev/tcp/{}/80; echo hi >&3", server.ip4())]);
    std::os::unix::process::CommandExt::uid(&mut sidecar, 1);
    assert!(captured.adopt(sidecar).status().await?.success());
    let mut text = String::new();
    app.accept().await?.0.read_to_string(&mut text).await?;
    assert_eq!(text, "hi\n");
    Ok(())
}

/// In every arrangement, a connection that was there goes on; and new ones are refused, not let through, when the proxy has ended.
#[netns_test(kubernetes(nodes = 2, pods(captured = 0, gateway = 0, server = 1)))]
async fn only_what_begins_is_redirected_and_always(
    cluster: Cluster,
    captured: Pod,
    gateway: Pod,
    server: Pod,
) -> io::Result<()> {
    let own = captured.listen_tcp("[::]:8080").await?;
    let app = server.listen_tcp("[::]:80").await?;
    let in_pod = || Redirect::in_pod().unless_mark(MARK);
    for (redirect, at) in [
        (in_pod(), captured.as_node()),
        (in_pod().transparent(), captured.as_node()),
        (Redirect::at_node(), cluster.node(0).node()),
        (Redirect::by_way_of(&gateway), gateway.as_node()),
    ] {
        let [proxy, inbound] = proxy_at(at).await?;
        let mut before = Vec::new();
        for ip in addresses(&server) {
            let out = captured.connect_tcp((ip, 80)).await?;
            before.push((out, app.accept().await?.0));
            let out = server.connect_tcp((of_family(&captured, ip), 8080)).await?;
            before.push((out, own.accept().await?.0));
        }
        captured.redirect(redirect.clone().outbound(OUTBOUND).inbound(INBOUND))?;
        for (out, inside) in &mut before {
            is_carried(out, inside)
                .await
                .map_err(|error| io::Error::other(format!("{redirect:?}: {error}")))?;
        }
        for ip in addresses(&server) {
            let _out = captured.connect_tcp((ip, 80)).await?;
            proxy.accept().await?;
            let _out = server.connect_tcp((of_family(&captured, ip), 8080)).await?;
            inbound.accept().await?;
        }
        drop((proxy, inbound));
        for ip in addresses(&server) {
            for (from, to) in [(&captured, (ip, 80)), (&server, (of_family(&captured, ip), 8080))] {
                let error = from.connect_tcp(to).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{redirect:?}: {error}");
            }
        }
        for (out, inside) in &mut before {
            is_carried(inside, out).await?;
        }
        captured.end_redirection()?;
    }
    Ok(())
}

/// Rules that replace others leave no moment in which the application's connections pass the proxy by.
#[netns_test(kubernetes(nodes = 2, pods(captured = 0, server = 1)))]
async fn redirection_is_replaced_at_once(cluster: Cluster, captured: Pod, server: Pod) -> io::Result<()> {
    let app = server.listen_tcp("[::]:80").await?;
    for (redirect, at) in [
        (Redirect::in_pod().unless_mark(MARK), captured.as_node()),
        (Redirect::at_node(), cluster.node(0).node()),
    ] {
        let [proxy, _inbound] = proxy_at(at).await?;
        let redirect = redirect.outbound(OUTBOUND);
        captured.redirect(redirect.clone())?;
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let to = (server.ip(), 80);
        let connects = captured.spawn_thread("connects", move || {
            let mut count = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                std::net::TcpStream::connect(to)?;
                count += 1;
            }
            io::Result::Ok(count)
        });
        for round in 0..30 {
            captured.redirect(match round % 2 {
                0 => redirect.clone().inbound(INBOUND),
                _ => redirect.clone(),
            })?;
            proxy.accept().await?;
        }
        drop(stop);
        // Those that wait are taken, lest the last one wait for room.
        let taken = async {
            loop {
                drop(proxy.accept().await);
            }
        };
        let joined = tokio::task::spawn_blocking(move || connects.join().expect("no panic"));
        let count = tokio::select! {
            count = joined => count.expect("no panic")?,
            () = taken => unreachable!("it takes for ever"),
        };
        assert!(count >= 30);
        captured.end_redirection()?;
        let passed = std::future::poll_fn(|cx| std::task::Poll::Ready(app.poll_accept(cx).is_ready())).await;
        assert!(!passed, "a connection passed the proxy by");
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 2, pods(client = 0, near = 0, far = 1, deleted = 0)))]
async fn mistakes_are_told(client: Pod, near: Pod, far: Pod, deleted: Pod) -> io::Result<()> {
    deleted.delete()?;
    let _proxy = client.listen_tcp(OUTBOUND).await?;
    for (redirect, cause) in [
        (Redirect::in_pod(), "it redirects nothing: write `.outbound(15001)`"),
        (Redirect::in_pod().outbound(0).unless_mark(1), "the proxy's port is 0"),
        (Redirect::in_pod().outbound(OUTBOUND), "the proxy's own connections would be redirected to itself"),
        (
            Redirect::in_pod().outbound(OUTBOUND).unless_mark(0),
            "the mark is what packets without a mark have",
        ),
        (
            Redirect::in_pod().inbound(INBOUND),
            "nothing listens on port 15006 of `client`: start the proxy first, and wait for it with `wait_listening(15006)`",
        ),
        (Redirect::at_node().outbound(OUTBOUND), "nothing listens on port 15001 of `node-0`"),
        (
            Redirect::in_pod().outbound_udp(OUTBOUND).unless_mark(1),
            "nothing listens on UDP port 15001 of `client`: start the proxy first, and wait for it with `wait_bound_udp(15001)`",
        ),
        (
            Redirect::in_pod().outbound(OUTBOUND).unless_mark(1),
            "what listens on port 15001 of `client` does not take what would come to it over IPv6, at ::1: let it listen on \
             `[::]:15001`",
        ),
        (Redirect::in_pod().inbound_udp(INBOUND), "use `at_node` or `by_way_of` for `inbound_udp`"),
        (
            Redirect::at_node().outbound(OUTBOUND).unless_mark(1),
            "a packet's mark and user are not known outside of its pod: remove `unless_mark` and `unless_user`",
        ),
        (Redirect::by_way_of(&client).outbound(OUTBOUND), "`client` cannot be its own gateway: use `in_pod`"),
        (
            Redirect::by_way_of(&far).outbound(OUTBOUND),
            "the gateway `far` is on `node-1`, and `client` on `node-0`: start a gateway on each node",
        ),
        (Redirect::by_way_of(&near).outbound(OUTBOUND), "nothing listens on port 15001 of `near`"),
        (Redirect::by_way_of(&deleted).outbound(OUTBOUND), "the gateway `deleted` has been deleted"),
    ] {
        let message = client.redirect(redirect).unwrap_err().to_string();
        assert!(
            message.starts_with("failed to redirect the connections of `client`") && message.contains(cause),
            "{message}"
        );
    }
    Ok(())
}

#[netns_test(kubernetes(nodes = 1, pods(client = 0, server = 0)))]
#[ignore = "fails on purpose"]
async fn fails_beside_a_proxy(client: Pod, server: Pod) -> io::Result<()> {
    let proxy = client.listen_tcp(("::".parse::<IpAddr>().unwrap(), OUTBOUND)).await?;
    client.redirect(Redirect::in_pod().outbound(OUTBOUND).unless_mark(MARK))?;
    for ip in addresses(&server) {
        let mut out = client.connect_tcp((ip, 80)).await?;
        is_carried(&mut out, &mut proxy.accept().await?.0).await?;
    }
    Err(io::Error::other("on purpose"))
}

/// The answers of a proxy in the pod have the address that was asked, which the questions no longer have on the wire.
#[test]
fn connections_to_a_proxy_in_the_pod_are_not_reported_as_unanswered() {
    let outcome = rerun("redirect::fails_beside_a_proxy").run();
    outcome.failed_with(&["netns-test: the network of `redirect::fails_beside_a_proxy`", "on purpose"]);
    assert!(!outcome.stdout.contains("for a connection"), "{outcome}");
}
