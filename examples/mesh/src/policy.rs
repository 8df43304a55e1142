//! Who may connect to whom.

use std::net::IpAddr;

use crate::identity::Identity;

/// What a policy does with the connections that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// They may pass; where a workload has such policies, others may not.
    Allow,
    /// They may not pass, whatever else allows them.
    Deny,
}

/// A rule about the connections to one workload. What is left empty holds for all.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is done.
    pub action: Action,
    /// The workload that is connected to.
    pub to: String,
    /// Who connects, as its certificate says.
    pub identities: Vec<Identity>,
    /// Where it connects from.
    pub addresses: Vec<IpAddr>,
    /// The ports that it connects to.
    pub ports: Vec<u16>,
}

/// A connection, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The workload that is connected to.
    pub to: &'a str,
    /// Who connects; nobody knows where it came without a tunnel.
    pub identity: Option<&'a Identity>,
    /// Where it comes from.
    pub address: IpAddr,
    /// The port that it connects to.
    pub port: u16,
}

impl Policy {
    /// Connections to this workload.
    pub fn new(action: Action, to: &str) -> Self {
        Self { action, to: to.to_owned(), identities: Vec::new(), addresses: Vec::new(), ports: Vec::new() }
    }

    /// Only those of this identity, or of another that is named.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }

    /// Only those from this address, or from another that is named.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Only those to this port, or to another that is named.
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    fn is_about(&self, attempt: &Attempt<'_>) -> bool {
        fn holds<T: PartialEq>(named: &[T], has: Option<&T>) -> bool {
            named.is_empty() || has.is_some_and(|has| named.contains(has))
        }
        holds(&self.identities, attempt.identity)
            && holds(&self.addresses, Some(&attempt.address))
            && holds(&self.ports, Some(&attempt.port))
    }
}

/// Whether the connection may pass.
pub fn allows(policies: &[Policy], attempt: &Attempt<'_>) -> bool {
    let mut has_allowing = false;
    let mut is_allowed = false;
    for policy in policies.iter().filter(|policy| policy.to == attempt.to) {
        match (policy.action, policy.is_about(attempt)) {
            (Action::Deny, true) => return false,
            (Action::Deny, false) => {}
            (Action::Allow, is_about) => {
                has_allowing = true;
                is_allowed |= is_about;
            }
        }
    }
    is_allowed || !has_allowing
}
