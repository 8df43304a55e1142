//! Random graphs, each made from a number alone, and how they are written in the attribute.
//!
//! A test that builds them can share this file: it needs nothing but the model.

use std::collections::BTreeSet;
use std::time::Duration;

use netns_test_model::Family;
use netns_test_model::graph::{
    Addresses, Burst, Conditions, Direction, Ecn, End, Firewall, Graph, Icmp, Kind, Link, Member, Nat,
    NatBehavior, OwnAddress, Percent, Queue, Rate, RouterOptions, Routes, Trace, Wire,
};

/// A graph, and what was drawn wrong in it: a part of each message.
pub(crate) struct Drawn {
    pub(crate) graph: Graph,
    pub(crate) family: Family,
    pub(crate) mistakes: Vec<&'static str>,
}

/// Numbers that follow from a seed (SplitMix64, <https://prng.di.unimi.it/splitmix64.c>).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Whether something is so whose share is so many thousandths.
    fn hits(&mut self, share: u64) -> bool {
        self.next() % 1000 < share
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn maybe<T>(&mut self, share: u64, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.hits(share).then(|| value(self))
    }
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

impl Drawn {
    /// The graph of this number.
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let family = dice.pick(&[Family::Dual, Family::Dual, Family::V4, Family::V6]);
        let mut drawn = Self { graph: Graph::default(), family, mistakes: Vec::new() };
        drawn.draw_members(&mut dice);
        for number in 0..dice.below(9) {
            drawn.draw_link(&mut dice, number);
        }
        drawn.draw_directions(&mut dice);
        drawn.draw_routers(&mut dice);
        let graph = &mut drawn.graph;
        graph.routes = dice.pick(&[Routes::All, Routes::All, Routes::All, Routes::Connected, Routes::None]);
        if dice.hits(80) {
            graph.addresses = Addresses::None;
        }
        graph.wire = dice.maybe(100, |_| Wire::User);
        graph.seed = dice.maybe(500, |dice| dice.below(1000) as u64);
        drawn
    }

    fn draw_members(&mut self, dice: &mut Dice) {
        let kinds = [Kind::Node, Kind::Node, Kind::Router, Kind::Router, Kind::Switch];
        let count = 2 + dice.below(6);
        let mut kinds: Vec<Kind> = (0..count).map(|_| dice.pick(&kinds)).collect();
        // The attribute declares them kind by kind.
        kinds.sort_by_key(|kind| *kind as usize);
        for (number, kind) in kinds.into_iter().enumerate() {
            self.graph.members.push(Member { name: format!("m{number}"), kind });
        }
        if dice.hits(10) {
            self.graph.members[count - 1].name = "m0".to_owned();
            self.mistakes.push("`m0` is declared twice");
        }
    }

    fn kind(&self, end: &End) -> Option<Kind> {
        let member = self.graph.members.iter().find(|member| member.name == end.member);
        member.map(|member| member.kind)
    }

    fn draw_link(&mut self, dice: &mut Dice, number: usize) {
        let names: Vec<String> = self.graph.members.iter().map(|member| member.name.clone()).collect();
        let left = dice.below(names.len());
        let mut right = (left + 1 + dice.below(names.len() - 1)) % names.len();
        if dice.hits(8) {
            right = left;
        }
        let mut ends = [left, right].map(|member| End { member: names[member].clone(), interface: None });
        if ends[0].member == ends[1].member {
            self.mistakes.push("is linked to itself");
        }
        if dice.hits(5) {
            ends[1].member = "nobody".to_owned();
            self.mistakes.push("there is no `nobody`");
        }
        let kinds = ends.each_ref().map(|end| self.kind(end));
        if ends[0].member == ends[1].member || kinds.contains(&None) {
            // Of such a link nothing more can be judged.
            return self.graph.links.push(Link { ends, ..Link::default() });
        }
        for (side, end) in ends.iter_mut().enumerate() {
            if kinds[side] != Some(Kind::Switch) {
                // Some look like those that are given out.
                let names = [format!("wan{number}"), format!("eth{}", 20 + number), format!("eth0.{number}")];
                end.interface = dice.maybe(150, |dice| dice.pick(&names));
                if dice.hits(5) {
                    end.interface = Some("lo".to_owned());
                    self.mistakes.push("`lo` is no name of an interface: the loopback has it");
                }
            } else if dice.hits(5) {
                end.interface = Some("eth0".to_owned());
                self.mistakes.push("is a switch, and its ports have no names");
            }
        }
        let link = Link { ends, ..Link::default() };
        let switches = kinds.iter().filter(|kind| **kind == Some(Kind::Switch)).count();
        let link = match switches {
            2 => self.trunk(dice, link),
            _ => self.said(dice, link, number, switches == 1),
        };
        self.graph.links.push(link);
    }

    /// A link between two switches.
    fn trunk(&mut self, dice: &mut Dice, mut link: Link) -> Link {
        link.vlan = dice.maybe(200, |dice| dice.pick(&[10, 20]));
        if dice.hits(20) {
            link.mtu = Some(1400);
            self.mistakes.push("has no node's interface to set the MTU of");
        }
        link
    }

    /// What is said of a link of a host.
    fn said(&mut self, dice: &mut Dice, mut link: Link, number: usize, to_switch: bool) -> Link {
        link.mtu = dice.maybe(200, |dice| dice.pick(&[1280, 1400, 9000]));
        if dice.hits(15) {
            link.mtu = Some(dice.pick(&[60, 1000, 70_000]));
            if link.mtu != Some(1000) || self.family != Family::V4 {
                self.mistakes.push(if link.mtu == Some(70_000) { "is too large" } else { "is too small" });
            }
        }
        if dice.hits(if to_switch { 250 } else { 5 }) {
            link.vlan = Some(dice.pick(&[10, 20]));
            if !to_switch {
                self.mistakes.push("has no switch that knows VLANs");
            } else if dice.hits(20) {
                link.vlan = Some(4095);
                self.mistakes.push("`vlan = 4095` is none");
            }
        }
        link.private = dice.hits(80);
        if !to_switch {
            self.draw_addresses(dice, &mut link, number);
        }
        if dice.hits(300) {
            link.conditions = self.draw_conditions(dice);
        }
        if dice.hits(100) {
            link.wire = Some(Wire::User);
        }
        // Not every kernel has what more takes.
        let mut more = link.conditions.clone();
        let has_rate = more.rate.take().is_some();
        more.queue = None;
        if has_rate && more.are_none() && !to_switch && dice.hits(500) {
            link.wire = Some(Wire::Kernel);
        }
        link
    }

    /// Prefixes and addresses, which lie beside those that are assigned, and beside other links' ones.
    fn draw_addresses(&mut self, dice: &mut Dice, link: &mut Link, number: usize) {
        let family = dice.pick(&[Family::V4, Family::V6]);
        let fits = if family == Family::V4 { self.family.has_v4() } else { self.family.has_v6() };
        if !fits && dice.hits(950) {
            return;
        }
        let (prefix, outside) = match family {
            Family::V4 => (format!("10.200.{number}.0/28"), "192.0.2.1".to_owned()),
            _ => (format!("2001:db8:200:{number}::/64"), "2001:db8:ffff::1".to_owned()),
        };
        let has_prefix = dice.hits(250);
        let owner = dice.pick(&link.ends).member;
        let host = prefix.split('/').next().unwrap_or_default().trim_end_matches('0').to_owned() + "5";
        let address = match (has_prefix, dice.hits(150)) {
            (_, false) => None,
            (true, true) if dice.hits(100) => {
                self.mistakes.push(if fits { "is outside the link's prefix" } else { "the network is" });
                Some(outside)
            }
            (true, true) => Some(host),
            (false, true) => Some(format!("{host}/{}", if family == Family::V4 { 28 } else { 64 })),
        };
        if !fits && (has_prefix || address.is_some()) {
            self.mistakes.push("the network is `family = ");
        }
        link.prefixes.extend(has_prefix.then_some(prefix));
        link.addresses.extend(address.map(|address| OwnAddress { member: owner, address }));
        if has_prefix && fits && dice.hits(20) {
            link.prefixes[0] =
                if family == Family::V4 { "10.200.0.0/33" } else { "2001:db8::/129" }.to_owned();
            link.addresses.clear();
            self.mistakes.push("has no length that ");
        }
    }

    fn draw_conditions(&mut self, dice: &mut Dice) -> Conditions {
        let mut drawn = Conditions::new();
        let share = |dice: &mut Dice| Percent(dice.pick(&[0.01, 0.1]));
        drawn.delay = dice.maybe(400, |dice| dice.pick(&[ms(1), ms(2), Duration::from_micros(1500)]));
        if drawn.delay.is_some() {
            drawn.jitter = dice.maybe(400, |_| ms(1));
            drawn.reorder = dice.maybe(200, share);
        }
        drawn.loss = dice.maybe(200, |dice| share(dice).into());
        if dice.hits(80) {
            drawn.loss = Some(Burst::new(Percent(0.1), Percent(50.0)).bad(Percent(90.0)).into());
        }
        drawn.duplicate = dice.maybe(150, share);
        drawn.corrupt = dice.maybe(100, share);
        match dice.below(4) {
            0 => drawn.rate = Some(dice.pick(&[Rate::mbit(10), Rate::gbit(1), Rate::kbit(20_500)])),
            1 if dice.hits(300) => {
                drawn.trace = Some(Trace::new([(Rate::mbit(20), ms(50)), (Rate::mbit(100), ms(20))]));
            }
            _ => {}
        }
        if drawn.rate.is_some() || drawn.trace.is_some() {
            let queues = [Queue::Time(ms(50)), Queue::Bytes(100_000), Queue::Packets(200)];
            drawn.queue = dice.maybe(500, |dice| dice.pick(&queues));
        }
        drawn.ecn = dice.maybe(100, |dice| dice.pick(&[Ecn::Pass, Ecn::Bleach]));
        drawn.icmp = dice.maybe(80, |dice| dice.pick(&[Icmp::Pass, Icmp::Drop]));
        match dice.below(60) {
            0 => {
                drawn.loss = Some(Percent(101.0).into());
                self.mistakes.push("`loss = 101%` is more than all packets");
            }
            1 => {
                (drawn.delay, drawn.jitter, drawn.reorder) = (None, Some(ms(1)), None);
                self.mistakes.push("`jitter` varies a delay, and there is none");
            }
            2 => {
                (drawn.rate, drawn.trace, drawn.queue) = (None, None, Some(Queue::Packets(9)));
                self.mistakes.push("`queue` is what waits for its turn at a `rate`, and there is none");
            }
            3 => {
                (drawn.rate, drawn.trace) = (Some(Rate::bit(0)), None);
                self.mistakes.push("`rate = 0` lets nothing pass");
            }
            _ => {}
        }
        drawn
    }

    /// What one direction says, of some links that are the only ones between their ends.
    fn draw_directions(&mut self, dice: &mut Dice) {
        let members = |link: &Link| BTreeSet::from(link.ends.each_ref().map(|end| end.member.clone()));
        for link in &self.graph.links {
            let alike = self.graph.links.iter().filter(|other| members(other) == members(link)).count();
            let can = !link.conditions.are_none() && link.wire != Some(Wire::Kernel);
            if !can || alike > 1 || members(link).len() < 2 || !dice.hits(300) {
                continue;
            }
            let mut ends = link.ends.clone();
            if dice.hits(500) {
                ends.reverse();
            }
            self.graph.directions.push(Direction { ends, conditions: Conditions::new().delay(ms(3)) });
        }
    }

    /// What some of the routers do beside passing packets on.
    fn draw_routers(&mut self, dice: &mut Dice) {
        let routers = self.graph.members.iter().filter(|member| member.kind == Kind::Router);
        let routers: BTreeSet<String> = routers.map(|member| member.name.clone()).collect();
        for member in routers {
            if !dice.hits(300) {
                continue;
            }
            let mut options = RouterOptions { member, ..RouterOptions::default() };
            let kind = dice.maybe(600, |dice| dice.pick(Nat::KINDS));
            options.nat = kind.and_then(Nat::kind);
            options.firewall = kind.map(Nat::firewall_of);
            if dice.hits(400) || kind.is_none() {
                options.firewall = Some(dice.pick(Firewall::ALL));
            }
            if let (Some(nat), true) = (&mut options.nat, dice.hits(300)) {
                nat.mapping = dice.pick(NatBehavior::ALL);
                nat.filtering = dice.pick(NatBehavior::ALL);
                nat.port_preservation = dice.hits(500);
                nat.hairpinning = dice.hits(500);
                nat.udp_timeout = Duration::from_secs(dice.pick(&[30, 90]));
            }
            let own = |link: &&Link| link.ends.iter().any(|end| end.member == options.member);
            let own: Vec<String> = self
                .graph
                .links
                .iter()
                .filter(own)
                .flat_map(|link| link.ends.iter().map(|end| end.member.clone()))
                .filter(|end| *end != options.member)
                .collect();
            if !own.is_empty() && dice.hits(900) {
                options.uplink = Some(dice.pick(&own));
            }
            self.graph.routers.push(options);
        }
    }

    /// What stands in the parentheses of the attribute.
    pub(crate) fn attribute(&self) -> String {
        let Graph { members, links, routers, directions, routes, addresses, wire, seed } = &self.graph;
        let mut parts = Vec::new();
        for (kind, key) in [(Kind::Node, "nodes"), (Kind::Router, "routers"), (Kind::Switch, "switches")] {
            let of_kind = members.iter().filter(|member| member.kind == kind);
            let texts: Vec<String> = of_kind
                .map(|member| {
                    let options = routers.iter().find(|options| options.member == member.name);
                    let options = options.filter(|_| kind == Kind::Router);
                    options.map_or_else(|| member.name.clone(), self::options)
                })
                .collect();
            if !texts.is_empty() {
                parts.push(format!("{key}({})", texts.join(", ")));
            }
        }
        let links = links.iter().map(self::link);
        let directions = directions.iter().map(|direction| {
            let [from, to] = direction.ends.each_ref().map(end);
            format!("{from} -> {to} {{ {} }}", direction.conditions)
        });
        let all: Vec<String> = links.chain(directions).collect();
        if !all.is_empty() {
            parts.push(format!("links({})", all.join(", ")));
        }
        parts.push(format!("routes = {}", routes.name()));
        parts.push(format!("addresses = {}", addresses.name()));
        parts.extend(wire.map(|wire| format!("wire = {}", wire.name())));
        parts.extend(seed.map(|seed| format!("seed = {seed}")));
        parts.push(format!("family = {}", self.family.name()));
        parts.join(", ")
    }
}

