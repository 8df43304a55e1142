//! The firewall between a router's uplink and its other interfaces.

use netns_test_model::graph::Firewall;
use nix::libc;

use crate::netlink::nftables::{Batch, ChainKind, CtState, CtStatus, Family, Hook, Reject, Rule, Table};
use crate::plan::GatewayPlan;

/// The port of name servers.
const DNS: u16 = 53;

pub(super) fn table() -> Table {
    Table::new(Family::Inet, "firewall")
}

pub(super) fn add(gateway: &GatewayPlan, batch: &mut Batch) {
    if gateway.firewall == Firewall::Open {
        return;
    }
    let uplink = gateway.uplink.as_str();
    let table = table();
    let forward = table.base_chain("forward", ChainKind::Filter, Hook::Forward, 0);
    let input = table.base_chain("input", ChainKind::Filter, Hook::Input, 0);
    batch.add_table(&table);
    batch.add_chain(&forward);
    batch.add_chain(&input);
    batch.add_rule(&forward, Rule::new().ct_state(CtState::ESTABLISHED | CtState::RELATED).accept());
    // What the router has translated inwards has passed its filter.
    batch.add_rule(&forward, Rule::new().iifname(uplink).ct_status(CtStatus::DNAT).accept());
    batch.add_rule(&forward, Rule::new().iifname(uplink).comment("begins outside").counter().drop());
    let out = || Rule::new().oifname(uplink);
    let refuse = |rule: Rule| rule.counter().reject(Reject::AdminProhibited);
    if gateway.firewall != Firewall::Stateful {
        batch.add_rule(&forward, out().udp_dport(DNS).accept());
    }
    match gateway.firewall {
        Firewall::NoUdp => batch.add_rule(&forward, refuse(out().udp().comment("UDP"))),
        Firewall::Corporate => {
            batch.add_rule(&forward, out().tcp_dport([DNS, 80, 443]).accept());
            batch.add_rule(&forward, refuse(out().comment("neither the web nor DNS")));
        }
        _ => {}
    }
    batch.add_rule(&input, Rule::new().ct_state(CtState::ESTABLISHED | CtState::RELATED).accept());
    // Among it neighbour discovery, without which there is no link.
    for protocol in [libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6] {
        batch.add_rule(&input, Rule::new().iifname(uplink).l4proto(protocol as u8).accept());
    }
    batch.add_rule(&input, Rule::new().iifname(uplink).comment("to the router itself").counter().drop());
}
