//! What a cluster has at a moment.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netns_test_model::kubernetes::{
    DNS, RESERVED_FOR_CLUSTER, RESERVED_FOR_NODE, check_pod_name, full, number_of, room,
};

use super::policy::{self, PolicyRule, PolicyType};
use super::rules::{Installed, Protocol, Wanted};
use super::service::ServiceBuilder;
use crate::gate;
use crate::node::NodeState;
use crate::plan::Layout;

/// The pods of a cluster; of another network, none.
#[derive(Default)]
pub(crate) struct State {
    inner: Mutex<Inner>,
    /// What the nodes and the name server have been told; who tells them holds it.
    pub(super) told: Mutex<Told>,
}

/// What the nodes and the name server know.
#[derive(Default)]
pub(super) struct Told {
    pub(super) dns: Option<crate::dns::Server>,
    /// The names that are the cluster's, and not the test's own.
    pub(super) names: Vec<String>,
    /// The pods whose nodes have rules that lead to a proxy, each with the gateway if that is where.
    pub(super) on_the_way: BTreeMap<String, Option<Arc<NodeState>>>,
    /// The rules of the nodes, by number; of none before there is a service.
    pub(super) rules: BTreeMap<usize, Installed>,
    /// What they all know of services, and need not be told again.
    pub(super) services: Option<Wanted>,
    /// Those of the policies likewise.
    pub(super) policies: BTreeMap<usize, policy::Installed>,
    /// Whether the last attempt to tell them failed on the way.
    pub(super) is_stale: bool,
}

#[derive(Default)]
struct Inner {
    pods: Vec<Entry>,
    services: Vec<ServiceEntry>,
    policies: Vec<PolicyEntry>,
    /// How many services there have been: no address comes again.
    last_service: u128,
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
    is_ready: bool,
    /// `None` while it is being started.
    state: Option<Arc<NodeState>>,
}

/// A service.
#[derive(Clone)]
pub(super) struct ServiceEntry {
    pub(super) name: String,
    /// IPv4 first; none of a headless one.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ports: Vec<(Protocol, u16, u16)>,
    /// Names of ports, each with the number of its port, counted from 1.
    pub(super) port_names: Vec<(usize, String)>,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) affinity: Option<Duration>,
}

/// A network policy, its rules read.
#[derive(Clone)]
pub(super) struct PolicyEntry {
    pub(super) name: String,
    /// Of the pods that it selects.
    pub(super) selector: BTreeMap<String, String>,
    pub(super) types: Vec<PolicyType>,
    pub(super) ingress: Vec<PolicyRule>,
    pub(super) egress: Vec<PolicyRule>,
    /// Whether who is denied is told.
    pub(super) is_told: bool,
}

/// What there is at one moment.
pub(super) struct View {
    pub(super) pods: Vec<PodView>,
    pub(super) services: Vec<ServiceEntry>,
    pub(super) policies: Vec<PolicyEntry>,
}

pub(super) struct PodView {
    pub(super) name: Arc<str>,
    /// The number of its node, and its interface there.
    pub(super) node: usize,
    pub(super) veth: Option<String>,
    pub(super) addresses: Vec<IpAddr>,
    labels: Arc<BTreeMap<String, String>>,
    is_ready: bool,
}

impl View {
    /// The ready pods that a service's selector picks out.
    pub(super) fn endpoints<'a>(&'a self, service: &'a ServiceEntry) -> impl Iterator<Item = &'a PodView> {
        self.pods.iter().filter(|pod| pod.is_ready && pod.has(&service.selector))
    }
}

