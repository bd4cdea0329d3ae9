//! Sessions of BOSH clients: the protocol's own [state](crate::channel::bosh), whose requests, messages and end are the
//! hub's.

use crate::channel::bosh::{Condition, End, Output, Refusal};
use crate::hub::context::Context;
use crate::hub::event::Event;
use crate::hub::ids::{LiveId, RequestId};
use crate::hub::ledger::about::log_about;
use crate::hub::ledger::counters::Complaint;
use crate::hub::ledger::taps::Passing;
use crate::hub::live::Live;
use crate::hub::live::carrier::Carrier;
use crate::hub::live::pending::Pending;
use crate::hub::live::table::Stage;
use crate::hub::request::Plan;
use crate::worker::protocol::Slow;
use std::sync::Arc;
use std::time::Instant;

/// What a client is told that is closed with this code.
fn condition_of(code: u16) -> Option<Condition> {
    match code {
        1001 | 1012 => Some(Condition::SystemShutdown),
        1008 | 1009 => Some(Condition::PolicyViolation),
        1011 => Some(Condition::InternalServerError),
        _ => None,
    }
}

impl Live {
    pub(in crate::hub::live) fn refuse_bosh(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        cors: &str,
        refusal: Refusal,
    ) {
        let body = String::from_utf8(refusal.body).unwrap_or_default();
        self.answer_bosh_with(cx, key, cors, (refusal.status, crate::channel::bosh::CONTENT_TYPE), body);
    }

    fn answer_bosh_with(
        &mut self,
        cx: &mut Context,
        key: RequestId,
        cors: &str,
        (status, content_type): (u16, &str),
        body: String,
    ) {
        let head = format!("Content-Type: {content_type}\r\nCache-Control: no-store\r\n{cors}");
        cx.events.push(Event::Answer(key, Plan::Answer { status, head, body }));
    }

    /// Puts a message of a script behind the others for a client.
    pub(in crate::hub::live) fn post_element(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        element: Arc<[u8]>,
        now: Instant,
    ) {
        let bounds = self.bounds_of(cx, id);
        let is_open = self.lives.get(id).is_some_and(|channel| channel.stage == Stage::Open);
        let Some(bosh) = self.bosh(id).filter(|_| is_open) else { return };
        let is_first = bosh.unsent.is_empty();
        bosh.unsent.push(element);
        let (letters, bytes) = bosh.session.waiting();
        let (letters, bytes) =
            (letters + bosh.unsent.len(), bytes + bosh.unsent.last().map_or(0, |e| e.len()));
        // What was sent may have to be sent again, so nothing can be dropped here.
        let most = if bounds.slow == Slow::DropOldest { cx.limits.connection_output } else { bounds.bytes };
        if letters > 1 && (letters > bounds.letters || bytes > most) {
            cx.ledger.counters.overflowed += 1;
            if cx.ledger.complaints.pass(Complaint::Overflow, now)
                && let Some(about) = self.about(cx, id)
            {
                let text = "dropped and closed: the client does not come for what is sent to it";
                log_about!(warn, about, waiting = bytes, "{text}");
            }
            self.queue_no_more(id);
            self.to_end(cx, id, 1008, "too slow");
        } else if is_first {
            self.sessions.ready.push(id);
        }
    }

    /// Hands over what scripts sent in this turn.
    pub(in crate::hub::live) fn send_elements(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        let Some(bosh) = self.bosh(id) else { return };
        let elements = std::mem::take(&mut bosh.unsent);
        bosh.session.send_all(elements, now);
        self.pump_bosh(cx, id, now);
    }

    /// Time has passed for a session.
    pub(in crate::hub::live) fn bosh_is_due(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.handle_timeout(now));
        self.pump_bosh(cx, id, now);
    }

    /// A request of a session is gone.
    pub(in crate::hub::live) fn bosh_request_gone(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        number: u64,
        now: Instant,
    ) {
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.request_gone(number, now));
        self.pump_bosh(cx, id, now);
    }

    /// We close a session: its client hears that with the next answer.
    pub(in crate::hub::live) fn close_bosh(&mut self, cx: &mut Context, id: LiveId, code: u16, now: Instant) {
        self.send_elements(cx, id, now);
        self.bosh(id).into_iter().for_each(|bosh| bosh.session.close(condition_of(code), now));
        self.pump_bosh(cx, id, now);
    }

    /// The last words to a client, if it listens: what waits, and the close.
    pub(in crate::hub::live) fn dismiss_bosh(
        &mut self,
        cx: &mut Context,
        id: LiveId,
        code: u16,
        now: Instant,
    ) {
        let Some(bosh) = self.bosh(id) else { return };
        let elements = std::mem::take(&mut bosh.unsent);
        bosh.session.send_all(elements, now);
        bosh.session.close(condition_of(code), now);
        while let Some(output) = self.bosh(id).and_then(|bosh| bosh.session.poll_output()) {
            self.give_answer(cx, id, output);
        }
        // Whoever came early, or holds more than takes the news.
        for (_, key, cors) in self.bosh(id).map(|bosh| std::mem::take(&mut bosh.held)).unwrap_or_default() {
            self.refuse_bosh(cx, key, &cors, Condition::ItemNotFound.refusal(true));
        }
    }

    fn give_answer(&mut self, cx: &mut Context, id: LiveId, output: Output) {
        let Output::Answer { request, status, content_type, body } = output else { return };
        let Some(bosh) = self.bosh(id) else { return };
        let Some(at) = bosh.held.iter().position(|(number, ..)| *number == request) else { return };
        let (_, key, cors) = bosh.held.swap_remove(at);
        if bosh.held.is_empty() {
            bosh.held = Vec::new();
        }
        let body = String::from_utf8(body).unwrap_or_default();
        self.answer_bosh_with(cx, key, &cors, (status, &content_type), body);
    }

    /// Does what a session wants done, and plans when to come again.
    pub(in crate::hub::live) fn pump_bosh(&mut self, cx: &mut Context, id: LiveId, now: Instant) {
        while let Some(output) = self.bosh(id).and_then(|bosh| bosh.session.poll_output()) {
            match output {
                Output::Answer { .. } => self.give_answer(cx, id, output),
                Output::Message { binary, payload } => self.take_element(cx, id, binary, &payload, now),
                Output::Ended { how } => {
                    let (code, reason) = match how {
                        End::Client | End::Closed => (1000, ""),
                        End::Inactive => (1006, ""),
                        End::Error(condition) => (1002, condition.name()),
                    };
                    self.to_end(cx, id, code, reason);
                }
            }
        }
        let Some(channel) = self.lives.get_mut(id).filter(|channel| channel.stage != Stage::Over) else {
            return;
        };
        let number = channel.number;
        if let Carrier::Bosh(bosh) = &mut channel.carrier
            && let Some(due) = bosh.session.next_timeout()
        {
            self.sessions.agenda.plan(due, id, number, &mut bosh.planned);
        }
    }

    fn take_element(&mut self, cx: &mut Context, id: LiveId, binary: bool, payload: &[u8], now: Instant) {
        if self.lives.get(id).is_none_or(|channel| channel.stage != Stage::Open) {
            return;
        }
        self.note(cx, id, Passing::In { binary, payload });
        self.count_received(cx, id);
        self.give(cx, id, Pending::Message { binary, payload: payload.into() }, now);
    }
}
