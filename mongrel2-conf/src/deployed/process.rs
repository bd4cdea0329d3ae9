//! Pid files: whether the process that one names lives, and is the server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};

use super::tidy::tidy;
use crate::model::Server;

/// What a server's pid file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Process {
    /// The server runs.
    Running {
        /// Its process id.
        pid: i32,
        /// Where that is written.
        pid_file: PathBuf,
    },
    /// There is no pid file, so it does not run.
    Absent {
        /// Where it would be.
        pid_file: PathBuf,
    },
    /// There is a pid file of a server that has ended without removing it.
    Stale {
        /// The file.
        pid_file: PathBuf,
        /// How that is known.
        why: Stale,
    },
    /// The pid file is not for us to read.
    Unreadable {
        /// The file.
        pid_file: PathBuf,
        /// What the system says.
        cause: io::ErrorKind,
    },
}

/// Why a pid file is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// No such process lives.
    Gone {
        /// Its number.
        pid: i32,
    },
    /// The number has passed to another program, or to a Mongrel2 that is another server.
    Other {
        /// Its number.
        pid: i32,
        /// What it was started with.
        command: String,
    },
    /// It holds no number.
    NoNumber,
}

impl Process {
    /// The server's process id, if it runs.
    pub fn pid(&self) -> Option<i32> {
        match self {
            Self::Running { pid, .. } => Some(*pid),
            _ => None,
        }
    }
}

/// Looks where a Mongrel2 that has chrooted writes its pid file, then where one does that was not allowed to.
pub(super) fn find(server: &Server, folder: &Path) -> Process {
    let (usual, in_test) = pid_files(server, folder);
    let found = judge(server, usual);
    let Some(in_test) = in_test.filter(|_| found.pid().is_none()) else { return found };
    match judge(server, in_test) {
        Process::Absent { .. } => found,
        other if other.pid().is_some() || matches!(found, Process::Absent { .. }) => other,
        _ => found,
    }
}

/// As root with a chroot, the file is chroot and name together. Without the right to chroot, Mongrel2 says
/// so, takes that for a test, and puts a dot before the name.
pub(super) fn pid_files(server: &Server, folder: &Path) -> (PathBuf, Option<PathBuf>) {
    if server.chroot.is_empty() {
        return (tidy(&folder.join(&server.pid_file)), None);
    }
    let name = server.pid_file.trim_start_matches('/');
    let usual = tidy(&folder.join(&server.chroot).join(name));
    let in_test = tidy(&folder.join(name));
    let differs = usual != in_test;
    (usual, differs.then_some(in_test))
}

fn judge(server: &Server, pid_file: PathBuf) -> Process {
    let text = match fs::read(&pid_file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(problem) if matches!(problem.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Process::Absent { pid_file };
        }
        Err(problem) => return Process::Unreadable { pid_file, cause: problem.kind() },
    };
    let number = text.trim().parse().ok().filter(|pid: &i32| *pid > 0).and_then(Pid::from_raw);
    let Some(process) = number else { return Process::Stale { pid_file, why: Stale::NoNumber } };
    let pid = process.as_raw_nonzero().get();
    let lives = !matches!(test_kill_process(process), Err(rustix::io::Errno::SRCH)) && !is_zombie(pid);
    if !lives {
        return Process::Stale { pid_file, why: Stale::Gone { pid } };
    }
    match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) if !is_server(pid, &line, server) => {
            let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            Process::Stale { pid_file, why: Stale::Other { pid, command: words.join(" ").trim().to_owned() } }
        }
        // Where /proc shows no processes of others, the pid file is believed.
        _ => Process::Running { pid, pid_file },
    }
}

/// Whether a process is this server: a mongrel2 with its uuid among the arguments, or `kennel front`.
fn is_server(pid: i32, command_line: &[u8], server: &Server) -> bool {
    let mut words = command_line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let program = words.next().unwrap_or_default();
    let program = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    if program.starts_with(b"mongrel2") || name.starts_with(b"mongrel2") {
        return words.any(|word| word == server.uuid.as_bytes());
    }
    words.next() == Some(b"front") && is_front_of(words, server)
}

