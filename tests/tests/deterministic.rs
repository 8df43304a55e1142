//! Deterministic: names, addresses, MAC addresses, interfaces and settings follow from the declaration alone.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Mutex;

use netns_test::state::Route;
use netns_test::{Network, Node, netns_test};

/// The settings that every node has, whatever the host's are.
const SETTINGS: [(&str, &str); 18] = [
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.eth0.rp_filter", "0"),
    ("net.ipv4.conf.all.arp_ignore", "0"),
    ("net.ipv4.conf.all.arp_announce", "0"),
    ("net.ipv4.conf.all.arp_filter", "0"),
    ("net.ipv4.conf.all.route_localnet", "0"),
    ("net.ipv4.conf.all.proxy_arp", "0"),
    ("net.ipv4.conf.eth0.proxy_arp", "0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.eth0.accept_dad", "0"),
    ("net.ipv6.conf.eth0.accept_ra", "0"),
    ("net.ipv6.conf.eth0.addr_gen_mode", "0"),
    ("net.ipv6.conf.eth0.use_tempaddr", "0"),
    ("net.ipv6.conf.all.disable_ipv6", "0"),
    ("net.ipv6.conf.lo.disable_ipv6", "0"),
    ("net.ipv6.conf.eth0.disable_ipv6", "0"),
];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The addresses of one interface, in order.
fn on(node: &Node, interface: &str) -> Vec<(IpAddr, u8)> {
    let index =
        node.links().unwrap().iter().find(|link| link.name == interface).expect("the interface").index;
    let all = node.addresses().unwrap();
    let mut found: Vec<_> =
        all.iter().filter(|of| of.link == index).map(|of| (of.ip, of.prefix_len)).collect();
    found.sort();
    found
}

#[netns_test(nodes = 3)]
fn a_star(first: Node, second_node: Node, _third: Node, network: Network) {
    let names: Vec<String> = network.nodes().iter().map(|node| node.name().to_owned()).collect();
    assert_eq!(names, ["first", "second-node", "third"]);
    assert_eq!((first.name(), second_node.name()), ("first", "second-node"));
    for (number, node) in (1_u8..).zip(network.nodes()) {
        assert_eq!(IpAddr::V4(node.ip4()), ip(&format!("10.0.0.{number}")));
        assert_eq!(IpAddr::V6(node.ip6()), ip(&format!("2001:db8::{number}")));
        let interfaces = node.interfaces().unwrap();
        let eth0 = interfaces.iter().find(|interface| interface.name() == "eth0").expect("eth0");
        assert_eq!(eth0.index(), 100);
        assert_eq!(eth0.link().unwrap().mac, Some([0x02, b'n', b't', 0, 0, number]));
        assert_eq!(eth0.link().unwrap().mtu, 1500);
        let wanted = [
            (node.ip4().into(), 16),
            (node.ip6().into(), 64),
            // RFC 4291, appendix A: the MAC address with its second-lowest bit inverted and ff:fe in the middle.
            (ip(&format!("fe80::6e:74ff:fe00:{number}")), 64),
        ];
        assert_eq!(on(&node, "eth0"), wanted);
        assert_eq!(on(&node, "lo"), [(ip("127.0.0.1"), 8), (ip("::1"), 128)]);
    }
}

#[netns_test(nodes = 3, topology = line)]
fn a_line(nodes: [Node; 3]) {
    let [left, middle, right] = &nodes;
    assert_eq!(
        on(left, "lo"),
        [(ip("10.0.0.1"), 32), (ip("127.0.0.1"), 8), (ip("::1"), 128), (ip("2001:db8::1"), 128)]
    );
    let global = |node: &Node, interface: &str| {
        let mut all = on(node, interface);
        all.retain(|(ip, _)| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local()));
        all
    };
    assert_eq!(global(left, "eth0"), [(ip("10.1.0.1"), 24), (ip("2001:db8:1::1"), 64)]);
    assert_eq!(global(middle, "eth0"), [(ip("10.1.0.2"), 24), (ip("2001:db8:1::2"), 64)]);
    assert_eq!(global(middle, "eth1"), [(ip("10.1.1.1"), 24), (ip("2001:db8:1:1::1"), 64)]);
    assert_eq!(global(right, "eth0"), [(ip("10.1.1.2"), 24), (ip("2001:db8:1:1::2"), 64)]);
    let indices: Vec<u32> = middle.interfaces().unwrap().iter().map(|interface| interface.index()).collect();
    assert_eq!(indices, [100, 101]);
    assert_eq!(middle.interface("eth1").unwrap().link().unwrap().mac, Some([0x02, b'n', b't', 1, 0, 2]));
    for (node, forwards) in [(left, "0"), (middle, "1"), (right, "0")] {
        assert_eq!(node.sysctl("net.ipv4.ip_forward").unwrap(), forwards, "{}", node.name());
        assert_eq!(node.sysctl("net.ipv6.conf.all.forwarding").unwrap(), forwards, "{}", node.name());
    }
    let route = left.route_to(right.ip4()).unwrap();
    assert_eq!(
        (route.gateway, route.source, route.link),
        (Some(ip("10.1.0.2")), Some(ip("10.0.0.1")), Some(100))
    );
    let route = right.route_to(left.ip6()).unwrap();
    assert_eq!((route.gateway, route.link), (Some(ip("2001:db8:1:1::1")), Some(100)));
}

