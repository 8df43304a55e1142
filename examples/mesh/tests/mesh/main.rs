//! A service mesh, tested in a cluster's network: one test for each thing that it promises.

mod captured;
mod certificates;
mod harness;
mod metrics;
mod policy;
mod security;
mod services;
mod shutdown;
mod waypoints;
