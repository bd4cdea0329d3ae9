//! A body read in pieces, wherever it is and whether or not all of it is there yet.
//!
//! Workers make a [`BodyReader`] when a script first reads, hand it what the hub says about the body, and send what it
//! [wants](BodyReader::take_want). It never waits: where nothing is there it says so, and the language decides how its
//! script waits. A body of any size needs the memory of one piece, or of the hub's window when it comes in parts.

use super::body::{BodyAt, open_file};
use super::protocol::{BODY_WINDOW, Order};
use mongrel2_wire::{Envelope, Head};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The hub is told of fewer bytes that were taken only when nothing waits to be.
const GRAIN: u32 = 64 << 10;

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes, at least one.
    Bytes(Vec<u8>),
    /// Nothing is there yet: send what the reader wants, and ask again when the hub has said something about it.
    NotYet,
    /// That was all.
    End,
    /// The client has left, or the hub has given the body up: the rest never comes.
    Aborted,
}

/// A body that is being read.
#[derive(Debug)]
pub struct BodyReader {
    source: Source,
    /// Bytes that were given out.
    taken: u64,
    /// Bytes that the body will have, if the client has said so.
    announced: Option<u64>,
    aborted: bool,
}

#[derive(Debug)]
enum Source {
    /// The message has it.
    Message { size: u64 },
    /// A file, of which `there` bytes may be read; all of them are there when it is whole.
    File { path: PathBuf, file: Option<File>, there: u64, whole: bool, asked: bool },
    /// The beginning is in the message, the rest comes.
    Parts { first: u64, queue: VecDeque<Vec<u8>>, front: usize, got: u64, whole: bool, wanted: Wanted },
}

/// What the hub was told that there is room for.
#[derive(Debug, Default)]
struct Wanted {
    begun: bool,
    /// Bytes taken since.
    untold: u32,
}

impl BodyReader {
    /// Begins to read the body of a job, the payload of its order.
    ///
    /// # Errors
    ///
    /// When it is in a file that cannot be opened.
    pub fn new(job: &[u8]) -> io::Result<Self> {
        let Ok(Order::Job { spool, message, .. }) = Order::read_job(job) else {
            return Ok(Self {
                source: Source::Message { size: 0 },
                taken: 0,
                announced: Some(0),
                aborted: false,
            });
        };
        let envelope = Envelope::parse(message).ok();
        let first = envelope.map_or(0, |envelope| envelope.body.len() as u64);
        let announced =
            || envelope.and_then(|envelope| Head::read(&envelope).ok()?.spool_size).map(u64::from);
        let (source, announced) = match BodyAt::read(spool) {
            BodyAt::Message => (Source::Message { size: first }, Some(first)),
            BodyAt::File(path) => {
                let (file, size) = open_file(path, announced())?;
                let file = Some(file);
                (Source::File { path: path.into(), file, there: size, whole: true, asked: false }, Some(size))
            }
            BodyAt::Growing(path) => {
                let (path, file) = (path.into(), None);
                (Source::File { path, file, there: 0, whole: false, asked: false }, announced())
            }
            BodyAt::Parts => {
                let (queue, wanted) = (VecDeque::new(), Wanted::default());
                (Source::Parts { first, queue, front: 0, got: first, whole: false, wanted }, announced())
            }
        };
        Ok(Self { source, taken: 0, announced, aborted: false })
    }

