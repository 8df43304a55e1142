//! Threads and runtimes inside a node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tracing_core::Dispatch;

use crate::__private::Runtime as Flavor;
use crate::error::{Doing, Error};
use crate::namespace::{Namespaces, current_inode, prepare_thread};
use crate::{job, mounts, sys};

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
    let dispatch = job::dispatch();
    builder.enable_all().thread_name(name).on_thread_start(move || {
        if let Err(error) = settle(&namespaces) {
            abort(&error);
        }
        keep_dispatch(dispatch.clone());
    });
    builder.build()
}

fn settle(namespaces: &Namespaces) -> Result<(), Error> {
    prepare_thread()?;
    if current_inode().doing(|| "read a thread's network namespace")? == namespaces.inode() {
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

type Job = Box<dyn FnOnce() + Send>;

enum Message {
    Job(Job),
    Stop,
}

/// The thread of a node: its runtime, and what it is asked to run.
#[derive(Debug)]
pub(crate) struct Worker {
    queue: mpsc::UnboundedSender<Message>,
    thread: thread::ThreadId,
    ended: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
}

thread_local! {
    /// In how many calls the thread waits for a node.
    static WAITS: Arc<AtomicUsize> = Arc::default();
}

/// The calling thread waits for a node until this is dropped: one that asks it meanwhile must not wait for it in turn.
pub(crate) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    pub(crate) fn start() -> Self {
        let waits = WAITS.with(Arc::clone);
        waits.fetch_add(1, Ordering::SeqCst);
        Self(waits)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Worker {
    /// Starts the thread, and returns when it is in the node.
    pub(crate) fn start(name: String, flavor: Flavor, namespaces: Arc<Namespaces>) -> Result<Self, Error> {
        // The first thread that stays in the node is the one that its /proc/net shows.
        Self::prepared(name, flavor, namespaces, mounts::bind_proc_net)
    }

    /// Starts one more, beside the node's own.
    #[cfg(feature = "dns")]
    pub(crate) fn start_another(name: String, namespaces: Arc<Namespaces>) -> Result<Self, Error> {
        Self::prepared(name, Flavor::CurrentThread, namespaces, || Ok(()))
    }

    fn prepared(
        name: String,
        flavor: Flavor,
        namespaces: Arc<Namespaces>,
        prepare: fn() -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let (queue, messages) = mpsc::unbounded_channel();
        let (tell, ready) = std_mpsc::channel();
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ended);
        let thread = spawn_in(name.clone(), Arc::clone(&namespaces), move |settled| {
            let prepared = settled.and_then(|()| {
                prepare()?;
                runtime(flavor, &name, &namespaces).doing(|| "build the runtime of a node")
            });
            match prepared {
                Ok(runtime) => {
                    // The one who waits for this is the caller of `start`, which waits until it is told.
                    let _received = tell.send(Ok(WAITS.with(Arc::clone)));
                    serve(runtime, messages);
                }
                Err(error) => {
                    let _received = tell.send(Err(error));
                }
            }
            ending.store(true, Ordering::Release);
        })?;
        match ready.recv() {
            Ok(Ok(waits)) => Ok(Self { queue, thread, ended, waits }),
            Ok(Err(error)) => Err(error),
            Err(_gone) => Err(Error::because("start the thread of a node", "it ended before it was ready")),
        }
    }

    /// Hands the thread something to run; `false` when it has ended.
    pub(crate) fn submit(&self, job: Job) -> bool {
        self.queue.send(Message::Job(job)).is_ok()
    }

    /// Asks the thread to drop what it runs at the next await, and to end.
    pub(crate) fn stop(&self) {
        // A thread that has ended has stopped.
        let _ended = self.queue.send(Message::Stop);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether it is the calling thread, or one that waits for a node itself.
    pub(crate) fn cannot_be_waited_for(&self) -> bool {
        self.thread == thread::current().id() || self.waits.load(Ordering::SeqCst) > 0
    }
}

fn serve(runtime: Runtime, mut messages: mpsc::UnboundedReceiver<Message>) {
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        while let Some(Message::Job(job)) = messages.recv().await {
            job();
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
) -> Result<thread::ThreadId, Error> {
    let dispatch = job::dispatch();
    let spawned = thread::Builder::new().name(name.clone()).spawn(move || {
        keep_dispatch(dispatch);
        let settled =
            prepare_thread().and_then(|()| namespaces.settle().doing(|| "move a thread into its node"));
        drop(namespaces);
        work(settled);
    });
    // Nothing joins it: a thread that blocks must not block the end of the test.
    spawned.map(|handle| handle.thread().id()).doing(|| format!("start the thread `{name}`"))
}
