//! The access log: one tnetstring list a line, as Mongrel2 writes it.

use std::io::{self, Write};

use mongrel2_wire::netstring;

use super::log_file::{LogFile, LogFileError};
use super::privileges::Owner;

/// Lines wait in memory up to this many bytes. More are written at once, without waiting for the loop.
const BUFFER: usize = 64 * 1024;

/// What one request leaves behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The request's Host header, without the port.
    pub(crate) host: Vec<u8>,
    /// The client's address.
    pub(crate) remote: Vec<u8>,
    /// The client's port.
    pub(crate) port: u16,
    /// When it ended, in seconds since 1970.
    pub(crate) time: u64,
    /// The request's method.
    pub(crate) method: Vec<u8>,
    /// The request's path.
    pub(crate) path: Vec<u8>,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub(crate) version: Vec<u8>,
    /// The response's status; 200 for requests that went to a handler.
    pub(crate) status: u16,
    /// Bytes of the response's body; of the request's body if it went to a handler.
    pub(crate) size: u64,
}

/// Appends one line to `out`.
pub(crate) fn write(out: &mut Vec<u8>, line: &Line) {
    let mut list = Vec::with_capacity(96 + line.host.len() + line.path.len());
    netstring::encode(&mut list, &line.host);
    netstring::encode(&mut list, &line.remote);
    number(&mut list, line.port.into());
    number(&mut list, line.time);
    netstring::encode(&mut list, &line.method);
    netstring::encode(&mut list, &line.path);
    netstring::encode(&mut list, &line.version);
    number(&mut list, line.status.into());
    number(&mut list, line.size);
    netstring::encode_marked(out, &list, b']');
    out.push(b'\n');
}

/// A tnetstring integer. The longest number has 20 digits.
fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut room: &mut [u8] = &mut digits;
    let before = room.len();
    let fits = write!(room, "{value}");
    debug_assert!(fits.is_ok());
    let length = before - room.len();
    netstring::encode_marked(out, &digits[..length], b'#');
}

/// The access log of a server. A full disk costs lines, which are counted, and nothing else.
#[derive(Debug)]
pub(crate) struct AccessLog {
    file: Option<LogFile>,
    buffer: Vec<u8>,
    lost: u64,
    lost_before: u64,
    is_torn: bool,
}

impl AccessLog {
    /// Writes to `file`; `None`, for the setting `disable.access_logging`, writes nothing.
    pub(crate) fn new(file: Option<LogFile>) -> Self {
        Self { file, buffer: Vec::new(), lost: 0, lost_before: 0, is_torn: false }
    }

    /// Adds a line. It is written by [`flush`](Self::flush), or at once when more than 64 KiB wait.
    pub(crate) fn push(&mut self, line: &Line) {
        if self.file.is_none() {
            return;
        }
        write(&mut self.buffer, line);
        if self.buffer.len() > BUFFER {
            self.flush();
        }
    }

