//! From the secrets of a kennel to one key for each use.
//!
//! A secret signs nothing itself. The hub makes of each a key for its workers, and these make of that one for each
//! purpose and each name of a session: so what was signed for one is worth nothing for another.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;
use thiserror::Error;

/// The shortest secret that is taken, bytes.
pub const MIN_SECRET: usize = 16;

/// What [`Keys::of`] is told apart by from anything else that somebody may make of the same secret.
const LABEL: &[u8] = b"kennel 1 workers";

/// Why a text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Guessed too soon.
    #[error("it has {size} bytes, a secret has at least {MIN_SECRET}; `openssl rand -base64 32` makes one")]
    Short {
        /// Its size, bytes.
        size: usize,
    },
}

/// A secret, as the operator gives it. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes a text as it was typed; blanks around it are none of it.
    ///
    /// # Errors
    ///
    /// [`SecretError`] for fewer than [`MIN_SECRET`] bytes.
    pub fn new(text: &[u8]) -> Result<Self, SecretError> {
        let text = text.trim_ascii();
        match text.len() {
            size @ ..MIN_SECRET => Err(SecretError::Short { size }),
            _ => Ok(Self(text.to_vec())),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A key of 32 bytes.
type Key = [u8; 32];

/// Keys for one use, the newest first: that one signs, all of them verify. So a secret is replaced without anybody
/// losing what was signed by the one before. They are never shown; to workers they travel as texts (base64url).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Keys(Vec<Key>);

impl Keys {
    /// The keys that workers get.
    pub fn of(secrets: &[Secret]) -> Self {
        Self(secrets.iter().map(|Secret(secret)| mac(secret, &[LABEL])).collect())
    }

    /// Whether there is none, so that nothing can be signed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys for a purpose within a realm, the name of a session's cookie.
    pub(super) fn derive(&self, purpose: &str, realm: &str) -> Self {
        Self(self.0.iter().map(|key| mac(key, &[purpose.as_bytes(), b"\0", realm.as_bytes()])).collect())
    }

    /// Signs the message that these parts make in a row.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> Key {
        // Nothing that is signed without a key is ever accepted: `verify` has none to try.
        self.0.first().map_or([0; 32], |key| mac(key, parts))
    }

    /// Whether one of the keys has signed it so. Takes as long for a wrong signature as for a right one.
    pub(super) fn verify(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        // Each key is tried, whichever fits.
        self.0.iter().fold(false, |found, key| found | begin(key, parts).verify_slice(signature).is_ok())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} of them)", self.0.len())
    }
}

impl From<Keys> for Vec<String> {
    fn from(keys: Keys) -> Self {
        keys.0.iter().map(|key| URL_SAFE_NO_PAD.encode(key)).collect()
    }
}

impl TryFrom<Vec<String>> for Keys {
    type Error = &'static str;

    fn try_from(texts: Vec<String>) -> Result<Self, Self::Error> {
        let key = |text: &String| URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok();
        texts.iter().map(key).collect::<Option<_>>().map(Self).ok_or("a key is 32 bytes in base64url")
    }
}

fn begin(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any size");
    parts.iter().for_each(|part| mac.update(part));
    mac
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Key {
    begin(key, parts).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_signature_is_hmac_sha256() {
        // RFC 4231, 4.3.
        let signature = mac(b"Jefe", &[b"what do ya ", b"want for nothing?"]);
        assert_eq!(hex(&signature), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn each_purpose_and_each_name_has_a_key_of_its_own() {
        let keys = Keys::of(&[Secret::new(b"0123456789abcdef").unwrap()]);
        let all = [("session", "a"), ("session", "b"), ("csrf", "a"), ("sessiona", "")];
        let all = all.map(|(purpose, realm)| keys.derive(purpose, realm).sign(&[b"x"]));
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
    }

    #[test]
    fn the_first_key_signs_and_all_verify() {
        let (old, new) =
            (Secret::new(b"the secret of old").unwrap(), Secret::new(b"the newer secret").unwrap());
        let (before, after) = (Keys::of(std::slice::from_ref(&old)), Keys::of(&[new.clone(), old]));
        let signature = before.sign(&[b"x"]);
        assert!(after.verify(&[b"x"], &signature) && !after.verify(&[b"y"], &signature));
        assert!(!before.verify(&[b"x"], &after.sign(&[b"x"])) && after.sign(&[b"x"]) != signature);
        assert!(!Keys::of(&[new]).verify(&[b"x"], &signature));
    }

    #[test]
    fn without_a_key_nothing_is_accepted() {
        let none = Keys::default();
        assert!(!none.verify(&[b"x"], &none.sign(&[b"x"])));
    }

    #[test]
    fn keys_travel_as_they_are_and_are_never_shown() {
        let secret = Secret::new(b" 0123456789abcdef\n").unwrap();
        let keys = Keys::of(std::slice::from_ref(&secret));
        let text = serde_json::to_string(&keys).unwrap();
        assert_eq!(serde_json::from_str::<Keys>(&text).unwrap(), keys);
        assert_eq!(format!("{secret:?} {keys:?}"), "Secret(..) Keys(1 of them)");
        assert!(serde_json::from_str::<Keys>("[\"c2hvcnQ\"]").is_err());
        assert_eq!(Secret::new(b"tooshort").unwrap_err(), SecretError::Short { size: 8 });
    }
}
