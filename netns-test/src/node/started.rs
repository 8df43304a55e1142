//! What runs in a node whenever it runs: it is started again after a crash.

use std::panic::Location;
use std::sync::{Arc, PoisonError, Weak};

use super::Node;
use crate::error::Error;
use crate::job;

/// Starts something in a node, each time that it is called.
pub(super) type Start = Arc<dyn Fn(&Node) -> Result<(), Error> + Send + Sync>;

impl Node {
    /// Starts async code in the node, as [`spawn`](Node::spawn) does, now and again whenever the node is restarted after a
    /// [`crash`](Node::crash).
    ///
    /// Several are started in the order in which they were given. Each time the code begins from its beginning, with the node's name,
    /// addresses and files as they were; what it has captured is cloned. A program is started by it as well: it holds the program's
    /// handle, and waits. A panic in it fails the test, and ends what waits in the node ([`wait_listening`](Node::wait_listening)), but
    /// for those that a crash causes.
    ///
    /// # Panics
    /// When the node's thread cannot be started, the node has crashed, or the test has ended.
    ///
    /// ```
    /// # use netns_test::{Node, netns_test};
    /// #[netns_test(nodes = 2)]
    /// async fn is_there_again(client: Node, server: Node) -> std::io::Result<()> {
    ///     server.start(async || serve().await.expect("a server that runs on"));
    ///     server.wait_listening(7).await?;
    ///     client.connect_tcp("server:7").await?;
    ///     server.crash().await?.restart()?;
    ///     server.wait_listening(7).await?;
    ///     client.connect_tcp("server:7").await?;
    ///     Ok(())
    /// }
    ///
    /// async fn serve() -> std::io::Result<()> {
    ///     let listener = tokio::net::TcpListener::bind("[::]:7").await?;
    ///     loop {
    ///         listener.accept().await?;
    ///     }
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn start<F>(&self, work: F)
    where
        F: AsyncFn() + Clone + Send + Sync + 'static,
    {
        let place = Location::caller();
        let start: Start = Arc::new(move |node| {
            let work = work.clone();
            let (_detached, job) =
                job::job(Weak::clone(&node.0.net), node.name(), place, async move || work().await);
            node.submit(job)
        });
        if let Err(error) = start(self) {
            self.fail(error);
        }
        self.0.started.lock().unwrap_or_else(PoisonError::into_inner).push(start);
    }

    /// Starts again what [`start`](Node::start) has started.
    pub(crate) fn start_again(&self) -> Result<(), Error> {
        let all = self.0.started.lock().unwrap_or_else(PoisonError::into_inner).clone();
        all.iter().try_for_each(|start| start(self))
    }
}
