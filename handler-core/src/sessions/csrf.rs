//! Tokens that only pages of this app can have, so that a form of another site is told from one's own.
//!
//! A token is the signature of the session's id, hidden behind a mask of its own each time it is written: a page that is
//! compressed and says something of the attacker's would otherwise give it away letter by letter (BREACH).

use super::Keys;
use super::id::Id;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The field of a form that carries the token.
pub const FIELD: &str = "csrf_token";
/// The header that may carry it instead, in lower case.
pub const HEADER: &str = "x-csrf-token";
/// What a request without a right token is told.
pub const REFUSAL: &str =
    "this form was not made here, or is too old: go back, reload the page and send it again";

/// Bytes by chance.
pub(super) type Mask = [u8; 32];

/// Whether a request could come from a form of another site, which browsers send without asking: its method changes
/// something, and its content type is one of the three that forms have, or there is none. JSON needs no token: no other
/// site can make a browser send it, unless the app allows that by CORS.
pub fn applies(method: &[u8], content_type: Option<&[u8]>) -> bool {
    if matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE") {
        return false;
    }
    let Some(content_type) = content_type else { return true };
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    // What is no type at all is none for the browser either.
    let is = |known: &str| essence.eq_ignore_ascii_case(known.as_bytes());
    !essence.contains(&b'/')
        || is("application/x-www-form-urlencoded")
        || is("multipart/form-data")
        || is("text/plain")
}

pub(super) fn token(keys: &Keys, id: &Id, mask: &Mask) -> String {
    let signature = keys.sign(&[id]);
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(mask);
    for (at, byte) in bytes[32..].iter_mut().enumerate() {
        *byte = mask[at] ^ signature[at];
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn is_token(keys: &Keys, id: &Id, token: &[u8]) -> bool {
    let mut bytes = [0; 64];
    if URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) != Ok(64) {
        return false;
    }
    let (mask, hidden) = bytes.split_at(32);
    let signature: Vec<u8> = mask.iter().zip(hidden).map(|(a, b)| a ^ b).collect();
    keys.verify(&[id], &signature)
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    #[test]
    fn a_token_is_another_text_each_time_and_belongs_to_one_session() {
        let keys = Keys::of(&[Secret::new(b"0123456789abcdef").unwrap()]);
        let (one, two) = (token(&keys, &[1; 16], &[5; 32]), token(&keys, &[1; 16], &[6; 32]));
        assert!(one != two && one.len() == 86);
        assert!(is_token(&keys, &[1; 16], one.as_bytes()) && is_token(&keys, &[1; 16], two.as_bytes()));
        assert!(!is_token(&keys, &[2; 16], one.as_bytes()));
        for at in 0..one.len() {
            let mut changed = one.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!is_token(&keys, &[1; 16], &changed), "{at}");
        }
        for none in [&b""[..], b"x", &[b'A'; 86], &[b'A'; 200]] {
            assert!(!is_token(&keys, &[1; 16], none));
        }
    }

    #[test]
    fn only_what_a_foreign_form_could_send_needs_a_token() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(!applies(method.as_bytes(), None));
        }
        for kind in
            ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x", "text/plain", "", "junk"]
        {
            assert!(applies(b"POST", Some(kind.as_bytes())), "{kind}");
        }
        assert!(applies(b"DELETE", None) && applies(b"PROPPATCH", None));
        assert!(!applies(b"POST", Some(b"application/json")) && !applies(b"PUT", Some(b"image/png")));
    }
}
