//! A crash is silent: no FIN and no RST leaves the node, and nothing of it runs on. A restart has its name, addresses and data.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use netns_test::state::{Protocol, SocketState};
use netns_test::{Node, Router, netns_test};
use netns_test_tests::rerun;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A packet socket that sees all that comes to a node.
fn packet_socket(node: &Node) -> OwnedFd {
    node.enter(|| {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll)
            .expect("the test has the capability")
    })
}

/// The flags of the TCP segments that came from a MAC address since the last look.
fn flags(packets: &OwnedFd, from: [u8; 6]) -> Vec<u8> {
    let mut flags = Vec::new();
    let mut buffer = [0; 2048];
    while let Ok(length) = recv(packets.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
        let frame = &buffer[..length];
        // IPv4 without options (RFC 791), IPv6 without extension headers (RFC 8200), and TCP's flags (RFC 9293).
        let (protocol, tcp) = match frame[12..14] {
            [0x08, 0x00] => (frame[23], 34),
            [0x86, 0xdd] => (frame[20], 54),
            _ => continue,
        };
        if frame[6..12] == from && protocol == 6 {
            flags.push(frame[tcp + 13]);
        }
    }
    flags
}

const FIN_OR_RST: u8 = 0b101;

/// A program that echoes, this binary itself.
#[test]
#[ignore = "run as a program by a test"]
fn echo_program() {
    let listener = std::net::TcpListener::bind("[::]:70").expect("nobody else listens");
    for stream in listener.incoming() {
        let mut stream = stream.expect("it can be accepted");
        std::thread::spawn(move || {
            let mut buf = [0];
            while let Ok(1..) = stream.read(&mut buf) {
                stream.write_all(&buf).expect("the peer reads");
            }
        });
    }
}

async fn start(server: &Node) -> io::Result<netns_test::Child> {
    let mut program = server.command(std::env::current_exe()?);
    let program = program.args(["--exact", "echo_program", "--ignored", "--nocapture"]).spawn().await?;
    server.spawn(async || {
        let listener = TcpListener::bind("[::]:71").await.expect("nobody else listens");
        let mut streams = Vec::new();
        loop {
            streams.push(listener.accept().await.expect("it can be accepted"));
        }
    });
    for port in [70, 71] {
        server.wait_listening(port).await?;
    }
    Ok(program)
}

async fn echoes(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"x").await?;
    let mut buf = [0];
    stream.read_exact(&mut buf).await?;
    Ok(())
}

