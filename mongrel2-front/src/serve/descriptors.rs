//! What the loop does when the system has no descriptor left for a client.
//!
//! A client that cannot be accepted stays in the kernel's queue, so the listening socket stays readable and the loop would
//! spin. One descriptor is therefore kept in reserve: it is given up to accept the client, the client is told so, and the
//! reserve is opened again.

use super::bounds::{ACCEPT_PAUSE, SHORTAGE_NOTICE};
use super::listener::{Accepted, Listener};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;
use tracing::error;

/// What a client is told for which there is no descriptor.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 1\r\n\
    Connection: close\r\nContent-Length: 59\r\n\r\nThe server has no descriptor left for another connection.\r\n";

/// Raises the number of descriptors that this process may have to what the system allows it.
pub(super) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Never refused: it is below the hard limit by definition.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// The reserve, and what was refused.
#[derive(Debug, Default)]
pub(super) struct Descriptors {
    reserve: Option<OwnedFd>,
    /// Clients refused since the last line in the log.
    refused: u64,
    last_notice: Option<Instant>,
    /// No client is accepted before.
    pause: Option<Instant>,
}

impl Descriptors {
    pub(super) fn new() -> Self {
        Self { reserve: open_reserve(), ..Self::default() }
    }

    /// `accept` found no descriptor. Accepts one client with the reserve and refuses it. Without a reserve, accepting
    /// pauses.
    pub(super) fn refuse(&mut self, listener: &Listener, is_tls: bool, problem: &io::Error, now: Instant) {
        let mut has_refused = false;
        if self.reserve.take().is_some()
            && let Accepted::Client(client, ..) = listener.accept()
        {
            self.refused += 1;
            has_refused = true;
            if !is_tls {
                refuse(&client);
            }
        }
        self.reserve = open_reserve();
        if !has_refused || self.reserve.is_none() {
            self.pause = Some(now + ACCEPT_PAUSE);
        }
        if self.last_notice.is_none_or(|last| now >= last + SHORTAGE_NOTICE) {
            self.last_notice = Some(now);
            let count = std::mem::take(&mut self.refused);
            error!("cannot accept clients: {problem}; {count} were refused since the last line like this");
        }
    }

    /// When clients may be accepted again, if they may not now.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.pause
    }

    /// Ends a pause that is over. `true`: clients may be accepted again.
    pub(super) fn resume(&mut self, now: Instant) -> bool {
        self.pause.take_if(|end| *end <= now).is_some()
    }
}

fn open_reserve() -> Option<OwnedFd> {
    open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Tells the client why, as well as this can be done in one go: what the client has sent is read first, since closing a
/// socket with unread bytes would take the response away again.
fn refuse(client: &OwnedFd) {
    let mut sink = [0_u8; 4096];
    while recv(client, &mut sink, RecvFlags::empty()).is_ok_and(|(_, size)| size == sink.len()) {}
    let _ = send(client, REFUSAL, SendFlags::NOSIGNAL);
    let _ = shutdown(client, Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;

    #[test]
    fn the_refusal_is_a_whole_response() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }

    #[test]
    fn a_client_without_descriptor_is_told_so() {
        let listener = Listener::bind_all("127.0.0.1", 0, false).unwrap().remove(0);
        let mut client = TcpStream::connect(listener.address().unwrap()).unwrap();
        let mut descriptors = Descriptors::new();
        let problem = io::Error::from(rustix::io::Errno::MFILE);
        let now = Instant::now();
        descriptors.refuse(&listener, false, &problem, now);
        assert!(descriptors.pause().is_none(), "the reserve is there again");
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, REFUSAL);

        // No client waits any more, so trying again at once would spin.
        descriptors.refuse(&listener, false, &problem, now);
        assert_eq!(descriptors.pause(), Some(now + ACCEPT_PAUSE));
        assert!(!descriptors.resume(now));
        assert!(descriptors.resume(now + ACCEPT_PAUSE));
        assert!(descriptors.pause().is_none());
    }

    #[test]
    fn the_process_may_have_as_many_descriptors_as_the_system_allows() {
        raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
