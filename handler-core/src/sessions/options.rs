//! What an app says about its sessions.

use kennel_http::cookies::{Attributes, set_cookie};
use thiserror::Error;

/// Two weeks, in seconds.
const TWO_WEEKS: u64 = 14 * 86_400;

/// Why sessions cannot be kept so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// Name, domain or SameSite are none.
    #[error("{0}")]
    Cookie(#[from] kennel_http::cookies::CookieError),
    /// No time that makes sense.
    #[error(
        "max_age of a session is {0} seconds, expected 1 to 34560000 (400 days, the most that browsers keep)"
    )]
    MaxAge(u64),
    /// Browsers drop such a cookie.
    #[error("a session with same_site None needs `secure`")]
    NoneWithoutSecure,
}

/// How an app's sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The cookie's name. Apps of one kennel that give the same name share their sessions.
    pub name: String,
    /// How long a session lives that is not changed, seconds.
    pub max_age: u64,
    /// `Domain`; without it the cookie is this host's alone.
    pub domain: Option<String>,
    /// `SameSite`.
    pub same_site: String,
    /// `Secure`; without it, as the request came: over https or not.
    pub secure: Option<bool>,
}

impl Options {
    /// Those of an app under this mount that says nothing: each app has a name of its own.
    pub fn of_mount(mount: &str) -> Self {
        let mut name = "kennel_session".to_owned();
        for part in mount.split('/').filter(|part| !part.is_empty()) {
            name.push('_');
            name.extend(part.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }));
        }
        Self { name, max_age: TWO_WEEKS, domain: None, same_site: "Lax".to_owned(), secure: None }
    }

    /// Whether a cookie can be written so.
    ///
    /// # Errors
    ///
    /// [`OptionsError`] says what cannot be.
    pub fn check(&self) -> Result<(), OptionsError> {
        if !(1..=400 * 86_400).contains(&self.max_age) {
            return Err(OptionsError::MaxAge(self.max_age));
        }
        if self.same_site.eq_ignore_ascii_case("none") && self.secure != Some(true) {
            return Err(OptionsError::NoneWithoutSecure);
        }
        set_cookie(self.name.as_bytes(), b"", &self.attributes(0, true))?;
        Ok(())
    }

    pub(super) fn attributes(&self, max_age: u64, https: bool) -> Attributes {
        Attributes {
            max_age: Some(max_age.try_into().unwrap_or(i64::MAX)),
            path: Some("/".to_owned()),
            domain: self.domain.clone(),
            same_site: Some(self.same_site.clone()),
            secure: self.secure.unwrap_or(https),
            http_only: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mount_has_a_cookie_of_its_own() {
        let name = |mount| Options::of_mount(mount).name;
        assert_eq!((name("/"), name("/shop")), ("kennel_session".into(), "kennel_session_shop".into()));
        assert_eq!(name("/a.b/ü/"), "kennel_session_a-b_-");
        assert!(Options::of_mount("/a b;c").check().is_ok());
    }

    #[test]
    fn what_no_browser_keeps_is_refused() {
        let good = Options::of_mount("/");
        assert_eq!(good.check(), Ok(()));
        assert!(Options { max_age: 0, ..good.clone() }.check().is_err());
        assert!(Options { name: "a b".into(), ..good.clone() }.check().is_err());
        assert!(Options { domain: Some("a;b".into()), ..good.clone() }.check().is_err());
        let none = Options { same_site: "none".into(), ..good.clone() };
        assert_eq!(none.check(), Err(OptionsError::NoneWithoutSecure));
        assert_eq!(Options { secure: Some(true), ..none }.check(), Ok(()));
        assert!(Options { same_site: "some".into(), ..good }.check().is_err());
    }
}
