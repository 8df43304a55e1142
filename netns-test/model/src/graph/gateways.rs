//! The validation of routers that translate or filter, and of what lies inside and outside of them.

use std::collections::HashSet;

use super::resolve::{Joined, Placed, Problems};
use super::{Firewall, Gateway, Graph, Kind, Nat, Place, Resolved, RouterOptions};
use crate::{Family, closest};

impl Graph {
    /// Gives the routers among the hosts their uplinks.
    pub(super) fn find_gateways(
        &self,
        family: Family,
        placed: &[Option<Placed>],
        resolved: &mut Resolved,
        problems: &mut Problems,
    ) {
        for (number, options) in self.routers.iter().enumerate() {
            let name = options.member.as_str();
            let is_it = |member: &super::Member| member.name == name && member.kind == Kind::Router;
            let Some(member) = self.members.iter().position(is_it) else { continue };
            if options.nat.is_some() && !family.has_v4() {
                let message = format!(
                    "`nat` translates IPv4, and the network is `family = {}`: remove it, and write `firewall` for what \
                     may come in",
                    family.name()
                );
                problems.add(Place::Router(number, "nat"), message);
            }
            for (key, message) in options.nat.iter().flat_map(Nat::problems) {
                problems.add(Place::Router(number, key), message);
            }
            let firewall = options.firewall.unwrap_or(Firewall::Open);
            if options.nat.is_none() && firewall == Firewall::Open {
                if options.uplink.is_some() && options.firewall.is_none() {
                    let message =
                        format!("`uplink` says nothing without `nat` or `firewall`: remove it from `{name}`");
                    problems.add(Place::Router(number, "uplink"), message);
                }
                // With an uplink, an open firewall can be closed while a test runs.
                if options.uplink.is_none() || options.firewall.is_none() {
                    continue;
                }
            }
            let uplink = match self.uplink(options, placed) {
                Ok(uplink) => uplink,
                Err((key, message)) => {
                    let place = key.map_or(Place::Member(member), |key| Place::Router(number, key));
                    problems.add(place, message);
                    continue;
                }
            };
            let Some(host) = resolved.hosts.iter_mut().find(|host| host.name == name) else { continue };
            host.gateway = Some(Gateway { uplink, nat: options.nat.clone(), firewall });
        }
    }

    /// The interface that leads outside, or what is wrong, and with which key.
    fn uplink(
        &self,
        options: &RouterOptions,
        placed: &[Option<Placed>],
    ) -> Result<usize, (Option<&'static str>, String)> {
        let name = options.member.as_str();
        // Each link's other end, the name of the router's interface, and the interface.
        let mut own: Vec<(&str, Option<&str>, usize)> = Vec::new();
        for (link, placed) in self.links.iter().zip(placed) {
            for side in [0, 1] {
                let interface = placed.as_ref().and_then(|placed| placed.interfaces[side]);
                if let (true, Some(interface)) = (link.ends[side].member == name, interface) {
                    let end = &link.ends[side];
                    own.push((&link.ends[1 - side].member, end.interface.as_deref(), interface));
                }
            }
        }
        let does = if options.nat.is_some() { "nat" } else { "firewall" };
        let Some(wanted) = options.uplink.as_deref() else {
            return match own[..] {
                [] => Err((
                    None,
                    format!("`{name}` has `{does}` and no link: link it, and say which leads outside"),
                )),
                [(_, _, only)] => Ok(only),
                [.., (last, _, _)] => Err((
                    None,
                    format!(
                        "`{name}` has several links and `{does}`: say which leads outside, as in `uplink = {}`",
                        last.replace('-', "_")
                    ),
                )),
            };
        };
        let problem = |message| Err((Some("uplink"), message));
        if let Some((_, _, interface)) = own.iter().find(|(_, interface, _)| *interface == Some(wanted)) {
            return Ok(*interface);
        }
        let mut to_it = own.iter().filter(|(other, _, _)| *other == wanted);
        match (to_it.next(), to_it.next()) {
            (Some((_, _, interface)), None) => Ok(*interface),
            (Some(_), Some(_)) => problem(format!(
                "`{name}` has several links to `{wanted}`: name its interface, `{name}.wan -- {wanted}`, and write \
                 `uplink = wan`"
            )),
            (None, _) => {
                let names = own.iter().flat_map(|(other, interface, _)| [Some(*other), *interface]).flatten();
                problem(match closest(wanted, names) {
                    Some(near) => format!("`{name}` has no link to `{wanted}`: did you mean `{near}`?"),
                    None => format!(
                        "`{name}` has no link to `{wanted}`: name who is at the other end of its uplink"
                    ),
                })
            }
        }
    }
}

