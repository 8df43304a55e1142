//! The names of a cluster, as its name server has them (the DNS specification of Kubernetes, version 1.1.0).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Cluster;
use super::state::View;
use crate::dns::{Record, reverse};
use crate::node::Node;
use crate::plan::{DOMAIN, NAMESPACE, name_servers};

/// Names with their records.
type Names = BTreeMap<String, Vec<Record>>;

/// Addresses with the names of those who have them.
type Owners = Vec<(IpAddr, String)>;

/// Every name with its records, and whose the addresses are.
pub(super) fn names(cluster: &Cluster, view: &View) -> (Names, Owners) {
    let mut names = Names::new();
    let mut owners = Vec::new();
    let mut add =
        |name: String, record: Record| names.entry(name.to_ascii_lowercase()).or_default().push(record);
    for node in cluster.network().nodes() {
        let name = node.name().to_ascii_lowercase();
        for ip in addresses(&node) {
            add(name.clone(), ip.into());
            add(reverse(ip), Record::Ptr(name.clone()));
            owners.push((ip, name.clone()));
        }
    }
    for pod in &view.pods {
        for &ip in &pod.addresses {
            let dashed = ip.to_string().replace(['.', ':'], "-");
            // A label does not begin or end with a hyphen.
            let dashed = match (dashed.starts_with('-'), dashed.ends_with('-')) {
                (true, _) => format!("0{dashed}"),
                (_, true) => format!("{dashed}0"),
                _ => dashed,
            };
            add(format!("{dashed}.{NAMESPACE}.pod.{DOMAIN}"), ip.into());
        }
    }
    for service in &view.services {
        let name = format!("{}.{NAMESPACE}.svc.{DOMAIN}", service.name);
        for &ip in &service.addresses {
            add(name.clone(), ip.into());
            add(reverse(ip), Record::Ptr(name.clone()));
        }
        let endpoints = view.endpoints(service).flat_map(|pod| &pod.addresses);
        if service.addresses.is_empty() {
            endpoints.for_each(|&ip| add(name.clone(), ip.into()));
        }
    }
    // A service is there, also while nobody serves it: NODATA, not NXDOMAIN.
    for service in &view.services {
        names.entry(format!("{}.{NAMESPACE}.svc.{DOMAIN}", service.name).to_ascii_lowercase()).or_default();
    }
    let server = format!("kube-dns.kube-system.svc.{DOMAIN}");
    for ip in name_servers(&cluster.layout) {
        names.entry(server.clone()).or_default().push(ip.into());
        names.entry(reverse(ip)).or_default().push(Record::Ptr(server.clone()));
    }
    (names, owners)
}

fn addresses(node: &Node) -> Vec<IpAddr> {
    node.own_addresses().collect()
}
