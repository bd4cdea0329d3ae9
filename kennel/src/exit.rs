//! What the program ends with: 0 fine, 1 failed, 2 the user's input is wrong, 3 it cannot reach what
//! it needs, 130 interrupted. A closed pipe is not an error.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Prints a line to standard error. It does not fail when the reader is gone or the disk is full.
macro_rules! note {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = std::io::stderr().write_all(format!("{}\n", format_args!($($text)*)).as_bytes());
    }};
}
pub(crate) use note;

/// Prints a line to standard output about something that is done: it stays done when the line cannot be written.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = std::io::stdout().write_all(format!("{}\n", format_args!($($text)*)).as_bytes());
    }};
}
pub(crate) use say;

/// How long the last words of a command may take when standard error takes no more.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The user's input is wrong.
pub(crate) const WRONG_INPUT: u8 = 2;
/// What is needed cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// An error with the exit code that it deserves; anything else ends with 1.
#[derive(Debug)]
pub(crate) struct Coded {
    code: u8,
    message: String,
}

impl Coded {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Coded {}

/// What the user gave is wrong.
pub(crate) fn wrong_input(message: impl fmt::Display) -> anyhow::Error {
    Coded { code: WRONG_INPUT, message: message.to_string() }.into()
}

/// What is needed is not there.
pub(crate) fn unreachable(message: impl fmt::Display) -> anyhow::Error {
    Coded { code: UNREACHABLE, message: message.to_string() }.into()
}

/// What went wrong with a file, without the system's number for it.
pub(crate) fn plain(problem: &io::Error) -> String {
    match problem.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full".into(),
        io::ErrorKind::InvalidData => "it is not UTF-8 text".into(),
        _ => problem.to_string(),
    }
}

/// Whether to write colours: to a terminal that has them, unless the user does not want any.
pub(crate) fn takes_colours(is_terminal: bool) -> bool {
    are_wanted(is_terminal, std::env::var_os("TERM").as_deref(), std::env::var_os("NO_COLOR").as_deref())
}

fn are_wanted(is_terminal: bool, term: Option<&OsStr>, no_color: Option<&OsStr>) -> bool {
    is_terminal && term.is_none_or(|term| term != "dumb") && no_color.is_none()
}

/// The command has `--json`, and has not printed its answer.
static OWES_JSON: AtomicBool = AtomicBool::new(false);

/// From now on an error is an answer in JSON, on standard output.
pub(crate) fn answer_in_json() {
    OWES_JSON.store(true, Ordering::Relaxed);
}

/// The one answer of a command with `--json` is printed: what goes wrong after it is said on standard error.
pub(crate) fn has_answered() {
    OWES_JSON.store(false, Ordering::Relaxed);
}

/// Prints the error of a command, if there is one, and gives the exit code.
pub(crate) fn report(result: anyhow::Result<ExitCode>) -> ExitCode {
    let problem = match result {
        Ok(code) => return code,
        Err(problem) => problem,
    };
    let kind = problem.chain().find_map(|cause| {
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        cause.downcast_ref::<io::Error>().map(io::Error::kind).or(json)
    });
    if kind == Some(io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let code = problem.downcast_ref::<Coded>().map_or(ExitCode::FAILURE, |coded| ExitCode::from(coded.code));
    if OWES_JSON.load(Ordering::Relaxed) {
        say!("{}", error_as_json(&format!("{problem:#}")));
        return code;
    }
    let label = match takes_colours(io::stderr().is_terminal()) {
        true => "\u{1b}[1;31merror:\u{1b}[0m",
        false => "error:",
    };
    note_in_time(format!("{label} {problem:#}\n"));
    code
}

/// An error as a command with `--json` prints it.
pub(crate) fn error_as_json(problem: &str) -> serde_json::Value {
    serde_json::json!({ "error": problem })
}

/// Prints the last words to standard error. A reader that stands still does not keep the program from ending.
fn note_in_time(text: String) {
    let (tell, told) = std::sync::mpsc::channel();
    let writes = std::thread::Builder::new().spawn(move || {
        let _ = io::stderr().write_all(text.as_bytes());
        let _ = tell.send(());
    });
    if writes.is_ok() {
        let _ = told.recv_timeout(LAST_WORDS);
    }
}

/// Prints what is wrong with the command line; help and version are no errors.
pub(crate) fn usage(problem: &clap::Error, words: Option<String>) -> ExitCode {
    match words {
        Some(words) => return report(Err(wrong_input(words))),
        None => drop(problem.print()),
    }
    if problem.use_stderr() { ExitCode::from(WRONG_INPUT) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them() {
        let wanted = |is_terminal, term: Option<&str>, no_color: Option<&str>| {
            are_wanted(is_terminal, term.map(OsStr::new), no_color.map(OsStr::new))
        };
        assert!(wanted(true, Some("xterm"), None) && wanted(true, None, None));
        assert!(!wanted(false, Some("xterm"), None));
        assert!(!wanted(true, Some("dumb"), None));
        assert!(!wanted(true, Some("xterm"), Some("1")));
    }
}
