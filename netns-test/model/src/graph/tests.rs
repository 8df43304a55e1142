use super::*;
use crate::Family;

/// A graph from words: `nodes a b`, `routers r`, `switches s`, and links with what stands in their braces.
fn graph(members: &str, links: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    let mut kind = Kind::Node;
    for word in members.split_whitespace() {
        match word {
            "nodes" => kind = Kind::Node,
            "routers" => kind = Kind::Router,
            "switches" => kind = Kind::Switch,
            name => graph.members.push(Member { name: name.to_owned(), kind }),
        }
    }
    for (ends, what) in links {
        let (left, right) = ends.split_once(" -- ").expect("two ends");
        let mut link = Link { ends: [end(left), end(right)], ..Link::default() };
        for (key, value) in what.split_terminator(", ").filter_map(|part| part.split_once(" = ")) {
            match key {
                "mtu" => link.mtu = Some(value.parse().expect("a number")),
                "vlan" => link.vlan = Some(value.parse().expect("a number")),
                "prefix" => link.prefixes.push(value.to_owned()),
                member => {
                    link.addresses.push(OwnAddress { member: member.to_owned(), address: value.to_owned() })
                }
            }
        }
        graph.links.push(link);
    }
    graph
}

fn end(text: &str) -> End {
    let (member, interface) = text.split_once('.').map_or((text, None), |(m, i)| (m, Some(i.to_owned())));
    End { member: member.to_owned(), interface }
}

/// `a/eth0 10.1.0.1/24`, for every interface and family.
fn lines(resolved: &Resolved) -> Vec<String> {
    let line = |interface: &Interface| {
        let addresses: Vec<String> =
            interface.addresses.iter().map(|(ip, len)| format!(" {ip}/{len}")).collect();
        format!("{}/{}{}", resolved.hosts[interface.host].name, interface.name, addresses.concat())
    };
    resolved.interfaces.iter().map(line).collect()
}

#[test]
fn segments_are_links_and_switches_with_all_that_is_on_them() {
    let graph = graph(
        "nodes client server idle routers r1 r2 switches s t unused",
        &[("client -- r1", ""), ("r1 -- r2", ""), ("r2 -- s", ""), ("t -- s", ""), ("server -- t", "")],
    );
    let resolved = graph.resolve(Family::Dual).unwrap();
    assert_eq!(
        lines(&resolved),
        [
            "client/eth0 10.1.0.1/24 2001:db8:1::1/64",
            "r1/eth0 10.1.0.2/24 2001:db8:1::2/64",
            "r1/eth1 10.1.1.1/24 2001:db8:1:1::1/64",
            "r2/eth0 10.1.1.2/24 2001:db8:1:1::2/64",
            "r2/eth1 10.1.2.1/24 2001:db8:1:2::1/64",
            "server/eth0 10.1.2.2/24 2001:db8:1:2::2/64",
        ]
    );
    assert_eq!(resolved.segments.len(), 3);
    assert_eq!(resolved.segments[2].interfaces, [4, 5]);
    assert_eq!(resolved.hosts.len(), 5);
    assert!(resolved.hosts[3].is_router && !resolved.hosts[2].is_router);
}

