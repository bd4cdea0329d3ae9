//! What passes through the hub, for those who watch: requests and their answers, messages, beginnings and ends.
//!
//! Nobody watches as a rule, and then each of these places costs one look at an empty list.

use crate::hub::ids::{AppId, ConnKey, RequestId};
use base64::Engine;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Instant;

/// What to watch. All that is given has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TapFilter {
    /// The live connection of this `conn.id`.
    pub id: Option<String>,
    /// Messages to this room, and of and to its members.
    pub room: Option<String>,
    /// Requests and connections whose path begins so.
    pub path: Option<String>,
    /// What concerns this app alone. Nobody can say so in a line: it is what the line's address is for.
    #[serde(skip)]
    pub only: Option<AppId>,
}

/// All who watch.
#[derive(Debug, Default)]
pub(in crate::hub) struct Taps {
    taps: Vec<Tap>,
    /// Requests that were seen, until they are answered.
    requests: FxHashMap<RequestId, Seen>,
    seen: Vec<(u64, Value)>,
}

/// A request without an answer.
#[derive(Debug)]
struct Seen {
    /// The taps that saw it.
    tokens: Vec<u64>,
    /// As log lines call it.
    number: u64,
    since: Instant,
}

#[derive(Debug)]
struct Tap {
    token: u64,
    key: Option<ConnKey>,
    filter: TapFilter,
}

