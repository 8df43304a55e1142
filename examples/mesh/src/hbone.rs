//! Tunnels: HTTP/2 `CONNECT` (RFC 9113, section 8.5) within mutual TLS, as the ambient mesh's HBONE.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode, upgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::metrics::Open;
use crate::refusal::Refusal;
use crate::relay::{Far, relay};
use crate::tasks::Tasks;
use crate::tls::Credentials;

/// An end of a tunnel.
pub type Tunnel = TokioIo<Upgraded>;

/// Asks the proxy at the other end of a connection, which is to be `peer`'s, for a tunnel to `to`.
///
/// # Errors
/// The other end is another's, or refuses it.
pub async fn connect(
    credentials: &Credentials,
    peer: &Identity,
    stream: TcpStream,
    to: SocketAddr,
    tasks: &Tasks,
) -> Result<Tunnel, Refusal> {
    let stream = credentials.connect(peer, stream).await.map_err(Refusal::Handshake)?;
    let failed = |error: hyper::Error| Refusal::Failed(io::Error::other(error));
    let (mut requests, connection) =
        client::handshake(tasks.clone(), TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with its one tunnel, which is told what becomes of it.
    tasks.spawn(async { connection.await.ok() });
    let request = Request::connect(to.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Refusal::Failed(io::Error::other(error)))?;
    let response = requests.send_request(request).await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => Ok(TokioIo::new(upgrade::on(response).await.map_err(failed)?)),
        status => Err(Refusal::Peer(status)),
    }
}

/// Serves the tunnels of a connection; `open` says whether one may be had, and opens what it leads to.
///
/// When it is to stop, the other end is told to ask for no more, and the tunnels that there are end in their own time.
pub(crate) async fn serve<F>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    stop: CancellationToken,
    tasks: Tasks,
    open: impl Fn(SocketAddr) -> F + Clone,
) -> hyper::Result<()>
where
    F: Future<Output = Result<(Far, Open), Refusal>> + Send + 'static,
{
    let executor = tasks.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let opening = destination(&request).map(&open);
        let (upgrading, tasks) = (upgrade::on(&mut request), tasks.clone());
        async move {
            let Some(opening) = opening else { return empty(StatusCode::BAD_REQUEST) };
            match opening.await {
                Ok((far, open)) => {
                    tasks.spawn(async move {
                        let tunnel = upgrading.await.map_err(io::Error::other)?;
                        relay(TokioIo::new(tunnel), far, open).await
                    });
                    empty(StatusCode::OK)
                }
                Err(refusal) => empty(refusal.status()),
            }
        }
    });
    let mut serving = pin!(server::Builder::new(executor).serve_connection(TokioIo::new(io), answer));
    tokio::select! {
        ended = serving.as_mut() => return ended,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

fn destination(request: &Request<Incoming>) -> Option<SocketAddr> {
    (request.method() == Method::CONNECT).then(|| request.uri().authority()?.as_str().parse().ok())?
}

fn empty(status: StatusCode) -> Result<Response<Empty<Bytes>>, hyper::http::Error> {
    Response::builder().status(status).body(Empty::new())
}
