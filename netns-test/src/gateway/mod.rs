//! What a router does at its uplink, as rules of nf_tables: it translates and it filters.

mod change;
mod filter;
mod mappings;
mod translate;

use std::collections::BTreeMap;
use std::time::Duration;
use std::{fs, io};

use netns_test_model::graph::Firewall;

pub use self::change::ChangedRouter;
pub(crate) use self::change::{GatewayChanges, redeclare};
pub use self::mappings::NatMapping;
pub(crate) use self::mappings::{flush, mappings};
use crate::error::{Doing, Error};
use crate::netlink::nftables::{Batch, NftSocket};
use crate::plan::{GatewayPlan, NatPlan};
use crate::sysctl;

/// How many packets a rule has stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// `firewall`, `NAT` or `network policies`.
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

/// Whether a table is the one of what a router does.
pub(crate) fn is_own(gateway: &GatewayPlan, family: &str, table: &str) -> bool {
    gateway.firewall != Firewall::Open && filter::table().is(family, table)
        || gateway.nat.is_some() && translate::table().is(family, table)
}

/// One of conntrack's settings.
const UDP_TIMEOUT: &str = "netfilter/nf_conntrack_udp_timeout";

/// Settings below /proc/sys/net, by their names.
type Settings = BTreeMap<String, String>;

/// Has the calling thread's network namespace, a router's, do what the plan says. No packet has passed it yet.
pub(crate) fn apply(router: &str, gateway: &GatewayPlan) -> Result<(), Error> {
    let socket = NftSocket::open().doing(|| format!("open a socket of nf_tables in `{router}`"))?;
    let mut batch = Batch::new();
    add(gateway, &mut batch);
    socket.send(batch)?;
    write(router, &settings(gateway))
}

/// Has a router that did what one plan says do what another says, from one packet to the next. Where that is refused, it does what
/// it did; the plan that is returned is the one that it follows. `kept` are the settings that it had before a test had it translate.
fn replace<'a>(
    router: &str,
    socket: &NftSocket,
    before: &'a GatewayPlan,
    now: &'a GatewayPlan,
    kept: &mut Settings,
) -> (&'a GatewayPlan, Result<(), Error>) {
    let failed = |error: Error, undone: Result<(), Error>| match undone {
        Ok(()) => Err(error),
        Err(more) => {
            Err(Error::because(format!("change what `{router}` does"), format!("{error}; and then {more}")))
        }
    };
    // Conntrack may be a module that no rule has asked for yet.
    if now.nat.is_some() && !fs::exists(sysctl::path(UDP_TIMEOUT)).unwrap_or(true) {
        let loaded = socket.load_connections();
        if let Err(error) = loaded.doing(|| format!("look for the connections of `{router}`")) {
            return (before, Err(error));
        }
    }
    let wanted = if now.nat.is_some() { settings(now) } else { there(kept) };
    let found = match read(router, &wanted) {
        Ok(found) => found,
        Err(error) => return (before, Err(error)),
    };
    // Settings that are refused are found before packets meet other rules.
    let configured = write(router, &wanted).and_then(|()| exchange(socket, before, now));
    if let Err(error) = configured {
        return (before, failed(error, put_back(router, &found)));
    }
    let keep = |kept: &mut Settings| match now.nat {
        Some(_) => found.iter().for_each(|(name, value)| {
            kept.entry(name.clone()).or_insert_with(|| value.clone());
        }),
        None => kept.clear(),
    };
    if before.nat == now.nat {
        keep(kept);
        return (now, Ok(()));
    }
    // What the one has translated the other knows nothing of.
    match socket.flush_connections().doing(|| format!("flush the connections of `{router}`")) {
        Ok(()) => {
            keep(kept);
            (now, Ok(()))
        }
        Err(error) => match exchange(socket, now, before) {
            Ok(()) => (before, failed(error, put_back(router, &found))),
            Err(more) => {
                keep(kept);
                (now, failed(error, Err(more)))
            }
        },
    }
}