/// Which segments are in one routing domain of IPv4: those that routers join without translating.
pub(super) struct Domains {
    /// Of each segment its domain.
    of: Vec<usize>,
    /// Of each domain those that translators lead to from it.
    outside: Vec<Vec<usize>>,
    /// Of each segment who is on it.
    hosts: Vec<HashSet<usize>>,
}

impl Domains {
    pub(super) fn new(resolved: &Resolved) -> Self {
        let mut joined = Joined::of(resolved.segments.len());
        let mut links = Vec::new();
        for (index, host) in resolved.hosts.iter().enumerate().filter(|(_, host)| host.is_router) {
            let uplink =
                host.gateway.as_ref().filter(|gateway| gateway.nat.is_some()).map(|gateway| gateway.uplink);
            let mut inside = None;
            for (number, interface) in resolved.interfaces.iter().enumerate() {
                if interface.host != index || Some(number) == uplink {
                    continue;
                }
                match inside {
                    Some(first) => joined.join(first, interface.segment),
                    None => inside = Some(interface.segment),
                }
            }
            if let (Some(inside), Some(uplink)) = (inside, uplink) {
                links.push((inside, resolved.interfaces[uplink].segment));
            }
        }
        let of: Vec<usize> = (0..resolved.segments.len()).map(|segment| joined.root(segment)).collect();
        let mut outside = vec![Vec::new(); resolved.segments.len()];
        for (inside, uplink) in links {
            outside[of[inside]].push(of[uplink]);
        }
        let hosts = resolved.segments.iter().map(|segment| {
            segment.interfaces.iter().map(|interface| resolved.interfaces[*interface].host).collect()
        });
        Self { of, outside, hosts: hosts.collect() }
    }

    /// Whether the same addresses on both segments would be in each other's way: unless they are behind different translators.
    pub(super) fn meet(&self, first: usize, second: usize) -> bool {
        let on_both = self.hosts[first].intersection(&self.hosts[second]).next().is_some();
        let (first, second) = (self.of[first], self.of[second]);
        let [outside_first, outside_second] = [first, second].map(|domain| self.outside_of(domain));
        let nested = outside_first.contains(&second) || outside_second.contains(&first);
        on_both || first == second || nested || outside_first.is_disjoint(&outside_second)
    }

    /// The domains that translators lead to from this one, over others, too.
    fn outside_of(&self, domain: usize) -> HashSet<usize> {
        let mut found = HashSet::new();
        let mut next = vec![domain];
        while let Some(domain) = next.pop() {
            next.extend(self.outside[domain].iter().filter(|outer| found.insert(**outer)));
        }
        found
    }

    /// Every translator has an inside, an outside, and an outer address.
    pub(super) fn check(&self, graph: &Graph, family: Family, resolved: &Resolved, problems: &mut Problems) {
        if !family.has_v4() {
            return;
        }
        for (index, host) in resolved.hosts.iter().enumerate() {
            let Some(gateway) = host.gateway.as_ref().filter(|gateway| gateway.nat.is_some()) else {
                continue;
            };
            let uplink = &resolved.interfaces[gateway.uplink];
            let member = graph.members.iter().position(|member| member.name == host.name).unwrap_or_default();
            let name = &host.name;
            if !uplink.addresses.iter().any(|(ip, _)| ip.is_ipv4()) {
                let message = format!(
                    "`{name}` translates to the IPv4 address of its uplink, which has none: give it one, as in \
                     `{name} = \"203.0.113.2/24\"` in the braces of the link"
                );
                problems.add(Place::Member(member), message);
            }
            let outer = self.of[uplink.segment];
            let leads_back = |(number, interface): (usize, &super::Interface)| {
                let inner = self.of[interface.segment];
                interface.host == index
                    && number != gateway.uplink
                    && (inner == outer || self.outside_of(outer).contains(&inner))
            };
            if resolved.interfaces.iter().enumerate().any(leads_back) {
                let message = format!(
                    "`{name}` translates between its uplink and its other links, and these are connected past it: remove \
                     the other way, or `nat`"
                );
                problems.add(Place::Member(member), message);
            }
        }
    }
}
