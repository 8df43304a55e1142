//! Prefixes, as RFC 4632 and RFC 4291 write them: `10.1.0.0/24`, `2001:db8:7::/64`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    first: IpAddr,
    len: u8,
}

/// Ranges that no link can have, and what they are for.
const RESERVED: [(&str, &str); 7] = [
    ("0.0.0.0/8", "no host may have (RFC 1122 section 3.2.1.3)"),
    ("127.0.0.0/8", "is the loopback's (RFC 1122 section 3.2.1.3)"),
    ("224.0.0.0/3", "is for multicast, or reserved (RFC 1112 section 4)"),
    ("::/96", "has the loopback in it (RFC 4291 section 2.5)"),
    ("::ffff:0:0/96", "stands for IPv4 addresses (RFC 4291 section 2.5.5.2)"),
    ("fe80::/10", "is of link-local addresses, which every interface has by itself (RFC 4291 section 2.5.6)"),
    ("ff00::/8", "is for multicast (RFC 4291 section 2.7)"),
];

impl Prefix {
    /// The prefix of this length that an address is in; `None` where the length is more than the address has bits.
    pub fn of(ip: IpAddr, len: u8) -> Option<Self> {
        let width = width(ip);
        (len <= width).then(|| Self { first: with_bits(ip, bits(ip) & mask(len, width)), len })
    }

    /// Reads `10.1.0.0/24` or `2001:db8:7::/64`.
    ///
    /// # Errors
    ///
    /// What is wrong with it and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let prefix = Self::parse_any(text)?;
        prefix.usable()?;
        Ok(prefix)
    }

    /// The same of one that need not be a link's: `0.0.0.0/0`, `fe80::/10`.
    ///
    /// # Errors
    ///
    /// What is wrong with it and what would be right.
    pub fn parse_any(text: &str) -> Result<Self, String> {
        let (ip, len) = address(text, "prefix")?;
        let whole = if ip.is_ipv4() { 24 } else { 64 };
        let Some(len) = len else {
            let prefix = Self::of(ip, whole).map_or_else(String::new, |prefix| prefix.to_string());
            return Err(format!("`{text}` has no length: write `{prefix}`, or another length"));
        };
        let prefix = Self { first: ip, len };
        let proper = Self::of(ip, len).unwrap_or(prefix);
        if proper.first != ip {
            return Err(format!("`{text}` has bits set beyond its length: write `{proper}`"));
        }
        Ok(proper)
    }

    /// The first address, which is the prefix's own.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How many bits all its addresses begin with.
    pub fn length(self) -> u8 {
        self.len
    }

    /// Whether it is of IPv4 addresses.
    pub fn is_ipv4(self) -> bool {
        self.first.is_ipv4()
    }

    /// Whether the address is in it.
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.is_ipv4() && bits(ip) & mask(self.len, width(ip)) == bits(self.first)
    }

    /// Whether an address is in both.
    pub fn overlaps(self, other: Self) -> bool {
        if self.len <= other.len { self.contains(other.first) } else { other.contains(self.first) }
    }

    /// How many hosts can have an address of it.
    pub fn capacity(self) -> u128 {
        let (low, high) = self.hosts();
        high - low + 1
    }

    /// The `number`th address that a host can have, counted from 0.
    pub fn host(self, number: u128) -> Option<IpAddr> {
        let (low, high) = self.hosts();
        let offset = low.checked_add(number).filter(|offset| *offset <= high)?;
        Some(with_bits(self.first, bits(self.first) + offset))
    }

    /// Part `number`, counted from 0, of those of this length; `None` where there is none.
    pub fn part(self, len: u8, number: u128) -> Option<Self> {
        let width = width(self.first);
        let fits =
            len >= self.len && len <= width && number.checked_shr((len - self.len).into()).unwrap_or(0) == 0;
        fits.then(|| {
            let offset = number.checked_shl((width - len).into()).unwrap_or(0);
            Self { first: with_bits(self.first, bits(self.first) + offset), len }
        })
    }

    /// Why a host cannot have this address of the prefix.
    pub(crate) fn reserves(self, ip: IpAddr) -> Option<&'static str> {
        let offset = bits(ip) - bits(self.first);
        let (low, high) = self.hosts();
        if offset < low {
            let v4 = "is the prefix's own address (RFC 1122 section 3.2.1.3)";
            Some(if self.is_ipv4() { v4 } else { "is every router's of the link (RFC 4291 section 2.6.1)" })
        } else {
            (offset > high).then_some("is the broadcast address of its prefix (RFC 919)")
        }
    }

    /// Where in it the addresses are that hosts can have. The first is the prefix's own, the last of IPv4 the
    /// broadcast address; two addresses are both a host's (RFC 3021, RFC 6164).
    fn hosts(self) -> (u128, u128) {
        let free = u32::from(width(self.first) - self.len);
        let last = u128::MAX.checked_shr(128 - free).unwrap_or(0);
        match (free, self.is_ipv4()) {
            (0 | 1, _) => (0, last),
            (_, true) => (1, last - 1),
            (_, false) => (1, last),
        }
    }

    /// Whether hosts can have its addresses at all.
    pub(crate) fn usable(self) -> Result<(), String> {
        for (range, what) in RESERVED {
            let (ip, len) = range.split_once('/').expect("a range");
            let range = Self { first: ip.parse().expect("an address"), len: len.parse().expect("a length") };
            if self.overlaps(range) {
                return Err(match range == self || range.len < self.len {
                    true => format!("`{self}` cannot be a link's: `{range}` {what}"),
                    false => format!("`{self}` is too short: `{range}` is in it, which {what}"),
                });
            }
        }
        Ok(())
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.len)
    }
}

