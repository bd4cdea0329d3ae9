//! What a client sends: made by chance, and the same for the same seed.

use fastrand::Rng;
use std::fmt;
use tests::websocket;

/// Bytes of one connection.
#[derive(Debug)]
pub(crate) struct Case {
    seed: u64,
    /// What is unusual about them.
    pub(crate) traits: Vec<Trait>,
    pub(crate) steps: Vec<Step>,
}

/// What a client does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Sends bytes as one segment.
    Send(Vec<u8>),
    /// Waits for the first bytes of an answer.
    Await,
}

/// What servers may treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trait {
    /// `Content-Length` beside `Transfer-Encoding`, two lengths, or a length that is not a number.
    DoubtfulLength,
    /// Lines end in LF alone, a line is folded, or a CR stands alone.
    LooseLines,
    /// More than five headers of one name.
    ManyEqualHeaders,
    /// A header of the client's is named `x-mongrel2-...`.
    MongrelsOwnHeader,
    /// Bytes that are not a protocol.
    Garbage,
    /// Headers or frames come in pieces.
    Split,
    /// A blank stands behind a header's value.
    TrailingBlank,
    /// A path ends within a route's key.
    ShortPath,
    /// A request stands behind one whose body comes as a file.
    BehindUpload,
    /// A request stands behind one whose handler closes the connection.
    BehindClose,
    /// A request stands behind one that the client called its last.
    BehindLast,
}

impl Case {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut case = Self { seed, traits: Vec::new(), steps: Vec::new() };
        match rng.u8(..20) {
            0..=11 => case.http(&mut rng),
            12..=14 => case.message_socket(&mut rng),
            15..=18 => case.websocket(&mut rng),
            _ => case.garbage(&mut rng),
        }
        case
    }

    pub(crate) fn has(&self, wanted: Trait) -> bool {
        self.traits.contains(&wanted)
    }

    /// Requests one behind the other on one connection.
    fn http(&mut self, rng: &mut Rng) {
        // Responses of several handlers come in any order.
        let mut paths = PATHS[rng.usize(..PATHS.len())];
        if rng.u8(..40) == 0 {
            self.traits.push(Trait::ShortPath);
            paths = &["/a"];
        }
        let (mut bytes, mut in_file, mut closes, mut was_last) = (Vec::new(), false, false, false);
        for _ in 0..rng.usize(1..=4) {
            if in_file {
                self.traits.push(Trait::BehindUpload);
            }
            if closes {
                self.traits.push(Trait::BehindClose);
            }
            if was_last {
                self.traits.push(Trait::BehindLast);
            }
            let start = bytes.len();
            in_file |= self.request(rng, paths, &mut bytes);
            closes |= bytes[start..].split(|byte| *byte == b' ').nth(1) == Some(b"/close");
            was_last |= is_last(&bytes[start..]);
        }
        self.send_split(rng, &bytes);
    }

    /// Returns whether its body comes as a file.
    fn request(&mut self, rng: &mut Rng, paths: &[&str], out: &mut Vec<u8>) -> bool {
        let method =
            pick(rng, &["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "FOO"]);
        let path = pick(rng, paths);
        let version = if rng.u8(..8) == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
        let end = match rng.u8(..40) {
            0 => {
                self.traits.push(Trait::LooseLines);
                "\n"
            }
            _ => "\r\n",
        };
        let mut head = format!("{method} {path} {version}{end}Host: localhost{end}");
        for _ in 0..rng.usize(..6) {
            let (name, value) = (pick(rng, &NAMES), pick(rng, &VALUES));
            let blank = pick(rng, &[" ", " ", " ", "", "  ", "\t"]);
            head.push_str(&format!("{name}:{blank}{value}{end}"));
        }
        match rng.u8(..60) {
            0 => {
                self.traits.push(Trait::ManyEqualHeaders);
                (0..7).for_each(|n| head.push_str(&format!("X-Same: {n}{end}")));
            }
            1 => {
                self.traits.push(Trait::MongrelsOwnHeader);
                head.push_str(&format!("X-Mongrel2-Upload-Done: /tmp/x{end}"));
            }
            2 => {
                self.traits.push(Trait::LooseLines);
                head.push_str(&format!("X-Folded: one{end} two{end}"));
            }
            3 => {
                self.traits.push(Trait::TrailingBlank);
                head.push_str(&format!("X-Blank: a {end}"));
            }
            4 | 5 => {
                head.push_str(&format!("Connection: {}{end}", pick(rng, &["close", "keep-alive", "Close"])))
            }
            _ => {}
        }
        let size = match rng.u8(..12) {
            0..=5 => 0,
            6..=9 => rng.usize(..300),
            10 => rng.usize(..9_000),
            _ => 110_000 + rng.usize(..20_000),
        };
        let body: Vec<u8> = (0..size).map(|at| b'a' + (at % 23) as u8).collect();
        if rng.u8(..12) == 0 && end == "\r\n" {
            if version == "HTTP/1.0" {
                // It has no chunks (RFC 9112, 6.1).
                self.traits.push(Trait::DoubtfulLength);
            }
            out.extend_from_slice(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes());
            for chunk in body.chunks(rng.usize(1..60_000)).take(300) {
                out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            return true;
        }
        let length = match rng.u8(..50) {
            0 => {
                self.traits.push(Trait::DoubtfulLength);
                format!("Content-Length: {size}{end}Content-Length: {size}{end}")
            }
            1 => {
                self.traits.push(Trait::DoubtfulLength);
                format!("Content-Length: +{size}{end}")
            }
            2 => {
                self.traits.push(Trait::DoubtfulLength);
                format!("Content-Length: {size}{end}Transfer-Encoding: chunked{end}")
            }
            _ if size > 0 => format!("Content-Length: {size}{end}"),
            _ => String::new(),
        };
        out.extend_from_slice(format!("{head}{length}{end}").as_bytes());
        out.extend_from_slice(&body);
        size > 100_000
    }

    /// Messages of JSON and XML sockets.
    fn message_socket(&mut self, rng: &mut Rng) {
        let mut bytes = Vec::new();
        let is_json = rng.bool();
        for _ in 0..rng.usize(1..=4) {
            let number = rng.u16(..);
            let message = match is_json {
                true => format!("@json {{\"n\":{number}}}\0"),
                false => format!("<xml n=\"{number}\"><a/></xml>\0"),
            };
            bytes.extend_from_slice(message.as_bytes());
        }
        match rng.u8(..10) {
            0 => self.steps.push(Step::Send(b"@nowhere {\"a\":1}\0".to_vec())),
            1 => self.steps.push(Step::Send(b"<policy-file-request/>\0".to_vec())),
            _ => self.send_split(rng, &bytes),
        }
    }

    /// A handshake, its answer, and frames.
    fn websocket(&mut self, rng: &mut Rng) {
        let path = pick(rng, &["/", "/a/b", "/p/12", "/ws?x=1"]);
        self.steps.push(Step::Send(websocket::handshake(path, &[])));
        self.steps.push(Step::Await);
        let mut bytes = Vec::new();
        for _ in 0..rng.usize(1..=5) {
            let first = pick(rng, &["\u{81}", "\u{82}", "\u{89}", "\u{8a}", "\u{1}", "\u{80}"]);
            let first = first.chars().next().map_or(0x81, |char| char as u8);
            let size = pick_size(rng, first);
            let payload: Vec<u8> = (0..size).map(|_| rng.u8(b'a'..=b'z')).collect();
            frame(rng, first, &payload, &mut bytes);
        }
        self.send_split(rng, &bytes);
    }

    fn garbage(&mut self, rng: &mut Rng) {
        self.traits.push(Trait::Garbage);
        let size = rng.usize(1..200);
        let mut bytes: Vec<u8> = (0..size).map(|_| rng.u8(..)).collect();
        if rng.bool() {
            bytes.splice(0..0, *b"GET /");
        }
        self.send_split(rng, &bytes);
    }

    /// As one segment, or in pieces.
    fn send_split(&mut self, rng: &mut Rng, bytes: &[u8]) {
        let mut ends = vec![bytes.len()];
        if rng.u8(..3) == 0 {
            self.traits.push(Trait::Split);
            ends.extend((0..rng.usize(1..4)).map(|_| rng.usize(..bytes.len())));
        }
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            if end > start {
                self.steps.push(Step::Send(bytes[start..end].to_vec()));
                start = end;
            }
        }
    }
}

/// Whether a request is the last one of its connection: `Connection: close`, or HTTP/1.0 without `keep-alive`.
fn is_last(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    let says = |what: &str| head.contains(&format!("\nconnection: {what}"));
    says("close") || (head.contains(" http/1.0") && !says("keep-alive"))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} {:?}:", self.seed, self.traits)?;
        for step in &self.steps {
            match step {
                Step::Send(bytes) => {
                    write!(
                        f,
                        " send {} bytes `{}`",
                        bytes.len(),
                        bytes[..bytes.len().min(700)].escape_ascii()
                    )?;
                }
                Step::Await => write!(f, " await")?,
            }
        }
        Ok(())
    }
}

