//! NAT with RFC 4787's behaviours.
//!
//! Conntrack alone gives no promise about a second peer: it keeps an outer port for another peer if that happens to be free,
//! and lets two inside share one. So the mappings are kept here, in two maps that rules fill, by protocol:
//!
//! ```text
//! mappings: inner address and port (and the peer, as far as the mapping depends on it) → outer port
//! ports:    outer port → that inner address and port
//! ```
//!
//! The first packet of a connection takes the outer port that `mappings` has, or claims one that `ports` has not, which `taken` tells:
//! before Linux 6.4 a rule cannot ask whether a map has a key. Of two that
//! claim one at the same time, the element of `claims` lets one pass. What the maps say stands as long as packets go to and
//! fro, which is noted behind the translation, and conntrack's connections live as long.
//!
//! nft(8) can list all of it, which takes some care: it gives up over a key that was itself looked up.

use std::time::Duration;

use netns_test_model::graph::NatBehavior;
use nix::libc;

use crate::netlink::nftables::{
    Batch, Chain, ChainKind, CtState, CtStatus, Expr, Family, Field, Hook, Register, Rule, Set, SetRef,
    Table, Type,
};
use crate::plan::{GatewayPlan, NatPlan};

/// The ports that are given out where none is kept: below those that Linux chooses for its own sockets.
const FIRST_PORT: u32 = 1024;
const PORTS: u32 = 31_744;
/// How many of them are tried for one connection.
const ATTEMPTS: usize = 8;
/// The most mappings: each has a port, of TCP or of UDP.
const SIZE: u32 = 2 * 65_536;
/// Long after a claim its port is in `ports`; no mapping is forgotten sooner.
const CLAIM: Duration = Duration::from_secs(1);

pub(super) fn table() -> Table {
    Table::new(Family::Ip, "nat")
}

/// The table of a router, and what it keeps there.
pub(super) struct Translation {
    pub(super) table: Table,
    pub(super) mappings: Set,
    pub(super) ports: Set,
    /// The outer ports that `ports` has.
    pub(super) taken: Set,
    /// The outer ports that were claimed just now.
    pub(super) claims: Set,
    /// Who outside was spoken to from which outer port.
    pub(super) permitted: Set,
    dependence: NatBehavior,
}

impl Translation {
    pub(super) fn new(plan: &NatPlan) -> Self {
        let table = table();
        let timeout = plan.nat.udp_timeout;
        let outer = [Type::InetProto, Type::InetService];
        let endpoint: &[Type] = &[Type::Ipv4Addr, Type::InetService, Type::Ipv4Addr, Type::InetService];
        let endpoint = match plan.nat.mapping {
            NatBehavior::EndpointIndependent => &endpoint[..2],
            NatBehavior::AddressDependent => &endpoint[..3],
            _ => endpoint,
        };
        let inner = [&[Type::InetProto], endpoint].concat();
        let mappings =
            table.set("mappings", &inner).map_to(&[Type::InetService]).dynamic(SIZE).timeout(timeout);
        // Without the peer: nft(8) gives up over a translation to a part of what a map has.
        let ports = table.set("ports", &outer).map_to(&endpoint[..2]).dynamic(SIZE).timeout(timeout);
        let taken = table.set("taken", &outer).dynamic(SIZE).timeout(timeout);
        let claims = table.set("claims", &outer).dynamic(SIZE).timeout(CLAIM);
        let permitted = [Type::InetProto, Type::InetService, Type::Ipv4Addr];
        let permitted = table.set("permitted", &permitted).dynamic(SIZE).timeout(timeout);
        Self { table, mappings, ports, taken, claims, permitted, dependence: plan.nat.mapping }
    }

    /// Loads the protocol, the inner address and port, and of the peer what the mapping depends on.
    fn load(&self, rule: Rule, first: Register, inner: [Field; 2], peer: [Field; 2]) -> Rule {
        let peers = match self.dependence {
            NatBehavior::EndpointIndependent => 0,
            NatBehavior::AddressDependent => 1,
            _ => 2,
        };
        let fields = [Field::L4Proto].into_iter().chain(inner).chain(peer.into_iter().take(peers));
        (first.0..).zip(fields).fold(rule, |rule, (register, field)| rule.load(field, Register(register)))
    }
}

const SOURCE: [Field; 2] = [Field::IpSaddr, Field::Sport];
const DESTINATION: [Field; 2] = [Field::IpDaddr, Field::Dport];

fn named(set: &Set) -> SetRef {
    SetRef::Named(set.name().to_owned())
}