/// Whether a process is a `kennel front`, which needs no guard.
pub fn is_front(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"front")
}

/// Whether these arguments of `kennel front` choose the server: by its uuid, by its name, or by not choosing, since it is
/// the only one then.
fn is_front_of<'a>(words: impl Iterator<Item = &'a [u8]>, server: &Server) -> bool {
    let mut chosen = Vec::new();
    let mut is_value = false;
    for word in words {
        let is_option = word.starts_with(b"-");
        if !is_option && !is_value {
            chosen.push(word);
        }
        is_value = is_option && !word.contains(&b'=');
    }
    // The first is the database.
    let mut chosen = chosen.into_iter().skip(1);
    chosen.next().is_none_or(|word| word == server.uuid.as_bytes() || word == server.name.as_bytes())
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before may hold anything, parentheses too.
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kennel-pid-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("jail/run")).unwrap();
            fs::create_dir_all(path.join("run")).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn server(chroot: &str) -> Server {
        let (uuid, pid_file) = ("main".into(), "/run/mongrel2.pid".into());
        Server { uuid, chroot: chroot.into(), pid_file, ..Server::default() }
    }

    #[test]
    fn the_pid_file_is_sought_inside_the_chroot_and_beside_it() {
        let at = Path::new("/srv");
        let (usual, in_test) = pid_files(&server("/site"), at);
        assert_eq!(usual, Path::new("/site/run/mongrel2.pid"));
        assert_eq!(in_test.as_deref(), Some(Path::new("/srv/run/mongrel2.pid")));
        assert_eq!(pid_files(&server("./"), at), ("/srv/run/mongrel2.pid".into(), None));
        assert_eq!(pid_files(&server(""), at), ("/run/mongrel2.pid".into(), None));
    }

    #[test]
    fn a_pid_file_that_is_not_there_is_no_stale_one() {
        let folder = Folder::new("absent");
        let pid_file = folder.0.join("jail/run/mongrel2.pid");
        assert_eq!(find(&server("jail"), &folder.0), Process::Absent { pid_file });
    }

    #[test]
    fn stale_pid_files_are_told_apart() {
        let folder = Folder::new("stale");
        let pid_file = folder.0.join("jail/run/mongrel2.pid");
        let why = |content: &str| {
            fs::write(&pid_file, content).unwrap();
            match find(&server("jail"), &folder.0) {
                Process::Stale { why, .. } => why,
                other => panic!("{other:?}"),
            }
        };
        for nothing in ["", "x", "-1", "0", "99999999999999"] {
            assert_eq!(why(nothing), Stale::NoNumber);
        }
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        let pid = ended.id() as i32;
        assert_eq!(why(&format!("{pid}\n")), Stale::Gone { pid });
        let own = std::process::id() as i32;
        assert!(matches!(why(&own.to_string()), Stale::Other { pid, .. } if pid == own));
    }

    #[test]
    fn a_server_is_a_mongrel2_or_a_front_with_its_uuid() {
        let server = Server { uuid: "main".into(), name: "web".into(), ..Server::default() };
        let is = |line: &[u8]| is_server(0, line, &server);
        assert!(is(b"kennel\0front\0config.sqlite\0"));
        assert!(is(b"/usr/bin/kennel\0front\0config.sqlite\0web\0"));
        assert!(is(b"kennel\0front\0--log-level\0debug\0--tls=a,b\0config.sqlite\0main\0"));
        assert!(!is(b"kennel\0front\0config.sqlite\0other\0"));
        assert!(!is(b"kennel\0run\0front\0main\0"));
        assert!(is(b"mongrel2\0config.sqlite\0main\0"));
        assert!(is(b"/usr/local/bin/mongrel2\0/etc/config.sqlite\0main\0"));
        assert!(!is(b"mongrel2\0config.sqlite\0other\0"));
        assert!(!is(b"vi\0config.sqlite\0main\0"));
        assert!(!is(b""));
    }
}
