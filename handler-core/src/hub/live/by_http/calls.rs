//! Answers to requests to a channel's path.

use super::super::table::{Carrier, Stage};
use crate::hub::Hub;
use crate::hub::exchange::answers::explain;
use crate::hub::ids::{AppId, LiveId, RequestId};
use crate::hub::request::Plan;
use std::time::Instant;

impl Hub {
    /// Answers in words of our own.
    pub(super) fn answer_call_with(
        &mut self,
        request: RequestId,
        (status, cors): (u16, &str),
        words: &str,
        now: Instant,
    ) {
        self.exchange.requests[request].plan = explain(status, cors, words);
        self.answer_by_plan(request, now);
    }

    /// Answers with JSON, or with nothing.
    pub(super) fn answer_call_by(
        &mut self,
        request: RequestId,
        (status, cors): (u16, &str),
        body: String,
        now: Instant,
    ) {
        let mut head = format!("Cache-Control: no-store\r\n{cors}");
        if status != 204 {
            head.push_str("Content-Type: application/json\r\n");
        }
        self.exchange.requests[request].plan = Plan::Answer { status, head, body };
        self.answer_by_plan(request, now);
    }

    /// The session with this ticket, if it is one of this channel and not over.
    pub(super) fn session(&self, ticket: &[u8], place: (AppId, u16)) -> Option<LiveId> {
        let id = self.live.lives.by_number(self.live.sessions.tickets.as_ref()?.read(ticket)?)?;
        let channel = self.live.lives.get(id)?;
        let is_meant = matches!(channel.carrier, Carrier::Http(_)) && (channel.app, channel.route) == place;
        (is_meant && channel.stage != Stage::Over).then_some(id)
    }
}
