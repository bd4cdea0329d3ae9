//! Control characters in log lines, made visible.
//!
//! A client may put them into what a handler logs. As they are, they would clear a terminal, hide what stands before
//! them, or make `grep` take the log for a binary file.

use std::borrow::Cow;
use std::fmt::Write;

/// The colours that the formatter itself writes begin with this.
const ESCAPE: char = '\u{1b}';

/// A line with its control characters written as in Rust: `\0`, `\r`, `\x1b`, `\u{9b}`. Line feeds and tabs stay.
/// `colours`: so do the beginnings of escape sequences, which the formatter has written.
pub(super) fn visible(line: &[u8], colours: bool) -> Cow<'_, [u8]> {
    let is_suspect =
        |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\n' | b'\t')) || matches!(byte, 0x7f | 0xc2);
    if !line.iter().any(is_suspect) {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len() + 16);
    for char in String::from_utf8_lossy(line).chars() {
        match char {
            '\n' | '\t' => text.push(char),
            ESCAPE if colours => text.push(char),
            '\0' => text.push_str("\\0"),
            '\r' => text.push_str("\\r"),
            '\u{80}'.. if char.is_control() => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(char));
            }
            _ if char.is_control() => {
                let _ = write!(text, "\\x{:02x}", u32::from(char));
            }
            _ => text.push(char),
        }
    }
    Cow::Owned(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_written_in_words() {
        let shown = |line: &str| String::from_utf8(visible(line.as_bytes(), false).into_owned()).unwrap();
        assert_eq!(shown("a\0b\rc\u{1b}[2Jd\u{7f}\u{9b}e\u{8}\n"), "a\\0b\\rc\\x1b[2Jd\\x7f\\u{9b}e\\x08\n");
        assert_eq!(shown("plain\tä ° é\n    more\n"), "plain\tä ° é\n    more\n");
        let coloured = "\u{1b}[31mred\u{1b}[0m\0\n".as_bytes();
        assert_eq!(*visible(coloured, true), *b"\x1b[31mred\x1b[0m\\0\n");
    }
}