#[test]
fn what_is_declared_stays_and_the_rest_goes_around_it() {
    let graph = graph(
        "nodes a b c routers r switches s",
        &[
            ("a.eth1 -- r.swp1", "prefix = 10.1.1.0/24, mtu = 1400"),
            ("a -- r", ""),
            ("b -- s", "b = 10.7.0.1/24, b = 10.7.0.9"),
            ("c -- s", "mtu = 9000"),
            ("r -- s", "prefix = fd00:7::/64, r = fd00:7::ffff"),
        ],
    );
    let resolved = graph.resolve(Family::Dual).unwrap();
    assert_eq!(
        lines(&resolved),
        [
            "a/eth1 10.1.1.1/24 2001:db8:1::1/64",
            "r/swp1 10.1.1.2/24 2001:db8:1::2/64",
            // The number 1 of IPv4 is taken.
            "a/eth0 10.1.2.1/24 2001:db8:1:2::1/64",
            "r/eth0 10.1.2.2/24 2001:db8:1:2::2/64",
            "b/eth0 10.7.0.1/24 10.7.0.9/24 fd00:7::1/64",
            "c/eth0 10.7.0.2/24 fd00:7::2/64",
            "r/eth1 10.7.0.3/24 fd00:7::ffff/64",
        ]
    );
    let mtus: Vec<Option<u32>> = resolved.interfaces.iter().map(|interface| interface.mtu).collect();
    assert_eq!(mtus, [Some(1400), Some(1400), None, None, None, Some(9000), None]);
}

#[test]
fn no_addresses_are_those_that_are_declared() {
    let mut graph =
        graph("nodes a b c", &[("a -- b", "a = 10.7.0.1/24"), ("b -- c", "prefix = 10.8.0.0/24")]);
    graph.addresses = Addresses::None;
    let resolved = graph.resolve(Family::Dual).unwrap();
    assert_eq!(lines(&resolved), ["a/eth0 10.7.0.1/24", "b/eth0", "b/eth1", "c/eth0"]);
}

#[test]
fn a_large_switch_gets_a_large_prefix() {
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let ends: Vec<String> = names.iter().map(|name| format!("{name} -- s")).collect();
    let mut links: Vec<(&str, &str)> = vec![("n0 -- n1", "")];
    links.extend(ends.iter().map(|ends| (ends.as_str(), "")));
    links.push(("n1 -- n2", ""));
    let graph = graph(&format!("nodes {} switches s", names.join(" ")), &links);
    let resolved = graph.resolve(Family::V4).unwrap();
    let prefixes: Vec<String> =
        resolved.segments.iter().flat_map(|segment| &segment.prefixes).map(Prefix::to_string).collect();
    assert_eq!(prefixes, ["10.1.0.0/24", "10.2.0.0/16", "10.3.0.0/24"]);
    assert_eq!(lines(&resolved)[301], "n299/eth1 10.2.1.44/16".replace("eth1", "eth0"));
}

