//! What a real Mongrel2 sent its handlers, byte for byte: the front sends the same, but for the named deviations.
//!
//! `fixtures/clients.json` has what the clients sent for each capture, and the settings of the server.

use super::Run;
use crate::ids::ClientKey;
use crate::peer::Peer;
use crate::tls::CertDigests;
use base64::prelude::*;
use mongrel2_conf::model::Protocol;
use mongrel2_wire::Envelope;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// Captures of which the front makes something else: why, and what. `-` stands for no message: the client gets this
/// status and is closed.
const DEVIATIONS: &str = include_str!("deviations.txt");

struct Capture {
    file: String,
    group: String,
    protocol: Protocol,
    conn_id: i64,
    message: Vec<u8>,
    sent: Option<Vec<u8>>,
    settings: Vec<(String, String)>,
}

fn captures() -> Vec<Capture> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = here.join("../mongrel2-wire/fixtures/captures");
    let json = |path: PathBuf| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (index, clients) = (json(folder.join("index.json")), json(here.join("fixtures/clients.json")));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let read = |entry: &Value| {
        let client = &clients["captures"][entry["file"].as_str().unwrap()];
        let settings = &clients["settings"][client["settings"].as_u64().unwrap() as usize];
        let sent = client["sent"]
            .as_u64()
            .map(|at| BASE64_STANDARD.decode(text(&clients["sent"][at as usize])).unwrap());
        Capture {
            file: text(&entry["file"]),
            group: text(&entry["group"]),
            protocol: Protocol::from_word(entry["protocol"].as_str().unwrap()),
            conn_id: entry["expect"]["conn_id"].as_i64().unwrap(),
            message: std::fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap(),
            sent,
            settings: settings
                .as_object()
                .unwrap()
                .iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect(),
        }
    };
    index["captures"].as_array().unwrap().iter().map(read).collect()
}

fn deviations() -> BTreeMap<String, (String, bool)> {
    let lines = DEVIATIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (file, rest) = line.split_once(' ').unwrap();
        (file.to_owned(), (rest.to_owned(), false))
    };
    lines.map(split).collect()
}

/// A message without what differs from run to run: its sender and path, all headers by name, its body; and the names of
/// the server's own headers in their order.
fn essence(message: &[u8]) -> (String, Vec<String>, Vec<String>, Vec<u8>) {
    let envelope = Envelope::parse(message).unwrap();
    let (mut headers, mut order) = (Vec::new(), Vec::new());
    for header in envelope.headers.iter() {
        let (name, values) = header.unwrap();
        let values: Vec<_> = values.iter().map(|value| value.bytes().escape_ascii().to_string()).collect();
        let name = name.escape_ascii().to_string();
        let is_upload = name.starts_with("x-mongrel2-upload-");
        headers.push(if is_upload { format!("{name}: a file") } else { format!("{name}: {values:?}") });
        const OURS: [&str; 9] =
            ["PATH", "METHOD", "VERSION", "URI", "QUERY", "FRAGMENT", "PATTERN", "URL_SCHEME", "REMOTE_ADDR"];
        if OURS.contains(&name.as_str()) {
            order.push(name);
        }
    }
    headers.sort();
    let about = format!("{} {}", envelope.sender, envelope.path.escape_ascii());
    (about, headers, order, envelope.body.to_vec())
}

/// The clients of one recording, by the ids that they had there.
struct Recording {
    run: Run,
    clients: HashMap<i64, ClientKey>,
    /// What was sent last, and by whom: several messages may come of it.
    last: Option<(i64, Vec<u8>)>,
}

