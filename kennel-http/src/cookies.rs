//! The `Cookie` header of a request, and `Set-Cookie` lines for a response (RFC 6265).

use thiserror::Error;

/// The cookies of one `Cookie` header in order. Quotes around a value are taken off; nothing else is
/// decoded, since no two browsers and servers agree on an encoding.
pub fn pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|b| *b == b';').filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        (!name.is_empty()).then_some((name, value))
    })
}

/// What a `Set-Cookie` line says beside name and value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// `Max-Age`, seconds; 0 or less deletes the cookie.
    pub max_age: Option<i64>,
    /// `Path`.
    pub path: Option<String>,
    /// `Domain`.
    pub domain: Option<String>,
    /// `SameSite`: `Strict`, `Lax` or `None`.
    pub same_site: Option<String>,
    /// `Secure`.
    pub secure: bool,
    /// `HttpOnly`.
    pub http_only: bool,
}

/// Why a cookie cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CookieError {
    /// A name that is no token.
    #[error("`{name}` is no cookie name")]
    BadName {
        /// The name, with what cannot be shown escaped.
        name: String,
    },
    /// A value or attribute with a byte that would end it early.
    #[error("the {part} of cookie `{name}` may not contain {byte:?}")]
    BadValue {
        /// The cookie's name.
        name: String,
        /// `value`, `path` and so on.
        part: &'static str,
        /// The offending byte.
        byte: char,
    },
    /// A SameSite that browsers do not know.
    #[error("same_site of cookie `{name}` is `{value}`, expected Strict, Lax or None")]
    BadSameSite {
        /// The cookie's name.
        name: String,
        /// What was given.
        value: String,
    },
}

/// The value of a `Set-Cookie` line.
///
/// # Errors
///
/// [`CookieError`] when name, value or an attribute holds a byte that does not belong there.
pub fn set_cookie(name: &[u8], value: &[u8], attributes: &Attributes) -> Result<Vec<u8>, CookieError> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    let token = |b: &u8| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(b);
    if name.is_empty() || !name.iter().all(token) {
        return Err(CookieError::BadName { name: name.escape_ascii().to_string() });
    }
    let check = |part, text: &[u8], allowed: fn(u8) -> bool| match text.iter().find(|b| !allowed(**b)) {
        Some(byte) => Err(CookieError::BadValue { name: shown(), part, byte: char::from(*byte) }),
        None => Ok(()),
    };
    check("value", value, |b| b > 0x20 && b != 0x7f && !b"\",;\\".contains(&b))?;

    let mut out = [name, b"=", value].concat();
    let mut attribute = |part: &'static str, label: &str, text: &str| {
        check(part, text.as_bytes(), |b| b >= 0x20 && b != 0x7f && b != b';')?;
        out.extend_from_slice(format!("; {label}={text}").as_bytes());
        Ok(())
    };
    if let Some(seconds) = attributes.max_age {
        attribute("max_age", "Max-Age", &seconds.to_string())?;
    }
    if let Some(path) = &attributes.path {
        attribute("path", "Path", path)?;
    }
    if let Some(domain) = &attributes.domain {
        attribute("domain", "Domain", domain)?;
    }
    if let Some(value) = &attributes.same_site {
        let known = ["Strict", "Lax", "None"].into_iter().find(|known| known.eq_ignore_ascii_case(value));
        let known = known.ok_or_else(|| CookieError::BadSameSite { name: shown(), value: value.clone() })?;
        attribute("same_site", "SameSite", known)?;
    }
    if attributes.secure {
        out.extend_from_slice(b"; Secure");
    }
    if attributes.http_only {
        out.extend_from_slice(b"; HttpOnly");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_header_comes_apart() {
        let found: Vec<_> = pairs(b"a=1; b=\"two\";c = x=y ; junk; =z; d=").collect();
        assert_eq!(found, [(&b"a"[..], &b"1"[..]), (b"b", b"two"), (b"c", b"x=y"), (b"d", b"")]);
    }

    #[test]
    fn a_set_cookie_line_has_its_attributes() {
        let attributes = Attributes {
            max_age: Some(60),
            path: Some("/".into()),
            same_site: Some("lax".into()),
            secure: true,
            http_only: true,
            ..Default::default()
        };
        let line = set_cookie(b"id", b"abc", &attributes).unwrap();
        assert_eq!(line, b"id=abc; Max-Age=60; Path=/; SameSite=Lax; Secure; HttpOnly");
    }

    #[test]
    fn nothing_ends_a_cookie_early() {
        let none = Attributes::default();
        for value in [&b"a;b"[..], b"a b", b"a\r\n", b"\"", b"a,b"] {
            assert!(set_cookie(b"id", value, &none).is_err());
        }
        assert!(set_cookie(b"i d", b"", &none).is_err());
        let path = Attributes { path: Some("/; Secure".into()), ..Default::default() };
        assert!(set_cookie(b"id", b"", &path).is_err());
    }
}