    /// Takes up to `most` bytes of what is there. `job` is what the reader was made of.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn read(&mut self, job: &[u8], most: usize) -> io::Result<Piece> {
        if self.aborted {
            return Ok(Piece::Aborted);
        }
        let most = most.max(1);
        let (taken, announced) = (self.taken, self.announced);
        let bytes = match &mut self.source {
            Source::Message { .. } => from_message(job, taken, most),
            Source::File { path, file, there, whole, .. } => {
                let end = announced.unwrap_or(u64::MAX).min(*there);
                let room = end.saturating_sub(taken).min(most as u64);
                let bytes = if room == 0 { Vec::new() } else { from_file(path, file, *whole, room)? };
                if bytes.is_empty() && !*whole {
                    return Ok(Piece::NotYet);
                }
                bytes
            }
            Source::Parts { first, queue, front, whole, wanted, .. } => {
                if taken < *first {
                    from_message(job, taken, most)
                } else {
                    match from_queue(queue, front, most) {
                        Some(bytes) => {
                            wanted.untold = wanted.untold.saturating_add(bytes.len() as u32);
                            bytes
                        }
                        None if !*whole => return Ok(Piece::NotYet),
                        None => Vec::new(),
                    }
                }
            }
        };
        self.taken += bytes.len() as u64;
        Ok(if bytes.is_empty() { Piece::End } else { Piece::Bytes(bytes) })
    }

    /// What to tell the hub after a read, as [`Action::Want`](super::protocol::Action::Want).
    pub fn take_want(&mut self) -> Option<u32> {
        match &mut self.source {
            Source::Message { .. } | Source::Parts { whole: true, .. } | Source::File { whole: true, .. } => {
                None
            }
            // Only who has read all that it was told of asks how far the file is now.
            Source::File { there, asked, .. } => {
                (self.taken >= *there && !std::mem::replace(asked, true)).then_some(0)
            }
            Source::Parts { queue, wanted, .. } => {
                if !std::mem::replace(&mut wanted.begun, true) {
                    return Some(BODY_WINDOW);
                }
                let worth = wanted.untold >= GRAIN || (wanted.untold > 0 && queue.is_empty());
                worth.then(|| std::mem::take(&mut wanted.untold))
            }
        }
    }

    /// The next part has come.
    pub fn handle_part(&mut self, bytes: &[u8], last: bool) {
        if let Source::Parts { queue, got, whole, .. } = &mut self.source {
            *got += bytes.len() as u64;
            *whole |= last;
            if !bytes.is_empty() {
                queue.push_back(bytes.to_vec());
            }
        }
    }

    /// The file has grown to so many bytes, or is whole.
    pub fn handle_grown(&mut self, size: u64, is_whole: bool) {
        if let Source::File { there, whole, asked, .. } = &mut self.source {
            *asked = false;
            *whole |= is_whole;
            *there = if is_whole { u64::MAX } else { size.max(*there) };
        }
    }

    /// The client is gone: unless the body was whole, the rest never comes.
    pub fn handle_gone(&mut self) {
        self.aborted |= !self.is_whole();
    }

    fn is_whole(&self) -> bool {
        match &self.source {
            Source::Message { .. } => true,
            Source::File { whole, .. } | Source::Parts { whole, .. } => *whole,
        }
    }

    /// Bytes of the body that have arrived, as far as is known here.
    pub fn received(&self) -> u64 {
        match &self.source {
            Source::Message { size } => *size,
            Source::File { there: u64::MAX, file, .. } => {
                let there =
                    file.as_ref().and_then(|file| Some(file.metadata().ok()?.len())).unwrap_or(self.taken);
                there.min(self.announced.unwrap_or(u64::MAX))
            }
            Source::File { there, .. } => (*there).min(self.announced.unwrap_or(u64::MAX)),
            Source::Parts { got, .. } => *got,
        }
    }

    /// Bytes that the body has, or will have; `None`: the client sends chunks, and has not ended.
    pub fn size(&self) -> Option<u64> {
        self.announced.or_else(|| self.is_whole().then(|| self.received()))
    }
}

fn from_message(job: &[u8], taken: u64, most: usize) -> Vec<u8> {
    let Ok(Order::Job { message, .. }) = Order::read_job(job) else { return Vec::new() };
    let body = Envelope::parse(message).map_or(&b""[..], |envelope| envelope.body);
    let rest = body.get(taken as usize..).unwrap_or_default();
    rest[..rest.len().min(most)].to_vec()
}

