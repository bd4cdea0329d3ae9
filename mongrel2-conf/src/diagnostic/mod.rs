//! What is wrong with a configuration, where, by which rule, and what was probably meant.
//!
//! Every diagnostic has a name that stays the same from version to version, so that scripts can
//! look for it. For people it is rendered with its line and a caret, for machines as JSON.

pub(crate) mod places;
pub mod span;
pub(crate) mod suggest;

use std::fmt::Write;

use span::{Sources, Span};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Fine here, but good to know, such as what m2sh would not load.
    Note,
    /// Loads, and Mongrel2 will do something that was hardly meant.
    Warning,
    /// There is no configuration then.
    Error,
}

impl Severity {
    /// `error`, `warning` or `note`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule, in kebab-case.
    pub name: &'static str,
    /// What is wrong, in the words of the file; one line.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What belongs at the caret, such as "did you mean `hosts`?".
    pub label: Option<String>,
    /// The rule, or what to do. May have several lines.
    pub help: Option<String>,
    /// Another place that has to do with it, and what is there.
    pub related: Option<(Span, String)>,
}

impl Diagnostic {
    pub(crate) fn new(
        severity: Severity,
        name: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        if message.contains(['\n', '\r']) {
            // Texts may have line breaks.
            message = message.replace('\n', "\\n").replace('\r', "\\r");
        }
        Self { severity, name, message, span, label: None, help: None, related: None }
    }

    pub(crate) fn error(name: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, name, span, message)
    }

    pub(crate) fn warning(name: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, name, span, message)
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// "did you mean", if there is a near word.
    pub(crate) fn meant(self, word: Option<&str>) -> Self {
        match word {
            Some(word) => self.label(format!("did you mean `{word}`?")),
            None => self,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, span: Span, what: impl Into<String>) -> Self {
        self.related = Some((span, what.into()));
        self
    }
}

/// Everything that was found in a configuration and the files that it includes, in the order of
/// the text.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics {
    pub(crate) sources: Sources,
    pub(crate) found: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Each of them, in the order of the text.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// How many there are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|one| one.severity == severity).count()
    }

    /// Whether there is an error, so no configuration.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// The texts that spans point into.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// For people: each begins with `FILE:LINE:COLUMN:`, and shows the line. `color` adds the
    /// escape sequences of terminals.
    pub fn render(&self, color: bool) -> String {
        let mut out = String::new();
        for one in &self.found {
            self.render_one(&mut out, one, color);
        }
        out
    }

    /// For machines: an object each, with `severity`, `name`, `message`, `file`, `line`, `column`,
    /// `end_line`, `end_column` (behind the last character), `label`, `help` and `related`
    /// (`null` where there is none).
    pub fn to_json(&self) -> serde_json::Value {
        self.found.iter().map(|one| self.json_one(one)).collect()
    }

    fn render_one(&self, out: &mut String, one: &Diagnostic, color: bool) {
        let paint = Paint { color };
        let style = match one.severity {
            Severity::Error => Style::Red,
            Severity::Warning => Style::Yellow,
            Severity::Note => Style::Blue,
        };
        let word = paint.with(style, one.severity.as_str());
        self.put_place(out, one.span, &format!("{word}: {}", shortened(&one.message)), one.name);
        self.put_line(out, one.span, one.label.as_deref(), paint, style);
        for line in one.help.iter().flat_map(|help| help.lines()) {
            let _ = writeln!(out, "      = {}", visible(line));
        }
        if let Some((span, what)) = &one.related {
            let word = paint.with(Style::Blue, "note");
            self.put_place(out, *span, &format!("{word}: {}", visible(what)), "");
            self.put_line(out, *span, None, paint, Style::Blue);
        }
        out.push('\n');
    }

    fn put_place(&self, out: &mut String, span: Span, text: &str, name: &str) {
        let place = self.sources.locate(span);
        let _ = write!(out, "{}:{}:{}: {text}", place.path.display(), place.line, place.column);
        let _ = if name.is_empty() { writeln!(out) } else { writeln!(out, " [{name}]") };
    }

    /// The line with its number, and carets below what is meant.
    fn put_line(&self, out: &mut String, span: Span, label: Option<&str>, paint: Paint, style: Style) {
        let place = self.sources.locate(span);
        let (shown, at) = window(place.text, place.column - 1);
        let room = shown.chars().count().saturating_sub(at).max(1);
        let width = self.sources.snippet(span).lines().next().unwrap_or_default().chars().count();
        let carets = "^".repeat(width.clamp(1, room));
        let label = label.map_or(String::new(), |label| format!(" {}", visible(label)));
        let _ = writeln!(out, "{:5} | {shown}", place.line);
        let _ = writeln!(out, "      | {}{}", " ".repeat(at), paint.with(style, &format!("{carets}{label}")));
    }

    fn json_one(&self, one: &Diagnostic) -> serde_json::Value {
        let place = self.sources.locate(one.span);
        let end = self.sources.locate(one.span.behind());
        let related = one.related.as_ref().map(|(span, what)| {
            let place = self.sources.locate(*span);
            serde_json::json!({
                "message": what,
                "file": place.path.to_string_lossy(),
                "line": place.line,
                "column": place.column,
            })
        });
        serde_json::json!({
            "severity": one.severity.as_str(),
            "name": one.name,
            "message": one.message,
            "file": place.path.to_string_lossy(),
            "line": place.line,
            "column": place.column,
            "end_line": end.line,
            "end_column": end.column,
            "label": one.label,
            "help": one.help,
            "related": related,
        })
    }
}

