//! Random graphs: what can be declared can be built, and the kernel then has what was declared; the rest is refused, in the model's words.
//!
//! Each follows from a number, which a failure prints with the declaration. `random_graphs_are_read_as_written_and_refused_in_the_models_words`
//! in the crate of the attribute reads the same graphs from tokens.

#[path = "../../netns-test-macros/src/drawn.rs"]
mod drawn;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use drawn::{Dice, Drawn};
use netns_test::{
    Addresses, Conditions, Ecn, Firewall, Icmp, Network, Node, Routes, Topology, Wire, netns_test,
};
use netns_test_model::graph::{Interface, Kind, Resolved};

/// How many graphs are drawn.
const COUNT: u64 = 160;

/// The number of the next network.
static SEED: Mutex<u64> = Mutex::new(0);

/// The graph of that number, with its members in any order.
fn current() -> Drawn {
    let seed = *SEED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut drawn = Drawn::of(seed);
    let mut dice = Dice::new(!seed);
    for last in (1..drawn.graph.members.len()).rev() {
        drawn.graph.members.swap(last, dice.below(last + 1));
    }
    // A builder says of a router what it does as it adds it.
    let place = |name: &String| drawn.graph.members.iter().position(|member| member.name == *name);
    drawn.graph.routers.sort_by_key(|options| place(&options.member));
    drawn
}

/// The graph as a test builds it in code.
fn built(drawn: &Drawn) -> Topology {
    let (graph, mut topology) = (&drawn.graph, Topology::new());
    topology.family(drawn.family).routes(graph.routes).addresses(graph.addresses);
    for member in &graph.members {
        let name = &member.name;
        match member.kind {
            Kind::Node => _ = topology.node(name),
            Kind::Switch => _ = topology.switch(name),
            Kind::Router => {
                let mut router = topology.router(name);
                let Some(options) = graph.routers.iter().find(|options| options.member == *name) else {
                    continue;
                };
                if let Some(nat) = &options.nat {
                    router = router.nat(nat.clone());
                }
                if let Some(firewall) = options.firewall {
                    router = router.firewall(firewall);
                }
                if let Some(uplink) = &options.uplink {
                    router.uplink(uplink);
                }
            }
        }
    }
    for declared in &graph.links {
        let [left, right] = declared.ends.each_ref().map(ToString::to_string);
        let mut link = topology.link(left, right).conditions(declared.conditions.clone());
        if let Some(mtu) = declared.mtu {
            link = link.mtu(mtu);
        }
        if let Some(vlan) = declared.vlan {
            link = link.vlan(vlan);
        }
        for prefix in &declared.prefixes {
            link = link.prefix(prefix);
        }
        for own in &declared.addresses {
            link = link.address(&own.member, &own.address);
        }
        if declared.private {
            link = link.private();
        }
        if let Some(wire) = declared.wire {
            link.wire(wire);
        }
    }
    for direction in &graph.directions {
        let [from, to] = direction.ends.each_ref().map(ToString::to_string);
        topology.direction(from, to, direction.conditions.clone());
    }
    if let Some(wire) = graph.wire {
        topology.wire(wire);
    }
    if let Some(seed) = graph.seed {
        topology.seed(seed);
    }
    topology
}

#[netns_test(topology = built(&current()))]
#[ignore = "a part of `what_is_drawn_is_built_or_refused`"]
async fn a_drawn_graph(network: Network) -> io::Result<()> {
    let drawn = current();
    let seen = Seen { resolved: drawn.graph.resolve(drawn.family).expect("it was built"), drawn, network };
    assert_eq!(seen.network.nodes().len(), seen.resolved.hosts.len());
    for host in 0..seen.resolved.hosts.len() {
        seen.has_its_interfaces(host)?;
        seen.has_its_tables(host)?;
    }
    seen.links_do_what_they_are_to_do()?;
    if seen.drawn.graph.addresses == Addresses::Assigned {
        seen.ways_lead_where_they_are_to_lead()?;
        seen.packets_go_these_ways().await?;
    }
    Ok(())
}

/// A graph, and the network that was made of it.
struct Seen {
    drawn: Drawn,
    resolved: Resolved,
    network: Network,
}