pub(super) fn add(gateway: &GatewayPlan, plan: &NatPlan, batch: &mut Batch) {
    let translation = Translation::new(plan);
    let Translation { table, mappings, ports, taken, claims, permitted, .. } = &translation;
    let chain = |name, kind, hook, priority| table.base_chain(name, kind, hook, priority);
    // The priorities of nft's words `dstnat` and `srcnat`; `noted` comes behind them.
    let inwards = chain("inwards", ChainKind::Nat, Hook::Prerouting, -100);
    let outwards = chain("outwards", ChainKind::Nat, Hook::Postrouting, 100);
    let noted = chain("noted", ChainKind::Filter, Hook::Postrouting, 300);
    let input = chain("input", ChainKind::Filter, Hook::Input, 0);
    let forward = chain("forward", ChainKind::Filter, Hook::Forward, 0);
    let claim = table.chain("claim");
    batch.add_table(table);
    for set in [mappings, ports, taken, claims, permitted] {
        batch.add_set(set);
    }
    for chain in [&inwards, &outwards, &noted, &input, &forward, &claim] {
        batch.add_chain(chain);
    }
    translation.add_inwards(gateway, plan, &inwards, batch);
    translation.add_outwards(gateway, plan, &outwards, &claim, batch);
    translation.add_noted(gateway, plan, &noted, batch);
    let uplink = gateway.uplink.as_str();
    let begins_outside = || Rule::new().iifname(uplink).ct_state(CtState::NEW | CtState::INVALID);
    // Dropped before conntrack keeps it: a connection of the router's own would be in the way of the same two ends later, as
    // when two hosts send to each other at once. The router answers pings.
    let to_router = begins_outside().differs(Field::L4Proto, libc::IPPROTO_ICMP as u8);
    batch.add_rule(&input, to_router.comment("not mapped").counter().drop());
    // Who is on the uplink's link could send to inner addresses.
    let not_translated =
        Rule::new().iifname(uplink).ct_state(CtState::NEW | CtState::INVALID).ct_status_not(CtStatus::DNAT);
    batch.add_rule(&forward, not_translated.comment("to an inner address").counter().drop());
}

impl Translation {
    /// What begins outside, and what hairpins, finds its way in by `ports`.
    fn add_inwards(&self, gateway: &GatewayPlan, plan: &NatPlan, chain: &Chain, batch: &mut Batch) {
        let [proto, port, remote, inner] = [0, 1, 2, 4].map(Register);
        let to_us = |interface: &str| {
            let rule = Rule::new().iifname(interface).daddr(plan.outer, 32);
            rule.load(Field::L4Proto, proto).load(Field::Dport, port)
        };
        let translated = |rule: Rule| {
            rule.push(Expr::Map { set: named(&self.ports), key: proto, into: inner }).push(Expr::Nat {
                source: false,
                family: Family::Ip,
                address: Some(inner),
                port: Some(Register(inner.0 + 1)),
            })
        };
        match plan.nat.filtering {
            NatBehavior::EndpointIndependent => batch.add_rule(chain, translated(to_us(&gateway.uplink))),
            NatBehavior::AddressDependent => {
                let spoken_to = Expr::Lookup { set: named(&self.permitted), key: proto, inverted: false };
                let rule = to_us(&gateway.uplink).load(Field::IpSaddr, remote).push(spoken_to);
                batch.add_rule(chain, translated(rule));
            }
            // Whoever was spoken to answers within the same connection.
            _ => {}
        }
        if plan.nat.hairpinning {
            for inside in &gateway.inside {
                batch.add_rule(chain, translated(to_us(inside)));
            }
        }
    }

    /// What begins inside takes its outer port, or claims one.
    fn add_outwards(
        &self,
        gateway: &GatewayPlan,
        plan: &NatPlan,
        chain: &Chain,
        claim: &Chain,
        batch: &mut Batch,
    ) {
        let uplink = gateway.uplink.as_str();
        for inside in &gateway.inside {
            let from_inside = || Rule::new().iifname(inside);
            batch.add_rule(chain, from_inside().oifname(uplink).jump(claim));
            // It goes back inside by the outer address of who is there: it has to come from the outer address, too.
            if plan.nat.hairpinning {
                batch.add_rule(chain, from_inside().ct_status(CtStatus::DNAT).jump(claim));
            }
        }
        batch.add_rule(claim, self.translated(Rule::new(), plan));
        let protocols = [libc::IPPROTO_UDP, libc::IPPROTO_TCP].map(|protocol| protocol as u8);
        if plan.nat.port_preservation {
            for protocol in protocols {
                batch.add_rule(claim, self.claimed(protocol, Field::Sport, plan));
            }
        }
        let next = self.table.chain("next");
        batch.add_chain(&next);
        for protocol in protocols {
            let number = Field::Increment { modulus: PORTS, offset: FIRST_PORT };
            batch.add_rule(&next, self.claimed(protocol, number, plan));
        }
        for _ in 0..ATTEMPTS {
            batch.add_rule(claim, Rule::new().jump(&next));
        }
        for protocol in protocols {
            let rule = Rule::new().l4proto(protocol).comment("no port is left").counter();
            batch.add_rule(claim, rule.drop());
        }
        // ICMP has queries in place of ports, and conntrack tells them apart.
        batch.add_rule(claim, Rule::new().masquerade());
    }

