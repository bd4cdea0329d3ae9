//! From text to tokens, by the rules of m2sh's lexer.
//!
//! * Texts are in `'` or `"`, may have line breaks, and keep their backslashes: one only keeps
//!   the quote behind it from ending the text.
//! * A word of letters only, at least two of them and the first upper-case, is a class; every
//!   other word is a name. So `Main` cannot be a variable, `main`, `M` and `Main2` can.
//! * Numbers are digits. There is no sign, no fraction, and nothing need stand between a
//!   number and the next token.
//! * A comment goes from `#` to the end of the line.
//!
//! The lexer goes on after an error, so that one mistake hides no other. A missing quote turns
//! all texts behind it inside out, which shows at the end of the file at the latest. Then the
//! file is read again, with a guess where a text cannot have been meant to go on.

use crate::diagnostic::Diagnostic;
use crate::diagnostic::span::Span;

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// With its quotes.
    Text,
    Number,
    Class,
    Name,
    Equals,
    Comma,
    Colon,
    Open(Bracket),
    Close(Bracket),
    /// The end of the file, always the last token.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bracket {
    /// `( )` around attributes.
    Round,
    /// `[ ]` around a list.
    Square,
    /// `{ }` around a hash.
    Curly,
}

impl Bracket {
    pub(crate) fn close(self) -> char {
        match self {
            Self::Round => ')',
            Self::Square => ']',
            Self::Curly => '}',
        }
    }
}

impl Kind {
    /// What it is called in messages.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number",
            Self::Class => "a class",
            Self::Name => "a name",
            Self::Equals => "`=`",
            Self::Comma => "`,`",
            Self::Colon => "`:`",
            Self::Open(Bracket::Round) => "`(`",
            Self::Open(Bracket::Square) => "`[`",
            Self::Open(Bracket::Curly) => "`{`",
            Self::Close(Bracket::Round) => "`)`",
            Self::Close(Bracket::Square) => "`]`",
            Self::Close(Bracket::Curly) => "`}`",
            Self::End => "the end of the file",
        }
    }
}

/// All tokens of a file, ending with [`Kind::End`].
pub(crate) fn tokens(file: u32, text: &str, found: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut lexer = Lexer::new(file, text, false);
    lexer.run();
    if lexer.ended_in_text {
        lexer = Lexer::new(file, text, true);
        lexer.run();
    }
    found.append(&mut lexer.found);
    lexer.tokens
}

/// The quotes of word processors.
const CURLY: [char; 4] = ['\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}'];

struct Lexer<'a> {
    file: u32,
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    found: Vec<Diagnostic>,
    /// Whether to guess where texts end.
    guess: bool,
    /// Whether the last text has no end.
    ended_in_text: bool,
}

impl<'a> Lexer<'a> {
    fn new(file: u32, text: &'a str, guess: bool) -> Self {
        let (tokens, found) = (Vec::new(), Vec::new());
        Self { file, text, bytes: text.as_bytes(), at: 0, tokens, found, guess, ended_in_text: false }
    }

    fn run(&mut self) {
        if self.text.starts_with('\u{feff}') {
            self.at = '\u{feff}'.len_utf8();
            let problem = Diagnostic::error(
                "byte-order-mark",
                self.span(0),
                "the file begins with a byte order mark, which m2sh refuses",
            );
            self.found.push(problem.help("save it as UTF-8 without BOM"));
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            let start = self.at;
            self.at += 1;
            let kind = match byte {
                b' ' | b'\t'..=b'\r' => continue,
                b'#' => {
                    self.skip_while(|byte| byte != b'\n');
                    continue;
                }
                b'=' => Kind::Equals,
                b',' => Kind::Comma,
                b':' => Kind::Colon,
                b'(' => Kind::Open(Bracket::Round),
                b')' => Kind::Close(Bracket::Round),
                b'[' => Kind::Open(Bracket::Square),
                b']' => Kind::Close(Bracket::Square),
                b'{' => Kind::Open(Bracket::Curly),
                b'}' => Kind::Close(Bracket::Curly),
                b'0'..=b'9' => {
                    self.skip_while(|byte| byte.is_ascii_digit());
                    Kind::Number
                }
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                    self.skip_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    let word = &self.bytes[start..self.at];
                    let class = word.len() > 1 && byte.is_ascii_uppercase();
                    if class && word.iter().all(u8::is_ascii_alphabetic) { Kind::Class } else { Kind::Name }
                }
                b'\'' | b'"' => {
                    self.quoted(byte);
                    Kind::Text
                }
                _ => {
                    self.foreign(start);
                    continue;
                }
            };
            let span = self.span(start);
            self.tokens.push(Token { kind, span });
        }
        let span = self.span(self.at);
        self.tokens.push(Token { kind: Kind::End, span });
    }

    fn span(&self, start: usize) -> Span {
        Span { file: self.file, start: start as u32, end: self.at as u32 }
    }

    fn skip_while(&mut self, fits: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|byte| fits(*byte)) {
            self.at += 1;
        }
    }

    /// The rest of a text.
    fn quoted(&mut self, quote: u8) {
        let start = self.at - 1;
        let rest = &self.bytes[self.at..];
        let mut escaped = false;
        let end = rest.iter().position(|&byte| {
            let closes = byte == quote && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        });
        match end {
            Some(end) if !(self.guess && goes_too_far(rest, end)) => self.at += end + 1,
            _ => {
                self.ended_in_text = true;
                let line = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
                let text = rest[..line].trim_ascii_end();
                // The rest of the line is read on at what may end the text's item, or else is lost.
                let tail = text.iter().rev().take_while(|byte| b")]},".contains(byte)).count();
                let comma = text.iter().position(|&byte| byte == b',').filter(|_| self.guess);
                self.at += comma.unwrap_or(text.len() - tail);
                let quote = char::from(quote);
                let problem = Diagnostic::error("unclosed-text", self.span(start), "this text has no end");
                let rule = format!("it ends with the {quote} that it began with");
                self.found.push(problem.label(format!("a {quote} is missing")).help(rule));
            }
        }
    }

    /// Characters that have no place outside of texts: reported once for a run of them.
    fn foreign(&mut self, start: usize) {
        let known =
            |byte: u8| byte.is_ascii_alphanumeric() || b" \t\n\r\x0b\x0c#=,:()[]{}'\"_".contains(&byte);
        self.skip_while(|byte| !known(byte));
        let run = &self.text[start..self.at];
        let rule = match run.as_bytes() {
            [b'-', ..] if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) => {
                "numbers have no sign; write a text if it must be one"
            }
            [b'.', ..] if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) => {
                self.skip_while(|byte| byte.is_ascii_digit());
                "numbers have digits only; write a text, as in '1.5'"
            }
            [b'/', b'/', ..] | [b'/', b'*', ..] | [b'-', b'-', ..] => {
                self.skip_while(|byte| byte != b'\n');
                "comments begin with #"
            }
            [b';', ..] => "nothing stands between statements, and commas between the rest",
            [b'-', ..] => "names have letters, digits and `_`",
            _ if run.starts_with(CURLY) => {
                // Up to the other quote it is a text.
                let line = self.text[self.at..].lines().next().unwrap_or_default();
                if let Some(end) = line.find(CURLY) {
                    self.at += end;
                    let quote = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
                    self.at += quote;
                    self.tokens.push(Token { kind: Kind::Text, span: self.span(start) });
                }
                "texts have straight quotes: ' or \""
            }
            _ => "only texts and comments may have it",
        };
        let shown = self.text[start..self.at].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
        let message = format!("a `{}` has no meaning here", shown.escape_debug());
        let span = Span { end: (start + run.len()) as u32, ..self.span(start) };
        self.found.push(Diagnostic::error("invalid-character", span, message).help(rule));
    }
}

