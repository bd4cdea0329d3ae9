//! One request's session, from its first use to the header of the answer.
//!
//! The languages hold the values, and hand their JSON back when the answer begins; here it is decided whether a cookie is
//! to be set. Reading sets none.

use super::id::Id;
use super::jar::{Brought, Jar, SessionError};

/// Bytes of entropy that a visit may need at a time.
pub const ENTROPY: usize = 48;

/// A session of no values.
const EMPTY: &str = "{}";

/// One request's session.
#[derive(Debug)]
pub struct Visit {
    /// The JSON that came, if a session came.
    came: Option<String>,
    /// A cookie came that is worth nothing.
    spoilt: bool,
    /// A session came that is not valid now. The visitor keeps it: it is valid again when the clock is right, and
    /// browsers forget by themselves what has expired.
    untimely: bool,
    /// The session's id, once it has one.
    id: Option<Id>,
    /// Something hangs on the id that did not come with the request, so it has to go out.
    keeps_id: bool,
}

impl Visit {
    /// Reads what the `Cookie` headers of the request bring.
    pub fn open<'a>(jar: &Jar, headers: impl Iterator<Item = &'a [u8]>, now: u64) -> Self {
        let brought = jar.read(headers, now);
        let (spoilt, untimely) = (brought == Brought::Spoilt, brought == Brought::Untimely);
        let (came, id) = match brought {
            Brought::Session { id, json } => (Some(json), Some(id)),
            Brought::Nothing | Brought::Spoilt | Brought::Untimely => (None, None),
        };
        Self { came, spoilt, untimely, id, keeps_id: false }
    }

    /// The values that came, a JSON object.
    pub fn json(&self) -> &str {
        self.came.as_deref().unwrap_or(EMPTY)
    }

    /// The script has thrown the session away: what it writes from now on is another one.
    pub fn forget(&mut self) {
        self.id = None;
        self.keeps_id = false;
        self.spoilt |= self.untimely;
    }

    /// A token for a form of this visitor's. A visitor without a session gets one, which is empty.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoKey`].
    pub fn csrf_token(&mut self, jar: &Jar, entropy: [u8; ENTROPY]) -> Result<String, SessionError> {
        if !jar.has_keys() {
            return Err(SessionError::NoKey);
        }
        let (mask, id) = entropy.split_at(32);
        let id = *self.id.get_or_insert(id.try_into().expect("48 bytes less 32"));
        self.keeps_id = true;
        Ok(jar.csrf_token(&id, mask.try_into().expect("32 bytes")))
    }

    /// Whether a token belongs to the session that came.
    pub fn allows(&self, jar: &Jar, token: &[u8]) -> bool {
        self.id.is_some_and(|id| jar.is_csrf_token(&id, token))
    }

    /// The `Set-Cookie` value for an answer that begins with these values in the session, if there has to be one.
    /// `same` says whether they are those that came, where their JSON differs.
    ///
    /// # Errors
    ///
    /// [`SessionError`]: the values cannot be kept.
    pub fn close(
        &self,
        jar: &Jar,
        json: &str,
        same: bool,
        now: u64,
        https: bool,
        entropy: [u8; ENTROPY],
    ) -> Result<Option<Vec<u8>>, SessionError> {
        if !json.starts_with('{') {
            return Err(SessionError::NoObject);
        }
        let came_here = self.came.is_some() && self.id.is_some();
        let same = came_here && (same || json == self.json());
        if same {
            return Ok(None);
        }
        if json == EMPTY && !self.keeps_id {
            let has_cookie = self.spoilt || self.came.is_some();
            return Ok(has_cookie.then(|| jar.clear(https)));
        }
        let id = self.id.unwrap_or_else(|| *entropy.first_chunk().expect("48 bytes are 16 and more"));
        jar.write(&id, json, now, https).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::jar::tests::{jar, sent_back};
    use super::*;

    const NOW: u64 = 1_700_000_000;
    const SECRET: &str = "0123456789abcdef";

    fn open(jar: &Jar, cookie: &[u8]) -> Visit {
        Visit::open(jar, std::iter::once(cookie), NOW)
    }

    fn close(jar: &Jar, visit: &Visit, json: &str) -> Option<String> {
        let line = visit.close(jar, json, false, NOW, false, [9; ENTROPY]).unwrap();
        line.map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn reading_sets_no_cookie_and_changing_does() {
        let jar = jar(SECRET);
        let visit = open(&jar, b"");
        assert_eq!((visit.json(), close(&jar, &visit, "{}")), ("{}", None));
        let line = close(&jar, &visit, r#"{"n":1}"#).unwrap();
        let visit = open(&jar, &sent_back(line.as_bytes()));
        assert_eq!((visit.json(), close(&jar, &visit, r#"{"n":1}"#)), (r#"{"n":1}"#, None));
        let same = visit.close(&jar, r#"{ "n": 1 }"#, true, NOW, false, [9; ENTROPY]);
        assert_eq!(same, Ok(None), "the same in other letters");
        let next = close(&jar, &visit, r#"{"n":2}"#).unwrap();
        assert_eq!(next[..50], line[..50], "the id stays");
        let cleared = close(&jar, &visit, "{}").unwrap();
        assert!(cleared.starts_with("kennel_session=; Max-Age=0;"), "{cleared}");
        assert!(visit.close(&jar, "[1]", false, NOW, false, [9; ENTROPY]).is_err());
    }

    #[test]
    fn a_spoilt_cookie_is_cleared_and_its_session_empty() {
        let jar = jar(SECRET);
        let visit = open(&jar, b"kennel_session=1.2.3.4");
        assert_eq!(visit.json(), "{}");
        assert!(close(&jar, &visit, "{}").unwrap().starts_with("kennel_session=; Max-Age=0;"));
        assert!(close(&jar, &visit, r#"{"n":1}"#).unwrap().contains("Max-Age=1209600"));
    }

    #[test]
    fn a_wrong_clock_hides_a_session_and_does_not_delete_it() {
        let jar = jar(SECRET);
        let line = close(&jar, &open(&jar, b""), r#"{"user":1}"#).unwrap();
        let cookie = sent_back(line.as_bytes());
        for now in [NOW - 7200, NOW + 1_209_601] {
            let mut visit = Visit::open(&jar, std::iter::once(&cookie[..]), now);
            assert_eq!((visit.json(), close(&jar, &visit, "{}")), ("{}", None));
            // Who logs out wants it gone.
            visit.forget();
            assert!(close(&jar, &visit, "{}").unwrap().contains("Max-Age=0"));
        }
        assert_eq!(open(&jar, &cookie).json(), r#"{"user":1}"#);
    }

    #[test]
    fn a_token_for_a_form_keeps_an_empty_session() {
        let jar = jar(SECRET);
        let mut visit = open(&jar, b"");
        let token = visit.csrf_token(&jar, [1; ENTROPY]).unwrap();
        let line = close(&jar, &visit, "{}").expect("the id has to go out");
        let mut next = open(&jar, &sent_back(line.as_bytes()));
        assert!(next.allows(&jar, token.as_bytes()) && !next.allows(&jar, b"x"));
        assert!(next.csrf_token(&jar, [2; ENTROPY]).unwrap() != token);
        assert_eq!(close(&jar, &next, "{}"), None, "it has the cookie already");
        assert!(!open(&jar, b"").allows(&jar, token.as_bytes()));
    }

    #[test]
    fn a_session_that_was_thrown_away_leaves_no_token_behind() {
        let jar = jar(SECRET);
        let mut visit = open(&jar, b"");
        let token = visit.csrf_token(&jar, [1; ENTROPY]).unwrap();
        let mut visit = open(&jar, &sent_back(close(&jar, &visit, "{}").unwrap().as_bytes()));
        visit.forget();
        assert!(close(&jar, &visit, "{}").unwrap().contains("Max-Age=0"));
        let line = close(&jar, &visit, r#"{"user":1}"#).expect("another session");
        assert!(!open(&jar, &sent_back(line.as_bytes())).allows(&jar, token.as_bytes()));
    }
}
