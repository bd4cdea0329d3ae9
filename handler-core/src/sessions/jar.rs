//! Where sessions come from and go to: the cookie of an app, and all that is signed with the app's keys.
//!
//! The cookie is `TIME.ID.JSON.SIGNATURE`: when it was written; 16 bytes by chance that [CSRF tokens](super::csrf) hang
//! on, made with the session and kept as long as it lives; and its values, both in base64url.

use super::id::Id;
use super::{Keys, Options, TokenError, csrf, token};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kennel_http::cookies;
use thiserror::Error;

/// The largest cookie that is written, name and value, bytes: browsers keep 4096 with all attributes.
pub const MAX_COOKIE: usize = 4000;

/// Why a session cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// It does not fit a cookie.
    #[error(
        "the session has {size} bytes as a cookie, at most {MAX_COOKIE} fit; keep an id in it, and the rest in a database"
    )]
    TooLarge {
        /// Name and value, bytes.
        size: usize,
    },
    /// It is no object.
    #[error("a session is a table of names and values, not a list or a single value")]
    NoObject,
    /// The worker was given no keys.
    #[error("there is no key to sign with; this works in an app that `kennel run` serves")]
    NoKey,
}

/// The sessions and tokens of an app.
#[derive(Debug)]
pub struct Jar {
    options: Options,
    session: Keys,
    csrf: Keys,
    tokens: Keys,
}

/// What a request brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    /// No cookie of the name.
    Nothing,
    /// A cookie that is worth nothing: changed, of another key, no session at all, or one of several.
    Spoilt,
    /// A session at another time: it has expired, or a clock is wrong.
    Untimely,
    /// A session.
    Session { id: Id, json: String },
}

impl Jar {
    /// The jar of an app with these options.
    pub fn new(keys: &Keys, options: Options) -> Self {
        let derive = |purpose| keys.derive(purpose, &options.name);
        let (session, csrf, tokens) = (derive("session"), derive("csrf"), derive("token"));
        Self { options, session, csrf, tokens }
    }

    /// Signs JSON for a link, an address or a field.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoKey`].
    pub fn sign(&self, json: &str, now: u64) -> Result<String, SessionError> {
        match self.tokens.is_empty() {
            true => Err(SessionError::NoKey),
            false => Ok(token::sign(&self.tokens, &URL_SAFE_NO_PAD.encode(json), now)),
        }
    }

    /// The JSON that was signed, at most `max_age` seconds ago.
    ///
    /// # Errors
    ///
    /// [`TokenError`].
    pub fn unsign(&self, text: &[u8], max_age: Option<u64>, now: u64) -> Result<String, TokenError> {
        let body = token::unsign(&self.tokens, text, max_age, now)?;
        let json = URL_SAFE_NO_PAD.decode(body).ok().and_then(|json| String::from_utf8(json).ok());
        json.ok_or(TokenError::Forged)
    }