#[test]
fn each_mistake_is_reported_at_its_place_with_the_fix() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Family, Place, &'a str);
    let cases: &[Case<'_>] = &[
        (
            "nodes a- b",
            &[],
            Family::Dual,
            Place::Member(0),
            "`a-` is no host name: it must not end with a hyphen: did you mean `a`?",
        ),
        ("nodes a b A", &[], Family::Dual, Place::Member(2), "`A` is declared twice: remove or rename one"),
        (
            "nodes a switches a",
            &[],
            Family::Dual,
            Place::Member(1),
            "`a` is declared twice, as a node and as a switch: rename one",
        ),
        (
            "nodes client",
            &[("client -- cleint", "")],
            Family::Dual,
            Place::End(0, 1),
            "there is no `cleint`: did you mean `client`?",
        ),
        (
            "nodes a",
            &[("x -- a", "")],
            Family::Dual,
            Place::End(0, 0),
            "there is no `x`: declare it as a node, a router or a switch",
        ),
        (
            "nodes a",
            &[("a -- a", "")],
            Family::Dual,
            Place::Link(0),
            "`a` is linked to itself: a link has two ends",
        ),
        (
            "nodes a switches s",
            &[("a -- s.p1", "")],
            Family::Dual,
            Place::Interface(0, 1),
            "`s` is a switch, and its ports have no names: write `s`",
        ),
        (
            "nodes a b",
            &[("a.x -- b", ""), ("b -- a.x", "")],
            Family::Dual,
            Place::Interface(1, 1),
            "`a` has two interfaces `x`: rename one",
        ),
        (
            "nodes a b",
            &[("a.lo -- b", "")],
            Family::Dual,
            Place::Interface(0, 0),
            "`lo` is no name of an interface: the loopback has it",
        ),
        (
            "nodes a b",
            &[("a -- b", "mtu = 1000")],
            Family::Dual,
            Place::Mtu(0),
            "`mtu = 1000` is too small: IPv6 needs 1280 (RFC 8200 section 5); `family = v4` takes less",
        ),
        (
            "nodes a b",
            &[("a -- b", "mtu = 67")],
            Family::V4,
            Place::Mtu(0),
            "`mtu = 67` is too small: IPv4 needs 68 (RFC 791 section 3.2)",
        ),
        (
            "nodes a b",
            &[("a -- b", "mtu = 65536")],
            Family::V4,
            Place::Mtu(0),
            "`mtu = 65536` is too large: a link has at most 65535",
        ),
        (
            "switches s t",
            &[("s -- t", "mtu = 1400")],
            Family::V4,
            Place::Mtu(0),
            "`s -- t` has no node's interface to set the MTU of: write `mtu` to the nodes' links",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = 10.1.0.5/24")],
            Family::Dual,
            Place::Prefix(0, 0),
            "`10.1.0.5/24` has bits set beyond its length: write `10.1.0.0/24`",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = fd00::/64")],
            Family::V4,
            Place::Prefix(0, 0),
            "`fd00::/64` is IPv6, and the network is `family = v4`: remove it, or write `family = dual`",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = 10.1.0.0/24, prefix = 10.2.0.0/24")],
            Family::Dual,
            Place::Prefix(0, 1),
            "`10.2.0.0/24` is a second IPv4 prefix of one link: remove one",
        ),
        (
            "nodes a b switches s",
            &[("a -- s", "prefix = 10.1.0.0/24"), ("b -- s", "prefix = 10.2.0.0/24")],
            Family::Dual,
            Place::Prefix(1, 0),
            "`10.2.0.0/24` is not `10.1.0.0/24`, the prefix of `a -- s` on the same switch: write one of them",
        ),
        (
            "nodes a b c",
            &[("a -- b", "prefix = 10.1.0.0/16"), ("b -- c", "prefix = 10.1.9.0/24")],
            Family::Dual,
            Place::Prefix(1, 0),
            "`10.1.9.0/24` of `b -- c` overlaps `10.1.0.0/16` of `a -- b`: a network has each address once",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = 10.1.0.0/32")],
            Family::Dual,
            Place::Prefix(0, 0),
            "`10.1.0.0/32` is too small: it has 1 address for hosts, and its interfaces need 2",
        ),
        (
            "nodes a b",
            &[("a -- b", "a = 10.1.0.5")],
            Family::Dual,
            Place::Address(0, 0),
            "`10.1.0.5` has no length, and the link no prefix: write `10.1.0.5/24`, or another length",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = 10.1.0.0/24, a = 10.2.0.5")],
            Family::Dual,
            Place::Address(0, 0),
            "`10.2.0.5` is outside the link's prefix `10.1.0.0/24`",
        ),
        (
            "nodes a b",
            &[("a -- b", "prefix = 10.1.0.0/24, a = 10.1.0.5/16")],
            Family::Dual,
            Place::Address(0, 0),
            "`10.1.0.5` has the length of its link's prefix `10.1.0.0/24`: write `10.1.0.5/24`",
        ),
        (
            "nodes a b",
            &[("a -- b", "a = 10.1.0.5/24, b = 10.1.0.5")],
            Family::Dual,
            Place::Address(0, 1),
            "`10.1.0.5` is there twice: `a` has it already",
        ),
        (
            "nodes a b",
            &[("a -- b", "a = 10.1.0.255/24")],
            Family::Dual,
            Place::Address(0, 0),
            "`10.1.0.255` cannot be a host's: it is the broadcast address of its prefix (RFC 919)",
        ),
        (
            "nodes a b",
            &[("a -- b", "a = 127.0.0.5/24")],
            Family::Dual,
            Place::Address(0, 0),
            "`127.0.0.0/24` cannot be a link's: `127.0.0.0/8` is the loopback's (RFC 1122 section 3.2.1.3)",
        ),
        (
            "nodes a b",
            &[("a -- b", "a = here")],
            Family::Dual,
            Place::Address(0, 0),
            "`here` is no address: expected one as `10.1.0.5` or `2001:db8:7::5`",
        ),
        (
            "nodes client b",
            &[("client -- b", "cleint = 10.1.0.5/24")],
            Family::Dual,
            Place::Owner(0, 0),
            "`cleint` is no end of `client -- b`: did you mean `client`?",
        ),
        (
            "nodes a b c",
            &[("a -- b", "c = 10.1.0.5/24")],
            Family::Dual,
            Place::Owner(0, 0),
            "`c` is no end of `a -- b`: expected `a` or `b`",
        ),
        (
            "nodes a switches s",
            &[("a -- s", "s = 10.1.0.5/24")],
            Family::Dual,
            Place::Owner(0, 0),
            "`s` is a switch, and has no address: give it to the other end",
        ),
        (
            "nodes a b c",
            &[("a -- b", "prefix = 10.0.0.0/8"), ("b -- c", "")],
            Family::Dual,
            Place::Graph,
            "no prefix is left to assign: those that are declared cover all of 10.1.0.0 to 10.255.255.255, or of 2001:db8:1::/48",
        ),
    ];
    for (members, links, family, place, message) in cases {
        let problems = graph(members, links).resolve(*family).unwrap_err();
        assert_eq!(
            problems,
            [GraphProblem { place: *place, message: (*message).to_owned() }],
            "{members} {links:?}"
        );
    }
}

