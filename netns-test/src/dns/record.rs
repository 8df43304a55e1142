//! Resource records as a test writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::{CNAME, MX, PTR, RData, SRV, TXT};
use simple_dns::{CharacterString, Name, QTYPE, TYPE};

/// The data of a resource record (RFC 1035 section 3.3): what a name has in DNS.
///
/// Addresses convert into it, so that [`Server::add`](super::Server::add) takes them as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address (RFC 3596).
    Aaaa(Ipv6Addr),
    /// The name is an alias of this one; it can have no other record.
    Cname(String),
    /// The name that an address has: for names below `in-addr.arpa` and `ip6.arpa`.
    Ptr(String),
    /// Text; more than 255 bytes are sent in several strings (RFC 7208 section 3.3).
    Txt(String),
    /// Where a service is (RFC 2782): for names such as `_http._tcp.example.com`.
    Srv {
        /// Clients try the lowest first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// Where the service listens.
        port: u16,
        /// The host that has it.
        target: String,
    },
    /// A host that takes mail for the name.
    Mx {
        /// Senders try the lowest first.
        preference: u16,
        /// The host.
        exchange: String,
    },
}

impl From<Ipv4Addr> for Record {
    fn from(ip: Ipv4Addr) -> Self {
        Self::A(ip)
    }
}

impl From<Ipv6Addr> for Record {
    fn from(ip: Ipv6Addr) -> Self {
        Self::Aaaa(ip)
    }
}

impl From<IpAddr> for Record {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::A(ip),
            IpAddr::V6(ip) => Self::Aaaa(ip),
        }
    }
}

impl Record {
    /// The type that a query asks for to get it.
    pub fn record_type(&self) -> RecordType {
        match self {
            Self::A(_) => RecordType::A,
            Self::Aaaa(_) => RecordType::Aaaa,
            Self::Cname(_) => RecordType::Cname,
            Self::Ptr(_) => RecordType::Ptr,
            Self::Txt(_) => RecordType::Txt,
            Self::Srv { .. } => RecordType::Srv,
            Self::Mx { .. } => RecordType::Mx,
        }
    }

    /// The record with its names checked, and in one spelling.
    pub(super) fn checked(self) -> Result<Self, String> {
        Ok(match self {
            Self::Cname(name) => Self::Cname(canonical(&name)?),
            Self::Ptr(name) => Self::Ptr(canonical(&name)?),
            Self::Srv { priority, weight, port, target } => {
                Self::Srv { priority, weight, port, target: canonical(&target)? }
            }
            Self::Mx { preference, exchange } => Self::Mx { preference, exchange: canonical(&exchange)? },
            record => record,
        })
    }

    /// What is sent; its names have been checked.
    pub(super) fn rdata(&self) -> simple_dns::Result<RData<'_>> {
        Ok(match self {
            Self::A(ip) => RData::A((*ip).into()),
            Self::Aaaa(ip) => RData::AAAA((*ip).into()),
            Self::Cname(name) => RData::CNAME(CNAME(Name::new(name)?)),
            Self::Ptr(name) => RData::PTR(PTR(Name::new(name)?)),
            Self::Txt(text) => {
                let mut txt = TXT::new();
                for part in text.as_bytes().chunks(255) {
                    txt.add_char_string(CharacterString::new(part)?);
                }
                if text.is_empty() {
                    txt.add_char_string(CharacterString::new(b"")?);
                }
                RData::TXT(txt)
            }
            Self::Srv { priority, weight, port, target } => RData::SRV(SRV {
                priority: *priority,
                weight: *weight,
                port: *port,
                target: Name::new(target)?,
            }),
            Self::Mx { preference, exchange } => {
                RData::MX(MX { preference: *preference, exchange: Name::new(exchange)? })
            }
        })
    }
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// An alias.
    Cname,
    /// The name of an address.
    Ptr,
    /// Text.
    Txt,
    /// Where a service is.
    Srv,
    /// Who takes mail.
    Mx,
    /// Everything (`*`).
    Any,
    /// Another type, by its number (IANA's registry "DNS Parameters").
    Other(u16),
}

impl RecordType {
    pub(super) fn of(asked: QTYPE) -> Self {
        match asked {
            QTYPE::TYPE(TYPE::A) => Self::A,
            QTYPE::TYPE(TYPE::AAAA) => Self::Aaaa,
            QTYPE::TYPE(TYPE::CNAME) => Self::Cname,
            QTYPE::TYPE(TYPE::PTR) => Self::Ptr,
            QTYPE::TYPE(TYPE::TXT) => Self::Txt,
            QTYPE::TYPE(TYPE::SRV) => Self::Srv,
            QTYPE::TYPE(TYPE::MX) => Self::Mx,
            QTYPE::ANY => Self::Any,
            other => Self::Other(other.into()),
        }
    }
}

/// As zone files write it: `AAAA`, and `TYPE65` for a number (RFC 3597).
impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Ptr => "PTR",
            Self::Txt => "TXT",
            Self::Srv => "SRV",
            Self::Mx => "MX",
            Self::Any => "ANY",
            Self::Other(number) => return write!(f, "TYPE{number}"),
        })
    }
}

/// A domain name in lower case and without a dot at its end: names compare without regard to case (RFC 4343).
pub(super) fn canonical(name: &str) -> Result<String, String> {
    let text = name.strip_suffix('.').unwrap_or(name);
    if text.is_empty() || text.split('.').any(str::is_empty) {
        return Err(format!("`{name}` is no domain name: there is nothing between two dots, or beside one"));
    }
    if let Some(other) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, '\\' | '"')) {
        return Err(format!("`{name}` is no domain name: it has `{}`", other.escape_debug()));
    }
    if text.split('.').any(|label| label == "*") {
        return Err(format!(
            "`{name}` is a wildcard, which this server does not have: add the names themselves"
        ));
    }
    if Name::new(text).is_err() {
        return Err(format!(
            "`{name}` is too long for a domain name: 63 characters for each part, 253 for the whole"
        ));
    }
    Ok(text.to_ascii_lowercase())
}
