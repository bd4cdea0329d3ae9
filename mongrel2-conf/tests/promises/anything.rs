//! Mistakes that nobody would think of: files and databases with something changed by chance, and chance alone.
//!
//! Every run tries the same ones. `KENNEL_FUZZ_ROUNDS=1000` tries a thousand times as many.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use mongrel2_conf::deployed::{Deployment, Wanted};
use mongrel2_conf::diagnostic::{Diagnostic, Diagnostics};
use mongrel2_conf::diff::diff;
use mongrel2_conf::language::{self, LoadError};
use mongrel2_conf::model::Config;
use mongrel2_conf::pattern::Pattern;
use mongrel2_conf::print::print_database;
use mongrel2_conf::routing::{Router, host_for};
use mongrel2_conf::span::Span;
use mongrel2_conf::store::{self, Entry};

use crate::server::Folder;

/// How often to try something that is tried `usual` times in a run of all tests.
fn rounds(usual: u64) -> u64 {
    let factor = env::var("KENNEL_FUZZ_ROUNDS").map_or(1, |text| text.parse().expect("a number"));
    usual * factor
}

/// What a failure has to be repeated with.
struct About<'a> {
    round: u64,
    input: &'a [u8],
}

impl Drop for About<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = env::temp_dir().join("mongrel2-conf-anything");
            let _ = fs::write(&path, self.input);
            eprintln!("that was round {}; its input is in {}", self.round, path.display());
        }
    }
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The configuration files of a folder.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(tests().join(folder)).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

const WORDS: [&str; 60] = [
    "servers",
    "settings",
    "mimetypes",
    "main",
    "Server",
    "Host",
    "Handler",
    "Dir",
    "Proxy",
    "Filter",
    "Xrequest",
    "uuid",
    "name",
    "port",
    "hosts",
    "routes",
    "base",
    "index_file",
    "default_ctype",
    "send_spec",
    "matching",
    "keep_order",
    "default_mimetypes",
    "include",
    "\"",
    "'",
    "=",
    ":",
    ",",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "#",
    "\n",
    "\r\n",
    " ",
    "\t",
    "\0",
    "\\",
    "0",
    "1",
    "6767",
    "99999999999999999999",
    "-1",
    "1.5",
    "'/'",
    "'/a(.*)'",
    "'@chat'",
    "'localhost'",
    "\u{201c}",
    "\u{feff}",
    "\u{fffd}",
    "\u{1f415}",
    "é",
    "Main",
    "x",
];

/// Changes some places of a file: bytes, words, whole pieces, also of another file.
fn mutated(chance: &mut Rng, text: &[u8], other: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for _ in 0..chance.choice([1, 1, 1, 2, 5]).unwrap() {
        let at = chance.usize(0..=text.len());
        let end = (at + chance.usize(0..40)).min(text.len());
        match chance.u8(0..8) {
            0 => drop(text.drain(at..end)),
            1 if chance.bool() => text.truncate(at),
            2 if at < end => text[at] = chance.u8(..),
            3 => {
                let piece = text[at..end].to_vec();
                let to = chance.usize(0..=text.len());
                text.splice(to..to, piece);
            }
            4 if !other.is_empty() => {
                let from = chance.usize(0..other.len());
                let piece = &other[from..(from + 200).min(other.len())];
                text.splice(at..at, piece.iter().copied());
            }
            5 => {
                let many = WORDS[chance.usize(0..WORDS.len())].repeat(chance.usize(1..300));
                text.splice(at..at, many.bytes());
            }
            _ => drop(text.splice(at..end.min(at + 2), WORDS[chance.usize(0..WORDS.len())].bytes())),
        }
    }
    text
}

