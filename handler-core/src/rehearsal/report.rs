//! What a process that runs a file of tests tells `kennel test`: one event a line, marked, among whatever the tests print.

use crate::hub::Limits;
use crate::worker::protocol::Start;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::PathBuf;

/// Begins a line that is an event: a record separator, which nobody prints by chance.
const MARK: char = '\u{1e}';

/// What such a process is to run; travels as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestFile {
    /// The file.
    pub file: PathBuf,
    /// The app that tests get when they name none.
    pub app: Option<Start>,
    /// The bounds in force.
    pub limits: Limits,
    /// Only tests with this in their name.
    pub filter: Option<String>,
    /// Tests that have been run already, by another process that had to be ended.
    pub done: usize,
}

impl TestFile {
    /// Whether a test of this name is to be run.
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The file is loaded and has so many tests, of those that are wanted.
    Loaded {
        /// How many.
        tests: usize,
    },
    /// The file did not load.
    Broken(Failure),
    /// A test begins.
    Begin {
        /// Its name.
        name: String,
        /// Where it stands in the file.
        #[serde(default)]
        line: Option<u32>,
    },
    /// It has ended.
    End {
        /// Its name.
        name: String,
        /// How long it took in real time.
        seconds: f64,
        /// Why it failed; nothing: it passed, or was skipped.
        #[serde(default)]
        failure: Option<Failure>,
        /// Why it was skipped.
        #[serde(default)]
        skipped: Option<String>,
    },
    /// All have been run.
    Done,
}

/// Why a test failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In words, perhaps several lines.
    pub message: String,
    /// Where: the test's file, or one that it called.
    #[serde(default)]
    pub file: Option<String>,
    /// The line there.
    #[serde(default)]
    pub line: Option<u32>,
    /// Who called whom, in lines.
    #[serde(default)]
    pub traceback: Vec<String>,
    /// What the app has logged as errors meanwhile.
    #[serde(default)]
    pub app_errors: Vec<String>,
}

/// Writes an event.
///
/// # Errors
///
/// When nobody listens any more.
pub fn write(out: &mut dyn Write, event: &Event) -> io::Result<()> {
    // Something may have been printed without an end of line.
    let line = format!("\n{MARK}{}\n", serde_json::to_string(event)?);
    out.write_all(line.as_bytes())?;
    out.flush()
}

/// What a line is: an event, or what a test printed.
pub fn read(line: &str) -> Result<Event, &str> {
    let marked = line.strip_prefix(MARK).and_then(|text| serde_json::from_str(text).ok());
    marked.ok_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_comes_back_and_what_is_printed_is_none() {
        let failure = Failure { message: "no".into(), line: Some(3), ..Failure::default() };
        let events = [
            Event::Loaded { tests: 2 },
            Event::Broken(failure.clone()),
            Event::End { name: "a\nb".into(), seconds: 0.5, failure: Some(failure), skipped: None },
            Event::Done,
        ];
        for event in events {
            let mut out = Vec::new();
            write(&mut out, &event).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(read(text.trim_matches('\n')), Ok(event));
        }
        for line in ["", "hello", "\u{1e}{}", "\u{1e}[1", "{\"event\":\"done\"}"] {
            assert_eq!(read(line), Err(line));
        }
    }
}