/// Puts the rules of one plan in the place of another's, or changes nothing.
fn exchange(socket: &NftSocket, before: &GatewayPlan, now: &GatewayPlan) -> Result<(), Error> {
    let mut batch = Batch::new();
    if before.firewall != Firewall::Open {
        batch.delete_table(&filter::table());
    }
    if before.nat.is_some() {
        batch.delete_table(&translate::table());
    }
    add(now, &mut batch);
    Ok(socket.send(batch)?)
}

fn add(gateway: &GatewayPlan, batch: &mut Batch) {
    filter::add(gateway, batch);
    if let Some(nat) = &gateway.nat {
        translate::add(gateway, nat, batch);
    }
}

/// The settings that a NAT needs; the calling thread is in the router's network namespace.
fn settings(gateway: &GatewayPlan) -> Settings {
    let Some(NatPlan { nat, .. }) = &gateway.nat else { return Settings::new() };
    let (udp, tcp): (Duration, Duration) = (nat.udp_timeout, nat.tcp_timeout);
    // Who hairpins would be told of a shorter way, which is none. Interfaces go by their own setting.
    let own = std::iter::once(&gateway.uplink).chain(&gateway.inside).map(String::as_str);
    let redirects = ["all", "default"].into_iter().chain(own);
    let redirects = redirects.map(|which| (format!("ipv4/conf/{which}/send_redirects"), "0".to_owned()));
    // A mapping lives as long as the connection that conntrack sees in its packets.
    let timeouts = [("udp_timeout", udp), ("udp_timeout_stream", udp), ("tcp_timeout_established", tcp)];
    let timeouts = timeouts
        .map(|(name, timeout)| (format!("netfilter/nf_conntrack_{name}"), timeout.as_secs().to_string()));
    there(&redirects.chain(timeouts).collect())
}

/// Without those of interfaces that are not there, or not yet.
fn there(settings: &Settings) -> Settings {
    let is_there = |name: &str| match name.strip_suffix("/send_redirects") {
        // Where it cannot be told whether one is there, writing tells.
        Some(interface) => fs::exists(sysctl::path(interface)).unwrap_or(true),
        None => true,
    };
    settings.clone().into_iter().filter(|(name, _)| is_there(name)).collect()
}

/// What these settings are now.
fn read(router: &str, settings: &Settings) -> Result<Settings, Error> {
    let now = |name: &String| match fs::read_to_string(sysctl::path(name)) {
        Ok(value) => Ok((name.clone(), value.trim().to_owned())),
        Err(error) => Err(refused(format!("read `net/{name}` of `{router}`"), error)),
    };
    settings.keys().map(now).collect()
}

fn write(router: &str, settings: &Settings) -> Result<(), Error> {
    settings.iter().try_for_each(|(name, value)| set(router, name, value))
}

/// Writes those that have changed since they were found; what is refused keeps none of the others from it.
fn put_back(router: &str, found: &Settings) -> Result<(), Error> {
    let has =
        |name: &str, value: &str| fs::read_to_string(sysctl::path(name)).is_ok_and(|now| now.trim() == value);
    // Not those of interfaces that have gone meanwhile.
    let found = there(found);
    let changed = found.iter().filter(|(name, value)| !has(name, value));
    changed.map(|(name, value)| set(router, name, value)).fold(Ok(()), Result::and)
}

fn set(router: &str, name: &str, value: &str) -> Result<(), Error> {
    fs::write(sysctl::path(name), value)
        .map_err(|error| refused(format!("set `net/{name}` of `{router}` to {value}"), error))
}

fn refused(operation: String, error: io::Error) -> Error {
    match error.kind() {
        // Linux before 5.13 shows the settings of conntrack to root alone.
        io::ErrorKind::NotFound => Error::because(
            operation,
            "the kernel does not have it for this user: a NAT needs Linux 5.13, or root, as in \
             `CARGO_TARGET_<TRIPLE>_RUNNER=\"sudo -E\"`",
        ),
        _ => Error::new(operation, error),
    }
}
