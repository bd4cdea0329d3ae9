//! What a script does with a file of a form: reads it, saves it, asks for a path of it.
//!
//! Such a file is a [place](kennel_http::forms::SentFile::place) in the request's body, so it lasts as long as that, and nobody
//! has to delete it. Only who asks for a path has a file of its own made, in [`Scratch`].

use super::body::{self, BodyError, open_spool};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How much is copied from beat to beat, bytes.
const PIECE: u64 = 16 << 20;

/// Whoever serves may read what was sent, and nobody else.
const MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// Why a file was not saved.
#[derive(Debug, Error)]
#[error("cannot save a file as `{}`: {cause}", path.display())]
pub struct SaveError {
    path: PathBuf,
    cause: io::Error,
}

/// The bytes at a place in a job's body, if a script may use so much memory, bytes; 0: any.
///
/// # Errors
///
/// [`BodyError`].
pub fn read(job: &[u8], place: &Range<u64>, memory: usize) -> Result<Vec<u8>, BodyError> {
    let size = place.end.saturating_sub(place.start);
    if memory > 0 && size > memory as u64 {
        return Err(BodyError::TooLarge { size, memory });
    }
    let mut bytes = Vec::with_capacity(size as usize);
    copy(job, place, &mut bytes, || {})?;
    Ok(bytes)
}

/// Saves what is at a place in a job's body as a file that only this user may read. What was there before is
/// replaced at once, when all of it is written; a link is replaced and not followed. `beat` is called from time to time: a slow
/// disk is no script that hangs.
///
/// # Errors
///
/// [`SaveError`]; then what was there before still is.
pub fn save(job: &[u8], place: &Range<u64>, path: &Path, beat: impl FnMut()) -> Result<(), SaveError> {
    let failed = |cause| SaveError { path: path.to_owned(), cause };
    let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "this names no file")));
    };
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut beside = std::ffi::OsString::from(format!(".kennel-{}-", std::process::id()));
    beside.push(name);
    let copy_to = |file: &mut File| copy(job, place, file, beat);
    replace(path, folder, &folder.join(beside), copy_to).map_err(failed)
}

/// Puts a file in the place of what is at `path`, once `write` has written it. `beside` is a name in the same folder that may be
/// used meanwhile.
fn replace(
    path: &Path,
    folder: &Path,
    beside: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // A file without a name is gone if this process is killed while it writes. Not every file system has them.
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    if let Ok(file) = open(folder, flags, MODE) {
        let mut file = File::from(file);
        write(&mut file)?;
        let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
        let link = |to: &Path| linkat(CWD, &nameless, CWD, to, AtFlags::SYMLINK_FOLLOW);
        return match link(path) {
            Err(rustix::io::Errno::EXIST) => {
                link(beside)?;
                rename(beside, path)
            }
            done => Ok(done?),
        };
    }
    let mut file = create(beside)?;
    if let Err(problem) = write(&mut file) {
        let _ = fs::remove_file(beside);
        return Err(problem);
    }
    rename(beside, path)
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).inspect_err(|_| {
        let _ = fs::remove_file(from);
    })
}

/// Makes a file that was not there.
fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, MODE)?))
}

/// Copies a place in a job's body, from file to file without a detour through this process.
fn copy(job: &[u8], place: &Range<u64>, to: &mut impl Write, mut beat: impl FnMut()) -> io::Result<()> {
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the body is shorter than it was");
    if let Some((mut file, _)) = open_spool(job)? {
        file.seek(SeekFrom::Start(place.start))?;
        let mut left = place.end.saturating_sub(place.start);
        while left > 0 {
            let copied = io::copy(&mut (&file).take(left.min(PIECE)), to)?;
            if copied == 0 {
                return Err(short());
            }
            left -= copied;
            beat();
        }
        return Ok(());
    }
    let body = body::in_message(job);
    let bytes = usize::try_from(place.start).ok().zip(usize::try_from(place.end).ok());
    let bytes = bytes.and_then(|(start, end)| body.get(start..end.max(start))).ok_or_else(short)?;
    to.write_all(bytes)
}

/// The files that a worker has made for scripts which asked for a path. Each is deleted when its job ends; the hub clears
/// away what a worker leaves that dies.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    made: Vec<(u64, PathBuf)>,
    count: u64,
    process: u32,
}

impl Scratch {
    /// The files of this process, within a folder of the hub's; an empty one: within the system's for such things.
    pub fn new(folder: &str) -> Self {
        let process = std::process::id();
        let folder = match folder.is_empty() {
            true => std::env::temp_dir().join(format!("kennel-{process}")),
            false => Self::folder_of(folder, process),
        };
        Self { folder, made: Vec::new(), count: 0, process }
    }

    /// Where a worker with this process id keeps its files.
    pub fn folder_of(folder: &str, process: u32) -> PathBuf {
        Path::new(folder).join(process.to_string())
    }

