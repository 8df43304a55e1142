//! Who a workload is.

use std::fmt;
use std::str::FromStr;

/// A SPIFFE ID, as Kubernetes' meshes write it: `spiffe://cluster.local/ns/default/sa/server`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Within which identities mean anything: `cluster.local`.
    pub trust_domain: String,
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The service account.
    pub service_account: String,
}

impl Identity {
    /// The service account of this name in `cluster.local`'s namespace `default`.
    pub fn of(service_account: &str) -> Self {
        Self::within("cluster.local", service_account)
    }

    /// The service account of this name in the trust domain's namespace `default`.
    pub fn within(trust_domain: &str, service_account: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            namespace: "default".to_owned(),
            service_account: service_account.to_owned(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, namespace, service_account } = self;
        write!(f, "spiffe://{trust_domain}/ns/{namespace}/sa/{service_account}")
    }
}

/// What was read is no identity of this shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoIdentity;

impl FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let mut parts = text.strip_prefix("spiffe://").ok_or(NoIdentity)?.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).ok_or(NoIdentity);
        let (trust_domain, ns, namespace, sa, service_account) =
            (next()?, next()?, next()?, next()?, next()?);
        match (ns, sa, parts.next()) {
            ("ns", "sa", None) => Ok(Self {
                trust_domain: trust_domain.to_owned(),
                namespace: namespace.to_owned(),
                service_account: service_account.to_owned(),
            }),
            _ => Err(NoIdentity),
        }
    }
}
