//! What all handles of one node share.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::interface::{Added, Kept};
use super::programs::Programs;
use super::started::Start;
use crate::fault::{Hooked, Station};
use crate::gateway::GatewayChanges;
use crate::layers::Layers;
use crate::namespace::Namespaces;
use crate::netlink::RouteSocket;
use crate::network::Net;
use crate::plan::NodePlan;
use crate::worker::Worker;

/// What all handles of one node share.
pub(crate) struct NodeState {
    pub(super) net: Weak<Net>,
    pub(super) name: String,
    /// What it has now: what was declared, and what the test has changed since.
    pub(super) plan: RwLock<Arc<NodePlan>>,
    /// What the test has changed of what it does at its uplink.
    pub(crate) changed_gateway: Mutex<GatewayChanges>,
    /// Where it joined a network that was there: the node that it is joined to, and what that one got by it.
    pub(crate) joined: Option<NodePlan>,
    pub(super) test: &'static str,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(super) route: Mutex<Option<Arc<RouteSocket>>>,
    /// Its threads that run what it is asked to: one, and more where that one waits.
    pub(super) workers: Mutex<Vec<Arc<Worker>>>,
    /// What is started again with it.
    pub(super) started: Mutex<Vec<Start>>,
    /// The threads of servers that this crate runs in it.
    pub(super) servers: Mutex<Vec<Arc<Worker>>>,
    /// What interfaces had before they were switched off.
    pub(super) kept: Mutex<Vec<Kept>>,
    /// The faults for which interfaces are unplugged.
    pub(super) unplugged: Mutex<HashMap<u32, Vec<u16>>>,
    pub(super) hooked: Hooked,
    /// The interfaces that the test has added.
    pub(super) added: Mutex<Vec<Added>>,
    /// Where packets of its interfaces are held.
    pub(super) stations: Mutex<HashMap<u32, Arc<Station>>>,
    /// Whether it has crashed: nothing can be started in it.
    pub(super) out: AtomicBool,
    pub(crate) programs: Programs,
    pub(crate) layers: Mutex<Layers>,
    /// Whether it has left its network.
    pub(crate) has_left: AtomicBool,
    /// Whether that is done, with all that goes with it; who does it holds this.
    #[cfg(feature = "kubernetes")]
    pub(crate) leaving: Mutex<bool>,
}

impl NodeState {
    pub(crate) fn new(
        net: Weak<Net>,
        test: &'static str,
        plan: NodePlan,
        joined: Option<NodePlan>,
        namespaces: Arc<Namespaces>,
        route: RouteSocket,
    ) -> Self {
        Self {
            net,
            name: plan.name.clone(),
            plan: RwLock::new(Arc::new(plan)),
            changed_gateway: Mutex::default(),
            joined,
            test,
            namespaces,
            route: Mutex::new(Some(Arc::new(route))),
            workers: Mutex::default(),
            started: Mutex::default(),
            servers: Mutex::default(),
            kept: Mutex::new(Vec::new()),
            unplugged: Mutex::default(),
            hooked: Hooked::default(),
            added: Mutex::default(),
            stations: Mutex::default(),
            out: AtomicBool::new(false),
            programs: Programs::default(),
            layers: Mutex::default(),
            has_left: AtomicBool::new(false),
            #[cfg(feature = "kubernetes")]
            leaving: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it has now.
    pub(crate) fn plan(&self) -> Arc<NodePlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that it has something else now.
    pub(crate) fn change_plan(&self, change: impl FnOnce(&mut NodePlan)) {
        let mut plan = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut plan));
    }

    /// The node's threads; none if it was never asked to run something.
    pub(crate) fn workers(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every thread of this crate's that runs tasks in the node. None is started once its test has ended.
    pub(crate) fn all_workers(&self) -> Vec<Arc<Worker>> {
        let workers = self.workers();
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().chain(servers.iter()).cloned().collect()
    }

    /// The netlink socket; `None` once the node is torn down.
    pub(crate) fn route_socket(&self) -> Option<Arc<RouteSocket>> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends what holds its packets, whoever still has a guard of it.
    pub(crate) fn end_stations(&self) {
        let stations = std::mem::take(&mut *self.stations.lock().unwrap_or_else(PoisonError::into_inner));
        stations.values().for_each(|station| station.stop());
    }

    /// Gives the netlink socket up: an open one keeps the namespace alive. Nothing is started any more.
    pub(crate) fn take_route_socket(&self) -> Option<Arc<RouteSocket>> {
        // What is to be started may hold handles of this node.
        let started = std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        drop(started);
        self.route.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
