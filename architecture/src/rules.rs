//! What is allowed.

use crate::exceptions;
use std::collections::BTreeMap;

/// The crates of the workspace from the ground up, each with those that it may use. [`TEST_TOOLS`] may be used in tests by all.
pub const CRATES: [(&str, &[&str]); 15] = [
    ("snapshot", &[]),
    ("architecture", &["snapshot"]),
    ("libpython", &[]),
    ("mongrel2-guard", &[]),
    ("mongrel2-wire", &[]),
    ("kennel-http", &["mongrel2-wire"]),
    ("handler-core", &["kennel-http", "mongrel2-wire"]),
    ("mongrel2-conf", &["kennel-http", "mongrel2-wire"]),
    ("mongrel2-front", &["kennel-http", "mongrel2-conf", "mongrel2-wire"]),
    ("handler-exec", &["handler-core", "kennel-http", "mongrel2-wire"]),
    ("handler-lua", &["handler-core", "kennel-http", "mongrel2-wire"]),
    ("handler-py", &["handler-core", "kennel-http", "mongrel2-wire"]),
    (
        "kennel",
        &[
            "handler-core",
            "handler-exec",
            "handler-lua",
            "kennel-http",
            "mongrel2-conf",
            "mongrel2-front",
            "mongrel2-guard",
            "mongrel2-wire",
        ],
    ),
    ("fuzz", &["handler-core", "kennel-http", "mongrel2-conf", "mongrel2-front", "mongrel2-wire"]),
    ("tests", &["mongrel2-conf", "mongrel2-wire"]),
];

/// What only tests may use.
pub const TEST_TOOLS: [&str; 2] = ["libpython", "snapshot"];

/// Crates whose modules are in an order.
pub const ORDERED: [&str; 9] = [
    "mongrel2-wire",
    "kennel-http",
    "handler-core",
    "mongrel2-conf",
    "handler-exec",
    "handler-lua",
    "handler-py",
    "mongrel2-front",
    "kennel",
];

/// The most lines of a file.
pub const LONGEST: usize = 600;

/// What sans-IO modules may not use of other crates: what these paths begin with.
pub const OUTSIDE: [&str; 17] = [
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os::unix::fs",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "rustix",
    "signal_hook",
];

/// Methods that read the clock: `Instant::elapsed` and `SystemTime::elapsed`.
pub const CLOCKS: [&str; 1] = ["elapsed"];

/// A list with a section for each crate: `[name]`, then words.
pub fn sections(list: &str) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let mut name = String::new();
    for line in exceptions::lines(list) {
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(section) => name = section.to_owned(),
            None => found.entry(name.clone()).or_insert_with(Vec::new).extend(words(&line)),
        }
    }
    found
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(str::to_owned)
}
