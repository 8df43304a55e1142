//! What routers do to packets beside passing them on: translate, in RFC 4787's words, and filter.

use std::time::Duration;

/// A router that treats what lies behind its uplink differently, as it was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterOptions {
    /// The name of the router.
    pub member: String,
    /// How it translates IPv4.
    pub nat: Option<Nat>,
    /// What it lets through.
    pub firewall: Option<Firewall>,
    /// Which of its links leads outside: the name of who is at its other end, or of the router's interface.
    pub uplink: Option<String>,
}

/// How a router translates the addresses and ports of IPv4, in the words of RFC 4787 and RFC 5382.
///
/// Begin with the kind of network that is meant, and change what is different: `Nat::home().hairpinning(false)`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a router has it by `.nat(..)`"]
pub struct Nat {
    /// When one inner address and port keeps its outer port (RFC 4787 section 4.1).
    pub mapping: NatBehavior,
    /// Who outside reaches an inner address and port by its outer one (RFC 4787 section 5).
    pub filtering: NatBehavior,
    /// Whether the outer port is the inner one if no other has it (RFC 4787 section 4.2.1).
    pub port_preservation: bool,
    /// Whether two inside reach each other by their outer addresses (RFC 4787 section 6).
    pub hairpinning: bool,
    /// How long a mapping of UDP stays without packets, in whole seconds (RFC 4787 section 4.3).
    pub udp_timeout: Duration,
    /// How long a mapping of TCP stays without packets, in whole seconds (RFC 5382 section 5).
    pub tcp_timeout: Duration,
}

/// What a mapping or a filter goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatBehavior {
    /// It is the same for everybody outside.
    EndpointIndependent,
    /// It differs from one outer address to the next.
    AddressDependent,
    /// It differs from one outer address and port to the next.
    AddressAndPortDependent,
}

impl NatBehavior {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] =
        &[Self::EndpointIndependent, Self::AddressDependent, Self::AddressAndPortDependent];

    /// The word that declares it: `endpoint_independent`, `address_dependent` or `address_and_port_dependent`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EndpointIndependent => "endpoint_independent",
            Self::AddressDependent => "address_dependent",
            Self::AddressAndPortDependent => "address_and_port_dependent",
        }
    }
}

/// The least time-out of TCP that RFC 5382 (REQ-5) allows: 2 hours and 4 minutes.
const TCP_TIMEOUT: Duration = Duration::from_secs(7440);

impl Nat {
    /// The names of the kinds, in the order in which messages list them.
    pub const KINDS: &[&str] = &["home", "corporate", "cgnat", "cloud"];

    /// What is wrong with it, and under which key.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let timeouts = [("udp_timeout", self.udp_timeout), ("tcp_timeout", self.tcp_timeout)];
        let is_wrong = |timeout: &Duration| timeout.subsec_nanos() != 0 || timeout.is_zero();
        let wrong = timeouts.into_iter().filter(|(_, timeout)| is_wrong(timeout));
        wrong
            .map(|(key, _)| {
                (key, format!("`{key}` is in whole seconds, at least one: the kernel counts in seconds"))
            })
            .collect()
    }

    /// The kind of this name.
    pub fn kind(name: &str) -> Option<Self> {
        match name {
            "home" => Some(Self::home()),
            "corporate" => Some(Self::corporate()),
            "cgnat" => Some(Self::cgnat()),
            "cloud" => Some(Self::cloud()),
            _ => None,
        }
    }

    /// The firewall that goes with the kind of this name.
    pub fn firewall_of(name: &str) -> Firewall {
        if name == "corporate" { Firewall::Corporate } else { Firewall::Stateful }
    }

    /// A router at home, what hole punching is made for: one outer port for all, open to those that were spoken to ("port
    /// restricted cone"). It keeps ports, hairpins, and forgets after five minutes, as RFC 4787 recommends.
    pub const fn home() -> Self {
        Self {
            mapping: NatBehavior::EndpointIndependent,
            filtering: NatBehavior::AddressAndPortDependent,
            port_preservation: true,
            hairpinning: true,
            udp_timeout: Duration::from_secs(300),
            tcp_timeout: TCP_TIMEOUT,
        }
    }

    /// The edge of an office ("symmetric"): another outer port for each peer, and forgets after a minute.
    pub const fn corporate() -> Self {
        Self {
            mapping: NatBehavior::AddressAndPortDependent,
            filtering: NatBehavior::AddressAndPortDependent,
            port_preservation: false,
            hairpinning: false,
            udp_timeout: Duration::from_secs(60),
            tcp_timeout: Duration::from_secs(3600),
        }
    }

    /// A provider's translator for many customers, as RFC 6888 wants it ("full cone"): one outer port for all, open to all.
    pub const fn cgnat() -> Self {
        Self {
            mapping: NatBehavior::EndpointIndependent,
            filtering: NatBehavior::EndpointIndependent,
            port_preservation: false,
            hairpinning: true,
            udp_timeout: Duration::from_secs(300),
            tcp_timeout: TCP_TIMEOUT,
        }
    }

    /// The NAT gateway of a cloud ("symmetric"): another outer port for each peer, and forgets after 350 seconds.
    pub const fn cloud() -> Self {
        Self {
            mapping: NatBehavior::AddressAndPortDependent,
            filtering: NatBehavior::AddressAndPortDependent,
            port_preservation: false,
            hairpinning: false,
            udp_timeout: Duration::from_secs(350),
            tcp_timeout: Duration::from_secs(350),
        }
    }

    /// The same with another mapping.
    pub const fn mapping(mut self, mapping: NatBehavior) -> Self {
        self.mapping = mapping;
        self
    }

    /// The same with another filter.
    pub const fn filtering(mut self, filtering: NatBehavior) -> Self {
        self.filtering = filtering;
        self
    }

    /// The same, and ports are kept where they can be, or never.
    pub const fn port_preservation(mut self, preserves: bool) -> Self {
        self.port_preservation = preserves;
        self
    }

    /// The same with hairpinning or without.
    pub const fn hairpinning(mut self, hairpins: bool) -> Self {
        self.hairpinning = hairpins;
        self
    }

    /// The same with another time-out of UDP: whole seconds, at least one.
    pub const fn udp_timeout(mut self, timeout: Duration) -> Self {
        self.udp_timeout = timeout;
        self
    }

    /// The same with another time-out of TCP: whole seconds, at least one.
    pub const fn tcp_timeout(mut self, timeout: Duration) -> Self {
        self.tcp_timeout = timeout;
        self
    }
}

/// What a router lets through between its uplink and its other links, in IPv4 and IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Firewall {
    /// Everything.
    Open,
    /// Everything that begins inside; from outside, answers alone.
    Stateful,
    /// As `Stateful`, but of UDP nothing goes out except questions to name servers (port 53).
    NoUdp,
    /// As `Stateful`, but nothing goes out except the web (TCP ports 80 and 443) and questions to name servers (port 53).
    Corporate,
}

impl Firewall {
    /// All of them, in the order in which messages list them.
    pub const ALL: &[Self] = &[Self::Open, Self::Stateful, Self::NoUdp, Self::Corporate];

    /// The word that declares it: `open`, `stateful`, `no_udp` or `corporate`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stateful => "stateful",
            Self::NoUdp => "no_udp",
            Self::Corporate => "corporate",
        }
    }
}

/// A router's uplink, and what the router does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// The interface that leads outside: an index of [`Resolved::interfaces`](super::Resolved::interfaces).
    pub uplink: usize,
    /// How it translates IPv4.
    pub nat: Option<Nat>,
    /// What it lets through.
    pub firewall: Firewall,
}
