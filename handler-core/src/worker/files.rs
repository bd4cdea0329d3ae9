//! Files that are answers: found beneath a root that nobody leaves, and read as they are sent.

use super::protocol::{Action, STREAM_WINDOW};
use kennel_http::file::{self, Facts, Part, Plan};
use kennel_http::{compression, media_types};
use mongrel2_wire::{Envelope, Text};
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A folder of its own, and its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kennel-files-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("root/sub")).unwrap();
            std::fs::write(path.join("secret.txt"), "secret").unwrap();
            std::fs::write(path.join("root/a.txt"), "here").unwrap();
            std::fs::write(path.join("root/sub/b.txt"), "below").unwrap();
            Self(path)
        }

        fn root(&self) -> Vec<u8> {
            self.0.join("root").into_os_string().into_encoded_bytes()
        }

        fn size_of(&self, path: &[u8]) -> Option<u64> {
            match open(Some(&self.root()), path) {
                Ok(file) => Some(File::from(file).metadata().unwrap().len()),
                Err(FileError::NotThere) => None,
                Err(problem) => panic!("{}: {problem}", path.escape_ascii()),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nothing_outside_of_its_root_is_found() {
        let folder = Folder::new("root");
        let root = folder.0.join("root");
        symlink(folder.0.join("secret.txt"), root.join("absolute")).unwrap();
        symlink("../secret.txt", root.join("relative")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(folder.size_of(b"a.txt"), Some(4));
        assert_eq!(folder.size_of(b"sub/b.txt"), Some(5));
        for path in [
            &b""[..],
            b"/",
            b".",
            b"..",
            b"../secret.txt",
            b"sub/../../secret.txt",
            b"sub/../a.txt",
            b"/etc/passwd",
            b"//etc/passwd",
            b"sub",
            b"sub/",
            b"sub//b.txt",
            b"./a.txt",
            b"a.txt/",
            b"a.txt/x",
            b"..\\secret.txt",
            b"%2e%2e/secret.txt",
            b"a.txt\0",
            b"\0",
            b"a.txt\0.png",
            b"absolute",
            b"relative",
            b"up/secret.txt",
            b"up/root/a.txt",
            b"magic/etc/passwd",
            b"loop",
            b"missing",
            b"\xff\xfe",
            &[b'a'; 300],
            &[b'a'; 5000],
        ] {
            assert_eq!(folder.size_of(path), None, "{}", path.escape_ascii());
        }
        let root = openat(CWD, &root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for path in ["absolute", "relative", "up/secret.txt", "magic/etc/passwd", "loop", "missing"] {
            assert!(walk(&root, path.as_bytes()).is_err(), "{path}");
            assert!(open_beneath(&root, path.as_bytes()).is_err(), "{path}");
        }
        assert!(walk(&root, b"sub/b.txt").is_ok() && open_beneath(&root, b"sub/b.txt").is_ok());
    }

    #[test]
    fn a_link_that_stays_below_leads_on_where_the_system_can_tell() {
        let folder = Folder::new("link");
        symlink("sub/b.txt", folder.0.join("root/inside")).unwrap();
        symlink("../a.txt", folder.0.join("root/sub/back")).unwrap();
        assert_eq!(folder.size_of(b"inside"), Some(5));
        assert_eq!(folder.size_of(b"sub/back"), Some(4));
        let root = openat(CWD, folder.0.join("root"), OFlags::PATH, Mode::empty()).unwrap();
        assert!(walk(&root, b"inside").is_err(), "step by step no link is followed");
    }

    #[test]
    fn what_is_no_plain_file_is_not_there_and_nobody_waits_for_it() {
        let folder = Folder::new("kinds");
        let pipe = folder.0.join("root/pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("root/socket")).unwrap();
        for name in ["pipe", "socket", "sub"] {
            assert_eq!(folder.size_of(name.as_bytes()), None, "{name}");
            let whole = folder.0.join("root").join(name);
            assert!(matches!(open(None, whole.as_os_str().as_bytes()), Err(FileError::NotThere)), "{name}");
        }
        for path in [&b"/dev/zero"[..], b"/dev/null", b"", b"/", b"a\0b", b"/nowhere/at/all"] {
            assert!(matches!(open(None, path), Err(FileError::NotThere)), "{}", path.escape_ascii());
        }
        assert!(matches!(open(Some(b"/nowhere/at/all"), b"a.txt"), Err(FileError::Root { .. })));
    }

    fn found(folder: &Folder, path: &str, headers: &str) -> FileAnswer {
        let message = format!("m2 1 / {}:{headers},0:,", headers.len());
        let root = folder.root();
        let asked = Asked { path: path.as_bytes(), root: Some(&root), content_type: None, conditional: true };
        find(&asked, &Envelope::parse(message.as_bytes()).unwrap()).unwrap()
    }

    /// What was pushed, in short, and the body.
    fn sent(actions: &mut Vec<String>, body: &mut Vec<u8>, action: &Action<'_>) {
        actions.push(match action {
            Action::Respond { body: whole, .. } => {
                body.extend_from_slice(whole);
                "respond".into()
            }
            Action::Begin { head, .. } => String::from_utf8_lossy(head).trim().to_owned(),
            Action::Piece { bytes, .. } => {
                body.extend_from_slice(bytes);
                "piece".into()
            }
            Action::End { .. } => "end".into(),
            Action::Abort { .. } => "abort".into(),
            other => panic!("{other:?}"),
        });
    }

    #[test]
    fn a_large_file_comes_in_pieces_as_many_as_may_be_under_way() {
        let folder = Folder::new("large");
        let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(folder.0.join("root/large"), &content).unwrap();
        let (mut actions, mut body) = (Vec::new(), Vec::new());
        let answer = found(&folder, "large", r#"{"METHOD":"GET"}"#);
        let mut push = |action: &Action<'_>| sent(&mut actions, &mut body, action);
        let mut download = answer.send(1, 200, b"", true, &mut push).unwrap().unwrap();
        assert_eq!(download.in_flight, STREAM_WINDOW);
        assert!(!download.taken(1000, &mut push), "one piece more");
        assert!(download.in_flight < STREAM_WINDOW + PIECE as usize);
        for _ in 0..7 {
            assert!(!download.taken(100_000, &mut push));
        }
        while !download.taken(PIECE as u32, &mut push) {}
        assert_eq!(actions[0], "Content-Length: 1000000");
        assert_eq!(actions.last().unwrap(), "end");
        assert!(body == content);

        let (mut actions, mut body) = (Vec::new(), Vec::new());
        let answer = found(&folder, "large", r#"{"METHOD":"HEAD"}"#);
        let mut push = |action: &Action<'_>| sent(&mut actions, &mut body, action);
        assert!(answer.send(1, 200, b"", true, &mut push).unwrap().is_none());
        assert_eq!(actions, ["Content-Length: 1000000", "end"]);
    }

    #[test]
    fn a_file_that_gets_shorter_meanwhile_is_cut_and_one_that_grows_is_not_longer() {
        let folder = Folder::new("changing");
        let path = folder.0.join("root/changing");
        for (size, last) in [(300_000, "abort"), (2_000_000, "end")] {
            std::fs::write(&path, vec![b'x'; 1_000_000]).unwrap();
            let (mut actions, mut body) = (Vec::new(), Vec::new());
            let answer = found(&folder, "changing", r#"{"METHOD":"GET"}"#);
            let mut push = |action: &Action<'_>| sent(&mut actions, &mut body, action);
            let mut download = answer.send(1, 200, b"", true, &mut push).unwrap().unwrap();
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(size).unwrap();
            while !download.taken(PIECE as u32, &mut push) {}
            assert_eq!(actions.last().unwrap(), last);
            assert!(body.len() <= 1_000_000 && (last == "abort" || body.len() == 1_000_000));
        }
        let answer = found(&folder, "a.txt", r#"{"METHOD":"GET"}"#);
        std::fs::write(folder.0.join("root/a.txt"), "x").unwrap();
        assert!(answer.send(1, 200, b"", true, &mut |action| panic!("{action:?}")).is_err());
    }

    #[test]
    fn small_files_and_compressed_ones_leave_whole() {
        let folder = Folder::new("small");
        std::fs::write(folder.0.join("root/page.html"), "<p>hello</p>".repeat(20_000)).unwrap();
        let take = |path: &str, headers: &str| {
            let (mut actions, mut body) = (Vec::new(), Vec::new());
            let answer = found(&folder, path, headers);
            let head = b"content-type: text/html\r\n";
            let mut push = |action: &Action<'_>| sent(&mut actions, &mut body, action);
            let rest = answer.send(1, 200, head, true, &mut push).unwrap();
            (actions[0].clone(), body.len(), rest.is_some())
        };
        assert_eq!(take("a.txt", r#"{"METHOD":"GET"}"#), ("respond".into(), 4, false));
        assert_eq!(take("a.txt", r#"{"METHOD":"GET","range":"bytes=1-2"}"#).1, 2);
        let (action, size, goes_on) = take("page.html", r#"{"METHOD":"GET","accept-encoding":"gzip"}"#);
        assert!(action == "respond" && size < 5000 && !goes_on, "{size}");
        assert!(take("page.html", r#"{"METHOD":"GET"}"#).0.ends_with("Content-Length: 240000"));
    }
}
