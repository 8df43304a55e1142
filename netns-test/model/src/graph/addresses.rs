//! Prefixes of segments and addresses of interfaces: those that were declared, and those that are assigned.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::gateways::Domains;
use super::resolve::{Placed, Problems};
use super::{Addresses, Graph, Place, Resolved};
use crate::Family;
use crate::prefix::{Prefix, address};

/// The numbers of assigned prefixes: `10.1.0.0/24` to `10.255.255.0/24`.
pub(super) const NUMBERS: usize = 255 * 256;

/// The lengths of assigned IPv4 prefixes: for up to 254 interfaces, and for more.
const ASSIGNED_V4: [u8; 2] = [24, 16];

/// A prefix of a segment, and where it was declared; nowhere if it was assigned.
#[derive(Clone, Copy)]
struct Declared {
    prefix: Prefix,
    place: Option<Place>,
    link: usize,
}

/// An address that was declared for an interface.
struct Own {
    place: Place,
    segment: usize,
    interface: usize,
    ip: IpAddr,
    len: Option<u8>,
}

struct Assigner<'a> {
    graph: &'a Graph,
    family: Family,
    placed: &'a [Option<Placed>],
    domains: &'a Domains,
    /// Of each segment the IPv4 prefix and the IPv6 one.
    prefixes: Vec<[Option<Declared>; 2]>,
    problems: &'a mut Problems,
}

/// Gives the segments their prefixes and the interfaces their addresses.
pub(super) fn assign(
    graph: &Graph,
    family: Family,
    placed: &[Option<Placed>],
    domains: &Domains,
    resolved: &mut Resolved,
    problems: &mut Problems,
) {
    let prefixes = vec![[None; 2]; resolved.segments.len()];
    let mut assigner = Assigner { graph, family, placed, domains, prefixes, problems };
    assigner.read_prefixes();
    let own = assigner.read_addresses();
    assigner.check_overlaps();
    if graph.addresses == Addresses::Assigned {
        assigner.assign_prefixes(resolved);
    }
    let taken = assigner.take(own, resolved);
    assigner.number(taken, resolved);
    for (segment, prefixes) in resolved.segments.iter_mut().zip(&assigner.prefixes) {
        segment.prefixes = prefixes.iter().flatten().map(|declared| declared.prefix).collect();
    }
    for interface in &mut resolved.interfaces {
        // Stable: within a family, they stay in the order of declaration.
        interface.addresses.sort_by_key(|(ip, _)| ip.is_ipv6());
    }
}

