//! The end of all that runs in a node, without a farewell, and its start again.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::Fault;
use super::partition::everything;
use crate::error::{Doing, Error};
use crate::network::Net;
use crate::node::Node;
use crate::panics::AllowPanics;
use crate::{job, registry, teardown, worker};

impl Node {
    /// Crashes the node, as if its power had failed: first nobody hears of it any more, then all that runs in it ends.
    ///
    /// No FIN and no RST leaves it: its peers keep their connections, and find out as they would from a host that is gone.
    /// What ends:
    /// - tasks of [`spawn`](Node::spawn) and [`run`](Node::run), which are dropped at their next await (a `run` that waits for
    ///   one panics, a handle says that it was cancelled);
    /// - programs of [`command`](Node::command) and all others in the node, by SIGKILL;
    /// - TCP and UDP sockets that were born in the node, whoever holds them: their calls return with an error.
    ///
    /// Threads of [`spawn_thread`](Node::spawn_thread) and others that block cannot be ended:
    /// [`left_behind`](Crashed::left_behind) names them.
    /// Until the restart nothing can be started in the node. What a disk or a configuration would keep is kept: files, addresses,
    /// routes, settings, rules of a firewall.
    ///
    /// # Errors
    /// It has crashed already; the call comes from code in the node itself; it is a host of a cluster and no pod; the kernel's own; the
    /// test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// async fn start(server: &Node) -> std::io::Result<()> {
    ///     server.spawn(async || tokio::net::TcpListener::bind("[::]:80").await?.accept().await);
    ///     Ok(server.wait_listening(80).await?)
    /// }
    ///
    /// #[netns_test(nodes = 2)]
    /// async fn outlives_a_crash(client: Node, server: Node) -> std::io::Result<()> {
    ///     start(&server).await?;
    ///     let _open = client.connect_tcp("server:80").await?;
    ///     let crashed = server.crash().await?;
    ///     // … what does the client do now?
    ///     crashed.restart()?;
    ///     start(&server).await?;
    ///     client.connect_tcp("server:80").await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn crash(&self) -> impl Future<Output = Result<Crashed, Error>> + Send + use<> {
        let told = self.begin_crash(Location::caller());
        async move { told?.await.unwrap_or_else(|_gone| Err(no_answer())) }
    }

    /// [`crash`](Node::crash) for plain functions.
    ///
    /// # Errors
    /// As for `crash`.
    #[track_caller]
    pub fn blocking_crash(&self) -> Result<Crashed, Error> {
        let told = self.begin_crash(Location::caller())?;
        job::block_on(told).unwrap_or_else(|_gone| Err(no_answer()))
    }

    /// Has a thread of its own do it: it waits for others to end, and goes from namespace to namespace.
    fn begin_crash(
        &self,
        place: &'static Location<'static>,
    ) -> Result<oneshot::Receiver<Result<Crashed, Error>>, Error> {
        let operation = || format!("crash `{}`", self.name());
        let net = self.net().doing(operation)?;
        #[cfg(feature = "kubernetes")]
        if net.plan.cluster.is_some() && net.plan.nodes.iter().any(|host| host.name == self.name()) {
            let cause = "the hosts of a cluster carry its services and its name server: crash its pods, or cut this one off by `isolate`";
            return Err(Error::because(operation(), cause));
        }
        let here = registry::here().doing(operation)?;
        if here.is_some_and(|here| here.namespaces.inode() == self.namespaces().inode()) {
            return Err(Error::because(operation(), "the code that asks for it runs in the node itself"));
        }
        let (tell, told) = oneshot::channel();
        let (node, body) = (self.clone(), Arc::clone(&net.body));
        worker::spawn_in(format!("crash of {}", self.name()), body, move |settled| {
            // Whoever has given up waiting wants no crash: the node is started again as the guard is dropped.
            let _unwanted = tell.send(settled.and_then(|()| crash(&net, node, place)));
        })?;
        Ok(told)
    }
}

fn no_answer() -> Error {
    Error::because("crash a node", "the thread that does it has ended")
}

fn crash(net: &Arc<Net>, node: Node, place: &Location<'_>) -> Result<Crashed, Error> {
    let operation = || format!("crash `{}`", node.name());
    let cut = Fault::vanish(&node, &format!("`{}` has crashed", node.name()), everything(&node)?, place)?;
    if !node.begin_outage() {
        return Err(Error::because(operation(), "it has crashed already"));
    }
    // From here on a refusal drops it, which starts the node again.
    let mut crashed = Crashed { node, cut: Some(cut), left: Vec::new() };
    // What is destroyed under its owner is told by errors, and may panic over them.
    let _told = AllowPanics::of(Arc::clone(net), crashed.node.name());
    crashed.left = teardown::empty(net, &crashed.node)?;
    if !crashed.left.is_empty() {
        let names = crashed.left.join(", ");
        eprintln!("netns-test: the crash of `{}` left threads behind: {names}", crashed.node.name());
    }
    Ok(crashed)
}

/// A node that has crashed, from [`Node::crash`]. It starts again when this is dropped, or by [`restart`](Crashed::restart).
#[must_use = "the node starts again when this is dropped"]
pub struct Crashed {
    node: Node,
    /// `None` when it has been started again.
    cut: Option<Fault>,
    left: Vec<String>,
}

impl Crashed {
    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The threads that could not be ended, with what they do. They are still in the node.
    pub fn left_behind(&self) -> &[String] {
        &self.left
    }

    /// Starts the node again, with its name, addresses, routes and files, and with what [`Node::start`] has started, from its beginning.
    ///
    /// The kernel's configuration is what it was at the crash, not what was declared: interfaces, addresses, rules and tables that were made
    /// at run time are there, and an interface that was [`down`](crate::Interface::down) is off.
    ///
    /// What else is to run there is started as it was the first time. Peers that still have connections are answered with a reset, as by
    /// a host that knows nothing of them.
    ///
    /// # Errors
    /// The kernel's own.
    pub fn restart(mut self) -> Result<(), Error> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(cut) = self.cut.take() else { return Ok(()) };
        self.node.end_outage();
        cut.repair()?;
        self.node.start_again()
    }
}

impl Drop for Crashed {
    fn drop(&mut self) {
        if let (Err(error), Ok(net)) = (self.end(), self.node.net()) {
            net.faults.fail(&format!("{error} (as the guard of a crash was dropped)"));
        }
    }
}

impl fmt::Debug for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crashed").field("node", &self.node).field("left_behind", &self.left).finish()
    }
}
