//! What Mongrel2, or whoever speaks in its place, sends.

use crate::Target;
use handler_core::worker::{body, form, sent_file};
use kennel_http::forms::FormLimits;
use kennel_http::websocket::{Deflate, Policy, extensions, handshake};
use kennel_http::{charset, cookies, host, percent, query};
use mongrel2_wire::address::Address;
use mongrel2_wire::tnetstring::Value;
use mongrel2_wire::zmtp::{self, Conversation, Role};
use mongrel2_wire::{Envelope, Head, Headers, Protocol, netstring};
use std::path::Path;

/// Whole messages, with all that anybody looks at in one.
pub(crate) const MESSAGE: Target = Target { name: "message", check: read_message, seeds: short_captures };

/// Every message that was taken from a real Mongrel2.
pub fn captures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mongrel2-wire/fixtures/captures");
    let entries =
        std::fs::read_dir(folder).expect("the captures are there").map(|entry| entry.expect("a file").path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|end| end == "msg")).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// Those of them that a search can handle.
pub(crate) fn short_captures() -> Vec<Vec<u8>> {
    captures().into_iter().filter(|message| message.len() < 4096).collect()
}

fn read_message(message: &[u8]) {
    let Ok(envelope) = Envelope::parse(message) else { return };
    let mut size = 0;
    for header in envelope.headers.iter() {
        let Ok((name, values)) = header else { break };
        size += name.len() + values.iter().map(|value| value.bytes().len()).sum::<usize>();
    }
    assert!(size <= message.len(), "{size} of {}", message.len());
    let headers = &envelope.headers;
    for name in ["host", "cookie", "content-type", "sec-websocket-extensions", "REMOTE_ADDR"] {
        let values = headers.get(name.as_bytes());
        let value = values.and_then(|values| values.iter().next()).map(|value| value.bytes().into_owned());
        let value = value.unwrap_or_default();
        let _ = extensions::parse(&value).map(|offers| Deflate::negotiate(&offers));
        let _ = (cookies::pairs(&value).count(), host::split(&value), charset::decode(envelope.body, &value));
    }
    let policy = Policy { origins: &[], protocols: &[], deflate: true };
    let _ = handshake::accept(headers, b"GET", b"", &policy);
    let _ = (percent::normal_path(envelope.path), query::pairs(envelope.path).count());
    let _ = (Head::read(&envelope), Value::parse(envelope.body), body::read(message, 1 << 20));
    let form = form::read(message, &FormLimits::default(), || {});
    let _ = (form.is_ok(), sent_file::read(message, &(1..5), 10));
}

/// The objects of headers, both kinds.
pub(crate) const HEADERS: Target = Target {
    name: "headers",
    check: |block| {
        for protocol in [Protocol::Json, Protocol::Tnetstring] {
            let headers = Headers::new(protocol, block);
            let most = block.len() + 2;
            assert!(headers.iter().take(most).count() < most, "an iteration ends");
            let _ = headers.get(b"host").map(|values| values.iter().count());
        }
    },
    seeds: || {
        let messages = short_captures();
        let blocks = messages.iter().filter_map(|message| {
            let rest = message.splitn(4, |byte| *byte == b' ').nth(3)?;
            let colon = rest.iter().position(|byte| *byte == b':')?;
            let size: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
            Some(rest.get(colon + 1..colon + 1 + size)?.to_vec())
        });
        blocks.collect()
    },
};

/// tnetstrings, netstrings and addresses.
pub(crate) const TNETSTRING: Target = Target {
    name: "tnetstring",
    check: |bytes| {
        if let Ok((value, rest)) = Value::parse(bytes) {
            let mut written = Vec::new();
            value.encode(&mut written);
            assert!(written.len() <= 4 * (bytes.len() - rest.len()) + 32, "no more than was said");
            // A float may be no number, and is then not even itself.
            if let Ok((again, _)) = Value::parse(&written)
                && !bytes.contains(&b'^')
            {
                assert_eq!(again, value);
            }
        }
        let _ = netstring::parse(bytes);
        let _ = String::from_utf8_lossy(bytes).parse::<Address>();
    },
    seeds: || {
        let texts = [
            "27:3:ctl,17:7:credits,4:3000#}]",
            "5:12345#",
            "4:true!",
            "0:~",
            "3:1.5^",
            "0:}",
            "0:]",
            "tcp://127.0.0.1:9999",
        ];
        texts.map(|text| text.as_bytes().to_vec()).to_vec()
    },
};

/// The other side of a ZeroMQ connection. The first byte says in which pieces it comes.
pub(crate) const PEER: Target = Target {
    name: "peer",
    check: |bytes| {
        let Some((piece, bytes)) = bytes.split_first() else { return };
        for role in [Role::Pull, Role::Xpub, Role::Push, Role::Sub, Role::Rep] {
            assert!(heard(bytes, role, usize::from(*piece) + 1) <= bytes.len());
        }
    },
    seeds: || {
        let seed = |socket: &str| {
            let mut stream = b"\x06\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
            stream.resize(65, 0);
            let ready = format!("\x05READY\x0bSocket-Type\0\0\0{}{socket}", socket.len() as u8 as char);
            stream.extend([4, ready.len() as u8]);
            stream.extend(ready.bytes());
            zmtp::encode(&mut stream, b"\x01uuid");
            zmtp::encode(&mut stream, b"m2 1 / 2:{},0:,");
            stream
        };
        ["PUSH", "SUB", "PULL", "PUB", "REQ"].map(seed).to_vec()
    },
};

/// How many bytes of messages are heard of a peer that says this, in such pieces.
pub fn heard(bytes: &[u8], role: Role, piece: usize) -> usize {
    let (mut peer, _) = Conversation::begin(role);
    let (mut inbox, mut heard) = (Vec::new(), 0);
    for piece in bytes.chunks(piece) {
        inbox.extend_from_slice(piece);
        match peer.read(&inbox, |message| heard += message.len()) {
            Ok(taken) => drop(inbox.drain(..taken)),
            Err(_) => break,
        }
    }
    heard
}
