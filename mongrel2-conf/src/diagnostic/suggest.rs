//! "Did you mean": the known word that is nearest to an unknown one.

/// The nearest of `known`, if it is near enough for a slip of the fingers: one change (a letter
/// wrong, missing, added, or two swapped), or one for every three letters.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        // The difference in length is a lower bound, and cheap; files may have very many names.
        .filter(|known| known.len().abs_diff(word.len()) <= (known.len() / 3).max(1))
        .map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1) && *distance < known.len())
        .min_by_key(|(distance, known)| (*distance, known.len().abs_diff(word.len())))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["hosts", "host", "routes", "recv_ident"];
        assert_eq!(nearest("hostz", known), Some("hosts"));
        assert_eq!(nearest("hsots", known), Some("hosts"));
        assert_eq!(nearest("Routes", known), Some("routes"));
        assert_eq!(nearest("receive_ident", known), Some("recv_ident"));
        assert_eq!(nearest("port", known), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
