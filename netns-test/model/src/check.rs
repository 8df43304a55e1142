//! The one validation of a topology.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::graph::Interface;
use crate::name::{check_alias, check_name};
use crate::{About, MAX_NODES, Problem, Shape, Topology, closest};

impl Topology {
    /// Whether the network can be built.
    ///
    /// # Errors
    ///
    /// Every [`Problem`] that there is: a name that is no host name, two nodes of one name, too few or too many nodes
    /// for the shape; an alias that is no domain name or a name already; a node that is not there.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let of_network = |message| Problem { about: About::Network, message };
        let mut problems = match (&self.graph, &self.kubernetes) {
            (_, Some(kubernetes)) => {
                let found = kubernetes.resolve(self.family).err().unwrap_or_default();
                found.into_iter().map(|found| of_network(found.message)).collect()
            }
            (Some(graph), None) => {
                let found = graph.resolve(self.family).err().unwrap_or_default();
                found.into_iter().map(|found| of_network(found.message)).collect()
            }
            (None, None) => self.check_shape(),
        };
        self.check_aliases(&mut problems);
        if let Some(node) = &self.dns
            && let Err(message) = self.knows(node).and_then(|()| self.is_addressed(node))
        {
            problems.push(Problem { about: About::Dns, message });
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_shape(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(message) = check_count(self.nodes.len(), self.shape) {
            problems.push(Problem { about: About::Network, message });
        }
        // Host names compare without regard to case (RFC 4343).
        let mut first_of = HashMap::new();
        for (index, name) in self.nodes.iter().enumerate() {
            if let Err(message) = check_name(name) {
                problems.push(Problem { about: About::Node(index), message });
            }
            match first_of.entry(name.to_ascii_lowercase()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(first) => {
                    let message = format!("two nodes have the name `{}`", self.nodes[*first.get()]);
                    problems.push(Problem { about: About::Node(index), message });
                }
            }
        }
        problems
    }

    fn check_aliases(&self, problems: &mut Vec<Problem>) {
        // Of every name the node that has it first.
        let mut owners: HashMap<String, &str> =
            self.nodes.iter().map(|node| (node.to_ascii_lowercase(), node.as_str())).collect();
        for (index, alias) in self.aliases.iter().enumerate() {
            let (node, name) = (alias.node.as_str(), alias.name.as_str());
            let mut problem = |message| problems.push(Problem { about: About::Alias(index), message });
            if let Err(message) = self.knows(node) {
                problem(message);
            }
            if let Err(message) = check_alias(name) {
                problem(message);
                continue;
            }
            match owners.entry(name.to_ascii_lowercase()) {
                Entry::Vacant(entry) => {
                    entry.insert(node);
                }
                Entry::Occupied(owner) if *owner.get() == node && name.eq_ignore_ascii_case(node) => {
                    problem(format!("`{name}` is the node's own name: remove it"));
                }
                Entry::Occupied(owner) if *owner.get() == node => {
                    problem(format!("`{name}` is written twice for `{node}`: remove one"));
                }
                Entry::Occupied(owner) if name.eq_ignore_ascii_case(owner.get()) => {
                    problem(format!("`{name}` is the name of another node: choose another for `{node}`"));
                }
                Entry::Occupied(owner) => {
                    let owner = owner.get();
                    problem(format!("`{name}` is a name of `{owner}` already: choose another for `{node}`"));
                }
            }
        }
    }

    /// Whether the node, which there is, has an address to be asked at.
    fn is_addressed(&self, node: &str) -> Result<(), String> {
        // Every node of a shape has one; of a graph that cannot be built, nothing can be said.
        let Some(Ok(resolved)) = self.graph.as_ref().map(|graph| graph.resolve(self.family)) else {
            return Ok(());
        };
        let is_own = |interface: &&Interface| resolved.hosts[interface.host].name == node;
        match resolved.interfaces.iter().filter(is_own).any(|interface| !interface.addresses.is_empty()) {
            true => Ok(()),
            false => {
                Err(format!("`{node}` has no address to be asked for names at: give it one, or remove `dns`"))
            }
        }
    }

    /// Whether there is a node of this host name.
    fn knows(&self, node: &str) -> Result<(), String> {
        if self.nodes.iter().any(|name| name == node) {
            return Ok(());
        }
        Err(match closest(node, &self.nodes) {
            Some(near) => format!("there is no node `{node}`: did you mean `{near}`?"),
            None => format!("there is no node `{node}`"),
        })
    }
}

/// Whether so many nodes can be wired so.
///
/// # Errors
///
/// What the limit is.
pub fn check_count(nodes: usize, shape: Shape) -> Result<(), String> {
    let (name, min, max) = (shape.name(), shape.min_nodes(), shape.max_nodes());
    if nodes > MAX_NODES {
        Err(format!("{nodes} nodes are too many: a network has at most {MAX_NODES}"))
    } else if nodes > max {
        Err(format!("{nodes} nodes are too many for a {name}: it has at most {max}"))
    } else if nodes < min {
        let are = if nodes == 1 { "1 node is" } else { &format!("{nodes} nodes are") };
        Err(format!("{are} too few for a {name}: it has at least {min}"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{End, Graph, Kind, Link, Member};
    use crate::{Alias, Family};

    fn problems(names: &[&str], shape: Shape) -> Vec<(About, String)> {
        let nodes = names.iter().map(ToString::to_string).collect();
        match Topology::new(nodes, shape, Family::Dual).check() {
            Ok(()) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| (problem.about, problem.message)).collect(),
        }
    }

    fn many(count: usize, shape: Shape) -> Result<(), Vec<Problem>> {
        Topology::new((0..count).map(|n| format!("node-{n}")).collect(), shape, Family::Dual).check()
    }

    #[test]
    fn every_shape_has_its_least_and_its_most() {
        for (shape, min, max) in [
            (Shape::Star, 0, MAX_NODES),
            (Shape::Line, 2, MAX_NODES),
            (Shape::Ring, 3, MAX_NODES),
            (Shape::Mesh, 2, 64),
        ] {
            assert_eq!(many(min, shape), Ok(()), "{shape:?}");
            assert_eq!(many(max, shape), Ok(()), "{shape:?}");
            assert!(many(max + 1, shape).is_err(), "{shape:?}");
            if min > 0 {
                assert!(many(min - 1, shape).is_err(), "{shape:?}");
            }
        }
    }

    #[test]
    fn counts_are_worded_with_their_limit() {
        assert_eq!(problems(&["a"], Shape::Line)[0].1, "1 node is too few for a line: it has at least 2");
        assert_eq!(
            problems(&["a", "b"], Shape::Ring)[0].1,
            "2 nodes are too few for a ring: it has at least 3"
        );
        assert_eq!(
            many(65, Shape::Mesh).unwrap_err()[0].message,
            "65 nodes are too many for a mesh: it has at most 64"
        );
        assert_eq!(
            many(2000, Shape::Mesh).unwrap_err()[0].message,
            "2000 nodes are too many: a network has at most 1023"
        );
    }

    #[test]
    fn all_problems_are_reported_at_once_each_at_its_node() {
        let found = problems(&["a-", "localhost", "b", "B", "b"], Shape::Star);
        assert_eq!(found.iter().map(|(about, _)| *about).collect::<Vec<_>>(), [0, 1, 3, 4].map(About::Node));
        assert_eq!(found[2].1, "two nodes have the name `b`");
        assert_eq!(found[3].1, "two nodes have the name `b`");
    }
    fn aliased(aliases: &[(&str, &str)], dns: Option<&str>) -> Vec<(About, String)> {
        let aliases =
            aliases.iter().map(|&(node, name)| Alias { node: node.to_owned(), name: name.to_owned() });
        let topology =
            Topology::new(vec!["client".to_owned(), "server".to_owned()], Shape::Star, Family::Dual)
                .with_aliases(aliases.collect())
                .with_dns(dns.map(str::to_owned));
        let problems = topology.check().err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.about, problem.message)).collect()
    }

    #[test]
    fn aliases_are_names_that_nobody_has() {
        assert_eq!(
            aliased(&[("server", "relay.test"), ("server", "www"), ("client", "a.test")], Some("server")),
            []
        );
        for (aliases, index, message) in [
            (&[("server", "a b")][..], 0, "it has ` `"),
            (&[("sever", "a.test")], 0, "there is no node `sever`: did you mean `server`?"),
            (&[("server", "SERVER")], 0, "the node's own name: remove it"),
            (&[("client", "server")], 0, "the name of another node: choose another for `client`"),
            (&[("server", "a.test"), ("server", "A.test")], 1, "written twice for `server`"),
            (&[("server", "a.test"), ("client", "a.test")], 1, "a name of `server` already"),
        ] {
            let found = aliased(aliases, None);
            assert_eq!(found.len(), 1, "{aliases:?}: {found:?}");
            assert_eq!(found[0].0, About::Alias(index), "{aliases:?}");
            assert!(found[0].1.contains(message), "{aliases:?}: {found:?}");
        }
    }

    #[test]
    fn the_name_server_has_an_address() {
        let member = |name: &str| Member { name: name.to_owned(), kind: Kind::Node };
        let end = |name: &str| End { member: name.to_owned(), interface: None };
        let mut graph =
            Graph { members: vec![member("a"), member("b"), member("alone")], ..Graph::default() };
        graph.links.push(Link { ends: [end("a"), end("b")], ..Link::default() });
        let problems = |dns: &str| {
            let topology = Topology::of_graph(graph.clone(), Family::Dual).with_dns(Some(dns.to_owned()));
            topology.check().err().unwrap_or_default()
        };
        assert_eq!(problems("a"), []);
        assert_eq!(problems("c")[0].message, "there is no node `c`");
        assert_eq!(
            problems("alone")[0].message,
            "`alone` has no address to be asked for names at: give it one, or remove `dns`"
        );
    }

    #[test]
    fn the_name_server_is_a_node() {
        let message = "there is no node `clients`: did you mean `client`?".to_owned();
        assert_eq!(aliased(&[], Some("clients")), [(About::Dns, message)]);
    }
}