/// Reads an address with or without a length: `10.7.0.5/24`, `2001:db8::5`.
pub(crate) fn address(text: &str, what: &str) -> Result<(IpAddr, Option<u8>), String> {
    let (ip, len) = text.split_once('/').map_or((text, None), |(ip, len)| (ip, Some(len)));
    let Ok(ip) = ip.parse::<IpAddr>() else {
        let example =
            if what == "prefix" { "10.1.0.0/24` or `2001:db8:7::/64" } else { "10.1.0.5` or `2001:db8:7::5" };
        return Err(format!("`{text}` is no {what}: expected one as `{example}`"));
    };
    let Some(len) = len else { return Ok((ip, None)) };
    let width = width(ip);
    // Digits alone: `parse` would take a sign, too.
    let digits = !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit());
    match len.parse::<u8>() {
        Ok(bits) if digits && bits <= width => Ok((ip, Some(bits))),
        _ => {
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            Err(format!("`{text}` has no length that {family} has: it is a number from 1 to {width}"))
        }
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// The address of these bits, of the same family.
fn with_bits(ip: IpAddr, bits: u128) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// The first `len` of `width` bits.
fn mask(len: u8, width: u8) -> u128 {
    let all = u128::MAX >> (128 - u32::from(width));
    all & !all.checked_shr(len.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        Prefix::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn prefixes_are_read_and_written() {
        for text in
            ["10.1.0.0/24", "10.0.0.0/8", "192.0.2.4/31", "192.0.2.4/32", "2001:db8:7::/64", "fd00::/8"]
        {
            assert_eq!(prefix(text).to_string(), text);
        }
    }

    #[test]
    fn others_are_refused_with_the_fix() {
        for (text, message) in [
            ("", "`` is no prefix: expected one as `10.1.0.0/24` or `2001:db8:7::/64`"),
            ("10.1/16", "`10.1/16` is no prefix: expected one as `10.1.0.0/24` or `2001:db8:7::/64`"),
            ("10.1.0.0", "`10.1.0.0` has no length: write `10.1.0.0/24`, or another length"),
            ("2001:db8::1", "`2001:db8::1` has no length: write `2001:db8::/64`, or another length"),
            ("10.1.0.5/24", "`10.1.0.5/24` has bits set beyond its length: write `10.1.0.0/24`"),
            ("10.1.0.0/33", "`10.1.0.0/33` has no length that IPv4 has: it is a number from 1 to 32"),
            ("10.1.0.0/+8", "`10.1.0.0/+8` has no length that IPv4 has: it is a number from 1 to 32"),
            ("2001:db8::/129", "`2001:db8::/129` has no length that IPv6 has: it is a number from 1 to 128"),
            (
                "127.1.0.0/16",
                "`127.1.0.0/16` cannot be a link's: `127.0.0.0/8` is the loopback's (RFC 1122 section 3.2.1.3)",
            ),
        ] {
            assert_eq!(Prefix::parse(text), Err(message.to_owned()), "{text}");
        }
        for text in
            ["0.0.0.0/0", "::/0", "64.0.0.0/2", "224.0.0.0/8", "fe80::/64", "ff02::/16", "::ffff:0:0/96"]
        {
            assert!(Prefix::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_what_the_prefix_does_not_need_itself() {
        for (text, capacity, first, last) in [
            ("10.1.0.0/24", 254, "10.1.0.1", "10.1.0.254"),
            ("10.1.0.4/30", 2, "10.1.0.5", "10.1.0.6"),
            ("10.1.0.4/31", 2, "10.1.0.4", "10.1.0.5"),
            ("10.1.0.4/32", 1, "10.1.0.4", "10.1.0.4"),
            ("2001:db8::/126", 3, "2001:db8::1", "2001:db8::3"),
            ("2001:db8::/127", 2, "2001:db8::", "2001:db8::1"),
            ("2001:db8::1/128", 1, "2001:db8::1", "2001:db8::1"),
        ] {
            let prefix = prefix(text);
            assert_eq!(prefix.capacity(), capacity, "{text}");
            assert_eq!(prefix.host(0), Some(ip(first)), "{text}");
            assert_eq!(prefix.host(capacity - 1), Some(ip(last)), "{text}");
            assert_eq!(prefix.host(capacity), None, "{text}");
        }
        assert_eq!(prefix("2001:db8::/64").host(1), Some(ip("2001:db8::2")));
        assert!(prefix("10.1.0.0/24").reserves(ip("10.1.0.0")).is_some());
        assert!(prefix("10.1.0.0/24").reserves(ip("10.1.0.255")).is_some());
        assert!(prefix("10.1.0.0/24").reserves(ip("10.1.0.9")).is_none());
        assert!(prefix("2001:db8::/64").reserves(ip("2001:db8::")).is_some());
    }

    #[test]
    fn prefixes_overlap_where_one_is_in_the_other() {
        for (one, other, overlap) in [
            ("10.1.0.0/24", "10.1.0.128/25", true),
            ("10.1.0.0/24", "10.1.1.0/24", false),
            ("10.0.0.0/8", "10.255.255.0/24", true),
            ("2001:db8::/32", "2001:db8:1::/64", true),
            ("10.1.0.0/24", "2001:db8::/32", false),
        ] {
            let (one, other) = (prefix(one), prefix(other));
            assert_eq!((one.overlaps(other), other.overlaps(one)), (overlap, overlap), "{one} {other}");
        }
    }
}
