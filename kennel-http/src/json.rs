//! JSON that a client sent (RFC 8259), by the same rules in every language.
//!
//! It is UTF-8 without a byte order mark; NaN and infinity are not numbers, nor is what no double holds; a `\u` escape
//! of half a surrogate pair is not text; values nest at most 127 deep.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Says what is wrong with bytes that are not JSON, and keeps nothing of those that are.
///
/// # Errors
///
/// The reader's, with line and column.
///
/// ```
/// use kennel_http::json::check;
/// assert!(check(br#"{"a":[1,2.5,"x\u00e9"]}"#).is_ok());
/// assert_eq!(check(b"NaN").unwrap_err().to_string(), "expected value at line 1 column 1");
/// ```
pub fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    serde_json::from_slice::<Sound>(bytes).map(|Sound| ())
}

/// A value of which every part was read.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Sound)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_unit<E: Error>(self) -> Result<Self, E> {
        Ok(Self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(Self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self, A::Error> {
        while pairs.next_entry::<Self, Self>()?.is_some() {}
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rfc_8259_has_is_json() {
        for fine in
            ["null", " [ ] ", "{}", "-0", "1e308", "\"\\ud83d\\ude00\"", "\"\u{e9}\"", "{\"a\":1,\"a\":{}}"]
        {
            assert!(check(fine.as_bytes()).is_ok(), "{fine}");
        }
    }

    #[test]
    fn what_it_has_not_is_refused_with_its_place() {
        for wrong in [
            "",
            "NaN",
            "Infinity",
            "-Infinity",
            "[1e400]",
            "{\"a\":1e999}",
            "\"\\ud800\"",
            "{\"\\udc00\":1}",
            "\u{feff}{}",
            "{a:1}",
            "[1,]",
            "01",
            "\"\t\"",
            "{} x",
        ] {
            let problem = check(wrong.as_bytes()).unwrap_err().to_string();
            assert!(problem.contains(" at line 1 column "), "{wrong}: {problem}");
        }
        assert!(check(b"\"\xff\"").is_err());
        assert!(check(&[b'['; 200]).is_err());
        assert!(check(format!("1{}", "0".repeat(400)).as_bytes()).is_err());
    }
}
