//! A client of the library, and both ends of a connection in memory.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};

use super::files::Files;
use crate::tls::session::Progress;
use crate::tls::{Certificates, Session, SessionError};

pub(super) const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// Takes any certificate; the tests compare it themselves.
#[derive(Debug)]
struct Any(Arc<CryptoProvider>);

impl ServerCertVerifier for Any {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a client is set up with; kept, it resumes its sessions.
pub(super) fn client(
    version: &'static SupportedProtocolVersion,
    own: Option<(&Files, &str)>,
) -> Arc<ClientConfig> {
    client_with(ring::default_provider(), version, own)
}

/// The same with another choice of ciphers.
pub(super) fn client_with(
    provider: CryptoProvider,
    version: &'static SupportedProtocolVersion,
    own: Option<(&Files, &str)>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Any(provider)));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((files, stem)) => {
            let chain = vec![CertificateDer::from_pem_file(files.path(&format!("{stem}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(files.path(&format!("{stem}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    Arc::new(config)
}

/// Both ends.
pub(super) struct Connection {
    pub(super) client: ClientConnection,
    pub(super) session: Session,
    /// What the server has read.
    pub(super) plain: Vec<u8>,
    /// How many bytes are handed over at once.
    pub(super) step: usize,
}

impl Connection {
    pub(super) fn new(certificates: &Certificates, config: &Arc<ClientConfig>, host: &str) -> Self {
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let client = ClientConnection::new(Arc::clone(config), host).unwrap();
        Self { client, session: Session::new(certificates).unwrap(), plain: Vec::new(), step: usize::MAX }
    }

    /// Hands bytes over in both directions until neither side has any, and what the client reads to the caller.
    pub(super) fn exchange(&mut self) -> Result<(Vec<u8>, Progress), SessionError> {
        let mut answer = Vec::new();
        let mut progress = Progress { handshake_done: false, closed: false };
        loop {
            let mut to_server = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut to_server).unwrap();
            }
            for part in to_server.chunks(self.step.min(to_server.len().max(1))) {
                let mut part = part;
                progress = self.session.read(&mut part, &mut self.plain)?;
                assert!(part.is_empty());
            }
            let mut to_client = Vec::new();
            self.session.send(&mut to_client).unwrap();
            let mut left = to_client.as_slice();
            while !left.is_empty() {
                self.client.read_tls(&mut left).unwrap();
                if let Err(problem) = self.client.process_new_packets() {
                    return Err(problem.into());
                }
                let _ = self.client.reader().read_to_end(&mut answer);
            }
            if to_server.is_empty() && to_client.is_empty() {
                return Ok((answer, progress));
            }
        }
    }

    /// A handshake, a request and a response.
    pub(super) fn serve(&mut self) -> Result<(), SessionError> {
        self.exchange()?;
        self.client.writer().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let (_, progress) = self.exchange()?;
        assert_eq!(progress, Progress { handshake_done: true, closed: false });
        assert_eq!(self.plain, b"GET / HTTP/1.1\r\n\r\n");
        self.plain.clear();
        assert_eq!(self.session.write(b"HTTP/1.1 204 No Content\r\n\r\n"), 27);
        assert!(self.session.pending());
        assert_eq!(self.exchange()?.0, b"HTTP/1.1 204 No Content\r\n\r\n");
        assert!(!self.session.pending());
        Ok(())
    }

    /// The server's certificate, as the client sees it.
    pub(super) fn shown(&self) -> Vec<u8> {
        self.client.peer_certificates().unwrap()[0].to_vec()
    }
}
