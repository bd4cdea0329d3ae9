//! Which certificates of clients count: the settings `ssl.verify_optional`, `ssl.verify_required` and `ssl.ca_chain`.
//!
//! With `ssl.verify_optional`, a certificate that the chain does not vouch for counts as none, and the connection goes
//! on. Without a chain, every certificate counts: the client has proved that it holds the key, so the digest names it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::error::TlsError;
use super::pair;
use super::x509::Facts;

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    Off,
    Optional,
    Required,
}

/// Verifies certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    is_required: bool,
    chain: Option<Chain>,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
struct Chain {
    authorities: Arc<dyn ClientCertVerifier>,
    /// The same certificates. A client's own may be among them, as Mongrel2 allows.
    listed: Vec<CertificateDer<'static>>,
}

impl Clients {
    /// `chain` is the file `ssl.ca_chain` and its text.
    pub(super) fn new(
        is_required: bool,
        chain: Option<(&Path, &[u8])>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let chain = chain.map(|(path, text)| Chain::read(path, text, provider)).transpose()?;
        if is_required && chain.is_none() {
            return Err(TlsError::NoChain);
        }
        Ok(Self { is_required, chain, provider: Arc::clone(provider) })
    }

    /// Whether a handshake without a trusted certificate fails.
    pub(super) fn is_required(&self) -> bool {
        self.is_required
    }

    /// Whether a client's certificate counts, followed by those of its issuers.
    pub(super) fn trust(&self, certificates: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let Some(chain) = &self.chain else { return Ok(()) };
        let Some((own, issuers)) = certificates.split_first() else {
            return Err(Error::NoCertificatesPresented);
        };
        if chain.listed.contains(own) {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            return match Facts::read(own).and_then(|facts| facts.why_not_valid(now)) {
                Some(_) => Err(Error::InvalidCertificate(rustls::CertificateError::Expired)),
                None => Ok(()),
            };
        }
        chain.authorities.verify_client_cert(own, issuers, now).map(drop)
    }
}

impl Chain {
    fn read(path: &Path, text: &[u8], provider: &Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let bad = |source| TlsError::BadAuthority { path: path.to_owned(), source };
        let listed = pair::certificates(path, text)?;
        let mut roots = RootCertStore::empty();
        for authority in &listed {
            roots.add(authority.clone()).map_err(bad)?;
        }
        let authorities =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let authorities = authorities.map_err(|problem| bad(Error::General(problem.to_string())))?;
        Ok(Self { authorities, listed })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        issuers: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.is_required {
            let all: Vec<_> = [own].into_iter().chain(issuers).cloned().collect();
            self.trust(&all, now)?;
        }
        // Otherwise the session asks `trust` at the end of the handshake.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, own, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, own, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
