//! What a router does at its uplink, as rules of nf_tables: it translates and it filters.

mod filter;
mod mappings;
mod translate;

use std::time::Duration;
use std::{fs, io};

use netns_test_model::graph::Firewall;

pub use self::mappings::NatMapping;
pub(crate) use self::mappings::{flush, mappings};
use crate::error::{Doing, Error};
use crate::netlink::nftables::{Batch, NftSocket};
use crate::plan::GatewayPlan;
use crate::sysctl;

/// How many packets a rule has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// `firewall` or `NAT`.
    pub(crate) by: &'static str,
    /// Why, as in "begins outside".
    pub(crate) why: String,
    pub(crate) packets: u64,
}

/// What the rules of a router have stopped so far; the calling thread is in its network namespace.
pub(crate) fn stopped(gateway: &GatewayPlan) -> io::Result<Vec<Stopped>> {
    let socket = NftSocket::open()?;
    let tables = [
        (gateway.firewall != Firewall::Open, "firewall", filter::table()),
        (gateway.nat.is_some(), "NAT", translate::table()),
    ];
    let mut stopped = Vec::new();
    for (_, by, table) in tables.into_iter().filter(|(is_there, ..)| *is_there) {
        for rule in socket.rules(&table, None)? {
            if let (Some(why), Some(counted)) =
                (rule.comment, rule.counted.filter(|counted| counted.packets > 0))
            {
                stopped.push(Stopped { by, why, packets: counted.packets });
            }
        }
    }
    Ok(stopped)
}

/// Has the calling thread's network namespace, a router's, do what the plan says. No packet has passed it yet.
pub(crate) fn apply(router: &str, gateway: &GatewayPlan) -> Result<(), Error> {
    let socket = NftSocket::open().doing(|| format!("open a socket of nf_tables in `{router}`"))?;
    let mut batch = Batch::new();
    filter::add(gateway, &mut batch);
    if let Some(nat) = &gateway.nat {
        translate::add(gateway, nat, &mut batch);
    }
    socket.send(batch)?;
    match &gateway.nat {
        Some(nat) => configure(router, nat.nat.udp_timeout, nat.nat.tcp_timeout),
        None => Ok(()),
    }
}

fn configure(router: &str, udp: Duration, tcp: Duration) -> Result<(), Error> {
    // Who hairpins would be told of a shorter way, which is none.
    for which in ["all", "default"] {
        set(router, &format!("ipv4/conf/{which}/send_redirects"), 0)?;
    }
    // A mapping lives as long as the connection that conntrack sees in its packets.
    for (name, timeout) in
        [("udp_timeout", udp), ("udp_timeout_stream", udp), ("tcp_timeout_established", tcp)]
    {
        set(router, &format!("netfilter/nf_conntrack_{name}"), timeout.as_secs())?;
    }
    Ok(())
}

fn set(router: &str, name: &str, value: u64) -> Result<(), Error> {
    fs::write(sysctl::path(name), value.to_string()).map_err(|error| {
        let operation = format!("set `net/{name}` of `{router}` to {value}");
        match error.kind() {
            // Linux before 5.13 shows the settings of conntrack to root alone.
            io::ErrorKind::NotFound => Error::because(
                operation,
                "the kernel does not have it for this user: a NAT needs Linux 5.13, or root, as in \
                 `CARGO_TARGET_<TRIPLE>_RUNNER=\"sudo -E\"`",
            ),
            _ => Error::new(operation, error),
        }
    })
}
