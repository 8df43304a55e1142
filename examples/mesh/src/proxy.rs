//! A proxy: of one pod, of all pods of a node that are handed to it, or a waypoint.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::agent::{Message, answer, receive};
use crate::identity::Identity;
use crate::metrics::{Labels, METRICS, Metrics, Open};
use crate::namespace::{Namespace, plain};
use crate::policy::{Attempt, allows};
use crate::refusal::Refusal;
use crate::relay::Far;
use crate::tasks::Tasks;
use crate::tls::{Authority, Certificates, Credentials};
use crate::workloads::{Directory, HBONE, HandOver, Route, Workload};
use crate::{hbone, inbound, outbound};

/// The port that a pod's outbound connections are redirected to.
pub const OUTBOUND: u16 = 15001;

/// The port that a pod's inbound connections are redirected to, unless they are tunnels.
pub const INBOUND: u16 = 15006;

/// A proxy; its clones are one.
#[derive(Clone)]
pub struct Proxy {
    directory: Directory,
    certificates: Certificates,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: Tasks,
}

impl Proxy {
    /// A proxy that knows this mesh, and has its certificates from this authority.
    pub fn new(directory: &Directory, authority: &Arc<Authority>) -> Self {
        Self {
            directory: directory.clone(),
            certificates: Certificates::new(authority),
            metrics: Metrics::default(),
            stop: CancellationToken::new(),
            tasks: Tasks::default(),
        }
    }

    /// Serves the pods of a node that an agent hands over, each in its own namespace, until it is [drained](Proxy::drain).
    ///
    /// # Errors
    /// The port of the metrics is taken; the agent makes no sense.
    pub async fn serve_node(&self, agent: std::os::unix::net::UnixStream) -> io::Result<()> {
        agent.set_nonblocking(true)?;
        let mut agent = UnixStream::from_std(agent)?;
        let mut pods = BTreeMap::new();
        self.serve(async {
            while let Some(message) = receive(&agent).await? {
                let result = match message {
                    Message::Add(name, namespace) => {
                        let namespace = Namespace::of(namespace);
                        Pod::start(self, &name, namespace, Role::Captured)
                            .map(|pod| drop(pods.insert(name, pod)))
                    }
                    Message::Remove(name) => match pods.remove(&name) {
                        Some(pod) => {
                            pod.remove(&self.certificates);
                            // Its ports are free when the agent hears of it.
                            pod.tasks.finished().await;
                            Ok(())
                        }
                        None => Err(io::Error::other(format!("there is no pod `{name}`"))),
                    },
                };
                answer(&mut agent, result).await?;
            }
            // The pods that there are stay.
            pending().await
        })
        .await
    }

    /// Serves the pod that it runs in, until it is [drained](Proxy::drain).
    ///
    /// # Errors
    /// The mesh has no workload of this name; a port is taken.
    pub async fn serve_pod(&self, name: &str) -> io::Result<()> {
        let _pod = Pod::start(self, name, Namespace::own(), Role::Captured)?;
        self.serve(pending()).await
    }

    /// Is the waypoint in the pod that it runs in, until it is [drained](Proxy::drain).
    ///
    /// # Errors
    /// The mesh has no workload of this name; a port is taken.
    pub async fn serve_waypoint(&self, name: &str) -> io::Result<()> {
        let _pod = Pod::start(self, name, Namespace::own(), Role::Waypoint)?;
        self.serve(pending()).await
    }

    async fn serve(&self, work: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        let listener = Namespace::own().listen(METRICS)?;
        let until_drained = async {
            let ended = self.stop.run_until_cancelled(work).await;
            self.tasks.finished().await;
            ended.unwrap_or(Ok(()))
        };
        tokio::select! {
            ended = until_drained => ended,
            // They are told to the end.
            () = self.metrics.clone().serve(listener, Tasks::default()) => {
                Err(io::Error::other("nobody can be told the metrics any more"))
            }
        }
    }

    /// Takes no more connections: new ones are refused at once. Those that there are go on until they end by themselves; then
    /// the proxy ends.
    pub fn drain(&self) {
        self.stop.cancel();
    }

    /// Ends, with all its connections.
    pub fn kill(&self) {
        self.stop.cancel();
        self.tasks.kill();
    }

