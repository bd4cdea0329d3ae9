//! What is wrong with `kennel.toml`, with its place and a hint.

use crate::exit::plain;
use crate::toml_words::{self, Worded};
use std::ops::Range;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the file cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// It is not there, or may not be read.
    #[error("cannot read `{}`: {}", path.display(), plain(cause))]
    Unreadable { path: PathBuf, cause: std::io::Error },
    /// It says something wrong.
    #[error("{0}")]
    Wrong(Box<Mistake>),
}

/// A mistake in the file, and where it is.
#[derive(Debug, Clone, Error)]
#[error("{}:{line}:{column}: {message}\n  {text}\n  {marker}{hint}", path.display())]
pub(crate) struct Mistake {
    path: PathBuf,
    line: usize,
    column: usize,
    message: String,
    /// The line itself.
    text: String,
    /// Carets below the place.
    marker: String,
    hint: String,
}

/// Turns toml's error into one in our words, with place, line and carets.
pub(super) fn describe(path: &Path, text: &str, problem: &toml::de::Error) -> ConfigError {
    let span = problem.span().unwrap_or(0..0);
    let place = Mistake::new(path, text, span, Worded::default());
    let worded = toml_words::reword(problem.message(), place.text.trim());
    ConfigError::Wrong(Box::new(Mistake { message: worded.message, hint: worded.hint, ..place }))
}

impl Mistake {
    /// Another mistake at the same place.
    pub(super) fn saying(&self, message: String) -> Self {
        Self { message, ..self.clone() }
    }

    pub(super) fn new(path: &Path, text: &str, span: Range<usize>, Worded { message, hint }: Worded) -> Self {
        let start = span.start.min(text.len());
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = text[line_start..start].chars().count() + 1;
        let mut shown = text[line_start..].lines().next().unwrap_or_default();
        if shown.trim_start().starts_with("secret") {
            shown = &shown[..shown.find('=').unwrap_or(shown.len())];
        }
        let room = shown.chars().count().saturating_sub(column - 1).max(1);
        let width = text.get(span.start..span.end).map_or(1, |t| t.chars().count()).clamp(1, room);
        Self {
            path: path.to_owned(),
            line,
            column,
            message,
            text: shown.to_owned(),
            marker: " ".repeat(column - 1) + &"^".repeat(width),
            hint,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use std::path::Path;

    fn problem(text: &str) -> String {
        Config::parse(Path::new("kennel.toml"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config =
            Config::parse(Path::new("kennel.toml"), "[sessions]\nsecret = \"hush hush hush hush\"\n");
        assert!(!format!("{:?}", config.unwrap()).contains("hush"));
        for text in
            ["secret = 4711", "secret = [4711]", "secret = \"4711", "secrets = 4711", "secretz = \"4711\""]
        {
            let complaint = problem(&format!("[sessions]\n{text}\n"));
            assert!(!complaint.contains("4711") && complaint.starts_with("kennel.toml:"), "{complaint}");
        }
    }

    #[test]
    fn an_unknown_key_is_shown_with_its_place_and_the_nearest_known_one() {
        let text = problem("listen = \"x\"\n[limits]\nrequest_timeuot = 1\n");
        assert!(text.starts_with("kennel.toml:3:1: unknown key `request_timeuot`"), "{text}");
        assert!(
            text.contains("\n  request_timeuot = 1\n  ^^^^^^^^^^^^^^^ did you mean `request_timeout`?"),
            "{text}"
        );
    }
}