/// Paths of requests, of one handler after the other.
const PATHS: [&[&str]; 3] = [
    &[
        "/",
        "/x",
        "/sp%20ace",
        "/caf%C3%A9?q=%26",
        "/?a=b&c",
        "//double",
        "/x/../b",
        "/close",
        "/frag#ment",
        "http://localhost/whole",
    ],
    &["/a/b", "/a/b/c?d=e", "/a/bc"],
    &["/p/12", "/p/1?2", "/p/007"],
];
const NAMES: [&str; 9] = [
    "Accept",
    "Cookie",
    "User-Agent",
    "X-One",
    "x-one",
    "X-FORWARDED-FOR",
    "Referer",
    "If-None-Match",
    "PATTERN",
];
const VALUES: [&str; 7] = ["", "a", "*/*", "a, b;c=\"d\"", "back\\slash", "1.2.3.4", "caf\u{e9} \u{1f600}"];

fn pick<'a>(rng: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[rng.usize(..choices.len())]
}

/// Control frames are short.
fn pick_size(rng: &mut Rng, first: u8) -> usize {
    let sizes = if first & 0x08 == 0 { &[0, 1, 5, 125, 126, 300, 3_000][..] } else { &[0, 1, 125] };
    sizes[rng.usize(..sizes.len())]
}

/// A masked frame.
fn frame(rng: &mut Rng, first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match payload.len() {
        size @ 0..=125 => out.push(0x80 | size as u8),
        size => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
    }
    let mask = rng.u32(..).to_be_bytes();
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