    /// Reads the session of a request from its `Cookie` headers.
    pub(super) fn read<'a>(&self, headers: impl Iterator<Item = &'a [u8]>, now: u64) -> Brought {
        let name = self.options.name.as_bytes();
        let mut found = headers.flat_map(cookies::pairs).filter(|(found, _)| *found == name);
        let Some((_, value)) = found.next() else { return Brought::Nothing };
        // Of two, one was put there by another path or domain, and nothing tells which.
        if found.next().is_some() || name.len() + value.len() > MAX_COOKIE {
            return Brought::Spoilt;
        }
        match token::unsign(&self.session, value, Some(self.options.max_age), now) {
            Ok(body) => Self::parse(body).unwrap_or(Brought::Spoilt),
            Err(TokenError::Expired | TokenError::Early) => Brought::Untimely,
            Err(TokenError::Forged) => Brought::Spoilt,
        }
    }

    fn parse(body: &str) -> Option<Brought> {
        let (id, json) = body.split_once('.')?;
        let id = URL_SAFE_NO_PAD.decode(id).ok()?.try_into().ok()?;
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(json).ok()?).ok()?;
        Some(Brought::Session { id, json })
    }

    /// The `Set-Cookie` value that keeps a session.
    pub(super) fn write(&self, id: &Id, json: &str, now: u64, https: bool) -> Result<Vec<u8>, SessionError> {
        if self.session.is_empty() {
            return Err(SessionError::NoKey);
        }
        let body = format!("{}.{}", URL_SAFE_NO_PAD.encode(id), URL_SAFE_NO_PAD.encode(json));
        let value = token::sign(&self.session, &body, now);
        let size = self.options.name.len() + 1 + value.len();
        if size > MAX_COOKIE {
            return Err(SessionError::TooLarge { size });
        }
        Ok(self.line(value.as_bytes(), self.options.max_age, https))
    }

    /// The `Set-Cookie` value that makes browsers forget it.
    pub(super) fn clear(&self, https: bool) -> Vec<u8> {
        self.line(b"", 0, https)
    }

    fn line(&self, value: &[u8], max_age: u64, https: bool) -> Vec<u8> {
        let attributes = self.options.attributes(max_age, https);
        cookies::set_cookie(self.options.name.as_bytes(), value, &attributes)
            .expect("options are checked, and values are base64 and dots")
    }

    pub(super) fn csrf_token(&self, id: &Id, mask: &csrf::Mask) -> String {
        csrf::token(&self.csrf, id, mask)
    }

    pub(super) fn is_csrf_token(&self, id: &Id, token: &[u8]) -> bool {
        csrf::is_token(&self.csrf, id, token)
    }

    pub(super) fn has_keys(&self) -> bool {
        !self.session.is_empty()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Secret;
    use super::*;

    pub(in super::super) fn jar(secret: &str) -> Jar {
        Jar::new(&Keys::of(&[Secret::new(secret.as_bytes()).unwrap()]), Options::of_mount("/"))
    }

    /// The cookie of a `Set-Cookie` line, as the browser sends it back.
    pub(in super::super) fn sent_back(line: &[u8]) -> Vec<u8> {
        line.split(|byte| *byte == b';').next().unwrap().to_vec()
    }

    const NOW: u64 = 1_700_000_000;
    const SECRET: &str = "0123456789abcdef";

    fn read(jar: &Jar, header: &[u8], now: u64) -> Brought {
        jar.read(std::iter::once(header), now)
    }

    #[test]
    fn a_session_comes_back_until_it_expires() {
        let jar = jar(SECRET);
        let line = jar.write(&[7; 16], r#"{"user":"ü"}"#, NOW, false).unwrap();
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.starts_with("kennel_session=1700000000.BwcHBwcHBwcHBwcHBwcHBw.eyJ1c2VyIjoiw7wifQ."));
        assert!(text.ends_with("; Max-Age=1209600; Path=/; SameSite=Lax; HttpOnly"), "{text}");
        let cookie = sent_back(&line);
        let session = Brought::Session { id: [7; 16], json: r#"{"user":"ü"}"#.into() };
        assert_eq!(read(&jar, &cookie, NOW + 1_209_600), session);
        assert_eq!(read(&jar, &cookie, NOW + 1_209_601), Brought::Untimely);
        assert_eq!(read(&jar, &cookie, NOW - 7200), Brought::Untimely, "a clock was set back");
        assert_eq!(read(&jar, b"a=1; b=2", NOW), Brought::Nothing);
    }

    #[test]
    fn what_is_not_one_whole_session_is_none() {
        let here = jar(SECRET);
        let cookie = sent_back(&here.write(&[7; 16], "{}", NOW, false).unwrap());
        assert_eq!(read(&jar("another secret of mine"), &cookie, NOW), Brought::Spoilt);
        let other = Keys::of(&[Secret::new(SECRET.as_bytes()).unwrap()]);
        let renamed = String::from_utf8(cookie.clone()).unwrap().replace("kennel_session=", "mine=");
        let mine = Jar::new(&other, Options { name: "mine".into(), ..Options::of_mount("/") });
        assert_eq!(read(&mine, renamed.as_bytes(), NOW), Brought::Spoilt, "signed under another name");
        assert_eq!(read(&here, &[&cookie[..], b"; ", &cookie].concat(), NOW), Brought::Spoilt);
        assert_eq!(here.read([&cookie[..], &cookie].into_iter(), NOW), Brought::Spoilt);
        let token = here.sign("{}", NOW).unwrap();
        for value in ["", ".", "..", "1.2.3.4", &token, &"x".repeat(5000)] {
            assert_eq!(read(&here, format!("kennel_session={value}").as_bytes(), NOW), Brought::Spoilt);
        }
    }

    #[test]
    fn a_session_that_does_not_fit_is_an_error_with_both_numbers() {
        let jar = jar(SECRET);
        assert!(jar.write(&[7; 16], &"x".repeat(2890), NOW, true).is_ok());
        let problem = jar.write(&[7; 16], &"x".repeat(4000), NOW, true).unwrap_err();
        assert!(problem.to_string().contains("5427 bytes as a cookie, at most 4000 fit"), "{problem}");
    }

    #[test]
    fn over_https_the_cookie_is_secure() {
        let jar = jar(SECRET);
        assert!(jar.clear(true).ends_with(b"; Secure; HttpOnly"));
        assert_eq!(jar.clear(false), b"kennel_session=; Max-Age=0; Path=/; SameSite=Lax; HttpOnly");
    }

    #[test]
    fn tokens_for_links_have_an_age() {
        let jar = jar(SECRET);
        let text = jar.sign(r#"{"user":7}"#, NOW).unwrap();
        assert_eq!(jar.unsign(text.as_bytes(), Some(60), NOW + 60).unwrap(), r#"{"user":7}"#);
        assert_eq!(jar.unsign(text.as_bytes(), Some(60), NOW + 61), Err(TokenError::Expired));
        assert_eq!(jar.unsign(b"x", None, NOW), Err(TokenError::Forged));
        let none = Jar::new(&Keys::default(), Options::of_mount("/"));
        assert_eq!(none.sign("1", NOW), Err(SessionError::NoKey));
        assert_eq!(none.write(&[7; 16], "{}", NOW, false), Err(SessionError::NoKey));
    }
}
