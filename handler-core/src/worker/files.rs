//! Files that are answers: found beneath a root that nobody leaves, and read as they are sent.

use super::protocol::{Action, STREAM_WINDOW};
use crate::http::file::{self, Facts, Part, Plan};
use crate::http::{compression, media_types};
use crate::protocol::{Envelope, Text};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// An answer up to this size leaves whole, in one piece with its head.
const WHOLE: u64 = 64 << 10;
/// Larger ones are read in pieces of this size, bytes.
const PIECE: u64 = 128 << 10;

/// Why a file is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no file of this name that may be had: it is missing, a folder, a device, unreadable, or outside of its
    /// root. A client is told no more than that.
    #[error("there is no such file")]
    NotThere,
    /// The root itself is not there.
    #[error("the root `{root}` cannot be opened: {problem}")]
    Root {
        /// As the script named it.
        root: String,
        /// Why.
        problem: io::Error,
    },
    /// The system refused to read what is there.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// What a script asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The name: below `root`, or of any file when there is none.
    pub path: &'a [u8],
    /// The folder that is not left: neither by `..` nor by a link.
    pub root: Option<&'a [u8]>,
    /// Its Content-Type; by the end of its name when there is none.
    pub content_type: Option<&'a [u8]>,
    /// Conditions and ranges of the request count.
    pub conditional: bool,
}

/// A file as the answer to one request.
#[derive(Debug)]
pub struct FileAnswer {
    file: File,
    plan: Plan,
    head_only: bool,
    /// The client takes gzip.
    takes_gzip: bool,
}

/// What is still to be sent of a file.
#[derive(Debug)]
pub struct Download {
    serial: u64,
    file: File,
    parts: VecDeque<Part>,
    /// Bytes that the hub has not passed on.
    in_flight: usize,
    buffer: Vec<u8>,
}

/// Opens what a script asks for, and plans the answer to the request in `envelope`.
///
/// # Errors
///
/// [`FileError`].
pub fn find(asked: &Asked<'_>, envelope: &Envelope<'_>) -> Result<FileAnswer, FileError> {
    let file = File::from(open(asked.root, asked.path)?);
    let stat = fstat(&file).map_err(io::Error::from)?;
    let modified = u64::try_from(stat.st_mtime).ok().map(|seconds| (seconds, stat.st_mtime_nsec as u32));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let content_type = asked.content_type.unwrap_or_else(|| media_types::of_name(asked.path).as_bytes());
    let facts = Facts { size, modified, now, content_type };
    let first = |name: &[u8]| envelope.headers.get(name).and_then(|values| values.first()).map(Text::bytes);
    let method = first(b"METHOD").unwrap_or_default();
    let plan = file::plan(&envelope.headers, &method, asked.conditional, &facts, boundary);
    let takes_gzip = first(b"accept-encoding").is_some_and(|value| compression::takes_gzip(&value));
    Ok(FileAnswer { file, plan, head_only: method == &b"HEAD"[..], takes_gzip })
}

