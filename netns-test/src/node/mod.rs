//! A node: the handle that a test has.

mod endpoint;
mod files;
mod interface;
mod names;
mod programs;
mod routes;
mod runtimes;
mod servers;
mod sockets;
mod started;
mod wait;

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::{fmt, fs, io};

use netns_test_model::Family;

pub use self::endpoint::ToEndpoint;
pub use self::interface::Interface;
use self::interface::{Added, Kept};
use self::programs::Programs;
use self::started::Start;
use crate::error::{Doing, Error};
use crate::fault::{Hooked, Station};
use crate::gateway::GatewayChanges;
use crate::job::{self, JoinHandle};
use crate::layers::Layers;
use crate::namespace::{Depth, Entered, Namespaces, enter};
use crate::netlink::nftables::NftSocket;
use crate::netlink::state::{Address, Link, Neighbour, Route, Socket};
use crate::netlink::{DiagSocket, RouteSocket};
use crate::network::{Net, Network};
use crate::panics::{self, watched};
use crate::plan::{GatewayPlan, NodePlan};
use crate::queue::Job;
use crate::worker::{self, Worker};
use crate::{sys, sysctl};

/// One host of a test's network: a network stack, mounts and a host name of its own.
///
/// A handle is cheap to clone and can be used from every thread and runtime. What only asks the kernel is a plain
/// method; what waits for a peer is async and has a twin, `blocking_…`, for plain functions. A handle that outlives its
/// test says so when it is used.
#[derive(Clone)]
pub struct Node(Arc<NodeState>);

/// What all handles of one node share.
pub(crate) struct NodeState {
    net: Weak<Net>,
    name: String,
    /// What it has now: what was declared, and what the test has changed since.
    plan: RwLock<Arc<NodePlan>>,
    /// What the test has changed of what it does at its uplink.
    pub(crate) changed_gateway: Mutex<GatewayChanges>,
    /// Where it joined a network that was there: the node that it is joined to, and what that one got by it.
    pub(crate) joined: Option<NodePlan>,
    test: &'static str,
    pub(crate) namespaces: Arc<Namespaces>,
    route: Mutex<Option<Arc<RouteSocket>>>,
    /// Its threads that run what it is asked to: one, and more where that one waits.
    workers: Mutex<Vec<Arc<Worker>>>,
    /// What is started again with it.
    started: Mutex<Vec<Start>>,
    /// The threads of servers that this crate runs in it.
    servers: Mutex<Vec<Arc<Worker>>>,
    /// What interfaces had before they were switched off.
    kept: Mutex<Vec<Kept>>,
    /// The faults for which interfaces are unplugged.
    unplugged: Mutex<HashMap<u32, Vec<u16>>>,
    hooked: Hooked,
    /// The interfaces that the test has added.
    added: Mutex<Vec<Added>>,
    /// Where packets of its interfaces are held.
    stations: Mutex<HashMap<u32, Arc<Station>>>,
    /// Whether it has crashed: nothing can be started in it.
    out: AtomicBool,
    pub(crate) programs: Programs,
    pub(crate) layers: Mutex<Layers>,
    /// Whether it has left its network.
    pub(crate) has_left: AtomicBool,
    /// Whether that is done, with all that goes with it; who does it holds this.
    #[cfg(feature = "kubernetes")]
    pub(crate) leaving: Mutex<bool>,
}

