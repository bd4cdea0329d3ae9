//! A TCP socket that never blocks.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, bind, connect, send, shutdown, socket_with,
    sockopt,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The socket, connected or about to be.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Bytes(usize),
    Nothing,
    /// The other side has ended the connection.
    End,
}

impl Socket {
    /// Begins to connect from this address.
    pub(crate) fn connect(from: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<Self> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let descriptor = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&descriptor, true)?;
        bind(&descriptor, &SocketAddrV4::new(from, 0))?;
        match connect(&descriptor, &to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Self { descriptor }),
            Err(problem) => Err(problem.into()),
        }
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Whether a connection has come about; to be asked when the socket is writable.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(sockopt::socket_error(&self.descriptor), Ok(Ok(())))
    }

    /// Sends a request, which is small enough for the kernel to take it as a whole.
    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        send(&self.descriptor, bytes, SendFlags::NOSIGNAL) == Ok(bytes.len())
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> Read {
        match rustix::io::read(&self.descriptor, buffer) {
            Ok(0) => Read::End,
            Ok(size) => Read::Bytes(size),
            Err(Errno::AGAIN | Errno::INTR) => Read::Nothing,
            Err(_) => Read::End,
        }
    }

    /// Closes the connection with a reset.
    pub(crate) fn reset(self) {
        let _ = sockopt::set_socket_linger(&self.descriptor, Some(Duration::ZERO));
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        let _ = shutdown(&self.descriptor, Shutdown::Write);
    }
}
