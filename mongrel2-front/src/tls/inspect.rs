//! What there is to say about a certificate before a server uses it.

use super::certificates::now;
use super::error::TlsError;
use super::folder::Place;
use super::pair::Pair;
use super::x509::date;
use rustls::crypto::ring;
use std::path::Path;

/// A certificate that fits its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The last day on which it is valid, as in `2026-11-30`.
    pub until: String,
    /// Why clients refuse it today, as in `expired on 2026-11-30`; `None` if they do not.
    pub problem: Option<String>,
}

/// Reads a certificate with its chain, and its key: two PEM files.
///
/// # Errors
///
/// In words, with the file and the next step: a file is missing, holds something else, or the two do not belong together.
pub fn inspect(certificate: &Path, key: &Path) -> Result<Certificate, String> {
    read(certificate, key).map_err(|problem| problem.to_string())
}

fn read(certificate: &Path, key: &Path) -> Result<Certificate, TlsError> {
    let place = Place::Pair { certificate: certificate.into(), key: key.into() };
    let files = place.read()?.default;
    let (certificate, key) = (&files.certificate, &files.key);
    let provider = ring::default_provider();
    let pair = Pair::read((&certificate.0, &certificate.1), (&key.0, &key.1), &provider)?;
    Ok(Certificate { until: date(pair.not_after()), problem: pair.why_not_valid(now()) })
}
