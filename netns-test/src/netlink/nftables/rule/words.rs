//! Values in rules that are more than a number.

use std::net::IpAddr;
use std::ops::{BitOr, RangeInclusive};

/// Ports that match: one, those from one to another, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    One(u16),
    Range(u16, u16),
    Several(Vec<u16>),
}

impl From<u16> for Ports {
    fn from(port: u16) -> Self {
        Self::One(port)
    }
}

impl From<RangeInclusive<u16>> for Ports {
    fn from(ports: RangeInclusive<u16>) -> Self {
        Self::Range(*ports.start(), *ports.end())
    }
}

impl<const N: usize> From<[u16; N]> for Ports {
    fn from(ports: [u16; N]) -> Self {
        Self::Several(ports.to_vec())
    }
}

impl From<Vec<u16>> for Ports {
    fn from(ports: Vec<u16>) -> Self {
        Self::Several(ports)
    }
}

/// What connection tracking makes of a packet: one or several of its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CtState(pub(super) u32);

impl CtState {
    // `NF_CT_STATE_BIT` in `linux/netfilter/nf_conntrack_common.h`.
    pub(crate) const INVALID: Self = Self(1 << 0);
    pub(crate) const ESTABLISHED: Self = Self(1 << 1);
    pub(crate) const RELATED: Self = Self(1 << 2);
    pub(crate) const NEW: Self = Self(1 << 3);
}

impl BitOr for CtState {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What became of a connection: one or several bits of `enum ip_conntrack_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CtStatus(pub(super) u32);

impl CtStatus {
    pub(crate) const SNAT: Self = Self(1 << 4);
    pub(crate) const DNAT: Self = Self(1 << 5);
}

/// Where a translation leads: an address, a port, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NatTarget {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<u16>,
}

impl NatTarget {
    pub(crate) fn address(ip: impl Into<IpAddr>) -> Self {
        Self { address: Some(ip.into()), port: None }
    }

    pub(crate) fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }
}
