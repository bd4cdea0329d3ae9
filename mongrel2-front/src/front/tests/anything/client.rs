//! One client: what it has sent, what came of it, and what it may read.

use super::script::{Expected, How, Item};
use crate::files::{self, Piece};
use crate::ids::ClientKey;
use base64::prelude::*;
use std::collections::{HashSet, VecDeque};
use std::time::Instant;

pub(super) struct Client {
    pub(super) key: ClientKey,
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
    /// Where items end in `bytes`.
    ends: HashSet<usize>,
    pub(super) expected: VecDeque<Expected>,
    /// The body of a request that is not whole.
    pub(super) part: Option<(Expected, Vec<u8>)>,
    pub(super) id: Option<i64>,
    /// Handlers that know it and have not closed it.
    pub(super) known_by: HashSet<usize>,
    pub(super) is_alive: bool,
    /// It said that it sends nothing more.
    pub(super) has_ended: bool,
    /// The server does not want its bytes until it says so.
    pub(super) is_blocked: bool,
    /// A handler closed it.
    pub(super) is_closing: bool,
    /// Something else than handlers may have ended it.
    pub(super) may_drop: bool,
    /// Payloads that it is to read, in order.
    pub(super) payloads: VecDeque<Vec<u8>>,
    /// Output that is not explained yet.
    unread: Vec<u8>,
    pub(super) upload: Option<Upload>,
    /// The request of the upload, and its bytes so far.
    pub(super) stored: Option<(Expected, Vec<u8>)>,
    pub(super) files: VecDeque<String>,
    /// Requests without a response: the handler, and whether it is a HEAD.
    pub(super) unanswered: VecDeque<(usize, bool)>,
    /// Handlers answered it once a request, with whole responses.
    pub(super) is_plain: bool,
    /// When it or a handler last did something.
    pub(super) touched: Instant,
}

/// The file of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upload {
    Creating,
    Open,
    Finishing,
}

impl Client {
    pub(super) fn new(key: ClientKey, items: Vec<Item>, now: Instant) -> Self {
        let (mut bytes, mut ends, mut expected) = (Vec::new(), HashSet::from([0]), VecDeque::new());
        for item in items {
            bytes.extend(item.bytes);
            ends.insert(bytes.len());
            if item.expected != Expected::Nothing {
                expected.push_back(item.expected);
            }
        }
        Self {
            key,
            bytes,
            sent: 0,
            ends,
            expected,
            part: None,
            id: None,
            known_by: HashSet::new(),
            is_alive: true,
            has_ended: false,
            is_blocked: false,
            is_closing: false,
            may_drop: false,
            payloads: VecDeque::new(),
            unread: Vec::new(),
            upload: None,
            stored: None,
            files: VecDeque::new(),
            unanswered: VecDeque::new(),
            is_plain: true,
            touched: now,
        }
    }

    pub(super) fn is_between(&self) -> bool {
        self.ends.contains(&self.sent)
    }

    /// A handler got a message of this client: the next one that was to come, whole and by the right way.
    pub(super) fn got(&mut self, handler: usize, method: &[u8], path: &str, message: &Message<'_>) {
        if let Some((expected, mut body)) = self.part.take() {
            let Expected::Request { handler: to, path: its, body: whole, .. } = &expected else { panic!() };
            assert_eq!((handler, path), (*to, its.as_str()), "a part goes where its request went");
            assert_eq!(message.offset, Some(body.len()), "parts are in order");
            body.extend(message.body);
            assert!(whole.starts_with(&body), "parts are of the body");
            if message.is_done {
                assert_eq!(&body, whole);
            } else {
                self.part = Some((expected, body));
            }
            return;
        }
        let expected = self.expected.pop_front().unwrap_or_else(|| panic!("{path} was not sent"));
        match &expected {
            Expected::Request { handler: to, path: its, body, how } => {
                assert_eq!((handler, path), (*to, its.as_str()));
                assert!([&b"GET"[..], b"POST", b"HEAD"].contains(&method));
                self.unanswered.push_back((handler, method == b"HEAD"));
                match how {
                    How::Inline => assert_eq!((message.body, message.offset), (&body[..], None)),
                    How::Parts => {
                        assert_eq!(message.offset, Some(0));
                        assert!(body.starts_with(message.body));
                        if !message.is_done {
                            self.part = Some((expected.clone(), message.body.to_vec()));
                        }
                    }
                    How::File => panic!("{path} is told of by its file"),
                }
            }
            Expected::Handshake { path: its } => {
                assert_eq!((handler, method, path), (0, &b"WEBSOCKET_HANDSHAKE"[..], its.as_str()));
            }
            Expected::Message { handler: to, path: its, body } => {
                assert_eq!((handler, path, message.body), (*to, its.as_str(), &body[..]));
            }
            other => panic!("{path} instead of {other:?}"),
        }
    }

    /// Bytes that the client read: payloads of its own, in order, and answers of the server.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        'next: while !self.unread.is_empty() {
            let mut texts: Vec<(Vec<u8>, bool)> = Vec::new();
            if let Some(payload) = self.payloads.front() {
                texts.push((payload.clone(), true));
                texts.push((BASE64_STANDARD.encode(payload).into_bytes(), true));
            }
            texts.extend([400, 404, 405, 408, 413, 417, 431, 503].map(|status| (page(status), false)));
            texts.push((b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), false));
            texts.push((crate::socket_message::POLICY.to_vec(), false));
            if let Some(path) = self.files.front() {
                texts.push((file_head(path), false));
            }
            for (text, is_payload) in texts {
                if self.unread.starts_with(&text) {
                    self.unread.drain(..text.len());
                    if is_payload {
                        self.payloads.pop_front();
                    } else if text.windows(5).any(|part| part == b" FILE") {
                        self.files.pop_front();
                    }
                    continue 'next;
                }
                if text.starts_with(&self.unread) {
                    return;
                }
            }
            panic!("a stranger's bytes: {}; own: {:?}", self.unread.escape_ascii(), self.payloads);
        }
    }
}

/// What of a message is looked at.
pub(super) struct Message<'a> {
    pub(super) body: &'a [u8],
    /// A part of a body that begins here.
    pub(super) offset: Option<usize>,
    pub(super) is_done: bool,
}

fn page(status: u16) -> Vec<u8> {
    let answer = files::error(status);
    let mut out = answer.head;
    for piece in answer.body {
        if let Piece::Bytes(bytes) = piece {
            out.extend(bytes);
        }
    }
    out
}

/// The answer for a file.
pub(super) fn file_head(path: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 FILE\r\nContent-Length: {}\r\n\r\n{path}", path.len()).into_bytes()
}
