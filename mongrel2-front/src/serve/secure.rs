//! A client's socket with TLS: the session's ciphertext goes to the socket, plain bytes go to the loop.

use super::bounds::WRITE_SIZE;
use super::passage::{Input, Written};
use crate::output::Output;
use crate::peer::Peer;
use crate::tls::{Session, SessionError};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use tracing::debug;

/// What a client without TLS is told at a port with TLS.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 25\r\n\r\nThis port serves HTTPS.\r\n";
/// Bytes of a file that are encrypted at a time.
const FILE_PART: usize = 32 << 10;
const SLICES: usize = 16;

/// A socket that does not block, and its session.
#[derive(Debug)]
pub(super) struct Secure {
    pub(super) socket: OwnedFd,
    session: Session,
    /// Who the client is, until the handshake is done.
    peer: Option<Peer>,
    is_done: bool,
    is_closed: bool,
    /// The client speaks no TLS, so nothing is said in TLS.
    is_plain: bool,
}

impl Secure {
    pub(super) fn new(socket: OwnedFd, session: Session, peer: Peer) -> Self {
        Self { socket, session, peer: Some(peer), is_done: false, is_closed: false, is_plain: false }
    }

    /// The client, once, when the handshake is done.
    pub(super) fn take_peer(&mut self) -> Option<Peer> {
        let peer = if self.is_done { self.peer.take() } else { None };
        let certificate = self.session.certificate();
        peer.map(|peer| Peer { is_tls: true, certificate: certificate.cloned(), ..peer })
    }

    /// Reads ciphertext once. The plain bytes of it stand in the buffer afterwards.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Input> {
        if self.is_closed {
            return Ok(Input::End);
        }
        let size = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => return Ok(Input::End),
            Ok((_, size)) => size,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Input::Nothing),
            Err(problem) => return Err(problem.into()),
        };
        let mut plain = Vec::new();
        let progress = self.session.read(&mut &buffer[..size], &mut plain);
        if matches!(progress, Err(SessionError::PlainHttp)) {
            self.is_plain = true;
            let _ = send(&self.socket, NO_TLS, SendFlags::NOSIGNAL);
        } else {
            // Parts of the handshake, and what is said about an error.
            self.flush()?;
        }
        let progress = progress.map_err(|problem| {
            debug!("a client's TLS session failed: {problem}");
            io::Error::new(ErrorKind::InvalidData, problem)
        })?;
        self.is_done = progress.handshake_done;
        self.is_closed = progress.closed;
        // Never more plain bytes than came in.
        buffer[..plain.len()].copy_from_slice(&plain);
        Ok(Input::Bytes { size: plain.len(), is_last: size < buffer.len() && !self.is_closed })
    }

    /// Encrypts output, and writes what the system takes.
    pub(super) fn write(&mut self, output: &mut Output) -> io::Result<Written> {
        let mut written = Written::default();
        loop {
            let taken = self.encrypt(output)?;
            output.advance(taken as u64);
            written.bytes += taken as u64;
            self.flush()?;
            written.is_blocked = self.has_unsent();
            if written.is_blocked || output.is_empty() || written.bytes >= WRITE_SIZE as u64 {
                return Ok(written);
            }
        }
    }

    fn encrypt(&mut self, output: &Output) -> io::Result<usize> {
        if let Some((file, offset, length)) = output.file() {
            let mut part = [0; FILE_PART];
            let size = usize::try_from(length).unwrap_or(FILE_PART).min(FILE_PART);
            return match file.read_at(&mut part[..size], offset)? {
                0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the file became shorter")),
                size => Ok(self.session.write(&part[..size])),
            };
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = output.slices(&mut slices);
        let mut taken = 0;
        for slice in &slices[..count] {
            let size = self.session.write(slice);
            taken += size;
            if size < slice.len() {
                break;
            }
        }
        Ok(taken)
    }

    /// Says that nothing more will be written.
    pub(super) fn finish(&mut self) {
        if !self.is_plain {
            self.session.close_notify();
        }
    }

    /// Writes ciphertext that waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.session.send(&mut Socket(&self.socket)) {
            Ok(_) => Ok(()),
            Err(problem) if problem.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// Whether ciphertext waits until the system takes more.
    pub(super) fn has_unsent(&self) -> bool {
        self.session.pending()
    }
}

struct Socket<'a>(&'a OwnedFd);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.0, bytes, SendFlags::NOSIGNAL)?)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(sendmsg(self.0, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
