//! The right thread: everything started inside a node stays there, whoever asked for it.

use std::any::Any;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::{env, thread};

use netns_test::{Network, Node, netns_test};
use tokio::sync::oneshot;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, field, span};

/// Where a thread is: its network namespace, its host name, and the interfaces that /proc/net and /sys show it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    network: u64,
    host: String,
    proc_net: String,
    sys: Vec<String>,
}

fn here() -> Place {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host name").trim().to_owned();
    let mut sys: Vec<String> = fs::read_dir("/sys/class/net")
        .expect("/sys/class/net")
        .map(|entry| fs::read_to_string(entry.unwrap().path().join("address")).unwrap_or_default())
        .collect();
    sys.sort();
    let network = fs::metadata("/proc/thread-self/ns/net").expect("the namespace").ino();
    Place {
        network,
        host,
        proc_net: fs::read_to_string("/proc/net/if_inet6").expect("/proc/net/if_inet6"),
        sys,
    }
}

/// Where a thread of the node has to be.
fn of(node: &Node) -> Place {
    let place = node.enter(here);
    let inode = File::from(node.netns_fd().try_clone_to_owned().unwrap()).metadata().unwrap().ino();
    assert_eq!((place.network, place.host.as_str()), (inode, node.name()));
    place
}

/// Network namespace and host name of a child process.
fn child() -> (String, String) {
    let text = |program: &str, argument: &[&str]| {
        let output = Command::new(program).args(argument).output().expect("a child process");
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    };
    (text("readlink", &["/proc/self/ns/net"]), text("cat", &["/proc/sys/kernel/hostname"]))
}

fn child_of(place: &Place) -> (String, String) {
    (format!("net:[{}]", place.network), place.host.clone())
}

/// Everything that code may start.
async fn all_places() -> Vec<Place> {
    let mut places = vec![here()];
    places.push(tokio::spawn(async { here() }).await.unwrap());
    places.push(tokio::task::spawn_local(async { here() }).await.unwrap());
    places.push(tokio::task::spawn_blocking(here).await.unwrap());
    places.push(thread::spawn(here).join().unwrap());
    places.push(thread::spawn(|| thread::spawn(here).join().unwrap()).join().unwrap());
    places.push(thread::scope(|scope| scope.spawn(here).join().unwrap()));
    let from_blocking = tokio::task::spawn_blocking(|| {
        let handle = tokio::runtime::Handle::current();
        (
            thread::spawn(here).join().unwrap(),
            handle.block_on(async { tokio::spawn(async { here() }).await.unwrap() }),
        )
    });
    let (by_thread, by_task) = from_blocking.await.unwrap();
    places.extend([by_thread, by_task]);
    // Enough of both kinds that a runtime of many threads uses more than one.
    let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(async { here() })).collect();
    let blocking: Vec<_> = (0..16).map(|_| tokio::task::spawn_blocking(here)).collect();
    for place in tasks.into_iter().chain(blocking) {
        places.push(place.await.unwrap());
    }
    places
}

