//! The addresses that all variants give to node `i`, and netns-test as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port of the echo server.
pub(crate) const PORT: u16 = 7;
pub(crate) const PREFIX_V4: u8 = 16;
pub(crate) const PREFIX_V6: u8 = 64;

pub(crate) fn v4(node: u16) -> IpAddr {
    let [high, low] = (node + 1).to_be_bytes();
    Ipv4Addr::new(10, 0, high, low).into()
}

pub(crate) fn v6(node: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, node + 1).into()
}

/// A locally administered MAC address.
pub(crate) fn mac(node: u16) -> [u8; 6] {
    let [high, low] = (node + 1).to_be_bytes();
    [0x02, 0, 0, 0, high, low]
}
