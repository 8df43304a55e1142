//! A waypoint: a proxy in a pod of its own, through which the traffic to others' addresses goes.

use std::net::SocketAddr;

use crate::inbound::Peer;
use crate::metrics::{Labels, Open};
use crate::proxy::Pod;
use crate::refusal::Refusal;
use crate::relay::Far;

/// Goes on to where a tunnel is to lead, with the waypoint's own identity.
pub(crate) async fn open(pod: &Pod, peer: &Peer, to: SocketAddr) -> Result<(Far, Open), Refusal> {
    if !pod.directory.is_waypoint(&pod.workload, to.ip()) {
        return Err(Refusal::Misdirected);
    }
    pod.allow(Some(&peer.identity), peer.address.ip(), to.port())?;
    let source = Some(peer.identity.clone());
    let labels = Labels { reporter: "waypoint", source, destination: to, is_secure: false };
    pod.dial(pod.directory.route(&pod.workload, to)?, labels).await
}