/// A way from one host to another: who is on it, both ends included, and by which interface each one sends.
type Way = Vec<(usize, Option<usize>)>;

impl Seen {
    fn node(&self, host: usize) -> Node {
        self.network.node(&self.resolved.hosts[host].name).expect("it was declared")
    }

    fn interfaces(&self, host: usize) -> impl Iterator<Item = (usize, &Interface)> {
        self.resolved.interfaces.iter().enumerate().filter(move |(_, interface)| interface.host == host)
    }

    fn has_its_interfaces(&self, host: usize) -> io::Result<()> {
        let node = self.node(host);
        let name = node.name();
        let (there, addresses) = (node.interfaces()?, node.addresses()?);
        let links =
            self.drawn.graph.links.iter().filter(|link| link.ends.iter().any(|end| end.member == name));
        assert_eq!(there.len(), self.interfaces(host).count(), "interfaces of {name}");
        for ((there, (_, planned)), declared) in there.iter().zip(self.interfaces(host)).zip(links) {
            let link = there.link()?;
            assert_eq!(link.name, planned.name);
            assert_eq!(link.mtu, declared.mtu.unwrap_or(1500), "{there}");
            assert!(link.is_running(), "{there}");
            let own = declared.ends.iter().find(|end| end.member == name);
            if let Some(chosen) = own.and_then(|own| own.interface.as_ref()) {
                assert_eq!(*chosen, link.name);
            }
            let own = addresses.iter().filter(|address| address.link == there.index());
            let is_wide = |ip: &IpAddr| !matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            let own = own.map(|address| (address.ip, address.prefix_len)).filter(|(ip, _)| is_wide(ip));
            let own: BTreeSet<(IpAddr, u8)> = own.collect();
            assert_eq!(own, planned.addresses.iter().copied().collect(), "{there}");
            for chosen in declared.addresses.iter().filter(|chosen| chosen.member == name) {
                let ip = chosen
                    .address
                    .split('/')
                    .next()
                    .and_then(|ip| ip.parse::<IpAddr>().ok())
                    .expect("an address");
                assert!(own.iter().any(|(own, _)| *own == ip), "{there} has {own:?} and not {ip}");
            }
            for prefix in &declared.prefixes {
                let (begin, length) = prefix.split_once('/').expect("a prefix");
                let (begin, length): (IpAddr, u8) = (begin.parse().unwrap(), length.parse().unwrap());
                let is_in = |(ip, own): &(IpAddr, u8)| *own == length && has_prefix(*ip, begin, length);
                let has_own = declared.addresses.iter().any(|chosen| chosen.member == name);
                let is_none = self.drawn.graph.addresses == Addresses::None && !has_own;
                assert!(is_none || own.iter().any(is_in), "{there} has {own:?}, and nothing of {prefix}");
            }
        }
        let forwards = node.sysctl("net.ipv4.ip_forward")?;
        assert_eq!(forwards == "1", self.resolved.hosts[host].is_router, "{name}");
        Ok(())
    }

    /// The tables of nf_tables are those of what a router was declared to do.
    fn has_its_tables(&self, host: usize) -> io::Result<()> {
        let Some(gateway) = &self.resolved.hosts[host].gateway else { return Ok(()) };
        let router = self.network.router(&self.resolved.hosts[host].name)?;
        assert_eq!((router.nat(), router.firewall()), (gateway.nat.clone(), gateway.firewall));
        let mut wanted = BTreeSet::new();
        wanted.extend(gateway.nat.as_ref().map(|_| "nat".to_owned()));
        wanted.extend((gateway.firewall != Firewall::Open).then(|| "firewall".to_owned()));
        assert_eq!(tables(&router)?, wanted, "{}", router.name());
        if gateway.nat.is_some() {
            assert_eq!(router.mappings()?, [], "{}", router.name());
        }
        Ok(())
    }

