use std::{
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NetlinkHeader};
use nix::{
    errno::Errno,
    libc,
    sched::{CloneFlags, setns, unshare},
    unistd::gettid,
};

use super::diag::Family;
use super::{
    socket::{ExtendedAck, Messages, Reply},
    state::*,
    *,
};

// What is printed.

fn named(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        up: true,
        operstate: OperState::Up,
        carrier: true,
        qdisc: "noqueue".to_owned(),
        kind: Some("veth".to_owned()),
        controller: None,
        peer: Some(3),
        peer_namespace: None,
        stats: LinkStats::default(),
    }
}

fn v4(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> IpAddr {
    text.parse::<Ipv6Addr>().unwrap().into()
}

#[test]
fn a_link_prints_what_ip_prints() {
    assert_eq!(
        named(2, "eth0").to_string(),
        "2: eth0@if3 up state up mtu 1500 qdisc noqueue mac 02:00:00:00:00:01",
    );
}

#[test]
fn a_link_runs_when_it_is_up_and_has_a_queue() {
    let link = named(2, "eth0");
    assert!(link.is_running());
    assert!(!Link { up: false, ..link.clone() }.is_running());
    assert!(!Link { qdisc: "noop".to_owned(), ..link.clone() }.is_running());
    assert!(!Link { operstate: OperState::LowerLayerDown, ..link.clone() }.is_running());
    assert!(Link { operstate: OperState::Unknown, ..link }.is_running());
}

#[test]
fn addresses_and_routes_print_names_where_they_are_known() {
    let links = [named(2, "eth0")];
    let address = Address::new(2, v4("10.0.0.1"), 16);
    assert_eq!(address.to_string(), "inet 10.0.0.1/16 dev if2 scope global");
    assert_eq!(address.with_names(&links).to_string(), "inet 10.0.0.1/16 dev eth0 scope global");

    let route = Route::on_link(v4("10.0.0.0"), 16, 2).with_source(v4("10.0.0.1"));
    assert_eq!(route.with_names(&links).to_string(), "10.0.0.0/16 dev eth0 src 10.0.0.1");
    let route = Route { metric: 20, ..Route::via(v6("::"), 0, v6("2001:db8::1")).with_link(7) };
    assert_eq!(route.with_names(&links).to_string(), "default via 2001:db8::1 dev if7 metric 20");
    let route = Route { kind: RouteKind::Unreachable, ..Route::via(v4("10.9.0.1"), 32, v4("10.0.0.1")) };
    let route = Route { gateway: None, ..route };
    assert_eq!(route.to_string(), "unreachable 10.9.0.1");

    let hops = vec![NextHop { gateway: Some(v4("10.0.0.2")), link: 2, weight: 3 }];
    let route = Route { next_hops: hops, table: 100, ..Route::via(v4("10.1.0.0"), 16, v4("10.0.0.9")) };
    let route = Route { gateway: None, ..route };
    let text = "10.1.0.0/16 table 100 nexthop via 10.0.0.2 dev eth0 weight 3";
    assert_eq!(route.with_names(&links).to_string(), text);
}

#[test]
fn neighbours_print_what_ip_prints() {
    let silent = Neighbour { link: 2, ip: v4("10.0.0.2"), mac: None, state: NeighbourState::Failed };
    assert!(silent.is_silent());
    assert_eq!(silent.with_names(&[named(2, "eth0")]).to_string(), "10.0.0.2 dev eth0 FAILED");
    let known = Neighbour { mac: Some([2, 0, 0, 0, 0, 2]), state: NeighbourState::Reachable, ..silent };
    assert_eq!(known.to_string(), "10.0.0.2 dev if2 lladdr 02:00:00:00:00:02 REACHABLE");
}

fn listener(local: &str, v6_only: bool) -> Socket {
    Socket {
        protocol: Protocol::Tcp,
        state: SocketState::Listen,
        local: local.parse().unwrap(),
        remote: None,
        v6_only,
        link: None,
        inode: 1,
        uid: 0,
        recv_queue: 0,
        send_queue: 128,
        cookie: [0; 8],
    }
}

#[test]
fn a_socket_accepts_what_the_kernel_would_give_it() {
    let to = |text: &str| text.parse::<SocketAddr>().unwrap();
    assert!(listener("10.0.0.1:80", false).accepts(to("10.0.0.1:80")));
    assert!(!listener("10.0.0.1:80", false).accepts(to("10.0.0.2:80")));
    assert!(!listener("10.0.0.1:80", false).accepts(to("10.0.0.1:81")));
    assert!(listener("0.0.0.0:80", false).accepts(to("10.0.0.1:80")));
    assert!(!listener("0.0.0.0:80", false).accepts(to("[2001:db8::1]:80")));
    assert!(listener("[::]:80", false).accepts(to("10.0.0.1:80")));
    assert!(listener("[::]:80", true).accepts(to("[2001:db8::1]:80")));
    assert!(!listener("[::]:80", true).accepts(to("10.0.0.1:80")));
    assert!(listener("[::ffff:10.0.0.1]:80", false).accepts(to("10.0.0.1:80")));
    assert!(listener("[::ffff:0.0.0.0]:80", false).accepts(to("10.0.0.1:80")));
    assert!(!listener("[2001:db8::1]:80", false).accepts(to("10.0.0.1:80")));
    assert!(
        !Socket { state: SocketState::Closed, ..listener("0.0.0.0:80", false) }.accepts(to("10.0.0.1:80"))
    );
}

#[test]
fn a_socket_prints_what_ss_prints() {
    assert_eq!(listener("[::]:80", false).to_string(), "tcp LISTEN [::]:80");
    let connected = Socket {
        state: SocketState::Established,
        remote: Some("10.0.0.2:7".parse().unwrap()),
        recv_queue: 5,
        send_queue: 0,
        ..listener("10.0.0.1:40000", false)
    };
    assert_eq!(connected.to_string(), "tcp ESTAB 10.0.0.1:40000 10.0.0.2:7 recv-q 5");
}

#[test]
fn an_error_says_operation_kernel_text_and_errno() {
    let error = NetlinkError {
        operation: "create bridge `switch`".to_owned(),
        source: io::Error::from_raw_os_error(libc::EEXIST),
        kernel: Some("name taken".to_owned()),
    };
    assert_eq!(error.to_string(), "failed to create bridge `switch`: name taken: File exists (os error 17)",);
}

// The kernel's answers, decoded.

fn header(message_type: u16, flags: u16) -> NetlinkHeader {
    let mut header = NetlinkHeader::default();
    header.message_type = message_type;
    header.flags = flags;
    header
}

/// An `NLMSGERR_ATTR_OFFS` and an `NLMSGERR_ATTR_MSG`.
fn extended_ack(text: &str) -> Vec<u8> {
    let mut bytes = vec![8, 0, 2, 0, 9, 9, 9, 9];
    bytes.extend((text.len() as u16 + 5).to_ne_bytes());
    bytes.extend(1u16.to_ne_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

#[test]
fn a_refusal_carries_the_kernels_words_after_a_capped_or_a_whole_request() {
    let refused = Reply::Refused(
        libc::EINVAL,
        ExtendedAck { text: Some("no such thing".to_owned()), offset: Some(0x0909_0909) },
    );
    for (echo, capped) in [(16, NLM_F_CAPPED), (36, 0)] {
        let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
        let mut request = vec![0; echo];
        request[..4].copy_from_slice(&36u32.to_ne_bytes());
        payload.extend(request);
        payload.extend(extended_ack("no such thing."));
        assert_eq!(Reply::new(&header(NLMSG_ERROR, NLM_F_ACK_TLVS | capped), &payload).unwrap(), refused);
    }
    let mut payload = (-libc::EINVAL).to_ne_bytes().to_vec();
    payload.extend(extended_ack("no such thing"));
    assert_eq!(Reply::new(&header(NLMSG_DONE, NLM_F_ACK_TLVS), &payload).unwrap(), refused);
}

#[test]
fn an_acknowledgement_and_the_end_of_a_dump_are_no_refusals() {
    assert_eq!(Reply::new(&header(NLMSG_ERROR, 0), &[0; 20]).unwrap(), Reply::Done);
    assert_eq!(Reply::new(&header(NLMSG_DONE, 0), &[]).unwrap(), Reply::Done);
    assert_eq!(Reply::new(&header(libc::RTM_NEWLINK, 0), &[]).unwrap(), Reply::Data);
    assert!(Reply::new(&header(NLMSG_ERROR, 0), &[0; 2]).is_err());
}

#[test]
fn a_datagram_is_cut_into_messages_and_a_torn_one_is_an_error() {
    let mut bytes = Vec::new();
    for (sequence, payload) in [(7u32, &b"odd"[..]), (8, b"four")] {
        bytes.extend((16 + payload.len() as u32).to_ne_bytes());
        bytes.extend(16u16.to_ne_bytes());
        bytes.extend(0u16.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    let messages: Vec<_> = Messages(&bytes).map(Result::unwrap).collect();
    let found: Vec<_> = messages.iter().map(|(header, payload)| (header.sequence_number, *payload)).collect();
    assert_eq!(found, [(7, &b"odd"[..]), (8, b"four")]);
    bytes.truncate(bytes.len() - 1);
    assert!(Messages(&bytes).last().unwrap().is_err());
}

/// What the kernel has of these tables in this namespace, undecoded.
fn tables() -> Vec<Vec<u8>> {
    use netlink_packet_route::RouteNetlinkMessage::{GetAddress, GetLink, GetNeighbour, GetRoute};
    let channel =
        super::socket::Channel::open(netlink_sys::protocols::NETLINK_ROUTE).expect("a netlink socket");
    let requests = [
        GetLink(Default::default()),
        GetAddress(Default::default()),
        GetRoute(Default::default()),
        GetNeighbour(Default::default()),
    ];
    let raw = |request| channel.dump(request, |_, payload| Ok(Some(payload.to_vec())));
    requests.iter().flat_map(|request| raw(request).expect("a table")).collect()
}

#[test]
fn damaged_answers_are_refused() {
    crate::fuzz::survives("answers of rtnetlink", tables(), |payload| {
        let _judged = super::decode::link(payload).map(|link| link.to_string());
        let _judged = super::decode::address(payload).map(|found| found.map(|address| address.to_string()));
        let _judged = super::decode::route(payload).map(|found| found.map(|route| route.to_string()));
        let _judged = super::decode::neighbour(payload).map(|found| found.map(|entry| entry.to_string()));
    });
    // `struct inet_diag_msg` in linux/inet_diag.h, and an attribute behind it.
    let mut socket = vec![2, 10, 0, 0, 0, 80, 0x9c, 0x40];
    socket.resize(72, 1);
    socket.extend([5, 0, 11, 0, 1, 0, 0, 0]);
    crate::fuzz::survives("answers of sock_diag", vec![socket], |payload| {
        let _judged = super::diag::decode(Protocol::Tcp, payload).map(|socket| socket.to_string());
    });
}

#[test]
fn damaged_datagrams_end() {
    let mut refusal = (-libc::EINVAL).to_ne_bytes().to_vec();
    refusal.extend([20, 0, 0, 0, 16, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    refusal.extend(extended_ack("no such thing"));
    let message = |kind: u16, flags: u16, payload: &[u8]| {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        bytes.extend([7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let refused = message(NLMSG_ERROR, NLM_F_ACK_TLVS, &refusal);
    let two = [message(libc::RTM_NEWLINK, 0, &[1; 30]), message(NLMSG_DONE, 0, &[0; 4])].concat();
    let lowest = message(NLMSG_ERROR, NLM_F_ACK_TLVS | NLM_F_CAPPED, &i32::MIN.to_ne_bytes());
    crate::fuzz::survives("datagrams of netlink", vec![refused, two, lowest], |datagram| {
        // Each message takes some of it.
        let messages: Vec<_> = Messages(datagram).take(datagram.len() + 1).collect();
        assert!(messages.len() <= datagram.len());
        for (header, payload) in messages.into_iter().flatten() {
            let _judged = Reply::new(&header, payload);
        }
    });
}

// With the kernel.

/// Runs `body` on a thread of its own, in a fresh network namespace; `None` where the user may not have one.
///
/// The promises are proven elsewhere, for every user; this is the quick check of one layer, for root.
pub(super) fn in_namespace<R: Send + 'static>(body: impl FnOnce() -> R + Send + 'static) -> Option<R> {
    let thread = thread::spawn(|| match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => Some(body()),
        Err(Errno::EPERM) => {
            eprintln!("not run: a network namespace without a user namespace needs CAP_SYS_ADMIN");
            None
        }
        Err(error) => panic!("failed to unshare: {error}"),
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn this_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// A second namespace, and sockets that were born in it.
fn other_namespace() -> (File, RouteSocket) {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        (this_namespace(), RouteSocket::open().unwrap())
    };
    thread::spawn(make).join().unwrap()
}

pub(super) fn wait_until(mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(10), "not ready after 10 s");
        thread::sleep(Duration::from_millis(1));
    }
}

fn enter<R: Send>(namespace: &File, body: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            body()
        });
        thread.join().unwrap()
    })
}

#[test]
fn a_veth_joins_two_namespaces_and_is_seen_in_both() {
    in_namespace(|| {
        let here = RouteSocket::open().unwrap();
        let (netns, there) = other_namespace();
        let near = LinkEnd {
            index: 5,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: Some(1400),
            up: true,
            ..LinkEnd::new("eth0")
        };
        let far = LinkEnd { index: 6, mac: Some([2, 0, 0, 0, 0, 2]), netns: Some(netns.as_fd()), ..near };
        let far = LinkEnd { up: false, ..far };

        let mut batch = Batch::new();
        batch.push(Request::veth(&near, &far), || "create veth".to_owned());
        batch.push(Request::set_up(1, true), || "switch `lo` on".to_owned());
        batch.push(Request::add_address(&Address::new(5, v4("10.0.0.1"), 16)), || "add address".to_owned());
        batch
            .push(Request::add_address(&Address::new(5, v6("2001:db8::1"), 64)), || "add address".to_owned());
        let host = Address { scope: Scope::Host, prefix_route: false, ..Address::new(1, v4("10.9.9.9"), 32) };
        batch.push(Request::add_address(&host), || "add address".to_owned());
        let route = Route::via(v4("0.0.0.0"), 0, v4("10.0.0.2")).with_source(v4("10.0.0.1"));
        let route = Route { metric: 9, ..route };
        batch.push(Request::add_route(&route), || "add route".to_owned());
        batch.push(Request::add_route(&Route::on_link(v4("224.0.0.0"), 4, 5)), || "add route".to_owned());
        let refusing = Route {
            kind: RouteKind::Unreachable,
            link: None,
            ..Route::on_link(v6("2001:db8:dead::"), 48, 1)
        };
        batch.push(Request::add_route(&refusing), || "add route".to_owned());
        here.send(batch).unwrap();

        let mut batch = Batch::new();
        batch.push(Request::set_up(6, true), || "switch `eth0` on".to_owned());
        batch.push(Request::add_address(&Address::new(6, v4("10.0.0.2"), 16)), || "add address".to_owned());
        batch
            .push(Request::add_address(&Address::new(6, v6("2001:db8::2"), 64)), || "add address".to_owned());
        there.send(batch).unwrap();

        wait_until(|| {
            here.link(5).unwrap().unwrap().is_running() && there.link(6).unwrap().unwrap().is_running()
        });
        for ip in [v4("10.0.0.1"), v6("2001:db8::1"), v4("10.9.9.9")] {
            wait_until(|| here.route_to(ip).unwrap().kind == RouteKind::Local);
        }

        let links = here.links().unwrap();
        let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
        assert_eq!((eth0.index, eth0.mac, eth0.mtu), (5, Some([2, 0, 0, 0, 0, 1]), 1400));
        assert_eq!((eth0.kind.as_deref(), eth0.peer, eth0.carrier), (Some("veth"), Some(6), true));
        assert!(
            links.iter().any(|link| link.index == 1 && link.is_running() && link.peer_namespace.is_none())
        );
        assert_eq!(eth0.peer_namespace, here.number_of(netns.as_fd()).unwrap());
        assert!(eth0.peer_namespace.is_some());
        let (unknown, _) = other_namespace();
        assert_eq!(here.number_of(unknown.as_fd()).unwrap(), None);
        assert_eq!(there.link(6).unwrap().unwrap().mac, Some([2, 0, 0, 0, 0, 2]));
        assert_eq!(here.link(77).unwrap(), None);

        let addresses = here.addresses().unwrap();
        assert!(addresses.contains(&Address::new(5, v4("10.0.0.1"), 16)), "{addresses:?}");
        assert!(addresses.contains(&Address::new(5, v6("2001:db8::1"), 64)), "{addresses:?}");
        assert!(addresses.contains(&host), "{addresses:?}");

        let routes = here.routes().unwrap();
        let shown: Vec<_> = routes.iter().map(|route| route.with_names(&links).to_string()).collect();
        for line in [
            "default via 10.0.0.2 dev eth0 src 10.0.0.1 metric 9",
            "10.0.0.0/16 dev eth0 src 10.0.0.1",
            "224.0.0.0/4 dev eth0",
            "local 10.0.0.1 dev eth0 src 10.0.0.1 table local",
            "broadcast 10.0.255.255 dev eth0 src 10.0.0.1 table local",
            "2001:db8::/64 dev eth0 metric 256",
        ] {
            assert!(shown.iter().any(|shown| shown == line), "no `{line}` in {shown:#?}");
        }
        assert!(shown.iter().any(|line| line.starts_with("unreachable 2001:db8:dead::/48")), "{shown:#?}");
        assert_eq!(here.route_to(v4("10.0.0.2")).unwrap().link, Some(5));
        assert_eq!(there.route_to(v4("192.0.2.1")).unwrap_err().kind(), io::ErrorKind::NetworkUnreachable,);

        // What was read can be added again.
        let read = routes.iter().find(|route| route.metric == 9).unwrap();
        here.request(Request::add_route(read).or_replace(), || "add route".to_owned()).unwrap();
        assert!(here.routes().unwrap().contains(read));
        here.request(Request::delete_address(&host), || "delete address".to_owned()).unwrap();
        assert!(!here.addresses().unwrap().contains(&host));

        // A neighbour that answers, one that does not, and one that was set.
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        for ip in ["10.0.0.2", "10.0.7.7"] {
            socket.send_to(b"?", (ip, 9)).unwrap();
        }
        let state = |ip| {
            let neighbours = here.neighbours().unwrap();
            neighbours.into_iter().find(|entry| entry.ip == v4(ip)).map(|entry| entry.state)
        };
        wait_until(|| state("10.0.0.2") == Some(NeighbourState::Reachable));
        assert_eq!(state("10.0.7.7"), Some(NeighbourState::Incomplete));
        here.flush_neighbours().unwrap();
        assert!(!matches!(state("10.0.0.2"), Some(NeighbourState::Reachable)));
        assert!(here.link(5).unwrap().unwrap().stats.tx_packets > 0);

        here.request(Request::set_mtu(5, 1300), || "set the MTU".to_owned()).unwrap();
        assert_eq!(here.link(5).unwrap().unwrap().mtu, 1300);
        here.request(Request::set_up(5, false), || "switch off".to_owned()).unwrap();
        assert!(!here.link(5).unwrap().unwrap().up);
        assert_eq!(there.link(5).unwrap(), None);
    });
}

#[test]
fn the_first_refusal_is_told_with_the_kernels_words() {
    in_namespace(|| {
        let socket = RouteSocket::open().unwrap();
        let mut batch = Batch::new();
        batch.push(Request::set_up(1, true), || unreachable!("it succeeds"));
        batch.push(Request::set_mtu(99, 1500), || "set the MTU of `eth7`".to_owned());
        batch.push(Request::set_up(98, true), || unreachable!("it is not the first"));
        let error = socket.send(batch).unwrap_err();
        assert_eq!(error.operation, "set the MTU of `eth7`");
        assert_eq!(error.source.raw_os_error(), Some(libc::ENODEV));

        let unreachable = Route::via(v4("10.1.0.0"), 16, v4("10.0.0.9"));
        let error = socket.request(Request::add_route(&unreachable), || "add route".to_owned()).unwrap_err();
        // The wording is the kernel's own business.
        let text = error.kernel.clone().unwrap();
        assert_eq!(
            error.to_string(),
            format!("failed to add route: {text}: Network is unreachable (os error 101)")
        );

        let address = Address::new(1, v4("10.0.0.1"), 16);
        socket.request(Request::add_address(&address), || "add".to_owned()).unwrap();
        let error = socket.request(Request::add_address(&address), || "add".to_owned()).unwrap_err();
        assert_eq!(error.source.raw_os_error(), Some(libc::EEXIST));
        socket.request(Request::add_address(&address).or_replace(), || "add".to_owned()).unwrap();

        // A batch of many datagrams, and tables of many.
        let mut batch = Batch::new();
        let ends = [2, 3].map(|index| LinkEnd { index, ..LinkEnd::new(if index == 2 { "a" } else { "b" }) });
        batch.push(Request::veth(&ends[0], &ends[1]), || "create veth".to_owned());
        batch.push(Request::set_up(2, true), || "switch on".to_owned());
        for host in 0..2000u32 {
            let ip = Ipv4Addr::from_bits(0x0a01_0000 + host);
            batch.push(Request::add_address(&Address::new(1, ip.into(), 32)), || "add address".to_owned());
        }
        socket.send(batch).unwrap();
        assert!(socket.addresses().unwrap().len() >= 2000);
        assert!(socket.routes().unwrap().len() >= 2000);

        let mut batch = Batch::new();
        for host in 0..1000u32 {
            let index = if host == 700 { 97 } else { 1 };
            batch.push(Request::set_up(index, true), move || format!("request {host}"));
        }
        assert_eq!(socket.send(batch).unwrap_err().operation, "request 700");
    });
}

#[test]
fn a_macvlan_and_a_bridge_carry_packets_at_once() {
    in_namespace(|| {
        let here = RouteSocket::open().unwrap();
        let (left, left_socket) = other_namespace();
        let (right, right_socket) = other_namespace();
        let end = |name, netns| LinkEnd { up: true, netns: Some(netns), ..LinkEnd::new(name) };

        let mut batch = Batch::new();
        batch.push(
            Request::veth(
                &LinkEnd { index: 2, up: true, ..LinkEnd::new("lower") },
                &LinkEnd { index: 3, ..LinkEnd::new("rest") },
            ),
            || "create veth".to_owned(),
        );
        batch.push(Request::set_up(3, true), || "switch on".to_owned());
        batch.push(
            Request::macvlan(&LinkEnd { index: 7, ..end("eth0", left.as_fd()) }, 2, MacvlanMode::Bridge),
            || "macvlan".to_owned(),
        );
        batch.push(
            Request::macvlan(&LinkEnd { index: 7, ..end("eth0", right.as_fd()) }, 2, MacvlanMode::Bridge),
            || "macvlan".to_owned(),
        );
        batch.push(Request::bridge(&LinkEnd { index: 4, up: true, ..LinkEnd::new("switch") }), || {
            "bridge".to_owned()
        });
        for (index, netns) in [(10, left.as_fd()), (11, right.as_fd())] {
            let port = LinkEnd {
                name: if index == 10 { "port0" } else { "port1" },
                index,
                up: true,
                ..LinkEnd::new("")
            };
            let far = LinkEnd { index: 8, netns: Some(netns), ..LinkEnd::new("eth1") };
            batch.push(Request::veth(&port, &far), || "create veth".to_owned());
            batch.push(Request::set_controller(index, Some(4)), || "add port".to_owned());
        }
        here.send(batch).unwrap();
        for (host, socket) in [(1, &left_socket), (2, &right_socket)] {
            let mut batch = Batch::new();
            batch.push(Request::set_up(1, true), || "up".to_owned());
            batch.push(Request::set_up(8, true), || "up".to_owned());
            for (net, link) in [(0, 7), (1, 8)] {
                let ip = Ipv4Addr::new(10, net, 0, host);
                batch.push(Request::add_address(&Address::new(link, ip.into(), 16)), || "add".to_owned());
            }
            socket.send(batch).unwrap();
        }
        for socket in [&left_socket, &right_socket] {
            for link in [7, 8] {
                wait_until(|| socket.link(link).unwrap().unwrap().is_running());
            }
        }
        for port in [10, 11] {
            wait_until(|| here.link(port).unwrap().unwrap().is_running());
            assert_eq!(here.link(port).unwrap().unwrap().controller, Some(4));
        }
        let links = left_socket.links().unwrap();
        let macvlan = links.iter().find(|link| link.index == 7).unwrap();
        assert_eq!((macvlan.kind.as_deref(), macvlan.peer), (Some("macvlan"), Some(2)));

        for net in [0, 1] {
            let server = enter(&right, || UdpSocket::bind((Ipv4Addr::new(10, net, 0, 2), 7)).unwrap());
            let client = enter(&left, || UdpSocket::bind((Ipv4Addr::new(10, net, 0, 1), 0)).unwrap());
            server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send_to(b"first", server.local_addr().unwrap()).unwrap();
            let mut buffer = [0; 8];
            assert_eq!(server.recv(&mut buffer).unwrap(), 5);
        }
        here.request(Request::set_controller(10, None), || "remove port".to_owned()).unwrap();
        assert_eq!(here.link(10).unwrap().unwrap().controller, None);
    });
}

/// Starts a thread, and returns when it blocks in this system call (proc_pid_syscall(5): "running" until it does).
fn spawn_blocked<R: Send + 'static>(
    call: libc::c_long,
    work: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(gettid()).unwrap();
        work()
    });
    let file = format!("/proc/self/task/{}/syscall", told.recv().unwrap());
    wait_until(|| fs::read_to_string(&file).unwrap().split(' ').next() == Some(&call.to_string()));
    thread
}

#[test]
fn sockets_are_listed_and_destroyed() {
    in_namespace(|| {
        let route = RouteSocket::open().unwrap();
        route.request(Request::set_up(1, true), || "switch `lo` on".to_owned()).unwrap();
        wait_until(|| route.route_to(v6("::1")).is_ok_and(|route| route.kind == RouteKind::Local));
        let diag = DiagSocket::open().unwrap();
        assert_eq!(diag.all_sockets().unwrap(), []);

        let listener = TcpListener::bind("[::]:80").unwrap();
        let mut client = TcpStream::connect("127.0.0.1:80").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:53").unwrap();
        let connected = UdpSocket::bind("[::1]:0").unwrap();
        connected.connect("[::1]:99").unwrap();

        let v6 = diag.sockets(Protocol::Tcp, Family::V6).unwrap();
        let listening = v6.iter().find(|socket| socket.is_listening()).unwrap();
        assert_eq!(listening.local, listener.local_addr().unwrap());
        assert_eq!((listening.state, listening.remote), (SocketState::Listen, None));
        assert!(listening.accepts("127.0.0.1:80".parse().unwrap()) && listening.inode != 0);
        let v4 = diag.sockets(Protocol::Tcp, Family::V4).unwrap();
        assert_eq!(v4.len(), 1);
        assert_eq!(v4[0].state, SocketState::Established);
        assert_eq!((v4[0].local, v4[0].remote), (client.local_addr().unwrap(), client.peer_addr().ok()));
        let v4 = diag.sockets(Protocol::Udp, Family::V4).unwrap();
        assert_eq!((v4[0].state, v4[0].local), (SocketState::Unconnected, udp.local_addr().unwrap()));
        assert!(v4[0].is_listening());
        let v6 = diag.sockets(Protocol::Udp, Family::V6).unwrap();
        assert_eq!((v6[0].state, v6[0].remote), (SocketState::Established, connected.peer_addr().ok()));

        // Calls that block return. The listener takes its unaccepted connection with it.
        let blocked = [
            spawn_blocked(libc::SYS_recvfrom, move || client.read(&mut [0]).map(drop)),
            spawn_blocked(libc::SYS_recvfrom, move || udp.recv(&mut [0]).map(drop)),
            spawn_blocked(libc::SYS_accept4, move || listener.accept().and(listener.accept()).map(drop)),
        ];
        assert!(diag.destroy_all().unwrap() >= 4);
        for thread in blocked {
            thread.join().unwrap().unwrap_err();
        }
        assert!(diag.sockets(Protocol::Tcp, Family::V6).unwrap().is_empty());

        let listener = TcpListener::bind("127.0.0.1:81").unwrap();
        let found = diag.sockets(Protocol::Tcp, Family::V4).unwrap();
        let found = found.iter().find(|socket| socket.local.port() == 81).unwrap();
        assert!(found.is_listening());
        assert_eq!(diag.listeners(Protocol::Tcp).unwrap(), std::slice::from_ref(found));
        assert_eq!(diag.destroy_all().unwrap(), 1);
        assert!(diag.listeners(Protocol::Tcp).unwrap().is_empty());
        drop(listener);
    });
}

#[test]
fn a_table_that_changes_while_it_is_read_is_read_again() {
    in_namespace(|| {
        let socket = RouteSocket::open().unwrap();
        socket.request(Request::set_up(1, true), || "up".to_owned()).unwrap();
        let namespace = this_namespace();
        let changes = thread::scope(|scope| {
            let changer = scope.spawn(|| {
                enter(&namespace, || {
                    let socket = RouteSocket::open().unwrap();
                    for host in 0..1000u32 {
                        let ip = Ipv4Addr::from_bits(0x0a01_0000 + host);
                        let address = Address::new(1, ip.into(), 32);
                        socket.request(Request::add_address(&address), || "add".to_owned()).unwrap();
                    }
                });
            });
            let mut seen = 0;
            while !changer.is_finished() {
                // Addresses are only added, so none that was seen may be missing later.
                match socket.addresses() {
                    Ok(addresses) => {
                        assert!(addresses.len() >= seen);
                        seen = addresses.len();
                    }
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::Interrupted),
                }
            }
            changer.join()
        });
        changes.unwrap();
        assert!(socket.addresses().unwrap().len() >= 1000);
    });
}
