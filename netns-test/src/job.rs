//! Work that one thread hands to another, and the handle to it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread, ThreadId};

use tokio::sync::oneshot;
use tracing_core::Dispatch;
use tracing_core::subscriber::NoSubscriber;

use crate::network::Net;
use crate::panics::{Caught, Watched};
use crate::queue::{Job, Waiting};

/// A handle to work that runs in a node; await it for the result.
///
/// Dropping it detaches the work, which goes on until it is done or the test ends. A panic of detached work fails the
/// test; one that is read from this handle is the test's own business.
pub struct JoinHandle<R> {
    result: oneshot::Receiver<Result<R, Caught>>,
    abort: Option<oneshot::Sender<()>>,
    /// Gone when the work has ended or was dropped.
    running: Weak<()>,
    /// The thread that has begun with the work, and that it cannot leave.
    thread: Arc<OnceLock<ThreadId>>,
}

/// Whether somebody still has a handle, and may ask for what became of the work.
#[derive(Clone, Debug)]
pub(crate) struct Held(Weak<OnceLock<ThreadId>>);

impl Held {
    pub(crate) fn is_held(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl<R> JoinHandle<R> {
    pub(crate) fn held(&self) -> Held {
        Held(Arc::downgrade(&self.thread))
    }

    /// Drops the work's future at its next await, in its node. The handle then yields a cancelled [`JoinError`].
    pub fn abort(&mut self) {
        if let Some(abort) = self.abort.take() {
            // Work that is done has nobody left to be told.
            let _done = abort.send(());
        }
    }

    /// Whether the work has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        !self.result.is_empty() || self.running.strong_count() == 0
    }

    /// Blocks the calling thread until the work has ended.
    ///
    /// On a thread of a node, what the node is asked to run meanwhile runs on another thread of it.
    ///
    /// # Errors
    /// When the work panicked or was cancelled.
    ///
    /// # Panics
    /// When the work has begun on the calling thread, and so could never end: await the handle there.
    #[track_caller]
    pub fn blocking_join(self) -> Result<R, JoinError> {
        // From here on, work that has not begun begins elsewhere.
        let _waiting = Waiting::start();
        if !self.is_finished() && self.thread.get() == Some(&thread::current().id()) {
            panic!(
                "this work has begun on the thread `{}`, which cannot go on with it while it waits for it: `await` the \
                 handle, or join it on another thread",
                thread::current().name().unwrap_or_default()
            );
        }
        block_on(self)
    }
}

impl<R> fmt::Debug for JoinHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("is_finished", &self.is_finished()).finish()
    }
}

impl<R> Future for JoinHandle<R> {
    type Output = Result<R, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context).map(|received| match received {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(caught)) => Err(JoinError(Some(caught.observed()))),
            Err(_dropped) => Err(JoinError(None)),
        })
    }
}

/// Why work in a node has no result: it panicked, or it was cancelled by an abort or by the end of its test.
pub struct JoinError(Option<Box<dyn Any + Send>>);

impl JoinError {
    /// Whether the work panicked.
    pub fn is_panic(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the work was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_none()
    }

    /// The panic's payload, for [`std::panic::resume_unwind`]; `None` for cancelled work.
    pub fn into_panic(self) -> Option<Box<dyn Any + Send>> {
        self.0
    }

    fn text(&self) -> String {
        match &self.0 {
            None => "the work was cancelled".to_owned(),
            Some(payload) => {
                let text = payload.downcast_ref::<&'static str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                text.map_or_else(
                    || "the work panicked".to_owned(),
                    |text| format!("the work panicked: {text}"),
                )
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JoinError").field(&self.text()).finish()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for JoinError {}

/// A handle, and what tells it the result of work that cannot be aborted.
pub(crate) fn handle<R>() -> (JoinHandle<R>, impl FnOnce(Result<R, Caught>)) {
    let (tell, result) = oneshot::channel();
    let running = Arc::new(());
    let handle =
        JoinHandle { result, abort: None, running: Arc::downgrade(&running), thread: Arc::default() };
    let tell = move |output| {
        // A handle that was dropped wants no result; a panic in it then stays uncaught.
        drop(tell.send(output));
        drop(running);
    };
    (handle, tell)
}

/// Handle and job: `make` is called where the job is run, and its future tells the handle, and ends early when the handle
/// says so. `node` and `place` are told of it while it is not done.
pub(crate) fn job<F, R>(
    net: Weak<Net>,
    node: &str,
    place: &'static Location<'static>,
    make: F,
) -> (JoinHandle<R>, Job)
where
    F: AsyncFnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let (mut handle, tell) = handle();
    let (abort, aborted) = oneshot::channel();
    handle.abort = Some(abort);
    let unfinished = net.upgrade().map(|net| net.tasks.begin(node, place));
    let held = handle.held();
    let work = async move || {
        let mut watched = pin!(Watched::new(net, async move { make().await }));
        let mut aborted = pin!(aborted);
        let mut can_abort = true;
        let output = std::future::poll_fn(|context| {
            if can_abort && let Poll::Ready(told) = aborted.as_mut().poll(context) {
                match told {
                    Ok(()) => return Poll::Ready(None),
                    Err(_detached) => can_abort = false,
                }
            }
            watched.as_mut().poll(context).map(Some)
        })
        .await;
        if let Some(output) = output {
            if let Some(unfinished) = &unfinished {
                unfinished.end(output.as_ref().err().and_then(Caught::index), &held);
            }
            tell(output);
        }
    };
    let begun = Arc::clone(&handle.thread);
    let dispatch = dispatch();
    let job = move || {
        // A job is run once.
        begun.get_or_init(|| thread::current().id());
        tokio::task::spawn_local(dispatched(dispatch, work()));
    };
    (handle, Box::new(job))
}

/// The calling thread's tracing subscriber, if it has one.
pub(crate) fn dispatch() -> Option<Dispatch> {
    let dispatch = tracing_core::dispatcher::get_default(Dispatch::clone);
    // An explicit "none" would hide a global subscriber that is set later.
    (!dispatch.is::<NoSubscriber>()).then_some(dispatch)
}

/// A future that runs under a subscriber.
fn dispatched<F: Future>(dispatch: Option<Dispatch>, future: F) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    std::future::poll_fn(move |context| match &dispatch {
        Some(dispatch) => tracing_core::dispatcher::with_default(dispatch, || future.as_mut().poll(context)),
        None => future.as_mut().poll(context),
    })
}

/// Parks the calling thread until a future that other threads drive is done. Works inside and outside a runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
