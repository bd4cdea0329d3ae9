//! Answers to requests to a channel's path.

use super::super::table::{Carrier, Stage};
use crate::hub::answers::explain;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{AppId, LiveId, RequestId};
use crate::hub::live::Live;
use crate::hub::request::Plan;

impl Live {
    /// Answers in words of our own.
    pub(super) fn answer_call_with(
        &mut self,
        cx: &mut Context,
        request: RequestId,
        (status, cors): (u16, &str),
        words: &str,
    ) {
        cx.events.push(Event::Answer(request, explain(status, cors, words)));
    }

    /// Answers with JSON, or with nothing.
    pub(super) fn answer_call_by(
        &mut self,
        cx: &mut Context,
        request: RequestId,
        (status, cors): (u16, &str),
        body: String,
    ) {
        let mut head = format!("Cache-Control: no-store\r\n{cors}");
        if status != 204 {
            head.push_str("Content-Type: application/json\r\n");
        }
        cx.events.push(Event::Answer(request, Plan::Answer { status, head, body }));
    }

    /// The session with this ticket, if it is one of this channel and not over.
    pub(super) fn session(&self, ticket: &[u8], place: (AppId, u16)) -> Option<LiveId> {
        let id = self.lives.by_number(self.sessions.tickets.as_ref()?.read(ticket)?)?;
        let channel = self.lives.get(id)?;
        let is_meant = matches!(channel.carrier, Carrier::Http(_)) && (channel.app, channel.route) == place;
        (is_meant && channel.stage != Stage::Over).then_some(id)
    }
}
