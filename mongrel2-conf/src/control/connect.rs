//! A socket that leads to a control port.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;

use mongrel2_wire::address::Address;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, ipproto, socket_with, sockopt};

/// Begins to connect. The socket does not block; it is writable when it is connected or has failed. The name of a host
/// is looked up first, which may take as long as the resolver wants.
///
/// # Errors
///
/// What the system says; `WouldBlock` when too many wait at a Unix socket already.
pub(super) fn connect(address: &Address) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (result, socket) = match address {
        Address::Ipc(path) => {
            let at = match path.strip_prefix('@') {
                Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
                None => SocketAddrUnix::new(path.as_str())?,
            };
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            (rustix::net::connect(&socket, &at), socket)
        }
        Address::Tcp { host, port } => {
            let at = match address.ip() {
                Some(ip) => SocketAddr::new(ip, *port),
                None => (host.as_str(), *port).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?,
            };
            let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
            // The request must not wait for the greeting before it to be acknowledged.
            sockopt::set_tcp_nodelay(&socket, true)?;
            (rustix::net::connect(&socket, &at), socket)
        }
    };
    match result {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(problem) => Err(problem.into()),
    }
}
