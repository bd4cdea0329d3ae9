//! What workers say and ask about live connections and rooms.

use crate::channel::bounds::check_data;
use crate::hub::context::Context;
use crate::hub::ids::{LiveId, WorkerId};
use crate::hub::live::Live;
use crate::worker::protocol::{Action, Question, encode_answer};
use kennel_http::response::Response;
use serde_json::{Value, json};
use std::time::Instant;

impl Live {
    /// Does what a worker wants done with live connections and rooms. Those that are over meanwhile are let be.
    pub(in crate::hub) fn handle_live_action(
        &mut self,
        cx: &mut Context,
        worker: WorkerId,
        action: Action<'_>,
        now: Instant,
    ) {
        match action {
            Action::Send { conn, binary, payload } => {
                if let Some(id) = self.lives.by_number(conn) {
                    self.send_live(cx, id, binary, payload, now);
                }
            }
            Action::Accept { conn, protocol, head } => {
                if let Some(id) = self.lives.by_number(conn) {
                    self.accept_handshake(cx, id, protocol, head, now);
                }
            }
            Action::Refuse { conn, status, head, body } => {
                if let Some(id) = self.lives.by_number(conn) {
                    self.refuse_handshake(cx, id, Response { status, head, body }, now);
                }
            }
            Action::CloseConn { conn, code, reason } => match self.lives.by_number(conn) {
                Some(id) if self.is_undecided(id) => self.forbid_handshake(cx, id, now),
                Some(id) => self.close_live(cx, id, code, &String::from_utf8_lossy(reason), now),
                None => {}
            },
            Action::Join { conn, room } => {
                self.flush_publishing(cx, now);
                let Some(id) = self.lives.by_number(conn) else { return };
                if let Err(problem) = self.rooms.join(room, id) {
                    self.refuse_order(cx, id, &format!("dropped a join: {problem}"), now);
                }
            }
            Action::Leave { conn, room } => {
                self.flush_publishing(cx, now);
                if let Some(id) = self.lives.by_number(conn) {
                    self.rooms.leave(room, id);
                }
            }
            Action::Publish { except, binary, room, payload } => {
                let except = self.lives.by_number(except);
                self.publish(cx, room, except, binary, payload, now);
            }
            Action::CloseRoom { code, room, reason } => {
                self.flush_publishing(cx, now);
                let members: Vec<LiveId> = self.rooms.members(room).to_vec();
                for id in members {
                    self.close_live(cx, id, code, &String::from_utf8_lossy(reason), now);
                }
            }
            Action::SetData { conn, json } => {
                let Some(id) = self.lives.by_number(conn) else { return };
                if let Err(problem) = check_data(json.len()) {
                    self.refuse_order(cx, id, &format!("dropped: {problem}"), now);
                } else if json.is_empty() {
                    self.data.remove(&id);
                } else {
                    self.data.insert(id, json.into());
                }
            }
            Action::Query { query, question, subject } => {
                let answer = self.answer_question(cx, question, subject);
                if let Some(worker) = cx.workers.get_mut(worker) {
                    encode_answer(&mut worker.orders, query, answer.to_string().as_bytes());
                }
            }
            _ => {}
        }
    }

    fn answer_question(&self, cx: &Context, question: Question, subject: &[u8]) -> Value {
        let by_decimal = || {
            let number: u64 = std::str::from_utf8(subject).ok()?.parse().ok()?;
            self.lives.by_number(number)
        };
        match question {
            Question::Count => json!(self.rooms.count(subject)),
            Question::Members => {
                self.rooms.members(subject).iter().filter_map(|id| self.introduce(cx, *id)).collect()
            }
            Question::Connection => cx
                .key_by_name(subject)
                .and_then(|key| self.lives.at(key))
                .and_then(|id| self.introduce(cx, id))
                .unwrap_or_default(),
            Question::Data => {
                let data = by_decimal().and_then(|id| self.data.get(&id));
                data.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
            }
            Question::Rooms => {
                let rooms = by_decimal().map(|id| {
                    self.rooms.rooms_of(id).map(|room| json!(String::from_utf8_lossy(room))).collect()
                });
                rooms.unwrap_or_default()
            }
        }
    }

    /// `[number, name, transport]`.
    fn introduce(&self, cx: &Context, id: LiveId) -> Option<Value> {
        let channel = self.lives.get(id)?;
        Some(json!([channel.number, cx.conn_name(channel.key), channel.carrier.name()]))
    }
}
