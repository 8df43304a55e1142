//! A network without a test: for programs and benchmarks.

use std::sync::Arc;
use std::time::Instant;
use std::{panic, thread};

use tokio::task::LocalSet;

use crate::__private::Runtime;
use crate::capture::Wanted;
use crate::error::{Doing, Error};
use crate::harness::describe;
use crate::held::hold;
use crate::namespace::prepare_thread;
use crate::network::{Net, Network};
use crate::panics::{Caught, Watched, watched};
use crate::teardown::{Leftover, tear_down};
use crate::topology::{self, Topology};
use crate::{bootstrap, gate, janitor, log, panics, plan, probe, provision, report, worker};

/// What a network without a test is called where tests have their names.
const NAME: &str = "network";

/// Prepares the process for networks: as an ordinary user, it enters a user namespace of its own, with that one user mapped.
///
/// Test binaries are prepared before `main`. A program without
/// a test calls this first in its `main`, while it has one thread (unshare(2)). [`Topology::run`] does it where it has not been
/// done, so this is for programs that start threads before their first network.
///
/// # Errors
/// The process has threads already; the system refuses user namespaces: the error names the cause and the mending.
pub fn init() -> Result<(), Error> {
    bootstrap::late();
    match probe::refusal() {
        Some(cause) => Err(Error::because("prepare the process for networks", cause)),
        None => Ok(()),
    }
}

impl Topology {
    /// Makes the network, runs code with it, and takes it down: for programs and benchmarks that are no tests.
    ///
    /// The code runs as the body of a test does: on a thread of its own, in a namespace with nothing but a loopback, with handles that
    /// work there. There is no timeout. When it returns, the network's processes are killed, and its sockets destroyed.
    ///
    /// # Errors
    /// The topology or the network cannot be made; a panic in the network that nobody caught; what could not be taken down.
    ///
    /// # Panics
    /// With the panic of `body`, when the network is gone.
    ///
    /// ```
    /// use netns_test::Topology;
    ///
    /// fn main() -> Result<(), netns_test::Error> {
    ///     let mut topology = Topology::new();
    ///     topology.node("client").node("server").link("client", "server");
    ///     let took = topology.run(|network| {
    ///         let (client, server) = (network.node("client")?, network.node("server")?);
    ///         let listener = server.blocking_listen_tcp(7)?;
    ///         let started = std::time::Instant::now();
    ///         client.blocking_connect_tcp("server:7")?;
    ///         listener.accept()?;
    ///         std::io::Result::Ok(started.elapsed())
    ///     })?;
    ///     println!("connected in {:?}", took.expect("sockets"));
    ///     Ok(())
    /// }
    /// ```
    pub fn run<R: Send>(&self, body: impl FnOnce(&Network) -> R + Send) -> Result<R, Error> {
        self.live(|network| watched(|| body(network)))
    }

    /// [`run`](Self::run) for async code, on a current-thread Tokio runtime of its own, as an async test has it.
    ///
    /// # Errors
    /// As for `run`; no runtime can be made.
    ///
    /// # Panics
    /// As for `run`.
    pub fn run_async<R: Send>(&self, body: impl AsyncFnOnce(&Network) -> R + Send) -> Result<R, Error> {
        self.live(|network| {
            let made = worker::runtime(Runtime::CurrentThread, NAME, &network.0.body);
            let runtime = match made.doing(|| "build a runtime") {
                Ok(runtime) => runtime,
                Err(error) => return Ok(Err(error)),
            };
            let local = LocalSet::new();
            let result = local.block_on(&runtime, async {
                let result = Watched::new(Arc::downgrade(&network.0), body(network)).await;
                worker::drain().await;
                result
            });
            drop(local);
            runtime.shutdown_background();
            result.map(Ok)
        })?
    }

    fn live<R: Send>(&self, body: impl FnOnce(&Network) -> Result<R, Caught> + Send) -> Result<R, Error> {
        init()?;
        let model = self.model();
        topology::check(&model)?;
        report::Wanted::read()
            .and_then(|_| log::wanted())
            .map_err(|text| Error::because("read the environment", text))?;
        let _share =
            gate::enter(gate::nodes(&model)).map_err(|cause| Error::because("make the network", cause))?;
        panics::ensure_hook();
        let plan = plan::plan(&model);
        let mut packets = Wanted::never();
        // What reads a capture of the body's own.
        packets.start()?;
        let life = || {
            prepare_thread()?;
            let net = provision::provision(NAME, plan, Runtime::CurrentThread, None, packets)?;
            net.report.begin(false);
            if let Err(error) = net.begin() {
                tear_down(&net)?;
                return Err(error);
            }
            net.clock.started.get_or_init(Instant::now);
            let network = Network(Arc::clone(&net));
            let _listening = log::listen();
            // Watched once more: what a body leaves in its runtime may panic while it is dropped.
            let ran = watched(|| body(&network)).and_then(|ran| ran);
            drop(network);
            Ok::<_, Error>(end(&net, ran))
        };
        let ended = thread::scope(|scope| {
            let thread = thread::Builder::new().name(NAME.to_owned()).spawn_scoped(scope, life);
            let thread = thread.doing(|| "start the thread of the network")?;
            thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        });
        match ended? {
            Ok(result) => result,
            Err(caught) => panic::resume_unwind(caught.observed()),
        }
    }
}

/// Takes the network down; what the body returned, unless something else failed.
fn end<R>(net: &Arc<Net>, ran: Result<R, Caught>) -> Result<Result<R, Error>, Caught> {
    let (how, own) = match &ran {
        Ok(_) => (report::How::Passed, None),
        Err(caught) => (report::How::Panicked(caught.index(), caught.message().to_owned()), caught.index()),
    };
    report::at_body_end(net, &how);
    let leftovers =
        net.body.settle().doing(|| "return to the network's own namespace").and_then(|()| tear_down(net));
    let mut texts: Vec<String> = Vec::new();
    let uncaught = net.witness.uncaught();
    texts
        .extend(uncaught.iter().filter(|(index, _)| Some(*index) != own).map(|(_, record)| describe(record)));
    texts.extend(net.faults.failures());
    match leftovers {
        Ok(threads) if threads.is_empty() => {}
        Ok(threads) => {
            // They go with the process, and so does what they start.
            janitor::stay();
            let names: Vec<String> = threads.iter().map(Leftover::to_string).collect();
            eprintln!("netns-test: left behind: {}", names.join(", "));
        }
        Err(error) => texts.push(error.to_string()),
    }
    if let Some(report) = report::report(net, &how, ran.is_ok() && texts.is_empty()) {
        eprintln!("netns-test: {report}");
    }
    let kept = match ran.is_ok() && texts.is_empty() {
        true => net.artifacts.discard().map(|()| None),
        false => Ok(net.artifacts.kept()),
    };
    match kept {
        Ok(None) => {}
        Ok(Some(directory)) => eprintln!("netns-test: its files are in {}", directory.display()),
        Err(error) => texts.push(error.to_string()),
    }
    hold(net);
    match ran {
        Ok(result) if texts.is_empty() => Ok(Ok(result)),
        Ok(_) => Ok(Err(Error::because("run the network", texts.join("\n")))),
        Err(caught) => {
            texts.iter().for_each(|text| eprintln!("netns-test: {text}"));
            Err(caught)
        }
    }
}
