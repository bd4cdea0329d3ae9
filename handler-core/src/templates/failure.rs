//! What went wrong in a template, and where.

use super::MAX_PAGE;
use super::folder::Folder;
use minijinja::{Error, ErrorKind};
use thiserror::Error as ThisError;

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[error("{}{message}", place(file.as_deref(), *line))]
pub struct TemplateError {
    /// What is wrong, in words.
    pub message: String,
    /// The template's file, as one would type it in the working directory.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

fn place(file: Option<&str>, line: Option<u32>) -> String {
    match (file, line) {
        (Some(file), Some(line)) => format!("{file}:{line}: "),
        (Some(file), None) => format!("{file}: "),
        _ => String::new(),
    }
}

impl TemplateError {
    /// An error of a page in the user's words; with the line itself under `kennel dev`.
    pub(super) fn of(problem: &Error, asked: &str, folder: &Folder, shows_line: bool) -> Self {
        let inner = innermost(problem);
        let mut message = words(inner, asked, folder);
        let place = inner.name().zip(inner.line()).filter(|(name, _)| *name != "<string>");
        let Some((name, line)) = place else { return Self { message, file: None, line: None } };
        // What included it, or is built on it.
        let outer = problem.name().zip(problem.line()).filter(|outer| *outer != (name, line));
        if let Some((outer, at)) = outer {
            message.push_str(&format!(" (used by {}:{at})", folder.file(outer).display()));
        }
        if shows_line
            && let Ok(Some(source)) = folder.read(name)
            && let Some(text) = source.lines().nth(line.saturating_sub(1))
        {
            message.push_str(&format!("\n    {line} | {}", text.trim_end()));
        }
        let file = Some(folder.file(name).display().to_string());
        Self { message, file, line: u32::try_from(line).ok() }
    }
}

/// The error that all others tell of.
fn innermost(problem: &Error) -> &Error {
    let mut found = problem;
    let mut next = std::error::Error::source(problem);
    while let Some(source) = next {
        if let Some(inner) = source.downcast_ref::<Error>()
            && inner.name().is_some()
        {
            found = inner;
        }
        next = source.source();
    }
    found
}

fn words(problem: &Error, asked: &str, folder: &Folder) -> String {
    let detail = problem.detail().unwrap_or_default();
    match problem.kind() {
        ErrorKind::TemplateNotFound => {
            let missing = detail.split('"').nth(1).unwrap_or(asked);
            format!("there is no template `{}` in {}", missing.escape_debug(), folder.path().display())
        }
        ErrorKind::OutOfFuel => "the template runs for too long; does a loop in it ever end?".to_owned(),
        ErrorKind::UndefinedError if detail.is_empty() => {
            "there is no such value, so nothing of it".to_owned()
        }
        kind if detail.is_empty() => kind.to_string(),
        ErrorKind::WriteFailure => format!("a page has at most {MAX_PAGE} bytes"),
        ErrorKind::InvalidOperation => detail.to_owned(),
        kind => format!("{kind}: {detail}"),
    }
}
