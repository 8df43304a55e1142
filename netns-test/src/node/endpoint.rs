//! What names the end of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::{fmt, io};

use crate::{Node, Router};

/// Where to listen, bind or connect: what [`Node::listen_tcp`] and its siblings take.
///
/// | given | means |
/// |---|---|
/// | `7` | the node's own [`ip`](Node::ip), port 7 |
/// | `"server:7"` | a name, resolved inside the node, and a port |
/// | `"10.0.0.1:7"`, `"[2001:db8::1]:7"` | an address and a port |
/// | `"0.0.0.0:7"`, `"[::]:7"` | the wildcard; IPv4 peers of the second show as `::ffff:10.0.0.1` (ipv6(7)) |
/// | `SocketAddr`, `(IpAddr, u16)`, `(&node, 7)` | themselves |
pub trait ToEndpoint: sealed::Sealed {
    #[doc(hidden)]
    fn to_endpoint(&self) -> Result<Endpoint, InvalidEndpoint>;
}

/// An endpoint that is not resolved yet.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Port(u16),
    Address(SocketAddr),
    Name(String, u16),
}

/// The text was no endpoint.
#[doc(hidden)]
#[derive(Debug)]
pub struct InvalidEndpoint(String);

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.0;
        write!(f, "`{text}` is no endpoint: expected `name:port`, `10.0.0.1:port` or `[2001:db8::1]:port`")
    }
}

impl From<InvalidEndpoint> for io::Error {
    fn from(error: InvalidEndpoint) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error.to_string())
    }
}

mod sealed {
    pub trait Sealed {}
    impl<T: Sealed + ?Sized> Sealed for &T {}
}

impl<T: ToEndpoint + ?Sized> ToEndpoint for &T {
    fn to_endpoint(&self) -> Result<Endpoint, InvalidEndpoint> {
        (**self).to_endpoint()
    }
}

macro_rules! endpoints {
    ($($type:ty: |$value:ident| $endpoint:expr;)*) => {
        $(
            impl sealed::Sealed for $type {}
            impl ToEndpoint for $type {
                fn to_endpoint(&self) -> Result<Endpoint, InvalidEndpoint> {
                    let $value = self;
                    $endpoint
                }
            }
        )*
    };
}

endpoints! {
    u16: |port| Ok(Endpoint::Port(*port));
    SocketAddr: |address| Ok(Endpoint::Address(*address));
    SocketAddrV4: |address| Ok(Endpoint::Address((*address).into()));
    SocketAddrV6: |address| Ok(Endpoint::Address((*address).into()));
    (IpAddr, u16): |address| Ok(Endpoint::Address((*address).into()));
    (Ipv4Addr, u16): |address| Ok(Endpoint::Address((*address).into()));
    (Ipv6Addr, u16): |address| Ok(Endpoint::Address((*address).into()));
    (&Node, u16): |end| Ok(Endpoint::Address((end.0.ip(), end.1).into()));
    (&Router, u16): |end| Ok(Endpoint::Address((end.0.ip(), end.1).into()));
    (&str, u16): |end| Ok(named(end.0, end.1));
    (String, u16): |end| Ok(named(&end.0, end.1));
    str: |text| parse(text);
    String: |text| parse(text);
}

fn named(name: &str, port: u16) -> Endpoint {
    match name.parse::<IpAddr>() {
        Ok(ip) => Endpoint::Address((ip, port).into()),
        Err(_) => Endpoint::Name(name.to_owned(), port),
    }
}

fn parse(text: &str) -> Result<Endpoint, InvalidEndpoint> {
    if let Ok(address) = text.parse() {
        return Ok(Endpoint::Address(address));
    }
    let invalid = || InvalidEndpoint(text.to_owned());
    let (name, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    if name.is_empty() || name.contains([':', '[', ']']) {
        return Err(invalid());
    }
    port.parse().map(|port| named(name, port)).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_ports_addresses_and_names() {
        assert_eq!(7.to_endpoint().unwrap(), Endpoint::Port(7));
        assert_eq!("server:7".to_endpoint().unwrap(), Endpoint::Name("server".into(), 7));
        let wildcard = "[::]:7".to_endpoint().unwrap();
        assert_eq!(wildcard, Endpoint::Address((Ipv6Addr::UNSPECIFIED, 7).into()));
        assert_eq!(("10.0.0.1", 7).to_endpoint().unwrap(), Endpoint::Address(([10, 0, 0, 1], 7).into()));
        for wrong in ["server", ":7", "::1:7", "server:70000", "2001:db8::1"] {
            let error = wrong.to_endpoint().unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("expected"), "{error}");
        }
    }
}
