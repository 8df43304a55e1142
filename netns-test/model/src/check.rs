//! The one validation of a topology.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::graph::GraphProblem;
use crate::name::check_name;
use crate::{MAX_NODES, Problem, Shape, Topology};

impl Topology {
    /// Whether the network can be built.
    ///
    /// # Errors
    ///
    /// Every [`Problem`] that there is: a name that is no host name, two nodes of one name, too few or too many nodes
    /// for the shape.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        if let Some(graph) = &self.graph {
            let whole = |problem: GraphProblem| Problem { node: None, message: problem.message };
            return graph
                .resolve(self.family)
                .map(drop)
                .map_err(|found| found.into_iter().map(whole).collect());
        }
        let mut problems = Vec::new();
        if let Err(message) = check_count(self.nodes.len(), self.shape) {
            problems.push(Problem { node: None, message });
        }
        // Host names compare without regard to case (RFC 4343).
        let mut first_of = HashMap::new();
        for (index, name) in self.nodes.iter().enumerate() {
            if let Err(message) = check_name(name) {
                problems.push(Problem { node: Some(index), message });
            }
            match first_of.entry(name.to_ascii_lowercase()) {
                Entry::Vacant(entry) => {
                    entry.insert(index);
                }
                Entry::Occupied(first) => {
                    let message = format!("two nodes have the name `{}`", self.nodes[*first.get()]);
                    problems.push(Problem { node: Some(index), message });
                }
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
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
    use crate::Family;

    fn problems(names: &[&str], shape: Shape) -> Vec<(Option<usize>, String)> {
        let nodes = names.iter().map(ToString::to_string).collect();
        match Topology::new(nodes, shape, Family::Dual).check() {
            Ok(()) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| (problem.node, problem.message)).collect(),
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
        assert_eq!(found.iter().map(|(node, _)| *node).collect::<Vec<_>>(), [0, 1, 3, 4].map(Some));
        assert_eq!(found[2].1, "two nodes have the name `b`");
        assert_eq!(found[3].1, "two nodes have the name `b`");
    }
}
