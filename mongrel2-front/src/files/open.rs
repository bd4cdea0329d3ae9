//! A name below a folder as an open file, however the name or its links try to leave the folder.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// How often a lookup is tried that a rename on its way disturbed.
const ATTEMPTS: usize = 4;

/// Does not wait for the other end of a pipe, should a file have become one.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::CLOEXEC).union(OFlags::DIRECTORY);

/// What a name leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file.
    File {
        /// Open for reading.
        file: File,
        /// Bytes.
        size: u64,
        /// When it was last changed, seconds since 1970 and nanoseconds; `None`: before.
        modified: Option<(u64, u32)>,
    },
    /// A folder.
    Folder,
}

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Nothing that this server serves is there.
    NotThere,
    /// The system has no descriptor or memory now.
    Busy,
    /// The disk does not say.
    Broken(Errno),
}

impl From<Errno> for Missing {
    fn from(problem: Errno) -> Self {
        match problem {
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR => Self::Busy,
            Errno::IO | Errno::STALE | Errno::TIMEDOUT => Self::Broken(problem),
            _ => Self::NotThere,
        }
    }
}

impl From<io::Error> for Missing {
    fn from(problem: io::Error) -> Self {
        Errno::from_io_error(&problem).map_or(Self::NotThere, Self::from)
    }
}

/// Opens `name` below the folder `base`. Links and `..` count as long as they do not lead out of it. What is neither a
/// file nor a folder is not opened at all.
pub(super) fn open(base: &Path, name: &[u8]) -> Result<Found, Missing> {
    let folder = openat(CWD, base, FOLDER, Mode::empty())?;
    // Opening a pipe would wake who waits at its other end. This may look outside, but says nothing of what it sees.
    let kind = kind(&statat(&folder, OsStr::from_bytes(name), AtFlags::empty())?);
    let flags = match kind {
        FileType::RegularFile => FILE,
        FileType::Directory => FOLDER,
        _ => return Err(Missing::NotThere),
    };
    let opened = match beneath(&folder, name, flags) {
        // An old kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => by_real_name(base, name, flags),
        // It leads out, or it is an absolute link that leads back in.
        Err(Errno::XDEV) => by_real_name(base, name, flags),
        opened => opened.map_err(Missing::from),
    }?;
    if flags == FOLDER {
        return Ok(Found::Folder);
    }
    let stat = fstat(&opened)?;
    if self::kind(&stat) != FileType::RegularFile {
        return Err(Missing::NotThere);
    }
    let modified = u64::try_from(stat.st_mtime).ok().map(|seconds| (seconds, stat.st_mtime_nsec as u32));
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    Ok(Found::File { file: File::from(opened), size, modified })
}

fn kind(stat: &rustix::fs::Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn beneath(folder: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..ATTEMPTS {
        match openat2(&folder, OsStr::from_bytes(name), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// Opens what `name` really is, without its links and `..`, if that is in what `base` really is. The walk to it follows
/// no link, so a link that is put there meanwhile leads nowhere.
fn by_real_name(base: &Path, name: &[u8], flags: OFlags) -> Result<OwnedFd, Missing> {
    let real = fs::canonicalize(base.join(OsStr::from_bytes(name)))?;
    let base = fs::canonicalize(base)?;
    let inside = real.strip_prefix(&base).map_err(|_| Missing::NotThere)?;
    let mut at = openat(CWD, &base, FOLDER, Mode::empty())?;
    let mut parts = inside.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(part) = part else { return Err(Missing::NotThere) };
        let flags = if parts.peek().is_some() { FOLDER } else { flags };
        at = openat(&at, part, flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::super::folder::tests::Scratch;
    use super::*;
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    fn scratch() -> Scratch {
        let scratch = Scratch::new();
        let at = scratch.path();
        fs::create_dir_all(at.join("base/d")).unwrap();
        fs::create_dir_all(at.join("base-old")).unwrap();
        for name in ["secret", "base-old/x", "base/a", "base/d/b"] {
            fs::write(at.join(name), name).unwrap();
        }
        let link = |target: &Path, name: &str| symlink(target, at.join("base").join(name)).unwrap();
        link(Path::new("d/../a"), "inside");
        link(&at.join("base/d"), "absolute");
        link(Path::new("../secret"), "out");
        link(&at.join("secret"), "absolute-out");
        link(Path::new(".."), "up");
        link(Path::new("../base/a"), "out-and-in");
        link(Path::new("loop"), "loop");
        link(Path::new("nowhere"), "dangling");
        link(Path::new("/proc/self/root"), "magic");
        scratch
    }

    /// Both ways, which must agree.
    fn opened(base: &Path, name: &str) -> bool {
        let found = open(base, name.as_bytes());
        let walked = by_real_name(base, name.as_bytes(), FILE);
        assert_eq!(found.is_ok(), walked.is_ok(), "{name}: {found:?} {walked:?}");
        found.is_ok()
    }

    #[test]
    fn nothing_outside_of_the_folder_is_opened() {
        let scratch = scratch();
        let base = scratch.path().join("base");
        for name in [
            "../secret",
            "d/../../secret",
            "../base-old/x",
            "out",
            "absolute-out",
            "up/secret",
            "magic/etc/passwd",
            "..",
            "up",
            "loop",
            "dangling",
            "missing",
            "a/",
            "a/b",
            "/etc/passwd",
        ] {
            assert!(!opened(&base, name), "{name}");
        }
        assert!(matches!(open(&base, &[b'a'; 300]), Err(Missing::NotThere)));
    }

    #[test]
    fn links_and_dots_inside_the_folder_count() {
        let scratch = scratch();
        let base = scratch.path().join("base");
        for name in ["a", "./a", "d//b", "d/../a", "inside", "absolute/b", "out-and-in", "absolute/../a"] {
            assert!(opened(&base, name), "{name}");
        }
        assert!(matches!(open(&base, b"d"), Ok(Found::Folder)));
        assert!(matches!(open(&base, b"absolute"), Ok(Found::Folder)));
        assert!(matches!(open(&base, b"."), Ok(Found::Folder)));
    }

    #[test]
    fn a_base_that_is_a_link_is_followed_each_time() {
        let scratch = scratch();
        let current = scratch.path().join("current");
        symlink("base/d", &current).unwrap();
        assert!(opened(&current, "b"));
        fs::remove_file(&current).unwrap();
        symlink("base-old", &current).unwrap();
        assert!(opened(&current, "x") && !opened(&current, "b"));
    }

    #[test]
    fn what_is_no_file_is_neither_opened_nor_waited_for() {
        let scratch = scratch();
        let base = scratch.path().join("base");
        assert!(Command::new("mkfifo").arg(base.join("pipe")).status().unwrap().success());
        let _socket = UnixListener::bind(base.join("socket")).unwrap();
        symlink("/dev/null", base.join("device")).unwrap();
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, base.join("pipe"), WatchFlags::OPEN).unwrap();
        for name in ["pipe", "socket", "device"] {
            assert_eq!(open(&base, name.as_bytes()).err(), Some(Missing::NotThere), "{name}");
        }
        assert_eq!(rustix::io::read(&watch, &mut [0; 256]), Err(Errno::AGAIN), "the pipe was opened");
    }
}
