//! A cluster's network is what Kubernetes gives: nodes and pods, names, services, and redirection to proxies.

mod datagrams;
mod faults;
mod gateway;
mod layout;
mod redirect;
mod services;
