//! The PROXY protocol's header, version 2: what a proxy tells whom it hands a connection to.
//!
//! The format is [HAProxy's](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt); the identity is a record of a type that is
//! left to users.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2, and a connection that is carried for another.
const PROXY: u8 = 0x21;

const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The first of the types of records that mean what one likes.
const IDENTITY: u8 = 0xE0;

/// Whose connection it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it was to go.
    pub destination: SocketAddr,
    /// Who it is, as a certificate says.
    pub identity: Option<String>,
}

impl Header {
    /// The header as it is sent. Its addresses are of one family.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let family = match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                body.extend([source.octets(), destination.octets()].concat());
                TCP_OVER_IPV4
            }
            (source, destination) => {
                let octets = |ip: IpAddr| match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                body.extend([octets(source), octets(destination)].concat());
                TCP_OVER_IPV6
            }
        };
        body.extend(self.source.port().to_be_bytes());
        body.extend(self.destination.port().to_be_bytes());
        if let Some(identity) = &self.identity {
            body.push(IDENTITY);
            body.extend((identity.len() as u16).to_be_bytes());
            body.extend(identity.as_bytes());
        }
        let length = (body.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[PROXY, family], &length, &body].concat()
    }

    /// Reads the header from the beginning of a connection, and no more.
    ///
    /// # Errors
    /// There is none, or it is of another kind; the connection's own.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut start = [0; 16];
        stream.read_exact(&mut start).await?;
        let (signature, rest) = start.split_at(SIGNATURE.len());
        let mut body = vec![0; usize::from(u16::from_be_bytes([rest[2], rest[3]]))];
        stream.read_exact(&mut body).await?;
        let parsed = (signature == SIGNATURE && rest[0] == PROXY).then(|| Self::parse(rest[1], &body));
        parsed.flatten().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no PROXY header"))
    }

    fn parse(family: u8, body: &[u8]) -> Option<Self> {
        let mut rest = body;
        let ip = |rest: &mut &[u8]| -> Option<IpAddr> {
            match family {
                TCP_OVER_IPV4 => Some(Ipv4Addr::from(take::<4>(rest)?).into()),
                TCP_OVER_IPV6 => Some(Ipv6Addr::from(take::<16>(rest)?).into()),
                _ => None,
            }
        };
        let (source, destination) = (ip(&mut rest)?, ip(&mut rest)?);
        let mut port = || take::<2>(&mut rest).map(u16::from_be_bytes);
        let (from, to) = (port()?, port()?);
        let mut identity = None;
        while let Some([kind, high, low]) = take::<3>(&mut rest) {
            let (value, after) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            if kind == IDENTITY {
                identity = Some(String::from_utf8(value.to_vec()).ok()?);
            }
            rest = after;
        }
        let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
        Some(Self { source, destination, identity })
    }
}

/// Takes a number of bytes from the front.
fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*taken)
}
