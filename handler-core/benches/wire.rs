//! Parsing and encoding alone: what the hub does to each message, without sockets and workers.
//!
//! `cargo bench -p handler-core --bench wire`
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark that cannot go on ends")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kennel_http::Persistence;
use kennel_http::response::{Form, Response};
use mongrel2_wire::{ConnId, Envelope, Head, Sender, Targets, reply};
use std::hint::black_box;

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../mongrel2-wire/fixtures/captures/{name}", env!("CARGO_MANIFEST_DIR")))
        .unwrap()
}

/// A browser's request: nine fields of the server, fifteen headers of the client.
fn browser() -> Vec<u8> {
    let server =
        ["REMOTE_ADDR", "METHOD", "URL_SCHEME", "PATTERN", "QUERY", "URI", "VERSION", "PATH", "FRAGMENT"];
    let client = [
        "host",
        "user-agent",
        "accept",
        "accept-language",
        "accept-encoding",
        "connection",
        "cookie",
        "referer",
        "upgrade-insecure-requests",
        "sec-fetch-dest",
        "sec-fetch-mode",
        "sec-fetch-site",
        "sec-fetch-user",
        "priority",
        "x-forwarded-for",
    ];
    let mut block = String::new();
    for (at, name) in server.iter().chain(&client).enumerate() {
        let value = match *name {
            "METHOD" => "GET".to_owned(),
            "VERSION" => "HTTP/1.1".to_owned(),
            _ => "v".repeat(5 + at * 2),
        };
        block.push_str(&format!("{}:{name},{}:{value},", name.len(), value.len()));
    }
    format!("bench 7 / {}:{block}}}0:,", block.len()).into_bytes()
}

fn parsing(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, message) in [
        ("browser, tnetstring", browser()),
        ("small, tnetstring", capture("002-get-tnet.msg")),
        ("small, json", capture("001-get.msg")),
        ("100 headers, json", capture("081-headers-100.msg")),
        ("20 kB body", capture("089-body-20000-tnet.msg")),
    ] {
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function(format!("envelope: {name}"), |b| {
            b.iter(|| Envelope::parse(black_box(&message)).unwrap());
        });
        group.bench_function(format!("envelope and head: {name}"), |b| {
            b.iter(|| Head::read(&Envelope::parse(black_box(&message)).unwrap()).unwrap());
        });
    }
    let message = browser();
    let envelope = Envelope::parse(&message).unwrap();
    group.bench_function("find the last of 24 headers", |b| {
        b.iter(|| black_box(&envelope).headers.get(b"x-forwarded-for").unwrap());
    });
    group.finish();
}

fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    let sender = Sender::new("34f9ceee-cd52-4b7f-b197-88bf2f0ec378").unwrap();
    let ids: Vec<_> = (1000..1128).map(|id| ConnId::try_from(id).unwrap()).collect();
    let mut out = Vec::with_capacity(64 << 10);
    group.bench_function("response of 100 bytes", |b| {
        b.iter(|| {
            out.clear();
            let form = Form {
                head_only: false,
                persistence: Persistence::Open,
                date: "Sun, 06 Nov 1994 08:49:37 GMT",
            };
            Response { status: 200, head: b"Content-Type: text/plain\r\n", body: &[b'x'; 100] }
                .encode(&mut out, form)
        });
    });
    for count in [1, 128] {
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("reply to {count}"), |b| {
            b.iter(|| {
                out.clear();
                let targets = Targets::new(black_box(&ids[..count]), Targets::DEFAULT_MAX).unwrap();
                reply::encode(&mut out, &sender, targets, &[b'x'; 200])
            });
        });
    }
    group.finish();
}

criterion_group!(benches, parsing, encoding);
criterion_main!(benches);
