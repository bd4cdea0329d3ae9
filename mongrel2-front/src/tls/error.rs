//! What can be wrong with a server's certificates, and with a client's bytes.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why certificates cannot be used. The text names the file and the next step.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum TlsError {
    /// A server has `use_ssl`, and there is no `certdir`.
    #[error(
        "server `{server}` has use_ssl, but there is no setting `certdir`; set it to the folder of `{uuid}.crt` and \
             `{uuid}.key`, with a slash at its end"
    )]
    NoCertdir {
        /// What the server is called.
        server: String,
        /// Its uuid.
        uuid: String,
    },
    /// File names are put right behind the text of `certdir`.
    #[error("setting `certdir` is `{certdir}`, which needs a slash at its end")]
    NoSlash {
        /// The setting.
        certdir: String,
    },
    /// A file is not there.
    #[error("no {what} at `{}`; put it there as a PEM file", path.display())]
    Missing {
        /// `certificate`, `private key`, ...
        what: &'static str,
        /// Where it is looked for.
        path: PathBuf,
    },
    /// A file or folder cannot be read.
    #[error("cannot read {what} `{}`: {}; let the user of this process read it", path.display(), source.kind())]
    Unreadable {
        /// `certificate`, `private key`, ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder stands where a file should.
    #[error("`{}` is a folder; name the file of the {what}", path.display())]
    Folder {
        /// `certificate`, `private key`, ...
        what: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// A file is much longer than certificates are.
    #[error("`{}` is longer than {limit} bytes, which is too long for a {what}", path.display())]
    TooLong {
        /// `certificate`, `private key`, ...
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
    /// A file holds no certificate.
    #[error("`{}` holds no certificate; it must be a PEM file with `-----BEGIN CERTIFICATE-----`", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be read.
    #[error("the certificate in `{}` is damaged; copy it again from where it was issued", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no key.
    #[error("`{}` holds no private key; it must be a PEM file with `-----BEGIN PRIVATE KEY-----`", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A key needs a passphrase.
    #[error("the private key in `{}` has a passphrase; write it without one: `openssl pkey -in {} -out NEW.key`",
            path.display(), path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A key is of a kind that is not supported.
    #[error("the private key in `{}` cannot be used; use RSA with 2048 to 8192 bits, ECDSA P-256 or P-384, or Ed25519",
            path.display())]
    UnusableKey {
        /// The file.
        path: PathBuf,
    },
    /// A key belongs to another certificate.
    #[error("the private key in `{}` does not belong to the certificate in `{}`; replace both files together",
            key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate, which comes first in it.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A new certificate is not valid at this time.
    #[error("the certificate in `{}` {why}; the one before stays in use until it is replaced by a valid one",
            path.display())]
    NotValid {
        /// The file.
        path: PathBuf,
        /// `expired on 2026-11-30`, or `is not valid before 2026-11-30`.
        why: String,
    },
    /// Client certificates are required, and there is nothing to verify them with.
    #[error(
        "setting `ssl.verify_required` needs `ssl.ca_chain`: the PEM file of the authorities that clients' \
             certificates come from"
    )]
    NoChain,
    /// An authority's certificate cannot be used.
    #[error("`ssl.ca_chain` `{}` holds a certificate that cannot be used as an authority: {source}", path.display())]
    BadAuthority {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The library refuses what should be right.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// Why a client's session cannot go on. What waits in [`send`](super::Session::send), an alert, goes out first.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum SessionError {
    /// The client speaks HTTP without TLS. None of its bytes were taken, and it can be answered with plain bytes.
    #[error("client speaks HTTP without TLS to a TLS port")]
    PlainHttp,
    /// The client's certificate was fine when it first came, and no longer is.
    #[error("client resumed a session whose certificate is not trusted any more")]
    ClientCertificate,
    /// The client's bytes are wrong, or it and we have no cipher or version in common.
    #[error("TLS: {0}")]
    Protocol(#[from] rustls::Error),
}
