//! Names that a node resolves beside those of the network, and whom it asks for the rest.

use std::net::IpAddr;
use std::path::Path;
use std::sync::PoisonError;

use netns_test_model::check_alias;

use super::Node;
use crate::error::{Doing, Error};
use crate::network::Network;
use crate::plan;

/// The most name servers that a resolver takes from its configuration (`MAXNS`, resolv.conf(5)).
const MOST_SERVERS: usize = 3;

impl Node {
    /// Adds a line to this node's /etc/hosts: from now on the name resolves to the address here, and nowhere else.
    ///
    /// The standard library, Tokio, programs and [`connect_tcp`](Node::connect_tcp) see it. A name that is added twice has both
    /// addresses. The address need not be a node's. [`Network::add_host`] tells all nodes, and the attribute's `aliases` names a
    /// node from the start, at no cost.
    ///
    /// # Errors
    /// The name is no domain name (RFC 1123), or is a node's already; the file cannot be written; the test has ended, or the
    /// calling thread is none of the test's.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// async fn by_another_name(client: Node, server: Node) -> std::io::Result<()> {
    ///     let _listener = server.listen_tcp(80).await?;
    ///     client.add_host("www.example.com", server.ip())?;
    ///     client.connect_tcp("www.example.com:80").await?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn add_host(&self, name: &str, ip: impl Into<IpAddr>) -> Result<(), Error> {
        let ip = ip.into();
        let operation = format!("add the host `{name}`");
        let in_node = || format!("{operation} in `{}`", self.name());
        check_alias(name).map_err(|message| Error::because(in_node(), message))?;
        if let Some(node) = self.net().doing(in_node)?.find(name) {
            let cause = format!("it is a name of the node `{}` already, in every node", node.name());
            return Err(Error::because(in_node(), cause));
        }
        self.replace(&operation, Path::new("/etc/hosts"), |mut text| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text + &format!("{ip} {name}\n")
        })
    }

    /// Says which name servers this node asks: its /etc/resolv.conf from now on, and nothing else in it.
    ///
    /// Names of the network stay in /etc/hosts, which is asked first. Without servers, and where nothing answers on port 53, a
    /// question over DNS is refused at once. The attribute's `dns` says it for every node from the start, at no cost.
    ///
    /// # Errors
    /// There are more than three: a resolver would ignore the others (resolv.conf(5)). The file cannot be written; the test has
    /// ended, or the calling thread is none of the test's.
    ///
    /// ```
    /// # use netns_test::{netns_test, Node};
    /// #[netns_test(nodes = 2)]
    /// fn asks_the_server(client: Node, server: Node) -> std::io::Result<()> {
    ///     client.set_nameservers(&[server.ip()])?;
    ///     assert_eq!(client.read("/etc/resolv.conf")?, format!("nameserver {}\n", server.ip()));
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn set_nameservers(&self, servers: &[IpAddr]) -> Result<(), Error> {
        let operation = "set the name servers";
        if servers.len() > MOST_SERVERS {
            return Err(Error::because(
                format!("{operation} of `{}`", self.name()),
                format!("a resolver asks {MOST_SERVERS} at most, and these are {}", servers.len()),
            ));
        }
        self.replace(operation, Path::new("/etc/resolv.conf"), |_old| plan::resolver(servers))
    }
}

impl Node {
    /// Tells its programs other addresses of the network's nodes, where it has an /etc/hosts of its own.
    pub(crate) fn replace_hosts(&self, before: &str, after: &str) -> Result<(), Error> {
        let has_own =
            self.shared().layers.lock().unwrap_or_else(PoisonError::into_inner).has_system_directories;
        match has_own {
            true => self.replace("update the names of nodes", Path::new("/etc/hosts"), |text| {
                text.replacen(before, after, 1)
            }),
            false => Ok(()),
        }
    }
}

impl Network {
    /// Adds a line to the /etc/hosts of every node: [`Node::add_host`] has the details.
    ///
    /// # Errors
    /// As for `Node::add_host`; nodes before the one that failed have the line.
    ///
    /// ```
    /// # use netns_test::{netns_test, Network, Node};
    /// #[netns_test(nodes = 2)]
    /// fn known_to_all(network: Network, client: Node, server: Node) -> std::io::Result<()> {
    ///     network.add_host("db.test", server.ip())?;
    ///     let _listener = server.blocking_listen_tcp("db.test:5432")?;
    ///     client.blocking_connect_tcp("db.test:5432")?;
    ///     Ok(())
    /// }
    /// # fn main() {}
    /// ```
    pub fn add_host(&self, name: &str, ip: impl Into<IpAddr>) -> Result<(), Error> {
        let ip = ip.into();
        self.nodes().iter().try_for_each(|node| node.add_host(name, ip))
    }
}
