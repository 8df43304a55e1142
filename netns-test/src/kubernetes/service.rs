//! Services: addresses that stand for whichever pods are ready.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netns_test_model::host_name;

use super::rules::Protocol;
use super::{Cluster, Pod};
use crate::error::Error;

/// How long a client stays with its endpoint, unless it is said: what the API server puts in.
const AFFINITY: Duration = Duration::from_secs(3 * 60 * 60);

/// A service: an address and a name that stand for the ready pods among those that its selector picks out.
///
/// What is sent to its address is translated in the sender's node, by rules of nf_tables as kube-proxy's nftables mode has
/// them: each connection goes to one of the ready pods at random, across nodes as well, and keeps the sender's address. While no
/// pod is ready, connections are refused. Pods join and leave as they start, are deleted, or [change](Pod::set_ready) their readiness.
#[derive(Clone)]
pub struct Service {
    cluster: Cluster,
    name: String,
    addresses: Vec<IpAddr>,
}

impl Service {
    /// Its name: `echo` is `echo.default.svc.cluster.local`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address that its name resolves to first: IPv6 in a dual-stack network.
    ///
    /// # Panics
    /// It is headless.
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        self.addresses.last().copied().unwrap_or_else(|| panic!("the service `{}` is headless", self.name))
    }

    /// Its IPv4 address.
    ///
    /// # Panics
    /// It is headless, or the network is `family = v6`.
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        let found =
            self.addresses.iter().find_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None });
        found.unwrap_or_else(|| panic!("the service `{}` has no IPv4 address", self.name))
    }

    /// Its IPv6 address.
    ///
    /// # Panics
    /// It is headless, or the network is `family = v4`.
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        let found =
            self.addresses.iter().find_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None });
        found.unwrap_or_else(|| panic!("the service `{}` has no IPv6 address", self.name))
    }

    /// The pods that serve it now: those that its selector picks out, and that are ready.
    pub fn endpoints(&self) -> Vec<Pod> {
        let view = self.cluster.state().view();
        let service = view.services.iter().find(|service| service.name == self.name);
        let names: Vec<&str> = service
            .map(|service| view.endpoints(service).map(|pod| &*pod.name).collect())
            .unwrap_or_default();
        self.cluster.pods().into_iter().filter(|pod| names.contains(&pod.name())).collect()
    }

    /// Deletes the service: its name and its address are nobody's. Connections that are established go on.
    ///
    /// # Errors
    /// The kernel's own; the test has ended, or the calling thread is none of the test's.
    pub fn delete(&self) -> Result<(), Error> {
        let was_there = self.cluster.state().remove_service(&self.name);
        self.cluster.sync_after(was_there)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// A service that is to be created, from [`Cluster::service`].
#[derive(Clone, Debug)]
#[must_use = "a service is there when it is created"]
pub struct ServiceBuilder {
    cluster: Cluster,
    pub(super) name: String,
    pub(super) ports: Vec<(Protocol, u16, u16)>,
    /// Names of ports, each with the number of its port, counted from 1.
    pub(super) port_names: Vec<(usize, String)>,
    pub(super) selector: BTreeMap<String, String>,
    pub(super) is_headless: bool,
    pub(super) affinity: Option<Duration>,
    pub(super) ip: Option<IpAddr>,
}

impl ServiceBuilder {
    pub(super) fn new(cluster: Cluster, name: &str) -> Self {
        Self {
            cluster,
            name: host_name(name),
            ports: Vec::new(),
            port_names: Vec::new(),
            selector: BTreeMap::new(),
            is_headless: false,
            affinity: None,
            ip: None,
        }
    }

    /// A TCP port of the service, and the pods' port behind it.
    pub fn port(mut self, port: u16, target: u16) -> Self {
        self.ports.push((Protocol::Tcp, port, target));
        self
    }

    /// A UDP port of the service, and the pods' port behind it.
    pub fn udp_port(mut self, port: u16, target: u16) -> Self {
        self.ports.push((Protocol::Udp, port, target));
        self
    }

    /// Names the port that was written last: `_http._tcp.echo.default.svc.cluster.local` then has an SRV record, of a headless service
    /// one for each ready pod.
    ///
    /// ```
    /// # use netns_test::{netns_test, kubernetes::Cluster};
    /// #[netns_test(kubernetes(nodes = 1))]
    /// fn with_names(cluster: Cluster) -> std::io::Result<()> {
    ///     let dns = cluster.service("dns").selector("app", "dns");
    ///     dns.port(53, 5353).port_name("dns-tcp").udp_port(53, 5353).port_name("dns").create()?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn port_name(mut self, name: impl Into<String>) -> Self {
        self.port_names.push((self.ports.len(), name.into()));
        self
    }

    /// A label that the pods behind it have. Called several times, they have all of them.
    pub fn selector(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.selector.insert(key.into(), value.into());
        self
    }

    /// Without an address: its name resolves to the addresses of all its ready pods.
    pub fn headless(mut self) -> Self {
        self.is_headless = true;
        self
    }

    /// A client's connections all go to the pod that its first one went to, until none has come for three hours (`sessionAffinity:
    /// ClientIP`).
    pub fn session_affinity(self) -> Self {
        self.session_affinity_for(AFFINITY)
    }

    /// The same with another time without connections.
    pub fn session_affinity_for(mut self, stay: Duration) -> Self {
        self.affinity = Some(stay);
        self
    }

    /// Its address, in place of the next free one of the services' range. The one of the other family goes with it: they end alike.
    pub fn cluster_ip(mut self, ip: impl Into<IpAddr>) -> Self {
        self.ip = Some(ip.into());
        self
    }

    /// Creates the service. When this returns, its name resolves and its address is balanced in every node.
    ///
    /// # Errors
    /// It has no selector, no port, or a port 0; a port's name is none, or there twice; the name or the address is taken, or is none; the kernel's own; the test has ended,
    /// or the calling thread is none of the test's.
    pub fn create(self) -> Result<Service, Error> {
        let (cluster, name) = (self.cluster.clone(), self.name.clone());
        let operation = || format!("create the service `{name}`");
        let ports: Vec<(&str, u16, u16)> =
            self.ports.iter().map(|(protocol, port, target)| (protocol.name(), *port, *target)).collect();
        let names: Vec<(usize, &str)> = self.port_names.iter().map(|(port, name)| (*port, &**name)).collect();
        netns_test_model::kubernetes::check_service(
            &name,
            &ports,
            !self.selector.is_empty(),
            self.is_headless,
        )
        .and_then(|()| netns_test_model::kubernetes::check_port_names(&names))
        .map_err(|cause| Error::because(operation(), cause))?;
        let addresses = cluster
            .state()
            .add_service(&cluster.layout, self)
            .map_err(|cause| Error::because(operation(), cause))?;
        let service = Service { cluster: cluster.clone(), name: name.clone(), addresses };
        match cluster.sync() {
            Ok(()) => Ok(service),
            Err(error) => {
                cluster.state().remove_service(&name);
                // Nodes that know of it are to forget it. If that fails too, the next change does it.
                let _stale = cluster.sync();
                Err(error)
            }
        }
    }
}
