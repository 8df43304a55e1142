//! What stands in for Kubernetes and for the mesh's control plane: pods with proxies, applications in them, and what is measured.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use netns_test::kubernetes::{Cluster, Pod, Redirect};
use netns_test::{Argument, Error, FromNetwork, JoinHandle, Node};
use netns_test_mesh::agent::answered;
use netns_test_mesh::metrics::METRICS;
use netns_test_mesh::namespace::MARK;
use netns_test_mesh::proxy::{INBOUND, OUTBOUND};
use netns_test_mesh::workloads::{Gateway, HBONE, HandOver};
use netns_test_mesh::{Authority, Directory, Identity, Proxy, Service, Workload};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// The application's port.
pub(crate) const APP: u16 = 8080;

/// A mesh in a cluster: an argument of the tests.
pub(crate) struct Mesh {
    pub(crate) cluster: Cluster,
    pub(crate) directory: Directory,
    pub(crate) authority: Arc<Authority>,
    /// The connections to the proxies of the nodes, by the nodes' numbers.
    agents: tokio::sync::Mutex<BTreeMap<usize, UnixStream>>,
    /// By the names of the nodes and pods that they run in.
    proxies: Mutex<BTreeMap<String, Running>>,
}

/// A proxy that runs.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    pub(crate) ended: JoinHandle<()>,
}

impl FromNetwork for Mesh {
    fn from_network(argument: &Argument<'_>) -> Result<Self, Error> {
        let authority = Authority::new().map_err(|error| argument.refuse(error.to_string()))?;
        Ok(Self {
            cluster: argument.network().cluster()?,
            directory: Directory::default(),
            authority,
            agents: tokio::sync::Mutex::default(),
            proxies: Mutex::default(),
        })
    }
}

impl Mesh {
    /// A pod that is to be started on the node of this number, as a workload of the mesh.
    pub(crate) fn pod(&self, name: &str, node: usize) -> PodOf<'_> {
        let workload = Workload {
            name: name.to_owned(),
            addresses: Vec::new(),
            identity: Identity::of(name),
            is_captured: false,
            waypoint: None,
            hand_over: None,
        };
        PodOf { mesh: self, node, workload, app: name.to_owned(), authority: Arc::clone(&self.authority) }
    }

    /// A service, for Kubernetes and for the mesh; its endpoints are the pods that say so, and are there already.
    pub(crate) fn service(
        &self,
        name: &str,
        ports: (u16, u16),
        waypoint: Option<Gateway>,
    ) -> io::Result<Vec<IpAddr>> {
        let service = self.cluster.service(name).port(ports.0, ports.1).selector("app", name).create()?;
        let endpoints = service.endpoints();
        let endpoints: Vec<&str> = endpoints.iter().map(|pod| pod.name()).collect();
        let addresses = vec![service.ip4().into(), service.ip6().into()];
        let hostname = format!("{name}.default.svc.cluster.local");
        let mut service = Service::new(&hostname, addresses.clone(), vec![ports], &endpoints);
        service.waypoint = waypoint;
        self.directory.set_service(service);
        Ok(addresses)
    }

    /// Hands a pod over to its node's proxy, which is started if need be.
    pub(crate) async fn add(&self, pod: &Pod) -> io::Result<()> {
        let mut agents = self.agents.lock().await;
        let agent = match agents.entry(pod.node_number()) {
            std::collections::btree_map::Entry::Occupied(agent) => agent.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => none.insert(self.start_on_node(&pod.node())?),
        };
        pod.send_netns(agent, format!("add {}", pod.name()).as_bytes())?;
        answered(agent).await
    }

    /// Tells a pod's node's proxy that the pod is about to go.
    pub(crate) async fn remove(&self, pod: &Pod) -> io::Result<()> {
        let mut agents = self.agents.lock().await;
        let agent = agents.get_mut(&pod.node_number()).expect("the node has a proxy");
        agent.write_all(format!("remove {}", pod.name()).as_bytes()).await?;
        answered(agent).await
    }

    /// What a node has after its proxy has ended: a new one, with the same pods.
    pub(crate) async fn replace_proxy(&self, node: usize, pods: &[&Pod]) -> io::Result<()> {
        self.agents.lock().await.remove(&node);
        for pod in pods {
            self.add(pod).await?;
        }
        Ok(())
    }

    fn start_on_node(&self, node: &Node) -> io::Result<UnixStream> {
        let (agent, other) = std::os::unix::net::UnixStream::pair()?;
        agent.set_nonblocking(true)?;
        self.start(&self.authority, node, async move |proxy| proxy.serve_node(other).await);
        UnixStream::from_std(agent)
    }

    fn start(
        &self,
        authority: &Arc<Authority>,
        node: &Node,
        serve: impl AsyncFnOnce(Proxy) -> io::Result<()> + Send + 'static,
    ) {
        let proxy = Proxy::new(&self.directory, authority);
        let own = proxy.clone();
        let ended = node.spawn_runtime("proxy", async move || serve(own).await.expect("the proxy failed"));
        self.proxies.lock().unwrap().insert(node.name().to_owned(), Running { proxy, ended });
    }

    /// The proxy that runs in a node, or in a pod.
    pub(crate) fn proxy(&self, of: &Node) -> Proxy {
        self.proxies.lock().unwrap()[of.name()].proxy.clone()
    }

    /// Waits for the end of the proxy that runs in a node, or in a pod.
    pub(crate) async fn proxy_has_ended(&self, of: &Node) {
        let running = self.proxies.lock().unwrap().remove(of.name());
        running.expect("it has a proxy").ended.await.expect("it does not panic");
    }
}

