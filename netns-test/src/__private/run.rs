//! What an expansion calls: it runs the test, or the program.

use std::future::Future;
use std::pin::{Pin, pin};
use std::process::{ExitCode, Termination};
use std::task::Poll;

use tokio::task::LocalSet;

use super::{Arguments, TestCase};
use crate::error::{Doing, Error};
use crate::harness::{self, Stop};
use crate::network::Network;
use crate::panics::{Caught, Watched, watched};
use crate::{bootstrap, mounts, worker};

/// What is done before `main`.
pub fn before_main() {
    bootstrap::before_main();
}

/// A body with its types erased, so that what runs it is compiled once, and not again for every test.
type Erased<R> = Box<dyn FnOnce(&Arguments<'_>) -> Result<R, Error> + Send>;

/// An async body that has been called.
type Started = Pin<Box<dyn Future<Output = ExitCode>>>;

/// Runs a test whose body is async.
pub fn run_async<F, B>(test: &'static TestCase, body: F)
where
    F: FnOnce(&Arguments<'_>) -> Result<B, Error> + Send + 'static,
    B: Future + 'static,
    B::Output: Termination,
{
    harness::run(test, async_body(test, started(body)));
}

/// Runs a test whose body is a plain function.
pub fn run_sync<F, R>(test: &'static TestCase, body: F)
where
    F: FnOnce(&Arguments<'_>) -> Result<R, Error> + Send + 'static,
    R: Termination,
{
    harness::run(test, sync_body(test, Box::new(|arguments| body(arguments).map(Termination::report))));
}

/// Runs a program whose `main` is async.
pub fn main_async<F, B>(program: &'static TestCase, body: F) -> ExitCode
where
    F: FnOnce(&Arguments<'_>) -> Result<B, Error> + Send + 'static,
    B: Future + 'static,
    B::Output: Termination,
{
    harness::run_program(program, async_body(program, started(body)))
}

/// Runs a program whose `main` is a plain function.
pub fn main_sync<F, R>(program: &'static TestCase, body: F) -> ExitCode
where
    F: FnOnce(&Arguments<'_>) -> Result<R, Error> + Send + 'static,
    R: Termination,
{
    let body = sync_body(program, Box::new(|arguments| body(arguments).map(Termination::report)));
    harness::run_program(program, body)
}

/// Reported on the body's own thread: what it returns need not be `Send`.
fn started<F, B>(body: F) -> Erased<Started>
where
    F: FnOnce(&Arguments<'_>) -> Result<B, Error> + Send + 'static,
    B: Future + 'static,
    B::Output: Termination,
{
    Box::new(|arguments| {
        let body = body(arguments)?;
        Ok(Box::pin(async { body.await.report() }))
    })
}

fn async_body(test: &'static TestCase, body: Erased<Started>) -> harness::Body {
    Box::new(move |network, stop| in_place(test, network, || block_on(test, network, stop, body))?)
}

fn sync_body(test: &'static TestCase, body: Erased<ExitCode>) -> harness::Body {
    let run = move |network: &Network| match watched(|| body(&Arguments(network))) {
        Ok(Ok(code)) => Ok(Ok(code)),
        Ok(Err(error)) => Err(error),
        Err(caught) => Ok(Err(caught)),
    };
    Box::new(move |network, _stop| in_place(test, network, || run(network))?)
}

/// The node that the body runs in.
fn place(test: &TestCase, network: &Network) -> Option<&'static str> {
    // Of a cluster it stands on the underlay, unless it says otherwise.
    let outside = || network.0.is_cluster().then_some(netns_test_model::kubernetes::OUTSIDE);
    test.run_in.or_else(outside)
}

/// Does something where the body belongs: in its own namespaces, or in a node's.
fn in_place<R>(test: &TestCase, network: &Network, work: impl FnOnce() -> R) -> Result<R, Error> {
    if let Some(name) = place(test, network) {
        let node = network.node(name)?;
        node.namespaces().settle().doing(|| format!("move the body into `{name}`"))?;
        mounts::bind_proc_net()?;
    }
    Ok(work())
}

fn block_on(
    test: &TestCase,
    network: &Network,
    stop: &Stop,
    body: Erased<Started>,
) -> Result<Result<ExitCode, Caught>, Error> {
    let namespaces = match place(test, network) {
        Some(name) => std::sync::Arc::clone(network.node(name)?.namespaces()),
        None => std::sync::Arc::clone(&network.0.body),
    };
    let runtime = worker::runtime(test.runtime, network.0.short_name(), &namespaces)
        .doing(|| "build the runtime of the body")?;
    let local = LocalSet::new();
    let output = local.block_on(&runtime, async {
        let output = {
            let mut body = pin!(Watched::new(std::sync::Arc::downgrade(&network.0), async {
                let body = body(&Arguments(network))?;
                Ok(body.await)
            }));
            let mut stopped = pin!(stop.wanted());
            std::future::poll_fn(|context| match stopped.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => body.as_mut().poll(context).map(Some),
            })
            .await
        };
        worker::drain().await;
        output
    });
    drop(local);
    // Threads of `spawn_blocking` that block cannot be stopped, and are not waited for.
    runtime.shutdown_background();
    match output {
        Some(Ok(Ok(code))) => Ok(Ok(code)),
        Some(Ok(Err(error))) => Err(error),
        Some(Err(caught)) => Ok(Err(caught)),
        None => Err(Error::because("run the body", "the timeout passed")),
    }
}
