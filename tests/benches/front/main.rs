//! Kennel's front where a browser does not need the app: downloads, many WebSockets, connections that idle, TLS handshakes,
//! and its start. Where there is a fair rival, nginx is measured in turns with it.
//!
//! ```text
//! cargo build --release -p kennel -p handler-py
//! cargo bench -p tests --bench front                  all parts
//! cargo bench -p tests --bench front -- fan-out idle  some of them
//! ```
//!
//! With `--check` the program fails when an aim is missed. What a request costs is measured by `http_servers`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

mod aim;
mod downloads;
mod fan_out;
mod handshakes;
mod idle;
mod servers;
mod start;

use aim::Aims;

/// A part by its name.
type Part = (&'static str, fn(&mut Aims));

const PARTS: [Part; 5] = [
    ("downloads", downloads::run),
    ("fan-out", fan_out::run),
    ("idle", idle::run),
    ("handshakes", handshakes::run),
    ("start", start::run),
];

fn main() {
    let (flags, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    // `cargo test --benches` only wants to know whether it builds.
    if flags.iter().any(|flag| flag == "--test") {
        return;
    }
    let mut aims = Aims::default();
    for (name, run) in PARTS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            println!("{name}:");
            run(&mut aims);
        }
    }
    let fails = aims.missed > 0 && flags.iter().any(|flag| flag == "--check");
    std::process::exit(i32::from(fails));
}
