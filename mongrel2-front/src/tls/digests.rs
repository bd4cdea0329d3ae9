//! What names a client's certificate.

use std::fmt::Write;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The digests of a client's certificate, for its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertDigests {
    /// The value of PEER_CERT_SHA1: 42 upper-case digits as from Mongrel2, SHA-1 and a `00` that means nothing.
    pub(crate) sha1: String,
    /// SHA-256 in 64 upper-case digits.
    pub(crate) sha256: String,
}

impl CertDigests {
    /// Of a certificate in DER.
    pub(crate) fn of(certificate: &[u8]) -> Self {
        Self { sha1: hex(&Sha1::digest(certificate)) + "00", sha256: hex(&Sha256::digest(certificate)) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_form_that_mongrel2_gives_them() {
        let digests = CertDigests::of(b"abc");
        assert_eq!(digests.sha1, "A9993E364706816ABA3E25717850C26C9CD0D89D00");
        assert_eq!(digests.sha256, "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD");
    }
}