impl Assigner<'_> {
    /// Prefixes that links have.
    fn read_prefixes(&mut self) {
        for (link, placed) in self.placed.iter().enumerate() {
            let texts = &self.graph.links[link].prefixes;
            let mut families = [false; 2];
            for (index, text) in texts.iter().enumerate() {
                let place = Place::Prefix(link, index);
                let prefix = match Prefix::parse(text) {
                    Ok(prefix) => prefix,
                    Err(message) => {
                        self.problems.add(place, message);
                        continue;
                    }
                };
                if let Err(message) = self.fits(text, prefix.first()) {
                    self.problems.add(place, message);
                } else if std::mem::replace(&mut families[slot(prefix.first())], true) {
                    let family = family_name(prefix.first());
                    let message = format!("`{prefix}` is a second {family} prefix of one link: remove one");
                    self.problems.add(place, message);
                } else if let Some(placed) = placed {
                    self.declare(placed.segment, Declared { prefix, place: Some(place), link });
                }
            }
        }
    }

    /// Addresses that ends have; those with a length give their segment its prefix, if it has none.
    fn read_addresses(&mut self) -> Vec<Own> {
        let mut all = Vec::new();
        for (link, placed) in self.placed.iter().enumerate() {
            let declared = &self.graph.links[link];
            for (index, own) in declared.addresses.iter().enumerate() {
                let place = Place::Address(link, index);
                let read = address(&own.address, "address")
                    .and_then(|(ip, len)| self.fits(&own.address, ip).map(|()| (ip, len)));
                let (ip, len) = match read {
                    Ok(read) => read,
                    Err(message) => {
                        self.problems.add(place, message);
                        continue;
                    }
                };
                let Some(placed) = placed else { continue };
                let interface = declared.side(&own.member).and_then(|side| placed.interfaces[side]);
                let Some(interface) = interface else { continue };
                if let (Some(len), None) = (len, self.prefixes[placed.segment][slot(ip)])
                    && let Some(prefix) = Prefix::of(ip, len)
                {
                    match prefix.usable() {
                        Ok(()) => {
                            let declared = Declared { prefix, place: Some(place), link };
                            self.prefixes[placed.segment][slot(ip)] = Some(declared);
                        }
                        Err(message) => {
                            self.problems.add(place, message);
                            continue;
                        }
                    }
                }
                all.push(Own { place, segment: placed.segment, interface, ip, len });
            }
        }
        all
    }

    /// Whether the network has addresses of this family.
    fn fits(&self, text: &str, ip: IpAddr) -> Result<(), String> {
        let has = if ip.is_ipv4() { self.family.has_v4() } else { self.family.has_v6() };
        let (family, network) = (family_name(ip), self.family.name());
        match has {
            true => Ok(()),
            false => Err(format!(
                "`{text}` is {family}, and the network is `family = {network}`: remove it, or write `family = dual`"
            )),
        }
    }

    /// The prefix of a segment, from one of its links.
    fn declare(&mut self, segment: usize, declared: Declared) {
        let slot = slot(declared.prefix.first());
        match self.prefixes[segment][slot] {
            None => self.prefixes[segment][slot] = Some(declared),
            Some(other) if other.prefix == declared.prefix => {}
            Some(other) => {
                let (first, second) = (other.prefix, declared.prefix);
                let message = format!(
                    "`{second}` is not `{first}`, the prefix of `{}` on the same switch: write one of them",
                    self.graph.links[other.link]
                );
                self.problems.add(declared.place.unwrap_or(Place::Link(declared.link)), message);
            }
        }
    }

    fn check_overlaps(&mut self) {
        let mut declared: Vec<Declared> = self.prefixes.iter().flatten().flatten().copied().collect();
        declared.sort_by_key(|declared| declared.link);
        for (index, later) in declared.iter().enumerate() {
            // Behind different translators the same IPv4 addresses may be used again.
            let meet = |earlier: &Declared| {
                let segments = [earlier, later].map(|declared| self.placed[declared.link].as_ref());
                let [Some(earlier), Some(later)] = segments.map(|placed| placed.map(|p| p.segment)) else {
                    return true;
                };
                self.domains.meet(earlier, later)
            };
            let earlier = declared[..index].iter().find(|earlier| {
                earlier.prefix.overlaps(later.prefix) && (!later.prefix.is_ipv4() || meet(earlier))
            });
            if let Some(earlier) = earlier {
                let [first, second] = [earlier, later].map(|declared| &self.graph.links[declared.link]);
                let message = format!(
                    "`{}` of `{second}` overlaps `{}` of `{first}`: a network has each address once",
                    later.prefix, earlier.prefix
                );
                self.problems.add(later.place.unwrap_or(Place::Link(later.link)), message);
            }
        }
    }

    /// Prefixes for segments that have none: the next number whose prefixes nobody has.
    fn assign_prefixes(&mut self, resolved: &Resolved) {
        let declared: Vec<Prefix> =
            self.prefixes.iter().flatten().flatten().map(|declared| declared.prefix).collect();
        let mut next = 0;
        for (index, segment) in resolved.segments.iter().enumerate() {
            let link =
                self.placed.iter().position(|placed| placed.as_ref().is_some_and(|p| p.segment == index));
            let len = ASSIGNED_V4[usize::from(segment.interfaces.len() > 254)];
            let step = if len == 24 { 1 } else { 256 };
            loop {
                next = usize::div_ceil(next, step) * step;
                if next >= NUMBERS {
                    let message =
                        "no prefix is left to assign: those that are declared cover all of 10.1.0.0 to \
                                   10.255.255.255, or of 2001:db8:1::/48"
                            .to_owned();
                    self.problems.add(Place::Graph, message);
                    return;
                }
                let candidates = numbered(next, len);
                let wanted: Vec<Prefix> = candidates
                    .into_iter()
                    .enumerate()
                    .filter(|(slot, _)| [self.family.has_v4(), self.family.has_v6()][*slot])
                    .filter(|(slot, _)| self.prefixes[index][*slot].is_none())
                    .map(|(_, prefix)| prefix)
                    .collect();
                next += step;
                if wanted.iter().all(|prefix| declared.iter().all(|other| !other.overlaps(*prefix))) {
                    for prefix in wanted {
                        let assigned = Declared { prefix, place: None, link: link.unwrap_or_default() };
                        self.prefixes[index][slot(prefix.first())] = Some(assigned);
                    }
                    break;
                }
            }
        }
    }

    /// Gives declared addresses to their interfaces; returns them all.
    fn take(&mut self, own: Vec<Own>, resolved: &mut Resolved) -> HashSet<(usize, IpAddr)> {
        let mut taken: HashMap<(usize, IpAddr), usize> = HashMap::new();
        for Own { place, segment, interface, ip, len } in own {
            // What is assigned moves when links are added: no address can rely on it.
            let declared = self.prefixes[segment][slot(ip)].filter(|declared| declared.place.is_some());
            let message = match declared.map(|declared| declared.prefix) {
                // Its own prefix was refused already.
                None if len.is_some() => continue,
                None => {
                    let whole = if ip.is_ipv4() { 24 } else { 64 };
                    format!(
                        "`{ip}` has no length, and the link no prefix: write `{ip}/{whole}`, or another length"
                    )
                }
                Some(prefix) if !prefix.contains(ip) => {
                    format!("`{ip}` is outside the link's prefix `{prefix}`")
                }
                Some(prefix) if len.is_some_and(|len| len != prefix.length()) => {
                    format!(
                        "`{ip}` has the length of its link's prefix `{prefix}`: write `{ip}/{}`",
                        prefix.length()
                    )
                }
                Some(prefix) => match (prefix.reserves(ip), taken.get(&(segment, ip))) {
                    (Some(why), _) => format!("`{ip}` cannot be a host's: it {why}"),
                    (None, Some(&first)) => {
                        let owner = &resolved.hosts[resolved.interfaces[first].host].name;
                        format!("`{ip}` is there twice: `{owner}` has it already")
                    }
                    (None, None) => {
                        taken.insert((segment, ip), interface);
                        resolved.interfaces[interface].addresses.push((ip, prefix.length()));
                        continue;
                    }
                },
            };
            self.problems.add(place, message);
        }
        taken.into_keys().collect()
    }

    /// Numbers the interfaces that have no address: from the first that nobody has, in the order of declaration.
    fn number(&mut self, taken: HashSet<(usize, IpAddr)>, resolved: &mut Resolved) {
        for (index, segment) in resolved.segments.iter().enumerate() {
            for declared in self.prefixes[index].iter().flatten() {
                let Declared { prefix, place, link } = *declared;
                let own: Vec<usize> = segment
                    .interfaces
                    .iter()
                    .map(|interface| resolved.interfaces[*interface].addresses.iter())
                    .map(|own| own.filter(|(ip, _)| ip.is_ipv4() == prefix.is_ipv4()).count())
                    .collect();
                // One each, but for those that chose several.
                let wanted: usize = match self.graph.addresses {
                    Addresses::Assigned => own.iter().map(|count| *count.max(&1)).sum(),
                    Addresses::None => own.iter().sum(),
                };
                if wanted as u128 > prefix.capacity() {
                    let message = format!(
                        "`{prefix}` is too small: it has {}, and its interfaces need {wanted}",
                        match prefix.capacity() {
                            1 => "1 address for hosts".to_owned(),
                            many => format!("{many} addresses for hosts"),
                        }
                    );
                    self.problems.add(place.unwrap_or(Place::Link(link)), message);
                    continue;
                }
                if self.graph.addresses == Addresses::None {
                    continue;
                }
                let mut free =
                    (0..).map_while(|number| prefix.host(number)).filter(|ip| !taken.contains(&(index, *ip)));
                for (&interface, _) in segment.interfaces.iter().zip(own).filter(|(_, own)| *own == 0) {
                    let Some(ip) = free.next() else { break };
                    resolved.interfaces[interface].addresses.push((ip, prefix.length()));
                }
            }
        }
    }
}

/// The place of a family in pairs of them.
fn slot(ip: IpAddr) -> usize {
    usize::from(ip.is_ipv6())
}

fn family_name(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// The prefixes of number `number`: `10.1.0.0/24` and `2001:db8:1::/64` of 0, `10.1.1.0/24` and `2001:db8:1:1::/64` of 1.
pub(super) fn numbered(number: usize, len: u8) -> [Prefix; 2] {
    let [.., high, low] = number.to_be_bytes();
    let v4 = IpAddr::V4(Ipv4Addr::new(10, 1 + high, low, 0));
    let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, number as u16, 0, 0, 0, 0));
    [(v4, len), (v6, 64)].map(|(ip, len)| Prefix::of(ip, len).expect("lengths that the families have"))
}