/// Reads on in a file. What cannot be opened before it is whole may be later: its mode is not set at once.
fn from_file(path: &Path, file: &mut Option<File>, whole: bool, room: u64) -> io::Result<Vec<u8>> {
    if file.is_none() {
        match open_file(path, None) {
            Ok((found, _)) => *file = Some(found),
            Err(_) if !whole => return Ok(Vec::new()),
            Err(problem) => return Err(problem),
        }
    }
    let mut bytes = Vec::new();
    if let Some(file) = file {
        bytes.reserve(room.min(1 << 20) as usize);
        file.take(room).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn from_queue(queue: &mut VecDeque<Vec<u8>>, front: &mut usize, most: usize) -> Option<Vec<u8>> {
    let part = queue.front_mut()?;
    if *front == 0 && part.len() <= most {
        return queue.pop_front();
    }
    let end = part.len().min(*front + most);
    let bytes = part[*front..end].to_vec();
    *front = end;
    if end == part.len() {
        queue.pop_front();
        *front = 0;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{FRAME_HEAD, Handler, encode_job};
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn job(spool: &[u8], headers: &str, body: &str) -> Vec<u8> {
        let headers = format!(r#"{{"METHOD":"POST","VERSION":"HTTP/1.1"{headers}}}"#);
        let message = format!("m2 1 / {}:{headers},{}:{body},", headers.len(), body.len());
        let mut frame = Vec::new();
        encode_job(&mut frame, 1, Handler::Route(0), "", [].into_iter(), spool, message.as_bytes());
        frame.split_off(FRAME_HEAD)
    }

    fn bytes(text: &str) -> Piece {
        Piece::Bytes(text.into())
    }

    #[test]
    fn a_body_in_the_message_is_there_at_once() {
        let job = job(b"", "", "abcdef");
        let mut body = BodyReader::new(&job).unwrap();
        assert_eq!((body.received(), body.size()), (6, Some(6)));
        assert_eq!(body.read(&job, 4).unwrap(), bytes("abcd"));
        assert_eq!(body.read(&job, 4).unwrap(), bytes("ef"));
        body.handle_gone();
        assert_eq!(body.read(&job, 4).unwrap(), Piece::End);
        assert_eq!(body.take_want(), None);
    }

    #[test]
    fn parts_are_asked_for_as_they_are_taken() {
        let job = job(b"+", r#","UPLOAD_STREAM":"0","content-length":"200000""#, "abc");
        let mut body = BodyReader::new(&job).unwrap();
        assert_eq!((body.received(), body.size()), (3, Some(200_000)));
        assert_eq!(body.read(&job, 2).unwrap(), bytes("ab"));
        assert_eq!(body.take_want(), Some(BODY_WINDOW));
        assert_eq!(body.read(&job, 2).unwrap(), bytes("c"));
        assert_eq!(body.read(&job, 2).unwrap(), Piece::NotYet);
        assert_eq!(body.take_want(), None);
        body.handle_part(b"defgh", false);
        body.handle_part(b"ij", false);
        assert_eq!(body.received(), 10);
        assert_eq!(body.read(&job, 3).unwrap(), bytes("def"));
        assert_eq!(body.take_want(), None, "more is there");
        assert_eq!(body.read(&job, 3).unwrap(), bytes("gh"));
        assert_eq!(body.read(&job, 3).unwrap(), bytes("ij"));
        assert_eq!(body.take_want(), Some(7));
        body.handle_part(&vec![b'x'; 100_000], true);
        assert_eq!(body.read(&job, 70_000).map(|_| ()).unwrap(), ());
        assert_eq!(body.take_want(), None, "it is whole");
        body.handle_gone();
        assert_eq!(body.read(&job, 1 << 20).unwrap(), Piece::Bytes(vec![b'x'; 30_000]));
        assert_eq!(body.read(&job, 1).unwrap(), Piece::End);
    }

    #[test]
    fn a_body_whose_client_leaves_is_aborted() {
        let job = job(b"+", r#","UPLOAD_STREAM":"0","transfer-encoding":"chunked""#, "");
        let mut body = BodyReader::new(&job).unwrap();
        assert_eq!(body.size(), None);
        body.handle_part(b"abc", false);
        body.handle_gone();
        assert_eq!(body.read(&job, 9).unwrap(), Piece::Aborted);
    }

    #[test]
    fn a_file_is_read_as_far_as_it_has_grown() {
        let path = std::env::temp_dir().join(format!("kennel-reader-{}", std::process::id()));
        std::fs::write(&path, "abcdefgh").unwrap();
        let spool = [b"+", path.as_os_str().as_bytes()].concat();
        let headers = r#","content-length":"7","x-mongrel2-upload-start":"x""#;
        let job_growing = job(&spool, headers, "");
        let mut body = BodyReader::new(&job_growing).unwrap();
        assert_eq!((body.received(), body.size()), (0, Some(7)));
        assert_eq!(body.read(&job_growing, 9).unwrap(), Piece::NotYet);
        assert_eq!((body.take_want(), body.take_want()), (Some(0), None));
        body.handle_grown(3, false);
        assert_eq!((body.received(), body.take_want()), (3, None));
        assert_eq!(body.read(&job_growing, 9).unwrap(), bytes("abc"));
        assert_eq!(body.take_want(), Some(0));
        body.handle_grown(0, true);
        assert_eq!(body.read(&job_growing, 2).unwrap(), bytes("de"));
        assert_eq!(body.read(&job_growing, 9).unwrap(), bytes("fg"), "the rest is another request");
        assert_eq!(body.read(&job_growing, 9).unwrap(), Piece::End);
        assert_eq!(body.received(), 7);

        let whole = job(path.as_os_str().as_bytes(), headers, "");
        let mut body = BodyReader::new(&whole).unwrap();
        assert_eq!((body.received(), body.size()), (7, Some(7)));
        assert_eq!(body.read(&whole, 100).unwrap(), bytes("abcdefg"));

        // One that cannot be opened may be later; when it is whole that is an error.
        std::fs::remove_file(&path).unwrap();
        let mut body = BodyReader::new(&job_growing).unwrap();
        body.handle_grown(3, false);
        assert_eq!(body.read(&job_growing, 9).unwrap(), Piece::NotYet);
        body.handle_grown(3, true);
        assert!(body.read(&job_growing, 9).is_err());
        assert!(BodyReader::new(&whole).is_err());
    }
}