impl PodView {
    /// Whether it has all of these labels.
    pub(super) fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.labels.get(key) == Some(value))
    }
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
        inner.pods.push(Entry { name: name.into(), node, number, labels, is_ready: true, state: None });
        if inner.pods.len() > layout.pods.len() {
            inner.shares.push(gate::for_one_more());
        }
        Ok(number)
    }

    /// Gives up what was reserved, or what a pod had.
    pub(super) fn forget(&self, layout: &Layout, name: &str) {
        let mut inner = self.inner();
        inner.pods.retain(|pod| *pod.name != *name);
        // As many as were declared have theirs with the test.
        let later = inner.pods.len().saturating_sub(layout.pods.len());
        inner.shares.truncate(later);
    }

    /// Whether the pod's readiness was another; `None` where there is no such pod.
    pub(super) fn set_ready(&self, name: &str, is_ready: bool) -> Option<bool> {
        let mut inner = self.inner();
        let pod = inner.pods.iter_mut().find(|pod| *pod.name == *name)?;
        Some(std::mem::replace(&mut pod.is_ready, is_ready) != is_ready)
    }

    /// Whether the pod's labels became others by a change; `None` where it is not there any more.
    pub(super) fn change_labels(
        &self,
        record: &Record,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) -> Option<bool> {
        let mut inner = self.inner();
        let pod = inner.of(record)?;
        let mut labels = BTreeMap::clone(&pod.labels);
        change(&mut labels);
        let is_other = labels != *pod.labels;
        pod.labels = Arc::new(labels);
        Some(is_other)
    }

    /// The pod's labels; of one that has been deleted, those that it had when the handle was made.
    pub(super) fn labels(&self, record: &Record) -> Arc<BTreeMap<String, String>> {
        let mut inner = self.inner();
        Arc::clone(inner.of(record).map_or(&record.labels, |pod| &pod.labels))
    }

    pub(super) fn view(&self) -> View {
        let inner = self.inner();
        let pods = inner.pods.iter().filter_map(|pod| {
            let state = pod.state.as_ref()?;
            // IPv4 first, as ranges are.
            let mut addresses: Vec<IpAddr> = state.plan().addresses().collect();
            addresses.reverse();
            let far = state.joined.as_ref().and_then(|far| far.interfaces.first());
            Some(PodView {
                name: Arc::clone(&pod.name),
                node: pod.node,
                veth: far.map(|far| far.name.clone()),
                addresses,
                labels: Arc::clone(&pod.labels),
                is_ready: pod.is_ready,
            })
        });
        View { pods: pods.collect(), services: inner.services.clone(), policies: inner.policies.clone() }
    }

    pub(crate) fn has_service(&self, name: &str) -> bool {
        self.inner().services.iter().any(|service| service.name.eq_ignore_ascii_case(name))
    }

    /// Notes a service, and gives it its addresses.
    pub(super) fn add_service(&self, layout: &Layout, wanted: ServiceBuilder) -> Result<Vec<IpAddr>, String> {
        let mut inner = self.inner();
        let name = &wanted.name;
        if inner.services.iter().any(|service| service.name.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "there is a service `{name}` already: choose another name, or delete that one first"
            ));
        }
        let ranges =
            || layout.services.iter().map(|range| format!("`{range}`")).collect::<Vec<_>>().join(" and ");
        let all = |number: u128| -> Vec<IpAddr> {
            layout.services.iter().filter_map(|range| range.host(number)).collect()
        };
        let taken = |ips: &[IpAddr]| {
            inner
                .services
                .iter()
                .find(|service| service.addresses.iter().any(|ip| ips.contains(ip)))
                .map(|service| service.name.clone())
        };
        let addresses = match wanted.ip {
            _ if wanted.is_headless => Vec::new(),
            Some(ip) => {
                let number = layout.services.iter().find_map(|range| number_of(*range, ip));
                let number = number
                    .ok_or_else(|| format!("`{ip}` is no address of the services' range, {}", ranges()))?;
                if number == DNS {
                    return Err(format!(
                        "`{ip}` is the address of the cluster's name server: choose another"
                    ));
                }
                if let Some(other) = taken(&all(number)) {
                    return Err(format!("`{ip}` is the address of the service `{other}`: choose another"));
                }
                all(number)
            }
            None => {
                let free =
                    (inner.last_service.max(RESERVED_FOR_CLUSTER)..).map(|number| (number, all(number)));
                let mut free = free.take_while(|(_, ips)| ips.len() == layout.services.len());
                let (number, ips) = free.find(|(_, ips)| taken(ips).is_none()).ok_or_else(|| {
                    format!(
                        "the services' range, {}, has no address left: declare a larger `service_cidr`",
                        ranges()
                    )
                })?;
                drop(free);
                inner.last_service = number + 1;
                ips
            }
        };
        let ServiceBuilder { name, ports, port_names, selector, affinity, .. } = wanted;
        let addresses_of_it = addresses.clone();
        let entry = ServiceEntry { name, addresses: addresses_of_it, ports, port_names, selector, affinity };
        inner.services.push(entry);
        Ok(addresses)
    }

    /// Notes a policy.
    pub(super) fn add_policy(&self, policy: PolicyEntry) -> Result<(), String> {
        let mut inner = self.inner();
        let name = &policy.name;
        if inner.policies.iter().any(|other| other.name.eq_ignore_ascii_case(name)) {
            return Err(format!(
                "there is a network policy `{name}` already: choose another name, or delete that one first"
            ));
        }
        inner.policies.push(policy);
        Ok(())
    }

    /// Whether it was there.
    pub(super) fn remove_policy(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let before = inner.policies.len();
        inner.policies.retain(|policy| policy.name != name);
        inner.policies.len() < before
    }

    /// Whether it was there.
    pub(super) fn remove_service(&self, name: &str) -> bool {
        let mut inner = self.inner();
        let before = inner.services.len();
        inner.services.retain(|service| service.name != name);
        inner.services.len() < before
    }

    pub(super) fn started(&self, state: &Arc<NodeState>) -> Option<Record> {
        let mut inner = self.inner();
        let entry = inner.pods.iter_mut().find(|pod| *pod.name == *state.name())?;
        entry.state = Some(Arc::clone(state));
        entry.record()
    }
}

impl Inner {
    /// The pod itself, and not one that has its name since.
    fn of(&mut self, record: &Record) -> Option<&mut Entry> {
        self.pods
            .iter_mut()
            .find(|pod| pod.state.as_ref().is_some_and(|state| Arc::ptr_eq(state, &record.state)))
    }

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
