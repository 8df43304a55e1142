//! Waiting for the kernel's state, never for time.

use std::io;
use std::time::{Duration, Instant};

use super::Node;
use crate::error::{Doing, Error};
use crate::netlink::state::{Protocol, Socket};
use crate::queue::Waiting;

/// The kernel tells nobody when a socket begins to listen, so it is asked, at first often and then every 5 ms.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(5);

impl Node {
    /// Waits until something in the node listens on a TCP port, on any of its addresses. No connection is made.
    ///
    /// # Errors
    /// The test's timeout is about to pass; the error lists the sockets that were there instead, and which tasks of the node have ended.
    /// A program of the node has ended without success, and the test has not been told yet ([`Child::wait`](crate::Child::wait)): the
    /// error says how. Code of the node has panicked, so that the test fails: the error says which task, and with what. That is so where
    /// nobody caught the panic, no [`allow_panics`](crate::Network::allow_panics) allowed it, and nobody has the task's handle any more,
    /// from which it could be read; of tasks and threads that the code started by itself it is known after half a second. The kernel's own.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn waits(server: Node) -> std::io::Result<()> {
    ///     server.spawn(async || tokio::net::TcpListener::bind("0.0.0.0:80").await?.accept().await);
    ///     server.wait_listening(80).await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub async fn wait_listening(&self, port: u16) -> Result<(), Error> {
        self.wait_until(&listening(Protocol::Tcp, port), listens(Protocol::Tcp, port)).await
    }

    /// [`wait_listening`](Node::wait_listening) for plain functions.
    ///
    /// # Errors
    /// As for `wait_listening`.
    pub fn blocking_wait_listening(&self, port: u16) -> Result<(), Error> {
        self.blocking_wait_until(&listening(Protocol::Tcp, port), listens(Protocol::Tcp, port))
    }

    /// Waits until something in the node has bound a UDP port, on any of its addresses.
    ///
    /// # Errors
    /// As for [`wait_listening`](Node::wait_listening).
    pub async fn wait_bound_udp(&self, port: u16) -> Result<(), Error> {
        self.wait_until(&listening(Protocol::Udp, port), listens(Protocol::Udp, port)).await
    }

    /// [`wait_bound_udp`](Node::wait_bound_udp) for plain functions.
    ///
    /// # Errors
    /// As for [`wait_listening`](Node::wait_listening).
    pub fn blocking_wait_bound_udp(&self, port: u16) -> Result<(), Error> {
        self.blocking_wait_until(&listening(Protocol::Udp, port), listens(Protocol::Udp, port))
    }

    /// Waits until a condition on the node holds: on its links, addresses, routes, neighbours or sockets.
    ///
    /// `what` says in the error what was waited for, as in "a default route".
    ///
    /// # Errors
    /// The test's timeout is about to pass; the error says what was there instead. A program of the node has failed, or its code has
    /// panicked, as for [`wait_listening`](Node::wait_listening). An error of the condition itself.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn waits(client: Node, server: Node) -> std::io::Result<()> {
    ///     server.interface("eth0")?.down()?;
    ///     client
    ///         .wait_until("the loss of the carrier", |client| Ok(!client.interface("eth0")?.link()?.carrier))
    ///         .await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub async fn wait_until(
        &self,
        what: &str,
        mut condition: impl FnMut(&Self) -> io::Result<bool>,
    ) -> Result<(), Error> {
        let ready = || Ok(condition(self)?.then_some(()));
        self.wait_for(what, ready, || self.state()).await
    }

    /// Waits until there is something; `state` says what there was instead, a line each.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &str,
        mut ready: impl FnMut() -> io::Result<Option<T>>,
        state: impl Fn() -> io::Result<String>,
    ) -> Result<T, Error> {
        let deadline = self.deadline_of_waits().doing(|| self.waiting(what))?;
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(value) = ready().doing(|| self.waiting(what))? {
                return Ok(value);
            }
            self.check(what, deadline, &state)?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// [`wait_until`](Node::wait_until) for plain functions.
    ///
    /// # Errors
    /// As for `wait_until`.
    pub fn blocking_wait_until(
        &self,
        what: &str,
        mut condition: impl FnMut(&Self) -> io::Result<bool>,
    ) -> Result<(), Error> {
        let ready = || Ok(condition(self)?.then_some(()));
        self.blocking_wait_for(what, ready, || self.state())
    }

    /// `wait_for` for plain functions.
    pub(crate) fn blocking_wait_for<T>(
        &self,
        what: &str,
        mut ready: impl FnMut() -> io::Result<Option<T>>,
        state: impl Fn() -> io::Result<String>,
    ) -> Result<T, Error> {
        let deadline = self.deadline_of_waits().doing(|| self.waiting(what))?;
        // What is waited for may come about by the very node whose thread waits.
        let _waiting = Waiting::start();
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(value) = ready().doing(|| self.waiting(what))? {
                return Ok(value);
            }
            self.check(what, deadline, &state)?;
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn waiting(&self, what: &str) -> String {
        format!("wait for {what} in `{}`", self.name())
    }

    pub(crate) fn deadline_of_waits(&self) -> io::Result<Option<Instant>> {
        // The end of a program can be waited for when its node has been deleted, too.
        Ok(self.running()?.clock.deadline_of_waits())
    }

    fn check(
        &self,
        what: &str,
        deadline: Option<Instant>,
        state: impl Fn() -> io::Result<String>,
    ) -> Result<(), Error> {
        if let Some(failure) = self.failed_program().or_else(|| self.lost_panic()) {
            return Err(Error::because(self.waiting(what), failure));
        }
        match deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            false => Ok(()),
            true => {
                let net = self.running().doing(|| self.waiting(what))?;
                // The first is the cause of what follows.
                net.own_failure.get_or_init(|| "a wait that gave up".to_owned());
                let mut state = state().doing(|| self.waiting(what))?;
                for returned in net.tasks.returned(self.name()) {
                    state.push_str(&format!("  {returned} has ended\n"));
                }
                Err(Error::because(
                    self.waiting(what),
                    format!("the test's timeout is about to pass; there was\n{state}"),
                ))
            }
        }
    }

    /// What has panicked in this node, where nobody caught it and the test cannot be told any more: what is waited for will not come.
    fn lost_panic(&self) -> Option<String> {
        let net = self.running().ok()?;
        // Those whose handles are gone first: a handle that is read, and then dropped, has caught its panic.
        let panicked = net.tasks.panicked(self.name());
        let of_work =
            panicked.into_iter().find_map(|(index, ended)| Some((ended.what, net.witness.lost(index)?)));
        let (what, panic) = of_work.or_else(|| {
            let panic = net.witness.lost_unwatched(self.name())?;
            Some((format!("code on the thread `{}`", panic.thread), panic))
        })?;
        Some(format!("{what} has panicked: {} ({})", panic.message, panic.location))
    }

    /// Links, addresses, routes, neighbours and sockets, a line each.
    pub(crate) fn state(&self) -> io::Result<String> {
        let links = self.links()?;
        let mut lines: Vec<String> = links.iter().map(ToString::to_string).collect();
        lines.extend(self.addresses()?.iter().map(|address| address.with_names(&links).to_string()));
        let routes = self.routes()?;
        let own = routes.iter().filter(|route| route.table != crate::netlink::state::Route::LOCAL_TABLE);
        lines.extend(own.map(|route| route.with_names(&links).to_string()));
        lines.extend(self.neighbours()?.iter().map(|neighbour| neighbour.with_names(&links).to_string()));
        let sockets = self.sockets()?;
        lines.extend(sockets.iter().map(Socket::to_string));
        if sockets.is_empty() {
            lines.push("no TCP or UDP socket".to_owned());
        }
        Ok(lines.iter().map(|line| format!("  {line}\n")).collect())
    }
}

fn listening(protocol: Protocol, port: u16) -> String {
    format!("a listener on {protocol} port {port}")
}

fn listens(protocol: Protocol, port: u16) -> impl Fn(&Node) -> io::Result<bool> {
    move |node| Ok(node.diag()?.listeners(protocol)?.iter().any(|socket| socket.local.port() == port))
}