#[test]
fn limits_are_the_kernels() {
    let many = |count: usize| Graph {
        members: (0..count).map(|n| Member { name: format!("n{n}"), kind: Kind::Node }).collect(),
        ..Graph::default()
    };
    assert!(many(1023).resolve(Family::Dual).is_ok());
    let problems = many(1024).resolve(Family::Dual).unwrap_err();
    assert_eq!(problems[0].message, "1024 nodes are too many: a network has at most 1023");
    let links = vec![("a -- b", ""); MAX_INTERFACES + 1];
    assert!(graph("nodes a b", &links[1..]).resolve(Family::V4).is_ok());
    let problems = graph("nodes a b", &links).resolve(Family::V4).unwrap_err();
    assert_eq!(problems[0].message, "`a` has too many links: a node has at most 255");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let graph = graph(
        "nodes a localhost",
        &[("a -- b", ""), ("a.a/b -- localhost", "mtu = 1, prefix = x, localhost = 300.1.1.1")],
    );
    let places: Vec<Place> = graph.resolve(Family::V4).unwrap_err().iter().map(|found| found.place).collect();
    assert_eq!(
        places,
        [
            Place::Member(1),
            Place::End(0, 1),
            Place::Mtu(1),
            Place::Interface(1, 0),
            Place::Prefix(1, 0),
            Place::Address(1, 0)
        ]
    );
}

/// The same, with what routers do: `nat uplink` behind each name, or the uplink alone for a firewall.
fn with_routers(mut graph: Graph, routers: &[(&str, Option<Nat>, Option<&str>)]) -> Graph {
    graph.routers = routers
        .iter()
        .map(|(member, nat, uplink)| RouterOptions {
            member: (*member).to_owned(),
            nat: nat.clone(),
            firewall: Some(Firewall::Stateful),
            uplink: uplink.map(str::to_owned),
        })
        .collect();
    graph
}

fn messages(graph: &Graph, family: Family) -> Vec<(Place, String)> {
    let problems = graph.resolve(family).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.place, problem.message)).collect()
}