/// What fits on a screen of a line that may be very long, and where `column` is in it, from 0.
fn window(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 120;
    const BEFORE: usize = 60;
    let length = line.chars().count();
    if length <= WIDTH {
        return (visible(line), column);
    }
    // All of it may be a file of megabytes, and is shown for each of a thousand mistakes.
    let start = column.saturating_sub(BEFORE).min(length - WIDTH);
    let piece: String = line.chars().skip(start).take(WIDTH).collect();
    let mut shown = visible(&piece);
    let mut at = column - start;
    if start > 0 {
        shown.insert_str(0, "... ");
        at += 4;
    }
    if start + WIDTH < length {
        shown.push_str(" ...");
    }
    (shown, at)
}

/// Without the middle, if somebody's long text is in it.
fn shortened(message: &str) -> String {
    const FIRST: usize = 160;
    const LAST: usize = 80;
    let message = visible(message);
    let length = message.chars().count();
    if length <= FIRST + LAST {
        return message;
    }
    let first: String = message.chars().take(FIRST).collect();
    let last: String = message.chars().skip(length - LAST).collect();
    format!("{first} ... {last}")
}

/// Without what would move the cursor: tabs become one space, so that carets stay below.
fn visible(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

#[derive(Clone, Copy)]
enum Style {
    Red,
    Yellow,
    Blue,
}

impl Paint {
    fn with(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Red => "1;31",
            Style::Yellow => "1;33",
            Style::Blue => "1;34",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn one(text: &str, start: u32, end: u32) -> Diagnostics {
        let mut all = Diagnostics::default();
        let file = all.sources.add(Path::new("site.conf"), text.into());
        let span = Span { file, start, end };
        all.found.push(
            Diagnostic::error("unknown-attribute", span, "a Server has no `hostz`")
                .meant(Some("hosts"))
                .help("first rule\nsecond"),
        );
        all
    }

    #[test]
    fn a_person_sees_place_line_caret_and_rule() {
        let text = one("a = 1\n\thostz = []\n", 7, 12).render(false);
        assert_eq!(
            text,
            "site.conf:2:2: error: a Server has no `hostz` [unknown-attribute]\n    \
             2 |  hostz = []\n      |  ^^^^^ did you mean `hosts`?\n      = first rule\n      = second\n\n"
        );
    }

    #[test]
    fn color_comes_only_when_asked_for() {
        assert!(!one("abc", 0, 1).render(false).contains('\x1b'));
        assert!(one("abc", 0, 1).render(true).contains("\x1b[1;31merror\x1b[0m"));
    }

    #[test]
    fn a_machine_sees_the_same() {
        let json = one("a = 1\nhostz = []\n", 6, 11).to_json();
        assert_eq!(json[0]["line"], 2);
        assert_eq!(json[0]["end_column"], 6);
        assert_eq!(json[0]["name"], "unknown-attribute");
        assert_eq!(json[0]["related"], serde_json::Value::Null);
    }

    #[test]
    fn long_lines_and_control_characters_are_tamed() {
        let line = format!("{}hostz\x1b[2J{}", "x".repeat(500), "y".repeat(500));
        let text = one(&line, 500, 505).render(false);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest < 160, "{widest}");
        assert!(!text.contains('\x1b'));
        let mut lines = text.lines().skip(1);
        let at = lines.next().unwrap().find("hostz").unwrap();
        assert_eq!(lines.next().unwrap().find('^').unwrap(), at);
    }
}
