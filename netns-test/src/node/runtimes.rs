//! Threads of a node with runtimes of their own.

use std::panic::Location;
use std::sync::{Arc, PoisonError, Weak};

use super::Node;
use crate::error::Error;
use crate::job::{self, JoinHandle};
use crate::worker::Worker;

/// Ends a thread when its work has ended, in whatever way.
struct Ends(Arc<Worker>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Node {
    /// Starts async code on one more thread of the node, with a runtime of its own: what blocks or spins there holds up
    /// nothing else.
    ///
    /// [`spawn`](Node::spawn) runs everything of a node on one thread; this is for servers that stand beside each other as
    /// processes would. The thread ends with the work, and its name is `test@node/name`.
    ///
    /// # Panics
    /// When the thread cannot be started, or the test has ended. A panic in `work` fails the test, unless it is read from the
    /// handle.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 1)]
    /// async fn two_at_once(server: Node) -> std::io::Result<()> {
    ///     server.spawn_runtime("app", async || tokio::net::TcpListener::bind("[::]:80").await?.accept().await);
    ///     server.spawn_runtime("proxy", async || tokio::net::TcpListener::bind("[::]:15001").await?.accept().await);
    ///     server.wait_listening(80).await?;
    ///     server.wait_listening(15001).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn spawn_runtime<F, R>(&self, name: &str, work: F) -> JoinHandle<R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let place = Location::caller();
        // The node's own thread first: /proc/net is its.
        let started = self.with_workers(|net, _workers| {
            let thread = self.thread_name(net, Some(name));
            // Nothing else is submitted to it that would have to go elsewhere.
            let worker =
                Arc::new(Worker::start(thread, net.flavor, Arc::clone(&self.0.namespaces), false, drop)?);
            let mut others = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
            others.retain(|other| !other.has_ended());
            others.push(Arc::clone(&worker));
            drop(others);
            let ends = Ends(Arc::clone(&worker));
            let (handle, job) = job::job(Weak::clone(&self.0.net), self.name(), place, async move || {
                let _ends = ends;
                work().await
            });
            let operation = || format!("start `{name}` in `{}`", self.name());
            worker.submit(job).map_err(|_job| Error::because(operation(), "its thread has ended"))?;
            Ok(handle)
        });
        match started {
            Ok(handle) => handle,
            Err(error) => self.fail(error),
        }
    }
}
