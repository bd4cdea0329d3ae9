//! The body of a request, wherever it is: for workers of any language.

use super::protocol::Order;
use mongrel2_wire::{Envelope, Head};
use rustix::fs::{Mode, OFlags, open};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use thiserror::Error;

/// Where the body of a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyAt<'a> {
    /// In the message.
    Message,
    /// In this file, whole.
    File(&'a Path),
    /// In this file, which grows.
    Growing(&'a Path),
    /// The beginning is in the message, and [parts](Order::Part) follow.
    Parts,
}

impl<'a> BodyAt<'a> {
    /// Reads a job's `spool`.
    pub fn read(spool: &'a [u8]) -> Self {
        match spool {
            b"" => Self::Message,
            b"+" => Self::Parts,
            [b'+', path @ ..] => Self::Growing(Path::new(OsStr::from_bytes(path))),
            path => Self::File(Path::new(OsStr::from_bytes(path))),
        }
    }
}

/// Why a body cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is in a file that cannot be read, or no longer: its answer has been given.
    #[error("the file of the body cannot be read: {0}")]
    File(#[from] io::Error),
    /// Its route reads it as it arrives, in pieces, and it is not all there.
    #[error("the body is still arriving; this route reads it in pieces")]
    Arriving,
    /// A script cannot hold so much.
    #[error("the body has {size} bytes; limits.worker_memory allows a script {memory}")]
    TooLarge {
        /// What it has, bytes.
        size: u64,
        /// What a script may use, bytes.
        memory: usize,
    },
}

/// The file that has a job's body, and how many of its bytes are that; `None`: the message has the body. The file
/// is the hub's, and goes when the job has ended; what is open stays readable.
///
/// # Errors
///
/// When it cannot be opened, is a link, or the job has ended.
pub fn open_spool(job: &[u8]) -> io::Result<Option<(File, u64)>> {
    let Ok(Order::Job { spool, message, .. }) = Order::read_job(job) else { return Ok(None) };
    let BodyAt::File(path) = BodyAt::read(spool) else { return Ok(None) };
    let envelope = Envelope::parse(message).ok();
    let announced = envelope.and_then(|envelope| Head::read(&envelope).ok()?.spool_size);
    open_file(path, announced.map(u64::from)).map(Some)
}

/// Opens a file that has a body of so many bytes, if that is known: what a client has pipelined behind its body may be
/// in the file too. Gives the file and how many of its bytes are the body.
pub(super) fn open_file(path: &Path, announced: Option<u64>) -> io::Result<(File, u64)> {
    // Nobody but Mongrel2 should write to its store; if somebody can, his links lead nowhere.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    Ok((file, found.len().min(announced.unwrap_or(u64::MAX))))
}

/// The body of a job, the payload of its order: of its message, or of the file that has it, if a script may use so
/// much memory, bytes; 0: any.
///
/// # Errors
///
/// [`BodyError`].
pub fn read(job: &[u8], memory: usize) -> Result<Cow<'_, [u8]>, BodyError> {
    if let Some((file, size)) = open_spool(job)? {
        if memory > 0 && size > memory as u64 {
            return Err(BodyError::TooLarge { size, memory });
        }
        let mut body = Vec::with_capacity(size as usize);
        file.take(size).read_to_end(&mut body)?;
        return Ok(Cow::Owned(body));
    }
    if is_arriving(job) {
        return Err(BodyError::Arriving);
    }
    Ok(Cow::Borrowed(in_message(job)))
}

/// Whether the body of a job comes while it is worked on.
pub(super) fn is_arriving(job: &[u8]) -> bool {
    let Ok(Order::Job { spool, .. }) = Order::read_job(job) else { return false };
    matches!(BodyAt::read(spool), BodyAt::Growing(_) | BodyAt::Parts)
}

/// The body that is in a job's message.
pub(super) fn in_message(job: &[u8]) -> &[u8] {
    let Ok(Order::Job { message, .. }) = Order::read_job(job) else { return b"" };
    Envelope::parse(message).map_or(b"", |envelope| envelope.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::{FRAME_HEAD, Handler, encode_job};

    fn body_in(spool: &Path, memory: usize) -> Result<Vec<u8>, BodyError> {
        body_of(b"m2 1 / 2:{},4:mine,", spool, memory)
    }

    fn body_of(message: &[u8], spool: &Path, memory: usize) -> Result<Vec<u8>, BodyError> {
        let mut job = Vec::new();
        let spool = spool.as_os_str().as_bytes();
        encode_job(&mut job, 1, Handler::Route(0), "", [].into_iter(), spool, message);
        read(&job[FRAME_HEAD..], memory).map(Cow::into_owned)
    }

    #[test]
    fn a_file_is_read_if_there_is_one_and_never_through_a_link() {
        let folder = std::env::temp_dir().join(format!("kennel-body-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("file"), folder.join("link"));
        std::fs::write(&file, "spooled").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(body_in(Path::new(""), 4).unwrap(), b"mine");
        assert_eq!(body_in(&file, 0).unwrap(), b"spooled");
        assert!(matches!(body_in(&file, 6), Err(BodyError::TooLarge { size: 7, memory: 6 })));
        assert!(matches!(body_in(&link, 0), Err(BodyError::File(_))));
        assert!(matches!(body_in(&folder.join("none"), 0), Err(BodyError::File(_))));
        let headers =
            r#"{"METHOD":"POST","VERSION":"HTTP/1.1","content-length":"5","x-mongrel2-upload-start":"file"}"#;
        let message = format!("m2 1 / {}:{headers},0:,", headers.len());
        assert_eq!(body_of(message.as_bytes(), &file, 5).unwrap(), b"spool", "the rest is another request");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
