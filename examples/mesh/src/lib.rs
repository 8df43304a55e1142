//! A small service mesh at layer 4, and what tests it: an example of a project that `netns-test` carries.
//!
//! Transparent proxies take the TCP connections of pods, and carry them to each other through mutual TLS; the applications at both ends
//! know nothing of it, and each sees the other's own address. It is made after the ambient mesh's ztunnel, as small as it can be and still be
//! one. It is no product: it lacks timeouts, limits, shared tunnels, certificates that end, and a control plane beyond a shared [`Directory`].
//!
//! # How it is put together
//!
//! ```text
//!   client's pod                                                     server's pod
//!   app ──▶ 15001 outbound ══ mutual TLS, HTTP/2 CONNECT server:8080 ══▶ 15008 inbound ──▶ app
//!                  │                                                     15006 inbound, of whoever is not captured
//!                  └═══▶ 15008 waypoint, in a pod of its own ═══▶ …
//! ```
//!
//! | module | is |
//! |---|---|
//! | [`identity`] | who a workload is: SPIFFE IDs |
//! | [`workloads`] | workloads and services, and where a connection goes next: plainly, through a tunnel, by a waypoint |
//! | [`policy`] | who may connect to whom |
//! | [`tls`] | the authority, certificates with identities, and how both ends check them |
//! | [`namespace`] | sockets in a pod's network namespace, marked, and with a client's address |
//! | [`agent`] | how a node's proxy is handed its pods' namespaces (`SCM_RIGHTS`) |
//! | [`proxy`] | a proxy: of one pod, of a node's pods, or a waypoint; how it drains |
//! | `outbound`, `inbound`, `waypoint` | what is done with a connection: whether it may be, and where it goes |
//! | [`hbone`], `relay`, [`proxy_protocol`] | how bytes are carried |
//! | [`metrics`], [`refusal`], [`tasks`] | what was done, what was not, and what is in hand |
//!
//! Nothing in it knows that it is tested: `netns-test` is a dev-dependency. What stands for Kubernetes is in `tests/mesh/harness.rs`:
//! a pod is started, the mesh is told of it, its namespace is handed to its node's proxy (or a proxy is started in it), and then
//! `pod.redirect(..)` sends its connections there, as a CNI plugin's rules would. The rest of `tests/mesh` is one test for each promise, in
//! real network stacks:
//!
//! ```sh
//! cargo test -p netns-test-mesh
//! ```

#![forbid(unsafe_code)]

pub mod agent;
pub mod hbone;
pub mod identity;
mod inbound;
pub mod metrics;
pub mod namespace;
mod outbound;
pub mod policy;
pub mod proxy;
pub mod proxy_protocol;
pub mod refusal;
mod relay;
pub mod tasks;
pub mod tls;
mod waypoint;
pub mod workloads;

pub use self::identity::Identity;
pub use self::proxy::Proxy;
pub use self::tls::Authority;
pub use self::workloads::{Directory, Service, Workload};
