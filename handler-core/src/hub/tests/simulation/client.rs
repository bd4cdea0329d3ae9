//! A client of the simulation: what it asked, and whether what it gets is what it may get.

use super::super::mongrel2::{split_response, unchunk};
use super::wire::Wire;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

/// A request without an answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Unique in the simulation; a handler's answer repeats it.
    pub tag: u64,
    pub head: bool,
    pub close: bool,
    pub kind: Asks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// A handler answers.
    Handler,
    /// The hub answers this status, or the script the page for it.
    Page(u16),
    /// The hub refuses it with 400, and closes.
    Refused,
}

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    /// JSON: it gets deliveries of the raw handler.
    Socket,
    /// Whatever a hostile message makes of it.
    Anything,
}

/// A body that a client sends in parts, as its Mongrel2 knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    pub sent: usize,
    pub total: usize,
    pub chunked: bool,
    pub credits: i64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub speaks: Speaks,
    pub asked: VecDeque<Asked>,
    /// Bytes received and not yet understood.
    stream: Vec<u8>,
    pub closed: bool,
    pub closed_at: Option<Instant>,
    pub gone: bool,
    pub gone_at: Option<Instant>,
    /// It died and Mongrel2 does not say so; it reports nothing.
    pub mute: bool,
    /// The last answer said that the connection will be closed.
    last_word: bool,
    pub wire: Wire,
    /// The highest number of a delivery.
    delivered: u64,
    /// The highest tag of a message that a worker began.
    pub begun: u64,
    pub answers: u64,
    /// The message that completes its upload, and the file.
    pub upload: Option<(Vec<u8>, PathBuf)>,
    /// The body that it sends in parts.
    pub body: Option<Sending>,
    /// Its server has sent parts that it should not have.
    pub rogue: bool,
    /// Answers that were cut short.
    pub cut: u64,
}

impl Client {
    pub fn new(speaks: Speaks) -> Self {
        Self {
            speaks,
            asked: VecDeque::new(),
            stream: Vec::new(),
            closed: false,
            closed_at: None,
            gone: false,
            gone_at: None,
            mute: false,
            last_word: false,
            wire: Wire::default(),
            delivered: 0,
            begun: 0,
            answers: 0,
            upload: None,
            body: None,
            rogue: false,
            cut: 0,
        }
    }

    pub fn may_talk(&self) -> bool {
        !self.closed && !self.gone && !self.mute
    }

    /// A request while nothing is under way proves that what came before has arrived, unless it comes
    /// sooner than that can be.
    pub fn asks(&mut self, now: Instant) {
        if self.asked.is_empty() {
            self.wire.heard(now);
        }
    }

    /// A message of the hub for this client.
    pub fn receive(&mut self, payload: &[u8], flow_control: bool, now: Instant) {
        if self.gone {
            // A delivery of the same turn was written already when the notice came.
            assert!(
                self.speaks == Speaks::Socket && self.gone_at == Some(now),
                "sent to a client that is gone"
            );
            return;
        }
        assert!(!self.closed, "sent after the close: {}", payload.escape_ascii());
        self.wire.take(payload.len(), flow_control, now);
        if payload.is_empty() {
            self.closed = true;
            self.closed_at = Some(now);
            if self.speaks == Speaks::Http && !self.stream.is_empty() {
                self.end_inside();
            }
            return;
        }
        match self.speaks {
            Speaks::Http => {
                self.stream.extend_from_slice(payload);
                self.read_answers();
            }
            Speaks::Socket => self.read_deliveries(payload),
            Speaks::Anything => {}
        }
    }

    fn read_answers(&mut self) {
        let stream = std::mem::take(&mut self.stream);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let asked = self.asked.front().expect("an answer that nobody asked for");
            let Some((status, head, body, after)) = split_response(rest, asked.head) else { break };
            assert!(!self.last_word, "an answer after `Connection: close`");
            let asked = self.asked.pop_front().expect("it was there");
            self.judge(&asked, status, &head, &body);
            self.answers += 1;
            rest = after;
        }
        self.stream = rest.to_vec();
    }

    /// The connection is closed inside an answer: only one in pieces may end like that, and what came of it is
    /// right.
    fn end_inside(&mut self) {
        let stream = std::mem::take(&mut self.stream);
        let end = stream.windows(4).position(|w| w == b"\r\n\r\n").expect("closed inside a head") + 4;
        let (head, rest) = stream.split_at(end);
        let head = String::from_utf8_lossy(head);
        let asked = self.asked.pop_front().expect("an answer that nobody asked for");
        assert!(head.contains("\r\nx-streams: "), "closed inside {head}");
        let body = if head.contains("chunked") { unchunk(rest).0 } else { rest.to_vec() };
        let text = String::from_utf8_lossy(&body);
        let right = format!("{}{}", asked.tag, ".".repeat(body.len()));
        assert!(right.starts_with(&*text), "{asked:?} was answered with {text:.60}");
        self.cut += 1;
    }

    fn judge(&mut self, asked: &Asked, status: u16, head: &str, body: &[u8]) {
        let closes = head.contains("\r\nConnection: close\r\n");
        assert!(closes || !asked.close, "{asked:?} must be closed: {head}");
        self.last_word = closes;
        match (asked.kind, status) {
            (_, 503) | (Asks::Handler, 502 | 504) => {}
            (Asks::Refused, 400) => assert!(closes),
            (Asks::Page(_), 502 | 504) => {}
            (Asks::Page(expected), got) if got == expected => {}
            (_, 500) => assert!(asked.head || body.starts_with(b"500 ")),
            (_, 200) if head.contains("\r\nx-nonsense: ") => {}
            (Asks::Handler, 200) => {
                let text = String::from_utf8_lossy(body);
                let right =
                    asked.head || text == "nonsense" || text.trim_end_matches('.') == asked.tag.to_string();
                assert!(right, "{asked:?} was answered with {:.60}", text);
            }
            (Asks::Page(_), 200) => assert!(body == b"nonsense" || asked.head || body.starts_with(b"page")),
            _ => panic!("{asked:?} was answered with {status}"),
        }
    }

    /// Deliveries are numbers, each ended by a blank.
    fn read_deliveries(&mut self, payload: &[u8]) {
        if payload.starts_with(b"HTTP/1.1 400") || payload.starts_with(b"HTTP/1.1 503") {
            return;
        }
        self.stream.extend_from_slice(payload);
        while let Some(end) = self.stream.iter().position(|b| *b == b' ') {
            let number: u64 = std::str::from_utf8(&self.stream[..end])
                .ok()
                .and_then(|text| text.parse().ok())
                .unwrap_or_else(|| panic!("no delivery: {}", self.stream.escape_ascii()));
            assert!(number > self.delivered, "delivery {number} after {}", self.delivered);
            self.delivered = number;
            self.stream.drain(..=end);
        }
    }

    /// At the end, after everybody had time.
    pub fn settle(&self) {
        assert!(
            self.stream.is_empty() || self.mute || self.gone,
            "half an answer: {}",
            self.stream.escape_ascii()
        );
        let over = self.closed || self.gone || self.mute || self.speaks != Speaks::Http;
        assert!(over || self.asked.is_empty(), "without an answer: {:?}", self.asked);
        assert!(self.closed || self.gone || self.mute || !self.last_word, "said to close, and did not");
    }
}