    /// The certificates that it has now.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }
}

/// What a proxy is for a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The connections of the pod are redirected to it.
    Captured,
    /// The pod is the waypoint itself.
    Waypoint,
}

/// A pod that a proxy serves.
pub(crate) struct Pod {
    pub(crate) workload: Arc<Workload>,
    pub(crate) role: Role,
    pub(crate) namespace: Namespace,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) directory: Directory,
    pub(crate) metrics: Metrics,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: Tasks,
}

impl Pod {
    /// Gets the pod's certificate, and listens in its namespace.
    fn start(proxy: &Proxy, name: &str, namespace: Namespace, role: Role) -> io::Result<Arc<Self>> {
        let workload = proxy.directory.workload(name);
        let workload =
            workload.ok_or_else(|| io::Error::other(format!("the mesh has no workload `{name}`")))?;
        let pod = Arc::new(Self {
            credentials: proxy.certificates.hold(&workload.identity)?,
            workload,
            role,
            namespace,
            directory: proxy.directory.clone(),
            metrics: proxy.metrics.clone(),
            stop: proxy.stop.child_token(),
            tasks: proxy.tasks.group(),
        });
        let listening = || {
            if role == Role::Captured {
                pod.listen(OUTBOUND, outbound::serve)?;
                pod.listen(INBOUND, inbound::serve)?;
            }
            pod.listen(HBONE, inbound::serve_tunnels)
        };
        listening().inspect_err(|_| pod.remove(&proxy.certificates))?;
        Ok(pod)
    }

    /// Ends all that is done for the pod, which is about to go.
    fn remove(&self, certificates: &Certificates) {
        self.stop.cancel();
        self.tasks.kill();
        certificates.release(&self.workload.identity);
    }

    fn listen<F>(
        self: &Arc<Self>,
        port: u16,
        serve: fn(Arc<Self>, TcpStream, SocketAddr) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = self.namespace.listen(port)?;
        let pod = Arc::clone(self);
        self.tasks.spawn(async move {
            while let Some(accepted) = pod.stop.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, client)) => pod.tasks.spawn(serve(Arc::clone(&pod), stream, plain(client))),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        let name = &pod.workload.name;
                        return eprintln!("mesh: `{name}` takes no more connections on port {port}: {error}");
                    }
                }
            }
        });
        Ok(())
    }

    /// A proxy that connected to itself would go round in circles, or carry what only proxies may say: so it is with the port on
    /// which it tells a waypoint who somebody is.
    pub(crate) fn refuse_proxy_ports(&self, to: SocketAddr) -> Result<(), Refusal> {
        let is_own = to.ip().is_loopback() || self.workload.addresses.contains(&to.ip());
        let handed = self.workload.hand_over.map(HandOver::port);
        let is_proxy_s = [OUTBOUND, INBOUND, HBONE].contains(&to.port()) || handed == Some(to.port());
        if is_own && is_proxy_s { Err(Refusal::ProxyPort) } else { Ok(()) }
    }

    /// Whether policies let this connection to the pod pass.
    pub(crate) fn allow(
        &self,
        identity: Option<&Identity>,
        address: IpAddr,
        port: u16,
    ) -> Result<(), Refusal> {
        let attempt = Attempt { to: &self.workload.name, identity, address, port };
        if allows(&self.directory.policies(), &attempt) { Ok(()) } else { Err(Refusal::Policy) }
    }

    /// Connects as the pod.
    pub(crate) async fn dial(&self, route: Route, labels: Labels) -> Result<(Far, Open), Refusal> {
        match route {
            Route::Plain(to) => {
                let stream = self.namespace.connect(to, None).await?;
                Ok((Box::new(stream), self.metrics.open(labels)))
            }
            Route::Tunnel { peer, via, to } => {
                let stream = self.namespace.connect(via, None).await?;
                let far = hbone::connect(&self.credentials, &peer.identity, stream, to, &self.tasks).await?;
                Ok((Box::new(far), self.metrics.open(Labels { is_secure: true, ..labels })))
            }
        }
    }
}

/// Ends a connection so that its other end knows that something is wrong: with a reset.
pub(crate) fn reset(stream: TcpStream) {
    // Where it cannot be, the connection has gone already.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