async fn crash_and_restart(client: &Node, server: &Node) -> io::Result<()> {
    let mac = server.interface("eth0")?.link()?.mac.expect("it has one");
    let packets = packet_socket(client);
    let data = server.data_dir()?;
    server.write("/etc/app.conf", "kept")?;
    server.write(data.join("log"), "kept, too")?;
    let program = start(server).await?;
    // Sockets of a program, of a task, of the body, of a thread.
    let mut of_program = client.connect_tcp("server:70").await?;
    echoes(&mut of_program).await?;
    let of_task = client.connect_tcp("server:71").await?;
    let listener = server.listen_tcp(72).await?;
    let of_body = client.connect_tcp("server:72").await?;
    let (mut accepted, _) = listener.accept().await?;
    let (tell, listens) = std::sync::mpsc::channel();
    let thread_s = server.clone();
    let thread = server.spawn_thread("accepts", move || {
        let listener = thread_s.blocking_listen_tcp(73).expect("nobody else listens");
        tell.send(()).expect("the body waits");
        listener.accept().expect_err("nobody connects").kind()
    });
    listens.recv().expect("it listens");
    let mut task = server.spawn(std::future::pending::<()>);
    flags(&packets, mac);

    let crashed = server.crash().await?;
    assert_eq!(crashed.left_behind(), [""; 0]);
    assert_eq!(program.try_wait().expect("it has ended").signal(), Some(9));
    assert!((&mut task).await.expect_err("it was dropped").is_cancelled());
    thread.join().expect("it did not panic");
    assert_eq!(server.sockets()?, []);
    // The test's own sockets in the node are told; the peers are not.
    assert_eq!(accepted.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionAborted);
    let open = client.sockets()?.iter().filter(|socket| socket.state == SocketState::Established).count();
    assert_eq!(open, 3);
    let refused = server.listen_tcp(72).await.expect_err("it is out");
    assert_eq!(refused.to_string(), "the node `server` has crashed");
    let refused = server.command("true").status().await.expect_err("it is out");
    assert!(refused.to_string().ends_with("it has crashed"), "{refused}");
    let again = server.crash().await.expect_err("it is out already");
    assert!(again.to_string().ends_with("it has crashed already"), "{again}");
    assert_eq!(flags(&packets, mac), []);

    crashed.restart()?;
    let _program = start(server).await?;
    assert_eq!(
        server.command("cat").arg("/etc/app.conf").arg(data.join("log")).output().await?.stdout,
        b"keptkept, too"
    );
    echoes(&mut client.connect_tcp("server:70").await?).await?;
    // Now the peers learn that nobody knows of their connections.
    flags(&packets, mac);
    for mut stream in [of_program, of_task, of_body] {
        stream.write_all(b"x").await?;
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert!(flags(&packets, mac).iter().any(|flags| flags & FIN_OR_RST != 0));
    Ok(())
}

#[netns_test(nodes = 2)]
async fn nothing_leaves_a_crashed_node(client: Node, server: Node) -> io::Result<()> {
    crash_and_restart(&client, &server).await
}

#[netns_test(nodes = 3)]
async fn nothing_leaves_a_crashed_node_on_a_switch(
    client: Node,
    server: Node,
    _other: Node,
) -> io::Result<()> {
    crash_and_restart(&client, &server).await
}

#[netns_test(nodes = 2, family = v4)]
fn plain_functions_crash_nodes_too(client: Node, server: Node) -> io::Result<()> {
    let listener = server.blocking_listen_tcp(7)?;
    let _open = client.blocking_connect_tcp("server:7")?;
    drop(server.blocking_crash()?);
    assert_eq!(listener.accept().unwrap_err().raw_os_error(), Some(nix::libc::EINVAL));
    let listener = server.blocking_listen_tcp(7)?;
    let _again = client.blocking_connect_tcp("server:7")?;
    listener.accept()?;
    Ok(())
}

#[netns_test(nodes = 1, run_in = host)]
async fn a_node_does_not_crash_itself(host: Node) {
    let error = host.crash().await.expect_err("the body runs there");
    assert!(error.to_string().ends_with("runs in the node itself"), "{error}");
}

#[netns_test(nodes(client, server), routers(r), links(client -- r, r -- server))]
async fn a_router_comes_back_as_it_was(client: Node, server: Node, r: Router) -> io::Result<()> {
    let listener = server.listen_tcp(80).await?;
    let crashed = r.crash().await?;
    let connecting = client.spawn(async || TcpStream::connect("server:80").await.map(drop));
    let asks = |node: &Node| Ok(node.sockets()?.iter().any(|socket| socket.state == SocketState::SynSent));
    client.wait_until("a connection without an answer", asks).await?;
    crashed.restart()?;
    connecting.await.expect("it does not panic")?;
    listener.accept().await?;
    Ok(())
}

#[netns_test(nodes = 2)]
async fn crashes_again_and_again(a: Node, b: Node) -> io::Result<()> {
    let socket = a.bind_udp(0).await?;
    for round in 0..10_u8 {
        b.spawn(async || {
            let socket = tokio::net::UdpSocket::bind("[::]:9").await.expect("nobody else binds it");
            let mut buf = [0];
            while let Ok((_, peer)) = socket.recv_from(&mut buf).await {
                socket.send_to(&buf, peer).await.expect("it can be sent");
            }
        });
        b.wait_bound_udp(9).await?;
        socket.send_to(&[round], (b.ip(), 9)).await?;
        let mut buf = [0];
        socket.recv(&mut buf).await?;
        assert_eq!(buf, [round]);
        b.crash().await?.restart()?;
        assert!(!b.sockets()?.iter().any(|socket| socket.protocol == Protocol::Udp));
    }
    Ok(())
}

#[netns_test(nodes = 2)]
async fn a_thread_that_blocks_is_told(_a: Node, b: Node) -> io::Result<()> {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = b.spawn_thread("sleeper", move || stopped.recv().is_err());
    let crashed = b.crash().await?;
    assert_eq!(crashed.left_behind().len(), 1, "{crashed:?}");
    assert!(crashed.left_behind()[0].contains("blocks"), "{crashed:?}");
    drop(stop);
    assert!(thread.join().expect("it does not panic"));
    crashed.restart()?;
    Ok(())
}

#[netns_test(nodes = 2)]
#[ignore = "fails on purpose"]
async fn fails_after_a_crash(_client: Node, server: Node) -> io::Result<()> {
    let _listener = server.listen_tcp(7).await?;
    let _crashed = server.crash().await?;
    server.run(async || ()).await;
    Ok(())
}

#[test]
fn work_for_a_crashed_node_says_so() {
    rerun("fails_after_a_crash").run().failed_with(&[
        "failed to use the node `server`: it has crashed",
        "ms: `server` has crashed (tests/tests/crash.rs:",
    ]);
}

/// Whether what listens on a port answers.
async fn answers(client: &Node, server: &Node, port: u16) -> io::Result<()> {
    server.wait_listening(port).await?;
    let mut out = client.connect_tcp((server.ip(), port)).await?;
    out.write_all(b"x").await?;
    assert_eq!(out.read_u8().await?, b'x');
    Ok(())
}

#[netns_test(nodes = 2)]
async fn what_was_started_runs_again_after_a_restart(client: Node, server: Node) -> io::Result<()> {
    let beginnings = Arc::new(AtomicU32::new(0));
    let (count, data) = (Arc::clone(&beginnings), server.data_dir()?);
    // A task, with what it had written before.
    server.start(async move || {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let file = data.join("last");
        let last = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(last, if number == 0 { String::new() } else { (number - 1).to_string() });
        std::fs::write(&file, number.to_string()).expect("its own directory");
        let listener = TcpListener::bind("[::]:7").await.expect("nobody else listens");
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let byte = stream.read_u8().await.expect("a byte");
            stream.write_u8(byte).await.expect("the peer reads");
        }
    });
    // A program.
    let node = server.clone();
    server.start(async move || {
        let mut program = node.command(std::env::current_exe().expect("this binary"));
        let program = program.args(["--exact", "echo_program", "--ignored", "--nocapture"]).spawn().await;
        let _killed = program.expect("it starts").wait().await;
    });
    for round in 1..=3 {
        answers(&client, &server, 7).await?;
        answers(&client, &server, 70).await?;
        assert_eq!(beginnings.load(Ordering::SeqCst), round);
        let crashed = server.crash().await?;
        assert!(!server.sockets()?.iter().any(|socket| socket.state == SocketState::Listen));
        match round % 2 {
            0 => crashed.restart()?,
            _ => drop(crashed),
        }
    }
    answers(&client, &server, 7).await?;
    answers(&client, &server, 70).await
}
