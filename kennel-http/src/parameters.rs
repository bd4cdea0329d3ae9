//! A header's value that has parameters behind its first word: `form-data; name="a"; filename="b.txt"`.
//!
//! Quoted values are read as browsers and curl write them: a backslash escapes a quote or another backslash and is
//! itself otherwise, for old browsers sent whole Windows paths. What has no clear meaning is malformed, since
//! two programs that read one header differently are how filters are passed by.

use std::borrow::Cow;

/// A parameter is cut short, has no name, or something stands behind its closing quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Takes a value apart: its first word, as written, and what [`Parameters`] follow.
pub fn split(value: &[u8]) -> (&[u8], Parameters<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    (value[..end].trim_ascii(), Parameters(&value[end..]))
}

/// Parameters in their order, each with its name as written and its value without quotes. The first malformed one is the
/// last.
#[derive(Debug, Clone)]
pub struct Parameters<'a>(&'a [u8]);

impl<'a> Parameters<'a> {
    /// The value of the only parameter of this name, which is given in lower case.
    ///
    /// # Errors
    ///
    /// When a parameter is malformed, or there are two of this name.
    pub fn only(self, name: &[u8]) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        let mut found = None;
        for parameter in self {
            let (known, value) = parameter?;
            if known.eq_ignore_ascii_case(name) && found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        Ok(found)
    }

    fn read(&mut self) -> Result<(&'a [u8], Cow<'a, [u8]>), Malformed> {
        let at = memchr::memchr(b'=', self.0).ok_or(Malformed)?;
        let name = self.0[..at].trim_ascii();
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_graphic() && !b"\";,".contains(b)) {
            return Err(Malformed);
        }
        let rest = self.0[at + 1..].trim_ascii_start();
        let Some(quoted) = rest.strip_prefix(b"\"") else {
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            self.0 = &rest[end..];
            return Ok((name, Cow::Borrowed(rest[..end].trim_ascii_end())));
        };
        let (value, behind) = unquote(quoted)?;
        self.0 = behind.trim_ascii_start();
        match self.0.first() {
            None | Some(b';') => Ok((name, value)),
            Some(_) => Err(Malformed),
        }
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(&'a [u8], Cow<'a, [u8]>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let skipped = self.0.iter().take_while(|b| matches!(b, b';' | b' ' | b'\t')).count();
        self.0 = &self.0[skipped..];
        if self.0.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.0 = b"";
        }
        Some(read)
    }
}

/// What stands before the closing quote, and what behind it.
fn unquote(quoted: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Malformed> {
    let mut value = Cow::Borrowed(&b""[..]);
    let (mut start, mut at) = (0, 0);
    loop {
        at += memchr::memchr2(b'"', b'\\', &quoted[at..]).ok_or(Malformed)?;
        let piece = &quoted[start..at];
        let escaped = quoted[at] == b'\\';
        if escaped && !matches!(quoted.get(at + 1), Some(b'"' | b'\\')) {
            at += 1;
            continue;
        }
        match value.is_empty() && !escaped {
            true => value = Cow::Borrowed(piece),
            false => value.to_mut().extend_from_slice(piece),
        }
        if !escaped {
            return Ok((value, &quoted[at + 1..]));
        }
        start = at + 1;
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Option<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (_, parameters) = split(value.as_bytes());
        parameters.map(|found| found.map(|(name, value)| (text(name), text(&value))).ok()).collect()
    }

    #[test]
    fn parameters_come_apart_as_browsers_and_curl_write_them() {
        assert_eq!(split(b" form-data ;x=1").0, b"form-data");
        assert_eq!(split(b"text/plain").0, b"text/plain");
        for (value, expected) in [
            ("a", vec![]),
            ("a;", vec![]),
            ("a; b=c ; d = \"e f\";;", vec![("b", "c"), ("d", "e f")]),
            ("a; b=\"\"", vec![("b", "")]),
            ("a; b=\"x;y=z\"; c=d", vec![("b", "x;y=z"), ("c", "d")]),
            ("a; b=\"say \\\"yes\\\"\"", vec![("b", "say \"yes\"")]),
            ("a; b=\"\\\"\"", vec![("b", "\"")]),
            ("a; b=\"C:\\dir\\\\f.txt\"", vec![("b", "C:\\dir\\f.txt")]),
        ] {
            let expected = expected.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            assert_eq!(read(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_not_clear_is_malformed() {
        for value in ["a; b", "a; =c", "a; b=\"c", "a; b=\"c\\\"", "a; b=\"c\"d", "a; b c=d", "a; \"b\"=c"] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn one_that_is_there_twice_is_not_taken() {
        assert_eq!(split(b"a; B=1; c=2").1.only(b"b").unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(split(b"a; c=2").1.only(b"b"), Ok(None));
        assert_eq!(split(b"a; b=1; B=1").1.only(b"b"), Err(Malformed));
    }
}