async fn everything_stays(node: Node) {
    let wanted = of(&node);
    for place in node.run(all_places).await {
        assert_eq!(place, wanted);
    }
    assert_eq!(node.run(async || child()).await, child_of(&wanted));
    assert_eq!(node.run(async || tokio::task::spawn_blocking(child).await.unwrap()).await, child_of(&wanted));
    let by_tokio = node.run(async || {
        let output =
            tokio::process::Command::new("readlink").arg("/proc/self/ns/net").output().await.unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    assert_eq!(by_tokio.await, child_of(&wanted).0);
    assert_eq!(node.spawn_thread("worker", here).await.unwrap(), wanted);
    assert_eq!(node.spawn_thread("worker", || thread::spawn(here).join().unwrap()).await.unwrap(), wanted);
    assert_eq!(node.spawn_thread("worker", child).await.unwrap(), child_of(&wanted));
    assert_eq!(node.spawn(async || here()).await.unwrap(), wanted);
    assert_eq!(node.enter(|| thread::spawn(here).join().unwrap()), wanted);
    assert_eq!(node.enter(child), child_of(&wanted));
}

#[netns_test(nodes = 2)]
async fn everything_stays_in_its_node(client: Node, server: Node) {
    everything_stays(client).await;
    everything_stays(server).await;
}

#[netns_test(nodes = 2, flavor = "multi_thread", worker_threads = 3)]
async fn everything_stays_in_its_node_with_many_threads(client: Node, server: Node) {
    everything_stays(client).await;
    everything_stays(server).await;
}

#[netns_test(nodes = 2, run_in = client)]
async fn everything_of_the_body_stays_where_it_runs(client: Node, server: Node) {
    let wanted = of(&client);
    for place in all_places().await {
        assert_eq!(place, wanted);
    }
    assert_eq!(child(), child_of(&wanted));
    assert_ne!(of(&server), wanted);
}

#[netns_test(nodes = 2, run_in = client, flavor = "multi_thread")]
async fn everything_of_the_body_stays_where_it_runs_with_many_threads(client: Node, _server: Node) {
    let wanted = of(&client);
    for place in all_places().await {
        assert_eq!(place, wanted);
    }
}

#[netns_test(nodes = 2)]
async fn the_one_who_asks_does_not_matter(client: Node, server: Node) {
    let wanted = of(&server);
    let handle = server.run(async || tokio::runtime::Handle::current()).await;
    // A runtime's blocking thread is made by whoever asks for it.
    let asked = handle.clone();
    assert_eq!(client.run(async move || asked.spawn_blocking(here).await.unwrap()).await, wanted);
    let asked = client.enter(|| handle.spawn_blocking(here));
    assert_eq!(asked.await.unwrap(), wanted);
    assert_eq!(handle.spawn_blocking(here).await.unwrap(), wanted);
    let other = server.clone();
    assert_eq!(client.run(async move || other.run(async || here()).await).await, wanted);
    let other = server.clone();
    assert_eq!(
        client.spawn_thread("asks", move || other.blocking_run(async || here())).await.unwrap(),
        wanted
    );
    let other = server.clone();
    assert_eq!(thread::spawn(move || other.blocking_run(async || here())).join().unwrap(), wanted);
    let inside = client.enter(|| server.spawn_thread("asked", here).join().unwrap());
    assert_eq!(inside, wanted);
}

fn name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

async fn names_of(node: Node) -> [String; 3] {
    let by_thread = node.spawn_thread("worker", name).await.unwrap();
    let blocking = node.run(async || tokio::task::spawn_blocking(name).await.unwrap()).await;
    [node.run(async || name()).await, blocking, by_thread]
}

#[netns_test(nodes = 1)]
async fn threads_are_named(server: Node) {
    let wanted = ["threads_are_named@server", "threads_are_named@server", "threads_are_named@server/worker"];
    assert_eq!(names_of(server).await, wanted);
}

#[netns_test(nodes = 1, flavor = "multi_thread")]
async fn many_threads_are_named(server: Node) {
    let task = server.run(async || tokio::spawn(async { name() }).await.unwrap()).await;
    assert_eq!(task, "many_threads_are_named@server");
}

/// Keeps the messages of events.
#[derive(Clone, Default)]
struct Messages(Arc<Mutex<Vec<String>>>);

impl Messages {
    fn take(&self) -> Vec<String> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap());
        all.sort();
        all
    }
}

impl Subscriber for Messages {
    fn register_callsite(&self, _metadata: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("right_thread")
    }

    fn new_span(&self, _attributes: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message<'a>(&'a Messages);
        impl field::Visit for Message<'_> {
            fn record_debug(&mut self, _field: &field::Field, value: &dyn std::fmt::Debug) {
                self.0.0.lock().unwrap().push(format!("{value:?}"));
            }
        }
        event.record(&mut Message(self));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

