//! Sockets that lead to Mongrel2.

use mongrel2_wire::address::Address;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, getsockname, ipproto, socket_with, sockopt,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Begins to connect; `at` is what a resolver said of a TCP host. The socket does not block: it is writable when it is
/// connected or has failed.
///
/// # Errors
///
/// What the system says; `WouldBlock` when too many wait at a Unix socket already.
pub(super) fn connect(address: &Address, at: Option<SocketAddr>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let result = match address {
        Address::Ipc(path) => {
            let name = match path.strip_prefix('@') {
                Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
                None => SocketAddrUnix::new(path.as_str())?,
            };
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            (rustix::net::connect(&socket, &name), socket)
        }
        Address::Tcp { .. } => {
            let at = at.ok_or(io::Error::from(io::ErrorKind::NotFound))?;
            let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
            // A batch is written in one piece and must not wait for the one before to be acknowledged.
            sockopt::set_tcp_nodelay(&socket, true)?;
            // A machine that vanished says nothing; the kernel asks.
            sockopt::set_socket_keepalive(&socket, true)?;
            (rustix::net::connect(&socket, &at), socket)
        }
    };
    match result {
        (Ok(()) | Err(rustix::io::Errno::INPROGRESS), socket) => Ok(socket),
        (Err(problem), _) => Err(problem.into()),
    }
}

/// The process that listens at an address, if that is a Unix socket and the process can be seen from here. This
/// connects to it for a moment; Mongrel2 would deal messages to a stranger at a handler's address, so ask control
/// ports only.
pub fn process_at(address: &Address) -> Option<u32> {
    match address {
        Address::Ipc(_) => peer_process(&connect(address, None).ok()?),
        Address::Tcp { .. } => None,
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
        let found = process_at(&address);
        std::fs::remove_file(&path).unwrap();
        drop(listener);
        assert_eq!(found, Some(std::process::id()));
        assert_eq!(process_at(&address), None);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(process_at(&Address::Tcp { host: "127.0.0.1".into(), port }), None);
    }
}
