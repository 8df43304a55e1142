//! Mutual TLS: an authority, what it issues, and whom the two ends take each other for.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme, version,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use webpki::{EndEntityCert, KeyUsage};

use crate::identity::Identity;

const HTTP_2: &[u8] = b"h2";

/// The mesh's certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: Arc<RootCertStore>,
    issued: Mutex<BTreeMap<Identity, usize>>,
}

impl Authority {
    /// A new one, with a root of its own.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn new() -> io::Result<Arc<Self>> {
        Self::beside(&[])
    }

    /// A new one, whose proxies believe in these others' certificates as well as in its own: as those of a mesh that is joined to others,
    /// whether these know it or not.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn beside(others: &[&Self]) -> io::Result<Arc<Self>> {
        let mut params = CertificateParams::new([]).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let root = params.self_signed(&key).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.extend(others.iter().flat_map(|other| other.roots.roots.iter().cloned()));
        roots.add(root.der().clone()).map_err(io::Error::other)?;
        let (issuer, issued) = (Issuer::new(params, key), Mutex::default());
        Ok(Arc::new(Self { issuer, roots: Arc::new(roots), issued }))
    }

    /// A certificate for this identity, with a new key.
    ///
    /// # Errors
    /// There is no randomness to be had; the identity is not ASCII.
    pub fn issue(&self, identity: &Identity) -> io::Result<Credentials> {
        let mut params = CertificateParams::new([]).map_err(io::Error::other)?;
        let name = identity.to_string().try_into().map_err(io::Error::other)?;
        params.subject_alt_names.push(SanType::URI(name));
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        let credentials =
            Credentials::new(identity, &self.roots, certificate.der().clone(), PrivateKeyDer::from(key));
        *locked(&self.issued).entry(identity.clone()).or_default() += 1;
        credentials.map_err(io::Error::other)
    }

    /// How many certificates this identity has been issued.
    pub fn issued(&self, identity: &Identity) -> usize {
        locked(&self.issued).get(identity).copied().unwrap_or_default()
    }
}

/// A certificate with its key, and the root that others' are checked by.
pub struct Credentials {
    identity: Identity,
    roots: Arc<RootCertStore>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    acceptor: TlsAcceptor,
}

impl Credentials {
    fn new(
        identity: &Identity,
        roots: &Arc<RootCertStore>,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        // Clients are whoever is of the own trust domain: what they may do is for policies to say.
        let clients = Verifier::new(roots, Accepted::TrustDomain(identity.trust_domain.clone()));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&clients.provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(clients))
            .with_single_cert(vec![certificate.clone()], key.clone_key())?;
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { identity: identity.clone(), roots: Arc::clone(roots), certificate, key, acceptor })
    }

    /// Whose they are.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The client's side of a handshake with a server that is to be `peer`.
    ///
    /// # Errors
    /// The handshake failed: the server is another, for instance.
    pub async fn connect(
        &self,
        peer: &Identity,
        stream: TcpStream,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let server = Verifier::new(&self.roots, Accepted::Identity(peer.clone()));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&server.provider))
            .with_protocol_versions(&[&version::TLS13])
            .and_then(|config| {
                let config = config.dangerous().with_custom_certificate_verifier(Arc::new(server));
                config.with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())
            })
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        // It goes by identity, and not by name.
        let name = ServerName::from(stream.peer_addr()?.ip());
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The server's side of a handshake; tells who the client is.
    ///
    /// # Errors
    /// The handshake failed: the client has no certificate, or is of another trust domain, for instance.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Identity, server::TlsStream<TcpStream>)> {
        let stream = self.acceptor.accept(stream).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let identity = certificate.and_then(identity_in).ok_or(io::ErrorKind::InvalidData)?;
        Ok((identity, stream))
    }
}

/// The one identity that a certificate names.
fn identity_in(certificate: &CertificateDer<'_>) -> Option<Identity> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut names = certificate.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(name), None) => name.parse().ok(),
        _ => None,
    }
}

/// Whose certificates are good.
#[derive(Debug)]
enum Accepted {
    Identity(Identity),
    TrustDomain(String),
}

/// Looks at a certificate's chain, and at the identity in it.
#[derive(Debug)]
struct Verifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    accepted: Accepted,
}

impl Verifier {
    fn new(roots: &Arc<RootCertStore>, accepted: Accepted) -> Self {
        let provider = Arc::new(crypto::ring::default_provider());
        Self { roots: Arc::clone(roots), provider, accepted }
    }

    fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
        parsed
            .verify_for_usage(algorithms, &self.roots.roots, intermediates, now, usage, None, None)
            .map_err(|_| CertificateError::UnknownIssuer)?;
        let is_accepted = identity_in(certificate).is_some_and(|identity| match &self.accepted {
            Accepted::Identity(expected) => identity == *expected,
            Accepted::TrustDomain(expected) => identity.trust_domain == *expected,
        });
        if is_accepted { Ok(()) } else { Err(CertificateError::ApplicationVerificationFailure.into()) }
    }

    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Only TLS 1.3 is offered.
fn no_tls_1_2() -> rustls::Error {
    rustls::PeerIncompatible::Tls12NotOfferedOrEnabled.into()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls_1_2())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls_1_2())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// The credentials that a proxy has, of the pods that it serves: fetched before they are needed, forgotten with the last pod.
#[derive(Clone)]
pub struct Certificates {
    authority: Arc<Authority>,
    held: Arc<Mutex<BTreeMap<Identity, Held>>>,
}

struct Held {
    credentials: Arc<Credentials>,
    pods: usize,
}

impl Certificates {
    pub(crate) fn new(authority: &Arc<Authority>) -> Self {
        Self { authority: Arc::clone(authority), held: Arc::default() }
    }

    /// The credentials of one more pod.
    pub(crate) fn hold(&self, identity: &Identity) -> io::Result<Arc<Credentials>> {
        let mut held = locked(&self.held);
        if let Some(held) = held.get_mut(identity) {
            held.pods += 1;
            return Ok(Arc::clone(&held.credentials));
        }
        let credentials = Arc::new(self.authority.issue(identity)?);
        held.insert(identity.clone(), Held { credentials: Arc::clone(&credentials), pods: 1 });
        Ok(credentials)
    }

    /// One pod less.
    pub(crate) fn release(&self, identity: &Identity) {
        let mut all = locked(&self.held);
        if let Some(held) = all.get_mut(identity) {
            held.pods -= 1;
            if held.pods == 0 {
                all.remove(identity);
            }
        }
    }

    /// Whose there are.
    pub fn held(&self) -> Vec<Identity> {
        locked(&self.held).keys().cloned().collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