impl Recording {
    fn play(&mut self, capture: &Capture) -> Option<Vec<u8>> {
        let client = *self.clients.entry(capture.conn_id).or_insert_with(|| {
            let address = if capture.file.contains("ipv6") { "::1" } else { "127.0.0.1" };
            let envelope = Envelope::parse(&capture.message).unwrap();
            let digits = envelope.headers.get(b"PEER_CERT_SHA1").and_then(|values| values.first());
            let certificate = digits.map(|digits| CertDigests {
                sha1: String::from_utf8(digits.bytes().into_owned()).unwrap(),
                sha256: "0".repeat(64),
            });
            let peer = Peer { address: address.into(), port: 1, is_tls: capture.group == "tls", certificate };
            self.run.front.accept(peer, self.run.now)
        });
        if capture.file.contains("expect-100") {
            let head = b"POST /expect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
            self.run.receive(client, head);
            assert_eq!(self.run.written(client), b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let known = (capture.conn_id, capture.sent.clone().unwrap_or_default());
        match &capture.sent {
            Some(_) if self.last.as_ref() == Some(&known) => {}
            Some(sent) => {
                // An earlier request may wait for its response.
                self.run.messages.clear();
                self.run.receive(client, sent);
                self.last = Some(known);
            }
            None => self.follow(client, capture),
        }
        self.name_files(client);
        let has_message = !self.run.messages.is_empty();
        has_message.then(|| self.run.messages.remove(0).1)
    }

    /// What followed without the client, or with bytes that the index does not have.
    fn follow(&mut self, client: ClientKey, capture: &Capture) {
        let id = self.run.front.clients.get(client).and_then(|connection| connection.id).unwrap_or(0);
        let file = &capture.file;
        if !self.run.messages.is_empty() {
            return;
        }
        if file.contains("unknown-id-notice") {
            self.run.reply(b"m2cap 7:4000000, x");
        } else if file.contains("unknown-id-negative") {
            self.run.reply(b"m2cap 10:4294967295, x");
        } else if file.contains("disconnect") {
            self.run.front.end_of_input(client, self.run.now);
            self.run.front.lost(client);
            self.run.settle();
        } else if file.contains("stream-part") {
            if file.contains("part1") {
                let rest: Vec<u8> = (50..9000).map(|at| (at % 251) as u8).collect();
                self.run.receive(client, &rest);
            }
            self.run.reply(&credits(id));
        } else if let Some(at) =
            ["chunked-1", "chunked-2", "chunked-end"].iter().position(|name| file.contains(name))
        {
            self.run.reply(&credits(id));
            self.run.receive(client, [&b"5\r\nhello\r\n"[..], b"6\r\n world\r\n", b"0\r\n\r\n"][at]);
        } else if file.contains("flow-credits") {
            let size = Envelope::parse(&capture.message).unwrap().headers.get(b"DOWNLOAD_CREDITS").unwrap();
            let size: usize =
                String::from_utf8(size.first().unwrap().bytes().into_owned()).unwrap().parse().unwrap();
            let payload = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size - 38 - 1);
            let payload = format!("{payload}{}", "x".repeat(size - payload.len()));
            self.run.reply(format!("m2cap {}:{id}, {payload}", id.to_string().len()).as_bytes());
            self.run.written(client);
        } else {
            panic!("{file}: nothing is known of what came before it");
        }
    }

    /// Gives files of uploads a name.
    fn name_files(&mut self, client: ClientKey) {
        let now = self.run.now;
        for effect in self.run.effects() {
            match effect.as_str() {
                "create" => self.run.front.upload_created(client, Ok("tmp/upload.AbCdEf".into()), now),
                "finish" => self.run.front.upload_finished(client, Ok(()), now),
                _ => {}
            }
            self.run.settle();
        }
        if !self.run.effects.is_empty() {
            self.name_files(client);
        }
    }
}

/// Grants 4000 bytes.
fn credits(id: u32) -> Vec<u8> {
    format!("m2cap {}:X {id}, 27:3:ctl,17:7:credits,4:4000#}}]", 2 + id.to_string().len()).into_bytes()
}

#[test]
fn every_capture_comes_out_again_but_for_named_deviations() {
    let mut deviations = deviations();
    let mut recordings: HashMap<String, Recording> = HashMap::new();
    let mut wrong = Vec::new();
    for capture in captures() {
        let settings: Vec<_> =
            capture.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let name = format!("{:?} {:?} {}", capture.protocol, settings, capture.file.contains("ipv6"));
        let recording = recordings.entry(name).or_insert_with(|| Recording {
            run: Run::new(capture.protocol, &settings),
            clients: HashMap::new(),
            last: None,
        });
        let found = recording.play(&capture);
        let mut status = || {
            let client = recording.clients[&capture.conn_id];
            let output = recording.run.written(client);
            format!("- {}", String::from_utf8_lossy(&output).split(' ').nth(1).unwrap_or("nothing"))
        };
        let expected = essence(&capture.message);
        let found = found.map(|message| essence(&message));
        let is_equal = found.as_ref() == Some(&expected);
        if let Some((deviation, is_needed)) = deviations.get_mut(&capture.file) {
            *is_needed = !is_equal;
            let (value, _reason) = deviation.split_once(" | ").unwrap();
            let got = match &found {
                None => status(),
                Some((_, headers, _, _)) => {
                    let is_new = |header: &&String| !expected.1.contains(header);
                    let is_left_out = |header: &&String| !headers.contains(header);
                    let mut changes: Vec<_> =
                        headers.iter().filter(is_new).map(|header| format!("+{header}")).collect();
                    changes.extend(expected.1.iter().filter(is_left_out).map(|header| format!("-{header}")));
                    changes.join(" ")
                }
            };
            if got != value {
                wrong.push(format!("{}: the deviation is now `{got}`", capture.file));
            }
        } else if !is_equal {
            let got = found.map_or_else(status, |found| format!("{found:?}"));
            wrong.push(format!("{}:\n  expected {expected:?}\n  found    {got}", capture.file));
        }
    }
    let unneeded = deviations.iter().filter(|(_, (_, is_needed))| !is_needed);
    wrong.extend(unneeded.map(|(file, _)| format!("{file}: the deviation is not needed")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