/// What a live connection does or gets.
#[derive(Debug, Clone, Copy)]
pub(in crate::hub) enum Passing<'a> {
    Opened,
    Closed { code: u16, reason: &'a str },
    In { binary: bool, payload: &'a [u8] },
    Out { binary: bool, payload: &'a [u8] },
}

/// As much of a message as is shown, bytes.
const SHOWN: usize = 4 << 10;

/// A request that is about to be enqueued, as those who watch see it.
#[derive(Debug)]
pub(in crate::hub) struct Arrived<'a> {
    pub request: RequestId,
    pub number: u64,
    /// Whose it is, if that is known.
    pub app: Option<AppId>,
    pub key: ConnKey,
    pub method: &'a [u8],
    pub path: &'a [u8],
}

/// A live connection, as far as filters ask about it.
pub(in crate::hub) trait Watched {
    fn key(&self) -> ConnKey;
    fn app(&self) -> AppId;
    fn is_in(&self, room: &[u8]) -> bool;
    /// The path by which it was opened.
    fn path(&self) -> String;
}

impl Taps {
    /// Begins to watch, under a number that is the caller's. `key`: the connection that the filter names.
    pub fn add(&mut self, token: u64, key: Option<ConnKey>, filter: TapFilter) {
        self.taps.push(Tap { token, key, filter });
    }

    /// Ends what was begun under this number.
    pub fn remove(&mut self, token: u64) {
        self.taps.retain(|tap| tap.token != token);
        if self.taps.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether nobody watches.
    pub fn is_idle(&self) -> bool {
        self.taps.is_empty()
    }

    /// Hands out what was seen, each with the number of who watches.
    pub fn drain(&mut self, mut show: impl FnMut(u64, Value)) {
        for (token, event) in self.seen.drain(..) {
            show(token, event);
        }
    }

    fn show(&mut self, tokens: &[u64], event: &Value) {
        self.seen.extend(tokens.iter().map(|token| (*token, event.clone())));
    }

    /// A request is about to be enqueued.
    pub fn note_request(&mut self, arrived: &Arrived<'_>, now: Instant) {
        if self.is_idle() {
            return;
        }
        let path = String::from_utf8_lossy(arrived.path);
        let fits = |tap: &&Tap| {
            tap.key.is_none()
                && tap.filter.room.is_none()
                && (tap.filter.only.is_none() || tap.filter.only == arrived.app)
                && tap.filter.path.as_ref().is_none_or(|begin| path.starts_with(begin.as_str()))
        };
        let tokens: Vec<u64> = self.taps.iter().filter(fits).map(|tap| tap.token).collect();
        let (number, key) = (arrived.number, arrived.key);
        let event = json!({
            "event": "request", "request": number, "server": key.link.0, "conn": key.id.get(),
            "method": String::from_utf8_lossy(arrived.method), "path": path,
        });
        self.show(&tokens, &event);
        if !tokens.is_empty() {
            self.requests.insert(arrived.request, Seen { tokens, number, since: now });
        }
    }

    /// A request has its answer, or will never have one (0).
    pub fn note_answer(&mut self, request: RequestId, status: u16, now: Instant) {
        if self.requests.is_empty() {
            return;
        }
        let Some(Seen { tokens, number, since }) = self.requests.remove(&request) else { return };
        let took = now.saturating_duration_since(since).as_micros() as u64;
        let event = json!({ "event": "answer", "request": number, "status": status, "microseconds": took });
        self.show(&tokens, &event);
    }

    /// Something about a live connection; `name`: its `conn.id`.
    pub fn note_live(&mut self, live: &impl Watched, name: impl FnOnce() -> String, passing: Passing<'_>) {
        let mut path = None;
        let mut fits = |tap: &Tap| {
            tap.key.is_none_or(|watched| watched == live.key())
                && tap.filter.only.is_none_or(|only| only == live.app())
                && tap.filter.room.as_ref().is_none_or(|room| live.is_in(room.as_bytes()))
                && (tap.filter.path.as_ref())
                    .is_none_or(|begin| path.get_or_insert_with(|| live.path()).starts_with(begin.as_str()))
        };
        let tokens: Vec<u64> = self.taps.iter().filter(|tap| fits(tap)).map(|tap| tap.token).collect();
        if tokens.is_empty() {
            return;
        }
        let name = name();
        let event = match passing {
            Passing::Opened => json!({ "event": "opened", "id": name }),
            Passing::Closed { code, reason } => {
                json!({ "event": "closed", "id": name, "code": code, "reason": reason })
            }
            Passing::In { binary, payload } => message("in", &name, binary, payload),
            Passing::Out { binary, payload } => message("out", &name, binary, payload),
        };
        self.show(&tokens, &event);
    }

    /// A message to a room with this number of members. `has_members_of`: whether some are an app's.
    pub fn note_publish(
        &mut self,
        (room, members): (&[u8], usize),
        (binary, payload): (bool, &[u8]),
        has_members_of: impl Fn(AppId) -> bool,
    ) {
        let fits = |tap: &&Tap| {
            tap.key.is_none()
                && tap.filter.path.is_none()
                && tap.filter.room.as_ref().is_none_or(|wanted| wanted.as_bytes() == room)
                && tap.filter.only.is_none_or(&has_members_of)
        };
        let tokens: Vec<u64> = self.taps.iter().filter(fits).map(|tap| tap.token).collect();
        let mut event = shown(binary, payload);
        event["event"] = "published".into();
        event["room"] = String::from_utf8_lossy(room).into();
        event["members"] = members.into();
        self.show(&tokens, &event);
    }
}

fn message(direction: &str, name: &str, binary: bool, payload: &[u8]) -> Value {
    let mut event = shown(binary, payload);
    event["event"] = direction.into();
    event["id"] = name.into();
    event
}

/// A message as text, or in base64, and its whole size where only the beginning is shown.
fn shown(binary: bool, payload: &[u8]) -> Value {
    let beginning = &payload[..payload.len().min(SHOWN)];
    let mut event = match (binary, std::str::from_utf8(beginning)) {
        (false, Ok(text)) => json!({ "text": text }),
        (false, Err(_)) => json!({ "text": String::from_utf8_lossy(beginning) }),
        (true, _) => json!({ "base64": base64::engine::general_purpose::STANDARD.encode(beginning) }),
    };
    if beginning.len() < payload.len() {
        event["size"] = payload.len().into();
    }
    event
}