/// Where the proxy of a captured pod is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By {
    /// On its node, with its sockets in the pod.
    InPod,
    /// In the pod.
    Dedicated,
    /// Nowhere: it is not captured.
    Nobody,
}

/// A pod that is to be started.
pub(crate) struct PodOf<'a> {
    mesh: &'a Mesh,
    node: usize,
    workload: Workload,
    app: String,
    authority: Arc<Authority>,
}

impl PodOf<'_> {
    /// A proxy in it has its certificate from another authority than the mesh's.
    pub(crate) fn certified_by(mut self, authority: &Arc<Authority>) -> Self {
        self.authority = Arc::clone(authority);
        self
    }

    /// It serves this service.
    pub(crate) fn app(mut self, app: &str) -> Self {
        self.app = app.to_owned();
        self
    }

    /// It has another identity than that of its name.
    pub(crate) fn identity(mut self, identity: Identity) -> Self {
        self.workload.identity = identity;
        self
    }

    /// A waypoint stands before it.
    pub(crate) fn behind(mut self, waypoint: Gateway) -> Self {
        self.workload.waypoint = Some(waypoint);
        self
    }

    /// It is a waypoint to which its proxy hands the traffic.
    pub(crate) fn handed(mut self, how: HandOver) -> Self {
        self.workload.hand_over = Some(how);
        self
    }

    fn start(mut self, is_captured: bool) -> io::Result<Pod> {
        let node = self.mesh.cluster.node(self.node);
        let pod = node.pod(&self.workload.name).label("app", &self.app).start()?;
        self.workload.addresses = vec![pod.ip4().into(), pod.ip6().into()];
        self.workload.is_captured = is_captured;
        self.mesh.directory.set_workload(self.workload);
        Ok(pod)
    }

    /// Starts it without a proxy.
    pub(crate) fn uncaptured(self) -> io::Result<Pod> {
        self.start(false)
    }

    /// Starts it with its node's proxy.
    pub(crate) async fn captured(self) -> io::Result<Pod> {
        self.by(By::InPod).await
    }

    /// Starts it with a proxy, or without one.
    pub(crate) async fn by(self, by: By) -> io::Result<Pod> {
        let (mesh, authority) = (self.mesh, Arc::clone(&self.authority));
        let pod = self.start(!matches!(by, By::Nobody))?;
        let redirect = Redirect::in_pod().outbound(OUTBOUND).inbound(INBOUND).transparent();
        let redirect = redirect.unless_mark(MARK).unless_port(HBONE);
        match by {
            By::InPod => {
                mesh.add(&pod).await?;
                pod.redirect(redirect)?;
            }
            By::Dedicated => {
                let name = pod.name().to_owned();
                mesh.start(&authority, &pod, async move |proxy| proxy.serve_pod(&name).await);
                pod.wait_listening(METRICS).await?;
                pod.redirect(redirect.unless_port(METRICS))?;
            }
            By::Nobody => {}
        }
        Ok(pod)
    }

    /// Starts it as a waypoint.
    pub(crate) async fn waypoint(self) -> io::Result<Pod> {
        let (mesh, authority) = (self.mesh, Arc::clone(&self.authority));
        // Tunnels lead to it.
        let pod = self.start(true)?;
        let name = pod.name().to_owned();
        mesh.start(&authority, &pod, async move |proxy| proxy.serve_waypoint(&name).await);
        pod.wait_listening(METRICS).await?;
        Ok(pod)
    }
}

/// The application: it says who it is and whom it sees, and then sends back what it gets.
async fn echo(port: u16) -> io::Result<()> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    let listener = TcpListener::bind(("::", port)).await?;
    loop {
        let (mut stream, peer) = listener.accept().await?;
        let greeting = format!("{} {}\n", name.trim(), peer.ip().to_canonical());
        tokio::spawn(async move {
            stream.write_all(greeting.as_bytes()).await?;
            let (mut from, mut to) = stream.split();
            tokio::io::copy(&mut from, &mut to).await
        });
    }
}

