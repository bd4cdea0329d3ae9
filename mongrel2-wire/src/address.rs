//! Where Mongrel2's sockets are, as its configuration writes it: `tcp://HOST:PORT` or `ipc://PATH`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use thiserror::Error;

/// Where a socket of Mongrel2 is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP port. Mongrel2 binds it, so a host of `*` means any of its addresses: from here,
    /// this machine.
    Tcp {
        /// A name or number; an IPv6 number without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket, relative to the working directory; `@NAME` is an abstract one.
    Ipc(String),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither of the two forms.
    #[error("`{text}` is no address; write tcp://HOST:PORT or ipc://PATH, as in Mongrel2's configuration")]
    BadForm {
        /// What was given.
        text: String,
    },
    /// A path that the system cannot take.
    #[error("`{text}`: the path of a socket has at most 107 bytes, this one has {size}")]
    PathTooLong {
        /// What was given.
        text: String,
        /// Its path's size.
        size: usize,
    },
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::BadForm { text: text.to_owned() };
        if let Some(path) = text.strip_prefix("ipc://") {
            if path.is_empty() || path.contains('\0') {
                return Err(bad());
            }
            if path.len() > 107 {
                return Err(AddressError::PathTooLong { text: text.to_owned(), size: path.len() });
            }
            return Ok(Self::Ipc(path.to_owned()));
        }
        let (host, port) =
            text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(bad)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || host.contains(['/', ' ']) {
            return Err(bad());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{path}"),
        }
    }
}

impl Address {
    /// The host, if it is a number: no resolver has to be asked for it.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipc(_) => None,
            Self::Tcp { host, .. } if host == "*" || host == "0.0.0.0" => Some(Ipv4Addr::LOCALHOST.into()),
            Self::Tcp { host, .. } => host.parse().ok(),
        }
    }

    /// Whether the server is certainly on this machine.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Ipc(_)) || self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_mongrel2_writes_them() {
        for text in
            ["tcp://127.0.0.1:9999", "tcp://[::1]:1", "tcp://*:80", "ipc://run/requests", "ipc://@name"]
        {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_two_forms() {
        for text in
            ["", "tcp://", "tcp://x", "tcp://x:0", "tcp://x:99999", "tcp://:1", "ipc://", "udp://x:1", "x:1"]
        {
            let problem = text.parse::<Address>().unwrap_err().to_string();
            assert!(problem.contains("tcp://HOST:PORT"), "{text}: {problem}");
        }
        let long = format!("ipc://{}", "x".repeat(108));
        assert!(matches!(long.parse::<Address>(), Err(AddressError::PathTooLong { size: 108, .. })));
    }

    #[test]
    fn a_host_is_a_number_or_has_to_be_looked_up() {
        for (text, ip, is_local) in [
            ("tcp://*:1", Some("127.0.0.1"), true),
            ("tcp://0.0.0.0:1", Some("127.0.0.1"), true),
            ("tcp://[::1]:1", Some("::1"), true),
            ("tcp://192.0.2.1:1", Some("192.0.2.1"), false),
            ("tcp://example.com:1", None, false),
            ("ipc://run/requests", None, true),
        ] {
            let address: Address = text.parse().unwrap();
            let expected = ip.map(|ip| ip.parse().unwrap());
            assert_eq!((address.ip(), address.is_local()), (expected, is_local), "{text}");
        }
    }
}
