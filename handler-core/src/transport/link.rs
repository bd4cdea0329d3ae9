//! The sockets to one Mongrel2 Handler, for one run of the server.
//!
//! First an XPUB connects; when Mongrel2's subscription has arrived through it, replies are heard,
//! and only then a PULL connects and brings requests. Neither reconnects by itself: a socket that
//! does could mix messages of two runs of the server, whose connection numbers mean different
//! clients. When either loses its connection, both are thrown away with all that is in them.

#![allow(
    unsafe_code,
    reason = "the zmq crate has no setter for XPUB_NODROP and hands out descriptors as numbers"
)]

use rustix::event::epoll;
use std::os::fd::{BorrowedFd, OwnedFd};
use zmq::{Context, DONTWAIT, Message, Socket, SocketEvent, SocketType};

/// A libzmq socket and the monitor that tells what happens to its connection.
pub(super) struct Watched {
    pub(super) socket: Socket,
    monitor: Socket,
}

/// What the monitor said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing that matters.
    Fine,
    /// There is no connection, and this socket will have none.
    Lost,
}

impl Watched {
    /// An XPUB that waits for a subscription at `spec`.
    pub(super) fn publisher(context: &Context, spec: &str, name: &str) -> zmq::Result<Self> {
        let mut socket = context.socket(SocketType::XPUB)?;
        socket.set_immediate(true)?;
        set_nodrop(&mut socket)?;
        Self::connect(context, socket, spec, name)
    }

    /// A PULL that takes requests from `spec`.
    pub(super) fn puller(context: &Context, spec: &str, name: &str) -> zmq::Result<Self> {
        Self::connect(context, context.socket(SocketType::PULL)?, spec, name)
    }

    fn connect(context: &Context, socket: Socket, spec: &str, name: &str) -> zmq::Result<Self> {
        socket.set_linger(0)?;
        socket.set_reconnect_ivl(-1)?;
        let address = format!("inproc://monitor-{name}");
        let events = [
            SocketEvent::CLOSED,
            SocketEvent::DISCONNECTED,
            SocketEvent::CLOSE_FAILED,
            SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
            SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
            SocketEvent::HANDSHAKE_FAILED_AUTH,
        ];
        socket.monitor(&address, events.iter().map(|event| i32::from(event.to_raw())).sum())?;
        let monitor = context.socket(SocketType::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&address)?;
        socket.connect(spec)?;
        Ok(Self { socket, monitor })
    }

    /// Puts both descriptors under watch; they leave it when the sockets close.
    pub(super) fn watch(&self, poller: &OwnedFd, socket: u64, monitor: u64) -> std::io::Result<()> {
        for (descriptor, token) in [(self.socket.get_fd()?, socket), (self.monitor.get_fd()?, monitor)] {
            // SAFETY: libzmq keeps the descriptor open as long as the socket lives, which is here.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            let data = epoll::EventData::new_u64(token);
            epoll::add(poller, descriptor, data, epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Reads all that the monitor has to say.
    pub(super) fn fate(&self) -> Fate {
        let mut fate = Fate::Fine;
        // All events that we asked for end the connection; their numbers do not matter.
        while let Ok(parts) = self.monitor.recv_multipart(DONTWAIT) {
            if parts.len() == 2 {
                fate = Fate::Lost;
            }
        }
        fate
    }

    /// Receives one message into `message`; `false`: there is none.
    pub(super) fn receive(&self, message: &mut Message) -> bool {
        self.socket.recv(message, DONTWAIT).is_ok()
    }
}

/// `ZMQ_XPUB_NODROP`: a full pipe is an error to the sender, not a silent loss.
fn set_nodrop(socket: &mut Socket) -> zmq::Result<()> {
    let on: i32 = 1;
    // SAFETY: the socket is alive, the option takes an int, and its size is given.
    let result = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as i32,
            (&raw const on).cast(),
            size_of::<i32>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(zmq::Error::EINVAL) }
}