async fn says_everywhere(node: Node) {
    node.run(async || {
        tracing::info!("run");
        tokio::spawn(async { tracing::info!("task") }).await.unwrap();
        tokio::task::spawn_blocking(|| tracing::info!("blocking")).await.unwrap();
    })
    .await;
    node.spawn(async || tracing::info!("spawn")).await.unwrap();
    node.spawn_thread("worker", || tracing::info!("thread")).await.unwrap();
    node.enter(|| tracing::info!("enter"));
}

const EVERYWHERE: [&str; 6] = ["blocking", "enter", "run", "spawn", "task", "thread"];

#[netns_test(nodes = 2)]
async fn the_subscriber_of_the_body_hears_the_nodes(client: Node, server: Node) {
    let messages = Messages::default();
    let _default = tracing::subscriber::set_default(messages.clone());
    for node in [client, server] {
        says_everywhere(node).await;
        assert_eq!(messages.take(), EVERYWHERE);
    }
}

#[netns_test(nodes = 1, flavor = "multi_thread")]
fn the_subscriber_of_a_plain_body_hears_many_threads(node: Node) {
    let messages = Messages::default();
    let heard = messages.clone();
    tracing::subscriber::with_default(messages.clone(), || {
        node.blocking_run(async || tokio::spawn(async { tracing::info!("task") }).await.unwrap());
    });
    assert_eq!(heard.take(), ["task"]);
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a payload without text")
}

#[netns_test(nodes = 2)]
fn enter_returns_the_thread(client: Node, server: Node) {
    let (body, directory) = (here(), env::current_dir().unwrap());
    let (in_client, in_server) = (of(&client), of(&server));
    assert_eq!(
        client.enter(|| (here(), env::current_dir().unwrap())),
        (in_client.clone(), directory.clone())
    );
    assert_eq!((here(), env::current_dir().unwrap()), (body.clone(), directory.clone()));
    let payload = catch_unwind(AssertUnwindSafe(|| client.enter(|| panic!("in the client")))).unwrap_err();
    assert_eq!(text_of(&*payload), "in the client");
    assert_eq!((here(), env::current_dir().unwrap()), (body.clone(), directory.clone()));
    // One in the other, and the same in itself.
    client.enter(|| {
        assert_eq!(server.enter(here), in_server);
        assert_eq!(here(), in_client);
        assert_eq!(client.enter(here), in_client);
        let panicked = catch_unwind(AssertUnwindSafe(|| server.enter(|| panic!("in the server"))));
        assert_eq!(text_of(&*panicked.unwrap_err()), "in the server");
        assert_eq!(here(), in_client);
    });
    assert_eq!(here(), body);
    // A working directory that is changed inside is the thread's own again afterwards.
    client.enter(|| env::set_current_dir("/").unwrap());
    assert_eq!(env::current_dir().unwrap(), directory);
    // Other threads of the test: its own code's, and the nodes'.
    thread::scope(|scope| {
        let entered = scope.spawn(|| (client.enter(here), here()));
        assert_eq!(entered.join().unwrap(), (in_client.clone(), body.clone()));
    });
    let entered = client.clone();
    let from_server = server.blocking_run(async move || (entered.enter(here), here()));
    assert_eq!(from_server, (in_client, in_server));
}

/// The network, mount and UTS namespaces of the calling thread.
fn namespaces() -> [u64; 3] {
    let inode = |kind| fs::metadata(format!("/proc/thread-self/ns/{kind}")).expect("the namespace").ino();
    ["net", "mnt", "uts"].map(inode)
}

