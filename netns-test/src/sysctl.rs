//! The settings of a network namespace that matter, whatever the host's are.
//!
//! A new namespace copies IPv4's interface settings from the machine's first one, and IPv6's too where
//! `net.core.devconf_inherit_init_net` says so (Documentation/admin-guide/sysctl/net.rst). Every namespace of a process
//! starts alike, so what differs from the wanted values is found once and then written without looking.

use std::sync::OnceLock;
use std::{fs, io};

use netns_test_model::Family;

use crate::error::{Doing, Error};

/// Settings of every node, below /proc/sys/net.
const EVERY_NODE: [(&str, &str); 17] = [
    // Strict or loose reverse-path filters drop packets that take another way back.
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/arp_ignore", "0"),
    ("ipv4/conf/default/arp_ignore", "0"),
    ("ipv4/conf/all/arp_announce", "0"),
    ("ipv4/conf/default/arp_announce", "0"),
    ("ipv4/conf/all/arp_filter", "0"),
    ("ipv4/conf/default/arp_filter", "0"),
    ("ipv4/conf/all/route_localnet", "0"),
    ("ipv4/conf/default/route_localnet", "0"),
    ("ipv4/conf/all/proxy_arp", "0"),
    ("ipv4/conf/default/proxy_arp", "0"),
    // Nobody else is on the link: duplicate address detection would only delay the first packet by a second.
    ("ipv6/conf/all/accept_dad", "0"),
    ("ipv6/conf/default/accept_dad", "0"),
    // Addresses are declared, not advertised, and hosts that solicit routers flood large networks.
    ("ipv6/conf/default/accept_ra", "0"),
    // Link-local addresses follow from the MAC address (EUI-64), no temporary ones beside them (RFC 8981).
    ("ipv6/conf/default/addr_gen_mode", "0"),
    ("ipv6/conf/default/use_tempaddr", "0"),
];

/// Whether a node forwards.
const FORWARDING: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];

/// Whether interfaces have IPv6.
const NO_IPV6: [&str; 2] = ["ipv6/conf/all/disable_ipv6", "ipv6/conf/default/disable_ipv6"];

/// What a fresh namespace has.
struct Initial(Vec<(&'static str, Option<String>)>);

impl Initial {
    /// Found once. A refusal is not kept: the next test asks again.
    fn get() -> Result<&'static Self, Error> {
        static INITIAL: OnceLock<Initial> = OnceLock::new();
        match INITIAL.get() {
            Some(initial) => Ok(initial),
            None => Self::find().map(|found| INITIAL.get_or_init(|| found)),
        }
    }

    fn find() -> Result<Self, Error> {
        let names = EVERY_NODE.iter().map(|&(name, _)| name).chain(FORWARDING).chain(NO_IPV6);
        let read = |name| match fs::read_to_string(path(name)) {
            Ok(text) => Ok((name, Some(text.trim().to_owned()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((name, None)),
            Err(error) => Err(error).doing(|| format!("read `net/{name}`")),
        };
        names.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a setting has to be written. One that the kernel does not have (IPv6 may be compiled out) has not.
    fn differs(&self, name: &str, wanted: &str) -> bool {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, value)| value.as_deref()).is_some_and(|value| value != wanted)
    }
}

/// The file of a setting: `net.ipv4.ip_forward`, `ipv4/ip_forward` and `net/ipv4/ip_forward` name the same one.
pub(crate) fn path(name: &str) -> String {
    let slashed = match name.contains('/') {
        true => name.to_owned(),
        // As in sysctl(8): the dots of an interface's name are written as slashes there.
        false => name.replace('.', "/"),
    };
    format!("/proc/sys/net/{}", slashed.strip_prefix("net/").unwrap_or(&slashed))
}

/// Gives the calling thread's network namespace, a fresh one, its settings.
pub(crate) fn apply(family: Family, forwards: bool) -> Result<(), Error> {
    let initial = Initial::get()?;
    let flag = |on: bool| if on { "1" } else { "0" };
    let forwarding = FORWARDING.map(|name| (name, flag(forwards)));
    let ipv6 = NO_IPV6.map(|name| (name, flag(!family.has_v6())));
    for (name, value) in EVERY_NODE.into_iter().chain(forwarding).chain(ipv6) {
        if initial.differs(name, value) {
            fs::write(path(name), value).doing(|| format!("set `net/{name}` to {value}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn names_are_spelled_with_dots_or_slashes() {
        assert_eq!(path("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(path("net/ipv4/conf/eth0.5/rp_filter"), "/proc/sys/net/ipv4/conf/eth0.5/rp_filter");
        assert_eq!(path("ipv4/ip_forward"), "/proc/sys/net/ipv4/ip_forward");
    }
}
