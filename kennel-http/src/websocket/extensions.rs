//! Headers that list things: extensions with parameters (RFC 6455, 9.1), and plain tokens.
//!
//! What does not fit the grammar fails the handshake; the RFC leaves no choice.

use crate::fields::is_token_byte;
use std::borrow::Cow;
use thiserror::Error;

/// A header value that does not fit its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected {expected} at byte {offset}")]
pub struct GrammarError {
    /// Offset in the header's value.
    pub offset: usize,
    /// What should stand there.
    pub expected: &'static str,
}

/// One extension, as offered or answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name.
    pub name: &'a str,
    /// Parameters in order, with values where they have one, unquoted.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Reads a `Sec-WebSocket-Extensions` value; elements may be empty, but not all of them.
///
/// # Errors
///
/// [`GrammarError`] where the value stops being a list of extensions.
pub fn parse(value: &[u8]) -> Result<Vec<Extension<'_>>, GrammarError> {
    list(value, |reader| {
        let name = reader.token("an extension's name")?;
        let mut parameters = Vec::new();
        while reader.take(b';') {
            let name = reader.token("a parameter's name")?;
            let value = if reader.take(b'=') { Some(reader.token_or_quoted()?) } else { None };
            parameters.push((name, value));
        }
        Ok(Extension { name, parameters })
    })
}

/// Reads a list of tokens such as `Sec-WebSocket-Protocol` or `Connection`.
///
/// # Errors
///
/// [`GrammarError`] where the value stops being a list of tokens.
pub fn tokens(value: &[u8]) -> Result<Vec<&str>, GrammarError> {
    list(value, |reader| reader.token("a token"))
}

fn list<'a, T>(
    value: &'a [u8],
    element: impl Fn(&mut Reader<'a>) -> Result<T, GrammarError>,
) -> Result<Vec<T>, GrammarError> {
    let mut reader = Reader { value, at: 0 };
    let mut found = Vec::new();
    loop {
        while reader.take(b',') {}
        if reader.at == value.len() && !found.is_empty() {
            return Ok(found);
        }
        found.push(element(&mut reader)?);
        if reader.at < value.len() && !reader.take(b',') {
            return Err(reader.expected("a comma"));
        }
    }
}

/// A place in a header value, always after blanks.
struct Reader<'a> {
    value: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn expected(&self, expected: &'static str) -> GrammarError {
        GrammarError { offset: self.at, expected }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.value.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.value.get(self.at) == Some(&byte);
        if found {
            self.at += 1;
            self.skip_blanks();
        }
        found
    }

    fn token(&mut self, expected: &'static str) -> Result<&'a str, GrammarError> {
        self.skip_blanks();
        let left = &self.value[self.at..];
        let size = left.iter().position(|b| !is_token_byte(*b)).unwrap_or(left.len());
        let token = std::str::from_utf8(&left[..size]).ok().filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.expected(expected))?;
        self.at += size;
        self.skip_blanks();
        Ok(token)
    }

    /// A quoted value must be a token once its quotes and backslashes are gone.
    fn token_or_quoted(&mut self) -> Result<Cow<'a, str>, GrammarError> {
        if self.value.get(self.at) != Some(&b'"') {
            return self.token("a parameter's value").map(Cow::Borrowed);
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.value[self.at..] {
                [b'"', ..] if !text.is_empty() => break,
                [b'\\', byte, ..] if is_token_byte(byte) => {
                    text.push(char::from(byte));
                    self.at += 2;
                }
                [byte, ..] if is_token_byte(byte) => {
                    text.push(char::from(byte));
                    self.at += 1;
                }
                _ => return Err(self.expected("a token in quotes")),
            }
        }
        self.at += 1;
        self.skip_blanks();
        Ok(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Random;
    use super::*;

    /// Extensions written back in the plainest form.
    fn plain(value: &str) -> Result<String, usize> {
        let extensions = parse(value.as_bytes()).map_err(|e| e.offset)?;
        let texts = extensions.iter().map(|extension| {
            let parameters = extension.parameters.iter().map(|(name, value)| match value {
                Some(value) => format!(";{name}={value}"),
                None => format!(";{name}"),
            });
            format!("{}{}", extension.name, parameters.collect::<String>())
        });
        Ok(texts.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn extensions_are_read_however_they_are_spaced_and_quoted() {
        for (value, expected) in [
            ("foo", Ok("foo")),
            (" foo ;bar;baz=2 , foo; bar = \"2\"", Ok("foo;bar;baz=2,foo;bar=2")),
            ("a; b=\"1\\0\"", Ok("a;b=10")),
            (", a,, b ,", Ok("a,b")),
            ("", Err(0)),
            (" , ", Err(3)),
            ("a b", Err(2)),
            ("a;", Err(2)),
            ("a;b=", Err(4)),
            ("a;b=\"\"", Err(5)),
            ("a;b=\"1 0\"", Err(6)),
            ("a;b=\"10", Err(7)),
            ("a;b=\"10\\", Err(7)),
            ("a=1", Err(1)),
            ("\u{e9}", Err(0)),
        ] {
            assert_eq!(plain(value), expected.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn tokens_are_read() {
        assert_eq!(tokens(b"chat, superchat").unwrap(), ["chat", "superchat"]);
        assert!(tokens(b"chat; x").is_err());
        assert!(tokens(b"").is_err());
    }

    #[test]
    fn no_bytes_panic_or_loop() {
        let mut random = Random(3);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..random.below(12)).map(|_| b"ab;=,\"\\ \xff"[random.below(9)]).collect();
            let _ = parse(&bytes);
        }
    }
}