/// Reads a text as a file beside the broken ones, which it may include.
fn try_text(round: u64, text: &[u8]) -> bool {
    let _about = About { round, input: text };
    let path = tests().join("broken/anything.conf");
    let begin = Instant::now();
    let loaded = language::load_text(&path, text);
    let (found, config) = match loaded {
        Ok(loaded) => {
            assert_eq!(loaded.config.check(), Ok(()), "what loads is fine");
            (loaded.diagnostics.clone(), Some(loaded.with_default_mimetypes()))
        }
        Err(LoadError::Wrong(found)) => {
            assert!(found.has_errors());
            (found, None)
        }
        Err(other) => panic!("{other}"),
    };
    shows_all(&found, &path, &String::from_utf8_lossy(text));
    let loads = config.is_some();
    if let Some(config) = config {
        comes_back(&path, &config);
        asks(&config);
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    loads
}

/// Every place is in its text, and every diagnostic can be read.
fn shows_all(found: &Diagnostics, path: &Path, text: &str) {
    let is_inside = |span: Span| {
        let place = found.sources().locate(span);
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let text = if place.path == path { text.to_owned() } else { read(place.path) };
        assert!(text.get(span.bytes()).is_some(), "{span:?} is outside of {}", place.path.display());
    };
    for Diagnostic { span, related, message, .. } in found.iter() {
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        is_inside(*span);
        related.iter().for_each(|(span, _)| is_inside(*span));
    }
    let (plain, colored) = (found.render(false), found.render(true));
    assert!(!plain.contains('\u{1b}') && colored.len() >= plain.len());
    let is_plain = |c: char| !c.is_control() || c == '\n';
    assert!(plain.chars().all(is_plain), "{}", plain.escape_debug());
    assert_eq!(found.to_json().as_array().map(Vec::len), Some(found.iter().count()));
}

/// What has loaded is printed as a text that loads to the same.
fn comes_back(path: &Path, config: &Config) {
    let Ok(printed) = print_database(config) else { return };
    let again = language::load_text(path, printed.text.as_bytes())
        .unwrap_or_else(|_| panic!("what is printed does not load:\n{}", printed.text))
        .with_default_mimetypes();
    assert_eq!(diff(config, &again), [], "{}", printed.text);
    assert_eq!(&again, config, "{}", printed.text);
}

/// Any configuration can be asked where paths lead.
fn asks(config: &Config) {
    for server in &config.servers {
        for name in ["localhost", "", "a.b.example.org", "::1"] {
            let Some(host) = host_for(server, name.as_bytes()) else { continue };
            let router = Router::new(&server.hosts[host]);
            for path in ["/", "", "/a", "/files/a.json", "@chat", "<chat", "/\u{e9}"] {
                router.reach(path.as_bytes());
            }
        }
    }
}

#[test]
fn a_file_with_something_changed_loads_or_is_explained() {
    let (mut chance, valid, broken) = (Rng::with_seed(5), files("valid"), files("broken"));
    let mut loaded = 0;
    for round in 0..rounds(250) {
        let other = chance.choice(&broken).unwrap();
        let text = match round % 3 {
            0 => mutated(&mut chance, other, &valid[0]),
            _ => mutated(&mut chance, &valid[round as usize % valid.len()], other),
        };
        loaded += u32::from(try_text(round, &text));
    }
    assert!(loaded > 15, "{loaded}: chance changes too much to find mistakes in what loads");
}

#[test]
fn every_beginning_of_a_file_is_explained() {
    let text = fs::read(tests().join("valid/one-line.conf")).unwrap();
    for end in 0..text.len() {
        try_text(end as u64, &text[..end]);
    }
}

#[test]
fn words_in_any_order_are_explained() {
    let mut chance = Rng::with_seed(6);
    for round in 0..rounds(150) {
        let count = chance.usize(0..80);
        let words = (0..count).map(|_| WORDS[chance.usize(0..WORDS.len())]);
        let text = words.collect::<Vec<_>>().join(if chance.bool() { " " } else { "" });
        try_text(round, text.as_bytes());
        let bytes: Vec<u8> = (0..count).map(|_| chance.u8(..)).collect();
        try_text(round, &bytes);
    }
}

#[test]
fn any_pattern_is_refused_or_answers() {
    const PIECES: [&str; 32] = [
        ".",
        "\\",
        "\\a",
        "\\D",
        "\\b",
        "\\b()",
        "\\f",
        "\\f[a]",
        "[",
        "[^",
        "]",
        "a-z",
        "-",
        "^",
        "$",
        "(",
        ")",
        "*",
        "+",
        "?",
        "%d",
        "|",
        "{2}",
        "a",
        "0",
        "/",
        "é",
        "\u{1f415}",
        "\\z",
        "\0",
        "[]a]",
        ".*",
    ];
    let mut chance = Rng::with_seed(7);
    for round in 0..rounds(5_000) {
        let pieces = (0..chance.usize(0..12)).map(|_| PIECES[chance.usize(0..PIECES.len())]);
        let text: String = pieces.collect();
        let _about = About { round, input: text.as_bytes() };
        for odd in Pattern::oddities(&text) {
            assert!(odd.at < text.len() && text.is_char_boundary(odd.at), "{odd:?}");
        }
        let subject: Vec<u8> =
            (0..chance.usize(0..20)).map(|_| *chance.choice(b"aZ09/()-[\xe9 \0\xff").unwrap()).collect();
        match Pattern::parse(&text) {
            Ok(pattern) => {
                let matches = pattern.matches(&subject);
                assert!(matches || !pattern.fits_everything(), "{text}: {subject:?}");
            }
            Err(problem) => assert!(problem.at() < text.len(), "{problem:?}"),
        }
    }
}

/// A database of a file, small enough that chance hits what matters in it.
fn database(folder: &Folder, file: &str) -> Vec<u8> {
    let loaded = language::load(&tests().join("valid").join(file)).unwrap();
    let path = folder.path().join("sound.sqlite");
    let text = || "text".to_owned();
    let entry = Entry { who: text(), what: text(), location: text(), how: text(), why: None };
    store::save(&loaded.config, &path, None, &entry).unwrap();
    fs::read(&path).unwrap()
}

/// Of SQLite, unless told otherwise.
const PAGE: usize = 4096;

#[test]
fn a_database_with_something_changed_is_read_or_refused() {
    let folder = Folder::new();
    let sound = ["filters.conf", "handler-all.conf", "servers.conf", "settings.conf"]
        .map(|file| database(&folder, file));
    let path = folder.path().join("config.sqlite");
    let mut chance = Rng::with_seed(8);
    let (mut read, mut refused) = (0, 0);
    for round in 0..rounds(80) {
        let mut bytes = chance.choice(&sound).unwrap().clone();
        // Where the tables are described, nearly each change is the end.
        let spared = chance.u8(..) < 200;
        let pages = bytes.chunks(PAGE).enumerate();
        let open = pages.filter(|(_, page)| !spared || !page.windows(6).any(|six| six == b"CREATE"));
        let open: Vec<usize> = open.map(|(number, _)| number * PAGE).collect();
        let filled: Vec<usize> =
            open.iter().flat_map(|start| *start..start + PAGE).filter(|at| bytes[*at] != 0).collect();
        for _ in 0..chance.usize(1..8) {
            let at = *chance.choice(&filled).unwrap();
            bytes[at] = if chance.bool() { chance.u8(..) } else { bytes[at] ^ (1 << chance.u8(0..8)) };
        }
        if chance.u8(..) < 20 {
            bytes.truncate(chance.usize(0..bytes.len()));
        }
        let _about = About { round, input: &bytes };
        let begin = Instant::now();
        fs::write(&path, &bytes).unwrap();
        let _ = store::log(&path).map_err(|err| err.to_string());
        let _ = store::handlers(&path).map_err(|err| err.to_string());
        match Deployment::open(&path, None) {
            Ok(found) => {
                read += 1;
                looks_around(&found);
                asks(found.config());
                let _ = print_database(found.config());
                assert_eq!(found.config().problems(), found.config().problems());
            }
            Err(problem) => {
                refused += 1;
                assert!(!problem.to_string().is_empty());
                assert!(store::read(&path).is_err());
            }
        }
        assert!(fs::read(&path).unwrap() == bytes, "reading changed it");
        if store::write(&Config::default(), &path).is_err() {
            assert!(fs::read(&path).unwrap() == bytes, "a refusal changed it");
        }
        for left in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
            assert!(left == "config.sqlite" || left == "sound.sqlite", "{left:?} is left");
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    }
    assert!(read > 10 && refused > 10, "{read} read, {refused} refused");
}

/// All that can be asked of a database without a server.
fn looks_around(found: &Deployment) {
    match found.handler(Wanted::default()) {
        Ok((server, handler)) => drop(found.address(server, &handler.send_spec)),
        Err(problem) => assert!(!problem.to_string().is_empty()),
    }
    let _ = found.daemonizes();
    for server in found.servers() {
        let _ = (found.process(server), found.place(server), found.upload_store(server));
        let _ = found.control_port(server).map_err(|err| err.to_string());
    }
}
