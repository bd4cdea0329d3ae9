//! The address of a client, as limits per client address count it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the /64 network of an IPv6 address: an IPv6 client usually has a whole /64 to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// The address itself; an IPv4-mapped IPv6 address is one of these.
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6(u64),
}

impl ClientAddress {
    /// What `address` counts as.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }

    /// Reads the text of REMOTE_ADDR. `None`: it is not an IP address.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(Self::of(std::str::from_utf8(text).ok()?.parse().ok()?))
    }

    /// Whether it belongs to this machine or to a private network (RFC 1918, 4193, 3927, 4291). Such a peer is
    /// usually a proxy in front of many clients.
    pub fn is_local(self) -> bool {
        match self {
            Self::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
            Self::V6(network) => {
                let address = Ipv6Addr::from_bits(u128::from(network) << 64);
                // Of `::1` the first 64 bits remain, which no other client has.
                network == 0 || address.is_unique_local() || address.is_unicast_link_local()
            }
        }
    }
}

/// `192.0.2.1`, `2001:db8::/64`.
impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(network) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*network) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_counted_by_its_network() {
        for (text, counted, is_local) in [
            ("192.0.2.1", "192.0.2.1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", false),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64", false),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("172.31.0.1", "172.31.0.1", true),
            ("172.32.0.1", "172.32.0.1", false),
            ("192.168.0.1", "192.168.0.1", true),
            ("169.254.0.1", "169.254.0.1", true),
            ("::1", "::/64", true),
            ("fd00::1", "fd00::/64", true),
            ("fe80::1", "fe80::/64", true),
        ] {
            let address = ClientAddress::parse(text.as_bytes()).unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (counted, is_local), "{text}");
        }
        assert_eq!(ClientAddress::parse(b"unknown"), None);
        assert_eq!(ClientAddress::parse(b"\xff"), None);
    }
}
