//! `kennel decode`: raw Mongrel2 messages as JSON, one line each.

use crate::exit::{plain, wrong_input};
use base64::prelude::{BASE64_STANDARD, Engine};
use mongrel2_wire::{Envelope, Head, Kind};
use serde_json::{Map, Value, json};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut all_fine = true;
    if files.is_empty() {
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input)?;
        all_fine &= decode_all(&input, &mut out)?;
    }
    for file in files {
        let input = std::fs::read(file).map_err(|problem| {
            wrong_input(format!("cannot read `{}`: {}", file.display(), plain(&problem)))
        })?;
        all_fine &= decode_all(&input, &mut out)?;
    }
    out.flush()?;
    Ok(if all_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Decodes messages in a row; line feeds between them are skipped. An error ends the input, since
/// where the next message begins is not known.
fn decode_all(input: &[u8], out: &mut impl Write) -> io::Result<bool> {
    let mut rest = input;
    loop {
        let (line, after) = match Envelope::parse_first(rest) {
            Ok((envelope, after)) => (message(&envelope), Some(after)),
            Err(problem) => {
                let offset = input.len() - rest.len() + problem.offset;
                (json!({ "error": problem.problem.to_string(), "offset": offset }), None)
            }
        };
        let is_error = line.get("error").is_some();
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
        let Some(after) = after.filter(|_| !is_error) else { return Ok(false) };
        rest = after;
        while let Some((b'\n' | b'\r', next)) = rest.split_first() {
            rest = next;
        }
        if rest.is_empty() {
            return Ok(true);
        }
    }
}

fn message(envelope: &Envelope<'_>) -> Value {
    let head = match Head::read(envelope) {
        Ok(head) => head,
        Err(problem) => return json!({ "error": format!("headers: {problem}"), "offset": problem.offset }),
    };
    let mut headers = Map::new();
    let mut latin1_headers = Vec::new();
    for (name, values) in envelope.headers.iter().map_while(Result::ok) {
        let values: Vec<_> = values.iter().map(|value| value.as_sent()).collect();
        let utf8: Option<Vec<_>> =
            values.iter().map(|value| std::str::from_utf8(value).ok().map(str::to_owned)).collect();
        let name = latin1(name);
        let values = utf8.unwrap_or_else(|| {
            latin1_headers.push(name.clone());
            values.iter().map(|value| latin1(value)).collect()
        });
        headers.insert(name, values.into());
    }
    let mut object = json!({
        "sender": envelope.sender,
        "conn_id": envelope.conn_id,
        "path": latin1(envelope.path),
        "protocol": envelope.headers.protocol().name(),
        "kind": head.kind.name(),
    });
    if let Kind::Refused(refusal) = head.kind {
        object["reason"] = refusal.reason().into();
    }
    if let Some(fault) = head.fault {
        object["fault"] = fault.reason().into();
    }
    object["headers"] = headers.into();
    object["latin1_headers"] = latin1_headers.into();
    object["body_base64"] = BASE64_STANDARD.encode(envelope.body).into();
    object
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(input: &[u8]) -> (bool, Vec<Value>) {
        let mut out = Vec::new();
        let fine = decode_all(input, &mut out).unwrap();
        let lines = String::from_utf8(out).unwrap();
        (fine, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    #[test]
    fn messages_in_a_row_are_a_line_each() {
        let notice = br#"m2 1 @* 17:{"METHOD":"JSON"},21:{"type":"disconnect"},"#;
        let (fine, lines) = decoded(&[&notice[..], b"\n", notice].concat());
        assert!(fine && lines.len() == 2);
        assert_eq!(lines[0]["kind"], "disconnect");
        assert_eq!(lines[0]["headers"]["METHOD"], json!(["JSON"]));
    }

    #[test]
    fn an_error_has_its_offset_in_the_input() {
        let notice = br#"m2 1 @* 17:{"METHOD":"JSON"},21:{"type":"disconnect"},"#;
        let (fine, lines) = decoded(&[&notice[..], b"nonsense"].concat());
        assert!(!fine);
        assert_eq!(lines[1]["offset"], notice.len());
        assert!(!decoded(b"").0);
    }

    #[test]
    fn what_the_hub_would_refuse_says_why() {
        let (fine, lines) = decoded(br#"m2 1 / 38:{"METHOD":"JSON","VERSION":"HTTP/1.1"},0:,"#);
        assert!(fine);
        assert_eq!(lines[0]["kind"], "refused");
        assert!(lines[0]["reason"].as_str().unwrap().contains("JSON"));
    }
}
