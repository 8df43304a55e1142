//! What a captured pod is sent: through tunnels, or plainly by who is not of the mesh.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::identity::Identity;
use crate::metrics::{Labels, Open};
use crate::namespace::plain;
use crate::proxy::{Pod, Role, reset};
use crate::proxy_protocol::Header;
use crate::refusal::Refusal;
use crate::relay::{Far, relay};
use crate::workloads::HandOver;
use crate::{hbone, waypoint};

/// The other end of a connection with tunnels.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) identity: Identity,
    pub(crate) address: SocketAddr,
}

/// Carries a connection that came to the pod without a tunnel.
pub(crate) async fn serve(pod: Arc<Pod>, mut stream: TcpStream, client: SocketAddr) {
    match open_plain(&pod, &stream, client.ip()).await {
        Ok((far, open)) => {
            if relay(&mut stream, far, open).await.is_err() {
                reset(stream);
            }
        }
        Err(refusal) => {
            pod.metrics.refused("destination", &refusal);
            reset(stream);
        }
    }
}

async fn open_plain(pod: &Pod, stream: &TcpStream, client: IpAddr) -> Result<(Far, Open), Refusal> {
    stream.set_nodelay(true)?;
    // It came by TPROXY, with the address that it was sent to.
    let to = plain(stream.local_addr()?);
    pod.refuse_proxy_ports(to)?;
    pod.allow(None, client, to.port())?;
    let far = pod.namespace.connect(to, Some(client)).await?;
    let labels = Labels { reporter: "destination", source: None, destination: to, is_secure: false };
    Ok((Box::new(far), pod.metrics.open(labels)))
}

/// Serves the tunnels of another proxy's connection.
pub(crate) async fn serve_tunnels(pod: Arc<Pod>, stream: TcpStream, client: SocketAddr) {
    let reporter = if pod.role == Role::Waypoint { "waypoint" } else { "destination" };
    let accepting = async {
        stream.set_nodelay(true)?;
        pod.credentials.accept(stream).await
    };
    let (identity, stream) = match pod.stop.run_until_cancelled(accepting).await {
        Some(Ok(accepted)) => accepted,
        Some(Err(error)) => return pod.metrics.refused(reporter, &Refusal::Handshake(error)),
        None => return,
    };
    let peer = Arc::new(Peer { identity, address: client });
    let (stop, tasks) = (pod.stop.clone(), pod.tasks.clone());
    let open = move |to| {
        let (pod, peer) = (Arc::clone(&pod), Arc::clone(&peer));
        async move {
            let opened = open(&pod, &peer, to).await;
            opened.inspect_err(|refusal| pod.metrics.refused(reporter, refusal))
        }
    };
    // It fails when the other proxy goes away without a word: its tunnels have ended then.
    let _ = hbone::serve(stream, stop, tasks, open).await;
}

async fn open(pod: &Pod, peer: &Peer, to: SocketAddr) -> Result<(Far, Open), Refusal> {
    let known = pod.directory.workload_at(peer.address.ip());
    if known.is_none_or(|workload| workload.identity != peer.identity) {
        return Err(Refusal::Spoofed);
    }
    pod.refuse_proxy_ports(to)?;
    if pod.role == Role::Waypoint {
        return waypoint::open(pod, peer, to).await;
    }
    let workload = &pod.workload;
    let is_served = match workload.hand_over {
        None => workload.addresses.contains(&to.ip()),
        Some(_) => pod.directory.is_waypoint(workload, to.ip()),
    };
    if !is_served {
        return Err(Refusal::Misdirected);
    }
    pod.allow(Some(&peer.identity), peer.address.ip(), to.port())?;
    let far = match workload.hand_over {
        None => pod.namespace.connect(to, Some(peer.address.ip())).await?,
        Some(hand_over) => hand(pod, peer, to, hand_over).await?,
    };
    let source = Some(peer.identity.clone());
    let labels = Labels { reporter: "destination", source, destination: to, is_secure: true };
    Ok((Box::new(far), pod.metrics.open(labels)))
}

/// Connects to the waypoint in the pod.
async fn hand(pod: &Pod, peer: &Peer, to: SocketAddr, how: HandOver) -> Result<TcpStream, Refusal> {
    let own = SocketAddr::new(pod.workload.address_like(to.ip())?, how.port());
    let mut stream = pod.namespace.connect(own, None).await?;
    if let HandOver::ProxyProtocol(_) = how {
        let (source, identity) = (peer.address, Some(peer.identity.to_string()));
        stream.write_all(&Header { source, destination: to, identity }.to_bytes()).await?;
    }
    Ok(stream)
}