#[test]
fn an_uplink_is_named_by_the_other_end_or_by_the_interface() {
    let links = [("a -- r", ""), ("r.wan -- isp", ""), ("r.lte -- isp", ""), ("isp -- b", "")];
    let members = "nodes a isp b routers r";
    let uplink = |uplink| {
        let graph = with_routers(graph(members, &links), &[("r", Some(Nat::home()), uplink)]);
        let resolved = graph.resolve(Family::V4)?;
        let gateway = resolved.hosts[3].gateway.clone().unwrap();
        Ok(resolved.interfaces[gateway.uplink].name.clone())
    };
    let refused = |uplink_text| {
        let problems: Vec<GraphProblem> = uplink(uplink_text).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        (problems[0].place, problems[0].message.clone())
    };
    assert_eq!(uplink(Some("lte")), Ok("lte".to_owned()));
    assert_eq!(uplink(Some("a")), Ok("eth0".to_owned()));
    assert_eq!(
        refused(Some("isp")),
        (
            Place::Router(0, "uplink"),
            "`r` has several links to `isp`: name its interface, `r.wan -- isp`, and write `uplink = wan`"
                .to_owned()
        )
    );
    assert_eq!(refused(Some("b")).0, Place::Router(0, "uplink"));
    assert_eq!(refused(None).0, Place::Member(3));
    let alone =
        with_routers(graph("routers r nodes a", &[("r -- a", "")]), &[("r", Some(Nat::home()), None)]);
    assert!(alone.resolve(Family::V4).is_ok());
    let unlinked = with_routers(graph("routers r nodes a", &[]), &[("r", Some(Nat::home()), None)]);
    assert_eq!(messages(&unlinked, Family::V4).len(), 1);
}

#[test]
fn inner_prefixes_may_repeat_behind_different_routers_alone() {
    let members = "nodes a b c routers home office isp";
    let links = |third| {
        [
            ("a -- home", "prefix = 192.168.1.0/24, a = 192.168.1.7"),
            ("b -- office", "prefix = 192.168.1.0/24, b = 192.168.1.7"),
            ("home -- isp", ""),
            ("office -- isp", ""),
            ("isp -- c", third),
        ]
    };
    let nat = Some(Nat::home());
    let routers = [("home", nat.clone(), Some("isp")), ("office", nat.clone(), Some("isp"))];
    let same = with_routers(graph(members, &links("")), &routers);
    assert_eq!(messages(&same, Family::Dual), []);
    // Not on the way out,
    let outer = with_routers(graph(members, &links("prefix = 192.168.1.0/28")), &routers);
    assert_eq!(
        messages(&outer, Family::Dual).iter().map(|(place, _)| *place).collect::<Vec<_>>(),
        [Place::Prefix(4, 0)]
    );
    // nor behind a router that does not translate,
    let routed =
        with_routers(graph(members, &links("")), &[routers[0].clone(), ("office", None, Some("isp"))]);
    assert_eq!(messages(&routed, Family::Dual)[0].0, Place::Prefix(1, 0));
    let plain = graph(members, &links(""));
    assert_eq!(messages(&plain, Family::Dual)[0].0, Place::Prefix(1, 0));
    // nor in IPv6, which is not translated.
    let v6 = [("a -- home", "prefix = 2001:db8:7::/64"), ("b -- office", "prefix = 2001:db8:7::/64")];
    // Nor where somebody is on both links.
    let on_both = [links("").as_slice(), &[("a -- office", "prefix = 192.168.1.0/26")]].concat();
    let on_both = with_routers(graph(members, &on_both), &routers);
    assert_eq!(messages(&on_both, Family::Dual).len(), 1);
    let v6: Vec<(&str, &str)> = v6.into_iter().chain(links("").into_iter().skip(2)).collect();
    let v6 = with_routers(graph(members, &v6), &routers);
    assert_eq!(messages(&v6, Family::Dual)[0].0, Place::Prefix(1, 0));
}

