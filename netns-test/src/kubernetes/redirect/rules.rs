//! What redirection is in the kernel: pure, from what is wanted to rules of nf_tables.
//!
//! Only what begins is redirected: TCP by its SYN, a UDP flow by its direction. A connection that was there before goes on as it was.

use std::net::IpAddr;

use super::Redirect;
use crate::netlink::nftables::{Batch, Chain, ChainKind, CtState, Field, Hook, Reject, Rule, Table};

/// The mark of packets that are the proxy's, whatever their addresses: ztunnel's.
pub(in crate::kubernetes) const TO_PROXY: u32 = 0x111;

/// The marks of packets that a node sends to a gateway, and which bits say so. The others are the gateway's number.
pub(in crate::kubernetes) const TO_GATEWAY: u32 = 0x4700_0000;
pub(in crate::kubernetes) const TO_GATEWAY_MASK: u32 = 0xff00_0000;

/// The mark of connections that have a gateway at one end.
const OF_GATEWAY: u32 = 0x112;

/// The priorities of nft(8): `mangle`, `dstnat`.
const MANGLE: i32 = -150;
const DSTNAT: i32 = -100;

/// The direction of the packets of whoever began a connection.
const FORTH: u8 = 0;

/// Chains of one table, each with its rules.
struct Rules<'a> {
    table: &'a Table,
    batch: &'a mut Batch,
}

impl<'a> Rules<'a> {
    fn new(table: &'a Table, batch: &'a mut Batch) -> Self {
        // In place of one that is there, and one that is not cannot be deleted.
        batch.add_table(table);
        batch.delete_table(table);
        batch.add_table(table);
        Self { table, batch }
    }

    fn chain(&mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) -> Chain {
        let chain = self.table.base_chain(name, kind, hook, priority);
        self.batch.add_chain(&chain);
        chain
    }

    fn add(&mut self, chain: &Chain, rule: Rule) {
        self.batch.add_rule(chain, rule);
    }
}

