//! Threads and runtimes inside a node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tracing_core::Dispatch;

use crate::__private::Runtime as Flavor;
use crate::error::{Doing, Error};
use crate::namespace::{Namespaces, prepare_thread};
use crate::queue::{Job, Queue};
use crate::{job, mounts, queue, report, sys};

/// A Tokio runtime whose every thread is in `namespaces`.
///
/// The calling thread must be in them already. A thread of a runtime is created by whichever thread asks for it first,
/// so each one checks where it is, and moves.
pub(crate) fn runtime(flavor: Flavor, name: &str, namespaces: &Arc<Namespaces>) -> io::Result<Runtime> {
    let mut builder = match flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread { workers } => {
            let mut builder = Builder::new_multi_thread();
            if let Some(workers) = workers {
                builder.worker_threads(workers);
            }
            builder
        }
    };
    let namespaces = Arc::clone(namespaces);
    let (dispatch, full) = (job::dispatch(), name.to_owned());
    builder.enable_all().thread_name(name).on_thread_start(move || {
        if let Err(error) = settle(&namespaces) {
            abort(&error);
        }
        keep_dispatch(dispatch.clone());
        report::keep_name(full.clone());
    });
    builder.build()
}

/// Makes what Tokio makes once for the whole process while the calling thread is in no test's network: the pair of sockets by
/// which it hears of signals would be born in the first test's namespace, and keep it for ever.
pub(crate) fn leave_signals_outside() -> io::Result<()> {
    static MADE: AtomicBool = AtomicBool::new(false);
    if !MADE.load(Ordering::Acquire) {
        Builder::new_current_thread().enable_io().build()?;
        MADE.store(true, Ordering::Release);
    }
    Ok(())
}

fn settle(namespaces: &Namespaces) -> Result<(), Error> {
    prepare_thread()?;
    if namespaces.are_here().doing(|| "read a thread's namespaces")? {
        return Ok(());
    }
    namespaces.settle().doing(|| "move a thread of a runtime into its node")
}

/// A thread in the wrong network must not go on, and Tokio's hook has no way to fail.
fn abort(error: &Error) -> ! {
    sys::process::write_raw(2, format!("netns-test: {error}, aborting\n").as_bytes());
    std::process::abort()
}

/// Makes a subscriber the default of the calling thread, for as long as the thread lives.
fn keep_dispatch(dispatch: Option<Dispatch>) {
    if let Some(dispatch) = dispatch {
        std::mem::forget(tracing_core::dispatcher::set_default(&dispatch));
    }
}

/// A thread of a node: its runtime, and what it is asked to run.
#[derive(Debug)]
pub(crate) struct Worker {
    queue: Arc<Queue>,
    ended: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread, and returns when it is in the node. While it waits, its jobs go to `elsewhere`.
    pub(crate) fn start(
        name: String,
        flavor: Flavor,
        namespaces: Arc<Namespaces>,
        is_first: bool,
        elsewhere: impl Fn(Job) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (tell, ready) = std_mpsc::channel();
        let worker = Self { queue: Arc::default(), ended: Arc::default() };
        let (queue, ended) = (Arc::clone(&worker.queue), Arc::clone(&worker.ended));
        spawn_in(name.clone(), Arc::clone(&namespaces), move |settled| {
            let prepared = settled.and_then(|()| {
                // The first thread that stays in the node is the one that its /proc/net shows.
                if is_first {
                    mounts::bind_proc_net()?;
                }
                runtime(flavor, &name, &namespaces).doing(|| "build the runtime of a node")
            });
            match prepared {
                Ok(runtime) => {
                    // The one who waits for this is the caller of `start`, which waits until it is told.
                    let _received = tell.send(Ok(()));
                    queue::serve_here(Arc::clone(&queue), Arc::new(elsewhere));
                    serve(runtime, &queue);
                }
                Err(error) => {
                    let _received = tell.send(Err(error));
                }
            }
            ended.store(true, Ordering::Release);
        })?;
        match ready.recv() {
            Ok(Ok(())) => Ok(worker),
            Ok(Err(error)) => Err(error),
            Err(_gone) => Err(Error::because("start the thread of a node", "it ended before it was ready")),
        }
    }

    /// Hands the thread something to run, or gives it back: the thread waits, or has been stopped.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        self.queue.push(job)
    }

    /// Asks the thread to drop what it runs at the next await, and to end.
    pub(crate) fn stop(&self) {
        self.queue.stop();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

fn serve(runtime: Runtime, queue: &Queue) {
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        while let Some(job) = queue.next().await {
            job();
            // One at a time: what has begun cannot go elsewhere, so it has its turn first.
            tokio::task::yield_now().await;
        }
        drain().await;
    });
    drop(local);
    // Threads of `spawn_blocking` that block cannot be stopped, and are not waited for.
    runtime.shutdown_background();
}

/// Lets what is ready to run have its turn, so that a task that was spawned last is polled once before it is dropped.
pub(crate) async fn drain() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
    // With several threads the task waits for one of them, which may take a while on a busy machine.
    let metrics = tokio::runtime::Handle::current().metrics();
    for _ in 0..DRAIN_ROUNDS {
        if metrics.global_queue_depth() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How many milliseconds tasks that are ready may take to have their turn. More are only needed where one keeps all
/// threads of the runtime busy, and then it would be forever.
const DRAIN_ROUNDS: u32 = 500;

/// Starts a thread that is in `namespaces` from its first instruction of `work` on.
pub(crate) fn spawn_in(
    name: String,
    namespaces: Arc<Namespaces>,
    work: impl FnOnce(Result<(), Error>) + Send + 'static,
) -> Result<(), Error> {
    let dispatch = job::dispatch();
    let own_name = name.clone();
    let spawned = thread::Builder::new().name(name.clone()).spawn(move || {
        keep_dispatch(dispatch);
        let _named = report::Named::new(own_name);
        let settled =
            prepare_thread().and_then(|()| namespaces.settle().doing(|| "move a thread into its node"));
        drop(namespaces);
        work(settled);
    });
    // Nothing joins it: a thread that blocks must not block the end of the test.
    spawned.map(drop).doing(|| format!("start the thread `{name}`"))
}

/// [`spawn_in`], returning when the thread is there; when it cannot get there, `work` is not done.
pub(crate) fn start_in(
    name: String,
    namespaces: Arc<Namespaces>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), Error> {
    let (tell, told) = std_mpsc::channel();
    spawn_in(name, namespaces, move |settled| {
        let is_there = settled.is_ok();
        // The caller waits until it is told.
        let _received = tell.send(settled);
        if is_there {
            work();
        }
    })?;
    told.recv().unwrap_or_else(|_gone| Err(Error::because("start a thread", "it ended before it was ready")))
}
