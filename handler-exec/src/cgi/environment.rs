//! What a CGI script is told of its request: the variables of RFC 3875, section 4.1, and a few that everybody expects.

use crate::input::{first, is_clients};
use kennel_http::host;
use mongrel2_wire::Envelope;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The script and the rest of the path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The part of the path that leads to the script, decoded.
    pub name: &'a str,
    /// Its file.
    pub file: &'a Path,
    /// The folder of all files.
    pub public: &'a Path,
    /// What follows in the path, decoded: empty, or from a slash on.
    pub rest: &'a [u8],
    /// Bytes of the body.
    pub size: u64,
}

/// All variables, and none besides: what is in this process's environment is not the script's business, but for
/// `path`, where programs are found.
pub(super) fn variables(
    asked: Asked<'_>,
    envelope: &Envelope<'_>,
    version: &str,
    path: Option<OsString>,
) -> Vec<(OsString, OsString)> {
    let mut found: Vec<(OsString, OsString)> = Vec::new();
    let mut set = |name: &str, value: &[u8]| {
        // The system takes no NUL, and no header has one.
        if !value.contains(&0) {
            found.push((name.into(), OsString::from_vec(value.to_vec())));
        }
    };
    let field = |name: &[u8]| first(envelope, name).unwrap_or_default();
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", format!("Kennel/{version}").as_bytes());
    set("SERVER_PROTOCOL", &field(b"VERSION"));
    set("REQUEST_METHOD", &field(b"METHOD"));
    set("QUERY_STRING", &field(b"QUERY"));
    set("REQUEST_URI", &field(b"URI"));
    set("SCRIPT_NAME", asked.name.as_bytes());
    set("SCRIPT_FILENAME", asked.file.as_os_str().as_bytes());
    set("DOCUMENT_ROOT", asked.public.as_os_str().as_bytes());
    if !asked.rest.is_empty() {
        set("PATH_INFO", asked.rest);
        set("PATH_TRANSLATED", &[asked.public.as_os_str().as_bytes(), asked.rest].concat());
    }
    set("REMOTE_ADDR", &field(b"REMOTE_ADDR"));
    set("REMOTE_HOST", &field(b"REMOTE_ADDR"));
    let scheme = first(envelope, b"URL_SCHEME").unwrap_or_else(|| b"http".into());
    let authority = field(b"host");
    let (name, port) = host::split(&authority).unwrap_or((b"localhost", None));
    set("SERVER_NAME", name);
    set("SERVER_PORT", port.or(host::default_port(&scheme)).unwrap_or(80).to_string().as_bytes());
    set("REQUEST_SCHEME", &scheme);
    if *scheme == *b"https" {
        set("HTTPS", b"on");
    }
    if let Some(kind) = first(envelope, b"content-type") {
        set("CONTENT_TYPE", &kind);
    }
    if asked.size > 0 || first(envelope, b"content-length").is_some() {
        set("CONTENT_LENGTH", asked.size.to_string().as_bytes());
    }
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        let Some(variable) = variable(name) else { continue };
        let between: &[u8] = if name == b"cookie" { b"; " } else { b", " };
        let values: Vec<_> = values.iter().map(|value| value.bytes()).collect();
        set(&variable, &values.join(between));
    }
    if let Some(path) = path {
        found.push(("PATH".into(), path));
    }
    found
}

/// The variable of a client's header; `None`: the script does not get it.
fn variable(name: &[u8]) -> Option<String> {
    // CONTENT_* are set above. Scripts must not see passwords (RFC 3875, 4.1.18), nor take a client's `Proxy` for the
    // setting that many programs read from HTTP_PROXY.
    const HIDDEN: [&[u8]; 5] =
        [b"content-type", b"content-length", b"authorization", b"proxy-authorization", b"proxy"];
    // `a_b` would pass for `a-b`.
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    if !is_clients(name) || HIDDEN.contains(&name) || !name.iter().all(is_plain) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    Some(format!("HTTP_{}", String::from_utf8_lossy(&upper).replace('-', "_")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn of(headers: &str, rest: &str, size: u64) -> HashMap<String, String> {
        let message = format!("m2 1 /cgi-bin/a/b {}:{headers},0:,", headers.len());
        let envelope = Envelope::parse(message.as_bytes()).unwrap();
        let asked = Asked {
            name: "/cgi-bin/a",
            file: Path::new("/srv/public/cgi-bin/a"),
            public: Path::new("/srv/public"),
            rest: rest.as_bytes(),
            size,
        };
        let text = |text: OsString| text.into_string().unwrap();
        variables(asked, &envelope, "1.0", Some("/bin".into()))
            .into_iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn a_script_gets_the_variables_of_the_standard() {
        let found = of(
            r#"{"METHOD":"POST","VERSION":"HTTP/1.1","URI":"/cgi-bin/a/b?x=1","QUERY":"x=1","REMOTE_ADDR":"1.2.3.4","URL_SCHEME":"https","host":"example.org:8443","content-type":"a/b","content-length":"3","accept":["x","y"],"cookie":["a=1","b=2"],"user-agent":"me"}"#,
            "/b c",
            3,
        );
        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_SOFTWARE", "Kennel/1.0"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_METHOD", "POST"),
            ("QUERY_STRING", "x=1"),
            ("SCRIPT_NAME", "/cgi-bin/a"),
            ("SCRIPT_FILENAME", "/srv/public/cgi-bin/a"),
            ("PATH_INFO", "/b c"),
            ("PATH_TRANSLATED", "/srv/public/b c"),
            ("REMOTE_ADDR", "1.2.3.4"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "8443"),
            ("HTTPS", "on"),
            ("CONTENT_TYPE", "a/b"),
            ("CONTENT_LENGTH", "3"),
            ("HTTP_ACCEPT", "x, y"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_USER_AGENT", "me"),
            ("PATH", "/bin"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!found.contains_key("HTTP_CONTENT_TYPE") && !found.contains_key("HTTP_METHOD"));
    }

    #[test]
    fn what_a_client_must_not_set_is_left_out() {
        let found = of(
            r#"{"METHOD":"GET","proxy":"http://evil","authorization":"Basic x","a_b":"1","x y":"2","a-b":"3"}"#,
            "",
            0,
        );
        assert!(!found.contains_key("HTTP_PROXY") && !found.contains_key("HTTP_AUTHORIZATION"));
        assert_eq!(found.get("HTTP_A_B").map(String::as_str), Some("3"));
        assert!(!found.contains_key("PATH_INFO") && !found.contains_key("CONTENT_LENGTH"));
        assert_eq!(
            (&*found["SERVER_NAME"], &*found["SERVER_PORT"], &*found["QUERY_STRING"]),
            ("localhost", "80", "")
        );
    }
}