/// The rules of a pod: those of the in-pod mode, where a proxy may take a client's address for the connection to the application.
pub(super) fn in_pod(redirect: &Redirect, name_servers: &[IpAddr], table: &Table, batch: &mut Batch) {
    let mut rules = Rules::new(table, batch);
    let from_outside = || Rule::new().iifname("eth0");

    let prerouting = rules.chain("mangle-prerouting", ChainKind::Filter, Hook::Prerouting, MANGLE);
    if let Some(mark) = redirect.mark {
        // What the proxy sends to the application: the answers are to come to the proxy.
        rules.add(&prerouting, Rule::new().mark(mark).set_ct_mark(TO_PROXY));
    }
    if let (Some(port), true) = (redirect.inbound, redirect.is_transparent) {
        exempt(&mut rules, &prerouting, from_outside, &redirect.ports);
        tproxy(&mut rules, &prerouting, from_outside, port);
    }
    if let Some(port) = redirect.outbound_udp {
        // By way of the loopback, where `mangle-output` has sent it.
        tproxy_udp(&mut rules, &prerouting, || Rule::new().iifname("lo").mark(TO_PROXY), port);
    }
    let output = rules.chain("mangle-output", ChainKind::Route, Hook::Output, MANGLE);
    rules.add(&output, Rule::new().ct_mark(TO_PROXY).set_mark(TO_PROXY));
    if redirect.outbound_udp.is_some() {
        proxy_s_own(&mut rules, &output, redirect);
        for ip in name_servers {
            rules.add(&output, Rule::new().daddr(*ip, width(*ip)).r#return());
        }
        rules.add(&output, began_udp(Rule::new()).set_mark(TO_PROXY));
    }

    if let (Some(port), false) = (redirect.inbound, redirect.is_transparent) {
        let chain = rules.chain("nat-prerouting", ChainKind::Nat, Hook::Prerouting, DSTNAT);
        exempt(&mut rules, &chain, from_outside, &redirect.ports);
        rules.add(&chain, from_outside().tcp_syn().redirect(Some(port)));
    }
    if let Some(port) = redirect.outbound {
        let chain = rules.chain("nat-output", ChainKind::Nat, Hook::Output, DSTNAT);
        proxy_s_own(&mut rules, &chain, redirect);
        rules.add(&chain, Rule::new().tcp_syn().redirect(Some(port)));
    }
}

/// What the proxy sends, and what goes to the loopback or to the pod itself, is not redirected.
fn proxy_s_own(rules: &mut Rules<'_>, chain: &Chain, redirect: &Redirect) {
    for mark in redirect.mark.into_iter().chain([TO_PROXY]) {
        rules.add(chain, Rule::new().mark(mark).r#return());
    }
    for uid in &redirect.users {
        rules.add(chain, Rule::new().skuid(*uid).r#return());
    }
    rules.add(chain, Rule::new().oifname("lo").r#return());
}

/// Whom redirection outside of the pod is about.
pub(super) struct Parties<'a> {
    /// The pod's addresses.
    pub(super) pod: &'a [IpAddr],
    /// Those that it reaches without the proxy.
    pub(super) own: &'a [IpAddr],
    /// Where the rules stand.
    pub(super) table: &'a Table,
}

/// The rules of whoever stands on the pod's way, its node or a gateway; `from` matches the pod's packets.
pub(super) fn on_the_way(redirect: &Redirect, from: &[Rule], parties: &Parties<'_>, batch: &mut Batch) {
    let Parties { pod, own, table } = *parties;
    let mut rules = Rules::new(table, batch);
    let chain = rules.chain("mangle-prerouting", ChainKind::Filter, Hook::Prerouting, MANGLE);
    // What comes back to a proxy that speaks with another's address.
    for is_proxy_s in [Rule::new().tcp(), Rule::new().udp()] {
        let is_proxy_s = is_proxy_s.equals(Field::SocketTransparent, 1_u8).ct_state(CtState::ESTABLISHED);
        rules.add(&chain, is_proxy_s.set_mark(TO_PROXY).accept());
    }
    for from in from {
        for ip in own.iter().filter(|ip| from.may_be_for(**ip)) {
            rules.add(&chain, from.clone().daddr(*ip, width(*ip)).r#return());
        }
        if let Some(port) = redirect.outbound {
            tproxy(&mut rules, &chain, || from.clone(), port);
        }
        if let Some(port) = redirect.outbound_udp {
            tproxy_udp(&mut rules, &chain, || from.clone(), port);
        }
    }
    for ip in pod {
        let to = || Rule::new().daddr(*ip, width(*ip));
        if let Some(port) = redirect.inbound {
            exempt(&mut rules, &chain, to, &redirect.ports);
            tproxy(&mut rules, &chain, to, port);
        }
        if let Some(port) = redirect.inbound_udp {
            tproxy_udp(&mut rules, &chain, to, port);
        }
    }
}

/// The rules by which a node sends a pod's packets to a gateway, whose interfaces these are: connections that the pod begins, or that
/// others begin to it, and the answers to what the gateway sends with another's address.
pub(super) fn by_way_of(
    redirect: &Redirect,
    [pod_veth, gateway_veth]: [&str; 2],
    mark: u32,
    parties: &Parties<'_>,
    batch: &mut Batch,
) {
    let Parties { pod, own, table } = *parties;
    let mut rules = Rules::new(table, batch);
    let chain = rules.chain("mangle-prerouting", ChainKind::Filter, Hook::Prerouting, MANGLE);
    let of_gateway = || Rule::new().iifname(gateway_veth).equals(Field::CtDirection, FORTH);
    for ip in pod {
        for rule in [of_gateway().saddr(*ip, width(*ip)), of_gateway().daddr(*ip, width(*ip))] {
            rules.add(&chain, rule.set_ct_mark(OF_GATEWAY));
        }
    }
    rules.add(&chain, Rule::new().iifname(gateway_veth).r#return());
    for ip in own {
        rules.add(&chain, Rule::new().iifname(pod_veth).daddr(*ip, width(*ip)).r#return());
    }
    let from = || Rule::new().iifname(pod_veth);
    if redirect.outbound.is_some() {
        rules.add(&chain, from().tcp_syn().set_ct_mark(OF_GATEWAY));
    }
    if redirect.outbound_udp.is_some() {
        rules.add(&chain, began_udp(from()).set_ct_mark(OF_GATEWAY));
    }
    for ip in pod {
        let to = || Rule::new().daddr(*ip, width(*ip));
        if redirect.inbound.is_some() {
            exempt(&mut rules, &chain, to, &redirect.ports);
            rules.add(&chain, to().tcp_syn().set_ct_mark(OF_GATEWAY));
        }
        if redirect.inbound_udp.is_some() {
            rules.add(&chain, began_udp(to()).set_ct_mark(OF_GATEWAY));
        }
    }
    rules.add(&chain, Rule::new().ct_mark(OF_GATEWAY).set_mark(mark).accept());
}

/// Ports whose connections go their own way.
fn exempt(rules: &mut Rules<'_>, chain: &Chain, which: impl Fn() -> Rule, ports: &[u16]) {
    for port in ports {
        rules.add(chain, which().tcp_dport(*port).r#return());
    }
}

/// Gives connections to transparent sockets: to those that are connected, and to the listener on `port`. Without one they are refused.
fn tproxy(rules: &mut Rules<'_>, chain: &Chain, which: impl Fn() -> Rule, port: u16) {
    let connected = which().tcp().equals(Field::SocketTransparent, 1_u8);
    rules.add(chain, connected.set_mark(TO_PROXY).accept());
    rules.add(chain, which().tcp_syn().tproxy(None, port).set_mark(TO_PROXY).accept());
    rules.add(chain, which().tcp_syn().reject(Reject::TcpReset));
}

/// The same of UDP, but for answers.
fn tproxy_udp(rules: &mut Rules<'_>, chain: &Chain, which: impl Fn() -> Rule, port: u16) {
    rules.add(chain, began_udp(which()).tproxy(None, port).set_mark(TO_PROXY).accept());
    rules.add(chain, began_udp(which()).reject(Reject::PortUnreachable));
}

/// Datagrams of whoever has sent the first one.
fn began_udp(which: Rule) -> Rule {
    which.udp().equals(Field::CtDirection, FORTH)
}

pub(super) fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}