    fn links_do_what_they_are_to_do(&self) -> io::Result<()> {
        let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
        for declared in &self.drawn.graph.links {
            let directions = &self.drawn.graph.directions;
            for (side, end) in declared.ends.iter().enumerate() {
                let host = self.resolved.hosts.iter().position(|host| host.name == end.member);
                let Some(host) = host else { continue };
                let number = numbers.entry(host).or_default();
                let interface = self.interfaces(host).nth(*number).expect("one for each link").1;
                *number += 1;
                let node = self.node(host);
                let there = node.interface(&interface.name)?;
                let link = self.network.link_of(&there)?;
                let ends = [&declared.ends[side], &declared.ends[1 - side]];
                let more = directions.iter().find(|direction| direction.ends.each_ref() == ends);
                let wanted = more.map(|more| &more.conditions).cloned().unwrap_or_default();
                let wanted = declared.conditions.clone().with(&wanted);
                assert_eq!(link.from(&node)?.conditions(), wanted, "{there} sends");
                let is_bare = declared.wire.is_none()
                    && declared.conditions.are_none()
                    && directions.iter().all(|other| other.ends[0] != *ends[0] && other.ends[0] != *ends[1]);
                assert!(!is_bare || link.wire().is_none(), "{there}");
                if let Some(wire) = declared.wire {
                    assert_eq!(link.wire(), Some(wire), "{there}");
                }
                let mut does = wanted;
                does.ecn = does.ecn.filter(|ecn| *ecn != Ecn::Pass);
                does.icmp = does.icmp.filter(|icmp| *icmp != Icmp::Pass);
                match link.wire() {
                    Some(Wire::User) => _ = link.from(&node)?.tally()?,
                    Some(_) if does != Conditions::new() => {
                        assert!(["tbf", "netem"].contains(&there.link()?.qdisc.as_str()), "{there}");
                    }
                    _ => assert_eq!(there.link()?.qdisc, "noqueue", "{there}"),
                }
            }
        }
        Ok(())
    }

    /// The segments that a host has routes to, by the rules as they are told to users.
    fn reached(&self, from: usize, v4: bool) -> BTreeSet<usize> {
        let on = |host: usize| self.interfaces(host).map(|(_, interface)| interface.segment);
        let own: BTreeSet<usize> = on(from).collect();
        match self.drawn.graph.routes {
            Routes::None => return BTreeSet::new(),
            Routes::Connected => return own,
            _ => {}
        }
        let is_known = |segment: &usize| !self.resolved.segments[*segment].private;
        let mut reached: BTreeSet<usize> = own.iter().copied().filter(is_known).collect();
        loop {
            let mut more = reached.clone();
            for (number, arrives) in self.resolved.interfaces.iter().enumerate() {
                let router = &self.resolved.hosts[arrives.host];
                let uplink = router.gateway.as_ref().filter(|gateway| v4 && gateway.nat.is_some());
                let is_outside = uplink.is_some_and(|gateway| gateway.uplink == number);
                if router.is_router && reached.contains(&arrives.segment) && !is_outside {
                    more.extend(on(arrives.host).filter(is_known));
                }
            }
            if more.len() == reached.len() {
                reached.extend(own);
                return reached;
            }
            reached = more;
        }
    }

    /// The way to an address, by the routes that the kernels have; `None` where one has none, or it leads in a circle.
    fn way(&self, from: usize, to: IpAddr) -> io::Result<Option<Way>> {
        let (mut here, mut way) = (from, Way::new());
        for _ in 0..=self.resolved.hosts.len() {
            let has =
                |interface: &Interface, ip: IpAddr| interface.addresses.iter().any(|(own, _)| *own == ip);
            if self.interfaces(here).any(|(_, interface)| has(interface, to)) {
                way.push((here, None));
                return Ok(Some(way));
            }
            let route = match self.node(here).route_to(to) {
                Ok(route) => route,
                Err(error) if error.kind() == io::ErrorKind::NetworkUnreachable => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::HostUnreachable => return Ok(None),
                Err(error) => return Err(error),
            };
            let there = self.node(here).interfaces()?;
            let position = there.iter().position(|there| Some(there.index()) == route.link);
            // The loopback has multicast and the like alone.
            let Some((out, sends)) = position.and_then(|position| self.interfaces(here).nth(position)) else {
                return Ok(None);
            };
            way.push((here, Some(out)));
            let next = route.gateway.unwrap_or(to);
            let on_link = self.resolved.segments[sends.segment].interfaces.iter();
            let mut on_link = on_link.map(|interface| &self.resolved.interfaces[*interface]);
            let Some(next) = on_link.find(|interface| has(interface, next)) else { return Ok(None) };
            here = next.host;
        }
        Ok(None)
    }

