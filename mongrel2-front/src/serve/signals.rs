//! Signals as sockets that the loop can wait for: a byte arrives for each.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;

/// What the process is told by signals.
#[derive(Debug)]
pub(super) struct Signals {
    /// SIGTERM and SIGINT.
    pub(super) stop: UnixStream,
    /// SIGHUP.
    pub(super) reload: UnixStream,
}

/// The other ends: a byte into one of them is as good as a signal.
#[derive(Debug)]
pub(super) struct Senders {
    pub(super) stop: UnixStream,
    pub(super) reload: UnixStream,
}

impl Signals {
    pub(super) fn pair() -> io::Result<(Self, Senders)> {
        let (stop, stop_sender) = UnixStream::pair()?;
        let (reload, reload_sender) = UnixStream::pair()?;
        for socket in [&stop, &reload, &stop_sender, &reload_sender] {
            socket.set_nonblocking(true)?;
        }
        Ok((Self { stop, reload }, Senders { stop: stop_sender, reload: reload_sender }))
    }

    /// Takes the signals of this process.
    pub(super) fn register() -> io::Result<Self> {
        let (signals, senders) = Self::pair()?;
        pipe::register(SIGINT, senders.stop.try_clone()?)?;
        pipe::register(SIGTERM, senders.stop)?;
        pipe::register(SIGHUP, senders.reload)?;
        Ok(signals)
    }
}

/// Takes what has arrived.
pub(super) fn drain(mut socket: &UnixStream) {
    while socket.read(&mut [0; 64]).is_ok_and(|size| size == 64) {}
}
