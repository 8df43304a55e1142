//! Servers that this crate runs in a node.

use std::sync::{Arc, PoisonError};

use super::Node;
use crate::__private::Runtime as Flavor;
use crate::error::{Doing, Error};
use crate::namespace::Depth;
use crate::worker::Worker;

impl Node {
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
        self.with_workers(|net, _node_s_own| {
            let sockets = {
                let _inside = self.enter_depth(Depth::Network).doing(operation)?;
                bind()?
            };
            let name = self.thread_name(net, Some(name));
            // It never waits for a node, so nothing that it was asked has to go elsewhere.
            let worker =
                Worker::start(name, Flavor::CurrentThread, Arc::clone(&self.0.namespaces), false, drop)?;
            let started = worker.submit(Box::new(move || {
                tokio::task::spawn_local(async move { serve(sockets).await });
            }));
            self.0.servers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(worker));
            started.map_err(|_job| Error::because(operation(), "its thread has ended"))
        })
    }
}