    fn ways_lead_where_they_are_to_lead(&self) -> io::Result<()> {
        let translates = self
            .resolved
            .hosts
            .iter()
            .any(|host| host.gateway.as_ref().is_some_and(|gateway| gateway.nat.is_some()));
        for from in 0..self.resolved.hosts.len() {
            let reached = [true, false].map(|v4| self.reached(from, v4));
            for interface in self.resolved.interfaces.iter().filter(|interface| interface.host != from) {
                for (ip, _) in &interface.addresses {
                    let leads = self.way(from, *ip)?.is_some();
                    let wanted = reached[usize::from(ip.is_ipv6())].contains(&interface.segment);
                    let [from, to] = [from, interface.host].map(|host| &self.resolved.hosts[host].name);
                    // Of several translators, the way out leads to the nearest. And a router that packets get to anyway has all of its
                    // addresses, private ones, too.
                    let is_private = self.resolved.segments[interface.segment].private;
                    let is_said = if wanted { !(translates && ip.is_ipv4()) } else { !is_private };
                    assert!(leads == wanted || !is_said, "{from} to {to} at {ip}: {leads}");
                }
            }
        }
        Ok(())
    }

    /// A few connections, and that what translates on the way does so.
    async fn packets_go_these_ways(&self) -> io::Result<()> {
        let mut dice = Dice::new(self.resolved.interfaces.len() as u64);
        let hosts = self.resolved.hosts.len();
        let mut tried = 0;
        // Switches alone have nobody who sends.
        for _ in 0..60 * hosts.min(1) {
            let (from, to) = (dice.below(hosts), dice.below(hosts));
            let all: Vec<IpAddr> =
                self.interfaces(to).flat_map(|(_, it)| it.addresses.iter().map(|(ip, _)| *ip)).collect();
            if from == to || all.is_empty() || tried == 4 {
                continue;
            }
            let ip = all[dice.below(all.len())];
            let Some(way) = self.way(from, ip)? else { continue };
            let Some(peer) = self.peer(&way, ip)? else { continue };
            let (client, server) = (self.node(from), self.node(to));
            let listener = server.listen_tcp((ip, 80)).await?;
            let out = client.connect_tcp((ip, 80)).await?;
            let (inc, seen) = listener.accept().await?;
            match peer {
                Some(outer) => assert_eq!(seen.ip(), outer, "{} at {}", client.name(), server.name()),
                None => assert_eq!(seen, out.local_addr()?, "{} at {}", client.name(), server.name()),
            }
            drop((out, inc));
            tried += 1;
        }
        Ok(())
    }

    /// As who the first on a way is known to the last, an address for what was translated; `None` where packets may not pass, or
    /// answers go another way.
    fn peer(&self, way: &Way, to: IpAddr) -> io::Result<Option<Option<IpAddr>>> {
        let last = way.len() - 1;
        let (mut known, mut translator) = (None, 0);
        for (position, &(host, out)) in way.iter().enumerate().take(last).skip(1) {
            let Some(gateway) = &self.resolved.hosts[host].gateway else { continue };
            let goes_out = out == Some(gateway.uplink);
            let before = way[position - 1].1.map(|sends| self.resolved.interfaces[sends].segment);
            let comes_in = Some(self.resolved.interfaces[gateway.uplink].segment) == before;
            if comes_in || gateway.nat.is_some() && to.is_ipv4() && known.is_some() {
                return Ok(None);
            }
            if let (true, Some(_), true) = (goes_out, &gateway.nat, to.is_ipv4()) {
                let outer = self.resolved.interfaces[gateway.uplink].addresses.iter();
                known = outer.map(|(ip, _)| *ip).find(IpAddr::is_ipv4);
                translator = position;
            }
        }
        // A router that filters is an end as well: what comes to it by its uplink is no business of this test.
        let is_closed = |host: usize| self.resolved.hosts[host].gateway.is_some();
        if is_closed(way[last].0) || is_closed(way[0].0) {
            return Ok(None);
        }
        let first = self.resolved.interfaces[way[0].1.expect("it sends")].addresses.iter();
        let Some(own) = first.map(|(ip, _)| *ip).find(|ip| ip.is_ipv4() == to.is_ipv4()) else {
            return Ok(None);
        };
        let answers = |from: usize, to: IpAddr, way: &[(usize, Option<usize>)]| {
            let back = self.way(from, to)?.unwrap_or_default();
            let [back, forth] =
                [&back[..], way].map(|way| way.iter().map(|(host, _)| *host).collect::<Vec<_>>());
            io::Result::Ok(back.into_iter().rev().eq(forth))
        };
        let to_inside = answers(
            way[translator.max(if known.is_some() { 1 } else { last })].0,
            own,
            match known {
                Some(_) => &way[..=translator],
                None => way,
            },
        )?;
        let to_outside = match known {
            Some(outer) => answers(way[last].0, outer, &way[translator..])?,
            None => true,
        };
        Ok((to_inside && to_outside).then_some(known))
    }
}

