//! The bytes of an answer.

use super::request::Refusal;
use mongrel2_wire::tnetstring::Value;

/// A dict of `headers` and `rows`.
pub(super) fn table(headers: &[&str], rows: Vec<Vec<Value<'_>>>) -> Vec<u8> {
    let headers = headers.iter().map(|name| Value::Bytes(name.as_bytes())).collect();
    let rows = rows.into_iter().map(Value::List).collect();
    encoded(vec![(b"headers", Value::List(headers)), (b"rows", Value::List(rows))])
}

/// A table of one column and one row of text.
pub(super) fn single(header: &str, value: &str) -> Vec<u8> {
    table(&[header], vec![vec![Value::Bytes(value.as_bytes())]])
}

/// A dict of `code`, where there is one, and `error`.
pub(super) fn refusal(refusal: Refusal) -> Vec<u8> {
    let (code, error) = refusal.words();
    let code = code.map(|code| (&b"code"[..], Value::Bytes(code.as_bytes())));
    encoded(code.into_iter().chain([(&b"error"[..], Value::Bytes(error.as_bytes()))]).collect())
}

fn encoded(pairs: Vec<(&[u8], Value<'_>)>) -> Vec<u8> {
    let mut out = Vec::new();
    Value::Dict(pairs).encode(&mut out);
    out
}