#[netns_test(nodes = 2)]
fn settings(one: Node, other: Node) {
    for node in [one, other] {
        for (name, value) in SETTINGS {
            assert_eq!(node.sysctl(name).unwrap_or_else(|error| panic!("{name}: {error}")), value, "{name}");
        }
        assert_eq!(node.sysctl("net.ipv4.ip_forward").unwrap(), "0");
        assert_eq!(node.sysctl("net.ipv6.conf.all.forwarding").unwrap(), "0");
    }
}

#[netns_test(nodes = 2, family = v4)]
fn no_ipv6_in_v4(one: Node, _other: Node) {
    assert_eq!(one.sysctl("net.ipv6.conf.all.disable_ipv6").unwrap(), "1");
    assert!(one.addresses().unwrap().iter().all(|address| address.ip.is_ipv4()));
}

#[netns_test(nodes = 2, family = v6)]
fn no_global_ipv4_in_v6(one: Node, _other: Node) {
    let addresses = one.addresses().unwrap();
    assert!(
        addresses.iter().all(|address| address.ip.is_ipv6() || address.ip.is_loopback()),
        "{addresses:?}"
    );
}

/// All that the promise is about, as text.
fn portrait(network: &Network) -> String {
    let mut text = String::new();
    for node in network.nodes() {
        writeln!(text, "{} {}", node.name(), node.ip()).unwrap();
        for link in node.links().unwrap() {
            writeln!(text, "  {} {} {:02x?} {}", link.index, link.name, link.mac, link.mtu).unwrap();
        }
        for address in node.addresses().unwrap() {
            writeln!(text, "  {} {}/{}", address.link, address.ip, address.prefix_len).unwrap();
        }
        let routes = node.routes().unwrap();
        let mut lines: Vec<String> = routes
            .iter()
            .filter(|route| route.table == Route::MAIN_TABLE)
            .map(|route| {
                format!("  {}/{} {:?} {:?}", route.destination, route.prefix_len, route.gateway, route.link)
            })
            .collect();
        lines.sort();
        text.extend(lines.iter().flat_map(|line| [line, "\n"]));
    }
    text
}

static PORTRAITS: Mutex<Vec<(&str, String)>> = Mutex::new(Vec::new());

fn keep(shape: &'static str, network: &Network) {
    PORTRAITS.lock().unwrap().push((shape, portrait(network)));
}

#[netns_test(nodes = 5)]
#[ignore = "a part of `the_same_declaration_gives_the_same_network`"]
fn star(network: Network, _nodes: [Node; 5]) {
    keep("star", &network);
}

#[netns_test(nodes = 5, topology = ring)]
#[ignore = "a part of `the_same_declaration_gives_the_same_network`"]
fn ring(network: Network, _nodes: [Node; 5]) {
    keep("ring", &network);
}

#[netns_test(nodes = 4, topology = mesh, family = v6)]
#[ignore = "a part of `the_same_declaration_gives_the_same_network`"]
fn mesh(network: Network, _nodes: [Node; 4]) {
    keep("mesh", &network);
}

#[test]
fn the_same_declaration_gives_the_same_network() {
    let all: [fn(); 3] = [star, ring, mesh];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            for test in all {
                scope.spawn(test);
            }
        }
    });
    let portraits = PORTRAITS.lock().unwrap();
    for shape in ["star", "ring", "mesh"] {
        let mut same = portraits.iter().filter(|(of, _)| *of == shape).map(|(_, text)| text);
        let first = same.next().expect("a portrait");
        assert!(first.contains("nodes-0") && first.contains("eth0"), "{first}");
        let others: Vec<&String> = same.collect();
        assert_eq!(others.len(), 3);
        for other in others {
            assert_eq!(other, first);
        }
    }
}
