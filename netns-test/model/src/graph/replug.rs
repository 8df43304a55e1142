//! An interface that is taken from its link and plugged in elsewhere.

use std::collections::HashSet;
use std::net::IpAddr;

use super::addresses::{NUMBERS, numbered};
use super::{Addresses, Interface, MAX_INTERFACES, Resolved, Segment};
use crate::Family;

/// Where an interface is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// Into a segment: an index of [`Resolved::segments`].
    Segment(usize),
    /// Into a host, which gets an interface for it: an index of [`Resolved::hosts`].
    Host(usize),
}

impl Resolved {
    /// The node, router or switch of this name as a place for an interface. A host takes it by an interface that an earlier replug
    /// has left alone, if both were on a link in the network that was `declared`, or the link came later.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn plug(&self, name: &str, interface: usize, declared: &Self) -> Result<Plug, String> {
        if let Some(segment) =
            self.segments.iter().position(|segment| segment.switches.iter().any(|s| s == name))
        {
            return Ok(Plug::Segment(segment));
        }
        let Some(host) = self.hosts.iter().position(|host| host.name == name) else {
            let switches = self.segments.iter().flat_map(|segment| &segment.switches);
            let names = self.hosts.iter().map(|host| &host.name).chain(switches);
            return Err(match crate::closest(name, names.map(String::as_str)) {
                Some(near) => format!("there is no `{name}`: did you mean `{near}`?"),
                None => format!("there is no node, router or linked switch `{name}`"),
            });
        };
        let home = declared.interfaces.get(interface).map(|interface| interface.segment);
        let is_alone = |segment: &usize| match self.segments[*segment].interfaces[..] {
            [only] => self.interfaces[only].host == host,
            _ => false,
        };
        let mut left = home.into_iter().chain(declared.segments.len()..self.segments.len());
        Ok(left.find(is_alone).map_or(Plug::Host(host), Plug::Segment))
    }

    /// The network in which an interface is there instead. It gets the addresses that it had where it was declared, if it comes
    /// back there, and the first free ones elsewhere; a new link gets the first free prefixes. All other addresses stay.
    ///
    /// # Errors
    /// It is there already, or there is no room.
    pub fn replug(
        &self,
        interface: usize,
        to: Plug,
        family: Family,
        addresses: Addresses,
        declared: &Self,
    ) -> Result<Self, String> {
        let mut after = self.clone();
        let host = self.interfaces[interface].host;
        let segment = match to {
            Plug::Segment(segment) if self.interfaces[interface].segment == segment => {
                return Err("it is plugged in there already".to_owned());
            }
            Plug::Segment(segment) => segment,
            Plug::Host(other) if other == host => {
                return Err("a link has two ends: it cannot be plugged into its own node".to_owned());
            }
            Plug::Host(other) => after.add_link(other, family, addresses)?,
        };
        let old = after.interfaces[interface].segment;
        after.segments[old].interfaces.retain(|other| *other != interface);
        let home = declared.interfaces.get(interface).filter(|home| home.segment == segment);
        after.interfaces[interface].segment = segment;
        after.interfaces[interface].mtu = home.and_then(|home| home.mtu);
        after.interfaces[interface].vlan = home.and_then(|home| home.vlan);
        after.interfaces[interface].addresses = match (home, addresses) {
            (Some(home), _) => home.addresses.clone(),
            (None, Addresses::None) => Vec::new(),
            (None, Addresses::Assigned) => after.free_addresses(segment, declared)?,
        };
        after.segments[segment].interfaces.push(interface);
        Ok(after)
    }

    /// A new link to a host, with its interface there; who is at the other end is still to come.
    fn add_link(&mut self, host: usize, family: Family, addresses: Addresses) -> Result<usize, String> {
        let own = self.interfaces.iter().filter(|interface| interface.host == host);
        let names: HashSet<&str> = own.map(|interface| interface.name.as_str()).collect();
        if names.len() == MAX_INTERFACES {
            let name = &self.hosts[host].name;
            return Err(format!("`{name}` has too many links: a node has at most {MAX_INTERFACES}"));
        }
        let free = (0..).map(|number| format!("eth{number}")).find(|name| !names.contains(name.as_str()));
        let name = free.unwrap_or_default();
        let prefixes = match addresses {
            Addresses::None => Vec::new(),
            Addresses::Assigned => self.free_prefixes(family)?,
        };
        let segment = self.segments.len();
        let first = prefixes.iter().filter_map(|prefix| Some((prefix.host(0)?, prefix.length()))).collect();
        let interface = Interface { host, segment, name, mtu: None, vlan: None, addresses: first };
        self.segments.push(Segment {
            prefixes,
            interfaces: vec![self.interfaces.len()],
            ..Segment::default()
        });
        self.interfaces.push(interface);
        Ok(segment)
    }

    /// Prefixes that nobody has, the first of them.
    fn free_prefixes(&self, family: Family) -> Result<Vec<crate::Prefix>, String> {
        let taken: Vec<crate::Prefix> =
            self.segments.iter().flat_map(|segment| segment.prefixes.iter().copied()).collect();
        let wanted = |number| {
            let has = [family.has_v4(), family.has_v6()];
            numbered(number, 24).into_iter().zip(has).filter(|(_, has)| *has).map(|(prefix, _)| prefix)
        };
        let is_free = |prefix: crate::Prefix| taken.iter().all(|other| !other.overlaps(prefix));
        let free = (0..NUMBERS).find(|number| wanted(*number).all(is_free));
        free.map(|number| wanted(number).collect()).ok_or_else(|| "no prefix is left to assign".to_owned())
    }

    /// One address of each prefix of a segment: the first that nobody on it has, nor had where it was declared.
    fn free_addresses(&self, segment: usize, declared: &Self) -> Result<Vec<(IpAddr, u8)>, String> {
        let on_it = |network: &Self| {
            let interfaces = network.interfaces.iter().filter(|interface| interface.segment == segment);
            interfaces.flat_map(|interface| interface.addresses.iter().map(|(ip, _)| *ip)).collect::<Vec<_>>()
        };
        let taken: HashSet<IpAddr> = on_it(self).into_iter().chain(on_it(declared)).collect();
        let first = |prefix: &crate::Prefix| {
            let mut all = (0..).map_while(|number| prefix.host(number));
            let ip = all.find(|ip| !taken.contains(ip));
            ip.map(|ip| (ip, prefix.length())).ok_or_else(|| format!("`{prefix}` has no address left"))
        };
        self.segments[segment].prefixes.iter().map(first).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{End, Graph, Kind, Link, Member};

    fn resolved(members: &str, links: &[[&str; 2]]) -> Resolved {
        let mut graph = Graph::default();
        for (names, kind) in members.split('|').zip([Kind::Node, Kind::Router, Kind::Switch]) {
            let member = |name: &str| Member { name: name.to_owned(), kind };
            graph.members.extend(names.split_whitespace().map(member));
        }
        let end = |name: &&str| End { member: (*name).to_owned(), interface: None };
        graph
            .links
            .extend(links.iter().map(|ends| Link { ends: ends.each_ref().map(end), ..Link::default() }));
        graph.resolve(Family::V4).expect("a good graph")
    }

    fn moved(now: &Resolved, to: &str, declared: &Resolved) -> Result<Resolved, String> {
        let plug = now.plug(to, 0, declared)?;
        now.replug(0, plug, Family::V4, Addresses::Assigned, declared)
    }

    fn address(resolved: &Resolved, interface: usize) -> String {
        let (ip, length) = resolved.interfaces[interface].addresses[0];
        format!("{ip}/{length}")
    }

    #[test]
    fn a_new_link_has_the_next_prefix_and_the_way_back_the_old_one() {
        let declared = resolved(
            "phone server | home cafe",
            &[["phone", "home"], ["home", "server"], ["server", "cafe"]],
        );
        let away = moved(&declared, "cafe", &declared).unwrap();
        assert_eq!(
            (address(&away, 0), address(&away, 6)),
            ("10.1.3.2/24".to_owned(), "10.1.3.1/24".to_owned())
        );
        assert_eq!((away.interfaces[6].name.as_str(), away.segments[0].interfaces.len()), ("eth1", 1));
        let back = moved(&away, "home", &declared).unwrap();
        assert_eq!(
            (address(&back, 0), &back.segments[0]),
            ("10.1.0.1/24".to_owned(), &Segment { interfaces: vec![1, 0], ..declared.segments[0].clone() })
        );
        // What was left alone at the cafe is taken again.
        let again = moved(&back, "cafe", &declared).unwrap();
        assert_eq!((address(&again, 0), again.interfaces.len()), ("10.1.3.2/24".to_owned(), 7));
    }

    #[test]
    fn on_a_switch_the_first_free_address_is_given() {
        let links = [["phone", "wifi"], ["home", "wifi"], ["other", "lan"], ["cafe", "lan"]];
        let declared = resolved("phone other | home cafe | wifi lan", &links);
        let away = moved(&declared, "lan", &declared).unwrap();
        assert_eq!(address(&away, 0), "10.1.1.3/24");
        assert_eq!(address(&moved(&away, "wifi", &declared).unwrap(), 0), "10.1.0.1/24");
        for (to, cause) in [
            ("lan", "there already"),
            ("phone", "its own node"),
            ("pub", "there is no node, router or linked switch `pub`"),
            ("cafee", "did you mean `cafe`?"),
        ] {
            let error = moved(&away, to, &declared).unwrap_err();
            assert!(error.contains(cause), "{to}: {error}");
        }
    }
}