impl NodeState {
    pub(crate) fn new(
        net: Weak<Net>,
        test: &'static str,
        plan: NodePlan,
        joined: Option<NodePlan>,
        namespaces: Arc<Namespaces>,
        route: RouteSocket,
    ) -> Self {
        Self {
            net,
            name: plan.name.clone(),
            plan: RwLock::new(Arc::new(plan)),
            changed_gateway: Mutex::default(),
            joined,
            test,
            namespaces,
            route: Mutex::new(Some(Arc::new(route))),
            workers: Mutex::default(),
            started: Mutex::default(),
            servers: Mutex::default(),
            kept: Mutex::new(Vec::new()),
            unplugged: Mutex::default(),
            hooked: Hooked::default(),
            added: Mutex::default(),
            stations: Mutex::default(),
            out: AtomicBool::new(false),
            programs: Programs::default(),
            layers: Mutex::default(),
            has_left: AtomicBool::new(false),
            #[cfg(feature = "kubernetes")]
            leaving: Mutex::default(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What it has now.
    pub(crate) fn plan(&self) -> Arc<NodePlan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that it has something else now.
    pub(crate) fn change_plan(&self, change: impl FnOnce(&mut NodePlan)) {
        let mut plan = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut plan));
    }

    /// The node's threads; none if it was never asked to run something.
    pub(crate) fn workers(&self) -> MutexGuard<'_, Vec<Arc<Worker>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every thread of this crate's that runs tasks in the node. None is started once its test has ended.
    pub(crate) fn all_workers(&self) -> Vec<Arc<Worker>> {
        let workers = self.workers();
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().chain(servers.iter()).cloned().collect()
    }

    /// The netlink socket; `None` once the node is torn down.
    pub(crate) fn route_socket(&self) -> Option<Arc<RouteSocket>> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends what holds its packets, whoever still has a guard of it.
    pub(crate) fn end_stations(&self) {
        let stations = std::mem::take(&mut *self.stations.lock().unwrap_or_else(PoisonError::into_inner));
        stations.values().for_each(|station| station.stop());
    }

    /// Gives the netlink socket up: an open one keeps the namespace alive. Nothing is started any more.
    pub(crate) fn take_route_socket(&self) -> Option<Arc<RouteSocket>> {
        // What is to be started may hold handles of this node.
        let started = std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner));
        drop(started);
        self.route.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Node {
    pub(crate) fn new(state: Arc<NodeState>) -> Self {
        Self(state)
    }

    /// The host name, which every other node resolves: the argument's name, `web_server` as `web-server`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The address that the node's name resolves to first: IPv6 in a dual-stack network (RFC 6724).
    ///
    /// In a graph it is an address of the node's first interface; others, of the same or of its other interfaces, resolve
    /// behind it.
    ///
    /// # Panics
    /// Where it has none: no link, or `addresses = none`.
    #[track_caller]
    pub fn ip(&self) -> IpAddr {
        self.0.plan().addresses().next().unwrap_or_else(|| panic!("{}", self.no_address("")))
    }

    /// The node's IPv4 address: `10.0.0.1` for the first node, and so on; in a graph, the first of its first interface.
    ///
    /// # Panics
    /// In a network of `family = v6`; where the node has no address.
    #[track_caller]
    pub fn ip4(&self) -> Ipv4Addr {
        self.0.plan().ip4.unwrap_or_else(|| panic!("{}", self.no_address("IPv4 ")))
    }

    /// The node's IPv6 address: `2001:db8::1` for the first node, and so on; in a graph, the first of its first interface.
    ///
    /// # Panics
    /// In a network of `family = v4`; where the node has no address.
    #[track_caller]
    pub fn ip6(&self) -> Ipv6Addr {
        self.0.plan().ip6.unwrap_or_else(|| panic!("{}", self.no_address("IPv6 ")))
    }

    /// Why the node has no address of the kind that was asked for.
    fn no_address(&self, kind: &str) -> String {
        let why = match self.0.plan().family {
            Family::V4 if kind.starts_with("IPv6") => "its network is `family = v4`",
            Family::V6 if kind.starts_with("IPv4") => "its network is `family = v6`",
            _ => "it has no link, or was declared without addresses",
        };
        format!("the node `{}` has no {kind}address: {why}", self.name())
    }

    /// Whether it was declared as a router.
    pub fn is_router(&self) -> bool {
        self.0.plan().is_router
    }

    /// Runs `work` on the calling thread inside the node, and brings the thread back, also when `work` panics.
    ///
    /// The thread is in the node's network, mount and UTS namespaces meanwhile; its working directory keeps its name.
    /// Sockets and files that `work` opens stay the node's. If the thread cannot be brought back, the process aborts.
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
    fn fail(&self, failure: impl fmt::Display) -> ! {
        if let Some(net) = self.0.net.upgrade() {
            // The first is the cause of what follows.
            net.own_failure.get_or_init(|| format!("netns-test ({failure})"));
        }
        panic!("{failure}")
    }

    fn resume(&self, error: job::JoinError) -> ! {
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
        // The node's own thread first: /proc/net is its. Tear-down sees whatever thread is in the node, so this one gets
        // there before the test can end.
        let started = self.with_workers(|net, _workers| {
            let (handle, tell) = job::handle();
            let name = self.thread_name(net, Some(name));
            worker::start_in(name, Arc::clone(&self.0.namespaces), move || tell(watched(work)))?;
            Ok(handle)
        });
        match started {
            Ok(handle) => ThreadHandle(handle),
            Err(error) => self.fail(error),
        }
    }

    /// The network namespace, for code that enters namespaces by itself (setns(2) with `CLONE_NEWNET`).
    ///
    /// Only threads of the test can enter it: they have the capabilities.
    pub fn netns_fd(&self) -> BorrowedFd<'_> {
        self.0.namespaces.net()
    }

