//! One client's TLS session: ciphertext in, plaintext out, and back. No socket is touched here.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::ServerConnection;
use rustls::pki_types::UnixTime;

use super::certificates::Certificates;
use super::clients::Clients;
use super::digests::CertDigests;
use super::error::{SessionError, TlsError};

/// [`Session::write`] takes no more plaintext while this many bytes of ciphertext wait to be sent.
const WAITING: usize = 64 * 1024;

/// How far a session has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Plaintext can be written, and [`Session::certificate`] knows the client's.
    pub(crate) handshake_done: bool,
    /// The client has ended its side in due form (close_notify). It may still wait for a response.
    pub(crate) closed: bool,
}

/// One client's session.
#[derive(Debug)]
pub(crate) struct Session {
    connection: ServerConnection,
    clients: Option<Arc<Clients>>,
    certificate: Option<CertDigests>,
    has_begun: bool,
    is_done: bool,
    is_closed: bool,
}

impl Session {
    /// Begins a session with the certificates of this moment.
    pub(crate) fn new(certificates: &Certificates) -> Result<Self, TlsError> {
        let (config, clients) = certificates.current();
        let mut connection = ServerConnection::new(config)?;
        connection.set_buffer_limit(Some(WAITING));
        let (has_begun, is_done, is_closed) = (false, false, false);
        Ok(Self { connection, clients, certificate: None, has_begun, is_done, is_closed })
    }

    /// Takes all of `cipher`, whole records or parts of them, and appends to `plain` what they hold: never more bytes
    /// than came in. On an error, what [`pending`](Self::pending) says goes out before the connection is closed.
    pub(crate) fn read(&mut self, cipher: &mut &[u8], plain: &mut Vec<u8>) -> Result<Progress, SessionError> {
        if let (false, Some(first)) = (self.has_begun, cipher.first()) {
            // Records begin with a number below 32, and methods with a letter.
            if first.is_ascii_alphabetic() {
                return Err(SessionError::PlainHttp);
            }
            self.has_begun = true;
        }
        while !cipher.is_empty() && !self.is_closed {
            let taken = self
                .connection
                .read_tls(cipher)
                .map_err(|problem| SessionError::Protocol(rustls::Error::General(problem.to_string())))?;
            let state = self.connection.process_new_packets()?;
            let waiting = state.plaintext_bytes_to_read();
            if waiting > 0 {
                let before = plain.len();
                plain.resize(before + waiting, 0);
                // What was counted is there, so that this reads all of it.
                let read = self.connection.reader().read(&mut plain[before..]).unwrap_or(0);
                plain.truncate(before + read);
            }
            self.is_closed = state.peer_has_closed();
            if !self.is_done && !self.connection.is_handshaking() {
                self.is_done = true;
                self.look_at_certificate()?;
            }
            if taken == 0 {
                break;
            }
        }
        // After a close_notify nothing counts.
        *cipher = &[];
        Ok(Progress { handshake_done: self.is_done, closed: self.is_closed })
    }

    fn look_at_certificate(&mut self) -> Result<(), SessionError> {
        let (Some(clients), Some(chain)) = (&self.clients, self.connection.peer_certificates()) else {
            return Ok(());
        };
        match clients.trust(chain, UnixTime::now()) {
            Ok(()) => self.certificate = chain.first().map(|own| CertDigests::of(own)),
            Err(_) if clients.is_required() => return Err(SessionError::ClientCertificate),
            Err(problem) => {
                tracing::debug!(%problem, "certificate of a client is not trusted, it counts as none")
            }
        }
        Ok(())
    }

    /// Encrypts as much of `plain` as there is room for, and returns how much that was. 0 before the handshake is done,
    /// and while about 64 KiB wait to be sent.
    pub(crate) fn write(&mut self, plain: &[u8]) -> usize {
        if !self.is_done || plain.is_empty() {
            return 0;
        }
        // The only error is a message of no length, which this is not.
        self.connection.writer().write(plain).unwrap_or(0)
    }

    /// Whether ciphertext waits to be sent.
    pub(crate) fn pending(&self) -> bool {
        self.connection.wants_write()
    }

    /// Writes ciphertext until all is written or `writer` takes no more, and returns how many bytes it took. That
    /// `writer` would block is an error only if it took none.
    pub(crate) fn send(&mut self, writer: &mut impl Write) -> io::Result<usize> {
        let mut sent = 0;
        while self.connection.wants_write() {
            match self.connection.write_tls(writer) {
                Ok(0) => break,
                Ok(count) => sent += count,
                Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock && sent > 0 => break,
                Err(problem) => return Err(problem),
            }
        }
        Ok(sent)
    }

    /// Ends our side in due form, after all that was written. [`send`](Self::send) sends it.
    pub(crate) fn close_notify(&mut self) {
        self.connection.send_close_notify();
    }

    /// The client's certificate, if it has one that counts.
    pub(crate) fn certificate(&self) -> Option<&CertDigests> {
        self.certificate.as_ref()
    }
}
