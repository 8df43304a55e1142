//! Why a connection is not carried.

use std::io;

use hyper::StatusCode;

/// Why a connection is not carried.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// No policy allows it, or one denies it.
    Policy,
    /// The peer's address is not one of the identity that its certificate names.
    Spoofed,
    /// The tunnel is to lead to a place that is not this proxy's to serve.
    Misdirected,
    /// It leads to a port of a proxy.
    ProxyPort,
    /// The service has no endpoint, or its waypoint is nobody.
    NoEndpoint,
    /// The other proxy has refused it.
    Peer(StatusCode),
    /// The peer could not, or would not, show a certificate of this mesh.
    Handshake(io::Error),
    /// The connection failed.
    Failed(io::Error),
}

impl Refusal {
    /// A word for the metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Spoofed => "spoofed",
            Self::Misdirected => "misdirected",
            Self::ProxyPort => "proxy_port",
            Self::NoEndpoint => "no_endpoint",
            Self::Peer(_) => "peer",
            Self::Handshake(_) => "handshake",
            Self::Failed(_) => "failed",
        }
    }

    /// What the peer is answered.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Policy | Self::ProxyPort => StatusCode::FORBIDDEN,
            Self::Spoofed => StatusCode::UNAUTHORIZED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::Peer(_) => StatusCode::BAD_GATEWAY,
            Self::NoEndpoint | Self::Handshake(_) | Self::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}