    /// Claims an outer port, unless it is taken, and takes it.
    fn claimed(&self, protocol: u8, candidate: Field, plan: &NatPlan) -> Rule {
        let [inner, endpoint, outer, port] = [0, 1, 8, 9].map(Register);
        let mut rule = Rule::new().l4proto(protocol).load(Field::L4Proto, outer).load(candidate, port);
        if candidate != Field::Sport {
            rule = rule.push(Expr::ToPort(port));
        }
        rule = rule.push(Expr::Lookup { set: named(&self.taken), key: outer, inverted: true });
        let add = |set: &Set, key, data| Expr::Add {
            set: set.name().to_owned(),
            key,
            data,
            timeout: Some(timeout_of(protocol, plan)),
            refresh: false,
            once: false,
        };
        rule = rule.push(Expr::Add {
            set: self.claims.name().to_owned(),
            key: outer,
            data: None,
            timeout: Some(CLAIM),
            refresh: false,
            once: true,
        });
        rule = self
            .load(rule, inner, SOURCE, DESTINATION)
            .push(add(&self.taken, outer, None))
            .push(add(&self.ports, outer, Some(endpoint)))
            .push(add(&self.mappings, inner, Some(port)));
        self.translated(rule, plan)
    }

    /// Translates the source to the outer port that it has, if it has one.
    fn translated(&self, rule: Rule, plan: &NatPlan) -> Rule {
        let [inner, address, port] = [0, 6, 7].map(Register);
        self.load(rule, inner, SOURCE, DESTINATION)
            .push(Expr::Map { set: named(&self.mappings), key: inner, into: port })
            .push(Expr::Immediate(address, plan.outer.into()))
            .push(Expr::Nat { source: true, family: Family::Ip, address: Some(address), port: Some(port) })
    }

    /// Every packet that was translated gives its mapping, and what it permits, their full time again.
    fn add_noted(&self, gateway: &GatewayPlan, plan: &NatPlan, chain: &Chain, batch: &mut Batch) {
        let [outer, port, inner, endpoint] = [0, 1, 2, 3].map(Register);
        let uplink = gateway.uplink.as_str();
        for protocol in [libc::IPPROTO_UDP, libc::IPPROTO_TCP].map(|protocol| protocol as u8) {
            let noted = |set: &Set, key, data| Expr::Add {
                set: set.name().to_owned(),
                key,
                data,
                timeout: Some(timeout_of(protocol, plan)),
                refresh: true,
                once: false,
            };
            let note = |rule: Rule, outer_port, inside, peer| {
                let rule = rule.l4proto(protocol).load(Field::L4Proto, outer).load(outer_port, port);
                self.load(rule, inner, inside, peer)
                    .push(noted(&self.taken, outer, None))
                    .push(noted(&self.ports, outer, Some(endpoint)))
                    .push(noted(&self.mappings, inner, Some(port)))
            };
            // What goes out, or back in by a hairpin, has the outer port by now, and conntrack knows the inner one: of who
            // began, if that was inside, and of who answers, if not.
            let out = |direction: u8, status| {
                Rule::new().saddr(plan.outer, 32).ct_status(status).equals(Field::CtDirection, direction)
            };
            let began = [Field::CtOriginalIpSaddr, Field::CtOriginalSport];
            let answers = [Field::CtReplyIpSaddr, Field::CtReplySport];
            batch.add_rule(chain, note(out(0, CtStatus::SNAT), Field::Sport, began, DESTINATION));
            batch.add_rule(chain, note(out(1, CtStatus::DNAT), Field::Sport, answers, DESTINATION));
            // What came in has the inner port by now, and conntrack knows the outer one.
            let came_in = |direction: u8, status| {
                Rule::new().iifname(uplink).ct_status(status).equals(Field::CtDirection, direction)
            };
            batch.add_rule(
                chain,
                note(came_in(0, CtStatus::DNAT), Field::CtOriginalDport, DESTINATION, SOURCE),
            );
            batch.add_rule(chain, note(came_in(1, CtStatus::SNAT), Field::CtReplyDport, DESTINATION, SOURCE));
            if plan.nat.filtering == NatBehavior::AddressDependent {
                let rule = Rule::new().oifname(uplink).saddr(plan.outer, 32).l4proto(protocol);
                let rule = rule.load(Field::L4Proto, outer).load(Field::Sport, port);
                let rule = rule.load(Field::IpDaddr, Register(2));
                batch.add_rule(chain, rule.push(noted(&self.permitted, outer, None)));
            }
        }
    }
}

fn timeout_of(protocol: u8, plan: &NatPlan) -> Duration {
    match i32::from(protocol) {
        libc::IPPROTO_TCP => plan.nat.tcp_timeout,
        _ => plan.nat.udp_timeout,
    }
}
