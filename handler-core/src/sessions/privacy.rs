//! What caches are told about an answer that depends on a session.

/// The `Cache-Control` that an answer gets which was made with a session: `private` unless it has one; one that lets
/// others keep the visitor's cookie is replaced. `None`: it stays as it is.
pub fn cache_control(given: Option<&[u8]>, sets_cookie: bool) -> Option<&'static str> {
    let shares = |text: &[u8]| {
        text.split(|byte| *byte == b',').any(|word| {
            let word = word.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
            word.eq_ignore_ascii_case(b"public") || word.eq_ignore_ascii_case(b"s-maxage")
        })
    };
    match given {
        None => Some("private"),
        Some(text) if sets_cookie && shares(text) => Some("private"),
        Some(_) => None,
    }
}

/// The `Vary` that such an answer gets: `Cookie` beside what it has. `None`: it stays as it is.
pub fn vary(given: Option<&[u8]>) -> Option<String> {
    let Some(given) = given.filter(|given| !given.trim_ascii().is_empty()) else {
        return Some("Cookie".to_owned());
    };
    let mut words = given.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    match words.any(|word| word == b"*" || word.eq_ignore_ascii_case(b"cookie")) {
        true => None,
        false => Some(format!("{}, Cookie", String::from_utf8_lossy(given))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_session_is_the_visitors_alone() {
        assert_eq!(cache_control(None, false), Some("private"));
        assert_eq!(cache_control(Some(b"public, max-age=60"), false), None, "the script has said so");
        assert_eq!(cache_control(Some(b"Public, max-age=60"), true), Some("private"));
        assert_eq!(cache_control(Some(b"max-age=0, s-maxage=9"), true), Some("private"));
        assert_eq!(cache_control(Some(b"no-store"), true), None);
    }

    #[test]
    fn caches_learn_that_it_varies_by_cookie() {
        assert_eq!(vary(None).as_deref(), Some("Cookie"));
        assert_eq!(vary(Some(b"Accept-Encoding")).as_deref(), Some("Accept-Encoding, Cookie"));
        assert_eq!((vary(Some(b"accept, cookie")), vary(Some(b"*"))), (None, None));
    }
}
