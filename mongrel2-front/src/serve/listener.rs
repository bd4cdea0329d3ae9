//! Listening sockets: where `bind_addr` and `port` say, or at a path that `bind_addr` names as `unix:PATH`.

use super::bounds::BACKLOG;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, acceptfrom_with, bind, getsockname, ipproto,
    listen, socket_with, sockopt,
};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The address of a client on a Unix socket: a program on this machine.
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Why the server cannot listen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// `bind_addr` is a name that does not resolve, or no address at all.
    #[error("cannot listen at `{address}`: `bind_addr` is not an address of this machine: {source}")]
    Address {
        /// What the configuration says.
        address: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// The system refuses the address.
    #[error("cannot listen at `{address}`: {source}")]
    Bind {
        /// Address and port, or the path.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}

/// A socket that listens. It does not block.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    /// Of a Unix socket: removed when the server ends.
    path: Option<PathBuf>,
}

/// What [`Listener::accept`] found.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A client's socket, which does not block, the client's address, and its port.
    Client(OwnedFd, IpAddr, u16),
    /// No client waits.
    Nothing,
    /// A client waits, but the system is out of descriptors or memory.
    Exhausted(io::Error),
}

impl Listener {
    /// Listens at every address that `bind_addr` means; the only one, as a rule. `keepalive`: the kernel looks whether
    /// silent clients are still there.
    pub(super) fn bind_all(bind_addr: &str, port: u16, keepalive: bool) -> Result<Vec<Self>, ListenError> {
        if let Some(path) = bind_addr.strip_prefix("unix:") {
            let address = bind_addr.to_owned();
            let listener = Self::bind_path(Path::new(path));
            return Ok(vec![listener.map_err(|source| ListenError::Bind { address, source })?]);
        }
        let addresses = resolve(bind_addr, port)
            .map_err(|source| ListenError::Address { address: bind_addr.into(), source })?;
        let mut listeners = Vec::new();
        let mut problem = None;
        for address in addresses {
            match Self::bind_tcp(address, keepalive) {
                Ok(listener) => listeners.push(listener),
                // A name may mean an address of a family that this machine does not have.
                Err(source) => {
                    problem.get_or_insert(ListenError::Bind { address: address.to_string(), source });
                }
            }
        }
        match problem {
            Some(problem) if listeners.is_empty() => Err(problem),
            Some(ListenError::Bind { source, address }) if source.kind() == ErrorKind::AddrInUse => {
                Err(ListenError::Bind { address, source })
            }
            _ => Ok(listeners),
        }
    }

