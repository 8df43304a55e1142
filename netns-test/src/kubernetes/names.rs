//! The names of a cluster, as its name server has them (the DNS specification of Kubernetes, version 1.1.0).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Cluster;
use super::state::{PodView, View};
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
        let is_headless = service.addresses.is_empty();
        // Endpoints have names of their own, as the pods of a StatefulSet.
        let endpoint = |pod: &PodView| format!("{}.{name}", pod.name);
        for (pod, &ip) in
            view.endpoints(service).flat_map(|pod| pod.addresses.iter().map(move |ip| (pod, ip)))
        {
            if is_headless {
                add(name.clone(), ip.into());
                add(endpoint(pod), ip.into());
            }
        }
        for (number, port_name) in &service.port_names {
            let (protocol, port, target) = service.ports[number - 1];
            let of_port = format!("_{port_name}._{}.{name}", protocol.name().to_ascii_lowercase());
            // As CoreDNS has them: all of one priority, and the weights make up 100.
            let srv = |share: usize, port, target| Record::Srv {
                priority: 0,
                weight: (100 / share.max(1)) as u16,
                port,
                target,
            };
            let endpoints: Vec<&PodView> = view.endpoints(service).collect();
            match is_headless {
                true => endpoints
                    .iter()
                    .for_each(|pod| add(of_port.clone(), srv(endpoints.len(), target, endpoint(pod)))),
                false => add(of_port, srv(1, port, name.clone())),
            }
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
