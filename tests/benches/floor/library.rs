//! netns-test itself, called as the expansion of its attribute calls it. This is the one file that knows the library.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use netns_test::__private::{self, Arguments, Family, Runtime, Shape, ShouldPanic, TestCase};
use netns_test::kubernetes::ClusterLayout;
use netns_test::{Error, Node};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::variant::{PROGRAM, Variant, Work, at_once};

/// Registered as the expansion does it, so that the process is prepared before `main` like that of a test.
static ECHO: TestCase = case(&["client", "server"]);
__private::register!(ECHO);

static ISOLATED: TestCase = case(&[]);
static ONE: TestCase = case(&["node-0"]);
static PAIR: TestCase = case(&["node-0", "node-1"]);

static SMALL_CLUSTER: TestCase =
    TestCase { topology: Some(|| ClusterLayout::new(2).pods_per_node(5).topology()), ..case(&[]) };
static LARGE_CLUSTER: TestCase =
    TestCase { topology: Some(|| ClusterLayout::new(10).pods_per_node(30).topology()), ..case(&[]) };

/// The library as a variant.
pub(crate) fn variant() -> Option<Box<dyn Variant>> {
    Some(Box::new(Library))
}

struct Library;

impl Variant for Library {
    fn name(&self) -> &'static str {
        "netns-test"
    }

    fn takes_part(&self, _work: Work, _round: usize) -> bool {
        true
    }

    fn perform(&self, work: Work) -> io::Result<Duration> {
        // Not measured: what is a constant in a real test.
        let case = match work {
            Work::Isolated => &ISOLATED,
            Work::Ready(..=2) | Work::AtOnce => &PAIR,
            Work::Ready(nodes) => star(nodes),
            Work::Cluster { nodes: 2, pods: 5 } => &SMALL_CLUSTER,
            Work::Cluster { nodes: 10, pods: 30 } => &LARGE_CLUSTER,
            Work::Cluster { .. } => return Err(io::ErrorKind::Unsupported.into()),
            Work::Echo => &ECHO,
            Work::Program { .. } => &ONE,
        };
        let start = Instant::now();
        match work {
            Work::Isolated => {
                __private::run_async(case, |_| Ok(async {}));
                Ok(start.elapsed())
            }
            Work::Ready(_) | Work::Cluster { .. } => Ok(ready(case)? - start),
            Work::Echo => {
                __private::run_async(case, echo);
                Ok(start.elapsed())
            }
            Work::AtOnce => at_once(|| ready(case)),
            Work::Program { first } => program(case, first),
        }
    }
}

const fn case(nodes: &'static [&'static str]) -> TestCase {
    TestCase {
        name: "floor::library",
        file: file!(),
        line: line!(),
        nodes,
        shape: Shape::Star,
        family: Family::Dual,
        timeout: None,
        run_in: None,
        aliases: &[],
        dns: None,
        topology: None,
        runtime: Runtime::CurrentThread,
        require: &[],
        capture: None,
        should_panic: ShouldPanic::No,
        fails: None,
        program: false,
    }
}

/// A star of so many nodes, for good.
fn star(nodes: u16) -> &'static TestCase {
    let names: Vec<&'static str> = (0..nodes).map(|node| &*format!("node-{node}").leak()).collect();
    Box::leak(Box::new(case(names.leak())))
}

/// Runs a test that does nothing, and tells when its body started.
fn ready(case: &'static TestCase) -> io::Result<Instant> {
    let (started, starts) = mpsc::channel();
    __private::run_async(case, move |_| {
        Ok(async move {
            let _received = started.send(Instant::now());
        })
    });
    starts.recv().map_err(io::Error::other)
}

/// Runs a program in a node, and tells how long it took from the call to its return.
fn program(case: &'static TestCase, is_first: bool) -> io::Result<Duration> {
    let (tell, told) = mpsc::channel();
    __private::run_async(case, move |arguments| {
        let node: Node = __private::argument(arguments, "node-0")?;
        Ok(async move {
            if !is_first {
                assert!(node.command(PROGRAM).status().await?.success());
            }
            let start = Instant::now();
            assert!(node.command(PROGRAM).status().await?.success());
            let _received = tell.send(start.elapsed());
            io::Result::Ok(())
        })
    });
    told.recv().map_err(io::Error::other)
}

/// The test that the README begins with: by name, through Tokio.
fn echo(arguments: &Arguments<'_>) -> Result<impl Future<Output = io::Result<()>> + use<>, Error> {
    let client: Node = __private::argument(arguments, "client")?;
    let server: Node = __private::argument(arguments, "server")?;
    Ok(async move {
        let listener = server.listen_tcp(7).await?;
        let mut outgoing = client.connect_tcp("server:7").await?;
        let (mut incoming, peer) = listener.accept().await?;
        assert_eq!(peer.ip(), client.ip());
        let mut buffer = [0; 2];
        outgoing.write_all(b"hi").await?;
        incoming.read_exact(&mut buffer).await?;
        incoming.write_all(&buffer).await?;
        outgoing.read_exact(&mut buffer).await?;
        assert_eq!(&buffer, b"hi");
        Ok(())
    })
}
