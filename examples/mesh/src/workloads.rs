//! What the mesh consists of, and where a connection goes: what a control plane tells every proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::identity::Identity;
use crate::policy::Policy;
use crate::refusal::Refusal;

/// The port on which proxies take each other's tunnels.
pub const HBONE: u16 = 15008;

/// A pod.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The pod's name.
    pub name: String,
    /// Its addresses, one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// Who it is.
    pub identity: Identity,
    /// Whether a proxy takes tunnels for it.
    pub is_captured: bool,
    /// What traffic to its own addresses goes through.
    pub waypoint: Option<Gateway>,
    /// It is a waypoint that does not speak HBONE: its proxy ends the tunnels, and hands it what was in them.
    pub hand_over: Option<HandOver>,
}

impl Workload {
    /// Its address of the family of another.
    pub(crate) fn address_like(&self, other: IpAddr) -> Result<IpAddr, Refusal> {
        let found = self.addresses.iter().find(|ip| ip.is_ipv4() == other.is_ipv4());
        found.copied().ok_or(Refusal::NoEndpoint)
    }
}

/// How a proxy hands the traffic of tunnels to the waypoint that it stands before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// To this port, as it is.
    Plain(u16),
    /// To this port, with a header of the PROXY protocol.
    ProxyProtocol(u16),
}

impl HandOver {
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Plain(port) | Self::ProxyProtocol(port) => port,
        }
    }
}

/// Where a waypoint is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A workload, or a service, at this address.
    Address(IpAddr),
    /// A service of this name.
    Hostname(String),
}

/// A service.
#[derive(Debug)]
pub struct Service {
    /// Its whole name.
    pub hostname: String,
    /// Its virtual addresses, one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// Its ports, each with that of its endpoints.
    pub ports: Vec<(u16, u16)>,
    /// The names of the workloads that serve it.
    pub endpoints: Vec<String>,
    /// What traffic to its addresses goes through.
    pub waypoint: Option<Gateway>,
    /// How many connections have been balanced.
    balanced: AtomicUsize,
}

impl Service {
    /// A service without a waypoint.
    pub fn new(hostname: &str, addresses: Vec<IpAddr>, ports: Vec<(u16, u16)>, endpoints: &[&str]) -> Self {
        Self {
            hostname: hostname.to_owned(),
            addresses,
            ports,
            endpoints: endpoints.iter().map(|name| (*name).to_owned()).collect(),
            waypoint: None,
            balanced: AtomicUsize::new(0),
        }
    }
}

/// Where a connection goes next.
#[derive(Debug)]
pub enum Route {
    /// To this address, as it is.
    Plain(SocketAddr),
    /// Through a tunnel to this workload's proxy, or to this waypoint, which is to go on to `to`.
    Tunnel {
        /// Whose the other end of the tunnel is.
        peer: Arc<Workload>,
        /// Where the tunnel's connection goes to.
        via: SocketAddr,
        /// What is asked for at the other end.
        to: SocketAddr,
    },
}

/// All workloads, services and policies; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Directory(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    workloads: Vec<Arc<Workload>>,
    services: Vec<Arc<Service>>,
    policies: Vec<Policy>,
}

impl Directory {
    /// Adds a workload, or replaces the one of this name.
    pub fn set_workload(&self, workload: Workload) {
        let mut known = self.write();
        known.workloads.retain(|other| other.name != workload.name);
        known.workloads.push(Arc::new(workload));
    }

    /// Forgets a workload.
    pub fn remove_workload(&self, name: &str) {
        self.write().workloads.retain(|other| other.name != name);
    }

    /// Adds a service, or replaces the one of this name.
    pub fn set_service(&self, service: Service) {
        let mut known = self.write();
        known.services.retain(|other| other.hostname != service.hostname);
        known.services.push(Arc::new(service));
    }

    /// Adds a policy.
    pub fn add_policy(&self, policy: Policy) {
        self.write().policies.push(policy);
    }

    /// The policies.
    pub fn policies(&self) -> Vec<Policy> {
        self.read().policies.clone()
    }

    /// The workload of this name.
    pub fn workload(&self, name: &str) -> Option<Arc<Workload>> {
        self.read().workloads.iter().find(|workload| workload.name == name).cloned()
    }

    /// The workload at this address.
    pub fn workload_at(&self, ip: IpAddr) -> Option<Arc<Workload>> {
        self.read().workloads.iter().find(|workload| workload.addresses.contains(&ip)).cloned()
    }

    fn service_at(&self, ip: IpAddr) -> Option<Arc<Service>> {
        self.read().services.iter().find(|service| service.addresses.contains(&ip)).cloned()
    }

    /// Where a connection of `from` to `to` goes next: to a waypoint if there is one, and `from` is not it.
    pub(crate) fn route(&self, from: &Workload, to: SocketAddr) -> Result<Route, Refusal> {
        match self.waypoint_of(to.ip()) {
            Some(gateway) if !self.is_waypoint(from, to.ip()) => {
                let waypoints = self.behind(&gateway);
                let peer = waypoints.into_iter().next().ok_or(Refusal::NoEndpoint)?;
                let via = SocketAddr::new(peer.address_like(to.ip())?, HBONE);
                Ok(Route::Tunnel { peer, via, to })
            }
            _ => self.route_behind_waypoint(to),
        }
    }

    /// Where a connection goes next that no waypoint is to see any more.
    fn route_behind_waypoint(&self, to: SocketAddr) -> Result<Route, Refusal> {
        let (peer, to) = match self.service_at(to.ip()) {
            Some(service) => {
                let port = service.ports.iter().find(|(port, _)| *port == to.port());
                let (_, target) = *port.ok_or(Refusal::NoEndpoint)?;
                let endpoints = self.serving(&service);
                let turn = service.balanced.fetch_add(1, Ordering::Relaxed);
                let peer = endpoints.get(turn % endpoints.len().max(1)).ok_or(Refusal::NoEndpoint)?;
                (Arc::clone(peer), SocketAddr::new(peer.address_like(to.ip())?, target))
            }
            None => match self.workload_at(to.ip()) {
                Some(peer) => (peer, to),
                None => return Ok(Route::Plain(to)),
            },
        };
        match peer.is_captured {
            true => Ok(Route::Tunnel { via: SocketAddr::new(to.ip(), HBONE), peer, to }),
            false => Ok(Route::Plain(to)),
        }
    }

    /// Whether traffic to this address goes through the workload.
    pub(crate) fn is_waypoint(&self, workload: &Workload, of: IpAddr) -> bool {
        let waypoints = self.waypoint_of(of).map(|gateway| self.behind(&gateway));
        waypoints.is_some_and(|all| all.iter().any(|other| other.name == workload.name))
    }

    fn waypoint_of(&self, ip: IpAddr) -> Option<Gateway> {
        match self.service_at(ip) {
            Some(service) => service.waypoint.clone(),
            None => self.workload_at(ip)?.waypoint.clone(),
        }
    }

    /// The workloads that a gateway stands for.
    fn behind(&self, gateway: &Gateway) -> Vec<Arc<Workload>> {
        let service = match gateway {
            Gateway::Address(ip) => match self.workload_at(*ip) {
                Some(workload) => return vec![workload],
                None => self.service_at(*ip),
            },
            Gateway::Hostname(name) => {
                self.read().services.iter().find(|service| service.hostname == *name).cloned()
            }
        };
        service.map(|service| self.serving(&service)).unwrap_or_default()
    }

    fn serving(&self, service: &Service) -> Vec<Arc<Workload>> {
        service.endpoints.iter().filter_map(|name| self.workload(name)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
