//! The plan of a network in which an interface is plugged in elsewhere.

use std::sync::Arc;

use netns_test_model::graph::{Plug, Resolved};

use super::{Declared, End, Plan, graph, hosts};

/// A network after a replug, and what is different.
#[derive(Debug)]
pub(crate) struct Replugged {
    pub(crate) plan: Plan,
    /// The interface at the other end of the link that it was taken from, if that was no switch: it is alone now.
    pub(crate) left: Option<End>,
    /// What it is joined to.
    pub(crate) joint: Joint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// An interface that is there, with nothing at its other end.
    Alone(End),
    /// An interface that is new.
    New(End),
    /// A switch, by its number in [`Wiring::switches`](super::Wiring::switches).
    Switch(usize),
}

impl Joint {
    /// The interface at the other end, if it is one.
    pub(crate) fn end(self) -> Option<End> {
        match self {
            Self::Alone(end) | Self::New(end) => Some(end),
            Self::Switch(_) => None,
        }
    }
}

impl Plan {
    /// The network in which an interface is plugged into the node, router or switch of this name, at a moment in nanoseconds since
    /// 1970.
    ///
    /// # Errors
    /// It cannot be: why.
    pub(crate) fn replug(&self, near: End, to: &str, at: u64) -> Result<Replugged, String> {
        let Some(Declared { resolved: declared, now, routes, addresses }) = &self.declared else {
            return Err(
                "the network is no graph: declare it by `nodes(..)` and `links(..)`, or a `Topology`"
                    .to_owned(),
            );
        };
        let interface = ends(now).iter().position(|end| *end == near);
        let interface = interface.ok_or("it was not declared: the test has made it")?;
        let plug = now.plug(to, interface, declared)?;
        let joint_segment = match plug {
            Plug::Segment(segment) => Some(segment),
            Plug::Host(_) => None,
        };
        let is_back = joint_segment.is_some_and(|segment| {
            declared.interfaces.get(interface).is_some_and(|declared| declared.segment == segment)
        });
        if is_back && declared.conditioned.iter().any(|link| link.ends.contains(&Some(interface))) {
            return Err(format!(
                "its link to `{to}` was declared with conditions, and a link that is made while a test runs has none: declare \
                 them for another link on the way"
            ));
        }
        let after = now.replug(interface, plug, self.family, *addresses, declared)?;
        let mut plan = self.clone();
        let all = ends(&after);
        for (end, interface) in all.iter().zip(&after.interfaces) {
            let node = &mut plan.nodes[end.node];
            if end.interface == node.interfaces.len() {
                node.attach(end.node + 1, Vec::new());
            }
            let planned = &mut node.interfaces[end.interface];
            planned.name.clone_from(&interface.name);
            planned.mtu = interface.mtu;
            planned.vlan = interface.vlan;
            planned.addresses.clone_from(&interface.addresses);
            planned.has_routes = *routes != super::Routes::None;
        }
        let left = plan.wiring.take_out(near);
        let joint = match joint_segment.map(|segment| (segment, plan.wiring.switch_of_segment[segment])) {
            Some((_, Some(switch))) => Joint::Switch(switch),
            None => {
                plan.wiring.switch_of_segment.push(None);
                Joint::New(all[all.len() - 1])
            }
            Some((segment, None)) => match now.segments[segment].interfaces[..] {
                [only] => Joint::Alone(all[only]),
                [] => return Err(format!("nothing is plugged into `{to}` any more")),
                _ => {
                    return Err(format!(
                        "`{to}` has two links and is no more than a wire between them: a switch takes a third while the test \
                         runs if three are declared"
                    ));
                }
            },
        };
        match joint {
            Joint::Switch(switch) => plan.wiring.switches[switch].push(near),
            Joint::Alone(end) | Joint::New(end) => plan.wiring.pairs.push([near, end]),
        }
        for end in [Some(near), left, joint.end()].into_iter().flatten() {
            plan.wiring.replugged.retain(|(other, _)| *other != end);
            plan.wiring.replugged.push((end, at));
        }
        let positions: Vec<usize> = all.iter().map(|end| end.interface).collect();
        graph::route(&after, &positions, *routes, self.family, &mut plan.nodes);
        plan.hosts = hosts(&plan.nodes, self.family);
        plan.declared = Some(Declared {
            resolved: Arc::clone(declared),
            now: Arc::new(after),
            routes: *routes,
            addresses: *addresses,
        });
        Ok(Replugged { plan, left, joint })
    }
}

/// Where the interfaces of a graph are among those of the nodes: there they stand in the same order.
fn ends(resolved: &Resolved) -> Vec<End> {
    let mut next = vec![0; resolved.hosts.len()];
    let end = |host: usize| {
        next[host] += 1;
        End { node: host, interface: next[host] - 1 }
    };
    resolved.interfaces.iter().map(|interface| interface.host).map(end).collect()
}

impl super::Wiring {
    /// Takes an interface from its link, with what that did to packets; returns what was at the other end.
    fn take_out(&mut self, near: End) -> Option<End> {
        for link in &mut self.conditioned {
            if link.ends.contains(&Some(near)) {
                link.ends = [None, None];
            }
        }
        self.switches.iter_mut().for_each(|ends| ends.retain(|end| *end != near));
        let pair = self.pairs.iter().position(|pair| pair.contains(&near))?;
        self.pairs.remove(pair).into_iter().find(|end| *end != near)
    }
}