/// Whether the quote at `end` looks as if it were there to open another text: what is before it
/// asks for a value, and it is in a later line, or a word begins right behind it.
fn goes_too_far(rest: &[u8], end: usize) -> bool {
    let inside = &rest[..end];
    let asks = inside.trim_ascii_end().last().is_none_or(|last| b"=:,([{".contains(last));
    asks && (inside.contains(&b'\n') || rest.get(end + 1).is_some_and(u8::is_ascii_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let mut found = Vec::new();
        let tokens = tokens(0, text, &mut found);
        assert_eq!(found, []);
        tokens.iter().map(|token| (token.kind, &text[token.span.bytes()])).collect()
    }

    fn names(text: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        tokens(0, text, &mut found);
        found.iter().map(|one| one.name).collect()
    }

    #[test]
    fn words_are_classes_or_names() {
        use Kind::{Class, End, Name};
        assert_eq!(
            kinds("Main main M Main2 Ma_in _x Ab"),
            [
                (Class, "Main"),
                (Name, "main"),
                (Name, "M"),
                (Name, "Main2"),
                (Name, "Ma_in"),
                (Name, "_x"),
                (Class, "Ab"),
                (End, "")
            ]
        );
    }

    #[test]
    fn a_backslash_keeps_a_quote_from_ending_a_text() {
        use Kind::{End, Text};
        assert_eq!(
            kinds(r#"'a\'b' "c'd" '\\' ''"#),
            [(Text, r"'a\'b'"), (Text, "\"c'd\""), (Text, r"'\\'"), (Text, "''"), (End, "")]
        );
    }

    #[test]
    fn nothing_need_stand_between_tokens() {
        use Kind::{End, Name, Number, Text};
        assert_eq!(
            kinds("1a'b'22#c"),
            [(Number, "1"), (Name, "a"), (Text, "'b'"), (Number, "22"), (End, "")]
        );
    }

    #[test]
    fn texts_may_have_line_breaks_and_look_like_a_missing_quote() {
        assert_eq!(kinds("'a\n='b")[0], (Kind::Text, "'a\n='"));
        assert_eq!(kinds("'a='b")[0], (Kind::Text, "'a='"));
        assert_eq!(kinds("'a\nb'")[0], (Kind::Text, "'a\nb'"));
    }

    #[test]
    fn a_missing_quote_is_found_in_its_line() {
        let text = "a = Dir(base='x/, name=\"y\")\nb = 'z'\n";
        let mut found = Vec::new();
        tokens(0, text, &mut found);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].span.start, 13);
        assert_eq!(names("a = (b=\"x, c=1, d=\"y\")\n"), ["unclosed-text"]);
        assert_eq!(names("a = 'b"), ["unclosed-text"]);
        assert_eq!(names("a = 'b\nc = 'd'\ne = 'f'"), ["unclosed-text"]);
    }

    #[test]
    fn foreign_characters_do_not_stop_the_lexer() {
        assert_eq!(names("a = -5 % b = \u{201c}x\u{201d}").len(), 3);
        assert_eq!(names("a = 1.5 b = 2"), ["invalid-character"]);
        assert_eq!(names("// hello, it's me"), ["invalid-character"]);
        assert_eq!(names("\u{feff}a = 1"), ["byte-order-mark"]);
        assert_eq!(names("\0\u{7f}"), ["invalid-character"]);
    }
}
