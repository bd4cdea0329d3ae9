//! One certificate with its key, from the text of two PEM files.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::TlsError;
use super::x509::Facts;

/// A certificate that can be used, with its key.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    facts: Facts,
}

impl Pair {
    /// Reads both files' texts. The certificate of the server comes first, those of its issuers may follow.
    pub(super) fn read(
        (certificate_path, certificate): (&Path, &[u8]),
        (key_path, key): (&Path, &[u8]),
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let chain = certificates(certificate_path, certificate)?;
        let bad = || TlsError::BadCertificate { path: certificate_path.to_owned() };
        let own = chain.first().ok_or_else(bad)?;
        let facts = Facts::read(own).ok_or_else(bad)?;
        let key = provider
            .key_provider
            .load_private_key(private_key(key_path, key)?)
            .map_err(|_| TlsError::UnusableKey { path: key_path.to_owned() })?;
        // Not by the library's own comparison, which refuses certificates of version 1.
        let fits = key.public_key().is_none_or(|public| *public == own[facts.public_key.clone()]);
        if !fits {
            return Err(TlsError::Mismatch {
                certificate: certificate_path.to_owned(),
                key: key_path.to_owned(),
            });
        }
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, key)), facts })
    }

    /// Until when the certificate is valid, in seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.facts.not_after
    }

    /// Why the certificate is not valid at this time; `None` if it is.
    pub(super) fn why_not_valid(&self, now: i64) -> Option<String> {
        self.facts.why_not_valid(now)
    }
}

/// All certificates in a PEM text, at least one.
pub(super) fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { path: path.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(_) => Err(TlsError::BadCertificate { path: path.to_owned() }),
    }
}

fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let holds = |word: &[u8]| memchr::memmem::find(text, word).is_some();
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|_| TlsError::NoKey { path: path.to_owned() })
}