/// An interface's name may need quotes.
fn end(end: &End) -> String {
    match &end.interface {
        Some(name) if name.contains('.') => format!("{}.\"{name}\"", end.member),
        Some(name) => format!("{}.{name}", end.member),
        None => end.member.clone(),
    }
}

fn link(link: &Link) -> String {
    let [left, right] = link.ends.each_ref().map(end);
    let mut said = Vec::new();
    said.extend(link.mtu.map(|mtu| format!("mtu = {mtu}")));
    said.extend(link.vlan.map(|vlan| format!("vlan = {vlan}")));
    said.extend(link.prefixes.iter().map(|prefix| format!("prefix = {prefix:?}")));
    said.extend(link.addresses.iter().map(|own| format!("{} = {:?}", own.member, own.address)));
    said.extend(link.private.then(|| "private".to_owned()));
    said.extend((!link.conditions.are_none()).then(|| link.conditions.to_string()));
    said.extend(link.wire.map(|wire| format!("wire = {}", wire.name())));
    match said.is_empty() {
        true => format!("{left} -- {right}"),
        false => format!("{left} -- {right} {{ {} }}", said.join(", ")),
    }
}

fn options(options: &RouterOptions) -> String {
    let mut said = Vec::new();
    if let Some(nat) = &options.nat {
        said.extend([
            "nat = home".to_owned(),
            format!("mapping = {}", nat.mapping.name()),
            format!("filtering = {}", nat.filtering.name()),
            format!("port_preservation = {}", nat.port_preservation),
            format!("hairpinning = {}", nat.hairpinning),
            format!("udp_timeout = {}s", nat.udp_timeout.as_secs()),
            format!("tcp_timeout = {}s", nat.tcp_timeout.as_secs()),
        ]);
    }
    said.extend(options.firewall.map(|firewall| format!("firewall = {}", firewall.name())));
    said.extend(options.uplink.as_ref().map(|uplink| format!("uplink = {uplink}")));
    format!("{} {{ {} }}", options.member, said.join(", "))
}