/// A text that nobody can have put into a file.
fn boundary() -> String {
    format!("{:016x}{:016x}", RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a file for reading. It does not wait for anybody to write into a pipe.
fn open(root: Option<&[u8]>, path: &[u8]) -> Result<OwnedFd, FileError> {
    let opened = match root {
        None if path.contains(&0) => return Err(FileError::NotThere),
        None => openat(CWD, OsStr::from_bytes(path), FLAGS, Mode::empty()),
        Some(root) => {
            if !is_plain(path) {
                return Err(FileError::NotThere);
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let folder = openat(CWD, OsStr::from_bytes(root), flags, Mode::empty());
            let folder = folder.map_err(|problem| {
                let root = root.escape_ascii().to_string();
                FileError::Root { root, problem: problem.into() }
            })?;
            match open_beneath(&folder, path) {
                // An old kernel, or a sandbox that knows of no such call.
                Err(Errno::NOSYS | Errno::PERM) => walk(&folder, path),
                opened => opened,
            }
        }
    };
    let file = match opened {
        Ok(file) => file,
        // The system is out of something, or its disk fails: that is not the client's business.
        Err(problem @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::INTR)) => {
            return Err(FileError::Unreadable(problem.into()));
        }
        Err(_) => return Err(FileError::NotThere),
    };
    match FileType::from_raw_mode(fstat(&file).map_err(io::Error::from)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(FileError::NotThere),
    }
}

/// Whether a name leads nowhere but down, on any system.
fn is_plain(path: &[u8]) -> bool {
    !path.iter().any(|b| matches!(b, 0 | b'\\'))
        && path.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Opens what is below a folder; a link on the way may lead to what is below it too.
fn open_beneath(folder: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..8 {
        match openat2(&folder, OsStr::from_bytes(path), FLAGS, Mode::empty(), resolve) {
            // Something on the way was renamed meanwhile.
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The same step by step, past no link at all.
fn walk(folder: impl AsFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = path.split(|b| *b == b'/').peekable();
    let mut at: Option<OwnedFd> = None;
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_some() { step } else { FLAGS | OFlags::NOFOLLOW };
        let from = at.as_ref().map_or(folder.as_fd(), AsFd::as_fd);
        at = Some(openat(from, OsStr::from_bytes(part), flags, Mode::empty())?);
    }
    at.ok_or(Errno::NOENT)
}

impl FileAnswer {
    /// 200, 206, 304, 412 or 416.
    pub fn status(&self) -> u16 {
        self.plan.status
    }

    /// What its head says of the file. Without a Content-Type there is none.
    pub fn head(&self) -> &[(&'static str, Vec<u8>)] {
        &self.plan.head
    }

    /// Sends the answer to job `serial`, with a status and header lines that are the script's by now: all of it, or as
    /// much as may be under way, and then gives the rest. `compress`: it may be compressed.
    ///
    /// # Errors
    ///
    /// When the file cannot be read; nothing is sent then.
    pub fn send(
        self,
        serial: u64,
        status: u16,
        head: &[u8],
        compress: bool,
        push: &mut dyn FnMut(&Action<'_>),
    ) -> io::Result<Option<Download>> {
        let length = self.plan.length;
        let compressed = compress
            && self.takes_gzip
            && compression::is_worth(status, head, usize::try_from(length).unwrap_or(usize::MAX));
        if length <= WHOLE || compressed {
            let mut body = Vec::with_capacity(length as usize);
            for part in &self.plan.parts {
                match part {
                    Part::Bytes(bytes) => body.extend_from_slice(bytes),
                    Part::Span(span) => {
                        let at = body.len();
                        body.resize(at + span.length as usize, 0);
                        self.file.read_exact_at(&mut body[at..], span.start)?;
                    }
                }
            }
            let accept: &[u8] = if self.takes_gzip { b"gzip" } else { b"" };
            match compression::apply(status, head, &body, accept).filter(|_| compress) {
                Some((head, gzip)) => {
                    let body = gzip.as_deref().unwrap_or(&body);
                    push(&Action::Respond { serial, status, head: &head, body });
                }
                None => push(&Action::Respond { serial, status, head, body: &body }),
            }
            return Ok(None);
        }
        let mut lines = head.to_vec();
        lines.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        push(&Action::Begin { serial, status, head: &lines });
        if self.head_only {
            push(&Action::End { serial });
            return Ok(None);
        }
        let parts = self.plan.parts.into();
        let mut download = Download { serial, file: self.file, parts, in_flight: 0, buffer: Vec::new() };
        Ok((!download.go_on(push)).then_some(download))
    }
}

impl Download {
    /// The hub has passed on so many bytes: sends as many more. `true`: the answer is over.
    pub fn taken(&mut self, bytes: u32, push: &mut dyn FnMut(&Action<'_>)) -> bool {
        self.in_flight = self.in_flight.saturating_sub(bytes as usize);
        self.go_on(push)
    }

    /// Ends the answer, whose client has left.
    pub fn give_up(self, push: &mut dyn FnMut(&Action<'_>)) {
        push(&Action::Abort { serial: self.serial });
    }

    /// Sends what may be under way. `true`: the answer is over.
    fn go_on(&mut self, push: &mut dyn FnMut(&Action<'_>)) -> bool {
        let serial = self.serial;
        while self.in_flight < STREAM_WINDOW {
            match self.read_piece() {
                Ok(true) => {
                    push(&Action::Piece { serial, bytes: &self.buffer });
                    self.in_flight += self.buffer.len();
                }
                Ok(false) => {
                    push(&Action::End { serial });
                    return true;
                }
                // It became shorter, or its disk has failed: the client sees that it does not have all.
                Err(_) => {
                    push(&Action::Abort { serial });
                    return true;
                }
            }
        }
        false
    }

    /// Puts the next piece into the buffer. `false`: there is none.
    fn read_piece(&mut self) -> io::Result<bool> {
        match self.parts.front_mut() {
            None => return Ok(false),
            Some(Part::Bytes(bytes)) => {
                self.buffer.clear();
                self.buffer.append(bytes);
                self.parts.pop_front();
            }
            Some(Part::Span(span)) => {
                let size = span.length.min(PIECE);
                self.buffer.resize(size as usize, 0);
                let start = span.start;
                span.start += size;
                span.length -= size;
                if span.length == 0 {
                    self.parts.pop_front();
                }
                self.file.read_exact_at(&mut self.buffer, start)?;
            }
        }
        Ok(true)
    }
}
