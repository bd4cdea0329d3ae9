//! The files of a server's certificates: which there are, their bytes, and whether they changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::TlsError;

/// The longest file that is read: chains have a few KiB, bundles of all public authorities about 250 KiB.
const LONGEST_FILE: u64 = 1024 * 1024;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `UUID.crt` and `UUID.key` for all names that have no files of their own in the folder.
    Folder {
        /// The setting `certdir`, as it can be reached now.
        certdir: PathBuf,
        /// The server's uuid.
        uuid: String,
    },
    /// One certificate for all names.
    Pair {
        /// PEM file of the certificate and its issuers.
        certificate: PathBuf,
        /// PEM file of the key.
        key: PathBuf,
    },
}

/// The bytes of a certificate and its key.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) certificate: (PathBuf, Vec<u8>),
    pub(super) key: (PathBuf, Vec<u8>),
}

impl Files {
    fn read(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let certificate_bytes = read("certificate", &certificate)?;
        let key_bytes = read("private key", &key)?;
        Ok(Self { certificate: (certificate, certificate_bytes), key: (key, key_bytes) })
    }

    /// Tells whether they are the same as before.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update((self.certificate.1.len() as u64).to_le_bytes());
        hash.update(&self.certificate.1);
        hash.update(&self.key.1);
        hash.finalize().into()
    }
}

/// Everything that is there at one moment.
pub(super) struct Found {
    /// For clients that name no host, or one without files of its own.
    pub(super) default: Files,
    /// By host name in lower case; `_.parent` for all names below `parent`. Some cannot be read.
    pub(super) named: BTreeMap<String, Result<Files, TlsError>>,
}

impl Place {
    /// Reads all files. Certificates without a key beside them are left out: authorities, for example.
    pub(super) fn read(&self) -> Result<Found, TlsError> {
        let (certificate, key) = self.default_files();
        let default = Files::read(certificate, key)?;
        let mut named = BTreeMap::new();
        for (name, certificate, key) in self.named_files()? {
            named.insert(name, Files::read(certificate, key));
        }
        Ok(Found { default, named })
    }

    /// What tells cheaply whether a file changed: name, time, size and number of each. Files that cannot be looked at
    /// are left out.
    pub(super) fn stamps(&self) -> Vec<Stamp> {
        let (certificate, key) = self.default_files();
        let named = self.named_files().unwrap_or_default();
        let named = named.into_iter().flat_map(|(_, certificate, key)| [certificate, key]);
        let mut stamps: Vec<_> =
            [certificate, key].into_iter().chain(named).filter_map(|path| Stamp::of(&path)).collect();
        stamps.sort();
        stamps
    }

    fn default_files(&self) -> (PathBuf, PathBuf) {
        match self {
            Self::Folder { certdir, uuid } => {
                (certdir.join(format!("{uuid}.crt")), certdir.join(format!("{uuid}.key")))
            }
            Self::Pair { certificate, key } => (certificate.clone(), key.clone()),
        }
    }

    /// Host name, certificate and key.
    fn named_files(&self) -> Result<Vec<(String, PathBuf, PathBuf)>, TlsError> {
        let Self::Folder { certdir, uuid } = self else { return Ok(Vec::new()) };
        let unreadable = |source| TlsError::Unreadable { what: "folder", path: certdir.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(certdir).map_err(unreadable)? {
            let certificate = entry.map_err(unreadable)?.path();
            let name = certificate.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            let key = certificate.with_extension("key");
            if certificate.extension() == Some(OsStr::new("crt"))
                && !name.is_empty()
                && name != uuid
                && key.exists()
            {
                found.push((name.to_ascii_lowercase(), certificate, key));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A file at one moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    // Without the folder, whose name a chroot changes.
    name: std::ffi::OsString,
    modified: (i64, i64),
    size: u64,
    number: u64,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        let modified = (about.mtime(), about.mtime_nsec());
        let name = path.file_name()?.to_owned();
        Some(Self { name, modified, size: about.size(), number: about.ino() })
    }
}

/// The bytes of one file.
pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let path = path.to_owned();
    let mut bytes = Vec::new();
    let outcome = File::open(&path).and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes));
    match outcome {
        Ok(length) if length as u64 > LONGEST_FILE => {
            Err(TlsError::TooLong { what, path, limit: LONGEST_FILE })
        }
        Ok(_) => Ok(bytes),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Err(TlsError::Missing { what, path }),
        Err(problem) if problem.kind() == io::ErrorKind::IsADirectory => Err(TlsError::Folder { what, path }),
        Err(source) => Err(TlsError::Unreadable { what, path, source }),
    }
}
