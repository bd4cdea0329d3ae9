//! What the reader of TOML says is wrong, in the words of kennel.toml's readers.

/// A mistake in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Worded {
    pub(crate) message: String,
    /// What stands behind the carets: what was probably meant.
    pub(crate) hint: String,
}

/// Tables of which there is one.
const ONCE: [&str; 5] = ["limits", "console", "metrics", "sessions", "cgi"];

/// Turns the reader's `message` about a line into ours. What is ours already stays as it is.
pub(crate) fn reword(message: &str, line: &str) -> Worded {
    let plain = |message: String| Worded { message, hint: String::new() };
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if message.starts_with("unknown field ")
        && let [wrong, known @ ..] = &quoted[..]
    {
        let message = format!("unknown key `{wrong}`");
        return match nearest(wrong, known) {
            Some(near) => Worded { message, hint: format!(" did you mean `{near}`?") },
            None if known.is_empty() => plain(message),
            None => plain(format!("{message}; known here: {}", known.join(", "))),
        };
    }
    if message.starts_with("unknown variant ")
        && let [wrong, known @ ..] = &quoted[..]
    {
        let known: Vec<_> = known.iter().map(|known| format!("\"{known}\"")).collect();
        return plain(format!("`{wrong}` is not a value of this key; write {}", known.join(" or ")));
    }
    if message.starts_with("missing field ")
        && let [missing, ..] = &quoted[..]
    {
        return plain(format!("`{missing}` is missing"));
    }
    let name = line.trim_start_matches('[').split(']').next().unwrap_or_default().trim();
    if line.starts_with("[[") && ONCE.contains(&name) {
        return plain(format!("`[[{name}]]` can be there once only; write `[{name}]`"));
    }
    if let Some((found, wanted)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        if found == "map" && wanted == "a sequence" && line.starts_with('[') && !name.is_empty() {
            return plain(format!("`[{name}]` may be there several times; write `[[{name}]]`"));
        }
        return plain(format!("{} is wrong here; write {}", kind(found), wish(wanted)));
    }
    if let Some((found, wanted)) =
        message.strip_prefix("invalid value: ").and_then(|rest| rest.split_once(", expected "))
    {
        return plain(format!("{} is out of range; write {}", kind(found), wish(wanted)));
    }
    plain(message.replace(", expected ", "; expected "))
}

/// What is there: `integer `1``, `string "x"`, `map`.
fn kind(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    let value = value.strip_prefix("point ").unwrap_or(value).trim_matches('`');
    match kind {
        "integer" | "floating" => format!("the number {value}"),
        "string" => format!("the text {value}"),
        "boolean" => value.to_owned(),
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => "this value".to_owned(),
    }
}

/// What is wanted, as serde names it.
fn wish(wanted: &str) -> String {
    match wanted {
        "a string" | "path string" | "a path" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list, as in [\"one\", \"two\"]".to_owned(),
        "a map" | "an object of names and values" => "a table, as in { key = \"value\" }".to_owned(),
        "i64" | "u32" | "u64" | "usize" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "a table, as in { key = \"value\" }".to_owned(),
        other => other.to_owned(),
    }
}

/// The known name that is nearest to a wrong one.
pub(crate) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(wrong, known), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readers_words_become_ours() {
        let said = |message: &str, line: &str| {
            let worded = reword(message, line);
            format!("{}{}", worded.message, worded.hint)
        };
        for (message, line, expected) in [
            (
                "unknown field `prot`, expected one of `port`, `host`",
                "prot = 1",
                "unknown key `prot` did you mean `port`?",
            ),
            ("unknown field `x`, expected `socket`", "x = 1", "unknown key `x`; known here: socket"),
            (
                "unknown variant `disk`, expected `file` or `stream`",
                "uploads = \"disk\"",
                "`disk` is not a value of this key; write \"file\" or \"stream\"",
            ),
            (
                "invalid type: map, expected a sequence",
                "[app]",
                "`[app]` may be there several times; write `[[app]]`",
            ),
            (
                "invalid type: integer `1`, expected a string",
                "source = 1",
                "the number 1 is wrong here; write a text in quotes",
            ),
            (
                "invalid type: string \"two\", expected i64",
                "workers = \"two\"",
                "the text \"two\" is wrong here; write a whole number",
            ),
            ("`1` is not a duration", "[[limits]]", "`[[limits]]` can be there once only; write `[limits]`"),
            ("missing field `source`", "[[app]]", "`source` is missing"),
            ("`soon` is not a duration", "x", "`soon` is not a duration"),
        ] {
            assert_eq!(said(message, line), expected);
        }
    }
}
