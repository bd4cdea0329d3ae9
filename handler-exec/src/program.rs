//! The file of a program: whether it can be run, and one process of it.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use thiserror::Error;

/// Why a program cannot be run.
#[derive(Debug, Error)]
pub(crate) enum ProgramError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It is a folder, a pipe or the like.
    #[error("it is no file")]
    NoFile,
    /// Its mode does not allow it.
    #[error("it may not be executed; `chmod +x {}` allows it", .0.display())]
    NotExecutable(PathBuf),
    /// A script whose first line does not say what runs it.
    #[error("its first line does not say what runs it, as `#!/bin/sh` does")]
    NoInterpreter,
    /// The interpreter of its first line is not there.
    #[error("its first line says that `{0}` runs it, which is not there")]
    MissingInterpreter(String),
    /// The first line ends as on Windows, which makes the interpreter's name another one.
    #[error("its first line ends in CR LF; save it with line feeds alone")]
    ReturnInFirstLine,
    /// The system refused.
    #[error("it cannot be started: {0}")]
    System(#[from] io::Error),
}

/// How processes of a program are started.
#[derive(Debug)]
pub(crate) struct Program {
    /// From the root: a name without a slash would be looked for elsewhere.
    path: PathBuf,
    /// A command that runs another one, and lets it die with the process whose id it is given first.
    guard: Vec<OsString>,
    environment: Vec<(&'static str, String)>,
}

impl Program {
    pub(crate) fn new(
        source: &str,
        guard: &[OsString],
        environment: Vec<(&'static str, String)>,
    ) -> io::Result<Self> {
        Ok(Self { path: std::path::absolute(source)?, guard: guard.to_vec(), environment })
    }

    /// Finds what would keep it from running, as far as that can be seen.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub(crate) fn check(&self) -> Result<(), ProgramError> {
        check(&self.path)
    }

    /// Starts a process of it, in a group of its own.
    ///
    /// # Errors
    ///
    /// [`ProgramError`].
    pub(crate) fn start(&self) -> Result<Process, ProgramError> {
        self.check()?;
        let mut command = guarded(&self.guard, &self.path)?;
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::piped());
        Ok(Process::start(&mut command)?)
    }
}

/// A command that runs a program and lets it die with this process.
///
/// # Errors
///
/// [`ProgramError::Missing`] without a guard.
pub(crate) fn guarded(guard: &[OsString], path: &Path) -> Result<Command, ProgramError> {
    let (program, arguments) = guard.split_first().ok_or(ProgramError::Missing)?;
    let mut command = Command::new(program);
    command.args(arguments).arg(std::process::id().to_string()).arg(path);
    Ok(command)
}

/// Finds what would keep a file from running, as far as that can be seen.
pub(crate) fn check(path: &Path) -> Result<(), ProgramError> {
    let found = path.metadata().map_err(|problem| match problem.kind() {
        io::ErrorKind::NotFound => ProgramError::Missing,
        _ => ProgramError::System(problem),
    })?;
    if !found.is_file() {
        return Err(ProgramError::NoFile);
    }
    if access(path, Access::EXEC_OK).is_err() {
        return Err(ProgramError::NotExecutable(path.to_owned()));
    }
    let mut head = Vec::new();
    // What may be run and not read is up to the system.
    let Ok(file) = File::open(path) else { return Ok(()) };
    file.take(256).read_to_end(&mut head)?;
    check_head(&head, |interpreter| access(interpreter, Access::EXEC_OK).is_ok())
}

/// The same for the beginning of the file.
fn check_head(head: &[u8], exists: impl Fn(&Path) -> bool) -> Result<(), ProgramError> {
    let Some(line) = head.strip_prefix(b"#!") else {
        // Formats that the system may know have bytes that no text has.
        let is_text = head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
        return if is_text { Err(ProgramError::NoInterpreter) } else { Ok(()) };
    };
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Err(ProgramError::ReturnInFirstLine);
    }
    let line = line.trim_ascii_start();
    let name = line.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    match name {
        b"" => Err(ProgramError::NoInterpreter),
        name if exists(Path::new(OsStr::from_bytes(name))) => Ok(()),
        name => Err(ProgramError::MissingInterpreter(String::from_utf8_lossy(name).into_owned())),
    }
}

