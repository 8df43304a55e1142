//! Servers that this crate runs in a node.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::Node;
use crate::error::{Doing, Error};
use crate::namespace::Depth;
use crate::worker::Worker;

impl Node {
    /// The node's own addresses, the one that its name resolves to first at the front.
    pub(crate) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.plan.addresses()
    }

    /// Runs a server on a thread of its own: the node's may be blocked by the very code that asks the server. It ends with
    /// the test.
    ///
    /// `bind` makes its sockets, on the calling thread while it is in the node's network: what fails, fails here.
    pub(crate) fn start_server<S, F>(
        &self,
        name: &str,
        bind: impl FnOnce() -> Result<S, Error>,
        serve: F,
    ) -> Result<(), Error>
    where
        S: Send + 'static,
        F: AsyncFnOnce(S) + Send + 'static,
    {
        let operation = || format!("start a {name} server in `{}`", self.name());
        let net = self.net().doing(operation)?;
        // The node's own thread first: /proc/net of the node is its.
        self.worker()?;
        let sockets = {
            let _inside = self.enter_depth(Depth::Network).doing(operation)?;
            bind()?
        };
        let namespaces = Arc::clone(&self.0.namespaces);
        let worker = Arc::new(Worker::start_another(self.thread_name(&net, Some(name)), namespaces)?);
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&worker));
        let started = worker.submit(Box::new(move || {
            tokio::task::spawn_local(async move { serve(sockets).await });
        }));
        // Torn down meanwhile: it must not outlive the test.
        let running = self.net().doing(operation).map(drop);
        if running.is_err() {
            worker.stop();
        }
        match started {
            true => running,
            false => Err(Error::new(operation(), io::Error::from(io::ErrorKind::NotConnected))),
        }
    }
}
