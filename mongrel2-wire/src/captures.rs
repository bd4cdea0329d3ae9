//! Every message taken from a real Mongrel2 decodes to what its index says.

use crate::{Envelope, Head, Kind, compose};
use base64::prelude::*;
use serde_json::Value;
use std::path::PathBuf;

fn captures() -> Vec<(Vec<u8>, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures");
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let entries = index["captures"].as_array().unwrap();
    assert_eq!(entries.len(), 231);
    let load = |entry: &Value| std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap();
    entries.iter().map(|entry| (load(entry), entry.clone())).collect()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

#[test]
fn every_capture_decodes_to_what_its_index_says() {
    for (message, entry) in captures() {
        let (file, expect) = (&entry["file"], &entry["expect"]);
        let got = Envelope::parse(&message).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_eq!(got.sender, expect["uuid"], "{file}");
        assert_eq!(got.conn_id, expect["conn_id"], "{file}");
        assert_eq!(latin1(got.path), expect["path"].as_str().unwrap(), "{file}");
        assert_eq!(got.headers.protocol().name(), entry["protocol"], "{file}");
        assert_eq!(got.body.len(), expect["body_len"], "{file}");
        if let Some(body) = expect["body_b64"].as_str() {
            assert_eq!(got.body, BASE64_STANDARD.decode(body).unwrap(), "{file}");
        }

        let order = expect["header_order"].as_array().unwrap();
        let latin1_names = expect["latin1_headers"].as_array().unwrap();
        let headers: Vec<_> =
            got.headers.iter().map(|h| h.unwrap_or_else(|e| panic!("{file}: {e}"))).collect();
        assert_eq!(headers.len(), order.len(), "{file}");
        for ((name, values), expected) in headers.iter().zip(order) {
            assert_eq!(latin1(name), expected.as_str().unwrap(), "{file}");
            let as_latin1 = latin1_names.contains(expected);
            let text = |bytes: &[u8]| {
                if as_latin1 { latin1(bytes) } else { String::from_utf8(bytes.to_vec()).unwrap() }
            };
            let values: Vec<Value> = values.iter().map(|v| text(&v.as_sent()).into()).collect();
            assert_eq!(values, *expect["headers"][latin1(name)].as_array().unwrap(), "{file} {expected}");
        }
    }
}

#[test]
fn every_capture_is_written_again_as_mongrel2_wrote_it() {
    let mut again = Vec::new();
    for (message, entry) in captures() {
        let got = Envelope::parse(&message).unwrap();
        again.clear();
        let mut writer =
            compose::Writer::begin(&mut again, got.sender, got.conn_id, got.path, got.headers.protocol());
        for header in got.headers.iter() {
            let (name, values) = header.unwrap();
            writer.headers(name, values.iter().map(|value| value.as_sent()));
        }
        writer.finish(got.body);
        assert_eq!(again.escape_ascii().to_string(), message.escape_ascii().to_string(), "{}", entry["file"]);
    }
}

#[test]
fn every_capture_is_of_the_kind_that_its_name_tells() {
    for (message, entry) in captures() {
        let (file, group) = (entry["file"].as_str().unwrap(), entry["group"].as_str().unwrap());
        let kind = Head::read(&Envelope::parse(&message).unwrap()).unwrap().kind;
        let expected = match group {
            _ if file.contains("disconnect") || file.contains("unknown-id") => "disconnect",
            "flow" if file.contains("credits") => "credits",
            "ws" if file.contains("handshake") => "handshake",
            "ws" => "frame",
            "msg" if file.contains("xmlsock") => "xml",
            "msg" => "json",
            "upload" if file.contains("start") => "upload_start",
            "upload" => "upload_done",
            "stream" if file.contains("first") => "upload_start",
            "stream" => "upload_part",
            _ => "http",
        };
        assert_eq!(kind.name(), expected, "{file}");
        if file.contains("hijack-upload") {
            assert!(Head::read(&Envelope::parse(&message).unwrap()).unwrap().spoofed_upload, "{file}");
        }
    }
}

#[test]
fn no_prefix_of_a_capture_is_a_message_and_none_panics() {
    for (message, entry) in captures() {
        let step = 1 + message.len() / 2000;
        for end in (0..message.len()).step_by(step) {
            assert!(Envelope::parse(&message[..end]).is_err(), "{} {end}", entry["file"]);
        }
    }
}

#[test]
fn no_flipped_byte_panics() {
    for (message, _) in captures() {
        if message.len() > 2000 {
            continue;
        }
        for at in 0..message.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut bytes = message.clone();
                bytes[at] ^= bit;
                if let Ok(envelope) = Envelope::parse(&bytes)
                    && let Ok(head) = Head::read(&envelope)
                {
                    assert!(!matches!(head.kind, Kind::Credits { bytes } if bytes > 1 << 40));
                }
            }
        }
    }
}
