//! Answers to requests to a channel's path.

use crate::hub::answers::explain;
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::RequestId;
use crate::hub::live::Live;
use crate::hub::request::Plan;

impl Live {
    /// Answers in words of our own.
    pub(in crate::hub::live) fn answer_call_with(
        &mut self,
        cx: &mut Context,
        request: RequestId,
        (status, cors): (u16, &str),
        words: &str,
    ) {
        cx.events.push(Event::Answer(request, explain(status, cors, words)));
    }

    /// Answers with JSON, or with nothing.
    pub(in crate::hub::live) fn answer_call_by(
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
}
