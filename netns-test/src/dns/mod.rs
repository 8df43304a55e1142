//! A DNS server that a test answers from, and breaks. With the feature `dns`.
//!
//! How does a program behave when its name server is slow, wrong or silent, and does it ask what it should? [`Server`] runs in a
//! node, knows the network's own names, and takes the test's:
//!
//! ```
//! use netns_test::dns::{Rcode, Server};
//! use netns_test::{Node, netns_test};
//!
//! // Every node's /etc/resolv.conf names `resolver`.
//! #[netns_test(nodes = 3, dns = resolver)]
//! async fn fails_over(client: Node, db: Node, resolver: Node) -> std::io::Result<()> {
//!     let dns = Server::start(&resolver)?;
//!     dns.add("db.test", db.ip())?;
//!     let _listener = db.listen_tcp(5432).await?;
//!     client.connect_tcp("db.test:5432").await?;
//!
//!     let servfail = dns.answer_with(Rcode::ServFail);
//!     assert!(client.connect_tcp("db.test:5432").await.is_err());
//!     drop(servfail);
//!
//!     let asked = dns.wait_query("db.test").await?;
//!     assert_eq!(asked.node.as_deref(), Some("client"));
//!     Ok(())
//! }
//! # fn main() {}
//! ```
//!
//! It answers with authority for everything, so that an unknown name is NXDOMAIN, and says that it recurses. In every node the names
//! of the network are in /etc/hosts, which the system's resolver reads first: what is asked for them over DNS comes from `dig` and
//! from libraries that speak DNS themselves. It does no DNSSEC, no wildcards, no zone transfers.

mod fault;
mod message;
mod record;
mod serve;
mod zone;

#[cfg(feature = "kubernetes")]
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use self::fault::{Fault, Rcode};
use self::fault::{Faults, Kind};
use self::record::canonical;
pub use self::record::{Record, RecordType};
use self::serve::{PORT, Sockets};
use self::zone::Zone;
pub(crate) use self::zone::reverse;
use crate::error::{Doing, Error};
use crate::node::Node;
use crate::plan::{NodePlan, Plan};

/// The longest time to live (RFC 2181 section 8).
const LONGEST_TTL: u32 = i32::MAX as u32;

/// A DNS server in a node, on UDP and TCP port 53 of the node's addresses. It ends with the test.
///
/// A handle is cheap to clone, and all change the same server. Names are written with or without a dot at their end, in upper or lower
/// case. The [module](self) has an example.
#[derive(Clone, Debug)]
pub struct Server {
    node: Node,
    addresses: Vec<IpAddr>,
    state: Arc<State>,
}

/// What the handles and the server's tasks share.
#[derive(Debug)]
struct State {
    /// The name of the server's node.
    server: String,
    zone: Mutex<Zone>,
    faults: Arc<watch::Sender<Faults>>,
    log: Mutex<Vec<Query>>,
    /// Whose an address is.
    owners: Mutex<Vec<(IpAddr, String)>>,
}

impl State {
    fn owner(&self, ip: IpAddr) -> Option<String> {
        let owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let found = owners.iter().find(|(own, _)| *own == ip);
        found.map(|(_, node)| node.clone()).or_else(|| ip.is_loopback().then(|| self.server.clone()))
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
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
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
        write!(f, "{} {} from {}", self.name, self.record_type, self.from)?;
        if let Some(node) = &self.node {
            write!(f, " (`{node}`)")?;
        }
        write!(f, " over {}", self.transport)
    }
}

impl Server {
    /// Starts a server in a node. When this returns, it answers.
    ///
    /// It knows the names and aliases of all nodes, and which names their addresses have (PTR). It has a thread of its own in the node,
    /// so that it answers what the node's own code asks, too.
    ///
    /// # Errors
    /// Port 53 is taken on an address of the node; the test has ended, or the calling thread is none of the test's.
    pub fn start(node: &Node) -> Result<Self, Error> {
        let operation = || format!("start a DNS server in `{}`", node.name());
        let net = node.net().doing(operation)?;
        let state = Arc::new(State {
            server: node.name().to_owned(),
            zone: Mutex::new(names_of(&net.plan).map_err(|cause| Error::because(operation(), cause))?),
            faults: Arc::new(watch::Sender::new(Faults::default())),
            log: Mutex::default(),
            owners: Mutex::new(net.plan.nodes.iter().flat_map(addresses_of).collect()),
        });
        let addresses: Vec<IpAddr> = node.own_addresses().collect();
        let server = Self { node: node.clone(), addresses, state };
        let addresses = server.addresses.clone();
        let (inside, serving) = (node.clone(), Arc::clone(&server.state));
        let serve = async move |sockets| serve::serve(sockets, &inside, &serving);
        node.start_server("dns", || Sockets::bind(&addresses), serve)?;
        Ok(server)
    }