/// Starts the application in a pod.
pub(crate) async fn serve_on(pod: &Pod, port: u16) -> io::Result<JoinHandle<()>> {
    let serving = pod.spawn_runtime("app", async move || echo(port).await.expect("the application failed"));
    pod.wait_listening(port).await?;
    Ok(serving)
}

/// Starts the application in a pod, on its usual port.
pub(crate) async fn serve(pod: &Pod) -> io::Result<JoinHandle<()>> {
    serve_on(pod, APP).await
}

/// Takes connections on `port` in a pod, and carries each to where `upstream` says.
pub(crate) async fn carry<F>(pod: &Pod, port: u16, upstream: F) -> io::Result<()>
where
    F: AsyncFn(&mut TcpStream) -> io::Result<TcpStream> + Send + 'static,
{
    let carrying = async move || -> io::Result<()> {
        let listener = TcpListener::bind(("::", port)).await?;
        loop {
            let (mut near, _) = listener.accept().await?;
            let carried = async {
                let mut far = upstream(&mut near).await?;
                copy_bidirectional(&mut near, &mut far).await
            };
            if let Err(error) = carried.await {
                eprintln!("a connection was not carried to its end: {error}");
            }
        }
    };
    pod.spawn(async move || carrying().await.expect("it listens"));
    Ok(pod.wait_listening(port).await?)
}

/// A client's connection to the application.
pub(crate) struct Conversation {
    stream: BufReader<TcpStream>,
    /// Who answered.
    pub(crate) server: String,
    /// Whom it sees as its client.
    pub(crate) client: IpAddr,
}

impl Conversation {
    /// Connects from a pod. Through a proxy that refuses it, a connection begins, and is reset.
    pub(crate) async fn start(from: &Node, to: impl netns_test::ToEndpoint) -> io::Result<Self> {
        let mut stream = BufReader::new(from.connect_tcp(to).await?);
        let mut greeting = String::new();
        stream.read_line(&mut greeting).await?;
        let (server, client) = greeting.trim_end().split_once(' ').ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self { server: server.to_owned(), client: client.parse().map_err(io::Error::other)?, stream })
    }

    /// Says something, and hears it again.
    pub(crate) async fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        let mut heard = vec![0; text.len()];
        self.stream.read_exact(&mut heard).await?;
        assert_eq!(heard, text.as_bytes());
        Ok(())
    }

    /// Waits until the other side has ended it, properly or not.
    pub(crate) async fn ended(mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await;
        assert_eq!(rest, b"", "what nobody said");
    }
}

/// Expects that a proxy refuses a connection.
pub(crate) async fn is_refused(from: &Node, to: impl netns_test::ToEndpoint) {
    match Conversation::start(from, to).await {
        Ok(conversation) => panic!("`{}` answered", conversation.server),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
}

/// What a proxy has counted.
#[derive(Debug)]
pub(crate) struct Counted(String);

impl Counted {
    /// Asks the proxy in a node or a pod, over the network, as Prometheus does: the test's body stands beside the nodes.
    pub(crate) async fn at(node: &Node) -> io::Result<Self> {
        let mut stream = TcpStream::connect((node.ip(), METRICS)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        Ok(Self(text))
    }

    /// The sum of a counter over all its labels that contain `labels`.
    pub(crate) fn sum(&self, counter: &str, labels: &[&str]) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.rsplit_once(' '));
        lines
            .filter(|(name, _)| name.strip_prefix(counter).is_some_and(|rest| rest.starts_with('{')))
            .filter(|(name, _)| labels.iter().all(|label| name.contains(label)))
            .map(|(_, value)| value.parse::<u64>().expect("a number"))
            .sum()
    }

    /// How many connections were opened.
    pub(crate) fn opened(&self, labels: &[&str]) -> u64 {
        self.sum("mesh_connections_opened_total", labels)
    }

    /// How many connections were refused for this reason.
    pub(crate) fn refused(&self, reason: &str) -> u64 {
        self.sum("mesh_connections_refused_total", &[&format!("reason=\"{reason}\"")])
    }
}

/// Waits until a proxy has counted as many connections that have ended.
pub(crate) async fn closed(node: &Node, labels: &[&str], count: u64) -> io::Result<()> {
    while Counted::at(node).await?.sum("mesh_connections_closed_total", labels) < count {}
    Ok(())
}

/// The application's address at an address.
pub(crate) fn app_at(ip: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(ip.into(), APP)
}
