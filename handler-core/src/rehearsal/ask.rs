//! A request that a test makes, and its bytes.

use super::message::{Pairs, own};
use kennel_http::fields::is_token_byte;
use thiserror::Error;

/// A request to be made.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// In upper case.
    pub method: String,
    /// The path, perhaps with a query; for a socket `@name` or `<tag`.
    pub target: String,
    /// Names and values that are added to the query, not yet encoded.
    pub query: Pairs,
    /// Names and values of headers.
    pub headers: Pairs,
    /// Cookies beside those of the jar.
    pub cookies: Pairs,
    /// What is sent.
    pub body: Body,
}

/// What a request sends.
#[derive(Debug, Clone, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// Bytes as they are.
    Bytes(Vec<u8>),
    /// JSON text.
    Json(Vec<u8>),
    /// Fields, as `application/x-www-form-urlencoded`.
    Form(Pairs),
    /// Fields and files, as `multipart/form-data`.
    Multipart(Pairs, Vec<FilePart>),
}

/// A file in a form.
#[derive(Debug, Clone, Default)]
pub struct FilePart {
    /// The field's name.
    pub name: Vec<u8>,
    /// The file's name, as the client says it.
    pub filename: Vec<u8>,
    /// Its type; empty: `application/octet-stream`.
    pub content_type: Vec<u8>,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// Why something is no request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// A method that is no word.
    #[error("a method is a word like GET, not `{0}`")]
    Method(String),
    /// A path without its slash, or with a blank.
    #[error("a path begins with `/` and has no blanks (they are written %20), not `{0}`")]
    Path(String),
    /// A path that can be connected to, and is none.
    #[error("what can be connected to begins with `/`, `@` or `<` and has no blanks, not `{0}`")]
    Channel(String),
    /// A name that is no header's.
    #[error("`{0}` is no name of a header")]
    HeaderName(String),
    /// A line break or a NUL in a header.
    #[error("the value of header `{0}` has a line break or a NUL")]
    HeaderValue(String),
}

/// Between the parts of a form; no content of a test has it by chance.
const BOUNDARY: &str = "----kennel-rehearsal-8d1f03b7c2";

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether it can stand in a request line.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

impl Ask {
    /// A request without anything.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), ..Self::default() }
    }

    /// Path and query, the added ones too.
    ///
    /// # Errors
    ///
    /// [`AskError::Path`].
    pub(super) fn path_and_query(&self) -> Result<(String, Option<String>), AskError> {
        // What is behind a `#` never leaves a client.
        let target = self.target.split('#').next().unwrap_or_default();
        if !target.starts_with('/') || !is_plain(target) {
            return Err(AskError::Path(self.target.clone()));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        if self.query.is_empty() {
            return Ok((path.to_owned(), query));
        }
        let added = encode_form(&self.query);
        let query = match query.filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{added}"),
            None => added,
        };
        Ok((path.to_owned(), Some(query)))
    }

    /// The client's headers in lower case, as Mongrel2 hands them on, and the body. `cookies` come first in their header.
    ///
    /// # Errors
    ///
    /// [`AskError`] for a header that no client can send.
    pub(super) fn headers_and_body(&self, cookies: Pairs) -> Result<(Pairs, Vec<u8>), AskError> {
        let mut headers = Pairs::new();
        for (name, value) in &self.headers {
            if name.is_empty() || !name.iter().all(|byte| is_token_byte(*byte)) {
                return Err(AskError::HeaderName(shown(name)));
            }
            if value.iter().any(|byte| b"\r\n\0".contains(byte)) {
                return Err(AskError::HeaderValue(shown(name)));
            }
            headers.push((name.to_ascii_lowercase(), value.clone()));
        }
        let mut add = |name: &str, value: &[u8]| {
            if !headers.iter().any(|(known, _)| known == name.as_bytes()) {
                headers.push((name.as_bytes().to_vec(), value.to_vec()));
            }
        };
        add("host", b"localhost:6767");
        let (body, content_type) = self.body.encode();
        if let Some(content_type) = content_type {
            add("content-type", content_type.as_bytes());
        }
        if !matches!(self.body, Body::None) || matches!(&*self.method, "POST" | "PUT" | "PATCH") {
            add("content-length", body.len().to_string().as_bytes());
        }
        let mut line = Vec::new();
        for (name, value) in cookies.iter().chain(&self.cookies) {
            if name.iter().chain(value).any(|byte| b";\r\n\0".contains(byte)) {
                return Err(AskError::HeaderValue("cookie".into()));
            }
            let given = self.cookies.iter().any(|(given, _)| given == name);
            if given && !self.cookies.iter().any(|(n, v)| n == name && v == value) {
                continue;
            }
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(name);
            line.push(b'=');
            line.extend_from_slice(value);
        }
        if !line.is_empty() {
            headers.push((b"cookie".to_vec(), line));
        }
        Ok((headers, body))
    }

    /// The fields that Mongrel2 itself writes into every message.
    pub(super) fn server_fields(
        &self,
        method: &str,
        path: &str,
        query: Option<&str>,
        pattern: &str,
    ) -> Pairs {
        let uri = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let mut fields = vec![
            own("PATH", path),
            own("x-forwarded-for", "127.0.0.1"),
            own("METHOD", method),
            own("VERSION", "HTTP/1.1"),
            own("URI", &uri),
            own("PATTERN", pattern),
            own("URL_SCHEME", "http"),
            own("REMOTE_ADDR", "127.0.0.1"),
            own("DOWNLOAD_CREDITS", "102400"),
        ];
        fields.extend(query.map(|query| own("QUERY", query)));
        fields
    }

    /// Whether it is a method as clients send them.
    ///
    /// # Errors
    ///
    /// [`AskError::Method`].
    pub(super) fn check_method(&self) -> Result<(), AskError> {
        match !self.method.is_empty() && self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            true => Ok(()),
            false => Err(AskError::Method(self.method.clone())),
        }
    }

    /// Whether a socket can be connected to it: `@name` or `<tag`.
    ///
    /// # Errors
    ///
    /// [`AskError::Channel`].
    pub(super) fn is_socket(&self) -> Result<bool, AskError> {
        match self.target.as_bytes() {
            [b'/', ..] => Ok(false),
            [b'@' | b'<', _, ..] if is_plain(&self.target) => Ok(true),
            _ => Err(AskError::Channel(self.target.clone())),
        }
    }
}