fn unblock(pipe: Option<&impl AsFd>) -> io::Result<()> {
    if let Some(pipe) = pipe {
        fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
    }
    Ok(())
}

/// A process and its pipes, none of which blocks. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
    is_over: bool,
}

/// What a read or a write on a pipe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piped {
    /// So many bytes went through, at least one.
    Bytes(usize),
    /// None now.
    Later,
    /// The other side is gone.
    End,
}

impl Process {
    /// Starts a command in a group of its own, with pipes for its output and errors.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let process = Self { child, pidfd, stdin, stdout, stderr, is_over: false };
        unblock(process.stdin.as_ref())?;
        unblock(process.stdout.as_ref())?;
        unblock(process.stderr.as_ref())?;
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended; it is not waited for yet.
    pub(crate) fn has_ended(&self) -> bool {
        let mut ends = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut ends, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    /// Writes to its standard input what that takes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Piped {
        let Some(stdin) = &self.stdin else { return Piped::End };
        match rustix::io::write(stdin, bytes) {
            Ok(count) => Piped::Bytes(count),
            Err(Errno::AGAIN | Errno::INTR) => Piped::Later,
            Err(_) => Piped::End,
        }
    }

    /// Bytes on its standard input that it has not read.
    pub(crate) fn unread(&self) -> u64 {
        self.stdin.as_ref().and_then(|stdin| ioctl_fionread(stdin).ok()).unwrap_or(0)
    }

    /// Reads from its standard output.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Piped {
        read(self.stdout.as_ref(), buffer)
    }

    /// Reads from its standard error.
    pub(crate) fn read_errors(&mut self, buffer: &mut [u8]) -> Piped {
        let piped = read(self.stderr.as_ref(), buffer);
        if piped == Piped::End {
            self.stderr = None;
        }
        piped
    }

    /// Sends a signal to it and all that it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        // It is not waited for yet, so its number is nobody else's.
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }

    /// Ends it now, with all that it has started, and says how it ended.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        // What it has started goes even when it has ended by itself; once it was waited for, the number of its group
        // may be somebody else's.
        if !std::mem::replace(&mut self.is_over, true) {
            self.signal(Signal::KILL);
        }
        self.child.wait()
    }
}

fn read(pipe: Option<&impl AsFd>, buffer: &mut [u8]) -> Piped {
    let Some(pipe) = pipe else { return Piped::End };
    match rustix::io::read(pipe, buffer) {
        Ok(0) => Piped::End,
        Ok(count) => Piped::Bytes(count),
        Err(Errno::AGAIN | Errno::INTR) => Piped::Later,
        Err(_) => Piped::End,
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(head: &[u8]) -> Option<String> {
        check_head(head, |path| path == Path::new("/bin/sh")).err().map(|problem| problem.to_string())
    }

    #[test]
    fn the_first_line_says_what_runs_a_script() {
        for fine in [&b"#!/bin/sh\necho"[..], b"#! /bin/sh -e\n", b"#!/bin/sh", b"\x7fELF\x02\x01"] {
            assert_eq!(problem(fine), None);
        }
        for none in [&b""[..], b"echo hello\n", b"#!\n", b"#!  "] {
            assert!(problem(none).is_some_and(|text| text.contains("does not say what runs it")));
        }
        assert!(problem(b"#!/bin/fish -x\n").is_some_and(|text| text.contains("`/bin/fish`")));
        assert!(problem(b"#!/bin/sh\r\necho\r\n").is_some_and(|text| text.contains("CR LF")));
    }

    #[test]
    fn a_file_that_cannot_be_run_is_refused_with_the_reason() {
        let text = |path: &Path| check(path).unwrap_err().to_string();
        let folder = std::env::temp_dir().join(format!("kennel-program-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("app.sh");
        assert!(text(&file).contains("no such file"));
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        assert!(text(&file).contains("`chmod +x "));
        assert!(text(&folder).contains("no file"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
