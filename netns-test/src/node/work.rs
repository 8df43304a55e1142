//! Code that runs in a node: this thread, the node's own, and more of them.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use super::Node;
use crate::error::{Doing, Error};
use crate::job::{self, JoinError, JoinHandle};
use crate::namespace::Depth;
use crate::network::Net;
use crate::panics::{self, Caught, watched};
use crate::queue::Job;
use crate::worker::{self, Worker};

impl Node {
    /// Runs `work` on the calling thread inside the node, and brings the thread back, also when `work` panics.
    ///
    /// The thread is in the node's network, mount and UTS namespaces meanwhile; its working directory keeps its name.
    /// Sockets and files that `work` opens stay the node's. `/etc` and `/run` are the host's but for the resolver's files and the like, until
    /// [`private_files`](Node::private_files) or the node's first program makes them its own. If the thread cannot be brought back, the process aborts.
    ///
    /// # Panics
    /// When the calling thread is none of the test's (it could not return), and when the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// fn binds(server: Node) -> std::io::Result<()> {
    ///     let listener = server.enter(|| std::net::TcpListener::bind("0.0.0.0:80"))?;
    ///     assert_eq!(listener.local_addr()?.port(), 80);
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        // The node's thread makes /proc/net show this node, so it has to be there first.
        let first = self.with_workers(|_net, _workers| Ok(()));
        let entered = first.map_err(io::Error::from).and_then(|()| self.enter_depth(Depth::Whole));
        match entered {
            Ok(_inside) => work(),
            Err(error) => self.fail(format!("failed to enter the node `{}`: {error}", self.name())),
        }
    }

    /// Runs async code on the node's own thread and runtime, and waits for its result.
    ///
    /// The future is made in the node, and need not be `Send`. A panic in it resumes in the caller; dropping the call
    /// drops the future in the node at its next await.
    ///
    /// # Panics
    /// When `work` panics, with its panic; when the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn runs(client: Node) -> std::io::Result<()> {
    ///     let name = client.run(async || std::fs::read_to_string("/proc/sys/kernel/hostname")).await?;
    ///     assert_eq!(name.trim(), "client");
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn run<F, R>(&self, work: F) -> impl Future<Output = R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        /// Dropping a `run` that is not done aborts it.
        struct AbortOnDrop<R>(JoinHandle<R>);
        impl<R> Drop for AbortOnDrop<R> {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let place = Location::caller();
        async move {
            let mut handle = AbortOnDrop(self.spawn_for(place, work));
            match (&mut handle.0).await {
                Ok(output) => output,
                Err(error) => self.resume(error),
            }
        }
    }

    /// [`run`](Node::run) for plain functions: blocks the calling thread.
    ///
    /// # Panics
    /// As for `run`.
    #[track_caller]
    pub fn blocking_run<F, R>(&self, work: F) -> R
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.spawn(work).blocking_join() {
            Ok(output) => output,
            Err(error) => self.resume(error),
        }
    }

    /// Panics over something that this crate could not do. `#[should_panic]` is about the test's own panics.
    #[track_caller]
    pub(super) fn fail(&self, failure: impl fmt::Display) -> ! {
        if let Some(net) = self.0.net.upgrade() {
            // The first is the cause of what follows.
            net.own_failure.get_or_init(|| format!("netns-test ({failure})"));
        }
        panic!("{failure}")
    }

    fn resume(&self, error: JoinError) -> ! {
        let why = if self.net().is_ok() { "it has crashed" } else { "its test has ended" };
        match error.into_panic() {
            Some(payload) => panics::resume(payload),
            None => self.fail(format!("work in the node `{}` was cancelled: {why}", self.name())),
        }
    }

    /// Starts async code on the node's own thread and runtime.
    ///
    /// It runs until it is done, its handle aborts it, or the test ends; dropping the handle detaches it. A panic in it
    /// fails the test, unless it is read from the handle. Until it is first asked to run something, a node has no thread.
    ///
    /// # Panics
    /// When the node's thread cannot be started, or the test has ended.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test]
    /// async fn serves(client: Node, server: Node) -> std::io::Result<()> {
    ///     server.spawn(async || tokio::net::TcpListener::bind("[::]:80").await?.accept().await);
    ///     server.wait_listening(80).await?;
    ///     client.connect_tcp("server:80").await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    #[track_caller]
    pub fn spawn<F, R>(&self, work: F) -> JoinHandle<R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.spawn_for(Location::caller(), work)
    }

    #[track_caller]
    fn spawn_for<F, R>(&self, place: &'static Location<'static>, work: F) -> JoinHandle<R>
    where
        F: AsyncFnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let (handle, job) = job::job(Weak::clone(&self.0.net), self.name(), place, work);
        match self.submit(job) {
            Ok(()) => handle,
            Err(error) => self.fail(error),
        }
    }

    /// Starts one more thread in the node, for code that blocks.
    ///
    /// Nothing joins it at the end of the test: a thread that still runs then is left behind, and ends with the process.
    /// Its name is `test@node/name`.
    ///
    /// # Panics
    /// When the thread cannot be started, or the test has ended. A panic of the thread fails the test, unless it is read
    /// from the handle.
    #[track_caller]
    pub fn spawn_thread<R: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> ThreadHandle<R> {
        let place = Location::caller();
        // The node's own thread first: /proc/net is its. Tear-down sees whatever thread is in the node, so this one gets
        // there before the test can end.
        let started = self.with_workers(|net, _workers| {
            let (handle, tell) = job::handle();
            let thread = self.thread_name(net, Some(name));
            let (held, tasks, node) = (handle.held(), Arc::clone(&net.tasks), self.name().to_owned());
            worker::start_in(thread, Arc::clone(&self.0.namespaces), move || {
                let output = watched(work);
                tasks.end(&node, "thread", place, output.as_ref().err().and_then(Caught::index), &held);
                tell(output);
            })?;
            Ok(handle)
        });
        match started {
            Ok(handle) => ThreadHandle(handle),
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn is_out(&self) -> bool {
        self.0.out.load(Ordering::Acquire)
    }

    /// From here on nothing can be started in the node; `false` if that has been so already.
    pub(crate) fn begin_outage(&self) -> bool {
        // With its threads locked: whoever starts one has done so before, or will not.
        let _workers = self.0.workers();
        !self.0.out.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_outage(&self) {
        self.0.out.store(false, Ordering::Release);
    }

    /// Asks its threads to drop what they run, and to end; it has none any more.
    pub(crate) fn stop_work(&self) -> Vec<Arc<Worker>> {
        let mut workers = std::mem::take(&mut *self.0.workers());
        workers.append(&mut self.0.servers.lock().unwrap_or_else(PoisonError::into_inner));
        workers.iter().for_each(|worker| worker.stop());
        workers
    }

    /// Does something with the node's threads, of which there is at least one, while the test cannot end.
    pub(super) fn with_workers<R>(
        &self,
        act: impl FnOnce(&Arc<Net>, &mut Vec<Arc<Worker>>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut workers = self.0.workers();
        // Tear-down says that the test has ended before it takes the threads: none is started after that.
        let net = self.net().doing(|| format!("use the node `{}`", self.name()))?;
        if self.is_out() {
            return Err(Error::because(format!("use the node `{}`", self.name()), "it has crashed"));
        }
        if workers.is_empty() {
            workers.push(self.start_worker(&net, true)?);
        }
        act(&net, &mut workers)
    }

    fn start_worker(&self, net: &Net, is_first: bool) -> Result<Arc<Worker>, Error> {
        let node = Arc::downgrade(&self.0);
        let elsewhere = move |job| {
            let Some(node) = node.upgrade().map(Self) else { return };
            if let (Err(error), Ok(net)) = (node.submit(job), node.net()) {
                // The job is dropped, so whoever waits for it is told that it was cancelled, and this is why.
                net.own_failure.get_or_init(|| format!("netns-test ({error})"));
            }
        };
        let name = self.thread_name(net, None);
        Worker::start(name, net.flavor, Arc::clone(&self.0.namespaces), is_first, elsewhere).map(Arc::new)
    }

    /// Hands a job to the first of the node's threads that does not wait, if need be to a new one.
    pub(super) fn submit(&self, job: Job) -> Result<(), Error> {
        self.with_workers(|net, workers| {
            let refused = workers.iter().try_fold(job, |job, worker| match worker.submit(job) {
                Ok(()) => ControlFlow::Break(()),
                Err(job) => ControlFlow::Continue(job),
            });
            let ControlFlow::Continue(job) = refused else { return Ok(()) };
            let worker = self.start_worker(net, false)?;
            let submitted = worker.submit(job);
            workers.push(worker);
            submitted
                .map_err(|_job| Error::because("run something in a node", "its new thread does not take it"))
        })
    }

    pub(super) fn thread_name(&self, net: &Net, name: Option<&str>) -> String {
        let (test, node) = (net.short_name(), self.name());
        name.map_or_else(|| format!("{test}@{node}"), |name| format!("{test}@{node}/{name}"))
    }
}

/// A handle to a thread of [`Node::spawn_thread`]. Dropping it detaches the thread.
#[derive(Debug)]
pub struct ThreadHandle<R>(JoinHandle<R>);

impl<R> ThreadHandle<R> {
    /// Blocks the calling thread until the thread has ended.
    ///
    /// # Errors
    /// The thread panicked.
    pub fn join(self) -> Result<R, JoinError> {
        self.0.blocking_join()
    }

    /// Whether the thread's work has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<R> Future for ThreadHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}
