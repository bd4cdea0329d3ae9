//! Signed texts: `TIME.BODY.SIGNATURE`, TIME in seconds since 1970, BODY as the caller writes it, the signature (base64url)
//! over all that is before it.

use super::Keys;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

/// How far ahead the clock of whoever signed may be, seconds.
const SKEW: u64 = 3600;

/// Why a text is not what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It was not signed by any of these keys, or was changed since.
    #[error("not signed here")]
    Forged,
    /// It was signed too long ago.
    #[error("expired")]
    Expired,
    /// It was signed more than an hour later than now: the clock of whoever signed it, or ours, is wrong.
    #[error("signed later than now; the clock of this machine may be wrong")]
    Early,
}

/// Signs a body that was written without changes, which consists of letters that stay as they are in cookies and
/// addresses.
pub(super) fn sign(keys: &Keys, body: &str, now: u64) -> String {
    let mut text = format!("{now}.{body}");
    let signature = keys.sign(&[text.as_bytes()]);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    text
}

/// The body of a signed text that is at most so many seconds old.
///
/// # Errors
///
/// [`TokenError`].
pub(super) fn unsign<'a>(
    keys: &Keys,
    text: &'a [u8],
    max_age: Option<u64>,
    now: u64,
) -> Result<&'a str, TokenError> {
    let text = str::from_utf8(text).map_err(|_| TokenError::Forged)?;
    let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Forged)?;
    let mut found = [0; 32];
    let size = URL_SAFE_NO_PAD.decode_slice(signature, &mut found);
    if size != Ok(found.len()) || !keys.verify(&[signed.as_bytes()], &found) {
        return Err(TokenError::Forged);
    }
    let (time, body) = signed.split_once('.').ok_or(TokenError::Forged)?;
    let time: u64 = time.parse().map_err(|_| TokenError::Forged)?;
    if time > now.saturating_add(SKEW) {
        return Err(TokenError::Early);
    }
    match max_age.is_some_and(|max_age| now.saturating_sub(time) > max_age) {
        true => Err(TokenError::Expired),
        false => Ok(body),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    fn keys() -> Keys {
        Keys::of(&[Secret::new(b"0123456789abcdef").unwrap()]).derive("session", "kennel_session")
    }

    #[test]
    fn a_signed_text_is_always_the_same() {
        let text = sign(&keys(), "id.e30", 1_700_000_000);
        assert_eq!(text, "1700000000.id.e30.YdO1RnE8UtobxUPQKuU6Yey_KuKdjCBWcUqrF6haps0");
        assert_eq!(unsign(&keys(), text.as_bytes(), Some(60), 1_700_000_060), Ok("id.e30"));
    }

    #[test]
    fn a_change_of_any_letter_is_seen() {
        let (keys, now) = (keys(), 1_700_000_000);
        let text = sign(&keys, "id.e30", now);
        for at in 0..text.len() {
            for other in (0..=255).filter(|other| *other != text.as_bytes()[at]) {
                let mut changed = text.clone().into_bytes();
                changed[at] = other;
                assert_eq!(unsign(&keys, &changed, None, now), Err(TokenError::Forged), "{at} {other}");
            }
            let mut cut = text.clone();
            cut.remove(at);
            assert_eq!(unsign(&keys, cut.as_bytes(), None, now), Err(TokenError::Forged), "{at}");
            assert_eq!(unsign(&keys, &text.as_bytes()[..at], None, now), Err(TokenError::Forged), "{at}");
        }
        assert_eq!(unsign(&keys, format!("{text}=").as_bytes(), None, now), Err(TokenError::Forged));
    }

    #[test]
    fn what_is_too_old_or_from_the_future_is_not_valid() {
        let (keys, now) = (keys(), 1_700_000_000);
        let text = sign(&keys, "x", now);
        let at = |now| unsign(&keys, text.as_bytes(), Some(60), now);
        assert_eq!((at(now + 60), at(now + 61)), (Ok("x"), Err(TokenError::Expired)));
        assert_eq!((at(now - SKEW), at(now - SKEW - 1)), (Ok("x"), Err(TokenError::Early)));
        assert_eq!(unsign(&keys, text.as_bytes(), None, u64::MAX), Ok("x"));
    }
}
