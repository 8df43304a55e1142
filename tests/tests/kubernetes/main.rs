//! A cluster's network is what Kubernetes gives: nodes and pods, names, services, and redirection to proxies.

mod datagrams;
mod declared;
mod faults;
mod gateway;
mod layout;
mod policies;
#[cfg(feature = "programs")]
mod programs;
mod redirect;
mod routes;
mod services;
