//! A socket that listens where the configuration says.

use mongrel2_wire::address::Address;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, ipproto, listen,
    socket_with, sockopt,
};
use std::fs::{metadata, remove_file};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};

/// How many connections may wait to be accepted; libzmq has 100.
const BACKLOG: i32 = 128;

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

/// A listening socket. The file of a Unix socket is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    is_tcp: bool,
    file: Option<SocketFile>,
}

/// The file of a Unix socket: its path and its identity.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Listens. A socket file at which nothing listens any more is replaced.
    ///
    /// # Errors
    ///
    /// What the system says; `AddrInUse` when another socket listens there.
    pub(super) fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp { host, port } => Self::bind_tcp(host, *port),
            Address::Ipc(path) => Self::bind_unix(path),
        }
    }

    fn bind_tcp(host: &str, port: u16) -> io::Result<Self> {
        let at = match host {
            "*" => SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            host => (host, port).to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?,
        };
        let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, FLAGS, Some(ipproto::TCP))?;
        // The port is free again as soon as the server before has ended.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &at)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, is_tcp: true, file: None })
    }

    fn bind_unix(path: &str) -> io::Result<Self> {
        let (name, file) = match path.strip_prefix('@') {
            Some(name) => (SocketAddrUnix::new_abstract_name(name.as_bytes())?, None),
            // The working directory may be another one when the file is removed.
            None => (SocketAddrUnix::new(path)?, Some(absolute(path)?)),
        };
        if let Some(file) = &file {
            remove_stale(file, &name)?;
        }
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        bind(&socket, &name)?;
        let file = match file {
            Some(path) => Some(SocketFile { identity: identity(&path)?, path }),
            None => None,
        };
        let listener = Self { socket, is_tcp: false, file };
        listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// The next connection that waits. `None`: none does.
    pub(super) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        let socket = match accept_with(&self.socket, FLAGS) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(None),
            Err(problem) => return Err(problem.into()),
        };
        if self.is_tcp {
            // Both fail only at a connection that has ended already, which its first read tells.
            // A batch is written in one piece and must not wait for the one before to be acknowledged.
            let _ = sockopt::set_tcp_nodelay(&socket, true);
            // A machine that vanished says nothing; the kernel asks.
            let _ = sockopt::set_socket_keepalive(&socket, true);
        }
        Ok(Some(socket))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(SocketFile { path, identity: ours }) = &self.file
            && identity(path).is_ok_and(|found| found == *ours)
        {
            let _ = remove_file(path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Removes the file of a socket that nothing listens at.
fn remove_stale(path: &Path, name: &SocketAddrUnix) -> io::Result<()> {
    match metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is not a socket is there"));
        }
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(problem) => return Err(problem),
    }
    // A datagram socket cannot connect to one that listens, and the system says so without telling the listener. A
    // connection of the right type could be dealt a request before it ends.
    let probe = socket_with(AddressFamily::UNIX, SocketType::DGRAM, FLAGS, None)?;
    match connect(&probe, name) {
        Err(Errno::CONNREFUSED) => remove_file(path),
        Ok(()) | Err(Errno::PROTOTYPE) => Err(Errno::ADDRINUSE.into()),
        Err(problem) => Err(problem.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sockets::tests::Folder;
    use std::os::unix::net::UnixStream;

    fn ipc(path: &Path) -> Address {
        Address::Ipc(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = Folder::new();
        let path = folder.path("socket");
        // A listener that was killed leaves its file.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let listener = Listener::bind(&ipc(&path)).unwrap();
        let problem = Listener::bind(&ipc(&path)).unwrap_err();
        assert_eq!(problem.kind(), io::ErrorKind::AddrInUse);
        assert!(listener.accept().unwrap().is_none(), "the attempt before was not a connection");
        let _client = UnixStream::connect(&path).unwrap();
        assert!(listener.accept().unwrap().is_some());
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_not_a_socket_stays() {
        let folder = Folder::new();
        let path = folder.path("notes");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(Listener::bind(&ipc(&path)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
    }

    #[test]
    fn a_file_of_a_newer_listener_stays() {
        let folder = Folder::new();
        let path = folder.path("socket");
        let old = Listener::bind(&ipc(&path)).unwrap();
        remove_file(&path).unwrap();
        let _new = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(old);
        assert!(path.exists());
    }

    #[test]
    fn a_tcp_port_in_use_is_refused_and_free_again_at_once() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("tcp://*:{port}").parse().unwrap();
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(Listener::bind(&address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let client = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let accepted = listener.accept().unwrap();
        assert!(accepted.is_some());
        drop((accepted, listener));
        drop(client);
        Listener::bind(&address).unwrap();
    }

    #[test]
    fn an_abstract_name_needs_no_file() {
        let name = format!("ipc://@kennel-listener-{}", std::process::id()).parse().unwrap();
        let listener = Listener::bind(&name).unwrap();
        assert_eq!(Listener::bind(&name).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        Listener::bind(&name).unwrap();
    }
}
