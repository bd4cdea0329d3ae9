//! The target of a request, as Mongrel2 takes it apart.

use super::{Refusal, Span};

/// The parts of a target.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) path: Span,
    /// Path and query.
    pub(super) uri: Span,
    pub(super) query: Option<Span>,
    pub(super) fragment: Option<Span>,
}

impl Target {
    /// Reads a target that begins at `start` in its head. Of the absolute form, `http://host/path`, the scheme is dropped.
    pub(super) fn parse(target: &[u8], start: u32, relaxed: bool) -> Result<Self, Refusal> {
        let scheme = match target.first() {
            Some(b'/') => 0,
            // `OPTIONS *`, and `CONNECT host:port`.
            Some(b'*') if target.len() == 1 => return Err(Refusal(404)),
            _ => match memchr::memmem::find(target, b"://").filter(|end| is_scheme(&target[..*end])) {
                Some(end) => end + 1,
                None if is_authority(target) => return Err(Refusal(404)),
                None => return Err(Refusal(400)),
            },
        };
        let fragment = memchr::memchr(b'#', target);
        let uri = &target[..fragment.unwrap_or(target.len())];
        let query = memchr::memchr(b'?', uri);
        let path = &uri[scheme..query.unwrap_or(uri.len())];
        let is_allowed = |part: &[u8], marks: &[u8]| is_allowed(part, marks, relaxed);
        if !is_allowed(path, b"")
            || query.is_some_and(|at| !is_allowed(&uri[at + 1..], b"?"))
            || fragment.is_some_and(|at| !is_allowed(&target[at + 1..], b"?"))
        {
            return Err(Refusal(400));
        }
        let span = |from: usize, to: usize| Span { start: start + from as u32, end: start + to as u32 };
        Ok(Self {
            path: span(scheme, query.unwrap_or(uri.len())),
            uri: span(scheme, uri.len()),
            query: query.map(|at| span(at + 1, uri.len())),
            fragment: fragment.map(|at| span(at + 1, target.len())),
        })
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
}

/// `host:port`.
fn is_authority(text: &[u8]) -> bool {
    let Some(colon) = memchr::memrchr(b':', text) else { return false };
    let port = &text[colon + 1..];
    colon > 0 && !port.is_empty() && port.iter().all(u8::is_ascii_digit)
}

/// Whether a part holds nothing but the characters of a path, valid escapes, and `marks`.
fn is_allowed(part: &[u8], marks: &[u8], relaxed: bool) -> bool {
    let mut at = 0;
    while let Some(&byte) = part.get(at) {
        at += match byte {
            b'%' if part.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => 3,
            byte if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte) => 1,
            byte if marks.contains(&byte) || (relaxed && b"{}^".contains(&byte)) => 1,
            _ => return false,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(target: &str, relaxed: bool) -> Result<String, u16> {
        let part = |span: Span| target[span.range()].to_owned();
        let read = Target::parse(target.as_bytes(), 0, relaxed).map_err(|refusal| refusal.0)?;
        let optional = |span: Option<Span>| span.map_or("-".to_owned(), part);
        Ok([part(read.path), part(read.uri), optional(read.query), optional(read.fragment)].join(" "))
    }

    #[test]
    fn targets_are_taken_apart_at_the_first_marks() {
        assert_eq!(shown("/q", false).unwrap(), "/q /q - -");
        assert_eq!(shown("/q?", false).unwrap(), "/q /q?  -");
        assert_eq!(shown("/q??x=?y/z", false).unwrap(), "/q /q??x=?y/z ?x=?y/z -");
        assert_eq!(shown("/q?x=1#frag/ment?", false).unwrap(), "/q /q?x=1 x=1 frag/ment?");
        assert_eq!(
            shown("http://localhost/abs/path?x=1", false).unwrap(),
            "//localhost/abs/path //localhost/abs/path?x=1 x=1 -"
        );
        assert_eq!(shown("/a%20b%2Fc%00%ff'(c)*+,;=:@!$&~/-._", false).unwrap().len(), 75);
    }

    #[test]
    fn characters_outside_of_the_grammar_are_refused() {
        for target in [
            "/a%2", "/a%zz", "/a\"", "/a\\", "/a|", "/a[", "/{a}", "/a^", "/?{", "/?a#b#c", "a", "", "**",
            "x:y",
        ] {
            assert_eq!(shown(target, false), Err(400), "{target}");
        }
        assert_eq!(shown("/r/{a}^b?x={y}", true).unwrap(), "/r/{a}^b /r/{a}^b?x={y} x={y} -");
    }

    #[test]
    fn what_is_for_proxies_is_not_found() {
        assert_eq!(shown("*", false), Err(404));
        assert_eq!(shown("example.org:443", false), Err(404));
    }
}
