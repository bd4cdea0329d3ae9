//! ZeroMQ addresses as Mongrel2's configuration writes them: `tcp://HOST:PORT`, `ipc://PATH`.

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, getsockname, ipproto, socket_with,
    sockopt,
};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
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
    /// The process that listens there, if the address is a Unix socket and the process can be seen from here. This
    /// connects to it for a moment; Mongrel2 would deal messages to a stranger at a handler's address, so ask control
    /// ports only.
    pub fn process(&self) -> Option<u32> {
        match self {
            Self::Ipc(_) => peer_process(&self.connect().ok()?),
            Self::Tcp { .. } => None,
        }
    }

    /// Begins to connect. The socket does not block; it is writable when it is connected or has
    /// failed. The name of a host is looked up first, which may take as long as the resolver wants: the hub's loop does
    /// not call this.
    ///
    /// # Errors
    ///
    /// What the system says; `WouldBlock` when too many wait at a Unix socket already.
    pub fn connect(&self) -> io::Result<OwnedFd> {
        let at = match self {
            Self::Ipc(_) => None,
            Self::Tcp { host, port } => match self.ip() {
                Some(ip) => Some(SocketAddr::new(ip, *port)),
                None => {
                    let first = (host.as_str(), *port).to_socket_addrs()?.next();
                    Some(first.ok_or(io::Error::from(io::ErrorKind::NotFound))?)
                }
            },
        };
        self.connect_at(at)
    }

    /// The host, if it is a number: no resolver has to be asked for it.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ipc(_) => None,
            Self::Tcp { host, .. } if host == "*" || host == "0.0.0.0" => Some(Ipv4Addr::LOCALHOST.into()),
            Self::Tcp { host, .. } => host.parse().ok(),
        }
    }

    /// Whether the server is certainly on this machine.
    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Ipc(_)) || self.ip().is_some_and(|ip| ip.is_loopback())
    }

    /// As [`connect`](Self::connect), with what a resolver said: `at` is for TCP.
    pub(super) fn connect_at(&self, at: Option<SocketAddr>) -> io::Result<OwnedFd> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let result = match self {
            Self::Ipc(path) => {
                let address = match path.strip_prefix('@') {
                    Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
                    None => SocketAddrUnix::new(path.as_str())?,
                };
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                (connect(&socket, &address), socket)
            }
            Self::Tcp { .. } => {
                let address = at.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
                let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
                let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
                // A batch is written in one piece and must not wait for the one before to be acknowledged.
                sockopt::set_tcp_nodelay(&socket, true)?;
                // A machine that vanished says nothing; the kernel asks.
                sockopt::set_socket_keepalive(&socket, true)?;
                (connect(&socket, &address), socket)
            }
        };
        match result {
            (Ok(()) | Err(rustix::io::Errno::INPROGRESS), socket) => Ok(socket),
            (Err(problem), _) => Err(problem.into()),
        }
    }
}

/// The process that listens at the other end of a Unix socket, if it can be seen from here. A TCP socket does not tell.
pub(super) fn peer_process(socket: &OwnedFd) -> Option<u32> {
    let is_unix = getsockname(socket).is_ok_and(|name| name.address_family() == AddressFamily::UNIX);
    if !is_unix {
        return None;
    }
    let peer = sockopt::socket_peercred(socket).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_behind_a_unix_socket_is_known() {
        let path = std::env::temp_dir().join(format!("kennel-peer-{}", std::process::id()));
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let address = Address::Ipc(path.to_str().unwrap().to_owned());
        let found = address.process();
        std::fs::remove_file(&path).unwrap();
        drop(listener);
        assert_eq!(found, Some(std::process::id()));
        assert_eq!(address.process(), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(Address::Tcp { host: "127.0.0.1".into(), port }.process(), None);
    }

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
}