/// Code that enters a node's network by itself has the mounts and the host name of where it came from.
#[netns_test(nodes = 2)]
fn enter_returns_a_thread_that_entered_a_network_by_itself(client: Node, server: Node) {
    let (in_client, in_server) = (of(&client), of(&server));
    let all_of_client = client.enter(namespaces);
    thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let [_, mounts, host] = namespaces();
            nix::sched::setns(client.netns_fd(), nix::sched::CloneFlags::CLONE_NEWNET).expect("it may");
            let own = [all_of_client[0], mounts, host];
            assert_eq!(namespaces(), own);
            assert_eq!((server.enter(here), namespaces()), (in_server, own));
            assert_eq!((client.enter(here), namespaces()), (in_client.clone(), own));
            // A runtime's thread that it brings about is in all of the node.
            let handle = client.blocking_run(async || tokio::runtime::Handle::current());
            let threads: Vec<_> = (0..3).map(|_| handle.spawn_blocking(here)).collect();
            for thread in threads {
                assert_eq!(client.blocking_run(async move || thread.await.unwrap()), in_client);
            }
        });
        entered.join().unwrap();
    });
    assert_eq!(client.enter(namespaces), all_of_client);
}

static TO_A_FOREIGN_THREAD: Mutex<Option<mpsc::Sender<Node>>> = Mutex::new(None);
static FROM_A_FOREIGN_THREAD: Mutex<Option<mpsc::Receiver<[String; 3]>>> = Mutex::new(None);

#[netns_test(nodes = 1)]
#[ignore = "a part of `enter_on_a_foreign_thread_is_a_clear_error`"]
async fn lends_its_node(server: Node) {
    let Some(lend) = TO_A_FOREIGN_THREAD.lock().unwrap().take() else { return };
    let answers = FROM_A_FOREIGN_THREAD.lock().unwrap().take().expect("both ends");
    lend.send(server).expect("the foreign thread");
    let [entered, asked, ran] = tokio::task::spawn_blocking(move || answers.recv().unwrap()).await.unwrap();
    for error in [&entered, &asked] {
        assert!(error.contains("this thread is not one of the test's"), "{error}");
    }
    assert!(entered.starts_with("failed to enter the node `server`"), "{entered}");
    assert_eq!(ran, "server");
}

#[test]
fn enter_on_a_foreign_thread_is_a_clear_error() {
    let (lend, lent) = mpsc::channel::<Node>();
    let (answer, answers) = mpsc::channel();
    *TO_A_FOREIGN_THREAD.lock().unwrap() = Some(lend);
    *FROM_A_FOREIGN_THREAD.lock().unwrap() = Some(answers);
    thread::scope(|scope| {
        scope.spawn(move || {
            let node = lent.recv().expect("a node");
            let before = here();
            let entered = catch_unwind(AssertUnwindSafe(|| node.enter(here))).unwrap_err();
            let asked = node.sockets().unwrap_err().to_string();
            // The node's own thread does it for anyone.
            let ran = node.blocking_run(async || here().host);
            assert_eq!(here(), before);
            answer.send([text_of(&*entered).to_owned(), asked, ran]).expect("the test waits");
        });
        lends_its_node();
    });
}

/// Tells that it was dropped.
struct Dropped(Option<oneshot::Sender<Place>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell.send(here()).expect("the test waits for it");
        }
    }
}

/// A future that tells when it began, and never ends.
async fn endless(began: oneshot::Sender<()>, dropped: Dropped) {
    let _dropped = dropped;
    began.send(()).expect("the test waits for it");
    std::future::pending::<()>().await;
}

#[netns_test(nodes = 1)]
async fn dropping_run_aborts_it(node: Node) {
    let (begins, began) = oneshot::channel();
    let (drops, dropped) = oneshot::channel();
    tokio::select! {
        () = node.run(async move || endless(begins, Dropped(Some(drops))).await) => unreachable!("it never ends"),
        begun = began => begun.expect("it began"),
    }
    assert_eq!(dropped.await.expect("it is dropped"), of(&node));
}

#[netns_test(nodes = 1)]
async fn dropping_the_handle_of_spawn_detaches(node: Node) {
    let (goes_on, told) = oneshot::channel();
    let (answers, answer) = oneshot::channel();
    drop(node.spawn(async move || {
        told.await.expect("the test tells");
        answers.send(here()).expect("the test waits");
    }));
    // The node has other work meanwhile.
    node.run(async || tokio::task::yield_now().await).await;
    goes_on.send(()).expect("it still runs");
    assert_eq!(answer.await.unwrap(), of(&node));
}