impl Body {
    /// Its bytes, and its type where it has one.
    fn encode(&self) -> (Vec<u8>, Option<String>) {
        match self {
            Self::None => (Vec::new(), None),
            Self::Bytes(bytes) => (bytes.clone(), None),
            Self::Json(text) => (text.clone(), Some("application/json".into())),
            Self::Form(fields) => {
                (encode_form(fields).into_bytes(), Some("application/x-www-form-urlencoded".into()))
            }
            Self::Multipart(fields, files) => {
                let type_ = format!("multipart/form-data; boundary={BOUNDARY}");
                (encode_multipart(fields, files), Some(type_))
            }
        }
    }
}

/// `a=1&b=2`, as browsers write it.
fn encode_form(fields: &[(Vec<u8>, Vec<u8>)]) -> String {
    let mut out = String::new();
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            match byte {
                b' ' => out.push('+'),
                byte if byte.is_ascii_alphanumeric() || b"-._*".contains(byte) => out.push(char::from(*byte)),
                byte => out.push_str(&format!("%{byte:02X}")),
            }
        }
        std::mem::take(&mut out)
    };
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", put(name), put(value))).collect();
    pairs.join("&")
}

/// A form with files, as browsers write it.
fn encode_multipart(fields: &[(Vec<u8>, Vec<u8>)], files: &[FilePart]) -> Vec<u8> {
    // Browsers escape what would end the quoted name.
    let quoted = |name: &[u8]| {
        let name = shown(name).replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A");
        format!("\"{name}\"")
    };
    let mut out = Vec::new();
    let mut part = |head: String, content: &[u8]| {
        out.extend_from_slice(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes(),
        );
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    };
    for (name, value) in fields {
        part(format!("name={}", quoted(name)), value);
    }
    for file in files {
        let type_ = match &file.content_type[..] {
            b"" => "application/octet-stream".to_owned(),
            named => shown(named).replace(['\r', '\n'], " "),
        };
        let (name, filename) = (quoted(&file.name), quoted(&file.filename));
        part(format!("name={name}; filename={filename}\r\nContent-Type: {type_}"), &file.content);
    }
    out.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(name, value)| own(name, value)).collect()
    }

    #[test]
    fn a_query_is_encoded_and_added() {
        let ask = Ask { query: pairs(&[("a b", "ü&"), ("c", "")]), ..Ask::new("GET", "/x?y=1#part") };
        assert_eq!(ask.path_and_query(), Ok(("/x".into(), Some("y=1&a+b=%C3%BC%26&c=".into()))));
        let problem = Ask::new("GET", "x y").path_and_query().unwrap_err();
        assert_eq!(
            problem.to_string(),
            "a path begins with `/` and has no blanks (they are written %20), not `x y`"
        );
    }

    #[test]
    fn a_body_has_its_type_and_length_unless_the_test_says_otherwise() {
        let mut ask = Ask { body: Body::Form(pairs(&[("a", "1")])), ..Ask::new("POST", "/") };
        let value = |headers: &Pairs, name: &str| {
            let found = headers.iter().find(|(n, _)| n == name.as_bytes());
            found.map(|(_, value)| shown(value))
        };
        let (headers, body) = ask.headers_and_body(Pairs::new()).unwrap();
        assert_eq!(body, b"a=1");
        assert_eq!(value(&headers, "content-type").unwrap(), "application/x-www-form-urlencoded");
        assert_eq!(value(&headers, "content-length").unwrap(), "3");
        ask.headers = pairs(&[("Content-Type", "text/x")]);
        let (headers, _) = ask.headers_and_body(Pairs::new()).unwrap();
        assert_eq!(value(&headers, "content-type").unwrap(), "text/x");
    }

    #[test]
    fn what_would_break_a_header_is_refused() {
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\ny")] {
            let ask = Ask { headers: pairs(&[(name, value)]), ..Ask::new("GET", "/") };
            assert!(ask.headers_and_body(Pairs::new()).is_err(), "{name}: {value}");
        }
    }

    #[test]
    fn a_cookie_of_the_test_takes_the_place_of_the_jars() {
        let ask = Ask { cookies: pairs(&[("a", "2")]), ..Ask::new("GET", "/") };
        let (headers, _) = ask.headers_and_body(pairs(&[("a", "1"), ("b", "3")])).unwrap();
        assert_eq!(headers.last().unwrap(), &own("cookie", "b=3; a=2"));
    }
}