    /// The interfaces, the loopback included, in the order of their index.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        self.route_socket()?.links()
    }

    /// The addresses of all interfaces.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn addresses(&self) -> io::Result<Vec<Address>> {
        self.route_socket()?.addresses()
    }

    /// The routes of all tables.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn routes(&self) -> io::Result<Vec<Route>> {
        self.route_socket()?.routes()
    }

    /// The route that a packet to `ip` would take.
    ///
    /// # Errors
    /// The kernel's own (`NetworkUnreachable` where there is no route), and when the test has ended.
    pub fn route_to(&self, ip: impl Into<IpAddr>) -> io::Result<Route> {
        self.route_socket()?.route_to(ip.into())
    }

    /// The neighbours (ARP, RFC 826, and neighbour discovery, RFC 4861) that the node knows.
    ///
    /// # Errors
    /// The kernel's own, and when the test has ended.
    pub fn neighbours(&self) -> io::Result<Vec<Neighbour>> {
        self.route_socket()?.neighbours()
    }

    /// The TCP and UDP sockets of the node (sock_diag(7)), whoever holds them.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn sockets(&self) -> io::Result<Vec<Socket>> {
        self.diag()?.all_sockets()
    }

    /// Reads a setting of the node's network, `net.ipv4.ip_forward` for instance (sysctl(8)).
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn sysctl(&self, name: &str) -> io::Result<String> {
        let path = network_setting(name)?;
        self.net()?;
        let _inside = self.enter_depth(Depth::Network)?;
        fs::read_to_string(path).map(|text| text.trim().to_owned())
    }

    /// Changes a setting of the node's network.
    ///
    /// # Errors
    /// The kernel's own; when the test has ended, or the calling thread is none of the test's.
    pub fn set_sysctl(&self, name: &str, value: impl fmt::Display) -> io::Result<()> {
        let path = network_setting(name)?;
        self.net()?;
        let _inside = self.enter_depth(Depth::Network)?;
        fs::write(path, value.to_string())
    }

    /// The network that the node is part of.
    ///
    /// # Errors
    /// The test has ended.
    pub fn network(&self) -> io::Result<Network> {
        self.net().map(Network)
    }

    /// Whether it has left its network.
    pub(crate) fn has_left(&self) -> bool {
        self.0.has_left.load(Ordering::Acquire)
    }

    /// Whether both are handles to one node.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_of(&other.0)
    }

    pub(crate) fn is_of(&self, state: &Arc<NodeState>) -> bool {
        Arc::ptr_eq(&self.0, state)
    }

    /// Where the packets of an interface are held; it is built when it is first asked for.
    pub(crate) fn station(&self, interface: &Interface) -> Result<Arc<Station>, Error> {
        let mut stations = self.0.stations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(station) = stations.get(&interface.index()) {
            return Ok(Arc::clone(station));
        }
        let station = Station::build(interface)?;
        // Torn down meanwhile: it must not outlive the test.
        self.net().doing(|| format!("hold the packets of `{interface}`"))?;
        stations.insert(interface.index(), Arc::clone(&station));
        Ok(station)
    }

    /// A socket that sends frames by one of its interfaces, with a mark.
    pub(crate) fn packet_sender(&self, interface: u32, mark: u32) -> io::Result<OwnedFd> {
        let _inside = self.enter_depth(Depth::Network)?;
        let socket = sys::sockets::packet_sender(interface)?;
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Mark, &mark)?;
        Ok(socket)
    }

    /// A socket for what hosts and routers of a link tell each other by ICMPv6, with the hop limit that shows it comes from there.
    pub(crate) fn icmp6_socket(&self, interface: &str) -> io::Result<OwnedFd> {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt,
        };
        const FROM_THIS_LINK: i32 = 255;
        let _inside = self.enter_depth(Depth::Network)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Inet6, SockType::Raw, flags, SockProtocol::IcmpV6)?;
        setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
        setsockopt(&socket, sockopt::Ipv6MulticastHops, &FROM_THIS_LINK)?;
        Ok(socket)
    }

    /// Has an interface say nothing by itself: no link-local address, no multicast report.
    pub(crate) fn silence(&self, interface: &str) -> io::Result<()> {
        match self.set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), 1) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            set => set,
        }
    }

    /// Which interfaces have filters of faults.
    pub(crate) fn hooked(&self) -> &Hooked {
        &self.0.hooked
    }

    /// The interfaces that it was declared with, those that it got by what has joined since, and those that the test has added.
    pub(crate) fn known_interfaces(&self) -> Vec<Interface> {
        let nodes = self.net().map(|net| net.nodes()).unwrap_or_default();
        let joined = nodes.iter().filter_map(|node| node.joined.as_ref()).filter(|to| to.name == self.name());
        let own = self.0.plan();
        let plans = std::iter::once(&*own).chain(joined).flat_map(|plan| &plan.interfaces);
        let planned = plans.map(|interface| Interface::planned(self.clone(), interface));
        let added = self.0.added().clone();
        let added =
            added.into_iter().map(|Added { index, name, .. }| Interface::added(self.clone(), index, name));
        planned.chain(added).collect()
    }

    /// Remembers an interface that the test has added, and which one it stands on.
    pub(crate) fn remember_added(&self, interface: &Interface, lower: Option<&Interface>) {
        let lower = lower.map(|lower| (lower.node().name().to_owned(), lower.index()));
        self.0.added().push(Added { index: interface.index(), name: interface.name().to_owned(), lower });
    }

    /// Whether the test has added an interface.
    pub(crate) fn has_added(&self, index: u32) -> bool {
        self.0.added().iter().any(|added| added.index == index)
    }

    /// Forgets one that is deleted.
    pub(crate) fn forget_added(&self, index: u32) {
        self.0.added().retain(|added| added.index != index);
    }

    /// Forgets what faults did to an interface that is gone.
    pub(crate) fn forget_interface(&self, socket: &RouteSocket, index: u32) -> Result<(), Error> {
        self.0.forget_interface(socket, index)
    }

    /// Whether an address is that of one of its declared interfaces.
    pub(crate) fn has_planned(&self, ip: IpAddr) -> bool {
        self.0.plan().interfaces.iter().any(|interface| interface.addresses.iter().any(|(own, _)| *own == ip))
    }

    /// The node's own addresses, the one that its name resolves to first at the front.
    pub(crate) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.plan().addresses().collect::<Vec<_>>().into_iter()
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

    pub(crate) fn namespaces(&self) -> &Arc<Namespaces> {
        &self.0.namespaces
    }

    pub(crate) fn net(&self) -> io::Result<Arc<Net>> {
        let net = self.running()?;
        match self.has_left() {
            true => Err(self.left()),
            false => Ok(net),
        }
    }

    /// The network that the node is part of, or was.
    fn running(&self) -> io::Result<Arc<Net>> {
        self.0.net.upgrade().filter(|net| !net.has_ended()).ok_or_else(|| self.ended())
    }

    pub(crate) fn route_socket(&self) -> io::Result<Arc<RouteSocket>> {
        self.net()?;
        self.0.route_socket().ok_or_else(|| self.ended())
    }

    fn diag(&self) -> io::Result<DiagSocket> {
        let _inside = self.enter_depth(Depth::Network)?;
        DiagSocket::open()
    }

    /// A socket of nf_tables.
    pub(crate) fn nft(&self) -> io::Result<NftSocket> {
        let _inside = self.enter_depth(Depth::Network)?;
        NftSocket::open()
    }

    /// What it does at its uplink.
    pub(crate) fn gateway(&self) -> Option<GatewayPlan> {
        self.0.plan().gateway.clone()
    }

    pub(crate) fn shared(&self) -> &NodeState {
        &self.0
    }

    /// Has the calling thread do something in the node's network.
    pub(crate) fn in_network<R>(&self, act: impl FnOnce() -> R) -> io::Result<R> {
        let _inside = self.enter_depth(Depth::Network)?;
        Ok(act())
    }

    /// The error of handles that are used after their test.
    fn ended(&self) -> io::Error {
        let (name, test) = (self.name(), self.0.test);
        let text = format!("the node `{name}` belongs to the test `{test}`, which has ended");
        io::Error::new(io::ErrorKind::NotConnected, text)
    }

    /// The error of handles to a node that is no part of its network any more.
    fn left(&self) -> io::Error {
        let text = format!("the node `{}` has been deleted", self.name());
        io::Error::new(io::ErrorKind::NotConnected, text)
    }

    fn enter_depth(&self, depth: Depth) -> io::Result<Entered> {
        self.net()?;
        enter(&self.0.namespaces, depth)
    }

    /// Does something with the node's threads, of which there is at least one, while the test cannot end.
    fn with_workers<R>(
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
    fn submit(&self, job: Job) -> Result<(), Error> {
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

    fn thread_name(&self, net: &Net, name: Option<&str>) -> String {
        let (test, node) = (net.short_name(), self.name());
        name.map_or_else(|| format!("{test}@{node}"), |name| format!("{test}@{node}/{name}"))
    }
}

impl AsRef<Node> for Node {
    fn as_ref(&self) -> &Node {
        self
    }
}

/// Only what is below net is the node's own: the rest is the host's.
fn network_setting(name: &str) -> io::Result<String> {
    let path = sysctl::path(name);
    match (name.starts_with("net.") || name.starts_with("net/")) && !path.split('/').any(|part| part == "..")
    {
        true => Ok(path),
        false => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{name}` is a setting of the host: a node has those below `net.`"),
        )),
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = self.0.plan().addresses().next();
        f.debug_struct("Node").field("name", &self.name()).field("ip", &ip).finish_non_exhaustive()
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
    pub fn join(self) -> Result<R, job::JoinError> {
        self.0.blocking_join()
    }

    /// Whether the thread's work has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<R> Future for ThreadHandle<R> {
    type Output = Result<R, job::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context)
    }
}
