//! Where something stands in the configuration's files.
//!
//! A [`Span`] is three numbers, cheap to keep in every piece of the tree; [`Sources`] holds the
//! texts and turns a span into what a person looks for: file, line and column.

use std::ops::Range;
use std::path::{Path, PathBuf};

/// Some bytes of one of the files that were loaded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Which file, in the order of loading.
    pub(crate) file: u32,
    /// Offset of the first byte.
    pub(crate) start: u32,
    /// Offset behind the last byte.
    pub(crate) end: u32,
}

impl Span {
    /// From the start of this one to the end of `last`, which is in the same file.
    pub(crate) fn to(self, last: Self) -> Self {
        Self { end: last.end.max(self.end), ..self }
    }

    /// The first byte only.
    pub(crate) fn first_byte(self) -> Self {
        Self { end: self.end.min(self.start + 1), ..self }
    }

    /// No bytes, right behind this.
    pub(crate) fn behind(self) -> Self {
        Self { start: self.end, ..self }
    }

    /// The bytes in the file.
    pub fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The files of one configuration: the one that was asked for, then those that it includes.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    text: String,
    /// Offsets at which lines begin.
    lines: Vec<u32>,
}

/// A place as people say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location<'a> {
    /// The file, as it was named.
    pub path: &'a Path,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line without its line break.
    pub text: &'a str,
}

impl Sources {
    /// Adds a file and returns its number. `text` has less than 4 GiB.
    pub(crate) fn add(&mut self, path: &Path, text: String) -> u32 {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at as u32 + 1)).collect();
        self.files.push(Source { path: path.into(), text, lines });
        self.files.len() as u32 - 1
    }

    /// The whole text of a file.
    pub(crate) fn text(&self, file: u32) -> &str {
        &self.files[file as usize].text
    }

    /// The path under which a file was loaded.
    pub(crate) fn path(&self, file: u32) -> &Path {
        &self.files[file as usize].path
    }

    /// Line and column of the first byte of `span`.
    pub fn locate(&self, span: Span) -> Location<'_> {
        let source = &self.files[span.file as usize];
        let line = source.lines.partition_point(|start| *start <= span.start).saturating_sub(1);
        let start = source.lines[line] as usize;
        let text = source.text[start..].split(['\n']).next().unwrap_or_default();
        let before = source.text.get(start..span.start as usize).unwrap_or_default();
        Location {
            path: &source.path,
            line: line + 1,
            column: before.chars().count() + 1,
            text: text.strip_suffix('\r').unwrap_or(text),
        }
    }

    /// What the span covers.
    pub(crate) fn snippet(&self, span: Span) -> &str {
        self.text(span.file).get(span.bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_in_characters() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.conf"), "\u{e9}\u{e9}x\r\nsecond\n".into());
        let at = |start| {
            let found = sources.locate(Span { file, start, end: start + 1 });
            (found.line, found.column, found.text.to_owned())
        };
        assert_eq!(at(0), (1, 1, "\u{e9}\u{e9}x".into()));
        assert_eq!(at(4), (1, 3, "\u{e9}\u{e9}x".into()));
        assert_eq!(at(7), (2, 1, "second".into()));
        assert_eq!(at(13), (2, 7, "second".into()));
        assert_eq!(at(14), (3, 1, String::new()));
    }
}