    /// Starts a server that answers in several nodes at once, each of which has these addresses; its thread is in the first.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn start_everywhere(nodes: &[Node], addresses: Vec<IpAddr>) -> Result<Self, Error> {
        let first = nodes.first().ok_or_else(|| Error::because("start a DNS server", "there is no node"))?;
        let state = Arc::new(State {
            server: first.name().to_owned(),
            zone: Mutex::default(),
            faults: Arc::new(watch::Sender::new(Faults::default())),
            log: Mutex::default(),
            owners: Mutex::default(),
        });
        let bind = || {
            nodes.iter().try_fold(Sockets::default(), |sockets, node| {
                // A socket stays in the network that it was born in.
                node.born_here(|| Ok(Sockets::bind(&addresses)))
                    .doing(|| "bind a DNS server")?
                    .map(|more| sockets.and(more))
            })
        };
        let (inside, serving) = (first.clone(), Arc::clone(&state));
        let serve = async move |sockets| serve::serve(sockets, &inside, &serving);
        first.start_server("dns", bind, serve)?;
        Ok(Self { node: first.clone(), addresses, state })
    }

    /// Gives some names these records, and takes the names that are not among them any more away.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn exchange(
        &self,
        old: impl IntoIterator<Item = String>,
        new: &BTreeMap<String, Vec<Record>>,
        owners: Vec<(IpAddr, String)>,
    ) -> Result<(), Error> {
        let mut zone = self.zone();
        old.into_iter().filter(|name| !new.contains_key(name)).for_each(|name| _ = zone.remove(&name));
        *self.state.owners.lock().unwrap_or_else(PoisonError::into_inner) = owners;
        new.iter().try_for_each(|(name, records)| {
            let set = zone.set(name.clone(), records.clone());
            set.map_err(|cause| Error::because(format!("name `{name}`"), cause))
        })
    }

    /// Where it answers: port 53 of the node's own addresses, the one that its name resolves to first at the front.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|&ip| SocketAddr::new(ip, PORT)).collect()
    }

    /// The node that it runs in.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Gives a name one more record; an address is one.
    ///
    /// # Errors
    /// A name is no domain name, or would have a CNAME beside other records.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node, dns::{Record, Server}};
    /// #[netns_test(nodes = 2, dns = server)]
    /// fn has_records(client: Node, server: Node) -> std::io::Result<()> {
    ///     let dns = Server::start(&server)?;
    ///     dns.add("db.test", server.ip4())?;
    ///     dns.add("db.test", server.ip6())?;
    ///     dns.add("www.test", Record::Cname("db.test".to_owned()))?;
    ///     assert!(client.blocking_run(async || tokio::net::lookup_host("www.test:80").await.is_ok()));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn add(&self, name: &str, record: impl Into<Record>) -> Result<(), Error> {
        let operation = || format!("add a record of `{name}`");
        let added = canonical(name)
            .and_then(|name| Ok((name, record.into().checked()?)))
            .and_then(|(name, record)| self.zone().add(name, record));
        added.map_err(|cause| Error::because(operation(), cause))
    }

    /// Gives a name these records in place of all that it has.
    ///
    /// Without any, the name is there and has nothing: the answer has no records and no error (NODATA, RFC 2308).
    ///
    /// # Errors
    /// As for [`add`](Server::add).
    ///
    /// ```
    /// # use netns_test::{netns_test, Node, dns::{Record, Server}};
    /// #[netns_test(nodes = 1)]
    /// fn has_a_service(server: Node) -> std::io::Result<()> {
    ///     let dns = Server::start(&server)?;
    ///     dns.set("_ldap._tcp.test", [
    ///         Record::Srv { priority: 0, weight: 1, port: 389, target: "server".to_owned() },
    ///         Record::Txt("v=1".to_owned()),
    ///     ])?;
    ///     dns.set("empty.test", [] as [Record; 0])?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn set<R: Into<Record>>(
        &self,
        name: &str,
        records: impl IntoIterator<Item = R>,
    ) -> Result<(), Error> {
        let set = || {
            let records: Result<Vec<Record>, String> =
                records.into_iter().map(|record| record.into().checked()).collect();
            self.zone().set(canonical(name)?, records?)
        };
        set().map_err(|cause| Error::because(format!("set the records of `{name}`"), cause))
    }

    /// Forgets a name, a node's own, too: it does not exist from now on (NXDOMAIN).
    ///
    /// # Errors
    /// There is no such name.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let removed = canonical(name).and_then(|known| match self.zone().remove(&known) {
            true => Ok(()),
            false => Err("the server has no such name".to_owned()),
        });
        removed.map_err(|cause| Error::because(format!("remove the name `{name}`"), cause))
    }

    /// For how long the records of a name may be kept, in whole seconds; at most 2³¹ - 1 of them (RFC 2181).
    ///
    /// # Errors
    /// There is no such name.
    pub fn set_ttl(&self, name: &str, ttl: Duration) -> Result<(), Error> {
        let set = canonical(name).and_then(|known| match self.zone().set_ttl(&known, seconds(ttl)) {
            true => Ok(()),
            false => Err("the server has no such name".to_owned()),
        });
        set.map_err(|cause| Error::because(format!("set the time to live of `{name}`"), cause))
    }

    /// For how long all other answers may be kept, and that a name does not exist.
    ///
    /// Unless this is called, it is 0: nothing is kept, and what the test changes is seen at the next question.
    pub fn set_default_ttl(&self, ttl: Duration) {
        self.zone().ttl = seconds(ttl);
    }

    /// Until the guard is dropped, no question is answered. Those asked meanwhile are not answered later either.
    #[track_caller]
    pub fn silence(&self) -> Fault {
        self.begin(None, Kind::Silence)
    }

    /// Answers to questions that come until the guard is dropped wait for that, and are then sent, with what the server knows then.
    ///
    /// So a test decides when a slow answer arrives, without a clock.
    #[track_caller]
    pub fn hold(&self) -> Fault {
        self.begin(None, Kind::Hold)
    }

    /// Answers to questions that come until the guard is dropped are sent so much later.
    #[track_caller]
    pub fn delay(&self, by: Duration) -> Fault {
        self.begin(None, Kind::Delay(by))
    }

    /// Until the guard is dropped, every answer is this response code, without any record: a server that fails
    /// ([`Rcode::ServFail`]), refuses ([`Rcode::Refused`]), or lies ([`Rcode::NxDomain`]).
    #[track_caller]
    pub fn answer_with(&self, rcode: Rcode) -> Fault {
        self.begin(None, Kind::Answer(rcode))
    }

    /// Until the guard is dropped, answers over UDP are empty and marked as truncated, so that clients ask again over TCP.
    ///
    /// Answers that are too long are so by themselves: over 512 bytes, or what the client says it takes (EDNS, RFC 6891).
    #[track_caller]
    pub fn truncate(&self) -> Fault {
        self.begin(None, Kind::Truncate)
    }

    /// Until the guard is dropped, answers have another id than their question, as forged ones do. A resolver ignores them.
    #[track_caller]
    pub fn wrong_id(&self) -> Fault {
        self.begin(None, Kind::WrongId)
    }

    /// Faults for the questions about one name alone.
    ///
    /// # Errors
    /// It is no domain name.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node, dns::Server};
    /// #[netns_test(nodes = 2, dns = server)]
    /// async fn one_name_is_slow(client: Node, server: Node) -> std::io::Result<()> {
    ///     let dns = Server::start(&server)?;
    ///     dns.add("slow.test", server.ip())?;
    ///     dns.add("fast.test", server.ip())?;
    ///     let held = dns.only("slow.test")?.hold();
    ///     let slow = client.spawn(async || tokio::net::lookup_host("slow.test:80").await.is_ok());
    ///     dns.wait_query("slow.test").await?;
    ///     assert!(client.run(async || tokio::net::lookup_host("fast.test:80").await.is_ok()).await);
    ///     drop(held);
    ///     assert!(slow.await.expect("it ran"));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn only(&self, name: &str) -> Result<Only<'_>, Error> {
        let known = canonical(name);
        let name = known.map_err(|cause| Error::because(format!("break the answers for `{name}`"), cause))?;
        Ok(Only { server: self, name })
    }

    /// What was asked, in the order in which it came.
    ///
    /// One lookup may be several queries: for A and for AAAA, again over TCP, and again after a while without an answer.
    pub fn queries(&self) -> Vec<Query> {
        self.log().clone()
    }

    /// Forgets what was asked until now.
    pub fn clear_queries(&self) {
        self.log().clear();
    }

    /// Waits until a name is asked for, and returns the first such query since the start or the last
    /// [`clear_queries`](Server::clear_queries).
    ///
    /// # Errors
    /// The name is no domain name. The test's timeout is about to pass; the error lists what was asked instead.
    pub async fn wait_query(&self, name: &str) -> Result<Query, Error> {
        let (what, name) = self.waited_for(name)?;
        self.node.wait_for(&what, || Ok(self.asked(&name)), || Ok(self.listed())).await
    }

    /// [`wait_query`](Server::wait_query) for plain functions.
    ///
    /// # Errors
    /// As for `wait_query`.
    pub fn blocking_wait_query(&self, name: &str) -> Result<Query, Error> {
        let (what, name) = self.waited_for(name)?;
        self.node.blocking_wait_for(&what, || Ok(self.asked(&name)), || Ok(self.listed()))
    }

    fn waited_for(&self, name: &str) -> Result<(String, String), Error> {
        let what = format!("a query for `{name}`");
        let name = canonical(name).map_err(|cause| Error::because(format!("wait for {what}"), cause))?;
        Ok((what, name))
    }

    fn asked(&self, name: &str) -> Option<Query> {
        self.log().iter().find(|query| query.name == name).cloned()
    }

    fn listed(&self) -> String {
        let queries = self.log();
        match queries.is_empty() {
            true => "  no query\n".to_owned(),
            false => queries.iter().map(|query| format!("  {query}\n")).collect(),
        }
    }

    #[track_caller]
    fn begin(&self, name: Option<String>, kind: Kind) -> Fault {
        let which = name.as_ref().map(|name| format!(" for `{name}`")).unwrap_or_default();
        let text = format!("the name server in `{}` {kind}{which}", self.state.server);
        let place = Location::caller();
        // After the test there is no report to tell it in.
        let told = self.node.net().ok().map(|net| crate::fault::Faults::tell(&net, &text, place));
        Fault::begin(&self.state.faults, name, kind, told)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.state.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Vec<Query>> {
        self.state.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Faults of a [`Server`] for one name alone, from [`Server::only`]. Others are answered as ever, and so are the targets of its aliases.
#[derive(Clone, Debug)]
#[must_use = "it does nothing by itself: call `silence`, `answer_with` or another of its methods"]
pub struct Only<'a> {
    server: &'a Server,
    name: String,
}

impl Only<'_> {
    /// [`Server::silence`] for this name.
    #[track_caller]
    pub fn silence(&self) -> Fault {
        self.begin(Kind::Silence)
    }

    /// [`Server::hold`] for this name.
    #[track_caller]
    pub fn hold(&self) -> Fault {
        self.begin(Kind::Hold)
    }

    /// [`Server::delay`] for this name.
    #[track_caller]
    pub fn delay(&self, by: Duration) -> Fault {
        self.begin(Kind::Delay(by))
    }

    /// [`Server::answer_with`] for this name.
    #[track_caller]
    pub fn answer_with(&self, rcode: Rcode) -> Fault {
        self.begin(Kind::Answer(rcode))
    }

    /// [`Server::truncate`] for this name.
    #[track_caller]
    pub fn truncate(&self) -> Fault {
        self.begin(Kind::Truncate)
    }

    /// [`Server::wrong_id`] for this name.
    #[track_caller]
    pub fn wrong_id(&self) -> Fault {
        self.begin(Kind::WrongId)
    }

    #[track_caller]
    fn begin(&self, kind: Kind) -> Fault {
        self.server.begin(Some(self.name.clone()), kind)
    }
}

fn seconds(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_secs()).unwrap_or(LONGEST_TTL).min(LONGEST_TTL)
}

/// The names of all nodes, and those of their addresses.
fn names_of(plan: &Plan) -> Result<Zone, String> {
    let mut zone = Zone::default();
    for node in &plan.nodes {
        let names = std::iter::once(&node.name).chain(&node.aliases);
        for name in names {
            for ip in node.addresses() {
                zone.add(canonical(name)?, ip.into())?;
            }
        }
        for ip in node.addresses() {
            zone.add(reverse(ip), Record::Ptr(canonical(&node.name)?))?;
        }
    }
    Ok(zone)
}

/// Every address that a query of a node's may come from, each with the node's name.
fn addresses_of(node: &NodePlan) -> impl Iterator<Item = (IpAddr, String)> {
    let on_links = node.interfaces.iter().flat_map(|interface| &interface.addresses);
    let all = node.addresses().chain(on_links.map(|&(ip, _)| ip));
    all.map(|ip| (ip, node.name.clone()))
}
