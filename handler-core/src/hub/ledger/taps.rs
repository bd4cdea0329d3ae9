//! What passes through the hub, for those who watch: requests and their answers, messages, beginnings and ends.
//!
//! Nobody watches as a rule, and then each of these places costs one look at an empty list.

use crate::hub::Hub;
use crate::hub::exchange::receive::Asked;
use crate::hub::ids::LiveId;
use crate::hub::ids::{AppId, ConnKey, RequestId};
use crate::hub::operator::execute::OperateError;
use base64::Engine;
use mongrel2_wire::Envelope;
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

impl Hub {
    /// Begins to watch, under a number that is the caller's.
    ///
    /// # Errors
    ///
    /// [`OperateError::NoConnection`]: the filter names one that is not there.
    pub fn tap(&mut self, token: u64, filter: TapFilter) -> Result<(), OperateError> {
        let key = match &filter.id {
            None => None,
            Some(id) => {
                let live = self.live_by_name(id).and_then(|live| self.live.glimpse(live));
                let found = live.map(|glimpse| glimpse.key);
                Some(found.ok_or_else(|| OperateError::NoConnection { id: id.clone() })?)
            }
        };
        self.cx.ledger.taps.taps.push(Tap { token, key, filter });
        Ok(())
    }

    /// Ends what was begun under this number.
    pub fn untap(&mut self, token: u64) {
        self.cx.ledger.taps.taps.retain(|tap| tap.token != token);
        if self.cx.ledger.taps.taps.is_empty() {
            self.cx.ledger.taps = Taps::default();
        }
    }

    /// Hands out what was seen, each with the number of who watches.
    pub fn drain_taps(&mut self, mut show: impl FnMut(u64, Value)) {
        for (token, event) in self.cx.ledger.taps.seen.drain(..) {
            show(token, event);
        }
    }

    /// A request is about to be enqueued under this number; `app`: whose it is, if it is known.
    pub(in crate::hub) fn note_request(
        &mut self,
        request: RequestId,
        number: u64,
        app: Option<AppId>,
        asked: &Asked<'_>,
        method: &[u8],
        now: Instant,
    ) {
        if self.cx.ledger.taps.taps.is_empty() {
            return;
        }
        let (key, path) = (asked.key, String::from_utf8_lossy(asked.envelope.path));
        let fits = |tap: &&Tap| {
            tap.key.is_none()
                && tap.filter.room.is_none()
                && (tap.filter.only.is_none() || tap.filter.only == app)
                && tap.filter.path.as_ref().is_none_or(|begin| path.starts_with(begin.as_str()))
        };
        let tokens: Vec<u64> = self.cx.ledger.taps.taps.iter().filter(fits).map(|tap| tap.token).collect();
        let event = json!({
            "event": "request", "request": number, "server": key.link.0, "conn": key.id.get(),
            "method": String::from_utf8_lossy(method), "path": path,
        });
        self.cx.ledger.taps.seen.extend(tokens.iter().map(|token| (*token, event.clone())));
        if !tokens.is_empty() {
            self.cx.ledger.taps.requests.insert(request, Seen { tokens, number, since: now });
        }
    }

    /// A request has its answer, or will never have one (0).
    pub(in crate::hub) fn note_answer(&mut self, request: RequestId, status: u16, now: Instant) {
        if self.cx.ledger.taps.requests.is_empty() {
            return;
        }
        let Some(Seen { tokens, number, since }) = self.cx.ledger.taps.requests.remove(&request) else {
            return;
        };
        let took = now.saturating_duration_since(since).as_micros() as u64;
        let event = json!({ "event": "answer", "request": number, "status": status, "microseconds": took });
        self.cx.ledger.taps.seen.extend(tokens.into_iter().map(|token| (token, event.clone())));
    }

    /// Something about a live connection.
    pub(in crate::hub) fn note_live(&mut self, id: LiveId, passing: Passing<'_>) {
        if self.cx.ledger.taps.taps.is_empty() {
            return;
        }
        let Some((key, app)) = self.live.glimpse(id).map(|glimpse| (glimpse.key, glimpse.app)) else {
            return;
        };
        let mut path = None;
        let fits = |tap: &&Tap| {
            tap.key.is_none_or(|watched| watched == key)
                && tap.filter.only.is_none_or(|only| only == app)
                && tap.filter.room.as_ref().is_none_or(|room| self.live.rooms.contains(room.as_bytes(), id))
                && tap.filter.path.as_ref().is_none_or(|begin| {
                    path.get_or_insert_with(|| self.path_of(id)).starts_with(begin.as_str())
                })
        };
        let tokens: Vec<u64> = {
            let mut fits = fits;
            self.cx.ledger.taps.taps.iter().filter(|tap| fits(tap)).map(|tap| tap.token).collect()
        };
        if tokens.is_empty() {
            return;
        }
        let name = self.conn_name(key);
        let event = match passing {
            Passing::Opened => json!({ "event": "opened", "id": name }),
            Passing::Closed { code, reason } => {
                json!({ "event": "closed", "id": name, "code": code, "reason": reason })
            }
            Passing::In { binary, payload } => message("in", &name, binary, payload),
            Passing::Out { binary, payload } => message("out", &name, binary, payload),
        };
        self.cx.ledger.taps.seen.extend(tokens.into_iter().map(|token| (token, event.clone())));
    }

    /// A message to a room.
    pub(in crate::hub) fn note_publish(&mut self, room: &[u8], binary: bool, payload: &[u8]) {
        if self.cx.ledger.taps.taps.is_empty() {
            return;
        }
        let fits = |tap: &&Tap| {
            tap.key.is_none()
                && tap.filter.path.is_none()
                && tap.filter.room.as_ref().is_none_or(|wanted| wanted.as_bytes() == room)
                && tap.filter.only.is_none_or(|app| self.members_of(room, app).next().is_some())
        };
        let tokens: Vec<u64> = self.cx.ledger.taps.taps.iter().filter(fits).map(|tap| tap.token).collect();
        let mut event = shown(binary, payload);
        event["event"] = "published".into();
        event["room"] = String::from_utf8_lossy(room).into();
        event["members"] = self.live.rooms.count(room).into();
        self.cx.ledger.taps.seen.extend(tokens.into_iter().map(|token| (token, event.clone())));
    }

    fn path_of(&self, id: LiveId) -> String {
        let opening = self.live.opening_message(id).unwrap_or_default();
        Envelope::parse(&opening)
            .map_or_else(|_| String::new(), |e| String::from_utf8_lossy(e.path).into_owned())
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