#[netns_test(nodes = 1)]
async fn abort_drops_it_in_the_node(node: Node) {
    let (begins, began) = oneshot::channel();
    let (drops, dropped) = oneshot::channel();
    let mut handle = node.spawn(async move || endless(begins, Dropped(Some(drops))).await);
    began.await.expect("it began");
    assert!(!handle.is_finished());
    handle.abort();
    assert!(handle.await.unwrap_err().is_cancelled());
    assert_eq!(dropped.await.unwrap(), of(&node));
}

#[netns_test(nodes = 1)]
async fn a_handle_of_aborted_work_is_finished(node: Node) {
    let (begins, began) = oneshot::channel();
    let (drops, dropped) = oneshot::channel();
    let mut handle = node.spawn(async move || endless(begins, Dropped(Some(drops))).await);
    began.await.expect("it began");
    handle.abort();
    dropped.await.expect("it is dropped");
    while !handle.is_finished() {
        tokio::task::yield_now().await;
    }
    assert!(handle.await.unwrap_err().is_cancelled());
}

async fn asks_itself(node: Node) {
    let wanted = of(&node);
    let same = node.clone();
    assert_eq!(node.run(async move || same.run(async || here()).await).await, wanted, "run");
    let same = node.clone();
    assert_eq!(node.run(async move || same.blocking_run(async || here())).await, wanted, "blocking_run");
    let same = node.clone();
    assert_eq!(node.run(async move || same.enter(here)).await, wanted, "enter");
    let same = node.clone();
    assert_eq!(
        node.run(async move || same.spawn_thread("same", here).join().unwrap()).await,
        wanted,
        "spawn_thread"
    );
    let same = node.clone();
    let spawned = node.run(async move || same.spawn(async || here()).await.unwrap());
    assert_eq!(spawned.await, wanted, "spawn");
    let same = node.clone();
    let deep = node.run(async move || {
        let again = same.clone();
        same.blocking_run(async move || again.blocking_run(async || here()))
    });
    assert_eq!(deep.await, wanted, "blocking_run in blocking_run");
    let same = node.clone();
    let joined = node.run(async move || same.spawn(async || here()).blocking_join().unwrap());
    assert_eq!(joined.await, wanted, "blocking_join");
    let same = node.clone();
    let joined = node.run(async move || {
        let again = same.clone();
        let thread = same.spawn_thread("asks", move || again.blocking_run(async || here()));
        thread.join().unwrap()
    });
    assert_eq!(joined.await, wanted, "join of a thread that asks");
}

/// What has begun on a thread cannot go on while that thread waits for it.
#[netns_test(nodes = 1)]
async fn a_thread_that_would_wait_for_itself_says_so(node: Node) {
    let same = node.clone();
    let payload = node.run(async move || {
        let (begins, began) = oneshot::channel();
        let (_goes_on, told) = oneshot::channel::<()>();
        let handle = same.spawn(async move || {
            begins.send(()).expect("the other waits");
            told.await
        });
        began.await.expect("it begins");
        catch_unwind(AssertUnwindSafe(|| handle.blocking_join())).unwrap_err()
    });
    let payload = payload.await;
    assert!(
        text_of(&*payload).contains("while it waits for it: `await` the handle"),
        "{}",
        text_of(&*payload)
    );
}

#[netns_test(nodes = 1)]
async fn a_node_asks_itself_without_a_deadlock(node: Node) {
    asks_itself(node).await;
}

#[netns_test(nodes = 1, flavor = "multi_thread")]
async fn a_node_asks_itself_without_a_deadlock_with_many_threads(node: Node) {
    asks_itself(node).await;
}

