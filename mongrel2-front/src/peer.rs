//! Who is at the other end of a client's connection.

use crate::tls::CertDigests;

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Its address as text, without the port.
    pub(crate) address: Box<str>,
    /// Its port; 0 for a Unix socket.
    pub(crate) port: u16,
    /// It speaks TLS.
    pub(crate) is_tls: bool,
    /// The certificate that it showed.
    pub(crate) certificate: Option<CertDigests>,
}

impl Peer {
    pub(crate) fn scheme(&self) -> &'static [u8] {
        if self.is_tls { b"https" } else { b"http" }
    }
}
