//! The settings of Filters and Xrequests, which the database holds as one tnetstring.

use mongrel2_wire::tnetstring;

use crate::model::Value;

/// A tnetstring dictionary, with the keys in the order of `settings`; `m2sh` has an order of its
/// own, which means nothing.
pub(super) fn encode(settings: &[(String, Value)]) -> String {
    let mut bytes = Vec::new();
    dict(settings).encode(&mut bytes);
    String::from_utf8(bytes).expect("text in ASCII frames is text")
}

fn dict(pairs: &[(String, Value)]) -> tnetstring::Value<'_> {
    tnetstring::Value::Dict(pairs.iter().map(|(key, value)| (key.as_bytes(), borrow(value))).collect())
}

fn borrow(value: &Value) -> tnetstring::Value<'_> {
    match value {
        Value::Text(text) => tnetstring::Value::Bytes(text.as_bytes()),
        Value::Number(number) => tnetstring::Value::Int(*number),
        Value::List(items) => tnetstring::Value::List(items.iter().map(borrow).collect()),
        Value::Hash(pairs) => dict(pairs),
    }
}

/// Reads a dictionary back, or says why it is none that a configuration file could have made.
pub(super) fn decode(text: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let (value, rest) = tnetstring::Value::parse(text).map_err(|err| format!("is no tnetstring: {err}"))?;
    if !rest.is_empty() {
        return Err("is a tnetstring with something after it".to_owned());
    }
    match own(&value)? {
        Value::Hash(pairs) => Ok(pairs),
        _ => Err("is a tnetstring, but no dictionary".to_owned()),
    }
}

fn own(value: &tnetstring::Value<'_>) -> Result<Value, String> {
    let text =
        |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "has text that is not UTF-8".to_owned());
    match value {
        tnetstring::Value::Bytes(bytes) => text(bytes).map(Value::Text),
        tnetstring::Value::Int(number) => Ok(Value::Number(*number)),
        tnetstring::Value::List(items) => items.iter().map(own).collect::<Result<_, _>>().map(Value::List),
        tnetstring::Value::Dict(pairs) => pairs
            .iter()
            .map(|(key, value)| Ok((text(key)?, own(value)?)))
            .collect::<Result<_, _>>()
            .map(Value::Hash),
        tnetstring::Value::Float(_) | tnetstring::Value::Bool(_) | tnetstring::Value::Null => {
            Err("has a value that is neither text, number, list nor hash".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_m2sh_writes_is_read() {
        let pairs = decode(b"53:8:min_size,4:1000#10:extensions,17:6:*.html,5:*.txt,]}").unwrap();
        let extensions = Value::List(vec![Value::Text("*.html".into()), Value::Text("*.txt".into())]);
        assert_eq!(
            pairs,
            [("min_size".to_owned(), Value::Number(1000)), ("extensions".to_owned(), extensions)]
        );
        assert_eq!(encode(&pairs), "53:8:min_size,4:1000#10:extensions,17:6:*.html,5:*.txt,]}");
        assert_eq!(encode(&[]), "0:}");
    }

    #[test]
    fn what_is_none_says_why() {
        assert!(decode(b"5:abc,").unwrap_err().starts_with("is no tnetstring: "));
        assert_eq!(decode(b"1:a,").unwrap_err(), "is a tnetstring, but no dictionary");
        assert_eq!(decode(b"0:}x").unwrap_err(), "is a tnetstring with something after it");
        assert_eq!(
            decode(b"11:1:a,4:true!}").unwrap_err(),
            "has a value that is neither text, number, list nor hash"
        );
        assert_eq!(decode(b"8:1:a,1:\xff,}").unwrap_err(), "has text that is not UTF-8");
    }
}