    /// Whether lines wait for [`flush`](Self::flush).
    pub(crate) fn has_unwritten(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Writes the lines that wait. The loop calls it at the end of a turn.
    pub(crate) fn flush(&mut self) {
        let Some(file) = self.file.as_mut() else { return };
        if self.buffer.is_empty() {
            return;
        }
        if self.is_torn {
            // The last line was cut; a line end keeps the next one readable.
            self.buffer.insert(0, b'\n');
        }
        let (written, outcome) = write_while_possible(file, &self.buffer);
        match outcome {
            Ok(()) => {
                self.is_torn = false;
                let lost = self.lost - self.lost_before;
                if lost > 0 {
                    tracing::warn!(log = %file.path().display(), lost, "access log is written again, lines were lost");
                    self.lost_before = self.lost;
                }
            }
            Err(problem) => {
                if self.lost == self.lost_before {
                    let log = file.path().display();
                    tracing::error!(%log, %problem, "access log cannot be written, lines are lost");
                }
                let rest = &self.buffer[written..];
                let own_mark = usize::from(self.is_torn && written == 0);
                let lines = memchr::memchr_iter(b'\n', rest).count() - own_mark;
                self.lost += lines as u64;
                self.is_torn = match written {
                    0 => self.is_torn,
                    written => self.buffer[written - 1] != b'\n',
                };
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
    }

    /// Opens the file again by its name, after a rotation. The old one stays in use if that fails.
    pub(crate) fn reopen(&mut self) -> Result<(), LogFileError> {
        self.flush();
        let Some(file) = self.file.as_mut() else { return Ok(()) };
        file.reopen()?;
        self.is_torn = false;
        Ok(())
    }

    /// Makes `owner` the owner of the file. See [`LogFile::give_to`].
    pub(crate) fn give_to(&self, owner: &Owner) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.give_to(owner))
    }

    /// How many lines were lost since the start because they could not be written.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

/// How many bytes were written, and why no more were.
fn write_while_possible(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return (written, Err(problem)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::test_folder::TestFolder;
    use mongrel2_wire::tnetstring::Value;
    use std::fs;

    fn line(path: &str) -> Line {
        Line {
            host: b"localhost".to_vec(),
            remote: b"127.0.0.1".to_vec(),
            port: 40954,
            time: 1_795_290_331,
            method: b"GET".to_vec(),
            path: path.into(),
            version: b"HTTP/1.1".to_vec(),
            status: 200,
            size: 0,
        }
    }

    #[test]
    fn a_line_is_the_one_that_mongrel2_writes() {
        let mut out = Vec::new();
        write(&mut out, &line("/zz"));
        let expected =
            b"79:9:localhost,9:127.0.0.1,5:40954#10:1795290331#3:GET,3:/zz,8:HTTP/1.1,3:200#1:0#]\n";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn the_largest_numbers_and_any_bytes_can_be_read_back() {
        let mut out = Vec::new();
        write(&mut out, &Line { size: i64::MAX as u64, host: vec![0, 255, b'\n', b','], ..line("/") });
        let (value, rest) = Value::parse(&out).unwrap();
        assert_eq!(rest, b"\n");
        let Value::List(items) = value else { panic!("{value:?}") };
        assert_eq!(items[0], Value::Bytes(&[0, 255, b'\n', b',']));
        assert_eq!(items[8], Value::Int(i64::MAX));
        write(&mut out, &Line { size: u64::MAX, ..line("/") });
    }

    #[test]
    fn lines_wait_for_the_loop_and_are_written_early_when_many_wait() {
        let folder = TestFolder::new("access");
        let path = folder.path("access.log");
        let mut log = AccessLog::new(Some(LogFile::open(&path).unwrap()));
        log.push(&line("/1"));
        assert!(log.has_unwritten());
        assert_eq!(fs::read(&path).unwrap(), b"");
        log.flush();
        assert!(!log.has_unwritten());
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        (0..1000).for_each(|_| log.push(&line("/2")));
        assert!(fs::metadata(&path).unwrap().len() > 64 * 1024);
        log.flush();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1001);
        assert_eq!(log.lost(), 0);
    }

    #[test]
    fn a_full_disk_costs_counted_lines_only() {
        let mut log = AccessLog::new(Some(LogFile::open("/dev/full").unwrap()));
        (0..3).for_each(|_| log.push(&line("/")));
        log.flush();
        assert_eq!(log.lost(), 3);
        assert!(!log.has_unwritten());
        log.push(&line("/"));
        log.flush();
        assert_eq!(log.lost(), 4);
    }

    #[test]
    fn a_line_that_was_cut_does_not_spoil_the_next() {
        let folder = TestFolder::new("access-torn");
        let path = folder.path("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let size = rustix::pipe::fcntl_getpipe_size(&reader).unwrap();
        let mut log = AccessLog::new(Some(LogFile::open(&path).unwrap()));
        let one = {
            let mut out = Vec::new();
            write(&mut out, &line("/1"));
            out.len()
        };
        let pushed = size / one + 10;
        (0..pushed).for_each(|_| log.push(&line("/1")));
        log.flush();
        let lost = log.lost() as usize;
        assert!(lost >= 10, "{lost}");
        let mut content = vec![0; size];
        let filled = rustix::io::read(&reader, content.as_mut_slice()).unwrap();
        content.truncate(filled);
        log.push(&line("/2"));
        log.flush();
        let mut next = vec![0; size];
        let filled = rustix::io::read(&reader, next.as_mut_slice()).unwrap();
        content.extend_from_slice(&next[..filled]);
        let whole = content
            .split(|byte| *byte == b'\n')
            .filter(|line| Value::parse(line).is_ok_and(|(_, rest)| rest.is_empty()));
        assert_eq!(whole.count(), pushed - lost + 1);
        assert_eq!(log.lost() as usize, lost);
    }

    #[test]
    fn a_disabled_log_keeps_nothing() {
        let mut log = AccessLog::new(None);
        log.push(&line("/"));
        assert!(!log.has_unwritten());
        log.flush();
        log.reopen().unwrap();
    }
}
