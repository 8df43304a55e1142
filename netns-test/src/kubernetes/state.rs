//! What a cluster has at a moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use netns_test_model::kubernetes::{RESERVED_FOR_NODE, check_pod_name, full, number_of, room};

use crate::gate;
use crate::node::NodeState;
use crate::plan::Layout;

/// The pods of a cluster; of another network, none.
#[derive(Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    pods: Vec<Entry>,
    /// Of each node the number that its next pod gets, unless it is taken.
    next: BTreeMap<usize, u128>,
    /// Descriptors for the pods that came later.
    shares: Vec<gate::Share>,
}

struct Entry {
    name: Arc<str>,
    node: usize,
    number: u128,
    labels: Arc<BTreeMap<String, String>>,
    /// `None` while it is being started.
    state: Option<Arc<NodeState>>,
}

/// A pod that runs.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) name: Arc<str>,
    pub(super) node: usize,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) state: Arc<NodeState>,
}

impl Entry {
    fn record(&self) -> Option<Record> {
        let (name, labels) = (Arc::clone(&self.name), Arc::clone(&self.labels));
        Some(Record { name, node: self.node, labels, state: Arc::clone(self.state.as_ref()?) })
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pods(&self) -> Vec<Record> {
        self.inner().pods.iter().filter_map(Entry::record).collect()
    }

    /// Takes a name and an address for a pod that is about to be started; returns the address's number.
    pub(super) fn reserve(
        &self,
        layout: &Layout,
        name: &str,
        node: usize,
        ip: Option<IpAddr>,
        labels: Arc<BTreeMap<String, String>>,
    ) -> Result<u128, String> {
        let mut inner = self.inner();
        check_pod_name(name, layout.parts.len(), inner.pods.iter().map(|pod| &*pod.name))?;
        let number = match ip {
            Some(ip) => inner.chosen(layout, node, ip)?,
            None => inner.next(layout, node)?,
        };
        inner.pods.push(Entry { name: name.into(), node, number, labels, state: None });
        if inner.pods.len() > layout.pods.len() {
            inner.shares.push(gate::for_one_more());
        }
        Ok(number)
    }

    /// Gives up what was reserved, or what a pod had.
    pub(super) fn forget(&self, name: &str) {
        let mut inner = self.inner();
        inner.pods.retain(|pod| *pod.name != *name);
        let pods = inner.pods.len();
        inner.shares.truncate(pods);
    }

    pub(super) fn started(&self, state: &Arc<NodeState>) -> Option<Record> {
        let mut inner = self.inner();
        let entry = inner.pods.iter_mut().find(|pod| *pod.name == *state.name())?;
        entry.state = Some(Arc::clone(state));
        entry.record()
    }
}

impl Inner {
    fn holder(&self, node: usize, number: u128) -> Option<&Entry> {
        self.pods.iter().find(|pod| pod.node == node && pod.number == number)
    }

    /// The number of an address that the test has chosen.
    fn chosen(&self, layout: &Layout, node: usize, ip: IpAddr) -> Result<u128, String> {
        let parts = &layout.parts[node];
        let Some(number) = parts.iter().find_map(|part| number_of(*part, ip)) else {
            let ranges: Vec<String> = parts.iter().map(|part| format!("`{part}`")).collect();
            return Err(format!(
                "`{ip}` is no host's address of its node's part of the pods' range, {}",
                ranges.join(" and ")
            ));
        };
        if number < RESERVED_FOR_NODE {
            return Err(format!("`{ip}` is the node's own: choose the next, or a later one"));
        }
        match self.holder(node, number) {
            Some(pod) => Err(format!(
                "`{ip}` is an address of the pod `{}`: choose another, or delete that one first",
                pod.name
            )),
            None => Ok(number),
        }
    }

    /// The next free number behind the one that was given last, as CNI's `host-local` does it: an address rests before it
    /// comes again.
    fn next(&mut self, layout: &Layout, node: usize) -> Result<u128, String> {
        // The smallest part says how many there can be, and an interface's name and MAC address have 16 bits for it.
        let parts = layout.parts[node].iter().copied();
        let part =
            parts.min_by_key(|part| room(*part)).ok_or_else(|| "the network has no addresses".to_owned())?;
        let end = (room(part) + RESERVED_FOR_NODE).min(u128::from(u16::MAX));
        let start = self.next.get(&node).copied().unwrap_or(RESERVED_FOR_NODE);
        let candidates = (start..end).chain(RESERVED_FOR_NODE..start.min(end));
        let taken: std::collections::HashSet<u128> =
            self.pods.iter().filter(|pod| pod.node == node).map(|pod| pod.number).collect();
        let number =
            candidates.into_iter().find(|number| !taken.contains(number)).ok_or_else(|| full(node, part))?;
        self.next.insert(node, number + 1);
        Ok(number)
    }
}