#[test]
fn no_way_leads_past_a_translator() {
    let nat = |uplink| ("nat", Some(Nat::home()), Some(uplink));
    let past =
        [("a -- lan", ""), ("nat -- lan", ""), ("past -- lan", ""), ("nat -- isp", ""), ("past -- isp", "")];
    let members = "nodes a routers nat past isp switches lan";
    let found = messages(&with_routers(graph(members, &past), &[nat("isp")]), Family::V4);
    assert_eq!(found.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [Place::Member(1)]);
    // In a ring of translators, each one's outside is the other's inside.
    let ring = with_routers(
        graph(
            "routers one two switches s t",
            &[("one -- s", ""), ("one -- t", ""), ("two -- s", ""), ("two -- t", "")],
        ),
        &[("one", Some(Nat::home()), Some("s")), ("two", Some(Nat::home()), Some("t"))],
    );
    assert_eq!(messages(&ring, Family::V4).len(), 2);
    // Two of them on one link, and one behind the other, are fine.
    let two = with_routers(
        graph(
            "nodes a routers one two isp switches lan",
            &[
                ("a -- lan", ""),
                ("one -- lan", ""),
                ("two -- lan", ""),
                ("one -- isp", ""),
                ("two -- one", ""),
            ],
        ),
        &[("one", Some(Nat::home()), Some("isp"))],
    );
    assert_eq!(messages(&two, Family::V4), []);
}

#[test]
fn ports_of_one_vlan_are_on_one_segment() {
    let links = [
        ("a -- s", "vlan = 10"),
        ("b -- s", "vlan = 20"),
        ("c -- s", ""),
        ("s -- t", ""),
        ("d -- t", "vlan = 10"),
        ("e -- t", "vlan = 20"),
        ("t -- u", "vlan = 20"),
        ("f -- u", "vlan = 20"),
        ("g -- u", "vlan = 10"),
    ];
    let resolved = graph("nodes a b c d e f g switches s t u", &links).resolve(Family::V4).unwrap();
    let together: Vec<String> = resolved
        .segments
        .iter()
        .map(|segment| {
            let hosts = segment.interfaces.iter().map(|interface| resolved.interfaces[*interface].host);
            hosts.map(|host| resolved.hosts[host].name.as_str()).collect()
        })
        .collect();
    assert_eq!(together, ["ad", "bef", "c", "g"]);
    assert_eq!(resolved.segments[1].prefixes[0].to_string(), "10.1.1.0/24");
    // Each has a prefix of its own, which may be written to any of its ports.
    let written = graph(
        "nodes a b c switches s t",
        &[
            ("s -- t", ""),
            ("a -- s", "vlan = 10, prefix = 10.10.0.0/24"),
            ("b -- s", "vlan = 20, prefix = 10.20.0.0/24"),
            ("c -- t", "vlan = 10"),
        ],
    );
    let resolved = written.resolve(Family::V4).unwrap();
    assert_eq!(lines(&resolved), ["a/eth0 10.10.0.1/24", "b/eth0 10.20.0.1/24", "c/eth0 10.10.0.2/24"]);
}

#[test]
fn vlans_are_of_switches_and_have_numbers() {
    let wrong = graph(
        "nodes a b switches s t",
        &[
            ("a -- b", "vlan = 10"),
            ("a -- s", "vlan = 4095"),
            ("b -- s", "vlan = 20"),
            ("b -- t", ""),
            ("s -- t", "prefix = 10.0.7.0/24"),
        ],
    );
    let found = messages(&wrong, Family::V4);
    let expected = [
        (Place::Vlan(0), "`a -- b` has no switch that knows VLANs"),
        (Place::Vlan(1), "`vlan = 4095` is none: a VLAN has a number from 1 to 4094"),
        (Place::Prefix(4, 0), "`s -- t` carries several VLANs: write it to a node's link in one of them"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((place, text), (expected, words)) in found.iter().zip(expected) {
        assert!(*place == expected && text.contains(words), "{place:?}: {text}");
    }
}
