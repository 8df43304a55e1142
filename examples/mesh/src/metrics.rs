//! What a proxy has done, for whoever asks by HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::identity::Identity;
use crate::refusal::Refusal;
use crate::tasks::Tasks;

/// The port on which a proxy tells them.
pub const METRICS: u16 = 15020;

/// Counters, by name and labels; its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Mutex<BTreeMap<String, u64>>>);

/// The labels of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Labels {
    /// Who tells: the proxy of the `source`, of the `destination`, or a `waypoint`.
    pub(crate) reporter: &'static str,
    /// Whose connection it is, where that is known.
    pub(crate) source: Option<Identity>,
    /// Where it goes.
    pub(crate) destination: SocketAddr,
    /// Whether it goes, or came, through a tunnel.
    pub(crate) is_secure: bool,
}

impl Metrics {
    fn add(&self, counter: String, value: u64) {
        *self.counters().entry(counter).or_default() += value;
    }

    fn counters(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection as open until what this returns is dropped.
    pub(crate) fn open(&self, labels: Labels) -> Open {
        let Labels { reporter, source, destination, is_secure } = labels;
        let source = source.map_or_else(|| "unknown".to_owned(), |source| source.to_string());
        let security = if is_secure { "mutual_tls" } else { "none" };
        let labels = format!(
            "reporter=\"{reporter}\",security=\"{security}\",source=\"{source}\",destination=\"{destination}\""
        );
        self.add(format!("mesh_connections_opened_total{{{labels}}}"), 1);
        Open { metrics: self.clone(), labels }
    }

    /// Counts a connection that is not carried.
    pub(crate) fn refused(&self, reporter: &str, refusal: &Refusal) {
        let reason = refusal.reason();
        self.add(format!("mesh_connections_refused_total{{reporter=\"{reporter}\",reason=\"{reason}\"}}"), 1);
    }

    /// All counters as Prometheus reads them.
    fn text(&self) -> String {
        let mut text = String::new();
        for (counter, value) in &*self.counters() {
            let _ = writeln!(text, "{counter} {value}");
        }
        text
    }

    /// Tells whoever connects.
    pub(crate) async fn serve(self, listener: TcpListener, tasks: Tasks) {
        while let Ok((stream, _)) = listener.accept().await {
            let metrics = self.clone();
            let answer = service_fn(move |_request| {
                let body = Full::new(Bytes::from(metrics.text()));
                async { Ok::<_, Infallible>(Response::new(body)) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tasks.spawn(async {
                // Whoever asked has gone away: nobody is left to be told.
                let _ = connection.await;
            });
        }
    }
}

/// A connection that is open.
#[derive(Debug)]
pub(crate) struct Open {
    metrics: Metrics,
    labels: String,
}

impl Open {
    /// Bytes that the client has sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.metrics.add(format!("mesh_bytes_sent_total{{{}}}", self.labels), bytes as u64);
    }

    /// Bytes that the client was sent.
    pub(crate) fn received(&self, bytes: usize) {
        self.metrics.add(format!("mesh_bytes_received_total{{{}}}", self.labels), bytes as u64);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.add(format!("mesh_connections_closed_total{{{}}}", self.labels), 1);
    }
}