    fn bind_tcp(address: SocketAddr, keepalive: bool) -> io::Result<Self> {
        let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP))?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if address.is_ipv6() {
            // `::` serves IPv4, too.
            sockopt::set_ipv6_v6only(&socket, !address.ip().is_unspecified())?;
        }
        // Sockets that are accepted have the options of the one that listens.
        sockopt::set_tcp_nodelay(&socket, true)?;
        sockopt::set_socket_keepalive(&socket, keepalive)?;
        bind(&socket, &address)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, path: None })
    }

    fn bind_path(path: &Path) -> io::Result<Self> {
        let address = rustix::net::SocketAddrUnix::new(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        if let Err(problem) = bind(&socket, &address) {
            if problem != Errno::ADDRINUSE || !is_left_over(path) {
                return Err(problem.into());
            }
            std::fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        // As with a port: every user of this machine may connect, so that a proxy with a user of its own can.
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o666))?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, path: Some(path.to_owned()) })
    }

    /// Where it listens, in words.
    pub(super) fn describe(&self) -> String {
        match (&self.path, self.address()) {
            (Some(path), _) => format!("unix:{}", path.display()),
            (None, Some(address)) => address.to_string(),
            (None, None) => "an unknown address".into(),
        }
    }

    /// Where it listens, if by TCP.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        SocketAddr::try_from(getsockname(&self.socket).ok()?).ok()
    }

    /// Accepts a client.
    pub(super) fn accept(&self) -> Accepted {
        loop {
            return match acceptfrom_with(&self.socket, FLAGS) {
                Ok((socket, peer)) => {
                    let (address, port) = address_of(peer);
                    Accepted::Client(socket, address, port)
                }
                Err(Errno::AGAIN) => Accepted::Nothing,
                Err(problem @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    Accepted::Exhausted(problem.into())
                }
                // The client has left meanwhile, or the network tells of it here: the next one may be there.
                Err(problem) if is_of_one_client(problem) => continue,
                Err(problem) => Accepted::Exhausted(problem.into()),
            };
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Errors that `accept` passes on from the connection that it would have returned.
fn is_of_one_client(problem: Errno) -> bool {
    matches!(
        problem,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
    )
}

/// Address and port. An IPv4 client of a socket for both families is an IPv4 client.
fn address_of(peer: Option<SocketAddrAny>) -> (IpAddr, u16) {
    match peer.map(SocketAddr::try_from) {
        Some(Ok(address)) => (address.ip().to_canonical(), address.port()),
        _ => (LOCAL, 0),
    }
}

/// Whether a socket file is there that no process listens at.
fn is_left_over(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused =
        |problem: &io::Error| matches!(problem.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound);
    is_socket && UnixStream::connect(path).as_ref().is_err_and(refused)
}

fn resolve(bind_addr: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = bind_addr.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(bind_addr);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let mut addresses: Vec<_> = (bind_addr, port).to_socket_addrs()?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::net::TcpStream;

    fn await_client(listener: &Listener) -> (OwnedFd, IpAddr, u16) {
        let patience = Timespec { tv_sec: 10, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&patience)).unwrap();
        assert_eq!(ready, 1);
        match listener.accept() {
            Accepted::Client(socket, address, port) => (socket, address, port),
            other => panic!("{other:?}"),
        }
    }

    fn one(bind_addr: &str, port: u16) -> Listener {
        Listener::bind_all(bind_addr, port, false).unwrap().remove(0)
    }

    #[test]
    fn a_client_s_socket_does_not_block_or_delay_and_its_address_is_known() {
        let listener = one("127.0.0.1", 0);
        assert!(matches!(listener.accept(), Accepted::Nothing));
        let address = listener.address().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (socket, peer, port) = await_client(&listener);
        assert_eq!((peer, port), (LOCAL, client.local_addr().unwrap().port()));
        assert!(sockopt::tcp_nodelay(&socket).unwrap());
        assert!(rustix::fs::fcntl_getfl(&socket).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
    }

    #[test]
    fn an_ipv4_client_of_a_socket_for_both_families_has_an_ipv4_address() {
        let Ok(mut listeners) = Listener::bind_all("::", 0, false) else { return };
        let port = listeners[0].address().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(await_client(&listeners.remove(0)).1, LOCAL);
    }

    #[test]
    fn names_are_resolved_and_wrong_ones_named() {
        let listeners = Listener::bind_all("localhost", 0, true).unwrap();
        assert!(listeners.iter().all(|listener| listener.address().unwrap().ip().is_loopback()));
        let text = Listener::bind_all("no such host", 1, false).unwrap_err().to_string();
        assert!(text.starts_with("cannot listen at `no such host`: `bind_addr` is not an address"), "{text}");
    }

    #[test]
    fn a_port_in_use_is_an_error_that_names_it() {
        let first = one("127.0.0.1", 0);
        let port = first.address().unwrap().port();
        let text = Listener::bind_all("127.0.0.1", port, false).unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot listen at `127.0.0.1:{port}`: ")), "{text}");
    }

    #[test]
    fn a_socket_file_is_replaced_only_when_no_process_listens_at_it() {
        let folder = std::env::temp_dir().join(format!("front-listen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        let address = format!("unix:{}", path.display());
        // What a process that was killed leaves.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = one(&address, 0);
        let _client = UnixStream::connect(&path).unwrap();
        assert_eq!(await_client(&listener).1, LOCAL);
        assert!(Listener::bind_all(&address, 0, false).is_err());
        assert!(UnixStream::connect(&path).is_ok());
        drop(listener);
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(Listener::bind_all(&address, 0, false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
