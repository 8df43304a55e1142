//! Made by `tests/tests/elsewhere.rs` of the sources for Linux, which have the whole documentation.
#![allow(unused_variables, dead_code, reason = "nothing in here runs")]

use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use super::handles::Node;
use super::{Opaque, refused, unavailable};
use crate::Error;
/// A fault of a [`Server`](super::Server), which ends when this is dropped.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct Fault(Opaque);
/// Faults of a [`Server`] for one name alone, from [`Server::only`]. Others are answered as ever, and so are the targets of its aliases.
#[derive(Clone, Debug)]
#[must_use = "it does nothing by itself: call `silence`, `answer_with` or another of its methods"]
pub struct Only<'a>(Opaque, PhantomData<&'a ()>);
impl Only<'_> {
    /// [`Server::answer_with`] for this name.
    #[track_caller]
    pub fn answer_with(&self, rcode: Rcode) -> Fault {
        unavailable()
    }
    /// [`Server::delay`] for this name.
    #[track_caller]
    pub fn delay(&self, by: Duration) -> Fault {
        unavailable()
    }
    /// [`Server::hold`] for this name.
    #[track_caller]
    pub fn hold(&self) -> Fault {
        unavailable()
    }
    /// [`Server::silence`] for this name.
    #[track_caller]
    pub fn silence(&self) -> Fault {
        unavailable()
    }
    /// [`Server::truncate`] for this name.
    #[track_caller]
    pub fn truncate(&self) -> Fault {
        unavailable()
    }
    /// [`Server::wrong_id`] for this name.
    #[track_caller]
    pub fn wrong_id(&self) -> Fault {
        unavailable()
    }
}
/// A query that the server received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The name, in lower case and without a dot at its end.
    pub name: String,
    /// What was asked for.
    pub record_type: RecordType,
    /// Where it came from.
    pub from: SocketAddr,
    /// The host name of the node whose address that is.
    pub node: Option<String>,
    /// Over what it came.
    pub transport: Transport,
}
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A response code (RFC 1035 section 4.1.1), by its mnemonic in IANA's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rcode {
    /// No error; with it, [`answer_with`](super::Server::answer_with) sends an answer that has nothing in it.
    NoError,
    /// The server did not understand the query.
    FormErr,
    /// The server has a problem.
    ServFail,
    /// There is no such name.
    NxDomain,
    /// The server cannot answer such queries.
    NotImp,
    /// The server does not want to.
    Refused,
}
/// As dig(1) has it: `SERVFAIL`.
impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// The data of a resource record (RFC 1035 section 3.3): what a name has in DNS.
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
impl Record {
    /// The type that a query asks for to get it.
    pub fn record_type(&self) -> RecordType {
        unavailable()
    }
}
impl From<IpAddr> for Record {
    fn from(ip: IpAddr) -> Self {
        unavailable()
    }
}
impl From<Ipv4Addr> for Record {
    fn from(ip: Ipv4Addr) -> Self {
        unavailable()
    }
}
impl From<Ipv6Addr> for Record {
    fn from(ip: Ipv6Addr) -> Self {
        unavailable()
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
/// As zone files write it: `AAAA`, and `TYPE65` for a number (RFC 3597).
impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
/// A DNS server in a node, on UDP and TCP port 53 of the node's addresses. It ends with the test.
#[derive(Clone, Debug)]
pub struct Server(Opaque);
impl Server {
    /// Gives a name one more record; an address is one.
    pub fn add(&self, name: &str, record: impl Into<Record>) -> Result<(), Error> {
        Err(refused())
    }
    /// Where it answers: port 53 of the node's own addresses, the one that its name resolves to first at the front.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        unavailable()
    }
    /// Until the guard is dropped, every answer is this response code, without any record: a server that fails
    /// ([`Rcode::ServFail`]), refuses ([`Rcode::Refused`]), or lies ([`Rcode::NxDomain`]).
    #[track_caller]
    pub fn answer_with(&self, rcode: Rcode) -> Fault {
        unavailable()
    }
    /// [`wait_query`](Server::wait_query) for plain functions.
    pub fn blocking_wait_query(&self, name: &str) -> Result<Query, Error> {
        Err(refused())
    }
    /// Forgets what was asked until now.
    pub fn clear_queries(&self) {
        unavailable()
    }
    /// Answers to questions that come until the guard is dropped are sent so much later.
    #[track_caller]
    pub fn delay(&self, by: Duration) -> Fault {
        unavailable()
    }
    /// Answers to questions that come until the guard is dropped wait for that, and are then sent, with what the server knows then.
    #[track_caller]
    pub fn hold(&self) -> Fault {
        unavailable()
    }
    /// The node that it runs in.
    pub fn node(&self) -> &Node {
        unavailable()
    }
    /// Faults for the questions about one name alone.
    pub fn only(&self, name: &str) -> Result<Only<'_>, Error> {
        Err(refused())
    }
    /// What was asked, in the order in which it came.
    pub fn queries(&self) -> Vec<Query> {
        unavailable()
    }
    /// Forgets a name, a node's own, too: it does not exist from now on (NXDOMAIN).
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        Err(refused())
    }
    /// Gives a name these records in place of all that it has.
    pub fn set<R: Into<Record>>(
        &self,
        name: &str,
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), Error> {
        Err(refused())
    }
    /// For how long all other answers may be kept, and that a name does not exist.
    pub fn set_default_ttl(&self, ttl: Duration) {
        unavailable()
    }
    /// For how long the records of a name may be kept, in whole seconds; at most 2³¹ - 1 of them (RFC 2181).
    pub fn set_ttl(&self, name: &str, ttl: Duration) -> Result<(), Error> {
        Err(refused())
    }
    /// Until the guard is dropped, no question is answered. Those asked meanwhile are not answered later either.
    #[track_caller]
    pub fn silence(&self) -> Fault {
        unavailable()
    }
    /// Starts a server in a node. When this returns, it answers.
    pub fn start(node: &Node) -> Result<Self, Error> {
        Err(refused())
    }
    /// Until the guard is dropped, answers over UDP are empty and marked as truncated, so that clients ask again over TCP.
    #[track_caller]
    pub fn truncate(&self) -> Fault {
        unavailable()
    }
    /// Waits until a name is asked for, and returns the first such query since the start or the last
    /// [`clear_queries`](Server::clear_queries).
    pub async fn wait_query(&self, name: &str) -> Result<Query, Error> {
        Err(refused())
    }
    /// Until the guard is dropped, answers have another id than their question, as forged ones do. A resolver ignores them.
    #[track_caller]
    pub fn wrong_id(&self) -> Fault {
        unavailable()
    }
}
/// Over what a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A connection: after a truncated answer, or because the client prefers it.
    Tcp,
}
impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unavailable()
    }
}