/// Whether an address begins with so many bits of another.
fn has_prefix(ip: IpAddr, begin: IpAddr, length: u8) -> bool {
    let differ = match (ip, begin) {
        (IpAddr::V4(ip), IpAddr::V4(begin)) => (ip.to_bits() ^ begin.to_bits()).leading_zeros(),
        (IpAddr::V6(ip), IpAddr::V6(begin)) => (ip.to_bits() ^ begin.to_bits()).leading_zeros(),
        _ => return false,
    };
    differ >= length.into()
}

/// The names of the tables of nf_tables in a node, asked over netlink (`linux/netfilter/nf_tables.h`).
fn tables(node: &Node) -> io::Result<BTreeSet<String>> {
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
    const GETTABLE: u16 = 10 << 8 | 1;
    const REQUEST_DUMP: u16 = 0x1 | 0x300;
    const DONE: u16 = 3;
    const ERROR: u16 = 2;
    node.enter(|| {
        let protocol = SockProtocol::NetlinkNetFilter;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let mut request = 20_u32.to_ne_bytes().to_vec();
        request.extend([GETTABLE.to_ne_bytes(), REQUEST_DUMP.to_ne_bytes()].concat());
        request.extend([0; 12]);
        send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut names = BTreeSet::new();
        let mut answer = vec![0; 1 << 16];
        loop {
            let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            let mut rest = &answer[..length];
            while rest.len() >= 16 {
                let be = |at: usize| u16::from_ne_bytes([rest[at], rest[at + 1]]);
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                match be(4) {
                    DONE => return Ok(names),
                    ERROR => return Err(io::Error::other("the kernel refused to list its tables")),
                    _ => {}
                }
                // The name is the first attribute, behind two headers.
                let name = &rest[24..20 + usize::from(be(20))];
                names.insert(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned());
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    })
}

#[test]
fn what_is_drawn_is_built_or_refused() {
    let (mut refused, mut built_ones) = (0, 0);
    for seed in 0..COUNT {
        *SEED.lock().unwrap_or_else(PoisonError::into_inner) = seed;
        let drawn = current();
        let of_model = netns_test_model::Topology::of_graph(drawn.graph.clone(), drawn.family).check();
        let which =
            || format!("graph {seed} (its members in another order): #[netns_test({})]", drawn.attribute());
        match (built(&drawn).check(), of_model) {
            (Ok(()), Ok(())) => {
                let passed = catch_unwind(AssertUnwindSafe(a_drawn_graph));
                if let Err(panic) = passed {
                    println!("{}", which());
                    resume_unwind(panic);
                }
                built_ones += 1;
            }
            (Err(error), Err(problems)) => {
                let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
                assert_eq!(error.to_string(), format!("failed to build the topology: {}", texts.join("; ")));
                refused += 1;
            }
            (of_builder, of_model) => panic!("{of_builder:?}, and {of_model:?}\n{}", which()),
        }
    }
    println!("{refused} refused, {built_ones} built");
    assert!(refused > COUNT / 10 && built_ones > COUNT / 4, "{refused} refused, {built_ones} built");
}