#[netns_test(nodes = 2)]
fn nodes_ask_each_other_without_a_deadlock(one: Node, other: Node) {
    let (wanted, asked, back) = (of(&one), other.clone(), one.clone());
    let found =
        one.blocking_run(async move || asked.blocking_run(async move || back.blocking_run(async || here())));
    assert_eq!(found, wanted);
    // Afterwards the node's own thread does the work again.
    let own = one.blocking_run(async || thread::current().id());
    assert_eq!(one.blocking_run(async || thread::current().id()), own);
}

/// Asked by another node, by `run` and by `spawn`, before and while its own thread waits.
async fn is_asked_while_it_waits(one: Node, other: Node) {
    let wanted = of(&one);
    let (asked, back) = (other.clone(), one.clone());
    let found = one.run(async move || {
        let early = back.spawn(async || here());
        let late = asked.blocking_run(async move || {
            let spawned = back.spawn(async || here()).await.unwrap();
            (back.run(async || here()).await, spawned, early.await.unwrap())
        });
        (late, asked.spawn(async || here().host).blocking_join().unwrap())
    });
    let ((run, spawned, early), host) = found.await;
    // What it waits for comes about by itself.
    let (asked, back) = (other.clone(), one.clone());
    one.run(async move || {
        let listens = asked.clone();
        asked.spawn(async move || {
            back.run(async || ()).await;
            let _listener = listens.listen_tcp(80).await.unwrap();
            std::future::pending::<()>().await;
        });
        asked.blocking_wait_listening(80)
    })
    .await
    .unwrap();
    assert_eq!([run, spawned, early], [wanted.clone(), wanted.clone(), wanted]);
    assert_eq!(host, "other");
}

#[netns_test(nodes = 2)]
async fn a_node_that_waits_is_asked_without_a_deadlock(one: Node, other: Node) {
    is_asked_while_it_waits(one, other).await;
}

#[netns_test(nodes = 2, flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_waits_is_asked_without_a_deadlock_with_many_threads(one: Node, other: Node) {
    is_asked_while_it_waits(one, other).await;
}

#[netns_test(nodes = 1, run_in = node)]
async fn a_body_asks_its_own_node_without_a_deadlock(node: Node) {
    let same = node.clone();
    assert_eq!(same.blocking_run(async || here()), here());
    asks_itself(node).await;
}

#[netns_test(nodes = 1)]
fn a_panic_in_run_resumes_in_the_caller(node: Node) {
    let run = catch_unwind(AssertUnwindSafe(|| node.blocking_run(async || panic!("in the node"))));
    assert_eq!(text_of(&*run.unwrap_err()), "in the node");
    let error = node.spawn(async || panic!("in a task")).blocking_join().unwrap_err();
    assert!(error.is_panic() && error.to_string().contains("in a task"), "{error}");
    let error = node.spawn_thread("panics", || panic!("in a thread")).join().unwrap_err();
    assert_eq!(text_of(&*error.into_panic().unwrap()), "in a thread");
    // The node goes on.
    assert_eq!(node.blocking_run(async || here().host), "node");
}

#[netns_test(nodes = 2)]
async fn the_current_network_is_found_everywhere(client: Node, _server: Node) {
    let find = || {
        Network::current().map(|network| network.test_name().to_owned()).map_err(|error| error.to_string())
    };
    let wanted = Ok("the_current_network_is_found_everywhere".to_owned());
    assert_eq!(find(), wanted);
    assert_eq!(thread::spawn(find).join().unwrap(), wanted);
    assert_eq!(client.run(async move || find()).await, wanted);
    assert_eq!(client.run(async move || tokio::task::spawn_blocking(find).await.unwrap()).await, wanted);
    assert_eq!(client.enter(find), wanted);
}

#[test]
fn a_plain_thread_has_no_current_network() {
    let error = Network::current().unwrap_err().to_string();
    assert!(error.contains("the calling thread is in no network of a running `#[netns_test]`"), "{error}");
}
