//! What a captured pod sends.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::metrics::{Labels, Open};
use crate::namespace::{original_destination, plain};
use crate::proxy::{Pod, reset};
use crate::refusal::Refusal;
use crate::relay::{Far, relay};

/// Carries a connection that was redirected on its way out of the pod.
pub(crate) async fn serve(pod: Arc<Pod>, mut stream: TcpStream, _client: SocketAddr) {
    match open(&pod, &stream).await {
        Ok((far, open)) => {
            if relay(&mut stream, far, open).await.is_err() {
                reset(stream);
            }
        }
        Err(refusal) => {
            pod.metrics.refused("source", &refusal);
            reset(stream);
        }
    }
}

async fn open(pod: &Pod, stream: &TcpStream) -> Result<(Far, Open), Refusal> {
    stream.set_nodelay(true)?;
    let to = plain(original_destination(stream)?);
    pod.refuse_proxy_ports(to)?;
    let labels = Labels {
        reporter: "source",
        source: Some(pod.workload.identity.clone()),
        destination: to,
        is_secure: false,
    };
    pod.dial(pod.directory.route(&pod.workload, to)?, labels).await
}
