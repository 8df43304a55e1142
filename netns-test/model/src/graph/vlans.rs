//! VLANs: which ports of switches are on one segment.

use std::collections::{BTreeSet, HashMap};

use super::resolve::{Joined, Problems};
use super::{Graph, Kind, Place};

/// What of a switch is one segment: its ports in one VLAN, or those in none.
type Part = (usize, Option<u16>);

/// Which parts of switches are one.
pub(super) struct Parts {
    joined: Joined,
    numbers: HashMap<Part, usize>,
    /// The roots of those that hosts are on.
    used: BTreeSet<usize>,
    vlans: Vec<Option<u16>>,
}

impl Graph {
    pub(super) fn check_vlans(&self, ends: &[Option<[usize; 2]>], problems: &mut Problems) {
        for (number, link) in self.links.iter().enumerate() {
            let Some(vlan) = link.vlan else { continue };
            if !(1..=4094).contains(&vlan) {
                let message =
                    format!("`vlan = {vlan}` is none: a VLAN has a number from 1 to 4094 (IEEE 802.1Q)");
                problems.add(Place::Vlan(number), message);
            }
            let is_switch = |end: &usize| self.members[*end].kind == Kind::Switch;
            if ends[number].is_some_and(|ends| !ends.iter().any(is_switch)) {
                let message = format!(
                    "`{link}` has no switch that knows VLANs: write `vlan` to the link of a node to a switch"
                );
                problems.add(Place::Vlan(number), message);
            }
        }
    }

    /// The parts of the switches, joined by the links between switches.
    pub(super) fn parts(&self, ends: &[Option<[usize; 2]>], problems: &mut Problems) -> Parts {
        let vlans: BTreeSet<Option<u16>> = self.links.iter().map(|link| link.vlan).chain([None]).collect();
        let vlans: Vec<Option<u16>> = vlans.into_iter().collect();
        let is_switch = |member: usize| self.members[member].kind == Kind::Switch;
        let switches = (0..self.members.len()).filter(|member| is_switch(*member));
        let all = switches.flat_map(|switch| vlans.iter().map(move |vlan| (switch, *vlan)));
        let numbers: HashMap<Part, usize> = all.enumerate().map(|(number, part)| (part, number)).collect();
        let mut parts = Parts { joined: Joined::of(numbers.len()), numbers, used: BTreeSet::new(), vlans };
        let between = |ends: &[usize; 2]| ends.iter().all(|end| is_switch(*end));
        let links =
            || self.links.iter().enumerate().zip(ends).filter_map(|(link, ends)| Some((link, (*ends)?)));
        for ((_, link), [left, right]) in links().filter(|(_, ends)| between(ends)) {
            for vlan in parts.passing(link.vlan) {
                parts.joined.join(parts.numbers[&(left, vlan)], parts.numbers[&(right, vlan)]);
            }
        }
        for ((_, link), ends) in links().filter(|(_, ends)| !between(ends)) {
            if let Some(switch) = ends.into_iter().find(|end| is_switch(*end)) {
                let root = parts.joined.root(parts.numbers[&(switch, link.vlan)]);
                parts.used.insert(root);
            }
        }
        for ((number, link), [left, _]) in links().filter(|(_, ends)| between(ends)) {
            let carried: BTreeSet<usize> = parts.carried(left, link.vlan).collect();
            if carried.len() > 1 && (link.private || !link.prefixes.is_empty()) {
                let message =
                    format!("`{link}` carries several VLANs: write it to a node's link in one of them");
                let place =
                    if link.prefixes.is_empty() { Place::Link(number) } else { Place::Prefix(number, 0) };
                problems.add(place, message);
            }
        }
        parts
    }
}

impl Parts {
    /// The VLANs that pass a link between switches: one, or all and what is in none.
    fn passing(&self, vlan: Option<u16>) -> Vec<Option<u16>> {
        if vlan.is_some() { vec![vlan] } else { self.vlans.clone() }
    }

    /// Those that a link between switches carries for hosts.
    fn carried(&mut self, switch: usize, vlan: Option<u16>) -> impl Iterator<Item = usize> {
        let passing = self.passing(vlan).into_iter();
        let roots: Vec<usize> = passing.map(|vlan| self.joined.root(self.numbers[&(switch, vlan)])).collect();
        roots.into_iter().filter(|root| self.used.contains(root))
    }

    /// What is called how of a switch: `lan`, and `lan.10` for what is in VLAN 10.
    pub(super) fn names(&mut self, switch: usize, name: &str) -> Vec<(usize, String)> {
        let own = self.vlans.iter().filter_map(|vlan| Some((*vlan, *self.numbers.get(&(switch, *vlan))?)));
        let own: Vec<(Option<u16>, usize)> = own.collect();
        let named = own.into_iter().map(|(vlan, number)| {
            let name = vlan.map_or_else(|| name.to_owned(), |vlan| format!("{name}.{vlan}"));
            (self.joined.root(number), name)
        });
        named.collect()
    }

    /// What a port of the switch is on; of a link between switches that carries several, the first.
    pub(super) fn of(&mut self, switch: usize, vlan: Option<u16>, is_between: bool) -> usize {
        let own = self.joined.root(self.numbers[&(switch, vlan)]);
        let first = if is_between { self.carried(switch, vlan).next() } else { None };
        first.unwrap_or(own)
    }
}