    /// Makes a file of what is at a place in a job's body, which goes when [`forget`](Self::forget) names its serial; `beat`
    /// as for [`save`].
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn make(
        &mut self,
        serial: u64,
        job: &[u8],
        place: &Range<u64>,
        beat: impl FnMut(),
    ) -> io::Result<PathBuf> {
        self.count += 1;
        let path = self.folder.join(self.count.to_string());
        let mut file = match create(&path) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(&self.folder)?;
                create(&path)?
            }
            file => file?,
        };
        self.made.push((serial, path.clone()));
        copy(job, place, &mut file, beat)?;
        Ok(path)
    }

    /// Whether there is nothing to forget.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Deletes the files of a job that has ended.
    pub fn forget(&mut self, serial: u64) {
        self.forget_all(|known| known == serial);
    }

    fn forget_all(&mut self, is_over: impl Fn(u64) -> bool) {
        // A child that a script forked deletes nothing of its parent's.
        if self.process == std::process::id() {
            let over = self.made.extract_if(.., |(serial, _)| is_over(*serial));
            over.for_each(|(_, path)| _ = fs::remove_file(path));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.forget_all(|_| true);
        if self.count > 0 && self.process == std::process::id() {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::{FRAME_HEAD, Handler, encode_job};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kennel-sent-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A job with this body, in its message or in a file.
    fn job(body: &str, spool: Option<&Path>) -> Vec<u8> {
        let (mut job, in_message) = (Vec::new(), if spool.is_some() { "" } else { body });
        let message = format!("m2 1 / 2:{{}},{}:{in_message},", in_message.len());
        if let Some(spool) = spool {
            fs::write(spool, body).unwrap();
        }
        let spool = spool.map_or(&b""[..], |path| path.as_os_str().as_bytes());
        encode_job(&mut job, 1, Handler::Route(0), "", [].into_iter(), spool, message.as_bytes());
        job.split_off(FRAME_HEAD)
    }

    #[test]
    fn a_file_is_read_from_wherever_the_body_is() {
        let folder = Folder::new("read");
        let spool = folder.0.join("spool");
        for job in [job("0123456789", None), job("0123456789", Some(&spool))] {
            assert_eq!(read(&job, &(2..5), 0).unwrap(), b"234");
            assert_eq!(read(&job, &(2..2), 0).unwrap(), b"");
            assert!(matches!(read(&job, &(2..5), 2), Err(BodyError::TooLarge { size: 3, memory: 2 })));
            for place in [9..11, 20..21, u64::MAX - 1..u64::MAX] {
                assert!(matches!(read(&job, &place, 0), Err(BodyError::File(_))));
            }
        }
        let job = job("0123456789", Some(&spool));
        fs::remove_file(&spool).unwrap();
        assert!(read(&job, &(2..5), 0).is_err(), "its request is over");
    }

    #[test]
    fn a_saved_file_replaces_what_was_there_and_follows_no_link() {
        let folder = Folder::new("save");
        let job = job("0123456789", None);
        let (path, link, victim) = (folder.0.join("a"), folder.0.join("link"), folder.0.join("victim"));
        save(&job, &(2..5), &path, || {}).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"234");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        save(&job, &(0..1), &path, || {}).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &link).unwrap();
        save(&job, &(2..5), &link, || {}).unwrap();
        assert_eq!(
            (fs::read(&victim).unwrap(), fs::read(&link).unwrap()),
            (b"precious".into(), b"234".into())
        );
        assert_eq!(folder.names(), ["a", "link", "victim"], "nothing else is left");

        for wrong in [folder.0.clone(), folder.0.join("none/x"), folder.0.join(".."), folder.0.join("x/")] {
            let problem = save(&job, &(2..5), &wrong, || {}).unwrap_err();
            assert!(problem.to_string().contains("cannot save a file as"), "{problem}");
        }
        assert!(save(&job, &(9..20), &path, || {}).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"0", "what was there before still is");
        assert_eq!(folder.names(), ["a", "link", "victim"]);
    }

    #[test]
    fn who_copies_much_shows_that_he_is_at_work() {
        let folder = Folder::new("beat");
        let (spool, saved) = (folder.0.join("spool"), folder.0.join("saved"));
        let job = job("", Some(&spool));
        let size = 2 * PIECE + 1;
        File::options().write(true).open(&spool).unwrap().set_len(size + 10).unwrap();
        let mut beats = 0;
        save(&job, &(5..size + 5), &saved, || beats += 1).unwrap();
        assert_eq!((beats, saved.metadata().unwrap().len()), (3, size));
    }

    #[test]
    fn a_file_with_a_path_goes_with_its_job() {
        let folder = Folder::new("scratch");
        let job = job("0123456789", None);
        let mut scratch = Scratch::new(folder.0.to_str().unwrap());
        assert!(folder.names().is_empty(), "nobody has asked yet");
        let (first, second) =
            (scratch.make(1, &job, &(2..5), || {}).unwrap(), scratch.make(2, &job, &(0..1), || {}).unwrap());
        assert_eq!((fs::read(&first).unwrap(), fs::read(&second).unwrap()), (b"234".into(), b"0".into()));
        assert_eq!(first.parent().unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(first.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        scratch.forget(1);
        assert!(!first.exists() && second.exists() && !scratch.is_empty());
        assert!(scratch.make(3, &job, &(9..20), || {}).is_err());
        drop(scratch);
        assert!(folder.names().is_empty());
    }
}
